# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLflow's REST API, reached by a URL or by a tunnel through the Kubernetes API server.

The tunnel is a port-forward and not the API server's HTTP proxy, because that one removes the `Authorization` header before it passes a
request on (so a server with authentication answers 401), and because a port-forward ends inside the pod, where no NetworkPolicy is in the way.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

from ._model import Cluster, ClusterError, NotFound, Object, Ref, Refused, Tunnel

Json = dict[str, Any]
TIMEOUT = 30.0  # seconds for one answer
API = "/api/2.0/mlflow/"


class MlflowError(ClusterError):
    """MLflow said no. `code` is its own, such as RESOURCE_DOES_NOT_EXIST."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message, status, code)
        self.code = code


class Connection(Protocol):
    """An HTTP connection to one server."""

    def request(self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] = ...) -> None: ...
    def getresponse(self) -> http.client.HTTPResponse: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Credentials:
    """How to log in: a user with a password, or a token; nothing for a server without authentication."""

    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def header(self) -> dict[str, str]:
        if self.token:
            return {"Authorization": "Bearer " + self.token}
        if self.username:
            return {"Authorization": "Basic " + base64.b64encode((self.username + ":" + self.password).encode()).decode()}
        return {}


class Mlflow:
    """Calls of one server over one kept connection. Not for several threads."""

    def __init__(self, connect: Callable[[], Connection], where: str, credentials: Credentials | None = None, prefix: str = "") -> None:
        self._connect = connect
        self._where = where  # for messages
        self._headers = {"Content-Type": "application/json", "User-Agent": "slipway.mlops", **(credentials or Credentials()).header()}
        self._prefix = prefix
        self._connection: Connection | None = None

    def get(self, name: str, **query: str) -> Json:
        return self.call("GET", name + ("?" + urlencode(query) if query else ""))

    def post(self, name: str, body: Json) -> Json:
        return self.call("POST", name, body)

    def call(self, method: str, name: str, body: Json | None = None) -> Json:
        """One call of `/api/2.0/mlflow/<name>`; MlflowError for what MLflow refuses, ClusterError where no answer comes."""
        path = name if name.startswith("/") else API + name
        status, text = self._exchange(method, self._prefix + path, None if body is None else json.dumps(body).encode())
        answer = _parse(text)
        if status < 400 and answer is not None:
            return answer
        raise self._error(status, text, answer, name.partition("?")[0])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        kept = self._connection is not None
        try:
            return self._once(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # A server may close an idle connection at any time: what was read may be read again, and writes of ours are the caller's to repeat.
            if not (kept and (method == "GET" or isinstance(error, (http.client.RemoteDisconnected, BrokenPipeError)))):
                raise ClusterError(f"{self._where} does not answer: {error}") from error
        try:
            return self._once(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ClusterError(f"{self._where} does not answer: {error}") from error

    def _once(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, path, body=body, headers=self._headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.will_close:
            self.close()
        return response.status, text

    def _error(self, status: int, text: bytes, answer: Json | None, name: str) -> ClusterError:
        code = str((answer or {}).get("error_code", ""))
        said = str((answer or {}).get("message", "")) or text[:200].decode("utf-8", "replace").strip()
        if status == 401:
            hint = "it wants a user and a password (tracking_username and tracking_password, tracking_token, or credentials_secret)"
            return MlflowError(f"{self._where} refused to log in (401): {hint}.", status, code)
        if status == 403 and "Host" in said:
            return MlflowError(f"{self._where} refused the Host header (403); add the name to mlflow_hosts.", status, code)
        if answer is None and status < 400:
            return MlflowError(f"{self._where} is no MLflow server: {name} answered {said!r}.", status, code)
        return MlflowError(f"{self._where} answered {status} to {name}: {said or code}", status, code)


def by_url(uri: str, credentials: Credentials, ca_cert: str = "") -> Mlflow:
    """A server that the controller reaches by itself. `ca_cert` is a file; "" means the system's authorities."""
    parsed = urlsplit(uri)
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise Refused([f"tracking_uri '{_without_login(uri)}' is no http:// or https:// URL; a database URI cannot be used here."])
    if parsed.username or parsed.password:
        raise Refused(["tracking_uri carries a user or a password, which would end up in logs; use tracking_username and tracking_password."])
    host, port = parsed.hostname, parsed.port

    def connect() -> Connection:
        if parsed.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=ssl.create_default_context(cafile=ca_cert or None))

    return Mlflow(connect, f"MLflow at {uri}", credentials, parsed.path.rstrip("/"))


def by_service(cluster: Cluster, namespace: str, service: str, credentials: Credentials, prefix: str = "") -> Mlflow:
    """A server behind a Service, by a tunnel to one of its ready pods."""

    def connect() -> Connection:
        pod, port = _endpoint(cluster, namespace, service)
        return _Tunnelled(cluster.connect(namespace, pod, port, TIMEOUT), port)

    return Mlflow(connect, f"MLflow behind Service {namespace}/{service}", credentials, prefix.rstrip("/"))


@contextlib.contextmanager
def closing(server: Mlflow) -> Iterator[Mlflow]:
    """The server, with its connection closed at the end."""
    try:
        yield server
    finally:
        server.close()


class _Tunnelled(http.client.HTTPConnection):
    """HTTP over a socket that is connected already. `localhost` is a name that every MLflow server accepts."""

    def __init__(self, tunnel: Tunnel, port: int) -> None:
        super().__init__("localhost", port, timeout=TIMEOUT)
        self.sock = tunnel  # http.client uses no more of a socket than a Tunnel has

    def connect(self) -> None:
        raise http.client.NotConnected("the tunnel is closed")


def _endpoint(cluster: Cluster, namespace: str, name: str) -> tuple[str, int]:
    """A ready pod behind a Service, and the port of the container."""
    service = cluster.get(Ref("v1", "Service", namespace, name))
    if service is None:
        raise NotFound(f"there is no Service {namespace}/{name}", 404)
    selector = ",".join("{}={}".format(*item) for item in sorted((service["spec"].get("selector") or {}).items()))
    pods = cluster.list("v1", "Pod", namespace, labels=selector).items if selector else []
    ready = [pod for pod in pods if _is_ready(pod)]
    if not ready:
        raise ClusterError(f"no pod behind Service {namespace}/{name} is ready ({len(pods)} in all)")
    declared = service["spec"]["ports"][0]
    target = declared.get("targetPort", declared["port"])
    if isinstance(target, str):
        ports = [port for container in ready[0]["spec"]["containers"] for port in container.get("ports", []) if port.get("name") == target]
        if not ports:
            raise ClusterError(f"Service {namespace}/{name} points to port '{target}', which its pod does not have")
        target = ports[0]["containerPort"]
    return ready[0]["metadata"]["name"], int(target)


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _parse(text: bytes) -> Json | None:
    try:
        answer = json.loads(text) if text.strip() else {}
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _without_login(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return scheme + separator + rest.rpartition("@")[2]
