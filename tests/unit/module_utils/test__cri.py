# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The CRI client against a server that speaks HTTP/2 as containerd's does; the real one is asked by tests/integration/nodes."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _cri
from ansible_collections.slipway.mlops.plugins.module_utils._cri import NoAnswer, status


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    length = b""
    size = len(data)
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + length + data


VERSION = field(1, "0.1.0") + field(2, "containerd") + field(3, "v2.1.5") + field(4, "v1")


def condition(kind: str, holds: bool, reason: str = "", message: str = "") -> bytes:
    return field(1, field(1, kind) + field(2, int(holds)) + field(3, reason) + field(4, message))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


class Server:
    """Answers each connection with what the test gives for the method."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, bytes] = {"Version": VERSION}
        self.asked: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _address = self.socket.accept()
            except OSError:
                return
            with peer:
                request = b""
                while b"RuntimeService/" not in request or len(request) < 200:
                    part = peer.recv(65536)
                    if not part:
                        break
                    request += part
                    if request.endswith((b"\x00\x00\x00\x00\x00", b"\x08\x01")):
                        break
                method = request.partition(b"RuntimeService/")[2][:7].decode("latin-1").strip("@")
                method = "Version" if method.startswith("Version") else "Status"
                self.asked.append(method)
                peer.sendall(frame(4, 0, 0, b"") + frame(6, 0, 0, b"12345678"))
                answer = self.answers.get(method)
                if answer is None:
                    peer.sendall(frame(1, 5, 1, b"\x88"))  # headers that end the stream: an error
                    continue
                body = b"\0" + struct.pack(">I", len(answer)) + answer
                half = len(body) // 2
                peer.sendall(frame(1, 4, 1, b"\x88") + frame(0, 0, 1, body[:half]) + frame(0, 0, 1, body[half:]) + frame(1, 5, 1, b"\x88"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    path = tmp_path / "cri.sock"
    made = Server(path)
    yield made, str(path)
    made.socket.close()


def test_a_runtime_that_is_ready_tells_its_handlers(server: tuple[Server, str]) -> None:
    config = json.dumps({"containerd": {"runtimes": {"runc": {}, "nvidia": {}}}, "padding": "x" * 70000})
    info = field(2, field(1, "config") + field(2, config))
    server[0].answers["Status"] = field(1, condition("RuntimeReady", True) + condition("NetworkReady", False, "NoCNI")) + info + field(3, field(1, "kata"))
    found = status(server[1])
    assert (found.name, found.version, found.problem) == ("containerd", "2.1.5", "")
    assert found.handlers == {"runc", "nvidia", "kata"}
    assert server[0].asked == ["Version", "Status"]


def test_a_runtime_that_is_not_ready_says_why(server: tuple[Server, str]) -> None:
    server[0].answers["Status"] = field(1, condition("RuntimeReady", False, "Broken", "no shim"))
    assert status(server[1]).problem == "Broken: no shim"


def test_an_engine_without_its_cri_part_gives_no_answer(server: tuple[Server, str]) -> None:
    server[0].answers.clear()
    with pytest.raises(NoAnswer, match="the CRI part of the runtime does not run"):
        status(server[1])


def test_nobody_at_the_socket_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="No such file"):
        status(str(tmp_path / "none"))


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_torn_answer_is_no_answer_and_no_crash(server: tuple[Server, str], cut: int) -> None:
    answer: Callable[[str, str, bytes, float], bytes] = lambda *_words: VERSION[:cut]  # noqa: E731
    saved, _cri._call = _cri._call, answer
    try:
        status("unused")
    finally:
        _cri._call = saved
