# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The nouns of the Kubernetes side, and what it asks of a cluster and a clock. No effects, no other imports of ours.

An `Object` is the JSON that the API server speaks, as plain dicts and lists; nothing wraps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any, NamedTuple, Protocol

Object = dict[str, Any]
Progress = Callable[[str], None]

# Actions of a Change.
CREATED, UPDATED, UNCHANGED, DELETED, KEPT = "created", "updated", "unchanged", "deleted", "kept"
# States of a Verdict.
READY, PROGRESSING, FAILED, ABSENT = "ready", "progressing", "failed", "absent"


@dataclass(frozen=True, order=True)
class Ref:
    """Names one object. `namespace` is "" for what lives outside of namespaces."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return self.kind + " " + (self.namespace + "/" if self.namespace else "") + self.name

    @property
    def group(self) -> str:
        """API group, "" for core: the `apps` of `apps/v1`."""
        return self.api_version.rpartition("/")[0]


def ref_of(obj: Object) -> Ref:
    """The Ref of an object that has apiVersion, kind and metadata.name."""
    metadata = obj["metadata"]
    return Ref(obj["apiVersion"], obj["kind"], metadata.get("namespace") or "", metadata["name"])


@dataclass(frozen=True)
class Resource:
    """How the API serves a kind: path segment (plural) and whether it lives in namespaces."""

    plural: str
    namespaced: bool


@dataclass(frozen=True)
class Verdict:
    """Health of one object: READY, PROGRESSING, FAILED (will not recover by itself) or ABSENT, and why in a few words.

    `reason` is a phrase for people ("1/2 available"), "" where READY needs no explanation. A FAILED ends a wait once it has
    stood for `grace` seconds: some failures cure themselves (a volume that the old pod still holds, a registry's hiccup).
    """

    state: str
    reason: str = ""
    grace: float = 0.0


@dataclass(frozen=True)
class Change:
    """What was, or in check mode would be, done to one object.

    `before` and `after` are None where there was or will be no object. `assumed`: no server could be asked about it.
    """

    ref: Ref
    action: str
    before: Object | None = None
    after: Object | None = None
    assumed: bool = False


@dataclass(frozen=True)
class Report:
    """The outcome of one call: what was done to each object, and how each is afterwards."""

    changes: list[Change] = field(default_factory=list)
    verdicts: dict[Ref, Verdict] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return any(change.action in (CREATED, UPDATED, DELETED) for change in self.changes)


class Refused(Exception):
    """The input or the state of the cluster forbids to begin. Carries every problem found, each a full sentence; nothing was written."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class ClusterError(Exception):
    """The API server said no, or could not be reached. The message names verb, object, cause and the way out."""

    def __init__(self, message: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status  # HTTP status, 0 where no answer came
        self.reason = reason  # `reason` of the server's Status object


class NotFound(ClusterError):
    """404: no such object, namespace or kind."""


class Conflict(ClusterError):
    """409: another field manager owns the field, the object changed meanwhile, or it exists already."""


class Forbidden(ClusterError):
    """403: a right is missing, or admission, quota or a namespace that is being deleted forbids it."""


class Expired(ClusterError):
    """410: a watch or a page of a list is too old; list again."""


class Unreachable(ClusterError):
    """No usable answer within the retries: connection, TLS, time, or the server overloaded (429, 502-504)."""


class Stopped(BaseException):
    """The task was told to end. Not an Exception, so that no handler goes on writing."""


@dataclass(frozen=True)
class Listing:
    """All objects of one kind that matched, and the resourceVersion from which a watch goes on."""

    items: list[Object]
    version: str = ""


class Source(NamedTuple):
    """What is listed or watched as one: a kind in one namespace, "" for all of them."""

    api_version: str
    kind: str
    namespace: str


@dataclass(frozen=True)
class Event:
    """One line of a watch: ADDED, MODIFIED or DELETED, and the object as it then was."""

    type: str
    object: Object


@dataclass(frozen=True)
class Response:
    """A raw answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Tunnel(Protocol):
    """As much of a socket as `http.client` needs."""

    def sendall(self, data: bytes) -> None: ...
    def makefile(self, mode: str = "rb", buffering: int | None = None) -> BufferedReader: ...
    def settimeout(self, seconds: float | None) -> None: ...
    def close(self) -> None: ...


class Clock(Protocol):
    """Time as the loops see it, so that tests need none."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Waits, and raises Stopped at once when the task ends."""


class Cluster(Protocol):
    """An API server and the rights of one account on it. Safe to call from several threads.

    Every method raises ClusterError (or one of its kinds) and, once the task was told to end, Stopped. Retries of what is
    worth retrying happen inside, for as long as the task's own time for waiting allows, at most a minute.
    """

    @property
    def server(self) -> str:
        """URL of the API server."""

    @property
    def context(self) -> str:
        """Name of the kubeconfig's context, "" without one."""

    @property
    def requests(self) -> int:
        """HTTP requests sent so far."""

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """How the kind is served, None where it is not. Costs no request for built-in kinds, one per group version for others."""

    def kinds(self, api_version: str) -> list[str]:
        """Kinds that the server has in this group version, for messages; empty where it has no such group version."""

    def version_of(self, group: str) -> str:
        """The group version that the server prefers for an API group, "" where it has no such group."""

    def forget(self, api_version: str) -> None:
        """Ask again which kinds a group version has; after a CustomResourceDefinition was written."""

    def get(self, ref: Ref) -> Object | None:
        """The live object, None where there is none."""

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
        """All objects of a kind, page by page; namespace "" means all of them. `labels` and `fields` are selectors.

        With `metadata_only` items have apiVersion, kind and metadata alone (no spec, no Secret's data crosses the wire). `trim` takes
        out of each item what nobody needs as its page arrives, so that thousands of nodes are never in memory as a whole.
        """

    def apply(self, obj: Object, manager: str, force: bool = False, dry_run: bool = False) -> tuple[Object, bool]:
        """Server-side apply; the object as stored (or as it would be) and True where it did not exist before."""

    def create(self, obj: Object, manager: str, dry_run: bool = False) -> Object:
        """POST; Conflict where it exists already."""

    def patch(self, ref: Ref, operations: Sequence[Mapping[str, Any]], manager: str, dry_run: bool = False) -> Object:
        """JSON patch (RFC 6902); a failed `test` is an error of status 422. Begin with a `test` of /metadata/resourceVersion or uid."""

    def delete(self, ref: Ref, uid: str, dry_run: bool = False) -> bool:
        """Delete exactly this object, dependents in the background; False where it is gone (or another has its name) already."""

    def follow(self, sources: Mapping[Source, str], seconds: float) -> Iterator[Event]:
        """What changes in any of `sources` after their resourceVersion, as it comes, for at most `seconds`.

        Ends early when a stream breaks or is too old: list again and follow from there. Raises nothing but Stopped.
        """

    def logs(self, namespace: str, pod: str, container: str = "", lines: int = 20, previous: bool = False) -> str:
        """The last lines that a container wrote."""

    def connect(self, namespace: str, pod: str, port: int, timeout: float) -> Tunnel:
        """A TCP connection into a pod (port-forward); `timeout` is in seconds, for each read. The caller closes it.

        For what the proxies of `request` cannot do: they drop the Authorization header, and come from outside of the pod.
        """

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
        """One raw request, for pod and service proxies. Any status is an answer; only a missing answer raises.

        What may pass by itself is tried again for `patience` seconds, for as long as the server's own troubles may take where it is None. A proxy
        says 503 of a pod that does not answer, too.
        """
