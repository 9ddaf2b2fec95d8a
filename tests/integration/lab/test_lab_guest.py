# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The virtual machine: a kernel and a udev of its own, and boots."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_under_test import ROOT, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.long]
SETTINGS = {"LAB_NAME": "labguest", "LAB_SUBNET": "10.89.179.0/24"}


def lab_command(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "lab" / "lab"), *args]
    return subprocess.run(argv, env={**os.environ, **SETTINGS}, capture_output=True, text=True, timeout=1200, check=False)


def inside(script: str) -> str:
    return lab_command("guest", "ssh", script).stdout.strip()


@pytest.fixture(scope="module")
def guest() -> Iterator[None]:
    ran = lab_command("guest", "up")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    yield
    assert lab_command("guest", "down").returncode == 0
    running = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [c for c in running if b"labguest-guest" in c]


def test_udev_names_two_blank_disks(guest: None) -> None:
    for disk in (0, 1):
        device = f"/dev/disk/by-id/virtio-labguest-disk{disk}"
        assert inside(f"blockdev --getsize64 {device}") == str(1 << 30)
        assert inside(f"blkid -p {device}; echo $?").endswith("2")


def test_a_global_kernel_setting_is_the_guests_own_and_a_boot_brings_back_what_files_say(guest: None) -> None:
    here = Path("/proc/sys/vm/swappiness").read_text()
    inside("echo vm.swappiness=7 > /etc/sysctl.d/90-guest.conf && sysctl -qw vm.swappiness=11")
    assert inside("sysctl -n vm.swappiness") == "11"
    boot = inside("cat /proc/sys/kernel/random/boot_id")
    inside("systemctl reboot")
    wait_until("another boot", lambda: inside("cat /proc/sys/kernel/random/boot_id") not in ("", boot), 600)
    assert inside("sysctl -n vm.swappiness") == "7"
    assert Path("/proc/sys/vm/swappiness").read_text() == here


def test_a_second_up_keeps_the_running_guest(guest: None) -> None:
    boot = inside("cat /proc/sys/kernel/random/boot_id")
    assert lab_command("guest", "up").returncode == 0
    assert inside("cat /proc/sys/kernel/random/boot_id") == boot
