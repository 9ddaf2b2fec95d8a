# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keep-alive HTTP/1.1 connections to one Endpoint, shared by threads. One request in, one answer or OSError out; no policy here.

The standard library is used on purpose: the same two requests cost 0.3 s and 40 MB more through the `kubernetes` package.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from ._connect import Endpoint
from ._model import Refused, Response

CONNECT_TIMEOUT = 5.0  # seconds; a dropped SYN is sent again after 1 and 3
# What a kept connection says that the server has closed; over TLS the second write to it is a violation of protocol.
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class NotConnected(OSError):
    """No connection came about, so nothing was sent."""


class Stream:
    """An answer that is read by one thread, and may be ended by another."""

    def __init__(self, connection: http.client.HTTPConnection, sock: socket.socket, answer: http.client.HTTPResponse) -> None:
        self._connection, self._sock, self._answer = connection, sock, answer
        self.status = answer.status

    def lines(self) -> Iterator[bytes]:
        """Until the server or `stop` ends it."""
        try:
            yield from self._answer
        finally:
            self._answer.close()
            self._connection.close()

    def stop(self) -> None:
        """Closing would wait for the thread that reads; the socket's own shutdown (below TLS) wakes it."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


class Pool:
    """Connections to one Endpoint. `send` may be called from several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        parts = urlsplit(endpoint.server)
        self._tls = tls_context(endpoint) if parts.scheme == "https" else None
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._tls else 80)
        self._base = parts.path.rstrip("/")
        self._headers = list(endpoint.headers.items()) + [("Impersonate-Group", group) for group in endpoint.groups]
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float, fresh: bool = False) -> Response:
        """The answer to one request. A kept connection that the server has closed meanwhile is replaced once, unless `fresh` asks for a new one."""
        connection = None if fresh else self._take()
        if connection is not None:
            try:
                return self._exchange(connection, method, path, body, headers, timeout)
            except _CLOSED:
                pass
        return self._exchange(self._connect(), method, path, body, headers, timeout)

    def open(self, path: str, headers: Mapping[str, str], timeout: float) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A GET on a connection of its own; the caller reads the answer and closes the connection."""
        connection = self._connect()
        try:
            return connection, self._begin(connection, "GET", path, None, headers, timeout)
        except BaseException:
            connection.close()
            raise

    def stream(self, path: str, headers: Mapping[str, str], timeout: float) -> Stream:
        """A GET whose answer comes line by line."""
        connection = self._connect()
        sock = connection.sock  # kept, since an answer that ends the connection takes it away from there
        try:
            return Stream(connection, sock, self._begin(connection, "GET", path, None, headers, timeout))
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> Response:
        try:
            answer = self._begin(connection, method, path, body, headers, timeout)
            response = Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append(connection)
        return response

    def _begin(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> http.client.HTTPResponse:
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.putrequest(method, self._base + path, skip_accept_encoding=True)
        for name, value in [*self._headers, *headers.items()]:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        proxy = self.endpoint.proxy
        try:
            if proxy and not spared(self._host, self.endpoint.no_proxy):
                return self._through(proxy)
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT)
            connection.connect()
            return self._secured(connection)
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            raise NotConnected(str(error) or type(error).__name__) from error

    def _through(self, proxy: str) -> http.client.HTTPConnection:
        parts = urlsplit(proxy if "//" in proxy else "http://" + proxy)
        if parts.scheme != "http":
            raise Refused([f"proxy {parts.scheme}://{parts.hostname}: only http:// proxies are supported."])
        headers = {}
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(pair).decode()
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 3128, timeout=CONNECT_TIMEOUT)
        connection.set_tunnel(self._host, self._port, headers)
        connection.connect()
        return self._secured(connection)

    def _secured(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls is not None:
            try:
                connection.sock = self._tls.wrap_socket(connection.sock, server_hostname=self.endpoint.tls_server_name or self._host)
            except BaseException:
                connection.close()
                raise
        return connection


def spared(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY names this host: "*", a domain with all below it, an address or a network."""
    for entry in filter(None, (part.strip() for part in no_proxy.split(","))):
        if entry == "*" or host == entry or host.endswith("." + entry.lstrip(".")):
            return True
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Verifies by the given CA (else the system's) and shows the client certificate, if there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif endpoint.ca:
        # Text is PEM, and must be ASCII: a comment in a bundle need not be. Bytes are DER.
        bundle = endpoint.ca.decode("ascii", "ignore") if b"-----BEGIN" in endpoint.ca else endpoint.ca
        try:
            context.load_verify_locations(cadata=bundle)
        except (ssl.SSLError, ValueError):
            raise Refused([f"The CA certificate for {endpoint.server} is neither PEM nor DER."]) from None
    else:
        context.load_default_certs()
    if endpoint.certificate:
        # ssl reads these from a file only; mkstemp makes it 0600, and it is gone before anything is sent.
        handle, path = tempfile.mkstemp(prefix="slipway-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(endpoint.certificate + b"\n" + endpoint.key)
            context.load_cert_chain(path, password="")  # nobody is there to be asked for one
        except ssl.SSLError:
            raise Refused([f"The client certificate or key for {endpoint.server} is not PEM, or they do not belong together."]) from None
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)
    return context
