# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""host_mtu on lab hosts over ssh. Their links are veth pairs on a bridge of this machine: the machine's ends decide what the path carries."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

LINKS = [{"name": "eth0", "mtu": 9000}]


def mtu(hosts):
    return {name: int(hosts.ssh(name, "cat /sys/class/net/eth0/mtu")) for name in hosts.names}


@pytest.fixture
def path_mtu(hosts):
    """Sets the machine's ends of the hosts' links, and puts them back."""
    if os.geteuid() != 0:
        pytest.skip("the other ends of the hosts' links need root")
    ends = {}
    for name in hosts.names:
        index = hosts.ssh(name, "cat /sys/class/net/eth0/iflink")
        links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
        (ends[name],) = [line.split(": ")[1].split("@")[0] for line in links.splitlines() if line.startswith(f"{index}: ")]

    def set_to(size):
        for end in ends.values():
            subprocess.run(["ip", "link", "set", end, "mtu", str(size)], check=True)

    yield set_to
    set_to(1500)
    for name in hosts.names:
        hosts.ssh(name, "ip link set eth0 mtu 1500")


def test_a_path_that_does_not_carry_it_turns_all_hosts_back_and_is_named(hosts, role, path_mtu):
    path_mtu(4000)
    run = role("host_mtu", host_mtu_links=LINKS, host_mtu_is_persistent=False, host_mtu_confirm_within_seconds=300)
    assert run.failed() == set(hosts.names)
    one, other = hosts.names
    # A veth lets four bytes more pass, room for a VLAN tag.
    assert f"{one} eth0 to {other} (10.89.77." in run.output
    assert "carries 4000 bytes, not 9000" in run.output or "carries 4004 bytes, not 9000" in run.output
    assert "The old MTU is back." in run.output
    assert mtu(hosts) == dict.fromkeys(hosts.names, 1500)


@pytest.mark.long
def test_without_confirmation_the_old_mtu_comes_back_by_itself_in_time(hosts, tmp_path, path_mtu):
    """The controller is gone after the first step: nobody confirms, nobody undoes."""
    within = 12
    step = {"slipway.mlops.link_mtu": {"links": LINKS, "is_persistent": False, "confirm_within": within}}
    start = time.monotonic()
    assert hosts.run([step], folder=tmp_path).rc == 0
    again = hosts.run([step], folder=tmp_path) if time.monotonic() - start < within - 5 else None
    if again:
        assert "is not confirmed yet and will be undone in" in again.output
    while mtu(hosts) != dict.fromkeys(hosts.names, 1500):
        assert time.monotonic() - start < within + 60, "the timer did not put the old MTU back"
        time.sleep(0.5)
    for name in hosts.names:
        # The record tells when: `until` was within seconds after the change, and the timer's accuracy is 100 ms; the rest is a busy machine.
        assert hosts.ssh(name, "cat /run/slipway/link_mtu/last-undone.json; ls /run/slipway/link_mtu").endswith("last-undone.json\nundo.py")
        assert hosts.ssh(name, "systemctl list-units --all --no-legend 'slipway-link-mtu-*'") == ""


@pytest.mark.long
def test_a_path_that_carries_it_is_confirmed_and_then_nothing_is_left_to_do(hosts, role, path_mtu):
    path_mtu(9000)
    variables = {"host_mtu_links": LINKS, "host_mtu_is_persistent": False, "host_mtu_confirm_within_seconds": 300}
    check = role("host_mtu", "--check", "--diff", **variables)
    assert "+eth0 mtu 9000" in check.output
    assert mtu(hosts) == dict.fromkeys(hosts.names, 1500)
    real = role("host_mtu", **variables)
    assert real.rc == 0, real.output
    assert real.changed() == check.changed() == dict.fromkeys(hosts.names, 1)
    assert mtu(hosts) == dict.fromkeys(hosts.names, 9000)
    one, other = hosts.names
    address = hosts.ssh(other, "hostname -I").split()[0]
    hosts.ssh(one, f"ping -c 1 -W 3 -M do -s 8972 {address}")
    again = role("host_mtu", **variables)
    assert again.changed() == dict.fromkeys(hosts.names, 0)
    for name in hosts.names:
        left = hosts.ssh(name, "ls /run/slipway/link_mtu; systemctl list-units --all --no-legend 'slipway-link-mtu-*'")
        assert set(left.split()) <= {"undo.py", "last-undone.json"}


@pytest.mark.long
def test_one_host_that_cannot_change_turns_the_others_back(hosts, role, path_mtu):
    path_mtu(9000)
    one, other = hosts.names
    wanted = "{{ [{'name': 'eth0' if inventory_hostname == '" + one + "' else 'eth9', 'mtu': 9000}] }}"
    run = role("host_mtu", host_mtu_links=wanted, host_mtu_is_persistent=False)
    assert run.failed() == set(hosts.names)
    assert "there is no such link here (have: eth0)" in run.output
    assert f"{other} could not be changed" in run.output
    assert mtu(hosts) == dict.fromkeys(hosts.names, 1500)


@pytest.mark.long
def test_batches_and_links_that_nobody_keeps_are_refused_before_anything_changes(hosts, tmp_path):
    step = {"slipway.mlops.link_mtu": {"links": LINKS, "is_persistent": False}}
    batches = hosts.run([step], folder=tmp_path, serial=1)
    assert "this play takes 1 of 2 at a time" in batches.output
    nobody = hosts.run([{"slipway.mlops.link_mtu": {"links": LINKS}}], folder=tmp_path)
    assert "would be lost at the next boot" in nobody.output
    assert mtu(hosts) == dict.fromkeys(hosts.names, 1500)
