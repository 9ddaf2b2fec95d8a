# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._sysctl_pattern import covers, normalised, problem, problems

# From TestIsValidSysctlPattern and TestNewAllowlist of Kubernetes v1.35.4, and what a kubelet of that version said to each.
ACCEPTED = [
    "net.core.somaxconn", "net.*", "net.ipv4.*", "net/ipv4/conf/eno2.100/rp_filter", "net.ipv4.conf.eno2/100.rp_filter",
    "kernel.shm*", "kernel.shmall", "kernel.shm_rmid_forced", "kernel.msg*", "kernel.sem", "kernel.sem*", "fs.mqueue.*", "fs.mqueue.msg_max",
]  # fmt: skip
MALFORMED = [
    "",
    " ",
    "Net.core.somaxconn",
    "net.core.",
    ".net",
    "net..core",
    "net.*.x",
    "net.core.somaxconn=1",
    "net.-x",
    "a" * 254,
    "net.core.somaxconn\n",
    "net,core",
    "**",
]
NOT_NAMESPACED = [
    "*",
    "vm.max_map_count",
    "fs.inotify.max_user_watches",
    "kernel.hostname",
    "kernel.shmm*",
    "kernel.*",
    "net",
    "net*",
    "fs.mqueue",
    "fs.*",
    "networks.x",
]


@pytest.mark.parametrize("entry", ACCEPTED)
def test_a_kubelet_starts_with_it(entry: str) -> None:
    assert problem(entry) == ""


@pytest.mark.parametrize("entry", MALFORMED)
def test_a_malformed_entry_is_named(entry: str) -> None:
    assert "no sysctl name or pattern" in problem(entry)


@pytest.mark.parametrize("entry", NOT_NAMESPACED)
def test_a_setting_of_the_whole_host_is_refused(entry: str) -> None:
    assert "not known to be namespaced" in problem(entry)


def test_all_problems_come_at_once_with_their_place() -> None:
    found = problems(["vm.swappiness", "net.core.somaxconn", "net.*.x", "net.*", "net.core.somaxconn"], wildcards=False)
    assert [line.split(":")[0] for line in found] == ["sysctls[0]", "sysctls[2]", "sysctls[3]", "sysctls[4]"]
    assert "allow_wildcards" in found[2]
    assert "twice" in found[3]


def test_a_wildcard_is_accepted_when_asked_for() -> None:
    assert problems(["net.*"], wildcards=True) == []


@pytest.mark.parametrize(
    ("entries", "name", "covered"),
    [
        (["net.core.somaxconn"], "net.core.somaxconn", True),
        (["net/core/somaxconn"], "net.core.somaxconn", True),
        (["net.*"], "net.core.somaxconn", True),
        (["net.core.*"], "net.*", False),
        (["net.*"], "net.core.*", True),
        (["net.core.somaxconn"], "net.core.somaxconn2", False),
        ([], "net.core.somaxconn", False),
    ],
)
def test_what_a_list_admits(entries: list[str], name: str, covered: bool) -> None:
    assert covers(entries, name) is covered


def test_slashes_and_dots_change_places_only_when_a_slash_comes_first() -> None:
    assert normalised("net/ipv4/conf/eno2.100/rp_filter") == "net.ipv4.conf.eno2/100.rp_filter"
    assert normalised("net.ipv4.conf.eno2/100.rp_filter") == "net.ipv4.conf.eno2/100.rp_filter"
