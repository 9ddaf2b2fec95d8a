# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks that fail, files that cannot be written, and runs that are killed at any point: nothing is lost, and the next run finishes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from .conftest import FSTAB, Sandbox

LINE = re.compile(r'erase: (\{device: "(?P<device>[^"]+)", content: "(?P<content>[^"]+)"\})')
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")


def writes(*always: int, long: Sequence[int]) -> list[Any]:
    return [*always, *(pytest.param(number, marks=pytest.mark.long) for number in long)]


def program(host: Sandbox, name: str, script: str) -> list[str]:
    """A prefix that puts a program of this name in front of the real one."""
    folder = host.folder / "bin"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\nreal={shutil.which(name)}\n{script}\n")
    (folder / name).chmod(0o755)
    return ["env", f"PATH={folder}:{os.environ['PATH']}:/usr/sbin"]


def finish(host: Sandbox, *disks: dict[str, object], **options: object) -> None:
    """The next run brings everything to its end, and the one after finds nothing to do."""
    done = host.datafs(*disks, **options)
    assert not done.get("failed"), done
    assert set(host.mounts()) == {disk["path"] for disk in disks}
    lines = [line for line in host.read("/etc/fstab").splitlines() if " /srv/" in line]
    assert sorted(line.split()[0] for line in lines) == sorted("UUID=" + disk["uuid"] for disk in done["disks"])
    assert host.read("/etc/fstab").startswith(FSTAB)
    assert not host.datafs(*disks, **options)["changed"]


def test_a_disk_that_cannot_be_read_does_not_look_blank(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["truncate", "-s", "64M", host.file("a")], check=True)
    message = host.refused(disk)
    assert "cannot be classified: cannot be read: [Errno 5] Input/output error" in message


def test_a_mounted_disk_that_died_is_told(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    host.datafs(disk)
    host.run("xfs_io", "-x", "-c", "shutdown", "/srv/disk0")
    result = host.datafs(disk)
    assert result["failed"] and "input/output error, or shut down" in result["msg"]


@pytest.mark.long
def test_one_mkfs_that_fails_leaves_the_other_disks_done(host: Sandbox) -> None:
    """Writes fail with ENOSPC, as on a disk that rejects them: its backing file lies on a full tmpfs."""
    small = host.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        host.loops["bad"] = ""
        bad = small / "bad.img"
        subprocess.run(["truncate", "-s", "512M", bad], check=True)
        host.loops["bad"] = subprocess.run(["losetup", "-f", "--show", bad], capture_output=True, text=True, check=True).stdout.strip()
        disks = [{"device": host.loops["bad"], "path": "/srv/disk0"}, {"device": host.disk("good"), "path": "/srv/disk1"}]
        result = host.datafs(*disks)
        assert result["failed"] and result["msg"].startswith("1 of 2 disks failed:\n- disks[0] ")
        assert "mkfs.xfs" in result["msg"]
        assert set(host.mounts()) == {"/srv/disk1"}
        assert "/srv/disk0" not in host.read("/etc/fstab")
        # With room again, the run is finished by the next one.
        subprocess.run(["mount", "-o", "remount,size=200m", small], check=True)
        finish(host, *disks)
    finally:
        host.run("umount", "/srv/disk0", check=False)
        subprocess.run(["losetup", "-d", host.loops.pop("bad")], check=False)
        subprocess.run(["umount", "-l", small], check=False)


def test_a_full_or_read_only_etc_is_seen_before_any_disk_is_touched(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    host.run("sh", "-c", "dd if=/dev/zero of=/etc/filler bs=4k 2>/dev/null; true")
    assert "/etc/fstab cannot be written (no space left in /etc)" in host.refused(disk)
    host.run("rm", "/etc/filler")
    host.run("mount", "-o", "remount,ro", "/etc")
    assert "/etc/fstab cannot be written (/etc is read-only)" in host.refused(disk)
    host.run("mount", "-o", "remount,rw", "/etc")
    finish(host, disk)


def test_etc_that_fills_up_meanwhile(host: Sandbox) -> None:
    """Seen too late to refuse: the filesystem is made and journalled, fstab is as it was, and the next run goes on from there."""
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    fill = program(host, "mkfs.xfs", '[ "$1" = -V ] || dd if=/dev/zero of=/etc/filler bs=4k 2>/dev/null\nexec $real "$@"')
    result = host.datafs(disk, prefix=fill)
    assert result["failed"] and "cannot write /etc/fstab: No space left on device; it is as it was, nothing was mounted" in result["msg"]
    assert host.read("/etc/fstab") == FSTAB and not host.mounts()
    host.run("rm", "/etc/filler")
    uuid = result["disks"][0]["uuid"]
    finish(host, disk)
    assert uuid in host.read("/etc/fstab")


def test_a_damaged_journal_is_not_guessed_at(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    for content in ('{"version": 1, "filesyst', "[]", '{"version": 2}', '{"version": 1, "filesystems": [{"uuid": 1}]}'):
        host.write("/var/lib/slipway/xfs_datafs.json", content)
        assert "xfs_datafs.json is" in host.refused(disk)


@needs_strace
@pytest.mark.parametrize("write", writes(3, 21, long=(1, 2, 5, 8, 13, 34)))
def test_mkfs_killed_at_a_write(host: Sandbox, write: int) -> None:
    disk, other = {"device": host.disk("a"), "path": "/srv/disk0"}, {"device": host.disk("b"), "path": "/srv/disk1"}
    inject = f"strace -o /dev/null -e trace=pwrite64 -e inject=pwrite64:signal=KILL:when={write}"
    kill = program(host, "mkfs.xfs", f'case "$*" in *{disk["device"]}) exec {inject} $real "$@";; *) exec $real "$@";; esac')
    first = host.datafs(disk, other, prefix=kill)
    if first.get("failed"):
        assert "killed by signal 9" in first["msg"] or "exit status 137" in first["msg"], first["msg"]
        assert set(host.mounts()) == {"/srv/disk1"}
    else:
        assert write > 20, "mkfs writes more than that"
    finish(host, disk, other)


@needs_strace
@pytest.mark.parametrize("write", writes(3, long=(1, 2, 4, 6, 10, 20)))
def test_an_erasure_killed_at_a_write(host: Sandbox, write: int) -> None:
    """Module and mkfs together, anywhere between the journal and the last write of mkfs."""
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.ext4", "-q", "-F", host.file("a")], check=True)
    subprocess.run(["dd", "if=/dev/urandom", f"of={host.file('a')}", "bs=1M", "seek=300", "count=8", "conv=notrunc"], check=True, capture_output=True)
    line = LINE.search(host.refused(disk))
    assert line
    disk["erase"] = {"device": line["device"], "content": line["content"]}
    host.datafs(disk, prefix=["strace", "-f", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", f"inject=pwrite64:signal=KILL:when={write}"])
    finish(host, disk)


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("mkfs.xfs", '[ "$1" = -V ] && exec $real -V; kill -9 $PPID; exec $real "$@"'),  # killed while mkfs goes on
        ("mkfs.xfs", '[ "$1" = -V ] && exec $real -V; $real "$@"; kill -9 $PPID'),  # between mkfs and fstab
        ("mount", "kill -9 $PPID"),  # between fstab and mount
        ("mount", '$real "$@"; kill -9 $PPID'),  # between mount and owner
    ],
    ids=["in mkfs", "before fstab", "before mount", "after mount"],
)
def test_the_run_itself_is_killed(host: Sandbox, name: str, script: str) -> None:
    disks = [{"device": host.disk(name), "path": f"/srv/{name}"} for name in ("a", "b")]
    assert host.datafs(*disks, prefix=program(host, name, script), mode="0711") == {}
    finish(host, *disks, mode="0711")
    assert host.run("stat", "-c", "%a", "/srv/a").strip() == "711"


@pytest.mark.long
def test_a_second_run_waits_for_the_mkfs_of_a_killed_one(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    slow = program(host, "mkfs.xfs", '[ "$1" = -V ] && exec $real -V; kill -9 $PPID; sleep 3; exec $real "$@"')
    assert host.datafs(disk, prefix=slow) == {}
    started = time.monotonic()
    finish(host, disk)
    assert time.monotonic() - started > 1.5


@pytest.mark.long
def test_two_runs_at_once_do_the_work_once(host: Sandbox) -> None:
    disks = [{"device": host.disk(name), "path": f"/srv/{name}"} for name in ("a", "b")]
    count = host.folder / "count"
    slow = program(host, "mkfs.xfs", f'[ "$1" = -V ] && exec $real -V; echo x >> {count}; sleep 1; exec $real "$@"')
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _number: host.datafs(*disks, prefix=slow), range(2)))
    assert sorted(result["changed"] for result in results) == [False, True], results
    assert count.read_text() == "x\nx\n"


def test_a_run_that_begins_while_mkfs_of_another_holds_the_disk_waits(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    begun = host.folder / "begun"
    hold = f"import os, time; os.open('{disk['device']}', os.O_RDWR | os.O_EXCL); open('{begun}', 'w'); time.sleep(4)"
    slow = program(host, "mkfs.xfs", f'[ "$1" = -V ] && exec $real -V; {sys.executable} -c "{hold}"; exec $real "$@"')
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: host.datafs(disk, prefix=slow))
        while not begun.exists():
            assert not first.done(), first.result()
            time.sleep(0.02)
        second = host.datafs(disk)
        assert first.result()["changed"]
    assert not second.get("failed") and not second["changed"] and second["disks"][0]["mounted"], second


def test_systemd_reads_fstab_again_before_every_mount(host: Sandbox) -> None:
    """A run was killed between fstab and daemon-reload: the next finds fstab as it shall be, and systemd still has the units of before."""
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    host.run("mount", "-t", "tmpfs", "tmpfs", "/run")
    host.run("mkdir", "-p", "/run/systemd/system")
    calls = host.folder / "calls"
    assert host.datafs(disk, prefix=program(host, "systemctl", "kill -9 $PPID")) == {}
    assert "/srv/disk0" in host.read("/etc/fstab") and not host.mounts()
    told = program(host, "systemctl", f'echo "$*" >> {calls}')
    assert host.datafs(disk, prefix=told)["disks"][0]["mounted"]
    assert calls.read_text() == "daemon-reload\n"
    assert not host.datafs(disk, prefix=told)["changed"] and calls.read_text() == "daemon-reload\n"


def test_an_interrupted_mkfs_of_somebody_else_is_not_ours(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.xfs", "-q", host.file("a")], check=True)
    with host.file("a").open("r+b") as image:
        image.seek(126)
        image.write(b"\x01")
    assert LINE.search(host.refused(disk))


def test_what_was_put_on_the_disk_after_an_interruption_is_safe(host: Sandbox) -> None:
    """mkfs is killed, somebody takes the disk for ext4, our next run finds its own journal entry: the ext4 stays."""
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    host.datafs(disk, prefix=program(host, "mkfs.xfs", '[ "$1" = -V ] && exec $real -V; kill -9 $PPID; exit 1'))
    subprocess.run(["mkfs.ext4", "-q", "-F", host.file("a")], check=True)
    assert "holds ext2/3/4" in host.refused(disk)


def test_a_name_that_points_elsewhere_meanwhile(host: Sandbox) -> None:
    """fstab was edited by somebody while mkfs ran: their edit stays, ours waits for the next run."""
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    edit = program(host, "mkfs.xfs", '[ "$1" = -V ] || echo "# edited" >> /etc/fstab\nexec $real "$@"')
    result = host.datafs(disk, prefix=edit)
    assert result["failed"] and "was changed by somebody else meanwhile" in result["msg"]
    assert "# edited" in host.read("/etc/fstab") and not host.mounts()
    finish(host, disk)


@pytest.mark.long
def test_terminated_in_the_middle(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    stop = program(host, "mkfs.xfs", f'[ "$1" = -V ] && exec $real -V; kill -{int(signal.SIGTERM)} $PPID; exec $real "$@"')
    assert host.datafs(disk, prefix=stop) == {}
    time.sleep(0.2)
    finish(host, disk)
