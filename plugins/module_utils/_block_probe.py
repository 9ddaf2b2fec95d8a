# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Block devices of this host as the kernel tells of them: /sys, /proc, /dev and the devices themselves. Reads only, spawns nothing.

No udev is needed: links in /dev/disk are read where they exist, everything else comes from /sys.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.slipway.mlops.plugins.module_utils import _block_signatures, _xfs_superblock

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*\Z")
_TAGGED = re.compile(r"(UUID|SERIAL|WWN|ID)=(.+)\Z")
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:-]*\Z")


class NotFound(Exception):
    """A device that was asked for is not here, or is none; the message is a sentence without the name."""


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo. `number` is the device's major:minor, `root` what part of the filesystem is mounted, `options` all that the kernel reports."""

    number: str
    root: str
    path: str
    options: tuple[str, ...]
    filesystem: str
    source: str


@dataclass(frozen=True)
class Device:
    """A disk or partition. Sizes in bytes; `name` is the kernel's, `path` its node.

    `identity` names this very device and survives a reboot: its serial, else its WWN, else what it is made of (`loop:FILE`, `dm:UUID`, `md:UUID`), else its
    first name in /dev/disk/by-id. A partition adds `-partN` to the identity of its disk. "" where the device has nothing of the kind.
    """

    name: str
    number: str
    path: str
    size: int
    read_only: bool = False
    rotational: bool = False
    logical_sector: int = 512
    physical_sector: int = 512
    minimum_io: int = 0
    optimal_io: int = 0
    zoned: str = "none"
    serial: str = ""
    wwn: str = ""
    model: str = ""
    identity: str = ""
    parent: str = ""
    partitions: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    slaves: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [self.name, human(self.size)]
        words += [word for word in (self.model, "serial " + self.serial if self.serial else "", "WWN " + self.wwn if self.wwn else "") if word]
        if self.identity and not self.serial and not self.wwn:
            words.append(self.identity)
        return ", ".join(words)


def human(size: int) -> str:
    """A size as disks are sold: 7.68 TB."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            break
        value /= 1000
    return f"{value:.4g} {unit}"


@dataclass
class Host:
    """The block layer of a host. Everything is read at most once and only when asked for; make a new one to look again."""

    sys: str = "/sys"
    proc: str = "/proc"
    dev: str = "/dev"
    run: str = "/run"
    _devices: dict[str, Device] = field(default_factory=dict)
    _mounts: tuple[Mount, ...] | None = None
    _links: dict[str, list[str]] | None = None
    _elsewhere: tuple[tuple[int, str, Mount], ...] | None = None
    _names: tuple[str, ...] | None = None
    _loops_on: dict[str, list[str]] | None = None

    # -- mounts ------------------------------------------------------------------------------------------------------------

    def mounts(self) -> tuple[Mount, ...]:
        """The mounts of our namespace, in the order of mounting."""
        if self._mounts is None:
            self._mounts = tuple(_mountinfo(_text(self.proc + "/self/mountinfo")))
        return self._mounts

    def mounted_on(self, path: str) -> Mount | None:
        """The topmost mount on `path`."""
        return next((mount for mount in reversed(self.mounts()) if mount.path == path), None)

    def mounts_elsewhere(self) -> tuple[tuple[int, str, Mount], ...]:
        """(process id, its command, mount) of other mount namespaces: one process for each namespace. Containers live there."""
        if self._elsewhere is None:
            found: list[tuple[int, str, Mount]] = []
            seen = {_link(self.proc + "/self/ns/mnt")}
            for name in sorted((name for name in _list(self.proc) if name.isdigit()), key=int):
                namespace = _link(f"{self.proc}/{name}/ns/mnt")
                if not namespace or namespace in seen:
                    continue
                seen.add(namespace)
                command = _text(f"{self.proc}/{name}/comm").strip()
                found += [(int(name), command, mount) for mount in _mountinfo(_text(f"{self.proc}/{name}/mountinfo"))]
            self._elsewhere = tuple(found)
        return self._elsewhere

    # -- devices -----------------------------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Kernel names of all disks and partitions that have a size."""
        if self._names is None:
            folder = self.sys + "/class/block"
            self._names = tuple(sorted(name for name in _list(folder) if _text(f"{folder}/{name}/size").strip() not in ("", "0")))
        return self._names

    def disks(self) -> list[Device]:
        """All disks with a medium: no partitions, and nothing that lives in memory."""
        return [device for device in self._all() if not device.parent and not device.name.startswith(("ram", "zram", "fd"))]

    def device(self, name: str) -> Device:
        """The device of a kernel name. NotFound where there is none."""
        if name not in self._devices:
            self._devices[name] = self._read(name)
        return self._devices[name]

    def resolve(self, wanted: str) -> Device:
        """The one device that `wanted` names: a path below /dev, a kernel name, UUID=, SERIAL=, WWN=, ID= (a name in /dev/disk/by-id), a bare serial or WWN.

        NotFound says why there is not exactly one.
        """
        if wanted.startswith("/"):
            return self._by_path(wanted)
        tagged = _TAGGED.match(wanted)
        if tagged:
            tag, value = tagged.groups()
            if tag == "ID":
                return self._by_path("/dev/disk/by-id/" + value)
            return self._only({"UUID": self._by_uuid, "SERIAL": self._by_serial, "WWN": self._by_wwn}[tag](value), wanted)
        if _NAME.match(wanted) and os.path.exists(f"{self.sys}/class/block/{wanted}"):
            return self.device(wanted)
        if not _SERIAL.match(wanted):
            raise NotFound("is not a device name; give a path below /dev (best /dev/disk/by-id/...), a kernel name, UUID=, SERIAL= or WWN=")
        return self._only(self._by_serial(wanted) or self._by_wwn(wanted), wanted)

    def uses(self, device: Device) -> list[str]:
        """Why `device` is in use, from the top of what stands on it: mounts, swap, holders, loop devices, filesystems of many devices."""
        found = []
        for name, way in self._above(device):
            via = f" (via {way})" if way else ""
            number = self.device(name).number
            found += [f'backs mounted "{mount.path}"{via}' for mount in self.mounts_of(number)]
            if self._node(name) in self._swaps() or number in self._swaps():
                found.append("is swap" + via)
            if name in self._btrfs():
                found.append("is part of a mounted btrfs" + via)
            if name != device.name and name not in device.partitions:
                found.append("is part of {}{}".format(self._role(name), " (via {})".format(way.split(" < ")[0]) if " < " in way else ""))
        return list(dict.fromkeys(found))

    def mounts_of(self, number: str) -> list[Mount]:
        return [mount for mount in self.mounts() if mount.number == number]

    def sharing(self, device: Device) -> list[Device]:
        """Other disks that bear the same serial and WWN, which a partition has of its disk: paths of one disk, or copies of a virtual one."""
        if not (device.serial or device.wwn):
            return []
        others = []
        for name in self.names():
            with contextlib.suppress(NotFound):
                other = self.device(name)
                itself = other.name in (device.name, device.parent)
                if not itself and not other.parent and not other.slaves and (other.serial, other.wwn) == (device.serial, device.wwn):
                    others.append(other)
        return others

    def superblocks(self) -> dict[str, _xfs_superblock.Superblock]:
        """Kernel name -> XFS superblock of every device that has one and can be read."""
        found = {}
        for name in self.names():
            if name.startswith(("ram", "fd", "sr")):
                continue
            with contextlib.suppress(OSError):
                handle = os.open(self._node(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                try:
                    block = _xfs_superblock.parse(os.pread(handle, _xfs_superblock.BYTES, 0)) if stat.S_ISBLK(os.fstat(handle).st_mode) else None
                finally:
                    os.close(handle)
                if block:
                    found[name] = block
        return found

    def writers(self, device: Device) -> tuple[str, ...]:
        """Processes that have the device open for writing, which the kernel alone does not call a use: a virtual machine on a raw disk, `dd`."""
        found = []
        for pid in (name for name in _list(self.proc) if name.isdigit()):
            folder = f"{self.proc}/{pid}/fd"
            for number in _list(folder):
                # Only what lies below /dev is looked up: a file on a dead network mount would hang us.
                target = _link(f"{folder}/{number}")
                if not target.startswith("/dev/") or not _writes(_text(f"{self.proc}/{pid}/fdinfo/{number}")):
                    continue
                with contextlib.suppress(OSError):
                    node = os.stat(f"{folder}/{number}")
                    if stat.S_ISBLK(node.st_mode) and f"{os.major(node.st_rdev)}:{os.minor(node.st_rdev)}" == device.number:
                        found.append("process {} ({})".format(pid, _text(f"{self.proc}/{pid}/comm").strip()))
                        break
        return tuple(found)

    # -- content -----------------------------------------------------------------------------------------------------------

    def content(self, device: Device, marks: Sequence[bytes] = ()) -> _block_signatures.Content:
        """Read the device itself, past the page cache: an older copy there may hide an error, or what another host wrote."""
        try:
            handle = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            return _block_signatures.Content((), None, None, b"", "", None, error=f"cannot be opened: {error.strerror}")
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            found = _block_signatures.inspect(lambda offset, length: _pread(handle, offset, length), device.size, device.logical_sector, marks)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            return found
        finally:
            os.close(handle)

    def root_is_empty(self, device: Device, block: _xfs_superblock.Superblock) -> bool:
        """Whether the root directory of an unmounted XFS looks empty on the disk."""
        handle = os.open(device.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _xfs_superblock.root_is_empty(block, lambda offset, length: _pread(handle, offset, length))
        finally:
            os.close(handle)

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _by_path(self, path: str) -> Device:
        if os.path.normpath(path) != path or not path.startswith("/dev/"):
            raise NotFound("is not a path below /dev")
        node = self.dev + path[len("/dev") :]
        try:
            found = os.stat(node)
        except FileNotFoundError:
            target = _link(node)
            raise NotFound(f"points to {target}, which does not exist" if target else "does not exist") from None
        except OSError as error:
            raise NotFound(f"cannot be looked up: {error.strerror}") from None
        numbers = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
        if not stat.S_ISBLK(found.st_mode):
            kind = "char " + numbers if stat.S_ISCHR(found.st_mode) else "a directory" if stat.S_ISDIR(found.st_mode) else "a file"
            raise NotFound(f"is not a block device ({kind})")
        folder = _link(f"{self.sys}/dev/block/{numbers}")
        if not folder:
            raise NotFound(f"is a node of a block device that the kernel does not know ({numbers})")
        return self.device(os.path.basename(folder))

    def _by_serial(self, serial: str) -> list[Device]:
        return [device for device in self._all() if device.serial == serial and not device.parent]

    def _by_wwn(self, wwn: str) -> list[Device]:
        return [device for device in self._all() if device.wwn and plain_wwn(device.wwn) == plain_wwn(wwn) and not device.parent]

    def _by_uuid(self, wanted: str) -> list[Device]:
        return [self.device(name) for name, block in self.superblocks().items() if block.uuid == wanted.lower()]

    def _all(self) -> Iterator[Device]:
        for name in self.names():
            with contextlib.suppress(NotFound):
                yield self.device(name)

    def _only(self, found: list[Device], wanted: str) -> Device:
        if not found:
            raise NotFound("matches no device of this host")
        # A multipath device repeats the serial of its paths and stands on them.
        tops = [device for device in found if not any(device.name in other.slaves for other in found)]
        if len(tops) > 1:
            raise NotFound("matches {}".format(" and ".join(device.name for device in tops)))
        return tops[0]

    def _node(self, name: str) -> str:
        return self.dev + "/" + name.replace("!", "/")

    def _read(self, name: str) -> Device:
        folder = os.path.realpath(f"{self.sys}/class/block/{name}")
        number = _text(folder + "/dev").strip()
        if not number:
            raise NotFound("is no block device of this host")
        parent = os.path.basename(os.path.dirname(folder)) if os.path.exists(folder + "/partition") else ""
        disk = os.path.dirname(folder) if parent else folder
        serial, wwn = self._serial(disk), _text(disk + "/wwid").strip() or _text(disk + "/device/wwid").strip()
        udev = dict(line[2:].split("=", 1) for line in _text(f"{self.run}/udev/data/b{number}").splitlines() if line[:2] == "E:" and "=" in line)
        serial = serial or printable(udev.get("ID_SERIAL_SHORT", ""))
        wwn = printable(udev.get("ID_WWN", "") or wwn)
        identity = serial or wwn or self._made_of(disk) or self._first_id(os.path.basename(disk))
        part = _text(folder + "/partition").strip()
        entries = _list(folder)
        return Device(
            name=name,
            number=number,
            path=self._node(name),
            size=_number(folder + "/size") * 512,
            read_only=_number(folder + "/ro") != 0,
            rotational=_number(disk + "/queue/rotational") != 0,
            logical_sector=_number(disk + "/queue/logical_block_size") or 512,
            physical_sector=_number(disk + "/queue/physical_block_size") or 512,
            minimum_io=_number(disk + "/queue/minimum_io_size"),
            optimal_io=_number(disk + "/queue/optimal_io_size"),
            zoned=_text(disk + "/queue/zoned").strip() or "none",
            serial=serial,
            wwn=wwn,
            model=printable(_text(disk + "/device/model")),
            identity=identity + "-part" + part if part and identity else identity,
            parent=parent,
            partitions=tuple(sorted(entry for entry in entries if os.path.exists(f"{folder}/{entry}/partition"))),
            holders=tuple(sorted(_list(folder + "/holders"))),
            slaves=tuple(sorted(_list(folder + "/slaves"))),
        )

    def _serial(self, disk: str) -> str:
        plain = _text(disk + "/serial") or _text(disk + "/device/serial")
        if plain.strip():
            return printable(plain)
        page = _bytes(disk + "/device/vpd_pg80")  # SCSI: unit serial number behind four bytes of header
        return printable(page[4:].decode("ascii", "replace")) if len(page) > 4 else ""

    def _made_of(self, disk: str) -> str:
        for kind, entry in (("loop", "/loop/backing_file"), ("dm", "/dm/uuid"), ("md", "/md/uuid")):
            value = _text(disk + entry).strip()
            if value:
                return kind + ":" + printable(value)
        return ""

    def _first_id(self, name: str) -> str:
        return next((link.rpartition("/")[2] for link in self.links(name) if "/by-id/" in link), "")

    def links(self, name: str) -> tuple[str, ...]:
        """The names of a device below /dev/disk."""
        if self._links is None:
            self._links = {}
            root = self.dev + "/disk"
            for folder in _list(root):
                for entry in _list(root + "/" + folder):
                    target = os.path.basename(os.path.realpath(f"{root}/{folder}/{entry}"))
                    self._links.setdefault(target, []).append(f"/dev/disk/{folder}/{entry}")
        return tuple(sorted(self._links.get(name.replace("!", "/").rpartition("/")[2], [])))

    def _above(self, device: Device) -> Iterator[tuple[str, str]]:
        """(name, way) of the device and all that stands on it; `way` is empty for the device, else "sda2" or "dm-0 < sda2"."""
        yield device.name, ""
        # A loop device over a whole disk reaches its partitions, too.
        over = self._loops().get(self.device(device.parent).number, []) if device.parent else []
        queue = [(child, child) for child in (*self._children(device), *over)]
        seen = set()
        while queue:
            name, way = queue.pop(0)
            if name in seen:
                continue
            seen.add(name)
            with contextlib.suppress(NotFound):
                child = self.device(name)
                yield name, way
                queue += [(other, other + " < " + way) for other in self._children(child)]

    def _children(self, device: Device) -> tuple[str, ...]:
        return (*device.partitions, *device.holders, *self._loops().get(device.number, []))

    def _loops(self) -> dict[str, list[str]]:
        """Number of a device -> loop devices that stand on it. The kernel shows them neither as holders nor by a claim."""
        if self._loops_on is None:
            self._loops_on = {}
            for name in self.names():
                backing = _text(f"{self.sys}/class/block/{name}/loop/backing_file").rstrip("\n")
                if not backing.startswith("/dev/"):  # a file on a dead network mount would hang us
                    continue
                with contextlib.suppress(OSError):
                    node = os.stat(self.dev + backing[len("/dev") :])
                    if stat.S_ISBLK(node.st_mode):
                        self._loops_on.setdefault(f"{os.major(node.st_rdev)}:{os.minor(node.st_rdev)}", []).append(name)
        return self._loops_on

    def _role(self, name: str) -> str:
        folder = f"{self.sys}/class/block/{name}"
        uuid, title = _text(folder + "/dm/uuid").strip(), _text(folder + "/dm/name").strip()
        if uuid.startswith("mpath-"):
            return f"the multipath device /dev/mapper/{title}; give that one"
        if uuid.startswith("LVM-"):
            return "the LVM volume " + title
        if uuid.startswith("CRYPT-"):
            return "the encrypted volume " + title
        if os.path.isdir(folder + "/md"):
            return "the RAID array " + name
        if name.startswith("bcache"):
            return "the bcache device " + name
        if name.startswith("loop"):
            return "the loop device " + name
        return "{}{}".format(name, " (" + title + ")" if title else "")

    def _swaps(self) -> set[str]:
        found = set()
        for line in _text(self.proc + "/swaps").splitlines()[1:]:
            path = _unescape(line.split(" ", 1)[0])
            found.add(path)
            with contextlib.suppress(OSError):
                node = os.stat(path)
                if stat.S_ISBLK(node.st_mode):
                    found.add(f"{os.major(node.st_rdev)}:{os.minor(node.st_rdev)}")
        return found

    def _btrfs(self) -> set[str]:
        root = self.sys + "/fs/btrfs"
        return {name for folder in _list(root) for name in _list(f"{root}/{folder}/devices")}


def claim_problem(device: Device) -> str:
    """Why the kernel does not give the device to us alone, "" where it would. It sees what /sys does not: ZFS, DRBD, iSCSI targets, another mkfs."""
    try:
        handle = os.open(device.path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return "is held by something in the kernel or opened exclusively by a process (open with O_EXCL: device or resource busy)"
        return f"cannot be opened: {error.strerror}"
    os.close(handle)
    return ""


def _writes(fdinfo: str) -> bool:
    flags = re.search(r"^flags:\s*([0-7]+)", fdinfo, re.M)
    return bool(flags and int(flags.group(1), 8) & os.O_ACCMODE)


def plain_wwn(wwn: str) -> str:
    """One spelling for naa.5000..., 0x5000... and wwn-0x5000..."""
    return re.sub(r"^(wwn-)?(naa\.|eui\.|0x)?", "", wwn.strip().lower())


def printable(value: str) -> str:
    """What a device says of itself, safe for a terminal and a file, without the blanks that pad it."""
    return " ".join("".join(c if c.isprintable() and c != "\ufffd" else " " for c in value.replace("\0", " ")).split())


def _mountinfo(content: str) -> Iterator[Mount]:
    for line in content.splitlines():
        head, _dash, tail = line.partition(" - ")
        left, right = head.split(" "), tail.split(" ")
        if len(left) >= 6 and len(right) >= 3:
            options = tuple(dict.fromkeys(left[5].split(",") + right[2].split(",")))
            yield Mount(left[2], _unescape(left[3]), _unescape(left[4]), options, right[0], _unescape(right[1]))


def _pread(handle: int, offset: int, length: int) -> bytes:
    data = os.pread(handle, length, offset)
    while len(data) < length:
        more = os.pread(handle, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), field)


def _bytes(path: str) -> bytes:
    # A device may vanish between two reads, and some attributes cannot be read at all.
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read()
    return b""


def _text(path: str) -> str:
    return _bytes(path).decode("utf-8", "replace")


def _number(path: str) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0


def _link(path: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return ""


def _list(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(path)
    return []
