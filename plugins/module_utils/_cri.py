# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks a container runtime over its CRI socket what it is and whether it is well, as a kubelet would: the unit being active proves nothing.

One gRPC call is one HTTP/2 stream with a protobuf message in it (RFC 9113, 7541; k8s.io/cri-api runtime/v1/api.proto), which the standard
library can write. crictl is not on every node, and a `ctr` that answers says nothing of the CRI plugin.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WINDOW_BYTES = 1 << 24  # a verbose status is some tens of KiB


@dataclass(frozen=True)
class Status:
    """A runtime's own words. `problem` is "" where it is ready for pods (its network is another matter)."""

    name: str  # containerd, cri-o, docker
    version: str
    problem: str = ""
    handlers: frozenset[str] = frozenset()  # empty where the runtime does not tell
    config: dict[str, Any] = field(default_factory=dict)  # containerd's CRI configuration as it is in effect


class NoAnswer(Exception):
    """Nobody speaks CRI at this socket."""


def status(path: str, seconds: float = 5.0) -> Status:
    """Version and status of the runtime at a Unix socket; NoAnswer where there is none."""
    version = _text_fields(_call(path, "Version", b"", seconds))
    answer = _call(path, "Status", b"\x08\x01", seconds)  # verbose
    conditions: dict[str, tuple[bool, str]] = {}
    handlers, info = set(), {}
    for number, value in _fields(answer):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            conditions.update(_condition(inner) for key, inner in _fields(value) if key == 1 and isinstance(inner, bytes))
        elif number == 2:
            pair = _text_fields(value)
            info[pair.get(1, "")] = pair.get(2, "")
        elif number == 3:
            handlers.add(_text_fields(value).get(1, ""))
    ready, why = conditions.get("RuntimeReady", (False, "it reports no condition RuntimeReady"))
    config = _json(info.get("config", ""))
    handlers |= set((config.get("containerd") or {}).get("runtimes") or {})
    return Status(version.get(2, ""), version.get(3, "").lstrip("v"), "" if ready else why or "RuntimeReady is false", frozenset(handlers - {""}), config)


def _call(path: str, method: str, message: bytes, seconds: float) -> bytes:
    headers = [(":method", "POST"), (":scheme", "http"), (":path", "/runtime.v1.RuntimeService/" + method), (":authority", "localhost")]
    headers += [("content-type", "application/grpc"), ("te", "trailers")]
    block = b"".join(b"\0" + _literal(name) + _literal(value) for name, value in headers)
    request = _PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, _WINDOW_BYTES)) + _frame(_WINDOW, 0, 0, struct.pack(">I", _WINDOW_BYTES))
    request += _frame(_HEADERS, _END_HEADERS, 1, block) + _frame(_DATA, _END_STREAM, 1, b"\0" + struct.pack(">I", len(message)) + message)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(seconds)
            peer.connect(path)
            peer.sendall(request)
            body = _read(peer)
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror or error}") from None
    if len(body) < 5:  # an error comes without a message
        raise NoAnswer(f"{path}: {method} of runtime.v1.RuntimeService is refused; the CRI part of the runtime does not run")
    return body[5 : 5 + struct.unpack(">I", body[1:5])[0]]


def _read(peer: socket.socket) -> bytes:
    """The bytes of our stream until it ends."""
    body, stream = b"", peer.makefile("rb")
    while True:
        head = stream.read(9)
        if len(head) < 9:
            return body
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        number = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
        payload = stream.read(length)
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            with contextlib.suppress(OSError):  # it has said all and is gone: what it said can be read still
                peer.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _DATA and number == 1:
            body += payload[1 : len(payload) - payload[0]] if flags & 8 else payload
        if (number == 1 and (kind == _RST or (kind in (_DATA, _HEADERS) and flags & _END_STREAM))) or kind == _GOAWAY:
            return body


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(text: str) -> bytes:
    """A string of HPACK without Huffman coding; ours are shorter than 127 bytes."""
    return bytes([len(text)]) + text.encode()


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        length, at = (8, at) if kind == 1 else (4, at) if kind == 5 else _varint(message, at)
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not message[at - 1] & 0x80:
            break
    return value, at


def _text_fields(message: bytes) -> dict[int, str]:
    return {number: value.decode("utf-8", "replace") for number, value in _fields(message) if isinstance(value, bytes)}


def _condition(message: bytes) -> tuple[str, tuple[bool, str]]:
    found = dict(_fields(message))
    words = _text_fields(message)
    return words.get(1, ""), (bool(found.get(2)), ": ".join(filter(None, [words.get(3), words.get(4)])))


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
