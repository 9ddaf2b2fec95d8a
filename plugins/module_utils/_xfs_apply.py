# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries out the plan for the data disks of a host. The only file of these that writes.

The order makes every interruption harmless: journal, mkfs, journal, fstab, mount. What is begun is in the journal before it begins.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.slipway.mlops.plugins.module_utils import _block_probe, _block_signatures, _files, _xfs_journal, _xfs_observe, _xfs_superblock
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_options import for_mount
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_plan import ABSENT, Plan, Settings, Step

LOCK = "/var/lib/slipway/xfs_datafs.lock"
LOCK_WAIT_SECONDS = 60
PODS_END_SECONDS = 75  # those of AIStore have 60 for their end (terminationGracePeriodSeconds), and the kubelet needs some


@dataclass
class Outcome:
    """What was done and what was not. `failed`: sentences; `warnings`: what the user should know though it is no failure."""

    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)

    def fail(self, step: Step, problem: str) -> None:
        self.broken.add(step.disk.index)
        self.failed.append(f"{step.disk}: {problem}")


@contextlib.contextmanager
def locked() -> Iterator[int]:
    """Only one run changes the disks of a host. A mkfs of a killed run inherits the lock, so the next run waits for its end."""
    os.makedirs(os.path.dirname(LOCK), mode=0o755, exist_ok=True)
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        end = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
                    raise Failed(f"another run changes disks of this host ({holder}; lock {LOCK}); nothing was touched") from None
                time.sleep(0.2)
        os.ftruncate(handle, 0)
        os.pwrite(handle, "process {}, since {}\n".format(os.getpid(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())).encode(), 0)
        yield handle
    finally:
        os.close(handle)


def apply(plan: Plan, settings: Settings, lock: int) -> Outcome:
    """Carry out `plan`, which was made while the lock was held."""
    outcome = Outcome()
    journal = plan.begun
    _note(journal, plan.facts.journal)
    for step in plan.steps:
        if step.must_be_empty:  # before journal and fstab call it ours
            _try(outcome, step, _prove_empty, step)
    for step in plan.steps:
        if step.unmount:
            _try(outcome, step, _unmount, step)
    made = _format_all(plan.steps, outcome, lock)
    for step in plan.steps:
        entry = plan.journal.find(step.uuid)
        if entry and step.disk.index not in outcome.broken and (not step.mkfs or step in made):
            finished = journal.noted(entry)
            _note(finished, journal)
            journal = finished
    _write_fstab(plan, outcome)
    for step in plan.steps:
        if step.disk.index in outcome.broken:
            continue
        if step.guard and not _try(outcome, step, _guard, step, outcome):
            continue
        if step.mount and not _try(outcome, step, _mount, step):
            continue
        if step.remount:
            _try(outcome, step, _remount, step)
        if step.grow:
            _try(outcome, step, _grow, step)
        if step.root:
            _try(outcome, step, _own, step, settings)
        if step.remove_point:
            _try(outcome, step, _remove_point, step, outcome)
    return outcome


def _try(outcome: Outcome, step: Step, work: Callable[..., None], *arguments: object) -> bool:
    """Do `work`; what goes wrong ends the work on this disk alone."""
    try:
        work(*arguments)
    except Failed as error:
        outcome.fail(step, str(error))
    except OSError as error:
        outcome.fail(step, "{}: {}".format(work.__name__.strip("_"), error))
    return step.disk.index not in outcome.broken


def _note(journal: _xfs_journal.Journal, known: _xfs_journal.Journal) -> None:
    if journal == known and os.path.exists(_xfs_journal.PATH):
        return
    try:
        _files.write_atomic(_xfs_journal.PATH, _xfs_journal.dump(journal), mode=0o600)
    except OSError as error:
        raise Failed(f"cannot write {_xfs_journal.PATH}: {error.strerror}; no disk was touched after that") from None


# -- mkfs ------------------------------------------------------------------------------------------------------------------


def _format_all(steps: Sequence[Step], outcome: Outcome, lock: int) -> list[Step]:
    """Clear what is to be cleared, run all mkfs at once, and look at what each has left on its disk."""
    running = []
    for step in steps:
        if not step.mkfs:
            continue
        if step.clear and not _try(outcome, step, _clear, step):
            continue
        try:
            # The lock stays held by mkfs should we be killed.
            process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                step.mkfs, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(lock,)
            )
        except OSError as error:
            outcome.fail(step, f"cannot start {step.mkfs[0]}: {error.strerror}")
            continue
        running.append((step, process))
    made = []
    for step, process in running:
        said = process.communicate()[0].decode("utf-8", "replace").strip()
        if process.returncode:
            outcome.fail(step, "`{}` failed ({}): {}".format(" ".join(step.mkfs), _ending(process.returncode), said or "it said nothing"))
        elif _try(outcome, step, _verify_made, step):
            made.append(step)
    return made


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


def _clear(step: Step) -> None:
    """Zero what would keep mkfs from running without force. The device is ours alone meanwhile, and must still hold what the plan saw."""
    device = _device(step)
    path = device.path
    try:
        handle = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise Failed(f"{path} cannot be opened for us alone: {error.strerror}; not touched") from None
    try:
        now = _block_probe.Host().content(device)
        if now.digest != step.digest:
            raise Failed(f"the content of {path} changed while we looked; not touched")
        # First our mark, so that an erasure that is interrupted here is known by it; mkfs leaves its place alone or writes over it.
        mark = _block_signatures.CLEARING + _uuid_bytes(step.uuid)
        _write(handle, _block_signatures.CLEARING_OFFSET, mark.ljust(4096, b"\0"))
        os.fsync(handle)
        for offset, length in step.clear:
            end = offset + length
            if offset <= _block_signatures.CLEARING_OFFSET < end:
                _write(handle, offset, bytes(_block_signatures.CLEARING_OFFSET - offset))
                offset = _block_signatures.CLEARING_OFFSET + 4096
            _write(handle, offset, bytes(end - offset))
        os.fsync(handle)
        with contextlib.suppress(OSError):  # partitions that the kernel still knows; not every device can have some
            fcntl.ioctl(handle, 0x125F)  # BLKRRPART
    finally:
        os.close(handle)


def _write(handle: int, offset: int, data: bytes) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _device(step: Step) -> _block_probe.Device:
    if step.device is None:
        raise Failed("has no device")  # the plan gives no such step
    return step.device


def _uuid_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


def _verify_made(step: Step) -> None:
    handle = os.open(_device(step).path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        found = _xfs_superblock.parse(os.pread(handle, _xfs_superblock.BYTES, 0))
    finally:
        os.close(handle)
    if found is None or found.uuid != step.uuid or found.in_progress or found.problem:
        raise Failed("mkfs.xfs ended well, but the device does not hold what it made ({})".format(found.describe() if found else "no superblock"))


# -- fstab and mounts ------------------------------------------------------------------------------------------------------


def _write_fstab(plan: Plan, outcome: Outcome) -> None:
    path, before, after = _xfs_observe.FSTAB, plan.facts.fstab, plan.fstab_without(outcome.broken)
    mounts = any(step.mount and step.disk.index not in outcome.broken for step in plan.steps)
    if after == before and not mounts:
        return
    try:
        if (_files.read(path) or b"") != before:
            raise Failed(f"{path} was changed by somebody else meanwhile; run again")
        if after != before:
            _files.write_atomic(path, after)
    except OSError as error:
        made = [step.device.name for step in plan.steps if step.mkfs and step.device]
        kept = "; {} made and in the journal, the next run goes on from there".format(", ".join(made)) if made else ""
        raise Failed(f"cannot write {path}: {error.strerror}; it is as it was, nothing was mounted{kept}") from None
    if os.path.isdir("/run/systemd/system"):
        # Otherwise systemd acts on the units of the former fstab: it has unmounted new disks at once (systemd issues 1741, 3568).
        # Also before a mount without a change of fstab, for a killed run may have changed it and not have come here.
        _run("systemctl", "daemon-reload")


def _prove_empty(step: Step) -> None:
    """Mount it where nobody else sees it: in a mount namespace that ends with its process, over the folder of our lock."""
    script = 'mount -t xfs -o ro,nosuid,nodev,noexec "$0" "$1" && ls -A "$1"'
    if _run("unshare", "--mount", "--propagation", "private", "sh", "-c", script, _device(step).path, os.path.dirname(LOCK)):
        raise Failed(f"looked empty, but holds files once its log is replayed; left as it is. To keep it:\n      adopt: {step.uuid}")


def _guard(step: Step, outcome: Outcome) -> None:
    """The directory under the mount: there, and immutable, so that nothing is ever written to the system's disk in its place."""
    os.makedirs(step.disk.path, mode=0o755, exist_ok=True)
    if not _xfs_observe.set_immutable(step.disk.path, True):
        outcome.warnings.append(f"{step.disk}: {step.disk.path} cannot be made immutable on its filesystem; while nothing is mounted, others may write there")


def _mount(step: Step) -> None:
    path, device = step.disk.path, _device(step)
    options = ",".join(for_mount(step.disk.options)) or "defaults"
    _run("mount", "-t", "xfs", "-o", options, device.path, path)
    mount = _block_probe.Host().mounted_on(path)
    if mount is None or mount.number != device.number:
        raise Failed(f"mount ended well, but {device.path} is not on {path}")


def _remount(step: Step) -> None:
    # Device and directory together: mount(8) takes nothing from fstab then.
    _run("mount", "-o", "remount," + ",".join(step.remount), _device(step).path, step.disk.path)


def _grow(step: Step) -> None:
    _run("xfs_growfs", "-d", step.disk.path)


def _own(step: Step, settings: Settings) -> None:
    path = step.disk.path
    os.chown(path, -1 if settings.owner is None else settings.owner, -1 if settings.group is None else settings.group)
    if settings.mode is not None:
        os.chmod(path, settings.mode)
    if settings.selinux_context:
        try:
            os.setxattr(path, "security.selinux", settings.selinux_context.encode() + b"\0")
        except OSError as error:
            raise Failed(f"the SELinux context {settings.selinux_context} cannot be set on {path}: {error.strerror}") from None


def _unmount(step: Step) -> None:
    path = step.disk.path
    host = _block_probe.Host()
    mount = host.mounted_on(path)
    try:
        _run("umount", path)
    except Failed as error:
        users = _users(path)
        raise Failed("{}{}".format(error, "; in use by " + ", ".join(users) if users else "")) from None
    others = _elsewhere(mount.number) if mount else ()
    if others:
        raise Failed("is unmounted here, but goes on in {}; end those processes".format(", ".join(others)))


def _elsewhere(number: str) -> tuple[str, ...]:
    """Who still has the device mounted after a while. Containers keep what they had, and a pod that was just deleted ends in its own time."""
    end = time.monotonic() + PODS_END_SECONDS
    while True:
        others = _xfs_observe.mounted_elsewhere(_block_probe.Host(), number)
        if not others or time.monotonic() > end:
            return others
        time.sleep(0.5)


def _remove_point(step: Step, outcome: Outcome) -> None:
    path = step.disk.path
    if step.disk.state != ABSENT or os.path.ismount(path):
        return
    _xfs_observe.set_immutable(path, False)
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
            raise
        outcome.warnings.append(f"{step.disk}: the mount point {path} is kept: {error.strerror}")


def _users(path: str) -> list[str]:
    """Processes that keep a mount busy, as fuser would name them."""
    found = []
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        places = [f"/proc/{pid}/cwd", f"/proc/{pid}/root"]
        with contextlib.suppress(OSError):
            places += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
        for place in places:
            with contextlib.suppress(OSError):
                if (os.readlink(place) + "/").startswith(path + "/"):
                    with open(f"/proc/{pid}/comm") as file:
                        found.append(f"process {pid} ({file.read().strip()})")
                    break
    return found


def _run(*command: str) -> str:
    environment = {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        answer = subprocess.run(  # pylint: disable=ansible-bad-function
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment
        )
    except OSError as error:
        raise Failed(f"cannot start {command[0]}: {error.strerror}") from None
    if answer.returncode:
        raise Failed("`{}` failed ({}): {}".format(" ".join(command), _ending(answer.returncode), (answer.stderr or answer.stdout).strip()))
    return answer.stdout
