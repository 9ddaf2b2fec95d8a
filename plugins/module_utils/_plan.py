# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Declared against live: is it in place, what changed, whose is it. Pure; the schema is what managedFields says.

fieldsV1 (structured-merge-diff): "f:name" a field, "k:{...}" the element of a list with these keys, "v:..." an element of a set,
"." the thing itself; {} below a field marks a value that is owned as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from . import _syntax
from ._manifest import Declared
from ._model import Object

DIGEST = "slipway.mlops/declared"  # annotation: SHA-256 of what was declared when the object was last written
PART_OF = "applyset.kubernetes.io/part-of"  # label: the set, KEP-3659
KUBECTL = ("kubectl-client-side-apply", "kubectl-last-applied")  # managers of `kubectl apply` without --server-side
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Fields = Mapping[str, Any]


def owned(live: Object | None, manager: str) -> Fields:
    """The fields that `manager` owns by apply, {} if none."""
    for entry in _entries(live):
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry.get("fieldsV1") or {}
    return {}


def written_by(live: Object, manager: str) -> bool:
    return any(entry.get("manager") == manager for entry in _entries(live))


def made_by(live: Object, manager: str) -> bool:
    """Whether the object is as old as what `manager` wrote to it: then the object was made by that very write."""
    return any(entry.get("manager") == manager and entry.get("time") == live["metadata"].get("creationTimestamp") for entry in _entries(live))


def in_place(declared: Declared, live: Object, manager: str) -> bool:
    """True if an apply would certainly change nothing: same declaration as last time, all of it still ours, all values still there.

    `declared` bears its marks (`_applyset.stamp`).
    """
    annotations = live["metadata"].get("annotations") or {}
    if annotations.get(DIGEST) != declared.digest:
        return False
    fields = owned(live, manager)
    return bool(fields) and _holds(_content(declared.body), _content(live), fields)


def changed(before: Object, after: Object, manager: str) -> bool:
    """Whether any declared field, of now or of the last time, has another value. Our own marks and status do not count."""
    return essence(before, after, manager) != essence(after, before, manager)


def essence(live: Object, other: Object, manager: str) -> Object:
    """What of `live` is declared now or was before: its part under the fields that `manager` owns in either object."""
    fields = _union(owned(live, manager), owned(other, manager))
    part = _project(_content(live), fields)
    return _without_marks(part) if isinstance(part, dict) else {}


def migration(live: Object, manager: str) -> list[Object]:
    """JSON patch that turns `kubectl apply`'s ownership into ours, as kubectl does when it changes to server-side apply; [] if there is none.

    Without it a value that is left out later would stay for ever, owned by a manager that never comes back.
    """
    entries = _entries(live)
    theirs = [entry for entry in entries if entry.get("manager") in KUBECTL and entry.get("operation") == "Update" and not entry.get("subresource")]
    if not theirs:
        return []
    ours = [entry for entry in entries if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")]
    fields: Fields = {}
    for entry in theirs + ours:
        fields = _union(fields, entry.get("fieldsV1") or {})
    merged = {**theirs[0], "manager": manager, "operation": "Apply", "fieldsV1": fields}
    rest = [entry for entry in entries if entry not in theirs and entry not in ours]
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": [*rest, merged]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]


def after_migration(live: Object, dry: Object, manager: str) -> Object:
    """What a dry run over a kubectl object would give if its ownership were ours already: what kubectl applied and nobody declares is gone."""
    theirs: Fields = {}
    for entry in _entries(live):
        if entry.get("manager") in KUBECTL:
            theirs = _union(theirs, entry.get("fieldsV1") or {})
    try:
        applied = json.loads((live["metadata"].get("annotations") or {}).get(LAST_APPLIED) or "{}")
    except ValueError:
        applied = {}
    # The entry also has the server's defaults; those come back when they are removed.
    lost = _subtract(_within(theirs, applied), owned(dry, manager))
    content = _content(dry)
    pruned = _cut(content, lost)
    rest = {key: value for key, value in dry.items() if key not in content}
    unowned = {key: value for key, value in dry["metadata"].items() if key not in content["metadata"]}
    return {**rest, **pruned, "metadata": {**unowned, **(pruned.get("metadata") or {})}}


def stranger(live: Object, set_id: str) -> str:
    """Who else keeps this object, as the end of a sentence; "" if it may be ours."""
    metadata = live["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    release = annotations.get("meta.helm.sh/release-name")
    if release:
        return f'belongs to the Helm release "{release}"; uninstall that, or remove its meta.helm.sh annotations, first'
    owner = next((owner for owner in metadata.get("ownerReferences") or [] if owner.get("controller")), None)
    if owner:
        return f"is kept by the controller of {owner.get('kind')} {owner.get('name')}; change that one instead"
    other = labels.get(PART_OF)
    if other and other != set_id and live.get("kind") != "Namespace":
        managers = sorted({entry["manager"] for entry in _entries(live) if str(entry.get("manager", "")).startswith("slipway:")})
        return f"belongs to another set ({', '.join(managers) or other}); remove it there first"
    return ""


def _entries(live: Object | None) -> list[Object]:
    return list((live or {}).get("metadata", {}).get("managedFields") or [])


def _content(obj: Object) -> Object:
    """Without what no manager owns."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key in ("labels", "annotations", "finalizers", "ownerReferences")}
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    return {**rest, "metadata": metadata}


def _without_marks(part: Object) -> Object:
    metadata = dict(part.get("metadata") or {})
    for name in ("labels", "annotations"):
        entries = metadata.pop(name, None) or {}
        entries = {key: value for key, value in entries.items() if key not in (PART_OF, DIGEST, LAST_APPLIED)}
        if entries:
            metadata[name] = entries
    rest = {key: value for key, value in part.items() if key != "metadata"}
    return {**rest, "metadata": metadata} if metadata else rest


def _children(fields: Fields) -> dict[str, Fields]:
    return {name[2:]: below for name, below in fields.items() if name.startswith("f:")}


def _holds(declared: Any, live: Any, fields: Fields) -> bool:
    """Every declared value is live and ours, and we own nothing that is no longer declared."""
    if not fields or set(fields) == {"."}:
        return _same(declared, live)
    if isinstance(declared, dict) and isinstance(live, dict):
        ours = _children(fields)
        for key, value in declared.items():
            if key in ours:
                if not (_holds(value, live[key], ours[key]) if key in live else _is_zero(value)):
                    return False
            elif not _is_zero(value) or key in live:
                return False
        return all(key in declared for key in ours)
    if isinstance(declared, list) and isinstance(live, list):
        return _holds_elements(declared, live, fields)
    return False


def _holds_elements(declared: list[Any], live: list[Any], fields: Fields) -> bool:
    keyed = {name: below for name, below in fields.items() if name.startswith("k:")}
    if keyed:
        for name, below in keyed.items():
            keys = json.loads(name[2:])
            mine, theirs = _elements(declared, keys, loose=True), _elements(live, keys)
            if len(mine) != 1 or len(theirs) != 1 or not _holds(mine[0], theirs[0], below):
                return False
        return len(keyed) == len(declared)
    values = [json.loads(name[2:]) for name in fields if name.startswith("v:")]
    return len(values) == len(declared) and all(item in live and item in values for item in declared)


def _elements(items: Sequence[Any], keys: Mapping[str, Any], loose: bool = False) -> list[Any]:
    """The elements with these keys; `loose` lets an element leave a key to its default (protocol: TCP)."""
    found = [item for item in items if isinstance(item, dict)]
    return [item for item in found if all(item.get(key, value if loose else None) == value for key, value in keys.items())]


def _same(declared: Any, live: Any) -> bool:
    """Equal values; what the server defaults below a value that is owned as a whole does not count, nor how a quantity is written."""
    if isinstance(declared, dict) and isinstance(live, dict):
        return all(_same(value, live[key]) if key in live else _is_zero(value) for key, value in declared.items())
    if isinstance(declared, list) and isinstance(live, list):
        return len(declared) == len(live) and all(_same(one, other) for one, other in zip(declared, live))
    if isinstance(declared, bool) or isinstance(live, bool):
        return declared is live
    amount = _syntax.quantity(declared)
    return bool(declared == live or (amount is not None and amount == _syntax.quantity(live)))


def _is_zero(value: Any) -> bool:
    """What the server leaves out when it stores an object."""
    return value is None or value is False or value in ("", 0) or (isinstance(value, (dict, list)) and not value)


def _project(value: Any, fields: Fields) -> Any:
    if not fields:
        return value
    if isinstance(value, dict):
        ours = _children(fields)
        return {key: _project(item, ours[key]) for key, item in value.items() if key in ours}
    if isinstance(value, list):
        return [_project(item, below) for item in value for below in [_field_of(item, fields)] if below is not None]
    return value


def _field_of(item: Any, fields: Fields) -> Fields | None:
    """The entry of `fields` that is about this element of a list."""
    for name, below in fields.items():
        if name.startswith("k:") and isinstance(item, dict) and all(item.get(key) == value for key, value in json.loads(name[2:]).items()):
            return {} if set(below) == {"."} else below
        if name.startswith("v:") and json.loads(name[2:]) == item:
            return {}
    return None


def _cut(value: Any, fields: Fields) -> Any:
    """`value` without the leaves of `fields`."""
    if isinstance(value, dict):
        ours = _children(fields)
        rest = {key: _cut(item, ours[key]) if ours.get(key) else item for key, item in value.items() if key not in ours or ours[key]}
        return {key: item for key, item in rest.items() if item not in ({}, []) or value[key] in ({}, [])}
    if isinstance(value, list):
        pairs = [(item, _field_of(item, fields)) for item in value]
        return [item if below is None else _cut(item, below) for item, below in pairs if below is None or not ("." in below or below == {})]
    return value


def _within(fields: Fields, obj: Any) -> Fields:
    """The part of `fields` that `obj` has."""
    result: dict[str, Any] = {}
    for name, below in fields.items():
        if name.startswith("f:") and isinstance(obj, dict) and name[2:] in obj:
            result[name] = _within(below, obj[name[2:]])
        elif name.startswith("k:") and isinstance(obj, list):
            found = _elements(obj, json.loads(name[2:]), loose=True)
            if found:
                result[name] = {".": {}, **_within(below, found[0])}
        elif name.startswith("v:") and isinstance(obj, list) and json.loads(name[2:]) in obj:
            result[name] = below
    return result


def _union(one: Fields, other: Fields) -> Fields:
    return {key: _union(one.get(key) or {}, other.get(key) or {}) for key in {**one, **other}}


def _subtract(fields: Fields, other: Fields) -> Fields:
    """The leaves of `fields` that `other` does not have."""
    result: dict[str, Any] = {}
    for key, below in fields.items():
        if key not in other:
            result[key] = below
        elif below and key != ".":
            rest = _subtract(below, other[key])
            if rest:
                result[key] = rest
    return result
