# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One TCP connection into a pod, carried by a WebSocket of the API server (`v4.channel.k8s.io` port-forward).

Frames: RFC 6455. The first byte of a message is the channel: 0 data, 1 errors; each channel's first message is the port (2 bytes).
"""

from __future__ import annotations

import http.client
import io
import os

PROTOCOL = "v4.channel.k8s.io"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c2xpcHdheS5tbG9wcy5wZg==",  # any 16 bytes: it guards against caches, not people
    "Sec-WebSocket-Protocol": PROTOCOL,
}
_CONTINUE, _BINARY, _CLOSE, _PING, _PONG = 0, 2, 8, 9, 10
_CHUNK = 32 * 1024


class Tunnel:
    """Quacks as far like a connected socket as `http.client` needs. Made of the connection that was upgraded and the answer that said so."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self._socket = connection.sock
        self._answer = answer  # closes its reader, which may have read ahead, when it is collected
        self._reader = answer.fp
        self._ports = {0, 1}  # channels whose first message is still to come

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), _CHUNK):
            self._send(_BINARY, b"\0" + bytes(view[start : start + _CHUNK]))

    def makefile(self, mode: str = "rb", buffering: int | None = None) -> io.BufferedReader:
        if mode != "rb":
            raise ValueError(mode)
        return io.BufferedReader(_Stream(self), _CHUNK)

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def close(self) -> None:
        self._answer.close()
        self._socket.close()

    def receive(self) -> bytes:
        """The next bytes of the pod's side, b"" at its end; OSError with the kubelet's words where it could not connect."""
        while True:
            message = self._message()
            if message is None:
                return b""
            channel, data = message[0], message[1:]
            if channel in self._ports:
                self._ports.discard(channel)
                data = data[2:]
            if channel == 1 and data:
                raise ConnectionError(data.decode("utf-8", "replace").strip())
            if data:
                return data

    def _message(self) -> bytes | None:
        """One message, put together from its frames; None when the other side closed."""
        parts = b""
        while True:
            head = self._exactly(2)
            if head is None:
                return None
            final, opcode, length = head[0] & 0x80, head[0] & 0x0F, head[1] & 0x7F
            if length >= 126:
                length = int.from_bytes(self._exactly(2 if length == 126 else 8) or b"", "big")
            payload = self._exactly(length) if length else b""
            if payload is None or opcode == _CLOSE:
                return None
            if opcode == _PING:
                self._send(_PONG, payload)
            elif opcode in (_BINARY, _CONTINUE):
                parts += payload
                if final and parts:
                    return parts

    def _exactly(self, count: int) -> bytes | None:
        data = self._reader.read(count)
        return data if len(data) == count else None

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size < 126:
            head = bytes([0x80 | opcode, 0x80 | size])
        elif size < 65536:
            head = bytes([0x80 | opcode, 0x80 | 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | opcode, 0x80 | 127]) + size.to_bytes(8, "big")
        mask = os.urandom(4)
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")).to_bytes(size, "big")
        self._socket.sendall(head + mask + masked)


class _Stream(io.RawIOBase):
    """The pod's side as a file. Closing it leaves the tunnel open, as a socket's file does."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = self._tunnel.receive()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
