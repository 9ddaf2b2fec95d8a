# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A proxy in front of a real API server that counts requests and breaks what a test wants broken. Plain HTTP on loopback.

`rules` are functions (number, method, path) -> None to let it pass, or a Fault.
"""

from __future__ import annotations

import http.client
import http.server
import json
import socket
import threading
import time
from dataclasses import dataclass, field

from ansible_collections.slipway.mlops.plugins.module_utils._connect import Endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._http import Pool


@dataclass(frozen=True)
class Fault:
    """What to do instead of passing a request on: answer with `status`, or with 0 drop the connection. `late`: after the server has done it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "injected"
    reason: str = ""
    late: bool = False


class FaultProxy:
    def __init__(self, endpoint: Endpoint) -> None:
        self._pool = Pool(endpoint)
        self.seen: list[tuple[str, str, float]] = []
        self.authorizations: list[str] = []
        self.rule = lambda number, method, path: None
        self.delay = 0.0
        self.busy = 0  # requests that are being passed on; those of a killed client still reach the server
        self._lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                proxy.busy += 1
                try:
                    proxy._handle(self)
                finally:
                    proxy.busy -= 1

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

            def log_message(self, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # clients that go away are what these tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._pool.close()

    @property
    def requests(self) -> list[str]:
        """Each as "METHOD path?query", in order."""
        return [f"{method} {path}" for method, path, _time in self.seen]

    @property
    def writes(self) -> list[str]:
        return [line for line in self.requests if not line.startswith("GET")]

    def forget(self) -> None:
        self.seen.clear()

    def _handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)) or None
        with self._lock:
            number = len(self.seen)
            self.seen.append((handler.command, handler.path, time.monotonic()))
            self.authorizations.append(handler.headers.get("Authorization") or "")
        if self.delay:
            time.sleep(self.delay)
        fault = self.rule(number, handler.command, handler.path)
        if fault is not None and not fault.late:
            self._break(handler, fault)
            return
        headers = {name: value for name, value in handler.headers.items() if name in ("Accept", "Content-Type")}
        if "watch=1" in handler.path:
            self._stream(handler, headers)
            return
        response = self._pool.send(handler.command, handler.path, body, headers, 30)
        if fault is not None:
            self._break(handler, fault)
            return
        handler.send_response(response.status)
        for name in ("content-type", "retry-after"):
            if name in response.headers:
                handler.send_header(name, response.headers[name])
        handler.send_header("Content-Length", str(len(response.body)))
        handler.end_headers()
        handler.wfile.write(response.body)

    def _break(self, handler: http.server.BaseHTTPRequestHandler, fault: Fault) -> None:
        if not fault.status:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": fault.message, "reason": fault.reason, "code": fault.status}
        body = json.dumps(status).encode()
        handler.send_response(fault.status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **fault.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def _stream(self, handler: http.server.BaseHTTPRequestHandler, headers: dict[str, str]) -> None:
        stream = self._pool.stream(handler.path, headers, 120)
        handler.close_connection = True
        try:
            handler.send_response(stream.status)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Connection", "close")
            handler.end_headers()
            for line in stream.lines():
                handler.wfile.write(line)
                handler.wfile.flush()
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            stream.stop()
