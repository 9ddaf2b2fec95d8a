# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Network links and addresses of this network namespace, as the kernel tells them over rtnetlink(7). Reads, and sets one thing: an MTU.

Numbers are those of linux/rtnetlink.h, linux/if_link.h and linux/if_addr.h, which are kernel ABI.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_GETLINK, _GETADDR, _DONE, _ERROR = 18, 22, 3, 2
_REQUEST_DUMP = 0x1 | 0x300
_IFNAME, _MTU, _LINK, _MASTER, _LINKINFO, _MIN_MTU, _MAX_MTU = 3, 4, 5, 10, 18, 50, 51
_INFO_KIND = 1
_ADDRESS, _LOCAL = 1, 2
_SIOCSIFMTU = 0x8922
_ON_ANOTHER = ("vlan", "macvlan", "ipvlan", "macvtap")  # kinds whose IFLA_LINK is the link below; of a veth it is the other end


@dataclass(frozen=True)
class Link:
    """One network link. `kind` is "" for a card, else bond, bridge, vlan, veth, ... MTUs in bytes; max_mtu 0 where the driver states none.

    below: index of the link that this one stands on (vlan, macvlan), 0 for none. master: index of the bond or bridge that it is part of, 0 for none.
    addresses: "10.0.0.1/24" and "fd00::1/64", without link-local ones.
    """

    index: int
    name: str
    mtu: int
    kind: str = ""
    min_mtu: int = 0
    max_mtu: int = 0
    below: int = 0
    master: int = 0
    up: bool = True
    addresses: tuple[str, ...] = ()


def links() -> list[Link]:
    """All links, in the order of their index. OSError where the kernel does not answer."""
    addresses: dict[int, list[str]] = {}
    for body in _dump(_GETADDR):
        family, prefix, _flags, scope, index = struct.unpack_from("=BBBBI", body)
        attributes = _attributes(body[8:])
        packed = attributes.get(_LOCAL) or attributes.get(_ADDRESS)
        if packed and scope != 253:  # RT_SCOPE_LINK
            addresses.setdefault(index, []).append(f"{socket.inet_ntop(family, packed)}/{prefix}")
    found = []
    for body in _dump(_GETLINK):
        _family, _type, index, flags, _change = struct.unpack_from("=BxHiII", body)
        attributes = _attributes(body[16:])
        kind = _attributes(attributes.get(_LINKINFO, b"")).get(_INFO_KIND, b"").rstrip(b"\0").decode()
        found.append(
            Link(
                index=index,
                name=attributes[_IFNAME].rstrip(b"\0").decode("utf-8", "replace"),
                mtu=_u32(attributes, _MTU),
                kind=kind,
                min_mtu=_u32(attributes, _MIN_MTU),
                max_mtu=_u32(attributes, _MAX_MTU),
                below=_u32(attributes, _LINK) if kind in _ON_ANOTHER else 0,
                master=_u32(attributes, _MASTER),
                up=bool(flags & 1),
                addresses=tuple(addresses.get(index, ())),
            )
        )
    return sorted(found, key=lambda link: link.index)


def set_mtu(name: str, mtu: int) -> None:
    """Set the MTU of a link. OSError, with the link as its file name, where the kernel refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        try:
            fcntl.ioctl(handle, _SIOCSIFMTU, struct.pack("16si12x", name.encode(), mtu))
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from error


def _dump(what: int) -> Iterator[bytes]:
    """Body of each message of a dump, without netlink's header."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as handle:
        handle.settimeout(10)
        handle.sendto(struct.pack("=IHHIIB3x12x", 32, what, _REQUEST_DUMP, 1, 0, socket.AF_UNSPEC), (0, 0))
        while True:
            data = handle.recv(1 << 18)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    number = -struct.unpack_from("=i", data, 16)[0]
                    raise OSError(number or errno.EPROTO, os.strerror(number or errno.EPROTO), "rtnetlink")
                yield data[16:length]
                data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _u32(attributes: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(attributes.get(kind, b""), sys.byteorder)
