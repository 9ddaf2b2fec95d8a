# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small second lab beside the common one: its birth, its accidents, its end, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_under_test import ROOT, RunningLab, wait_until

NAME, SUBNET = "lablife", "10.89.177.0/24"
GATEWAY = "10.89.177.1"
SMALL = {"LAB_NAME": NAME, "LAB_SUBNET": SUBNET, "LAB_WORKERS": "1", "LAB_IMAGES": "none", "LAB_TAKE_OVER": ""}
pytestmark = pytest.mark.lab


def lab_command(*args: str, clone: Path = ROOT, seconds: float = 900, **settings: str) -> subprocess.CompletedProcess[str]:
    argv = [str(clone / "lab" / "lab"), *args]
    return subprocess.run(argv, env={**os.environ, **SMALL, **settings}, capture_output=True, text=True, timeout=seconds, check=False)


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def traces(name: str = NAME) -> list[str]:
    """Everything on the machine that bears the lab's name."""
    found = [f"container {n}" for n in output("podman", "ps", "--all", "--external", "--format", "{{.Names}}").split() if n.startswith(f"{name}-")]
    found += [f"volume {n}" for n in output("podman", "volume", "ls", "--quiet").split() if n.startswith(f"{name}-")]
    found += [f"network {n}" for n in output("podman", "network", "ls", "--format", "{{.Name}}").split() if n == name]
    found += [f"loop {line}" for line in output("losetup", "--all").splitlines() if f"/{name}-" in line]
    found += [f"route {line}" for line in output("ip", "route").splitlines() if SUBNET in line]
    found += [f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if f"{name}-" in line]
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"/{name}/" in text or f" {name}-" in text:
            found.append(f"process {cmdline.parent.name} {text}")
    return found


def kubectl(clone: Path, *args: str) -> str:
    state = clone / ".lab" / NAME
    argv = [str(state / "bin" / "kubectl"), "--kubeconfig", str(state / "kubeconfig"), *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def assert_works(clone: Path = ROOT) -> None:
    status = lab_command("status", clone=clone)
    assert status.returncode == 0, status.stdout
    assert kubectl(clone, "get", "nodes", "--no-headers").count(" Ready ") == 2


@pytest.fixture
def second(lab: RunningLab) -> Iterator[None]:
    """Nothing of the second lab before the test, nothing after it."""
    lab_command("down", LAB_TAKE_OVER="1")
    assert traces() == []
    yield
    ended = lab_command("down", LAB_TAKE_OVER="1")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_all_mistakes_in_the_settings_are_named_at_once() -> None:
    ran = lab_command("up", LAB_NAME="UPPER", LAB_SUBNET="10.96.4.0/24", LAB_WORKERS="many", LAB_IMAGES="nonesuch")
    assert ran.returncode == 2
    assert "Traceback" not in ran.stderr
    for name in ("LAB_NAME", "LAB_SUBNET", "LAB_WORKERS", "LAB_IMAGES"):
        assert name in ran.stderr


def test_a_subnet_of_another_lab_is_refused_with_its_owner(lab: RunningLab, second: None) -> None:
    ran = lab_command("up", LAB_SUBNET=lab.layout.subnet)
    assert ran.returncode == 1
    assert lab.layout.name in ran.stderr and str(lab.layout.state) in ran.stderr
    assert traces() == []


def test_a_subnet_that_the_machine_routes_elsewhere_is_refused_with_the_interface(second: None) -> None:
    output("ip", "route", "add", SUBNET, "dev", "lo")
    try:
        ran = lab_command("up")
        assert ran.returncode == 1
        assert SUBNET in ran.stderr and "interface lo" in ran.stderr
    finally:
        output("ip", "route", "del", SUBNET, "dev", "lo")
    assert traces() == []


def test_a_taken_registry_port_is_refused_with_its_holder(second: None) -> None:
    output("ip", "address", "add", f"{GATEWAY}/32", "dev", "lo")
    try:
        with socket.socket() as holder:
            holder.bind((GATEWAY, 5000))
            holder.listen()
            ran = lab_command("up")
        assert ran.returncode == 1
        assert f"process {os.getpid()}" in ran.stderr
    finally:
        output("ip", "address", "del", f"{GATEWAY}/32", "dev", "lo")
    assert traces() == []


def test_a_container_of_somebody_else_under_our_name_is_refused_and_kept(lab: RunningLab, second: None) -> None:
    image = lab.podman("inspect", "--format", "{{.ImageName}}", lab.container("cp1"))
    lab.podman("create", "--name", f"{NAME}-cp1", "--network", "none", "--ulimit", "nofile=1000:1000", "--ulimit", "nproc=1000:1000", image)
    try:
        ran = lab_command("up")
        assert ran.returncode == 1
        assert f"{NAME}-cp1" in ran.stderr and "not made by the lab" in ran.stderr
        lab.podman("container", "exists", f"{NAME}-cp1")
        assert lab_command("down").returncode == 0
        lab.podman("container", "exists", f"{NAME}-cp1")
    finally:
        lab.podman("rm", "--force", f"{NAME}-cp1")


def test_a_disk_that_is_too_full_is_named_before_anything_is_made(second: None, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    output("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(cache))
    try:
        ran = lab_command("up", XDG_CACHE_HOME=str(cache))
        assert ran.returncode == 1
        assert str(cache) in ran.stderr and "GB free" in ran.stderr
    finally:
        output("umount", str(cache))
    assert traces() == []


@pytest.mark.long
@pytest.mark.disturb
def test_a_lab_survives_its_accidents_and_leaves_nothing(lab: RunningLab, second: None) -> None:
    settings = {p: p.read_text() for p in map(Path, ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/inotify/max_user_instances"))}
    made = lab_command("up")
    assert made.returncode == 0, made.stdout + made.stderr
    assert_works()

    # A registry that was killed, a worker that is gone, a worker whose loop device is gone.
    registry = int((Path("/run/slipway-lab") / NAME / "registry.pid").read_text())
    os.kill(registry, signal.SIGKILL)
    output("podman", "rm", "--force", "--time", "0", "--volumes", f"{NAME}-w1")
    assert lab_command("status").returncode == 1
    again = lab_command("up")
    assert again.returncode == 0, again.stdout + again.stderr
    assert_works()

    # As after a reboot of the machine: everything stopped, loop devices and processes gone.
    os.kill(int((Path("/run/slipway-lab") / NAME / "registry.pid").read_text()), signal.SIGKILL)
    output("podman", "stop", "--time", "5", f"{NAME}-w1", f"{NAME}-cp1")
    for line in output("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines():
        if f"/{NAME}-" in line:
            output("losetup", "--detach", line.split()[0])
    again = lab_command("up")
    assert again.returncode == 0, again.stdout + again.stderr
    assert_works()

    ended = lab_command("down")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert traces() == []
    assert {p: p.read_text() for p in settings} == settings
    assert lab_command("down").returncode == 0


@pytest.mark.long
@pytest.mark.disturb
def test_a_killed_up_is_completed_by_the_next(second: None) -> None:
    for delay in (1, 3, 6, 10, 16, 24):
        up = subprocess.Popen(
            [str(ROOT / "lab" / "lab"), "up"], env={**os.environ, **SMALL}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(delay)
        up.kill()  # only the program itself: what it had started must not get in the way either
        up.wait()
    made = lab_command("up")
    assert made.returncode == 0, made.stdout + made.stderr
    assert_works()
    assert lab_command("down").returncode == 0
    assert traces() == []


@pytest.mark.long
@pytest.mark.disturb
def test_a_lab_of_another_clone_is_refused_and_taken_over_when_asked(second: None, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    for folder in ("lab", "images", "examples"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    made = lab_command("up")
    assert made.returncode == 0, made.stdout + made.stderr

    for command in ("up", "down"):
        refused = lab_command(command, clone=clone)
        assert refused.returncode == 1
        assert str(ROOT) in refused.stderr
    assert_works()

    taken = lab_command("up", clone=clone, LAB_TAKE_OVER="1")
    assert taken.returncode == 0, taken.stdout + taken.stderr
    assert_works(clone)
    assert not (ROOT / ".lab" / NAME / "kubeconfig").exists()
    assert not list((ROOT / ".lab" / NAME).glob("disks/*"))
    assert lab_command("status").returncode == 1

    # The clone vanishes with its lab still running: nobody else could ever end it.
    shutil.rmtree(clone)
    ended = lab_command("down")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert traces() == []


@pytest.mark.long
def test_a_fleet_is_ready_and_goes_again(second: None) -> None:
    assert lab_command("up").returncode == 0
    made = lab_command("fleet", "100")
    assert made.returncode == 0, made.stdout + made.stderr
    nodes = json.loads(kubectl(ROOT, "get", "nodes", "-l", "slipway.lab/fleet", "-o", "json"))["items"]
    assert len(nodes) == 100
    assert all(any(c["type"] == "Ready" and c["status"] == "True" for c in n["status"]["conditions"]) for n in nodes)
    assert lab_command("fleet", "0").returncode == 0
    wait_until("the fleet is gone", lambda: kubectl(ROOT, "get", "nodes", "-l", "slipway.lab/fleet", "-o", "name") == "", 60)
