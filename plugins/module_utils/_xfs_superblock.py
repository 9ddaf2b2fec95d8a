# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The XFS superblock and root directory, as bytes of a device. Pure.

Layout: "XFS Algorithms & Data Structures", fs/xfs/libxfs/xfs_format.h (struct xfs_dsb, struct xfs_dinode). All numbers are big-endian,
but for the checksum.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass

BYTES = 4096  # the largest usual sector: the checksum covers the whole of it
_FIELDS = 512  # all that we read lies in these
_VERSION_5 = 5


@dataclass(frozen=True)
class Superblock:
    """`size`: bytes of the data section. `in_progress`: mkfs has not finished. `problem`: why the block is not to be trusted, or ""."""

    uuid: str
    label: str
    size: int
    in_progress: bool
    problem: str
    block: int
    group_blocks: int
    root_inode: int
    inode: int
    group_bits: int
    inode_bits: int

    def describe(self) -> str:
        words = ["UUID " + self.uuid]
        if self.label:
            words.append(f'label "{self.label}"')
        if self.in_progress:
            words.append("mkfs did not finish")
        if self.problem:
            words.append(self.problem)
        return ", ".join(words)

    @property
    def root_offset(self) -> int:
        """Byte of the device where the inode of the root directory begins."""
        group = self.root_inode >> (self.group_bits + self.inode_bits)
        block = (self.root_inode >> self.inode_bits) & ((1 << self.group_bits) - 1)
        index = self.root_inode & ((1 << self.inode_bits) - 1)
        return (group * self.group_blocks + block) * self.block + index * self.inode


def parse(data: bytes) -> Superblock | None:
    """The superblock in the first sector of a device, or None where there is no XFS."""
    if len(data) < _FIELDS or data[:4] != b"XFSB":
        return None
    block, blocks = struct.unpack_from(">IQ", data, 4)
    version, sector, inode = struct.unpack_from(">HHH", data, 100)
    inode_bits, group_bits = data[123], data[124]
    problem = ""
    if not 512 <= block <= 65536 or block & (block - 1) or not 256 <= inode <= 2048 or inode_bits > 8 or group_bits > 31:
        problem = "damaged superblock (sizes out of range)"
    elif version & 0xF == _VERSION_5 and sector <= len(data) and not _checksum_fits(data[:sector]):
        problem = "damaged superblock (wrong checksum)"
    return Superblock(
        uuid=str(uuid.UUID(bytes=data[32:48])),
        label="".join(c if c.isprintable() else "?" for c in data[108:120].split(b"\0", 1)[0].decode("utf-8", "replace")),
        size=block * blocks,
        in_progress=data[126] != 0,
        problem=problem,
        block=block,
        group_blocks=struct.unpack_from(">I", data, 84)[0],
        root_inode=struct.unpack_from(">Q", data, 56)[0],
        inode=inode,
        group_bits=group_bits,
        inode_bits=inode_bits,
    )


def root_is_empty(found: Superblock, read: Callable[[int, int], bytes]) -> bool:
    """Whether the root directory has no entries, as far as the inode on the disk tells.

    A log that was not replayed may hold entries that it does not show: look again once the filesystem is mounted.
    """
    if found.problem or found.in_progress or found.root_offset + found.inode > found.size:
        return False
    inode = read(found.root_offset, found.inode)
    if len(inode) != found.inode or inode[:2] != b"IN" or struct.unpack_from(">H", inode, 2)[0] & 0xF000 != 0x4000:
        return False
    fork = 176 if inode[4] >= 3 else 100
    return inode[5] == 1 and inode[fork] == 0  # format "local": the entries lie in the inode, and their count is the first byte


def _checksum_fits(sector: bytes) -> bool:
    stored = struct.unpack_from("<I", sector, 224)[0]
    return bool(crc32c(sector[:224] + b"\0\0\0\0" + sector[228:]) == stored)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    if not _TABLE:
        for value in range(256):
            for _bit in range(8):
                value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
            _TABLE.append(value)
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


_TABLE: list[int] = []
