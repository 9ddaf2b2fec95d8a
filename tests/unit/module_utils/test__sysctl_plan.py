# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _sysctl_plan
from ansible_collections.slipway.mlops.plugins.module_utils._sysctl_plan import Machine, State, Wanted
from ansible_collections.slipway.mlops.plugins.module_utils._sysctl_text import Assignment, parse

OURS = "/etc/sysctl.d/99-zz-slipway.conf"
MACHINE = Machine(memory_bytes=256 << 30, page_bytes=4096, link_bits_per_second=25_000_000_000)


def decide(*wanted, live=None, at_boot=(), machine=MACHINE, read_only=(), removed=()):
    at_boot = list(at_boot)
    if OURS not in [line.file for line in at_boot]:
        at_boot.append(Assignment(OURS, 0, "", ""))
    content = "".join(f"{line.name} = {line.value}\n" for line in at_boot if line.file == OURS and line.line).encode() or None
    return _sysctl_plan.plan(wanted, machine, State(live or {}, frozenset(read_only), at_boot, content), OURS, removed)


def one(plan):
    assert plan.problems == []
    (setting,) = plan.settings
    return setting.after, setting.at_boot


def floor(value, name="net.core.somaxconn"):
    return Wanted(name, value, match="floor")


def test_exact_value_replaces_what_the_kernel_has():
    assert one(decide(Wanted("vm.swappiness", 10), live={"vm.swappiness": "60\n"})) == ("10", "10")


@pytest.mark.parametrize(
    ("live", "expected"),
    [("4096", ("100000", "100000")), ("100000", ("100000", "100000")), ("200000", ("200000", "200000"))],
)
def test_floor_raises_and_never_lowers_now_or_at_boot(live, expected):
    assert one(decide(floor(100000), live={"net.core.somaxconn": live})) == expected


def test_floor_keeps_the_larger_value_of_an_earlier_file_although_ours_is_applied_later():
    earlier = Assignment("/etc/sysctl.d/50-site.conf", 3, "net.core.somaxconn", "300000")
    assert one(decide(floor(100000), live={"net.core.somaxconn": "4096"}, at_boot=[earlier])) == ("300000", "300000")


def test_floor_does_not_rewrite_the_file_when_somebody_raises_the_live_value():
    ours = Assignment(OURS, 2, "net.core.somaxconn", "100000")
    assert one(decide(floor(100000), live={"net.core.somaxconn": "500000"}, at_boot=[ours])) == ("500000", "100000")


def test_floor_does_not_lower_what_the_host_has_where_our_own_line_is_older_and_smaller():
    ours = Assignment(OURS, 2, "net.core.somaxconn", "1000")
    assert one(decide(floor(100000), live={"net.core.somaxconn": "300000"}, at_boot=[ours])) == ("300000", "300000")


def test_other_settings_of_other_files_have_no_part_in_it():
    """Of files before ours and after it."""
    order = [
        Assignment("/etc/sysctl.d/50-site.conf", 1, "kernel.pid_max", "4194304"),
        Assignment(OURS, 0, "", ""),
        Assignment("/etc/sysctl.d/zzz.conf", 1, "vm.swappiness", "60"),
    ]
    assert one(decide(floor(100000), live={"net.core.somaxconn": "4096"}, at_boot=order)) == ("100000", "100000")


def test_floor_compares_field_by_field():
    plan = decide(floor("4096 262144 134217728", "net.ipv4.tcp_rmem"), live={"net.ipv4.tcp_rmem": "8192\t131072\t6291456\n"})
    assert one(plan) == ("8192 262144 134217728",) * 2


def test_ceiling_lowers_and_never_raises():
    wanted = Wanted("vm.swappiness", 10, match="ceiling")
    assert one(decide(wanted, live={"vm.swappiness": "60"})) == ("10", "10")
    assert one(decide(wanted, live={"vm.swappiness": "1"})) == ("1", "1")


def test_white_space_is_no_change():
    plan = decide(Wanted("net.ipv4.ip_local_port_range", "2048   65535"), live={"net.ipv4.ip_local_port_range": "2048\t65535\n"})
    assert plan.live_changes == []


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Wanted("vm.min_free_kbytes", memory_percent=[1], unit="KiB", minimum=65536, maximum=8388608), str((256 << 20) // 100)),
        (Wanted("vm.min_free_kbytes", memory_percent=[50], unit="KiB", maximum=8388608), "8388608"),
        (Wanted("net.ipv4.tcp_mem", memory_percent=[25, 50, 100], unit="pages"), "16777216 33554432 67108864"),
        (Wanted("net.core.rmem_max", link_seconds=0.01, minimum=16777216), "31250000"),
    ],
)
def test_values_follow_the_machine(item, expected):
    assert _sysctl_plan.sized(item, MACHINE) == expected


def test_a_link_that_does_not_tell_its_speed_gives_the_minimum():
    silent = Machine(1 << 30, 4096, 0)
    assert _sysctl_plan.sized(Wanted("net.core.rmem_max", link_seconds=0.01, minimum=16777216), silent) == "16777216"


def test_a_later_file_that_undoes_a_setting_is_named_with_its_line():
    later = Assignment("/etc/sysctl.d/zzz.conf", 7, "vm.swappiness", "60")
    plan = decide(Wanted("vm.swappiness", 10), live={"vm.swappiness": "60"}, at_boot=[Assignment(OURS, 0, "", ""), later])
    assert len(plan.problems) == 1
    assert "/etc/sysctl.d/zzz.conf line 7" in plan.problems[0]
    assert "60" in plan.problems[0]


def test_a_later_file_that_agrees_or_goes_is_no_problem():
    later = Assignment("/etc/sysctl.d/zzz.conf", 7, "net.core.somaxconn", "4096")
    order = [Assignment(OURS, 0, "", ""), later]
    assert decide(floor(1024), live={"net.core.somaxconn": "4096"}, at_boot=order).problems == []
    assert decide(floor(8192), live={"net.core.somaxconn": "4096"}, at_boot=order).problems != []
    assert decide(floor(8192), live={"net.core.somaxconn": "4096"}, at_boot=order, removed=[later.file]).problems == []


def test_only_the_last_of_the_later_files_decides():
    order = [
        Assignment(OURS, 0, "", ""),
        Assignment("/etc/sysctl.d/zza.conf", 1, "vm.swappiness", "60"),
        Assignment("/etc/sysctl.d/zzb.conf", 1, "vm.swappiness", "10"),
    ]
    assert decide(Wanted("vm.swappiness", 10), live={"vm.swappiness": "60"}, at_boot=order).problems == []


@pytest.mark.parametrize(
    ("item", "live", "words"),
    [
        (Wanted("net.core.somaxconn", "on"), "4096", "not an integer"),
        (Wanted("net.core.somaxconn", True), "4096", "neither a number nor text"),
        (Wanted("net.core.somaxconn", 1.5), "4096", "neither a number nor text"),
        (Wanted("net.core.somaxconn", "1 2"), "4096", "2 field(s)"),
        (Wanted("net/core/..", 1), None, "not a sysctl name"),
        (Wanted("net..core", 1), None, "not a sysctl name"),
        (Wanted("net.core.somaxconn", "1\nvm.x = 2"), "4096", "'\\n'"),
        (Wanted("net.core.somaxconn", "1 # big"), "4096", "holds #"),
        (Wanted("net.core.somaxconn", 1, reason="a\nb"), "4096", "reason"),
        (Wanted("net.core.somaxconn", " "), "4096", "empty"),
        (Wanted("net.core.somaxconn"), "4096", "exactly one"),
        (Wanted("net.core.somaxconn", 1, memory_percent=[1]), "4096", "exactly one"),
        (Wanted("kernel.core_pattern", "core", match="floor"), "core", "compares numbers"),
        (Wanted("net.netfilter.nf_conntrack_max", 1), None, "nf_conntrack is not loaded"),
        (Wanted("vm.swapiness", 1), None, "does not exist"),
        (Wanted("net.core.rmem_max", link_seconds=0.01), "1", "minimum"),
        (Wanted("net.core.rmem_max", memory_percent=[0]), "1", "above 0"),
    ],
)
def test_bad_input_is_one_sentence_and_no_plan(item, live, words):
    plan = decide(item, live={item.name: live} if live else {})
    assert len(plan.problems) == 1
    assert words in plan.problems[0]
    assert item.name in plan.problems[0]


def test_all_problems_come_at_once_and_a_name_twice_is_one():
    wanted = [Wanted("a.b", True), Wanted("net.core.somaxconn", 1), Wanted("net.core.somaxconn", 2), Wanted("vm.swapiness", 1), Wanted("vm.swappiness", "on")]
    plan = decide(*wanted, live={"net.core.somaxconn": "4096", "vm.swappiness": "60"})
    words = ["values[0] a.b: value True", "values[2] net.core.somaxconn: is in the list twice", "vm.swapiness does not exist", "not an integer"]
    assert [word in problem for word, problem in zip(words, plan.problems)] == [True] * 4
    assert len(plan.problems) == 4


CONTAINER = Machine(1 << 30, 4096, 0, container="podman")


@pytest.mark.parametrize(
    ("name", "machine", "shared"),
    [
        ("vm.swappiness", MACHINE, False),
        ("vm.swappiness", CONTAINER, True),
        ("fs.nr_open", CONTAINER, True),
        ("kernel.shmmax", CONTAINER, False),
        ("kernel.pid_max", CONTAINER, True),
        ("net.core.somaxconn", CONTAINER, False),
        ("net.core.somaxconn", Machine(1 << 30, 4096, 0, container="podman", network_is_own=False), True),
    ],
)
def test_a_container_does_not_change_the_machine_below_it(name, machine, shared):
    assert _sysctl_plan.shared_with_machine(name, machine) is shared


def test_optional_keys_are_passed_over_and_named():
    wanted = [Wanted("vm.swappiness", 10, optional=True), Wanted("net.core.rmem_max", 1, optional=True), Wanted("net.core.x", 1, optional=True)]
    plan = decide(*wanted, live={"vm.swappiness": "60", "net.core.rmem_max": "2"}, read_only=["net.core.rmem_max"], machine=CONTAINER)
    assert (plan.problems, plan.settings, plan.content) == ([], [], b"")
    assert plan.absent == ["vm.swappiness", "net.core.rmem_max", "net.core.x"]


def test_what_no_file_sets_any_more_is_named():
    old = Assignment("/etc/sysctl.d/90-ais.conf", 1, "net.ipv4.tcp_timestamps", "0")
    ours = Assignment(OURS, 2, "vm.overcommit_memory", "1")
    plan = decide(Wanted("vm.swappiness", 10), live={"vm.swappiness": "60"}, at_boot=[old, ours], removed=[old.file])
    assert plan.left_behind == ["net.ipv4.tcp_timestamps = 0", "vm.overcommit_memory = 1"]


def test_a_file_of_ours_that_is_not_there_yet_leaves_nothing_behind():
    assert decide(Wanted("vm.swappiness", 10), live={"vm.swappiness": "60"}).left_behind == []


def test_the_file_reads_back_as_what_was_planned():
    plan = decide(Wanted("vm.swappiness", 10, reason="why"), floor(5), live={"vm.swappiness": "60", "net.core.somaxconn": "4"})
    lines = parse(OURS, plan.content)
    assert [(line.name, line.value) for line in lines] == [("vm.swappiness", "10"), ("net.core.somaxconn", "5")]
    assert b"# exact: why\n" in plan.content
