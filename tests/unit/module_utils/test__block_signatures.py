# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Blank means blank: nothing recognised and nothing but zeros wherever it is looked, errors included."""

from __future__ import annotations

import struct
import uuid

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _block_signatures as signatures
from ansible_collections.slipway.mlops.plugins.module_utils import _xfs_superblock as xfs
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 64 << 20
MARK = uuid.UUID("0a0a0a0a-1111-5222-8333-444444444444").bytes


class Disk:
    """A sparse device: zeros but for what was put."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.parts: list[tuple[int, bytes]] = []
        self.unreadable_from = size

    def put(self, offset: int, data: bytes) -> Disk:
        self.parts.append((offset if offset >= 0 else self.size + offset, data))
        return self

    def read(self, offset: int, length: int) -> bytes:
        if offset + length > self.unreadable_from:
            raise OSError(5, "Input/output error")
        data = bytearray(length)
        for start, part in self.parts:
            for place in range(max(start, offset), min(start + len(part), offset + length)):
                data[place - offset] = part[place - start]
        return bytes(data)

    def look(self, *marks: bytes) -> signatures.Content:
        return signatures.inspect(self.read, self.size, marks=marks)


def test_zeros_are_blank() -> None:
    content = Disk().look()
    assert content.blank and content.describe() == "nothing" and content.fingerprint.startswith("blank-")


@pytest.mark.parametrize(
    ("offset", "magic", "name"),
    [
        (1080, b"\x53\xef", "ext2/3/4"),
        ((64 << 10) + 64, b"_BHRfS_M", "btrfs"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0x200000, b"SKUL\xba\xbe", "LUKS second header"),
        (4086, b"SWAPSPACE2", "swap"),
        (65526, b"SWAPSPACE2", "swap"),
        (4086, b"S1SUSPEND\0", "hibernation image"),
        (512, b"LABELONE" + bytes(16) + b"LVM2 001", "LVM2"),
        (1536, b"LABELONE" + bytes(16) + b"LVM2 001", "LVM2"),
        (4096, b"\xfc\x4e\x2b\xa9", "md RAID 1.2"),
        (-65536, b"\xfc\x4e\x2b\xa9", "md RAID 0.90"),
        (-65536, b"\xa9\x2b\x4e\xfc", "md RAID 0.90"),
        (-8192, b"\xfc\x4e\x2b\xa9", "md RAID 1.0"),
        (-512, b"\xde\x11\xde\x11", "md RAID DDF"),
        (-4096, b"\xde\x11\xde\x11", "md RAID DDF"),
        (-1024, b"Intel Raid ISM Cfg Sig. 1.3.00", "md RAID IMSM"),
        (-8192, b"Intel Raid ISM Cfg Sig. 1.3.00", "md RAID IMSM"),
        (128 * 1024 + 7 * 1024, struct.pack("<Q", 0x00BAB10C), "ZFS"),
        (-128 * 1024, struct.pack(">Q", 0x00BAB10C), "ZFS"),
        (4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "bcache"),
        (-4096 + 60, b"\x83\x74\x02\x6d", "DRBD"),
        (0, b"bluestore block device\n", "Ceph BlueStore"),
        (1 << 20, b"\x0d\xd0\x01\xc0", "VMFS volume member"),
        (512, b"EFI PART", "GPT"),
        (4096, b"EFI PART", "GPT"),
        (-512, b"EFI PART", "GPT backup"),
        (-4096, b"EFI PART", "GPT backup"),
        (510, b"\x55\xaa", "boot sector"),
        (3, b"NTFS    ", "NTFS"),
        (32769, b"CD001", "ISO 9660"),
        (1024, b"\x10\x20\xf5\xf2", "F2FS"),
    ],
)
def test_what_is_recognised(offset: int, magic: bytes, name: str) -> None:
    content = Disk().put(offset, magic).look()
    assert name in [found.name for found in content.signatures], content.describe()
    assert not content.blank


def test_a_ring_of_zfs_is_aligned() -> None:
    assert [found.name for found in Disk().put(128 * 1024 + 5, struct.pack("<Q", 0x00BAB10C)).look().signatures] == []


@given(offset=st.one_of(st.integers(0, (4 << 20) - 1), st.integers(SIZE - (4 << 20), SIZE - 1)), value=st.integers(1, 255))
@settings(max_examples=6, deadline=None)
def test_one_byte_at_the_ends_is_enough(offset: int, value: int) -> None:
    content = Disk().put(offset, bytes([value])).look()
    assert not content.blank
    assert content.digest != Disk().look().digest


@given(start=st.integers(0, SIZE - (400 << 10)))
@settings(max_examples=6, deadline=None)
def test_no_data_of_some_size_is_overlooked(start: int) -> None:
    """Anything as long as the gap between two samples is met by one."""
    assert not Disk().put(start, b"\x01" * (SIZE // signatures.SAMPLES + signatures.SAMPLE_BYTES)).look().blank


@pytest.mark.parametrize("offset", [128 << 20, 3 * (128 << 20) + 56, 49 * (128 << 20) + 56, (1 << 40) - 4096, 14 * ((1 << 40) - 4096)])
def test_copies_of_superblocks_on_a_large_disk_are_met(offset: int) -> None:
    """The first 64 MiB of a 16 TB disk were overwritten by zeros, and its samples are 62 GB apart."""
    size = 16_000_900_661_248
    asked: list[tuple[int, int]] = []

    def read(place: int, length: int) -> bytes:
        asked.append((place, length))
        return b"x" * length if place <= offset < place + length else bytes(length)

    content = signatures.inspect(read, size)
    assert not content.blank and content.nonzero_at is not None
    assert sum(length for _place, length in asked) < 32 << 20 and all(place + length <= size for place, length in asked)


@pytest.mark.parametrize(("name", "tool"), [("bcachefs", "bcachefs device remove"), ("bcache", "wipefs, after the bcache set is detached")])
def test_each_membership_has_its_own_end(name: str, tool: str) -> None:
    assert signatures.membership(signatures.Signature(name, 4096)) == tool


def test_an_error_is_never_blank() -> None:
    for limit in (0, 4096, SIZE // 2, SIZE - 1):
        disk = Disk()
        disk.unreadable_from = limit
        content = disk.look()
        assert not content.blank and "Input/output error" in content.describe()
    short = signatures.inspect(lambda offset, length: bytes(length - 1), SIZE)
    assert not short.blank and "read 4194303 of 4194304 bytes" in short.error


def test_our_own_blocks_are_told_from_others() -> None:
    assert Disk().put(100, b"x" + MARK).put(SIZE // 2, b"y" + MARK).look(MARK).foreign_at is None
    assert Disk().put(100, b"x" + MARK).put(SIZE // 2, b"y").look(MARK).foreign_at is not None
    assert Disk().put(100, b"x" + MARK).look().foreign_at == 0
    assert Disk().put(100, b"x" + MARK).put(1 << 20, b"y").look(MARK).foreign_at == 1 << 20, "in the same end of the disk"
    marked = Disk().put(signatures.CLEARING_OFFSET, signatures.CLEARING + MARK)
    assert marked.look().clearing == MARK and Disk().look().clearing == b""


def test_the_fingerprint_follows_the_content_and_the_size() -> None:
    first = Disk().put(1080, b"\x53\xef").look()
    assert first.fingerprint == Disk().put(1080, b"\x53\xef").look().fingerprint
    assert first.fingerprint != Disk().put(1080, b"\x53\xef").put(SIZE // 2, b"x").look().fingerprint
    assert first.fingerprint != Disk(SIZE * 2).put(1080, b"\x53\xef").look().fingerprint


@pytest.mark.parametrize("size", [0, 512, 4096, 100_000, 8 << 20])
def test_small_devices_are_read_whole(size: int) -> None:
    disk = Disk(size)
    assert disk.look().blank
    if size:
        assert not disk.put(size - 1, b"x").look().blank


def test_labels_of_strangers_are_harmless() -> None:
    assert signatures.text(b"a\x1b[31mb\xff\0rest").isprintable()


def superblock(**changes: int) -> bytes:
    """A version 5 superblock of 1 GiB, with its checksum."""
    block = bytearray(512)
    block[:4] = b"XFSB"
    struct.pack_into(">IQ", block, 4, 4096, 262144)
    block[32:48] = MARK
    struct.pack_into(">Q", block, 56, 128)
    struct.pack_into(">II", block, 84, 65536, 4)
    struct.pack_into(">HHHH", block, 100, 0xB4A5, 512, 512, 8)
    block[108:113] = b"label"
    block[120:125] = bytes([12, 9, 9, 3, 16])
    block[126] = changes.get("in_progress", 0)
    struct.pack_into("<I", block, 224, xfs.crc32c(bytes(block)))
    return bytes(block)


def test_the_superblock_is_read() -> None:
    found = xfs.parse(superblock())
    assert found and (found.uuid, found.label, found.size, found.in_progress, found.problem) == (str(uuid.UUID(bytes=MARK)), "label", 1 << 30, False, "")
    assert found.root_offset == 16 * 4096
    assert xfs.parse(superblock(in_progress=1)).in_progress  # type: ignore[union-attr]
    broken = bytearray(superblock())
    broken[40] ^= 1
    assert "wrong checksum" in xfs.parse(bytes(broken)).problem  # type: ignore[union-attr]
    assert xfs.parse(bytes(512)) is None and xfs.parse(b"XFSB") is None


def test_a_root_inode_beyond_the_filesystem_is_not_looked_for() -> None:
    """Version 4 has no checksum that would tell, and no read takes an offset of 2^63."""
    block = bytearray(superblock())
    struct.pack_into(">H", block, 100, 0xB4A4)
    struct.pack_into(">Q", block, 56, 2**64 - 1)
    found = xfs.parse(bytes(block))
    assert found and not found.problem and found.root_offset >= 2**63
    assert xfs.root_is_empty(found, Disk().read) is False


def test_the_checksum_is_castagnolis() -> None:
    assert xfs.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C in every catalogue of CRCs


@pytest.mark.parametrize(("kind", "count", "empty"), [(1, 0, True), (1, 3, False), (2, 0, False)])
def test_an_empty_root_is_seen_in_its_inode(kind: int, count: int, empty: bool) -> None:
    found = xfs.parse(superblock())
    assert found
    inode = bytearray(512)
    inode[:2], inode[4], inode[5], inode[176] = b"IN", 3, kind, count
    struct.pack_into(">H", inode, 2, 0o40755)
    disk = Disk().put(found.root_offset, bytes(inode))
    assert xfs.root_is_empty(found, disk.read) is empty
