# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the bytes of a block device say about it. Pure over a reader function: a device, or a file in a test.

A device counts as blank only if nothing is recognised and every byte that was read is zero. The table of signatures gives names to what is
found; it does not have to be complete for anybody's data to be safe.
Offsets and magic numbers: the kernel's headers of each format, util-linux libblkid's superblock probes, the formats' own documents.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.slipway.mlops.plugins.module_utils import _xfs_superblock

# Bytes at an offset of the device, as many as asked for. OSError where the device cannot give them.
Reader = Callable[[int, int], bytes]

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
EDGE_BYTES = 4 * MIB  # read whole at both ends: covers every primary structure and LUKS2's last header
SAMPLES = 256  # evenly spaced between the ends; a quarter of the way is where the groups of a default XFS begin
SAMPLE_BYTES = 64 * KIB
CLEARING = b"slipway.mlops: this device is being erased for XFS "  # + 16 bytes of UUID, at CLEARING_OFFSET
CLEARING_OFFSET = 1 * MIB


@dataclass(frozen=True)
class Signature:
    """One recognised structure. `offset` in bytes; `detail` is what it says of itself (UUID, label, parts), for people."""

    name: str
    offset: int
    detail: str = ""

    def __str__(self) -> str:
        return "{}{} at byte {}".format(self.name, " (" + self.detail + ")" if self.detail else "", self.offset)


@dataclass(frozen=True)
class Content:
    """All that was read of one device.

    `nonzero_at`: first offset (of a region, in bytes) that is not all zeros, None where all is.
    `foreign_at`: the same, but only of regions that carry none of the `marks` given to `inspect`.
    `clearing`: the mark that the clearing block bears, b"" where there is no such block.
    `digest`: SHA-256 (hex) over every byte read and the size: another content, another digest.
    `error`: why reading failed, "" where it did not; nothing else can then be trusted.
    """

    signatures: tuple[Signature, ...]
    nonzero_at: int | None
    foreign_at: int | None
    clearing: bytes
    digest: str
    xfs: _xfs_superblock.Superblock | None
    error: str = ""

    @property
    def blank(self) -> bool:
        return not self.error and not self.signatures and self.nonzero_at is None

    @property
    def fingerprint(self) -> str:
        """Names this very content in an inventory: a readable word and 64 bits of the digest."""
        word = self.signatures[0].name if self.signatures else "blank" if self.nonzero_at is None else "unknown"
        return "{}-{}".format("".join(c for c in word.lower() if c.isalnum()), self.digest[:16])

    def describe(self) -> str:
        if self.error:
            return self.error
        if self.signatures:
            return ", ".join(str(found) for found in self.signatures)
        if self.nonzero_at is not None:
            return f"data of an unknown kind, first seen at byte {self.nonzero_at}"
        return "nothing"


# (name, offset, magic). An offset below zero counts from the end of the device.
_TABLE: tuple[tuple[str, int, bytes], ...] = (
    ("ext2/3/4", 1080, b"\x53\xef"),
    ("btrfs", 64 * KIB + 64, b"_BHRfS_M"),
    ("btrfs mirror", 64 * MIB + 64, b"_BHRfS_M"),
    ("btrfs mirror", 256 * GIB + 64, b"_BHRfS_M"),
    ("F2FS", 1024, b"\x10\x20\xf5\xf2"),
    ("NTFS", 3, b"NTFS    "),
    ("exFAT", 3, b"EXFAT   "),
    ("ReFS", 3, b"ReFS\0\0\0\0"),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("FAT16", 54, b"FAT1"),
    ("FAT", 82, b"FAT32   "),
    ("ISO 9660", 32769, b"CD001"),
    ("UDF", 32769, b"BEA01"),
    ("HFS+", 1024, b"H+\0\4"),
    ("HFSX", 1024, b"HX\0\5"),
    ("APFS", 32, b"NXSB"),
    ("ReiserFS", 64 * KIB + 52, b"ReIsEr"),
    ("JFS", 32 * KIB, b"JFS1"),
    ("NILFS2", 1030, b"\x34\x34"),
    ("GFS2", 64 * KIB, b"\x01\x16\x19\x70"),
    ("OCFS2", 8 * KIB, b"OCFSV2"),
    ("OCFS2", 4 * KIB, b"OCFSV2"),
    ("UFS", 8 * KIB + 1372, b"\x54\x19\x01\x00"),
    ("UFS", 64 * KIB + 1372, b"\x19\x01\x54\x19"),
    ("squashfs", 0, b"hsqs"),
    ("EROFS", 1024, b"\xe2\xe1\xf5\xe0"),
    ("zonefs", 0, b"SFOZ"),
    ("bcachefs", 4 * KIB + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    ("bcache", 4 * KIB + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("VDO", 0, b"dmvdo001"),
    ("Stratis", 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("Stratis", 9 * 512 + 4, b"!Stra0tis\x86\xff\x02^\x41rh"),
    ("dm-integrity", 0, b"integrt\0"),
    ("dm-verity", 0, b"verity\0\0"),
    ("dm-snapshot", 0, b"SnAp"),
    ("Ceph BlueStore", 0, b"bluestore block device"),
    ("Ceph BlueStore", 1 * GIB, b"bluestore block device"),
    ("Ceph BlueStore", 10 * GIB, b"bluestore block device"),
    ("Ceph BlueStore", 100 * GIB, b"bluestore block device"),
    ("Ceph BlueStore", 1000 * GIB, b"bluestore block device"),
    ("VMFS volume member", 1 * MIB, b"\x0d\xd0\x01\xc0"),
    ("VMFS", 2 * MIB, b"\x5e\xf1\xab\x2f"),
    ("Oracle ASM", 32, b"ORCLDISK"),
    ("md RAID 1.1", 0, b"\xfc\x4e\x2b\xa9"),
    ("md RAID 1.2", 4 * KIB, b"\xfc\x4e\x2b\xa9"),
    ("md RAID DDF", -512, b"\xde\x11\xde\x11"),
    ("md RAID DDF", -4096, b"\xde\x11\xde\x11"),  # sectors of 4 KiB
    ("md RAID IMSM", -1024, b"Intel Raid ISM Cfg Sig. "),
    ("md RAID IMSM", -8192, b"Intel Raid ISM Cfg Sig. "),
    ("Apple partition map", 512, b"PM\0\0"),
    ("BSD disklabel", 512, b"\x57\x45\x56\x82"),
    ("Sun disklabel", 508, b"\xda\xbe"),
    ("SGI disklabel", 0, b"\x0b\xe5\xa9\x41"),
)

# Members of something larger: the rest of it may live on other disks, so these are never erased from here. Name -> what ends the membership.
ENDED_BY = {
    "LVM2": "pvremove (after vgreduce)",
    "md RAID": "mdadm --zero-superblock",
    "bcachefs": "bcachefs device remove",  # before bcache, with which it begins
    "bcache": "wipefs, after the bcache set is detached",
    "ZFS": "zpool labelclear (after zpool detach, remove or destroy)",
    "VMFS": "the hypervisor that owns the datastore",
    "DRBD": "drbdadm wipe-md",
}


def membership(signature: Signature) -> str:
    """The tool that ends the membership which `signature` shows, "" for content that stands alone."""
    return next((tool for name, tool in ENDED_BY.items() if signature.name.startswith(name)), "")


def inspect(read: Reader, size: int, sector: int = 512, marks: Sequence[bytes] = ()) -> Content:
    """Read the ends, the known places and the samples of a device of `size` bytes; `sector` is its logical block size.

    `marks` are byte strings (filesystem UUIDs of ours) that tell our own half-made structures from others.
    """
    digest = hashlib.sha256(str(size).encode())
    nonzero_at: int | None = None
    foreign_at: int | None = None
    clearing = b""
    try:
        for offset, length in _regions(size):
            data = read(offset, length)
            if len(data) != length:
                return _unreadable(f"read {len(data)} of {length} bytes at byte {offset}")
            digest.update(data)
            if not any_nonzero(data):
                continue
            nonzero_at = offset if nonzero_at is None else min(offset, nonzero_at)
            if foreign_at is None:
                foreign_at = _foreign(data, offset, marks)
            if offset <= CLEARING_OFFSET < offset + length:
                block = data[CLEARING_OFFSET - offset :][: len(CLEARING) + 16]
                clearing = block[len(CLEARING) :] if block.startswith(CLEARING) else b""
        signatures = sorted(_signatures(read, size, sector), key=lambda found: (found.offset, found.name))
        for found in signatures:
            digest.update(str(found).encode())
        xfs = _xfs_superblock.parse(read(0, _xfs_superblock.BYTES)) if size >= _xfs_superblock.BYTES else None
    except OSError as error:
        return _unreadable(f"cannot be read: {error}")
    return Content(tuple(signatures), nonzero_at, foreign_at, clearing, digest.hexdigest(), xfs)


def _foreign(data: bytes, offset: int, marks: Sequence[bytes]) -> int | None:
    """Where the first piece begins that is neither zeros nor bears a mark: what we made bears one in every piece of this size."""
    for start in range(0, len(data), SAMPLE_BYTES):
        piece = data[start : start + SAMPLE_BYTES]
        if any_nonzero(piece) and not any(mark in piece for mark in marks):
            return offset + start
    return None


def any_nonzero(data: bytes) -> bool:
    # One memcmp; counting bytes, even in C, takes seconds for a device.
    return data != (_ZEROS[: len(data)] if len(data) <= len(_ZEROS) else bytes(len(data)))


_ZEROS = bytes(EDGE_BYTES)


def edges(size: int) -> tuple[tuple[int, int], ...]:
    """(offset, length) of the regions at both ends that are read whole, and zeroed by an erasure."""
    if size <= 2 * EDGE_BYTES:
        return ((0, size),)
    return ((0, EDGE_BYTES), (size - EDGE_BYTES, EDGE_BYTES))


def _regions(size: int) -> Iterator[tuple[int, int]]:
    yield from edges(size)
    if size <= 2 * EDGE_BYTES:
        return
    for number in range(1, SAMPLES):
        # Around the point, not from it: what is laid out in even parts of a device begins there, rounded up or down.
        offset = (size * number // SAMPLES - SAMPLE_BYTES // 2) & -4096
        if offset >= EDGE_BYTES and offset + SAMPLE_BYTES <= size - EDGE_BYTES:
            yield offset, SAMPLE_BYTES
    for offset in _backups(size):
        yield offset, 4 * KIB


def _backups(size: int) -> Iterator[int]:
    """Where copies of superblocks begin that outlive a wiped front of a large device, whatever the samples hit."""
    # ext2/3/4: block group 1 and those whose numbers are powers of 3, 5 and 7; a group has 32768 blocks of 4 KiB.
    group = 128 * MIB
    numbers = {base**power for base in (3, 5, 7) for power in range(13)}
    yield from (number * group for number in sorted(numbers) if number * group < size - EDGE_BYTES)
    # XFS of 4 TiB and more: groups of one block less than 1 TiB.
    group = 1 * TIB - 4 * KIB
    yield from range(group, size - EDGE_BYTES, group)


def _unreadable(why: str) -> Content:
    return Content((), None, None, b"", "", None, error=why)


def _signatures(read: Reader, size: int, sector: int) -> Iterator[Signature]:
    def at(offset: int, length: int) -> bytes:
        """Bytes inside of the device; shorter or empty beyond its ends."""
        if offset < 0 or offset >= size:
            return b""
        return read(offset, min(length, size - offset))

    for name, offset, magic in _TABLE:
        place = offset if offset >= 0 else size + offset
        if at(place, len(magic)) == magic:
            yield Signature(name, place, _detail(name, at, place))
    yield from _xfs(at)
    yield from _partition_tables(at, size, sector)
    yield from _lvm(at)
    yield from _md_at_end(at, size)
    yield from _zfs(at, size)
    yield from _luks2(at)
    yield from _swap(at)
    yield from _drbd(at, size)


def _detail(name: str, at: Reader, place: int) -> str:
    if name.startswith("ext"):
        block = at(1024, 136)
        return _identity(block[104:120], block[120:136])
    if name == "btrfs":
        block = at(64 * KIB, 811)
        return _identity(block[32:48], block[299:331])
    if name == "LUKS":
        header = at(place, 208)
        if len(header) < 208:
            return ""
        version = struct.unpack_from(">H", header, 6)[0]
        return f"version {version}, UUID {text(header[168:208])}"
    if name in _SERIALS:
        serial = at(place + _SERIALS[name][0], _SERIALS[name][1])
        return "serial " + serial[::-1].hex()
    if name.startswith("md RAID 1"):
        block = at(place, 64)
        return _identity(block[16:32], block[32:64])
    return ""


# Where the serial number of a volume lies, as (bytes behind the magic number, length).
_SERIALS = {"NTFS": (72 - 3, 8), "exFAT": (100 - 3, 4), "FAT16": (39 - 54, 4), "FAT": (67 - 82, 4)}


def _identity(raw_uuid: bytes, label: bytes = b"") -> str:
    if len(raw_uuid) != 16:
        return ""
    name = text(label)
    return "UUID " + str(uuid.UUID(bytes=raw_uuid)) + (', label "' + name + '"' if name else "")


def text(raw: bytes) -> str:
    """Printable text of a fixed-width field; labels of strangers reach terminals and logs."""
    return "".join(c if c.isprintable() else "?" for c in raw.split(b"\0", 1)[0].decode("utf-8", "replace")).strip()


def _xfs(at: Reader) -> Iterator[Signature]:
    block = at(0, _xfs_superblock.BYTES)
    if block.startswith(b"XFSB"):
        found = _xfs_superblock.parse(block)
        yield Signature("XFS", 0, found.describe() if found else "unreadable superblock")


def _partition_tables(at: Reader, size: int, sector: int) -> Iterator[Signature]:
    for unit in sorted({512, 4096, sector}):
        header = at(unit, 92)
        if header.startswith(b"EFI PART"):
            start, count, width = struct.unpack_from("<QII", header, 72)
            used = 0
            if 128 <= width <= 4096 and count <= 1024:
                entries = at(start * unit, count * width)
                used = sum(1 for n in range(len(entries) // width) if any_nonzero(entries[n * width : n * width + 16]))
            yield Signature("GPT", unit, "{} partition{}, disk GUID {}".format(used, "" if used == 1 else "s", uuid.UUID(bytes_le=header[56:72])))
        if at(size - unit, 8) == b"EFI PART":
            yield Signature("GPT backup", size - unit)
    boot = at(0, 512)
    if boot[510:512] == b"\x55\xaa":
        types = [boot[446 + 16 * n + 4] for n in range(4)]
        used_types = [kind for kind in types if kind]
        if used_types and all(boot[446 + 16 * n] in (0, 0x80) for n in range(4)) and used_types != [0xEE]:
            yield Signature("MBR", 510, "{} partition{}".format(len(used_types), "" if len(used_types) == 1 else "s"))
        elif used_types != [0xEE]:
            yield Signature("boot sector", 510)


def _lvm(at: Reader) -> Iterator[Signature]:
    for number in range(4):
        label = at(number * 512, 64)
        if label.startswith(b"LABELONE") and label[24:32] == b"LVM2 001":
            yield Signature("LVM2", number * 512, "physical volume " + text(label[32:64]))


def _md_at_end(at: Reader, size: int) -> Iterator[Signature]:
    # 0.90: the last 64 KiB aligned block, in the byte order of the machine that made it. 1.0: 8 to 12 KiB before the end, aligned to 4 KiB.
    old = (size & -65536) - 65536
    if at(old, 4) in (b"\xfc\x4e\x2b\xa9", b"\xa9\x2b\x4e\xfc"):
        yield Signature("md RAID 0.90", old)
    new = (size - 8192) & -4096
    block = at(new, 64)
    if block[:4] == b"\xfc\x4e\x2b\xa9":
        yield Signature("md RAID 1.0", new, _identity(block[16:32], block[32:64]))


def _zfs(at: Reader, size: int) -> Iterator[Signature]:
    # Four labels of 256 KiB, two at each end; the ring of uberblocks fills the second half of each.
    label = 256 * KIB
    end = size & -label
    for start in (0, label, end - 2 * label, end - label):
        ring = at(start + 128 * KIB, 128 * KIB)
        for magic in (b"\x0c\xb1\xba\0\0\0\0\0", b"\0\0\0\0\0\xba\xb1\x0c"):
            place = ring.find(magic)
            while place > 0 and place % 1024:
                place = ring.find(magic, place + 1)
            if place >= 0:
                yield Signature("ZFS", start + 128 * KIB + place)
                break


def _luks2(at: Reader) -> Iterator[Signature]:
    for place in (0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000):
        if at(place, 6) == b"SKUL\xba\xbe":
            yield Signature("LUKS second header", place)


def _swap(at: Reader) -> Iterator[Signature]:
    for page in (4096, 8192, 16384, 32768, 65536):
        magic = at(page - 10, 10)
        if magic in (b"SWAPSPACE2", b"SWAP-SPACE"):
            yield Signature("swap", page - 10, _identity(at(1036, 16), at(1052, 16)))
        elif magic[:9] in (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB000"):
            yield Signature("hibernation image", page - 10)


def _drbd(at: Reader, size: int) -> Iterator[Signature]:
    # Internal meta data end in a superblock in the last 4 KiB; versions 8 and 9 keep the magic at different words of its beginning.
    start = (size & -4096) - 4096
    block = at(start, 128)
    for place in range(0, len(block) - 3, 4):
        if block[place : place + 4] in (b"\x83\x74\x02\x6b", b"\x83\x74\x02\x6c", b"\x83\x74\x02\x6d"):
            yield Signature("DRBD", start + place)
            return
