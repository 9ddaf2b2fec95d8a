# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tunnel against a WebSocket server written from RFC 6455, over real sockets."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._tunnel import UPGRADE, Tunnel

BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
PORTS = [b"\x00\x88\x13", b"\x01\x88\x13"]  # each channel begins with its port, here 5000


def frame(payload: bytes, opcode: int = BINARY, final: bool = True) -> bytes:
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size) if size < 65536 else b"\x7f" + struct.pack("!Q", size)
    return bytes([(0x80 if final else 0) | opcode]) + length + payload


class Peer:
    """The kubelet's side of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.reader = connection.makefile("rb")
        while self.reader.readline().strip():
            pass
        self.socket.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")

    def receive(self) -> tuple[int, bytes]:
        """One masked frame of the client: opcode and payload."""
        first, second = self.reader.read(2)
        assert second & 0x80, "a client must mask"
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.reader.read(2 if size == 126 else 8), "big")
        mask, payload = self.reader.read(4), self.reader.read(size)
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@contextmanager
def tunnel(serve: Callable[[Peer], None]) -> Iterator[Tunnel]:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        connection, _address = listener.accept()
        with connection:
            serve(Peer(connection))

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    client = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=5)
    client.request("GET", "/portforward?ports=5000", headers=UPGRADE)
    answer = client.getresponse()
    assert answer.status == 101
    opened = Tunnel(client, answer)
    del client, answer  # nothing but the tunnel may keep the connection alive
    try:
        yield opened
    finally:
        opened.close()
        thread.join(5)
        listener.close()


@pytest.mark.parametrize("size", [1, 125, 126, 1000, 65535, 65536, 200_000])
def test_bytes_of_any_size_go_there_and_back(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)

    def echo(peer: Peer) -> None:
        peer.socket.sendall(b"".join(frame(port) for port in PORTS))
        got = b""
        while len(got) < size:
            opcode, payload = peer.receive()
            assert opcode == BINARY and payload[0] == 0
            got += payload[1:]
        peer.socket.sendall(frame(b"\x00" + got))

    with tunnel(echo) as opened:
        opened.sendall(data[:size])
        assert opened.makefile("rb").read(size) == data[:size]


def test_the_ports_are_not_data_even_when_data_follows_them_at_once() -> None:
    with tunnel(lambda peer: peer.socket.sendall(frame(PORTS[0] + b"hello") + frame(b"", CLOSE))) as opened:
        assert opened.makefile("rb").read() == b"hello"


def test_a_message_in_pieces_is_one() -> None:
    pieces = frame(PORTS[0]) + frame(b"\x00hel", final=False) + frame(b"lo", opcode=0) + frame(b"", CLOSE)
    with tunnel(lambda peer: peer.socket.sendall(pieces)) as opened:
        assert opened.makefile("rb").read() == b"hello"


def test_a_ping_is_answered() -> None:
    seen = []

    def serve(peer: Peer) -> None:
        peer.socket.sendall(frame(b"are you there", PING))
        seen.append(peer.receive())
        peer.socket.sendall(frame(PORTS[0] + b"x") + frame(b"", CLOSE))

    with tunnel(serve) as opened:
        assert opened.makefile("rb").read() == b"x"
    assert seen == [(PONG, b"are you there")]


def test_a_port_where_nobody_listens_is_told_in_the_kubelets_words() -> None:
    said = b"".join(map(frame, PORTS)) + frame(b"\x01connection refused\n")
    with tunnel(lambda peer: peer.socket.sendall(said)) as opened, pytest.raises(ConnectionError, match=r"^connection refused$"):
        opened.makefile("rb").read(1)


@pytest.mark.parametrize("end", [b"", frame(b"", CLOSE), b"\x82", frame(b"\x00abc")[:-1]])
def test_an_end_at_any_place_is_the_end(end: bytes) -> None:
    with tunnel(lambda peer: peer.socket.sendall(frame(PORTS[0]) + end)) as opened:
        assert opened.makefile("rb").read(1) == b""
