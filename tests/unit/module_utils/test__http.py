# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connections that are kept, over real TLS on loopback."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._connect import Endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._http import Pool

BODY = b"x" * 2000


@pytest.fixture
def closing_server(tmp_path: Path) -> Iterator[tuple[str, threading.Event]]:
    """A server that answers one request on each connection and closes it in good order, as an API server does with one that is idle for long."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *curve, "-subj", "/CN=x", "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    closed = threading.Event()

    def serve() -> None:
        for _connection in range(2):
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                received = b""
                while len(received.partition(b"\r\n\r\n")[2]) < len(BODY):
                    received += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                connection.settimeout(0.05)
                with contextlib.suppress(OSError):
                    connection.unwrap()  # says goodbye; the client does not answer that
            closed.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", closed


def test_a_kept_connection_that_the_server_closed_is_replaced(closing_server: tuple[str, threading.Event]) -> None:
    url, closed = closing_server
    pool = Pool(Endpoint(server=url, verify=False))
    assert pool.send("PATCH", "/", BODY, {}, 5).status == 200
    assert closed.wait(5)
    assert pool.send("PATCH", "/", BODY, {}, 5).status == 200
    pool.close()
