# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Decides what happens to the data disks of a host: what is declared and what was seen in, steps or refusals out. Pure.

Every refusal is found here, before anything is touched; `_xfs_apply` only carries out what this file hands to it.
"""

from __future__ import annotations

import re
import uuid as uuids
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils import _block_signatures, _fstab, _xfs_options
from ansible_collections.slipway.mlops.plugins.module_utils._block_probe import Device, Mount, human, plain_wwn
from ansible_collections.slipway.mlops.plugins.module_utils._block_signatures import Content
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_journal import MADE, MAKING, Journal, Made
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_superblock import Superblock

MOUNTED, UNMOUNTED, ABSENT = "mounted", "unmounted", "absent"

# mkfs.xfs 5.19 and later refuse less ("Filesystem must be larger than 300MB").
SMALLEST_BYTES = 300 << 20
# mkfs.xfs leaves up to 16 MiB at the end unused when the last allocation group would be too small; less than twice that is not growth.
GROWTH_BYTES = 32 << 20
SIZE_TOLERANCE = 0.02

# Feature -> (option of mkfs, first kernel to have it on, first mkfs.xfs that knows it). The kernels are those of the profiles that xfsprogs ships
# (mkfs/lts_*.conf); bigtime and inobtcount from 5.14 because RHEL 9 has them on in that kernel.
FEATURES = (
    ("-m", "reflink", (5, 4), (4, 9)),
    ("-m", "bigtime", (5, 14), (5, 10)),
    ("-m", "inobtcount", (5, 14), (5, 10)),
    ("-m", "rmapbt", (6, 6), (4, 8)),
    ("-i", "nrext64", (6, 6), (5, 19)),
    ("-i", "exchange", (6, 12), (6, 10)),
    ("-n", "parent", (6, 12), (6, 10)),
)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_UUID_SPACE = uuids.UUID("6f0c2f2e-5c1d-5b59-9f3c-0d2a7c1f4b60")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTP]?)(i?)B?\Z")
# Folders that the system fills itself; a data disk on one of them would hide it.
_SYSTEM_PATHS = {
    "/", "/bin", "/boot", "/boot/efi", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys",
    "/tmp", "/usr", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/log", "/var/run", "/var/tmp",  # noqa: S108  (named to be refused)
    "/var/lib/containerd", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/slipway",
}  # fmt: skip
_SYSTEM_TREES = ("/bin/", "/boot/", "/dev/", "/etc/", "/lib/", "/lib64/", "/proc/", "/run/", "/sbin/", "/sys/", "/usr/", "/var/lib/kubelet/")


# -- what is declared -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Disk:
    """One declared disk. `expected_size` in bytes; `erase` is (identity of the device, fingerprint of the content) or None."""

    index: int
    device: str
    path: str
    state: str
    options: tuple[str, ...]
    expected_size: int | None = None
    adopt: str = ""
    erase: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"disks[{self.index}] {self.device}"


@dataclass(frozen=True)
class Settings:
    """What holds for all disks. None or "" leaves a property of the root directory as it is."""

    owner: int | None = None
    group: int | None = None
    mode: int | None = None
    selinux_context: str = ""
    grow: bool = False
    label: str = ""
    erasures_max: int = 1
    oldest_kernel: tuple[int, int] = (5, 14)


def declared(items: Sequence[Mapping[str, Any]], options: Sequence[str], state: str, kernel: tuple[int, int]) -> tuple[list[Disk], list[str]]:
    """The disks that the arguments of the module declare, and all that is wrong with the arguments by themselves."""
    disks: list[Disk] = []
    problems = ["options: " + problem for problem in _xfs_options.problems(options, kernel)]
    for index, item in enumerate(items):
        name = f"disks[{index}]"
        device, path = item["device"], item["path"]
        own = item.get("options")
        if own is not None:
            problems += [f"{name}.options: {problem}" for problem in _xfs_options.problems(own, kernel)]
        problems += [f"{name}.path {path!r}: {problem}" for problem in _path_problems(path)]
        size, size_problem = _size(item.get("expected_size"))
        erase, erase_problem = _erase(item.get("erase"))
        adopt = (item.get("adopt") or "").lower()
        problems += [f"{name}.{problem}" for problem in (size_problem, erase_problem) if problem]
        if adopt and not _UUID.match(adopt):
            problems.append("{}.adopt: {!r} is not the UUID of a filesystem".format(name, item["adopt"]))
        if not device.strip() or not device.isprintable():
            problems.append(f"{name}.device {device!r}: is not a device name")
        disks.append(
            Disk(
                index=index,
                device=device,
                path=path,
                state=item.get("state") or state,
                options=tuple(own if own is not None else options),
                expected_size=size,
                adopt=adopt,
                erase=erase,
            )
        )
    problems += _path_relations(disks)
    return disks, problems


def _path_problems(path: str) -> list[str]:
    if not path.startswith("/"):
        return ["is not absolute"]
    if re.search(r"[\s\"'#\\,]|[^\x20-\x7e]", path):
        return ["blanks, quotes, commas, backslashes, # and other than ASCII characters would damage fstab"]
    found = []
    if path != "/" and (path.endswith("/") or "//" in path or re.search(r"/\.{1,2}(/|\Z)", path)):
        found.append("is not normalised (no '//', '/./', '/../' or '/' at its end)")
    plain = _fstab.normal(path)
    if plain in _SYSTEM_PATHS or plain.startswith(_SYSTEM_TREES):
        found.append("belongs to the system")
    return found


def _path_relations(disks: Sequence[Disk]) -> list[str]:
    found = []
    for disk in disks:
        for other in disks[: disk.index]:
            here, there = _fstab.normal(disk.path), _fstab.normal(other.path)
            if here == there:
                found.append(f'disks[{disk.index}].path "{disk.path}" is already used by disks[{other.index}]')
            elif (here + "/").startswith(there + "/"):
                found.append(f'disks[{disk.index}].path "{disk.path}" lies inside disks[{other.index}] "{other.path}"')
            elif (there + "/").startswith(here + "/"):
                found.append(f'disks[{disk.index}].path "{disk.path}" contains disks[{other.index}] "{other.path}"')
    return found


def _size(value: object) -> tuple[int | None, str]:
    if value in (None, ""):
        return None, ""
    found = _SIZE.match(str(value).strip())
    if not found:
        return None, f"expected_size: {value!r} is not a size; give e.g. 7.68T (decimal, as disks are sold) or 7Ti"
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kMGTP".index(prefix.replace("K", "k") or " ")), ""


def _erase(value: object) -> tuple[tuple[str, str] | None, str]:
    if value is None:
        return None, ""
    if not isinstance(value, Mapping) or set(value) != {"device", "content"} or not all(isinstance(part, str) and part for part in value.values()):
        return None, f"erase must name the disk and its content, as the refusal prints them: {{device: <serial>, content: <fingerprint>}}; got {value!r}"
    return (value["device"], value["content"]), ""


# -- what was seen ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """The mount point. `real` is where its path leads without symbolic links; `entries` are names in it while nothing is mounted.

    `immutable` is that of the directory under the mount; None where nobody can tell.
    """

    exists: bool = False
    directory: bool = False
    real: str = ""
    entries: tuple[str, ...] = ()
    immutable: bool | None = None


@dataclass(frozen=True)
class Geometry:
    """A mounted XFS as the kernel tells of it; `size` in bytes of its data section."""

    uuid: str
    label: str
    size: int


@dataclass(frozen=True)
class Root:
    """The root directory of a mounted filesystem."""

    owner: int
    group: int
    mode: int
    selinux_context: str
    empty: bool


@dataclass(frozen=True)
class Seen:
    """One declared disk as it was found. What is read only from disks that are not mounted as declared is empty for the others."""

    device: Device | None
    trouble: str = ""
    on_path: Mount | None = None
    uses: tuple[str, ...] = ()
    point: Point = Point()
    root: Root | None = None
    geometry: Geometry | None = None
    content: Content | None = None
    parts: tuple[tuple[str, Content], ...] = ()
    empty: bool = False
    claim: str = ""
    writers: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    sharing: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Mounted where it is declared, and the whole of it: a bind mount of a folder tells nothing of the filesystem."""
        return bool(self.device and self.on_path and self.on_path.number == self.device.number and self.on_path.root == "/")


@dataclass(frozen=True)
class Facts:
    """The host around the disks. `holders`: UUID of a filesystem -> devices that bear it, as far as it was needed; `specs`: first field of an fstab line ->
    kernel name of its device; `mkfs`: version of mkfs.xfs, None where there is none or nobody asked."""

    kernel: tuple[int, int]
    machine: str
    fstab: bytes
    journal: Journal
    holders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    specs: Mapping[str, str] = field(default_factory=dict)
    mkfs: tuple[int, int] | None = None
    fstab_problem: str = ""


# -- what is to be done ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What happens to one disk, in the order of the fields. `clear`: (offset, length) to be zeroed before mkfs, while the content still has `digest`."""

    disk: Disk
    device: Device | None
    was: str
    uuid: str = ""
    unmount: bool = False
    clear: tuple[tuple[int, int], ...] = ()
    erased: str = ""
    held: tuple[str, ...] = ()
    digest: str = ""
    mkfs: tuple[str, ...] = ()
    fstab: bool = False
    guard: bool = False
    remove_point: bool = False
    mount: bool = False
    must_be_empty: bool = False
    remount: tuple[str, ...] = ()
    grow: bool = False
    root: bool = False
    pending: tuple[str, ...] = ()

    @property
    def actions(self) -> list[str]:
        words = (
            (self.unmount, "unmount"),
            (bool(self.erased), "erase"),
            (bool(self.mkfs), "format"),
            (self.fstab, "fstab"),
            (self.guard, "guard"),
            (self.remove_point, "remove mount point"),
            (self.mount, "mount"),
            (bool(self.remount), "remount"),
            (self.grow, "grow"),
            (self.root, "owner and mode"),
        )
        return [word for needed, word in words if needed]

    def __str__(self) -> str:
        """What happens, as a sentence for plans and reports."""
        device = self.device or self.disk.device
        words = (
            (self.unmount, f"unmount {self.disk.path}"),
            (bool(self.erased), f"erase {device} with all that it holds ({self.was})"),
            (bool(self.mkfs), f"format {self.disk.device} as XFS" + (f" ({human(self.device.size)})" if self.device else "")),
            (self.fstab, "declare it in fstab" if self.disk.state == MOUNTED else "remove it from fstab"),
            (self.guard, "make the mount point immutable"),
            (self.remove_point, f"remove the mount point {self.disk.path}"),
            (self.mount, f"mount it on {self.disk.path}"),
            (bool(self.remount), f"remount {self.disk.path} with {','.join(self.remount)}"),
            (self.grow, f"grow the filesystem on {self.disk.path} to its device"),
            (self.root, f"set owner and mode of {self.disk.path}"),
        )
        does = [word for needed, word in words if needed]
        subject = [] if self.mkfs or self.unmount or self.remount or self.grow else [f"{self.disk.device}:"]
        return " ".join([*subject, ", ".join(does)])


@dataclass(frozen=True)
class Plan:
    """`fstab` and `journal` as they shall be; `begun` is the journal before the first mkfs."""

    facts: Facts
    steps: tuple[Step, ...]
    problems: tuple[str, ...]
    fstab: bytes
    journal: Journal
    begun: Journal
    changed: bool

    def fstab_without(self, broken: Set[int]) -> bytes:
        """fstab as it shall be where the disks of these indices could not be dealt with: their lines stay as they are."""
        content = self.facts.fstab
        for step in self.steps:
            if step.fstab and step.disk.index not in broken:
                content = _fstab_with(content, step.disk, step, self.facts)[0]
        return content


def plan(disks: Sequence[Disk], seen: Sequence[Seen], facts: Facts, settings: Settings) -> Plan:
    problems = _shared_devices(disks, seen)
    steps: list[Step] = []
    fstab, journal, begun = facts.fstab, facts.journal, facts.journal
    for disk, sight in zip(disks, seen):
        step, found = (_mounted if disk.state == MOUNTED else _gone)(disk, sight, facts, settings)
        if not found and disk.state != UNMOUNTED:
            before = fstab
            fstab, found = _fstab_with(fstab, disk, step, facts)
            step = replace(step, fstab=fstab != before)
        problems += ["{}{}: {}".format(disk, " (" + str(sight.device) + ")" if sight.device else "", problem) for problem in found]
        if disk.state == MOUNTED and step.uuid and step.device:
            entry = Made(step.uuid, step.device.identity, disk.path, MADE, step.erased, step.held)
            known = journal.find(step.uuid)
            # An old entry keeps the identity that its disk had, and what was erased for it.
            journal = journal.noted(replace(known, path=disk.path, state=MADE) if known and not step.mkfs else entry)
            if step.mkfs:
                begun = begun.noted(replace(entry, state=MAKING))
        steps.append(step)
    erased = [step for step in steps if step.erased]
    if len(erased) > settings.erasures_max:
        problems.append(
            "{} disks of this host would be erased ({}), more than erasures_max: {}; state the number if you mean it".format(
                len(erased), ", ".join(step.device.name for step in erased if step.device), settings.erasures_max
            )
        )
    if fstab != facts.fstab and facts.fstab_problem and not problems:
        problems.append(facts.fstab_problem)
    changed = fstab != facts.fstab or journal != facts.journal or any(step.actions for step in steps)
    return Plan(facts, tuple(steps), tuple(problems), fstab, journal, begun, changed)


def _shared_devices(disks: Sequence[Disk], seen: Sequence[Seen]) -> list[str]:
    found = []
    first: dict[str, Disk] = {}
    for disk, sight in zip(disks, seen):
        if sight.device:
            other = first.setdefault(sight.device.number, disk)
            if other is not disk:
                found.append(f"{disk} resolves to the same device ({sight.device.name}, {sight.device.number}) as {other}")
    by_name = {sight.device.name: disk for disk, sight in zip(disks, seen) if sight.device}
    for disk, sight in zip(disks, seen):
        parent = by_name.get(sight.device.parent) if sight.device else None
        if parent:
            found.append(f"{disk} is a partition of {parent}")
    return found


def _gone(disk: Disk, sight: Seen, facts: Facts, settings: Settings) -> tuple[Step, list[str]]:
    """state: unmounted, and absent: as unmounted, with the line of fstab and the mount point removed. No disk is written to."""
    step = Step(disk, sight.device, was=_was(sight), uuid=sight.geometry.uuid if sight.geometry else "")
    ours_by_line = any(_ours(line, disk, facts) for line in _fstab.lines(facts.fstab) if line.entry.path == disk.path)
    problems = []
    # A disk that is gone is known by fstab and journal; the filesystem on the path must not be known as another. One that died tells nothing.
    of_gone_disk = sight.device is None and ours_by_line and sight.on_path is not None and sight.on_path.filesystem == "xfs"
    if of_gone_disk and sight.geometry:
        made = facts.journal.find(sight.geometry.uuid)
        of_gone_disk = made is not None and made.path == disk.path
    if sight.on_path and not sight.settled and not of_gone_disk:
        problems.append(_wrong_mount(disk, sight.device, sight.on_path))
    remove_point = disk.state == ABSENT and sight.point.directory and not (sight.point.entries and not sight.on_path)
    return replace(step, unmount=sight.on_path is not None, remove_point=remove_point), problems


def _mounted(disk: Disk, sight: Seen, facts: Facts, settings: Settings) -> tuple[Step, list[str]]:
    device = sight.device
    if device is None:
        return Step(disk, None, was="missing"), [sight.trouble]
    step = Step(disk, device, was=_was(sight), guard=sight.point.immutable is False or not sight.point.exists)
    problems = _size_problems(disk, device) + _point_problems(disk, sight)
    if sight.on_path and not sight.settled:
        return step, [*problems, _wrong_mount(disk, device, sight.on_path)]
    if sight.on_path:
        step, found = _keep_mounted(step, sight, sight.on_path, facts, settings)
    else:
        step, found = _bring_up(step, sight, device, facts, settings)
    return step, problems + found


def _keep_mounted(step: Step, sight: Seen, mount: Mount, facts: Facts, settings: Settings) -> tuple[Step, list[str]]:
    """The device is mounted on its path already."""
    disk, live, root = step.disk, sight.geometry, sight.root
    if mount.filesystem != "xfs":
        return step, [f"is mounted on {disk.path} as {mount.filesystem}, not XFS"]
    if live is None or root is None:
        return step, [f"is mounted on {disk.path}, but the kernel cannot tell of the filesystem (input/output error, or shut down): see the kernel log"]
    step = replace(step, uuid=live.uuid)
    if disk.adopt and disk.adopt != live.uuid:
        return step, [f"adopt names {disk.adopt}, but the filesystem is {live.uuid}"]
    if not (facts.journal.find(live.uuid) or disk.adopt or root.empty or (settings.label and live.label == settings.label)):
        return step, [_stranger(live.uuid, "") + "; it stays mounted as it is"]
    remount, pending = _xfs_options.differences(disk.options, mount.options)
    grow, room = _room(step.device, live.size, settings)
    later = tuple(option + "; takes effect at the next mount" for option in pending)
    return replace(step, remount=remount, pending=later + room, grow=grow, root=_root_differs(root, settings)), []


def _bring_up(step: Step, sight: Seen, device: Device, facts: Facts, settings: Settings) -> tuple[Step, list[str]]:
    """The device is not mounted on its path: find out what it holds, and whether it may be mounted or made."""
    disk, content = step.disk, sight.content
    uses = [*sight.uses, *(f"is mounted in {place}" for place in sight.elsewhere), *(f"is open for writing in {name}" for name in sight.writers)]
    uses += [sight.claim] if sight.claim and not sight.uses else []
    problems = [", ".join(uses[:4]) + (f" and {len(uses) - 4} more" if len(uses) > 4 else "") + "; never touched while in use"] if uses else []
    if content is None or problems:
        return step, problems or ["was not examined"]
    if device.size == 0:
        return step, ["has no size (no medium?)"]
    if content.error:
        return step, [f"cannot be classified: {content.error}; see the kernel log; not touched"]
    if device.read_only:
        return step, [f"is read-only; holds {content.describe()}"]
    if device.zoned == "host-managed":
        return step, ["is a host-managed zoned device, which cannot hold an XFS of this kind"]
    if sight.sharing:
        others = ", ".join(sight.sharing)
        return step, [f"bears the same serial and WWN as {others}: two paths to one disk, or copies of a virtual one; give the multipath device"]
    found = content.xfs
    if found and not found.in_progress and not found.problem and not _unfinished(disk, device, content, facts.journal):
        return _mount_existing(step, sight, device, content, found, facts, settings)
    return _make(step, sight, device, content, facts, settings)


def _mount_existing(step: Step, sight: Seen, device: Device, content: Content, found: Superblock, facts: Facts, settings: Settings) -> tuple[Step, list[str]]:
    """A whole XFS is there: ours, adopted, empty, erased or refused."""
    disk = step.disk
    step = replace(step, uuid=found.uuid)
    edge = 128 << 10
    others = [s for s in content.signatures if s.name != "XFS" and (s.offset < edge or s.offset >= device.size - edge)]
    if _erase_fits(disk, device, content):
        return _make(step, sight, device, content, facts, settings)
    if others:
        return step, [f"cannot be classified ({len(others) + 1} signatures: {content.describe()}){_way_out(sight, content)}"]
    if disk.adopt and disk.adopt != found.uuid:
        return step, [f"adopt names {disk.adopt}, but the filesystem is {found.uuid}"]
    if found.size > device.size:
        return step, [f"holds an XFS of {human(found.size)} (UUID {found.uuid}) that is larger than the device: not the whole disk, or cut short"]
    if sight.twins:
        return step, ["{} bears the same filesystem UUID {}: a copy; the two cannot be told apart at boot".format(" and ".join(sight.twins), found.uuid)]
    known = facts.journal.find(found.uuid) or disk.adopt or (settings.label and found.label == settings.label)
    if not known and not sight.empty:
        return step, [_stranger(found.uuid, found.label) + _way_out(sight, content)]
    grow, room = _room(device, found.size, settings)
    return replace(step, mount=True, must_be_empty=not known, grow=grow, root=_root_wanted(settings), pending=room), []


def _make(step: Step, sight: Seen, device: Device, content: Content, facts: Facts, settings: Settings) -> tuple[Step, list[str]]:
    """Make a filesystem: on what is blank, on what an interrupted mkfs of ours left, or on what the inventory gives up."""
    disk = step.disk
    problems = []
    if disk.adopt:
        problems.append(f"adopt names {disk.adopt}, but the device holds {content.describe()}; without adopt a new filesystem would be made")
    if device.size < SMALLEST_BYTES:
        problems.append(f"has {human(device.size)}; mkfs.xfs makes nothing below 300 MiB")
    if facts.mkfs is None:
        problems.append("mkfs.xfs is not installed on the host (package xfsprogs)")
    clear: tuple[tuple[int, int], ...] = ()
    held: tuple[str, ...] = ()
    erased = ""
    unfinished = _unfinished(disk, device, content, facts.journal)
    if content.blank:
        uuid = new_uuid(facts.machine, device, content.fingerprint, facts.journal)
    elif unfinished:
        uuid, clear, erased, held = unfinished.uuid, _to_clear(device, content), unfinished.erased, unfinished.held
    else:
        forbidden = _never_erased(sight, content)
        if forbidden:
            return step, [*problems, f"holds {content.describe()}{_parts(sight)}: {forbidden}"]
        if not _erase_fits(disk, device, content):
            return step, [*problems, f"holds {content.describe()}{_parts(sight)}{_way_out(sight, content)}"]
        uuid, clear, erased = new_uuid(facts.machine, device, content.fingerprint, facts.journal), _to_clear(device, content), content.fingerprint
        held = tuple(map(str, content.signatures))
    argv = mkfs_command(device, uuid, settings, facts.mkfs or (0, 0))
    made = replace(step, uuid=uuid, clear=clear, erased=erased, held=held, digest=content.digest, mkfs=argv, mount=True, root=_root_wanted(settings))
    return made, problems


def _unfinished(disk: Disk, device: Device, content: Content, journal: Journal) -> Made | None:
    """The mkfs of ours that was interrupted on this device, if all that is on it comes from there."""
    begun = journal.unfinished(device.identity, disk.path)
    if begun is None or (begun.erased and not device.identity):
        return None
    mark = uuids.UUID(begun.uuid).bytes
    half = content.xfs is not None and content.xfs.in_progress and content.xfs.uuid == begun.uuid
    others = [found for found in content.signatures if not (half and found.name == "XFS")]
    if others:
        # Cut off while it cleared: our mark is there, what is left is of the old content, and the inventory still gives that up.
        spared = disk.erase is not None and disk.erase[1] == begun.erased and all(str(found) in begun.held for found in others)
        return begun if spared and content.clearing == mark else None
    # mkfs of a blank disk left only blocks that bear our UUID; an erasure began with our mark, and the old content is still behind it.
    return begun if (begun.erased and (half or content.clearing == mark)) or content.foreign_at is None else None


def new_uuid(machine: str, device: Device, fingerprint: str, journal: Journal) -> str:
    """The UUID of the filesystem to be made: the same for the same host, device, content and history, so that check mode predicts it."""
    parts = (machine, device.identity or device.name, device.name, str(device.size), fingerprint, str(len(journal.filesystems)))
    return str(uuids.uuid5(_UUID_SPACE, "\0".join(parts)))


def mkfs_command(device: Device, uuid: str, settings: Settings, version: tuple[int, int]) -> tuple[str, ...]:
    """Never with -f: mkfs.xfs looks once more for itself, and opens the device exclusively.

    Always with -K: not all of a device is read before it counts as blank, and a discard would take what was not. It would also remove the mark by which
    an interrupted erasure is known. The host's fstrim.timer, or the mount option discard, tells an SSD what is free.
    """
    features: dict[str, list[str]] = {"-m": ["uuid=" + uuid, "crc=1", "finobt=1"], "-i": ["sparse=1"]}
    for option, name, kernel, tool in FEATURES:
        if version >= tool:
            features.setdefault(option, []).append(f"{name}={settings.oldest_kernel >= kernel:d}")
    command = ["mkfs.xfs", "-q", "-K"]
    for option, values in features.items():
        command += [option, ",".join(values)]
    command += ["-d", stripe(device)]
    if settings.label:
        command += ["-L", settings.label]
    return (*command, device.path)


def stripe(device: Device) -> str:
    """Stripe unit (bytes) and width (units) as the device reports them, `noalign` where it reports nothing usable.

    As mkfs.xfs itself judges: equal to the physical sector means no stripe, and the width must be a multiple of the unit.
    """
    unit, width = device.minimum_io, device.optimal_io
    if unit <= device.physical_sector or width <= device.physical_sector or unit % 4096 or width % unit:
        return "noalign"
    return f"su={unit},sw={width // unit}"


def _to_clear(device: Device, content: Content) -> tuple[tuple[int, int], ...]:
    """Both ends, and every place where something was recognised."""
    regions = list(_block_signatures.edges(device.size))
    for found in content.signatures:
        start = found.offset & -4096
        if not any(offset <= start < offset + length for offset, length in regions):
            regions.append((start, min(4096, device.size - start)))
    return tuple(regions)


def _erase_fits(disk: Disk, device: Device, content: Content) -> bool:
    erase = disk.erase
    if erase is None or erase[1] != content.fingerprint:
        return False
    named = plain_wwn(erase[0])
    return bool(named) and (erase[0] in (device.identity, device.serial) or named == plain_wwn(device.wwn))


def _never_erased(sight: Seen, content: Content) -> str:
    """Why not even a line of the inventory erases this: it, or a partition of it, belongs to something larger, or a partition cannot be read."""
    unread = [name for name, part in sight.parts if part.error]
    if unread:
        return "{} cannot be read, so nobody knows what would be lost; see the kernel log".format(", ".join(unread))
    all_found = [found for one in (content, *(part for _name, part in sight.parts)) for found in one.signatures]
    tools = sorted({_block_signatures.membership(found) for found in all_found} - {""})
    if not tools:
        return ""
    return "a member of something larger, whose other parts may live on; never erased from here, end the membership with " + ", ".join(tools)


def _way_out(sight: Seen, content: Content) -> str:
    device = sight.device
    if device is None or not device.identity:
        return "; the device has no serial, WWN or other identity by which an erasure could name it: empty it by hand (wipefs, blkdiscard)"
    if _never_erased(sight, content):
        return ""
    return '. To erase exactly this, give the disk in the inventory:\n      erase: {{device: "{}", content: "{}"}}'.format(
        device.identity.replace("\\", "\\\\").replace('"', '\\"'), content.fingerprint
    )


def _stranger(uuid: str, label: str) -> str:
    return "holds an XFS with data that was not made here (UUID {0}{1}). To keep and mount it, give the disk in the inventory:\n      adopt: {0}".format(
        uuid, ', label "' + label + '"' if label else ""
    )


def _parts(sight: Seen) -> str:
    return " [{}]".format("; ".join(f"{name}: {part.describe()}" for name, part in sight.parts)) if sight.parts else ""


def _wrong_mount(disk: Disk, device: Device | None, mount: Mount) -> str:
    if device and mount.number == device.number:
        return f"on {disk.path} is mounted only the folder {mount.root} of this device (a bind mount); unmount that first"
    return f"on {disk.path} is mounted {mount.source} ({mount.filesystem}, {mount.number}), not this device; unmount that first"


def _size_problems(disk: Disk, device: Device) -> list[str]:
    if disk.expected_size is None or abs(device.size - disk.expected_size) <= disk.expected_size * SIZE_TOLERANCE:
        return []
    return [f"size {device.size} B ({human(device.size)}) differs from the expected {human(disk.expected_size)} by more than {SIZE_TOLERANCE:.0%}"]


def _point_problems(disk: Disk, sight: Seen) -> list[str]:
    point = sight.point
    if point.real and point.real != disk.path:
        return [f"the path {disk.path} leads to {point.real} by a symbolic link; give that one"]
    if point.exists and not point.directory:
        return [f"the path {disk.path} is not a directory"]
    if point.entries and not sight.on_path:
        names = ", ".join(repr(name) for name in point.entries[:3])
        return ["the directory {} is not empty ({}{}); a mount would hide that".format(disk.path, names, ", ..." if len(point.entries) > 3 else "")]
    return []


def _room(device: Device | None, size: int, settings: Settings) -> tuple[bool, tuple[str, ...]]:
    room = device.size - size if device else 0
    if room < GROWTH_BYTES:
        return False, ()
    return (True, ()) if settings.grow else (False, (f"the device has {human(room)} more than the filesystem; grow: true would use them",))


def _root_differs(root: Root, settings: Settings) -> bool:
    return (
        settings.owner not in (None, root.owner)
        or settings.group not in (None, root.group)
        or settings.mode not in (None, root.mode)
        or settings.selinux_context not in ("", root.selinux_context)
    )


def _root_wanted(settings: Settings) -> bool:
    return settings.owner is not None or settings.group is not None or settings.mode is not None or bool(settings.selinux_context)


def _was(sight: Seen) -> str:
    if sight.on_path and sight.settled:
        return f"mounted {sight.on_path.filesystem}"
    if sight.content:
        return "blank" if sight.content.blank else sight.content.describe()
    return "missing" if sight.device is None else "not examined"


# -- fstab -----------------------------------------------------------------------------------------------------------------


def _fstab_with(content: bytes, disk: Disk, step: Step, facts: Facts) -> tuple[bytes, list[str]]:
    """`content` with the line of this disk as it shall be."""
    here = [line for line in _fstab.lines(content) if line.entry.path == disk.path]
    if disk.state == ABSENT:
        foreign = [line for line in here if not _ours(line, disk, facts) and not _same_device(line, step, facts)]
        if foreign:
            return content, [f"fstab {foreign[0]} was not made here; remove it yourself"]
        return _fstab.without(content, [line.number for line in here]), []
    elsewhere = [line for line in _fstab.lines(content) if line.entry.path != disk.path and _same_device(line, step, facts)]
    if elsewhere:
        return content, [f"fstab {elsewhere[0]} declares this device for another path; remove that first"]
    if len(here) > 1:
        return content, ["fstab declares {} {} times ({}); remove all but one".format(disk.path, len(here), ", ".join(map(str, here)))]
    entry = _fstab.Entry("UUID=" + step.uuid, disk.path, "xfs", disk.options or ("defaults",))
    if not here:
        return _fstab.declare(content, entry), []
    line = here[0]
    if not _same_device(line, step, facts):
        named = _uuid_of(line)
        holders = [name for name in facts.holders.get(named, ()) if step.device is None or name != step.device.name]
        if holders:
            return content, ["fstab {} names a filesystem that is on {} now: have disks changed places?".format(line, ", ".join(holders))]
        if not _ours(line, disk, facts):
            return content, [f"fstab {line} is another device's and was not made here; remove it yourself"]
    if line.entry == entry or (line.entry.source, line.entry.filesystem, set(line.entry.options)) == (entry.source, "xfs", set(entry.options)):
        return content, []
    return _fstab.declare(content, entry, line.number), []


def _uuid_of(line: _fstab.Line) -> str:
    source = line.entry.source
    if source.startswith("/dev/disk/by-uuid/"):
        return source.rpartition("/")[2].lower()
    return source[len("UUID=") :].lower() if source.startswith("UUID=") else ""


def _ours(line: _fstab.Line, disk: Disk, facts: Facts) -> bool:
    made = facts.journal.find(_uuid_of(line))
    return made is not None and made.path == disk.path


def _same_device(line: _fstab.Line, step: Step, facts: Facts) -> bool:
    if step.uuid and _uuid_of(line) == step.uuid:
        return True
    name = facts.specs.get(line.entry.source, "")
    return bool(name) and step.device is not None and name == step.device.name
