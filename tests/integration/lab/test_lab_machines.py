# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nodes as machines: reached by ssh, with disks of stable names, without a way to change the machine below them."""

from __future__ import annotations

import pytest
from lab_under_test import RunningLab

pytestmark = pytest.mark.lab


def test_every_node_is_reached_by_ssh_and_its_system_is_healthy(lab: RunningLab) -> None:
    for node in lab.layout.nodes:
        assert lab.on(node.name, "hostname").strip() == node.name
        assert lab.on(node.name, "systemctl is-active ssh containerd kubelet kube-proxy").split() == ["active"] * 4


def test_workers_have_two_disks_of_two_gibibytes_under_names_of_their_own(lab: RunningLab) -> None:
    devices = []
    for node in lab.layout.worker_nodes:
        out = lab.on(node.name, "cd /dev/disk/by-id && for d in *; do echo $d $(readlink -f $d) $(blockdev --getsize64 $d); done")
        rows = [line.split() for line in out.splitlines()]
        assert [r[0] for r in rows] == [f"{lab.layout.name}-{node.name}-disk{i}" for i in (0, 1)]
        assert [r[2] for r in rows] == [str(2 << 30)] * 2
        devices += [r[1] for r in rows]
    assert len(set(devices)) == len(devices)


def test_nodes_cannot_change_kernel_settings_of_the_machine_below(lab: RunningLab) -> None:
    node = lab.layout.worker_nodes[0].name
    for setting in ("vm/swappiness", "kernel/threads-max", "fs/file-max"):
        answer = lab.on(node, f"before=$(cat /proc/sys/{setting}); echo $before > /proc/sys/{setting} && echo written || echo refused")
        assert answer.strip() == "refused", setting


def test_nodes_have_network_settings_of_their_own(lab: RunningLab) -> None:
    first, second = (n.name for n in lab.layout.worker_nodes[:2])
    name = "net.ipv4.tcp_fin_timeout"
    before = {n: int(lab.on(n, f"sysctl -n {name}")) for n in (first, second)}
    try:
        lab.on(first, f"sysctl -qw {name}={before[first] + 7}")
        assert int(lab.on(first, f"sysctl -n {name}")) == before[first] + 7
        assert int(lab.on(second, f"sysctl -n {name}")) == before[second]
    finally:
        lab.on(first, f"sysctl -qw {name}={before[first]}")


def test_nodes_hold_no_device_of_the_machines_own_disks(lab: RunningLab) -> None:
    for node in lab.layout.nodes:
        assert lab.on(node.name, "find /dev -xdev -type b ! -name 'loop*'").split() == []
