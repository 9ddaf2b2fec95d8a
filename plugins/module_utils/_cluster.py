# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Cluster of `_model` over HTTP: paths, retries, and the server's errors in our words."""

from __future__ import annotations

import builtins
import http.client
import json
import queue
import random
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from ._connect import Endpoint
from ._http import NotConnected, Pool, Stream
from ._kinds import BUILT_IN
from ._model import (
    Clock,
    ClusterError,
    Conflict,
    Event,
    Expired,
    Forbidden,
    Listing,
    NotFound,
    Object,
    Ref,
    Refused,
    Resource,
    Response,
    Source,
    Stopped,
    Unreachable,
)
from ._tunnel import UPGRADE, Tunnel

PAGE = 500  # objects an answer, as kubectl does
TIMEOUT = 30.0  # seconds without a byte of an answer
PATIENCE = 60.0  # seconds of retrying a server that has answered before: longer than the restart of an API server
FIRST_PATIENCE = 10.0  # seconds for the first answer: a wrong address is told soon
RACE = (0.05, 0.1, 0.3, 1.0, 2.0)  # seconds before an apply is sent again that met another writer inside the server
# The server's words for a field that stays as it was made: of most kinds; StatefulSet and StorageClass; Pod and Service; RoleBinding.
_UNCHANGEABLE = re.compile(r"immutable|[Uu]pdates to .* forbidden|may not change|cannot change roleRef")
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class HttpCluster:
    """A Cluster. `resolve` gives the Endpoint and is asked again when the server no longer accepts the credentials (401)."""

    def __init__(self, resolve: Callable[[], Endpoint], clock: Clock, patience: float = PATIENCE) -> None:
        self._resolve = resolve
        self._clock = clock
        self._patience = patience
        self._pool = Pool(resolve())
        self._lock = threading.Lock()
        self._count = 0
        self._answered = False
        self._served: dict[str, dict[str, Resource]] = {}

    @property
    def server(self) -> str:
        return self._pool.endpoint.server

    @property
    def context(self) -> str:
        return self._pool.endpoint.context

    @property
    def explicit(self) -> bool:
        """Whether somebody named this cluster, by option or K8S_AUTH_ variable."""
        return self._pool.endpoint.explicit

    @property
    def requests(self) -> int:
        return self._count

    def close(self) -> None:
        self._pool.close()

    # Kinds

    def resource(self, api_version: str, kind: str) -> Resource | None:
        return BUILT_IN.get((api_version, kind)) or self._discover(api_version).get(kind)

    def kinds(self, api_version: str) -> list[str]:
        return sorted(self._discover(api_version))

    def version_of(self, group: str) -> str:
        response = self._send("GET", "/apis/" + group)
        if response.status == 404:
            return ""
        return str(_json(response, "discover " + group)["preferredVersion"]["groupVersion"])

    def forget(self, api_version: str) -> None:
        with self._lock:
            self._served.pop(api_version, None)

    def _discover(self, api_version: str) -> dict[str, Resource]:
        with self._lock:
            known = self._served.get(api_version)
        if known is None:
            response = self._send("GET", _root(api_version))
            if response.status == 404:
                known = {}
            else:
                entries = _json(response, "discover " + api_version).get("resources") or []
                known = {item["kind"]: Resource(item["name"], item["namespaced"]) for item in entries if "/" not in item["name"]}
            with self._lock:
                self._served[api_version] = known
        return known

    def _path(self, api_version: str, kind: str, namespace: str, name: str = "") -> str:
        resource = self.resource(api_version, kind)
        if resource is None:
            raise NotFound(f"The server has no kind {kind} in {api_version}.", 404, "NotFound")
        middle = "/namespaces/" + quote(namespace, safe="") if namespace and resource.namespaced else ""
        return _root(api_version) + middle + "/" + resource.plural + ("/" + quote(name, safe="") if name else "")

    # Reading

    def get(self, ref: Ref) -> Object | None:
        response = self._send("GET", self._path(ref.api_version, ref.kind, ref.namespace, ref.name))
        if response.status == 404:
            return None
        return _json(response, f"get {ref}")

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        trim: Callable[[Object], None] | None = None,
    ) -> Listing:
        path = self._path(api_version, kind, namespace)
        query = {"limit": str(PAGE), "labelSelector": labels, "fieldSelector": fields}
        what = f"list {kind}" + (f" in namespace {namespace}" if namespace else "")
        items: builtins.list[Object] = []
        while True:
            response = self._send("GET", path, query, headers={"Accept": METADATA if metadata_only else "application/json"})
            if response.status == 410 and query.pop("continue", ""):
                items = []  # the pages we have are from a state that is gone
                continue
            page = _json(response, what)
            for item in page.get("items") or []:
                item["apiVersion"], item["kind"] = api_version, kind
                if trim is not None:
                    trim(item)
                items.append(item)
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return Listing(items, metadata.get("resourceVersion") or "")
            query["continue"] = metadata["continue"]

    def follow(self, sources: Mapping[Source, str], seconds: float) -> Iterator[Event]:
        end = self._clock.now() + seconds
        lines: queue.Queue[Event | None] = queue.Queue()
        streams: builtins.list[Stream] = []
        for source, version in sources.items():
            threading.Thread(target=self._stream, args=(source, version, seconds, lines, streams), daemon=True).start()
        try:
            while self._clock.now() < end:
                self._clock.sleep(0)
                try:
                    event = lines.get(timeout=0.25)
                except queue.Empty:
                    continue
                if event is None:
                    self._clock.sleep(min(1.0, max(0.0, end - self._clock.now())))  # a broken stream is not followed again at once
                    return
                yield event
        finally:
            for stream in streams:
                stream.stop()

    def _stream(self, source: Source, version: str, seconds: float, lines: queue.Queue[Event | None], streams: builtins.list[Stream]) -> None:
        """Puts the events of one watch into `lines`, and None when it ends."""
        query = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(max(1, int(seconds)))}
        try:
            path = self._path(source.api_version, source.kind, source.namespace)
            self._count_one()
            stream = self._pool.stream(path + "?" + urlencode(query), {"Accept": "application/json"}, seconds + TIMEOUT)
            streams.append(stream)
            for line in stream.lines() if stream.status == 200 else ():
                event = json.loads(line)
                if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                    break
                lines.put(Event(event["type"], event["object"]))
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError, ClusterError, Stopped):
            pass  # ended by us or broken: either way the reader lists again
        lines.put(None)

    def logs(self, namespace: str, pod: str, container: str = "", lines: int = 20, previous: bool = False) -> str:
        query = {"tailLines": str(lines), "container": container, "previous": "true" if previous else ""}
        response = self._send("GET", f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log", query)
        if response.status != 200:
            raise _error(response, f"read the log of Pod {namespace}/{pod}")
        return response.body.decode("utf-8", "replace")

    def connect(self, namespace: str, pod: str, port: int, timeout: float) -> Tunnel:
        path, what = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/portforward", f"forward a port of Pod {namespace}/{pod}"
        for attempt in (1, 2):
            pool = self._pool
            self._count_one()
            try:
                connection, answer = pool.open(f"{path}?ports={port}", UPGRADE, timeout)
            except (OSError, http.client.HTTPException) as error:
                raise Unreachable(f"Cannot {what}: {error}") from None
            if answer.status == 101:
                return Tunnel(connection, answer)
            refusal = Response(answer.status, {}, answer.read())
            connection.close()
            if refusal.status != 401 or attempt == 2:
                break
            self._renew(pool)
        raise _error(refusal, what)

    # Writing

    def apply(self, obj: Object, manager: str, force: bool = False, dry_run: bool = False) -> tuple[Object, bool]:
        metadata = obj["metadata"]
        ref = Ref(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata["name"])
        query = {"fieldManager": manager, "force": "true" if force else "", "fieldValidation": "Strict", "dryRun": "All" if dry_run else ""}
        path = self._path(ref.api_version, ref.kind, ref.namespace, ref.name)
        for pause in RACE:
            response = self._send("PATCH", path, query, _dump(obj), {"Content-Type": "application/apply-patch+yaml"})
            if not _lost_race(response):
                break
            self._clock.sleep(pause)
        return _json(response, f"apply {ref}"), response.status == 201

    def create(self, obj: Object, manager: str, dry_run: bool = False) -> Object:
        metadata = obj["metadata"]
        path = self._path(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "")
        query = {"fieldManager": manager, "fieldValidation": "Strict", "dryRun": "All" if dry_run else ""}
        response = self._send("POST", path, query, _dump(obj), {"Content-Type": "application/json"})
        return _json(response, f"create {obj['kind']} {metadata['name']}")

    def patch(self, ref: Ref, operations: Sequence[Mapping[str, Any]], manager: str, dry_run: bool = False) -> Object:
        query = {"fieldManager": manager, "dryRun": "All" if dry_run else ""}
        path = self._path(ref.api_version, ref.kind, ref.namespace, ref.name)
        response = self._send("PATCH", path, query, _dump(list(operations)), {"Content-Type": "application/json-patch+json"})
        return _json(response, f"patch {ref}")

    def delete(self, ref: Ref, uid: str, dry_run: bool = False) -> bool:
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if dry_run:
            body["dryRun"] = ["All"]
        path = self._path(ref.api_version, ref.kind, ref.namespace, ref.name)
        response = self._send("DELETE", path, None, _dump(body), {"Content-Type": "application/json"})
        if response.status in (404, 409):
            return False
        _json(response, f"delete {ref}")
        return True

    # Sending

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        patience: float | None = None,
    ) -> Response:
        return self._send(method, path, query, body, headers, timeout or TIMEOUT, safe=method in ("GET", "HEAD"), patience=patience)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT,
        safe: bool = True,
        patience: float | None = None,
    ) -> Response:
        """One answer, after as many retries as help. `safe`: to send it twice does what sending it once does. An answer that asks to be tried again
        stands once `patience` is over, where that is given."""
        target = path + "?" + urlencode({key: value for key, value in query.items() if value != ""}) if query else path
        begun, attempt, renewed = self._clock.now(), 0, False
        while True:
            self._clock.sleep(0)
            pool = self._pool
            try:
                self._count_one()
                response = pool.send(method, target, body, {"Accept": "application/json", **(headers or {})}, timeout, fresh=not safe)
                self._answered = True
                if response.status == 401 and not renewed:
                    renewed = True
                    self._renew(pool)
                    continue
                pause = _pause(response) if safe else None
                if pause is None or (patience is not None and self._clock.now() - begun >= patience):
                    return response
                cause = f"HTTP {response.status}: {_status(response).get('message') or 'no reason given'}"
            except ssl.SSLCertVerificationError as error:
                raise Unreachable(f"{self.server}: its certificate is not trusted ({error.verify_message}). Check `ca_cert` or the kubeconfig.") from None
            except (OSError, http.client.HTTPException) as error:
                cause, pause = str(error) or type(error).__name__, 0.0
                if not safe and not isinstance(error, NotConnected):
                    raise Unreachable(f"{method} {path}: the connection broke before an answer came: {cause}.") from None
            attempt += 1
            pause = max(pause, min(5.0, 0.1 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
            waited = self._clock.now() - begun
            if waited + pause > (self._patience if self._answered else min(self._patience, FIRST_PATIENCE)) or (patience is not None and waited >= patience):
                raise Unreachable(f"{self.server} gave no usable answer to {method} {path} in {waited:.0f} s and {attempt} attempts: {cause}.")
            self._clock.sleep(pause)

    def _count_one(self) -> None:
        with self._lock:
            self._count += 1

    def _renew(self, refused: Pool) -> None:
        """Read the credentials again, once for all threads that were refused with the same ones."""
        with self._lock:
            if self._pool is refused:
                try:
                    self._pool = Pool(self._resolve())
                except Refused as error:  # a file that is gone or empty now: an error among the others, so that what was done is told
                    raise ClusterError(f"{self.server} no longer accepts the credentials, and they cannot be read again: {error}", 401) from None
                refused.close()


def _root(api_version: str) -> str:
    return ("/apis/" if "/" in api_version else "/api/") + quote(api_version)


def _dump(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _status(response: Response) -> Object:
    try:
        status = json.loads(response.body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def _pause(response: Response) -> float | None:
    """Seconds to wait at least before the same request is worth sending again; None if the answer stands."""
    status, retry_after = response.status, response.headers.get("retry-after", "")
    if status in (429, 502, 503, 504):
        return float(retry_after) if retry_after.isdigit() else 0.0
    if status == 500:
        answer = _status(response)
        # A plain 500 is often the user's typo ("failed to create typed patch object"); these are the server's own troubles.
        if answer.get("reason") in ("ServerTimeout", "Timeout") or "etcdserver" in str(answer.get("message")):
            return float(retry_after) if retry_after.isdigit() else 0.0
    return None


def _lost_race(response: Response) -> bool:
    """An apply names no version, so this conflict is the server's own; one between managers has causes."""
    if response.status != 409:
        return False
    answer = _status(response)
    return "please apply your changes to the latest version" in str(answer.get("message")) and not _causes(answer)


def _causes(status: Object) -> list[Object]:
    """What the server says of each field; a proxy in front of it may have details of its own."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return [cause for cause in causes if isinstance(cause, dict)] if isinstance(causes, list) else []


def _json(response: Response, what: str) -> Object:
    if response.status >= 300:
        raise _error(response, what)
    answer = _status(response)
    if not answer:
        raise Unreachable(f"Cannot {what}: the answer is not from an API server ({response.body[:80]!r}).", response.status)
    return answer


def _error(response: Response, what: str) -> ClusterError:
    status = _status(response)
    code, reason = response.status, str(status.get("reason") or "")
    text = str(status.get("message") or response.body[:300].decode("utf-8", "replace") or f"HTTP {code}")
    conflicts = [cause for cause in _causes(status) if cause.get("reason") == "FieldManagerConflict"]
    if conflicts:
        held = ", ".join(f"{cause.get('field')} ({cause.get('message')})" for cause in conflicts)
        return Conflict(f"Cannot {what}: others hold fields that it declares: {held}. Leave them out, or set `force_conflicts: true`.", code, reason)
    if code == 401:
        text += " (the server does not accept these credentials, also not after they were read again)"
    elif code == 422 and _UNCHANGEABLE.search(text):
        text += " (delete the object yourself, or give the new one another name; nothing is deleted and made again unasked)"
    kind = {403: Forbidden, 404: NotFound, 409: Conflict, 410: Expired}.get(code, ClusterError)
    return kind(f"Cannot {what}: {text}", code, reason)
