# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole module on a root made of plain files; the kernel itself is asked in tests/integration/hosts/tuning."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _files, _run_sysctl_values, _sysctl_apply
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed, Refused

OURS = "/etc/sysctl.d/99-zz-slipway.conf"


@pytest.fixture
def host(tmp_path):
    for path, text in {
        "proc/meminfo": "MemTotal:       1048576 kB\n",
        "proc/sys/net/core/somaxconn": "4096\n",
        "proc/sys/net/core/netdev_max_backlog": "1000\n",
        "proc/sys/vm/swappiness": "60\n",
        "etc/sysctl.d/10-dist.conf": "vm.swappiness = 30\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def run(host, values, check=False, **options):
    full = [
        {"value": None, "memory_percent": None, "link_seconds": None, "unit": "bytes", "minimum": None, "maximum": None, "match": "exact",
         "optional": False, "reason": "", **value}
        for value in values
    ]  # fmt: skip
    params = {"values": full, "file": OURS, "former_files": [], "remove_files": [], "open_files": None, **options}
    return _run_sysctl_values.run(params, check, True, str(host) + "/")


VALUES = [{"name": "net.core.somaxconn", "value": 100000, "match": "floor"}, {"name": "vm.swappiness", "value": 10}]


def tree(host):
    return {str(path): path.read_bytes() for path in host.rglob("*") if path.is_file()}


def test_check_mode_tells_the_same_and_touches_nothing(host):
    before = tree(host)
    told = run(host, VALUES, check=True)
    assert tree(host) == before
    assert run(host, VALUES) == told
    assert told["changed"] is True


def test_second_run_changes_nothing_and_spawns_nothing(host, monkeypatch):
    run(host, VALUES)
    for name in ("fork", "posix_spawn", "system", "execv"):
        monkeypatch.setattr(os, name, None)
    again = run(host, VALUES)
    assert (again["changed"], again["diff"]) == (False, [])


def test_kernel_and_file_have_the_values(host):
    run(host, VALUES)
    assert (host / "proc/sys/net/core/somaxconn").read_text() == "100000\n"
    assert "vm.swappiness = 10\n" in (host / OURS[1:]).read_text()


def test_an_empty_list_removes_the_file_and_names_what_stays_in_the_kernel(host):
    run(host, VALUES)
    result = run(host, [])
    assert not (host / OURS[1:]).exists()
    assert result["left_behind"] == ["net.core.somaxconn = 100000"]


def test_a_value_that_the_kernel_refuses_undoes_the_others_and_leaves_the_file(host, monkeypatch):
    real = _sysctl_apply._write_key

    def refusing(root, name, value):
        if name == "vm.swappiness" and value == "10":
            raise OSError(errno.EINVAL, "Invalid argument", os.path.join(root, "proc/sys/vm/swappiness"))
        real(root, name, value)

    monkeypatch.setattr(_sysctl_apply, "_write_key", refusing)
    with pytest.raises(Failed, match=r"vm.swappiness: the kernel does not take '10': Invalid argument .*every value is what it was"):
        run(host, VALUES)
    assert (host / "proc/sys/net/core/somaxconn").read_text() == "4096\n"
    assert not (host / OURS[1:]).exists()


def test_a_full_disk_undoes_the_kernel_settings(host, monkeypatch):
    def full(path, *rest, **named):
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(_files, "write_atomic", full)
    with pytest.raises(Failed, match="No space left on device"):
        run(host, VALUES)
    assert (host / "proc/sys/net/core/somaxconn").read_text() == "4096\n"


def test_former_files_are_named_and_only_put_away_when_the_inventory_says_so(host):
    old = host / "etc/sysctl.d/90-ais.conf"
    old.write_text("net.ipv4.tcp_timestamps = 0 # why\n")
    result = run(host, VALUES, former_files=["/etc/sysctl.d/90-ais.conf"])
    assert result["former_files"] == ["/etc/sysctl.d/90-ais.conf"]
    assert any("90-ais.conf" in line for line in result["warnings_found"])
    assert old.exists()
    result = run(host, VALUES, former_files=["/etc/sysctl.d/90-ais.conf"], remove_files=["/etc/sysctl.d/90-ais.conf"])
    (copy,) = result["copies"]
    assert not old.exists()
    assert Path(copy).read_text() == "net.ipv4.tcp_timestamps = 0 # why\n"
    assert run(host, VALUES, remove_files=["/etc/sysctl.d/90-ais.conf"])["changed"] is False


@pytest.mark.parametrize("path", ["relative.conf", "/etc/sysctl.d/../x.conf", "/etc/sysctl.d/90-ais", OURS])
def test_files_to_remove_are_full_paths_of_conf_files(host, path):
    before = tree(host)
    with pytest.raises(Refused):
        run(host, VALUES, remove_files=[path])
    assert tree(host) == before


def test_the_fastest_card_with_a_carrier_counts(host):
    for name, speed in {"ens1": "25000", "ens2": "100000", "ens3": "-1"}.items():
        (host / "sys/class/net" / name / "device").mkdir(parents=True)
        (host / "sys/class/net" / name / "speed").write_text(speed + "\n")
    (host / "sys/class/net/veth0").mkdir()
    (host / "sys/class/net/veth0/speed").write_text("400000\n")
    assert _sysctl_apply.machine(str(host)).link_bits_per_second == 100_000_000_000


def test_ufw_counts_only_when_it_is_on(host):
    (host / "etc/ufw").mkdir()
    (host / "etc/ufw/sysctl.conf").write_text("net/core/somaxconn=128\n")
    (host / "etc/ufw/ufw.conf").write_text("ENABLED=no\n")
    assert run(host, VALUES, check=True)["changed"]
    (host / "etc/ufw/ufw.conf").write_text("# x\nENABLED=yes\n")
    with pytest.raises(Refused, match=r"/etc/ufw/sysctl\.conf line 1"):
        run(host, VALUES, check=True)


CONNTRACK = {"name": "net.netfilter.nf_conntrack_tcp_be_liberal", "value": 1, "optional": True}
MODULES = "etc/modules-load.d/slipway-99-zz-slipway.conf"


def test_a_setting_of_a_module_has_that_loaded_before_the_boot_sets_it(host):
    assert run(host, [CONNTRACK])["absent"] == [CONNTRACK["name"]]
    assert not (host / MODULES).exists(), "the key is not there, so it is not set either"
    (host / "proc/sys/net/netfilter").mkdir()
    (host / "proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal").write_text("0\n")
    told = run(host, [CONNTRACK], check=True)
    assert not (host / MODULES).exists()
    result = run(host, [CONNTRACK])
    assert result == told
    assert f"write /{MODULES}" in result["actions"]
    assert ["nf_conntrack\n" in diff["after"] for diff in result["diff"]] == [False, False, True]
    lines = (host / MODULES).read_text().splitlines()
    assert lines[0].startswith("# Written by slipway.mlops.sysctl_values") and lines[1:] == ["nf_conntrack"]
    assert run(host, [CONNTRACK])["changed"] is False
    gone = run(host, VALUES)
    assert f"remove /{MODULES}" in gone["actions"]
    assert not (host / MODULES).exists()


def test_a_container_names_no_module(host):
    for key, value in (("net/netfilter/nf_conntrack_tcp_be_liberal", "0\n"), ("../../run/.containerenv", "")):
        (host / "proc/sys" / key).parent.mkdir(exist_ok=True)
        (host / "proc/sys" / key).write_text(value)
    (host / "proc/sys/net/core/netdev_max_backlog").unlink()  # a network namespace of its own
    assert run(host, [CONNTRACK])["changed"] is True
    assert not (host / MODULES).exists()


@pytest.mark.parametrize("values", [VALUES, []])  # to be written, to be removed
def test_a_file_of_the_administrator_is_left_alone(host, values):
    """99-sysctl.conf is a link to /etc/sysctl.conf on many systems."""
    (host / "etc/sysctl.conf").write_text("net.ipv4.ip_forward = 1\n")
    (host / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")
    before = tree(host)
    with pytest.raises(Refused, match=r"file: /etc/sysctl\.d/99-sysctl\.conf is there and was not written by this module"):
        run(host, values, file="/etc/sysctl.d/99-sysctl.conf")
    assert tree(host) == before
