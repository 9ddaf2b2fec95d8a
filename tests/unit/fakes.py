# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Cluster and a Clock in memory. `cluster_contract.py` is run against this one and against a real API server: both must agree.

The fake merges by ownership as server-side apply does, for maps, for lists whose elements have a `name`, and for everything else as a whole.
"""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._kinds import BUILT_IN
from ansible_collections.slipway.mlops.plugins.module_utils._model import (
    ClusterError,
    Conflict,
    Event,
    Forbidden,
    Listing,
    NotFound,
    Object,
    Ref,
    Resource,
    Response,
    Source,
    Stopped,
    ref_of,
)

MARKS = ("apiVersion", "kind", "status")


class FakeClock:
    """Time that passes only when somebody sleeps. `at` runs a function when a moment has come."""

    def __init__(self) -> None:
        self.time = 0.0
        self.stopped = False
        self._due: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        if self.stopped:
            raise Stopped
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        end = self.time + seconds
        for when, action in sorted([item for item in self._due if item[0] <= end], key=lambda item: item[0]):
            self.time = max(self.time, when)
            action()
        self._due = [item for item in self._due if item[0] > end]
        self.time = end

    def at(self, seconds: float, action: Callable[[], None]) -> None:
        self._due.append((seconds, action))

    def next_due(self) -> float | None:
        return min((when for when, _action in self._due), default=None)


class FakeCluster:
    """An API server of dicts. `fail(verb, ref)` may raise before a request is answered; `log` has every request."""

    server, context, explicit = "https://fake:6443", "fake", True

    def __init__(self, clock: FakeClock | None = None, custom: Mapping[tuple[str, str], Resource] | None = None) -> None:
        self.clock = clock or FakeClock()
        self.custom = dict(custom or {})
        self.objects: dict[Ref, Object] = {}
        self.log: list[tuple[str, Ref | Source]] = []
        self.fail: Callable[[str, Ref | Source], None] = lambda verb, ref: None
        self.logs_of: dict[str, str] = {}
        self.forbidden: set[tuple[str, str]] = set()  # (verb, kind)
        self._version = 0
        self._dropped: list[tuple[int, Ref, Object]] = []
        self._lock = threading.RLock()

    # What tests do behind the module's back

    def put(self, obj: Object, manager: str = "somebody") -> Object:
        """Make or replace an object as an Update by `manager`."""
        obj = copy.deepcopy(obj)
        ref = ref_of(obj)
        old = self.objects.get(ref)
        entries = [entry for entry in (old or {}).get("metadata", {}).get("managedFields", []) if entry["manager"] != manager]
        after = _paths(_fields(obj))
        changed = {path for path in after if _at(old or {}, path) != _at(obj, path)}
        for entry in entries:
            entry["fieldsV1"] = _tree(path for path in _paths(entry["fieldsV1"]) if path in after and path not in changed)
        mine = changed if old is not None else set(after)
        obj["metadata"]["managedFields"] = [entry for entry in entries if entry["fieldsV1"]] + [_entry(manager, "Update", _tree(mine))]
        return self._store(ref, obj)

    def set_status(self, ref: Ref, status: Object) -> None:
        live = copy.deepcopy(self.objects[ref])
        live["status"] = status
        self._store(ref, live)

    def drop(self, ref: Ref) -> None:
        self._version += 1
        self._dropped.append((self._version, ref, self.objects.pop(ref)))

    def as_left(self) -> FakeCluster:
        """The same objects for another process; threads of a killed one that still run here change nothing there."""
        other = FakeCluster(self.clock, self.custom)
        with self._lock:
            other.objects, other._version = copy.deepcopy(self.objects), self._version
        return other

    def writes(self) -> list[tuple[str, Ref | Source]]:
        return [entry for entry in self.log if entry[0] in ("apply", "create", "patch", "delete")]

    # The protocol

    @property
    def requests(self) -> int:
        return len(self.log)

    def resource(self, api_version: str, kind: str) -> Resource | None:
        return BUILT_IN.get((api_version, kind)) or self.custom.get((api_version, kind)) or self._defined(api_version, kind)

    def kinds(self, api_version: str) -> list[str]:
        return sorted(kind for version, kind in [*BUILT_IN, *self.custom] if version == api_version)

    def version_of(self, group: str) -> str:
        return next((version for version, _kind in self.custom if version.rpartition("/")[0] == group), "")

    def forget(self, api_version: str) -> None:
        pass

    def get(self, ref: Ref) -> Object | None:
        self._ask("get", ref)
        self._served(ref.api_version, ref.kind)
        return copy.deepcopy(self.objects.get(ref))

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "", metadata_only: bool = False, trim=None) -> Listing:
        self._ask("list", Source(api_version, kind, namespace))
        self._served(api_version, kind)
        items = []
        for ref, live in sorted(self.objects.items()):
            if (ref.api_version, ref.kind) != (api_version, kind) or (namespace and ref.namespace != namespace):
                continue
            if labels and not _selected(live, labels):
                continue
            if fields and fields != "metadata.name=" + ref.name:
                continue
            items.append(copy.deepcopy({key: live[key] for key in ("apiVersion", "kind", "metadata")} if metadata_only else live))
            if trim is not None:
                trim(items[-1])
        return Listing(items, str(self._version))

    def follow(self, sources: Mapping[Source, str], seconds: float) -> Iterator[Event]:
        """Passes time, from one scheduled change to the next, and yields what changed."""
        end = self.clock.now() + seconds
        since = {source: int(version or 0) for source, version in sources.items()}
        while self.clock.now() < end:
            due = self.clock.next_due()
            self.clock.sleep(max(0.001, min(end, due if due is not None else end) - self.clock.now()))
            for source, version in since.items():
                mine = [(ref, live) for ref, live in self.objects.items() if Source(ref.api_version, ref.kind, ref.namespace) == source]
                for _ref, live in mine:
                    if int(live["metadata"]["resourceVersion"]) > version:
                        yield Event("MODIFIED", copy.deepcopy(live))
                for number, ref, live in list(self._dropped):
                    if number > version and Source(ref.api_version, ref.kind, ref.namespace) == source:
                        yield Event("DELETED", copy.deepcopy(live))
                since[source] = self._version

    def logs(self, namespace: str, pod: str, container: str = "", lines: int = 20, previous: bool = False) -> str:
        self._ask("logs", Ref("v1", "Pod", namespace, pod))
        if Ref("v1", "Pod", namespace, pod) not in self.objects:
            raise NotFound(f"Cannot read the log of Pod {namespace}/{pod}: not found", 404, "NotFound")
        return self.logs_of.get(pod, "")

    def apply(self, obj: Object, manager: str, force: bool = False, dry_run: bool = False) -> tuple[Object, bool]:
        ref = ref_of(obj)
        self._ask("apply", ref)
        with self._lock:
            self._admit(ref)
            old = self.objects.get(ref)
            new = _merged(ref, old, obj, manager, force)
            if not dry_run:
                new = self._store(ref, new)
            return copy.deepcopy(new), old is None

    def create(self, obj: Object, manager: str, dry_run: bool = False) -> Object:
        ref = ref_of(obj)
        self._ask("create", ref)
        with self._lock:
            self._admit(ref)
            if ref in self.objects:
                raise Conflict(f"Cannot create {ref}: it exists already", 409, "AlreadyExists")
            new = copy.deepcopy(obj)
            new["metadata"]["managedFields"] = [_entry(manager, "Update", _fields(obj))]
            return copy.deepcopy(new if dry_run else self._store(ref, new))

    def patch(self, ref: Ref, operations: Sequence[Mapping[str, Any]], manager: str, dry_run: bool = False) -> Object:
        self._ask("patch", ref)
        with self._lock:
            live = copy.deepcopy(self.objects.get(ref))
            if live is None:
                raise NotFound(f"Cannot patch {ref}: not found", 404, "NotFound")
            for operation in operations:
                _patch(live, operation)
            return copy.deepcopy(live if dry_run else self._store(ref, live))

    def delete(self, ref: Ref, uid: str, dry_run: bool = False) -> bool:
        self._ask("delete", ref)
        with self._lock:
            live = self.objects.get(ref)
            if live is None or live["metadata"]["uid"] != uid:
                return False
            if dry_run:
                return True
            if live["metadata"].get("finalizers"):  # it stays until somebody takes them off: `drop`
                self._store(ref, {**live, "metadata": {**live["metadata"], "deletionTimestamp": "now"}})
            else:
                self.drop(ref)
            return True

    def request(self, method: str, path: str, query: Any = None, body: Any = None, headers: Any = None, timeout: Any = None, patience: Any = None) -> Response:
        raise NotImplementedError("give the test its own answers: subclass and override `request`")

    # Inside

    def _ask(self, verb: str, ref: Ref | Source) -> None:
        with self._lock:
            self.log.append((verb, ref))
        if (verb, ref.kind) in self.forbidden:
            raise Forbidden(f"Cannot {verb} {ref.kind}: forbidden", 403, "Forbidden")
        self.fail(verb, ref)

    def _served(self, api_version: str, kind: str) -> Resource:
        resource = self.resource(api_version, kind)
        if resource is None:
            raise NotFound(f"The server has no kind {kind} in {api_version}.", 404, "NotFound")
        return resource

    def _admit(self, ref: Ref) -> None:
        resource = self._served(ref.api_version, ref.kind)
        if resource.namespaced and Ref("v1", "Namespace", "", ref.namespace) not in self.objects:
            raise NotFound(f'Cannot apply {ref}: namespaces "{ref.namespace}" not found', 404, "NotFound")

    def _defined(self, api_version: str, kind: str) -> Resource | None:
        for ref, live in self.objects.items():
            spec = live.get("spec") or {}
            if ref.kind == "CustomResourceDefinition" and spec.get("group") == api_version.rpartition("/")[0] and spec["names"]["kind"] == kind:
                return Resource(spec["names"]["plural"], spec.get("scope") == "Namespaced")
        return None

    def _store(self, ref: Ref, obj: Object) -> Object:
        old = self.objects.get(ref)
        metadata = obj["metadata"]
        metadata["uid"] = old["metadata"]["uid"] if old else str(uuid.uuid4())
        if old is not None and {**old, "metadata": {**old["metadata"], "resourceVersion": ""}} == {**obj, "metadata": {**metadata, "resourceVersion": ""}}:
            return old
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        if old is None and ref.kind == "Namespace":
            obj.setdefault("status", {"phase": "Active"})
        if old is None and ref.kind == "CustomResourceDefinition":
            obj["status"] = {"conditions": [{"type": "Established", "status": "True"}, {"type": "NamesAccepted", "status": "True"}]}
        self.objects[ref] = copy.deepcopy(obj)
        return obj


def _selected(live: Object, labels: str) -> bool:
    have = live["metadata"].get("labels") or {}
    for term in labels.split(","):
        key, equals, value = term.partition("=")
        if (have.get(key) != value) if equals else (key not in have):
            return False
    return True


def _entry(manager: str, operation: str, fields: Object) -> Object:
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields}


def _fields(value: Any, top: bool = True) -> Object:
    """fieldsV1 of a value."""
    if isinstance(value, dict):
        result = {}
        for key, item in value.items():
            if top and key in MARKS:
                continue
            if top and key == "metadata":
                item = {name: item[name] for name in ("labels", "annotations", "finalizers") if item.get(name)}
                if not item:
                    continue
            result["f:" + str(key)] = _fields(item, False)
        return result
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {"k:" + json.dumps({"name": item["name"]}): {".": {}, **_fields(item, False)} for item in value}
    return {}


def _paths(fields: Object, above: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The leaves of fieldsV1."""
    found: set[tuple[str, ...]] = set()
    for key, below in fields.items():
        if key != ".":
            found |= _paths(below, (*above, key)) if set(below) - {"."} else {(*above, key)}
    return found


def _tree(paths: Any) -> Object:
    tree: Object = {}
    for path in paths:
        node = tree
        for step in path:
            node = node.setdefault(step, {".": {}} if step.startswith("k:") else {})
    return tree


def _step(value: Any, step: str) -> Any:
    if step.startswith("f:"):
        return value.get(step[2:]) if isinstance(value, dict) else None
    keys = json.loads(step[2:])
    return next((item for item in value or [] if isinstance(item, dict) and all(item.get(key) == want for key, want in keys.items())), None)


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = _step(value, step) if value is not None else None
    return value


def _merged(ref: Ref, old: Object | None, applied: Object, manager: str, force: bool) -> Object:
    """Server-side apply."""
    new = copy.deepcopy(old) if old is not None else {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": {"name": ref.name}}
    if ref.namespace:
        new["metadata"]["namespace"] = ref.namespace
    entries = new["metadata"].pop("managedFields", [])
    mine = next((entry for entry in entries if entry["manager"] == manager and entry["operation"] == "Apply"), None)
    others = [entry for entry in entries if entry is not mine]
    wanted = _paths(_fields(applied))
    held = [(entry, path) for entry in others for path in _paths(entry["fieldsV1"]) if path in wanted and _at(new, path) != _at(applied, path)]
    if held and not force:
        told = ", ".join(f'{_where(path)} (conflict with "{entry["manager"]}")' for entry, path in held)
        raise Conflict(f"Cannot apply {ref}: others hold fields that it declares: {told}. `force_conflicts`", 409, "Conflict")
    for entry, path in held:
        entry["fieldsV1"] = _tree(_paths(entry["fieldsV1"]) - {path})
    still_held = {path for entry in others for path in _paths(entry["fieldsV1"])}
    for path in sorted(_paths(mine["fieldsV1"]), key=lambda path: path[-1] == "f:name") if mine else ():
        if path not in wanted and path not in still_held:
            _remove(new, path)
    for path in wanted:
        _set(new, path, copy.deepcopy(_at(applied, path)))
    new["metadata"]["managedFields"] = [*[entry for entry in others if entry["fieldsV1"]], _entry(manager, "Apply", _fields(applied))]
    return new


def _where(path: tuple[str, ...]) -> str:
    return "".join("." + step[2:] if step.startswith("f:") else "[" + step[2:] + "]" for step in path)


def _set(obj: Any, path: tuple[str, ...], value: Any) -> None:
    for index, step in enumerate(path):
        last, follows_list = index == len(path) - 1, index + 1 < len(path) and path[index + 1].startswith("k:")
        if step.startswith("f:"):
            if last:
                obj[step[2:]] = value
                return
            if obj.get(step[2:]) is None:
                obj[step[2:]] = [] if follows_list else {}
            obj = obj[step[2:]]
        else:
            found = _step(obj, step)
            if found is None:
                found = dict(json.loads(step[2:]))
                obj.append(found)
            obj = found


def _remove(obj: Any, path: tuple[str, ...]) -> None:
    """Remove a leaf, and what becomes empty above it."""
    above = _at(obj, path[:-1]) if path[:-1] else obj
    if above is None:
        return
    if path[-1].startswith("f:"):
        above.pop(path[-1][2:], None)
    else:
        above.remove(_step(above, path[-1]))
    if len(path) > 1 and (not above or (path[-2].startswith("k:") and set(above) <= set(json.loads(path[-2][2:])))):
        _remove(obj, path[:-1])


def _patch(live: Object, operation: Mapping[str, Any]) -> None:
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    node: Any = live
    for part in way:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    if operation["op"] == "test":
        if node.get(last) != operation["value"]:
            raise ClusterError("the server rejected our request: test failed", 422, "Invalid")
    elif operation["op"] == "remove":
        del node[last]
    elif operation["path"] == "/metadata/resourceVersion":
        if node[last] != operation["value"]:
            raise Conflict("the object has been modified", 409, "Conflict")
    else:
        node[last] = copy.deepcopy(operation["value"])
