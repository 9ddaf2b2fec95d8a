# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the declared data disks and at the host around them. Reads only.

A disk that is mounted where it is declared costs a few system calls and no read of the disk; only the others are read.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import stat
import struct
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ansible_collections.slipway.mlops.plugins.module_utils import _block_probe, _files, _fstab, _xfs_journal
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_plan import MOUNTED, Disk, Facts, Geometry, Point, Root, Seen

FSTAB = "/etc/fstab"

# ioctl numbers: linux/fs.h (FS_IOC_*), fs/xfs/libxfs/xfs_fs.h (XFS_IOC_FSGEOMETRY_V1).
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE = 0x10
_GEOMETRY, _GEOMETRY_BYTES = 0x80705864, 112
_GET_LABEL, _LABEL_BYTES = 0x81009431, 256
# open_tree(2), one number on all architectures since Linux 5.2.
_OPEN_TREE, _AT_FDCWD, _CLONE = 428, -100, 1


def kernel_version() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def look(disks: Sequence[Disk], journal: _xfs_journal.Journal) -> tuple[list[Seen], Facts]:
    """Every disk as it is now, and the facts of the host that a plan for them needs."""
    host = _block_probe.Host()
    seen = [_outside(host, disk) for disk in disks]
    fstab = _files.read(FSTAB) or b""
    lines = _fstab.lines(fstab)
    deep = [index for index, (disk, sight) in enumerate(zip(disks, seen)) if disk.state == MOUNTED and not sight.settled and not sight.on_path and sight.device]
    by_path = {line.entry.path: line.entry.source for line in lines}
    # Only where fstab does not say what is mounted must it be known what else bears the UUIDs.
    odd = any(disk.state == MOUNTED and sight.geometry and by_path.get(disk.path) != "UUID=" + sight.geometry.uuid for disk, sight in zip(disks, seen))
    holders: dict[str, tuple[str, ...]] = {}
    if deep or odd:
        for name, block in host.superblocks().items():
            holders[block.uuid] = (*holders.get(block.uuid, ()), name)
    if deep:
        for index, sight in zip(deep, _each(lambda index: _inside(host, disks[index], seen[index], journal, holders), deep)):
            seen[index] = sight
    needs_mkfs = any(disks[index].erase or not _whole(seen[index]) for index in deep)
    return seen, Facts(
        kernel=kernel_version(),
        machine=(_files.read("/etc/machine-id") or os.uname().nodename.encode()).decode("ascii", "replace").strip(),
        fstab=fstab,
        journal=journal,
        holders=holders,
        specs={line.entry.source: _device_of(line.entry.source, holders) for line in lines},
        mkfs=mkfs_version() if needs_mkfs else None,
        fstab_problem=_unwritable(FSTAB, len(fstab) + 4096),
    )


def mkfs_version() -> tuple[int, int] | None:
    if not shutil.which("mkfs.xfs"):
        return None
    answer = subprocess.run(["mkfs.xfs", "-V"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # pylint: disable=ansible-bad-function
    found = re.search(r"(\d+)\.(\d+)", answer.stdout + answer.stderr)
    return (int(found.group(1)), int(found.group(2))) if found else None


# -- from outside: /sys, /proc and the mount ------------------------------------------------------------------------------


def _outside(host: _block_probe.Host, disk: Disk) -> Seen:
    device, trouble = None, ""
    try:
        device = host.resolve(disk.device)
    except _block_probe.NotFound as error:
        trouble = str(error)
    on_path = host.mounted_on(disk.path)
    sight = Seen(
        device=device,
        trouble=trouble,
        on_path=on_path,
        point=mount_point(disk.path, under_mount=on_path is not None),
        geometry=geometry(disk.path) if on_path and on_path.filesystem == "xfs" else None,
    )
    if sight.settled:
        return replace(sight, root=root_of(disk.path))
    return replace(sight, uses=tuple(host.uses(device)) if device else ())


def mount_point(path: str, under_mount: bool) -> Point:
    """The directory at `path`; under a mount, the one below it."""
    try:
        found = os.lstat(path)
    except OSError:
        return Point(exists=os.path.lexists(path), real=_real(path))
    entries: tuple[str, ...] = ()
    if not under_mount and stat.S_ISDIR(found.st_mode):
        with contextlib.suppress(OSError), os.scandir(path) as scan:
            entries = tuple(entry.name for entry, _count in zip(scan, range(4)))
    immutable = None
    with contextlib.suppress(OSError), directory_below(path) as handle:
        immutable = bool(_flags(handle) & _IMMUTABLE)
    return Point(exists=True, directory=stat.S_ISDIR(found.st_mode), real=_real(path), entries=entries, immutable=immutable)


@contextlib.contextmanager
def directory_below(path: str) -> Iterator[int]:
    """A handle of the directory at `path` itself, also while something is mounted on it. OSError where the kernel gives none."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = libc.syscall(_OPEN_TREE, _AT_FDCWD, os.path.dirname(path).encode(), _CLONE | os.O_CLOEXEC)
    if parent < 0:
        raise OSError(ctypes.get_errno(), "open_tree")
    try:
        handle = os.open(os.path.basename(path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        yield handle
    finally:
        os.close(handle)


def set_immutable(path: str, immutable: bool) -> bool:
    """Make the directory at `path` (the one below a mount) immutable, or not. False where its filesystem knows no such flag."""
    try:
        with directory_below(path) as handle:
            flags = _flags(handle)
            wanted = flags | _IMMUTABLE if immutable else flags & ~_IMMUTABLE
            if wanted != flags:
                fcntl.ioctl(handle, _SET_FLAGS, struct.pack("l", wanted))
    except OSError:
        return False
    return True


def _flags(handle: int) -> int:
    return int(struct.unpack("l", fcntl.ioctl(handle, _GET_FLAGS, bytes(struct.calcsize("l"))))[0])


def geometry(path: str) -> Geometry | None:
    """The XFS mounted at `path`, told by the kernel from memory; None where it cannot tell."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            raw = fcntl.ioctl(handle, _GEOMETRY, bytes(_GEOMETRY_BYTES))
            label = ""
            with contextlib.suppress(OSError):
                label = fcntl.ioctl(handle, _GET_LABEL, bytes(_LABEL_BYTES)).split(b"\0", 1)[0].decode("utf-8", "replace")
        finally:
            os.close(handle)
        block, blocks = struct.unpack_from("=I28xQ", raw)
        return Geometry(str(uuid.UUID(bytes=raw[64:80])), label, block * blocks)
    return None


def root_of(path: str) -> Root | None:
    """Owner, mode and SELinux context of the directory at `path`; None on an input/output error."""
    try:
        found = os.stat(path)
        with os.scandir(path) as scan:
            empty = next(scan, None) is None
    except OSError:
        return None
    context = ""
    with contextlib.suppress(OSError):
        context = os.getxattr(path, "security.selinux").rstrip(b"\0").decode()
    return Root(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), context, empty)


# -- from inside: the bytes ------------------------------------------------------------------------------------------------


def _inside(host: _block_probe.Host, disk: Disk, sight: Seen, journal: _xfs_journal.Journal, holders: dict[str, tuple[str, ...]]) -> Seen:
    device = sight.device
    if device is None or sight.uses:
        return sight
    begun = journal.unfinished(device.identity, disk.path)
    content = host.content(device, marks=[uuid.UUID(begun.uuid).bytes] if begun else [])
    found = content.xfs
    sight = replace(sight, content=content)
    whole, empty = _whole(sight), False
    if whole and found is not None and found.size <= device.size:
        try:
            empty = host.root_is_empty(device, found)
        except OSError as error:
            sight = replace(sight, content=replace(content, error=f"its root directory cannot be read: {error.strerror}"))
    return replace(
        sight,
        claim=_block_probe.claim_problem(device),
        writers=host.writers(device),
        empty=empty,
        elsewhere=mounted_elsewhere(host, device.number),
        twins=tuple(name for name in holders.get(found.uuid, ()) if name != device.name) if found and whole else (),
        sharing=tuple(other.name for other in host.sharing(device)),
        parts=tuple((name, host.content(host.device(name))) for name in device.partitions),
    )


def mounted_elsewhere(host: _block_probe.Host, number: str) -> tuple[str, ...]:
    """Processes that have the device mounted in a mount namespace of their own, while it is not mounted in ours."""
    return tuple(f"the mount namespace of process {pid} ({name}) at {mount.path}" for pid, name, mount in host.mounts_elsewhere() if mount.number == number)


def _whole(sight: Seen) -> bool:
    found = sight.content.xfs if sight.content else None
    return found is not None and not found.in_progress and not found.problem


def _each(work: Callable[[int], Seen], items: Sequence[int]) -> list[Seen]:
    """`work` on all items at once; disks wait for their heads, not for us."""
    if len(items) < 2:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor  # here, because a run without changes need not pay 5 ms for it

    with ThreadPoolExecutor(max_workers=min(len(items), 16)) as pool:
        return list(pool.map(work, items))


# -- helpers ---------------------------------------------------------------------------------------------------------------


def _real(path: str) -> str:
    return os.path.realpath(path)


def _device_of(source: str, holders: dict[str, tuple[str, ...]]) -> str:
    """Kernel name of the device that the first field of an fstab line names, "" for none that is here."""
    tag, equals, value = source.partition("=")
    folders = {"UUID": "by-uuid", "LABEL": "by-label", "PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "ID": "by-id"}
    if equals and tag in folders:
        names = holders.get(value.lower(), ()) if tag == "UUID" else ()
        if len(names) == 1:
            return names[0]
        source = f"/dev/disk/{folders[tag]}/{value}"
    if not source.startswith("/dev/") or not os.path.exists(source):
        return ""
    with contextlib.suppress(OSError):
        found = os.stat(source)
        return os.path.basename(os.readlink(f"/sys/dev/block/{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"))
    return ""


def _unwritable(path: str, size: int) -> str:
    """Why `path` could not be replaced by a file of `size` bytes, "" where it could."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.access(folder, os.W_OK):
        return f"{path} cannot be written ({folder} is read-only)"
    try:
        space = os.statvfs(folder)
    except OSError as error:
        return f"{path} cannot be written ({error.strerror})"
    if (space.f_blocks and space.f_bfree * space.f_frsize < size) or (space.f_files and not space.f_ffree):
        return f"{path} cannot be written (no space left in {folder})"
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _flags(handle) & _IMMUTABLE:
                return f"{path} cannot be written (it is immutable: chattr -i)"
        finally:
            os.close(handle)
    return ""
