# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""host_sysctl on real kernels. Lab hosts have a network namespace of their own and share the rest with this machine, which must stay as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

FILE = "/etc/sysctl.d/99-zz-slipway.conf"
SOMAXCONN = {"name": "net.core.somaxconn", "value": 100000, "match": "floor", "reason": "bursts"}
VALUES = [SOMAXCONN, {"name": "net.ipv4.tcp_tw_reuse", "value": 1}, {"name": "net.ipv4.ip_local_port_range", "value": "2048 65535"}]


@pytest.fixture(autouse=True)
def _as_new(hosts):
    """Kernel values and files as they were before anybody tuned."""

    def reset():
        for name in hosts.names:
            hosts.ssh(
                name,
                f"rm -f {FILE} /etc/sysctl.d/zzz-test.conf /etc/sysctl.d/90-ais.conf*; sysctl -q -w net.core.somaxconn=4096 net.ipv4.tcp_tw_reuse=2 "
                "net.ipv4.ip_local_port_range='32768 60999'",
            )

    reset()
    yield
    reset()


def state(hosts):
    keys = "net.core.somaxconn net.ipv4.tcp_tw_reuse net.ipv4.ip_local_port_range"
    return [hosts.ssh(name, f"sysctl -n {keys}; cat {FILE} 2>/dev/null; ls -la --time-style=full-iso /etc/sysctl.d") for name in hosts.names]


def test_check_converge_and_nothing_more_to_do(hosts, role):
    before = state(hosts)
    check = role("host_sysctl", "--check", "--diff", host_sysctl_values=VALUES)
    assert check.rc == 0, check.output
    assert "+net.core.somaxconn = 100000" in check.output
    assert state(hosts) == before

    real = role("host_sysctl", host_sysctl_values=VALUES)
    assert real.changed() == check.changed() == dict.fromkeys(hosts.names, 1)
    for name in hosts.names:
        assert hosts.ssh(name, "sysctl -n net.core.somaxconn net.ipv4.tcp_tw_reuse net.ipv4.ip_local_port_range").split() == ["100000", "1", "2048", "65535"]
        # systemd's own reader takes the file and sets the same again.
        hosts.ssh(name, f"sysctl -q -w net.core.somaxconn=4096; /lib/systemd/systemd-sysctl {FILE}")
        assert hosts.ssh(name, "sysctl -n net.core.somaxconn") == "100000"

    again = role("host_sysctl", host_sysctl_values=VALUES)
    assert again.changed() == dict.fromkeys(hosts.names, 0)


@pytest.mark.long
def test_a_host_that_has_more_keeps_it_now_and_at_boot(hosts, role):
    one, other = hosts.names
    hosts.ssh(one, "sysctl -q -w net.core.somaxconn=200000")
    assert role("host_sysctl", host_sysctl_values=[SOMAXCONN]).rc == 0
    assert [hosts.ssh(name, "sysctl -n net.core.somaxconn") for name in (one, other)] == ["200000", "100000"]
    assert "somaxconn = 200000" in hosts.ssh(one, f"cat {FILE}")
    assert role("host_sysctl", host_sysctl_values=[SOMAXCONN]).changed() == {one: 0, other: 0}


@pytest.mark.long
def test_a_number_that_the_kernel_refuses_leaves_all_as_it_was(hosts, role):
    before = state(hosts)
    run = role("host_sysctl", host_sysctl_values=[VALUES[1], {"name": "net.core.somaxconn", "value": 99999999999}])
    assert run.failed() == set(hosts.names)
    assert "net.core.somaxconn: the kernel does not take '99999999999': Invalid argument (it has '4096')" in run.output
    assert state(hosts) == before


@pytest.mark.long
def test_all_bad_input_is_told_at_once_and_nothing_is_touched(hosts, role):
    before = state(hosts)
    bad = [
        {"name": "net.core.somaxconn", "value": "on"},
        {"name": "net/core/..", "value": 1},
        {"name": "net.ipv4.tcp_tw_reuse", "value": "1\nvm.x = 2"},
        {"name": "net.ipv4.tcp_no_such_key", "value": 1},
    ]
    run = role("host_sysctl", host_sysctl_values=bad)
    assert run.failed() == set(hosts.names)
    assert "4 problems; nothing was touched on this host" in run.output
    for words in (
        "is not an integer, as the kernel's own is (4096)",
        '"net/core/.." is not a sysctl name',
        "cannot stand in a sysctl file",
        "net.ipv4.tcp_no_such_key does not exist",
    ):
        assert words in run.output.replace('\\"', '"'), words
    assert state(hosts) == before


@pytest.mark.long
def test_the_machine_below_a_container_is_not_changed(hosts, role):
    keys = ["/proc/sys/vm/swappiness", "/proc/sys/net/core/netdev_max_backlog", "/proc/sys/fs/nr_open"]
    before = [Path(key).read_text() for key in keys]
    wanted = [{"name": "vm.swappiness", "value": 7}, {"name": "net.core.netdev_max_backlog", "value": 7}, {"name": "fs.nr_open", "value": 1048577}]
    run = role("host_sysctl", host_sysctl_values=wanted)
    assert run.failed() == set(hosts.names)
    assert "vm.swappiness belongs to the machine below this" in run.output
    assert "net.core.netdev_max_backlog does not exist in the network namespace" in run.output
    passed_over = role("host_sysctl", host_sysctl_values=[{**item, "optional": True} for item in wanted])
    assert (passed_over.rc, passed_over.changed()) == (0, dict.fromkeys(hosts.names, 0))
    assert [Path(key).read_text() for key in keys] == before


@pytest.mark.long
def test_a_file_that_would_undo_it_at_boot_is_named_with_its_line(hosts, role):
    hosts.ssh(hosts.names[0], "printf '# mine\\nnet.core.somaxconn = 128\\n' > /etc/sysctl.d/zzz-test.conf")
    before = state(hosts)[0]
    run = role("host_sysctl", host_sysctl_values=VALUES)
    assert run.failed() == {hosts.names[0]}
    assert "/etc/sysctl.d/zzz-test.conf line 2 is applied after" in run.output
    assert state(hosts)[0] == before


@pytest.mark.long
def test_a_former_tools_file_is_named_and_put_away_only_when_the_inventory_says_so(hosts, role):
    one = hosts.names[0]
    hosts.ssh(one, "echo 'net.ipv4.tcp_timestamps = 1' > /etc/sysctl.d/90-ais.conf")
    named = role("host_sysctl", on=[one], host_sysctl_values=VALUES)
    assert "90-ais.conf is left from another tool" in named.output
    away = role("host_sysctl", on=[one], host_sysctl_values=VALUES, host_sysctl_remove_files=["/etc/sysctl.d/90-ais.conf"])
    assert away.changed() == {one: 1}
    assert "net.ipv4.tcp_timestamps = 1" in away.output  # still live, and said so
    assert hosts.ssh(one, "cat /etc/sysctl.d/90-ais.conf.*~; ls /etc/sysctl.d/90-ais.conf 2>&1 || true").startswith("net.ipv4.tcp_timestamps = 1\nls: ")


@pytest.mark.long
def test_absent_removes_the_file_and_says_what_the_kernel_keeps(hosts, role):
    assert role("host_sysctl", host_sysctl_values=VALUES).rc == 0
    gone = role("host_sysctl", host_sysctl_values=VALUES, host_sysctl_state="absent")
    assert gone.changed() == dict.fromkeys(hosts.names, 1)
    assert "net.ipv4.tcp_tw_reuse = 1" in gone.output
    for name in hosts.names:
        assert hosts.ssh(name, f"test -e {FILE} || echo gone; sysctl -n net.ipv4.tcp_tw_reuse").split() == ["gone", "1"]
    assert role("host_sysctl", host_sysctl_values=VALUES, host_sysctl_state="absent").changed() == dict.fromkeys(hosts.names, 0)
