# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The four host roles with their own defaults on the lab's virtual machine, whose kernel is its own: all is still there after a boot.

What is looked at, is read with somebody else's tool: findmnt, cat, sysctl, ip.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[4]
NAME = "labboot"
SETTINGS = {"LAB_NAME": NAME, "LAB_SUBNET": "10.89.181.0/24"}
INVENTORY = ROOT / ".lab" / NAME / "guest" / "hosts.yml"
ROLES = ("ais_datafs", "host_io_scheduler", "host_sysctl", "host_mtu")
DISKS = [{"device": f"/dev/disk/by-id/virtio-{NAME}-disk{number}", "path": f"/ais/disk{number}"} for number in (0, 1)]
MTU = 1400
# A bond of two cards that lead nowhere, a VLAN on it, and a bridge with that as its port; asked for in an order that no kernel takes.
STACK = {"br0": 8000, "bond0.100": 9000, "bond0": 9000}
NETWORKD = {
    "10-d0.netdev": "[NetDev]\nName=d0\nKind=dummy\n",
    "10-d1.netdev": "[NetDev]\nName=d1\nKind=dummy\n",
    "20-bond0.netdev": "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=active-backup\n",
    "30-vlan.netdev": "[NetDev]\nName=bond0.100\nKind=vlan\n[VLAN]\nId=100\n",
    "40-br0.netdev": "[NetDev]\nName=br0\nKind=bridge\n",
    "10-cards.network": "[Match]\nName=d0 d1\n[Link]\nRequiredForOnline=no\n[Network]\nBond=bond0\n",
    "20-bond0.network": "[Match]\nName=bond0\n[Link]\nRequiredForOnline=no\n[Network]\nVLAN=bond0.100\nLinkLocalAddressing=no\n",
    "30-vlan.network": "[Match]\nName=bond0.100\n[Link]\nRequiredForOnline=no\n[Network]\nBridge=br0\n",
    "40-br0.network": "[Match]\nName=br0\n[Link]\nRequiredForOnline=no\n[Network]\nLinkLocalAddressing=no\nConfigureWithoutCarrier=yes\n",
}
# Its module is loaded by nobody at boot; on a node kube-proxy's rules load it, long after sysctl.d was read.
CONNTRACK = "net.netfilter.nf_conntrack_tcp_be_liberal"
# None of these belongs to a network namespace, but for the last; what the role's defaults ask for, or more.
GLOBAL = {
    "vm.swappiness": (0, 10),
    "vm.vfs_cache_pressure": (0, 50),
    "vm.min_free_kbytes": (65536, 1 << 30),
    "net.core.netdev_max_backlog": (250000, 1 << 30),
    CONNTRACK: (1, 1),
}


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "lab" / "lab"), *words]
    return subprocess.run(argv, env={**os.environ, **SETTINGS}, capture_output=True, text=True, timeout=1800, check=False)


def inside(script: str) -> str:
    """Standard output of a script in the guest; "" where it does not answer, as while it boots."""
    argv = ["ssh", "-F", str(INVENTORY.with_name("ssh_config")), "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6"]
    return subprocess.run([*argv, "guest", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False).stdout.strip()


@pytest.fixture(scope="module")
def guest() -> Iterator[None]:
    ran = lab("guest", "up")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    yield
    assert lab("guest", "down").returncode == 0


def until(what: str, look: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"{what} did not come within {seconds:.0f} s"
        time.sleep(2)


def stack_is_up() -> None:
    until("the stack of links", lambda: inside(f"networkctl --no-legend list {' '.join(STACK)}").count(" configured") == len(STACK), 300)
    # A bond counts as configured before its cards are part of it, and take its MTU.
    until("the bond's cards", lambda: inside("ls -d /sys/class/net/d[01]/master").count("master") == 2, 300)


def play(folder: Path, link: str) -> tuple[int, str]:
    """The roles on the guest; how many tasks changed something, and the output."""
    # A guest alone has nobody to prove a path to.
    links = [{"name": name, "mtu": mtu, "may_be_unproved": True} for name, mtu in {**STACK, link: MTU}.items()]
    variables: dict[str, Any] = {"ais_datafs_disks": DISKS, "host_mtu_links": links, "host_mtu_confirm_within_seconds": 600}
    book = folder / "play.yml"
    book.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "vars": variables, "roles": [f"slipway.mlops.{role}" for role in ROLES]}]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(INVENTORY), str(book)],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "120"},
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return int(re.findall(r"^guest +: ok=\d+ +changed=(\d+)", output, re.MULTILINE)[0]), output


def state(link: str) -> dict[str, str]:
    """What the roles set, as the guest's own tools tell it."""
    names = [value["name"] for value in yaml.safe_load((ROOT / "roles/host_sysctl/defaults/main.yml").read_text())["host_sysctl_values"]]
    script = "; ".join(
        [f"findmnt -n -o TARGET,UUID,FSTYPE,OPTIONS {disk['path']}" for disk in DISKS]
        + [f"cd /sys/block/$(basename $(readlink -f {disk['device']}))/queue; cat scheduler read_ahead_kb nr_requests rq_affinity" for disk in DISKS]
        + [f"for link in {link} {' '.join(STACK)} d0 d1; do echo $link $(cat /sys/class/net/$link/mtu); done"]
    )
    kernel = dict(line.split(" = ", 1) for line in inside(f"sysctl -e {' '.join(names)}").splitlines())
    return {"all": inside(script), **kernel}


def test_mounts_queues_kernel_settings_and_mtu_are_there_after_a_boot(guest: None, tmp_path: Path) -> None:
    link = inside("basename /sys/class/net/en*")
    inside("\n".join(f"printf '{text}' > /etc/systemd/network/{name}".replace("\n", "\\n") for name, text in NETWORKD.items()) + "\nnetworkctl reload")
    stack_is_up()
    assert inside(f"modprobe nf_conntrack && sysctl -n {CONNTRACK}") == "0"
    changed, output = play(tmp_path, link)
    assert changed >= len(ROLES), output
    unchanged, output = play(tmp_path, link)
    assert unchanged == 0, output
    before = state(link)
    assert before["all"].count(" xfs ") == 2
    assert before["all"].count("[mq-deadline]") == 2
    for name, mtu in {**STACK, link: MTU, "d0": 9000, "d1": 9000}.items():
        assert f"{name} {mtu}" in before["all"].splitlines()
    for name, (low, high) in GLOBAL.items():
        assert low <= int(before[name]) <= high, name

    boot = inside("cat /proc/sys/kernel/random/boot_id")
    inside("systemctl reboot")
    until("another boot", lambda: inside("cat /proc/sys/kernel/random/boot_id") not in ("", boot), 900)
    inside("systemctl is-system-running --wait")  # degraded is an answer, too
    stack_is_up()  # nothing at boot waits for links that are not required for online

    assert state(link) == before
    unchanged, output = play(tmp_path, link)
    assert unchanged == 0, output
