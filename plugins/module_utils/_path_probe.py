# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How large a packet a path carries in one piece: ICMP echoes that routers may not fragment, to many addresses at once. Needs root.

Sizes count the whole IP packet. The socket option *_MTU_DISCOVER is set to PROBE: "don't fragment" is on, and what the kernel believes to know of
the path is passed over. Numbers are those of linux/in.h and linux/in6.h.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Sequence

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
_FEW = 24  # sizes asked at once while narrowing down: 7500 possible ones are 3 rounds


def largest(targets: Sequence[tuple[str, str, int]], patience: float = 0.7) -> list[int]:
    """For each (link, address, size) the largest packet that came back, at most `size`; 0 where none did.

    Full-size packets to all are tried three times; only where none comes back is the size narrowed down. `patience` is the wait per round in seconds.
    """
    found = [0] * len(targets)
    for _attempt in range(3):
        open_ones = [(number, size) for number, (_link, _address, size) in enumerate(targets) if found[number] < size]
        if not open_ones:
            return found
        for number, size in _round(targets, open_ones, patience):
            found[number] = max(found[number], size)
    low = [max(size, 0) for size in found]
    high = [target[2] for target in targets]  # known not to come back, where it is above `low`
    while any(top - bottom > 1 for bottom, top in zip(low, high)):
        asked = [(number, size) for number in range(len(targets)) for size in _between(_floor(targets[number][1]), low[number], high[number])]
        answered = {*_round(targets, asked, patience)}
        answered |= {*_round(targets, [question for question in asked if question not in answered], patience)}
        for number in range(len(targets)):
            sizes = sorted(size for other, size in asked if other == number)
            back = [size for size in sizes if (number, size) in answered]
            if not sizes:
                high[number] = low[number]
                continue
            top = max(back, default=0)
            lost = [size for size in sizes if size > top]
            high[number] = lost[0] if lost else high[number]
            low[number] = max(low[number], top)
            if not low[number]:  # not even the smallest: nobody answers there
                high[number] = 0
    return low


def _between(floor: int, low: int, high: int) -> list[int]:
    """Up to _FEW sizes above `low` (at least `floor`) and below `high`, evenly spread."""
    start = max(low + 1, floor)
    if high - low <= 1 or start >= high:
        return []
    step = max(1, -(-(high - start) // _FEW))
    return list(range(start, high, step))


def _floor(address: str) -> int:
    return 1280 if ":" in address else 68


def _round(targets: Sequence[tuple[str, str, int]], asked: Sequence[tuple[int, int]], patience: float) -> list[tuple[int, int]]:
    """Send one echo for each (target, size) and give those that came back within `patience` seconds after the last."""
    mark = os.urandom(8)
    identity = int.from_bytes(mark[:2], "big")
    answered: list[tuple[int, int]] = []
    with contextlib.ExitStack() as stack:
        sockets: dict[tuple[str, bool], socket.socket] = {}
        for sequence, (number, size) in enumerate(asked):
            link, address, _size = targets[number]
            six = ":" in address
            if (link, six) not in sockets:
                sockets[link, six] = stack.enter_context(_socket(link, six))
            with contextlib.suppress(OSError):  # larger than the link, or no route: the same as lost
                sockets[link, six].sendto(_echo(six, identity, sequence & 0xFFFF, mark, size), (address, 0))
        end = time.monotonic() + patience
        waiting = list(sockets.values())
        while waiting and len(answered) < len(asked) and time.monotonic() < end:
            ready, _w, _x = select.select(waiting, [], [], max(0.0, end - time.monotonic()))
            for handle in ready:
                index = _answer(handle.recv(1 << 16), handle.family == socket.AF_INET6, identity, mark)
                if index is not None and index < len(asked) and asked[index] not in answered:
                    answered.append(asked[index])
    return answered


def _socket(link: str, six: bool) -> socket.socket:
    handle = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode() + b"\0")
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    if six:
        handle.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)
    else:
        handle.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
    return handle


def _echo(six: bool, identity: int, sequence: int, mark: bytes, size: int) -> bytes:
    """An echo request that makes an IP packet of `size` bytes (headers: 40 or 20, and 8 of ICMP)."""
    body = mark + bytes(max(0, size - (48 if six else 28) - len(mark)))
    head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, identity, sequence)
    # The kernel fills in the checksum of ICMPv6, whose pseudo-header it alone knows.
    return head + body if six else struct.pack("!BBHHH", 8, 0, checksum(head + body), identity, sequence) + body


def _answer(packet: bytes, six: bool, identity: int, mark: bytes) -> int | None:
    """The sequence number of an echo reply to us, None for any other packet. A raw IPv4 socket also gives the IP header."""
    body = packet if six else packet[(packet[0] & 15) * 4 :]
    if len(body) < 16:
        return None
    kind, _code, _sum, theirs, sequence = struct.unpack_from("!BBHHH", body)
    return int(sequence) if kind == (129 if six else 0) and theirs == identity and body[8:16] == mark else None


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
