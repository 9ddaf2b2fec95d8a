# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which objects are one set: the label on each, and the record that lists their kinds and namespaces. Pure.

The layout is that of ApplySets (KEP-3659); pruning is done by this collection alone, since kubectl accepts only sets that it made itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ._manifest import CREATE_ONLY, Declared
from ._model import Object, Ref
from ._plan import DIGEST, PART_OF

TOOLING = "slipway.mlops/0.1.0"
_ID = "applyset.kubernetes.io/id"
_TOOLING = "applyset.kubernetes.io/tooling"
_KINDS = "applyset.kubernetes.io/contains-group-kinds"
_NAMESPACES = "applyset.kubernetes.io/additional-namespaces"
_OBJECTS = "slipway.mlops/objects"  # how many of its objects stay until somebody deletes them
_DONE = "slipway.mlops/done"  # Jobs of policy `once` that have succeeded, and when; outlives the Job

# Pruned only when the user names them: they hold data, or what nobody can make again. A definition takes every object of its kind with it.
DATA = ("PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition")


@dataclass(frozen=True)
class SetName:
    """A set of objects and where its record lives."""

    name: str
    namespace: str

    @property
    def manager(self) -> str:
        return "slipway:" + self.name

    @property
    def record(self) -> Ref:
        return Ref("v1", "ConfigMap", self.namespace, "slipway-" + self.name)

    @property
    def id(self) -> str:
        digest = hashlib.sha256(f"{self.record.name}.{self.namespace}.ConfigMap.".encode()).digest()
        return "applyset-" + base64.urlsafe_b64encode(digest).decode().rstrip("=") + "-v1"


@dataclass(frozen=True)
class Record:
    """What the record object says: kinds as (group, kind), namespaces beside its own, Jobs that are done and when they ended, and how many objects
    there are of it (None: not said)."""

    kinds: frozenset[tuple[str, str]] = frozenset()
    namespaces: frozenset[str] = frozenset()
    done: Mapping[str, str] = field(default_factory=dict)
    objects: int | None = None


def read_record(live: Object | None) -> Record:
    annotations = ((live or {}).get("metadata") or {}).get("annotations") or {}
    kinds = [entry.partition(".") for entry in annotations.get(_KINDS, "").split(",") if entry]
    try:
        done = json.loads(annotations.get(_DONE) or "{}")
    except ValueError:
        done = {}
    objects = str(annotations.get(_OBJECTS) or "")
    if isinstance(done, list):  # as it was written before it had times
        done = dict.fromkeys(done, "")
    return Record(
        frozenset((group, kind) for kind, _dot, group in kinds),
        frozenset(filter(None, annotations.get(_NAMESPACES, "").split(","))),
        {str(name): str(at) for name, at in done.items()} if isinstance(done, dict) else {},
        int(objects) if objects.isdecimal() else None,
    )


def record_of(refs: Iterable[Ref], done: Mapping[str, str], home: str, objects: int | None = None) -> Record:
    """The record of a set with these members."""
    members = [ref for ref in refs if ref.kind != "Namespace"]
    return Record(
        frozenset((ref.group, ref.kind) for ref in members),
        frozenset(ref.namespace for ref in members if ref.namespace and ref.namespace != home),
        dict(done),
        objects,
    )


def superset(one: Record, other: Record) -> Record:
    """What is in either; the number of the second."""
    return Record(one.kinds | other.kinds, one.namespaces | other.namespaces, {**one.done, **other.done}, other.objects)


def record_object(owner: SetName, record: Record) -> Object:
    """The record as the ConfigMap that is applied."""
    kinds = sorted(f"{kind}.{group}" if group else kind for group, kind in record.kinds)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": owner.record.name,
            "namespace": owner.namespace,
            "labels": {_ID: owner.id, "app.kubernetes.io/managed-by": "slipway", "app.kubernetes.io/part-of": "slipway"},
            "annotations": {
                _TOOLING: TOOLING,
                _KINDS: ",".join(kinds),
                _NAMESPACES: ",".join(sorted(record.namespaces)),
                _DONE: json.dumps(record.done, sort_keys=True),
                **({} if record.objects is None else {_OBJECTS: str(record.objects)}),
            },
        },
    }


def stamp(declared: Declared, owner: SetName) -> Declared:
    """With the mark of its set and of its content. Namespaces are shared between sets: they are applied, but never members."""
    metadata = declared.body["metadata"]
    body = dict(declared.body)
    body["metadata"] = {**metadata, "annotations": {**(metadata.get("annotations") or {}), DIGEST: declared.digest}}
    if declared.ref.kind != "Namespace":
        body["metadata"]["labels"] = {**(metadata.get("labels") or {}), PART_OF: owner.id}
    return declared.with_body(body)


def stays(kind: str) -> bool:
    """Whether an object of this kind is there until somebody deletes it: a Job may end by its TTL, and a Namespace is no member."""
    return kind not in ("Job", "Namespace")


def is_data(live: Object) -> bool:
    """Whether only the user's own word may delete it: volumes, namespaces, definitions, and Secrets that were made once (passwords of kept data)."""
    annotations = live["metadata"].get("annotations") or {}
    return live["kind"] in DATA or annotations.get("slipway.mlops/apply") == CREATE_ONLY
