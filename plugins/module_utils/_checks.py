# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be said against a manifest without a server. Each problem is a sentence with the path in the document; never a Secret's value.

Rules: Kubernetes "Object Names and IDs", the validation of ports and resources in its API, etcd's limit of 1.5 MiB a request; names and labels in `_syntax`.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import re
from collections.abc import Iterator
from typing import Any

from . import _syntax
from ._kinds import BUILT_IN, home, nearest
from ._model import Object

ONCE_KINDS = {("batch/v1", "Job")}
DEEPEST = 200  # levels of mappings and lists; the deepest built-in schemas have some thirty
LARGEST = 1_500_000  # bytes of JSON; etcd refuses more than 1.5 MiB with all that the server adds

_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_QUANTITIES = ("requests", "limits", "capacity", "hard", "overhead")
_FREE = ("data", "stringData", "binaryData", "parameters", "volumeAttributes", "options")  # mappings whose keys are the user's, or a driver's
_DEFINITION = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def problems_of(document: Any) -> list[str]:
    """Everything that is wrong with one document; empty if nothing is."""
    if not isinstance(document, dict):
        return [f"is {_syntax.kind(document)}, not an object with apiVersion, kind and metadata."]
    metadata = document.get("metadata")
    missing = [key for key in ("apiVersion", "kind") if not isinstance(document.get(key), str) or not document[key]]
    if missing or not isinstance(metadata, dict):
        missing += [] if isinstance(metadata, dict) else ["metadata"]
        return [f"{name} is missing or has the wrong type." for name in missing]
    problems = list(_name(document, metadata)) + list(_kind(document)) + list(_policy(document, metadata))
    # What a definition or a custom resource calls nodeSelector or limits may be anything; their own schema judges it.
    kind = (document["apiVersion"], document["kind"])
    try:
        problems += _walk(document, "", known=kind in BUILT_IN and kind != _DEFINITION)
    except RecursionError:
        return [f"is nested more than {DEEPEST} levels deep, or an alias (*) in it holds itself."]
    problems += _data(document)
    try:
        size = len(json.dumps(document, sort_keys=True, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        problems.append(
            "holds something that JSON cannot say (a date, a set, binary data, .nan, a key that is no text; quote it), or a byte that is not UTF-8."
        )
    else:
        if size > LARGEST:
            problems.append(f"is {size / 1e6:.1f} MB; the API server's store takes 1.5 MB an object.")
    return problems


def _kind(document: Object) -> Iterator[str]:
    version, kind = document["apiVersion"], document["kind"]
    if not re.fullmatch(r"([a-z0-9.-]+/)?v\d+((alpha|beta)\d+)?", version):
        yield f'apiVersion "{version}" is not a group and a version such as apps/v1.'
        return
    near = nearest(version, kind)
    if near:
        yield f'kind "{kind}" is not in {version}; did you mean {near}?'
    elif near is None and any(known == version for known, _kind in BUILT_IN) and home(kind):
        yield f"kind {kind} is not in {version}; it is in {home(kind)}."


def _name(document: Object, metadata: Object) -> Iterator[str]:
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if metadata.get("generateName"):
        yield "metadata.generateName makes another object on each run; give a metadata.name."
    elif not isinstance(name, str) or not name:
        yield "metadata.name is missing." if name in (None, "") else f"metadata.name {_syntax.not_text(name)}."
    elif "rbac.authorization.k8s.io" in document["apiVersion"]:
        if "/" in name or "%" in name or name in (".", ".."):
            yield f'metadata.name "{name}" has "/" or "%", or is a dot.'
    elif _syntax.subdomain(name):
        yield f'metadata.name "{name}" {_syntax.subdomain(name)}.'
    problem = None if namespace is None else _syntax.dns_label(namespace) if isinstance(namespace, str) else _syntax.not_text(namespace)
    if problem:
        yield f"metadata.namespace {json.dumps(namespace)} {problem}."
    resource = BUILT_IN.get((document["apiVersion"], document["kind"]))
    if namespace and resource and not resource.namespaced:
        yield f"metadata.namespace: a {document['kind']} lives outside of namespaces; leave it out."


def _policy(document: Object, metadata: Object) -> Iterator[str]:
    annotations = metadata.get("annotations")
    policy = annotations.get("slipway.mlops/apply", "set") if isinstance(annotations, dict) else "set"
    if policy not in ("set", "create_only", "once"):
        yield f'metadata.annotations["slipway.mlops/apply"] is "{policy}"; it can be set, create_only or once.'
    elif policy == "once" and (document["apiVersion"], document["kind"]) not in ONCE_KINDS:
        yield f'metadata.annotations["slipway.mlops/apply"]: once is for Jobs, not for a {document["kind"]}.'


def _walk(value: Any, path: str, known: bool, depth: int = 0) -> Iterator[str]:
    """Labels and annotations of the object; with a `known` schema also selectors, quantities and ports wherever they stand (pod and claim templates)."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}[{index}]", known, depth + 1)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        here = f"{path}.{key}" if path else str(key)
        if not isinstance(key, str):
            yield f"{here}: the key is {_syntax.kind(key)}; quote it."
        elif key in ("labels", "annotations") and (path == "metadata" or (known and path.endswith(".metadata"))):
            yield from _labels(item, here, values=key == "labels")
        elif known and key in ("matchLabels", "nodeSelector"):
            yield from _labels(item, here, values=True)
        elif known and key in _QUANTITIES and isinstance(item, dict) and path.endswith(("resources", "spec")):
            yield from (problem for name, amount in item.items() for problem in _quantity(amount, f"{here}.{name}"))
            if key == "requests" and isinstance(value.get("limits"), dict):
                yield from _over(item, value["limits"], path)
        elif known and key == "sizeLimit" and "emptyDir" in path:
            yield from _quantity(item, here)
        elif known and key == "ports" and isinstance(item, list):
            yield from _ports(item, here)
        elif isinstance(item, (dict, list)):
            yield from _walk(item, here, known and key not in _FREE, depth + 1)


def _labels(items: Any, path: str, values: bool) -> Iterator[str]:
    if items is None:
        return
    if not isinstance(items, dict):
        yield f"{path} is {_syntax.kind(items)}, not a mapping."
        return
    for key, value in items.items():
        problem = _syntax.key(key)
        if problem:
            yield f'{path}: the key "{key}" {problem}.'
        problem = _syntax.label_value(value) if values else _syntax.annotation_value(value)
        if problem and value is not None:
            yield f'{path}["{key}"] {problem}.'


def _quantity(value: Any, path: str) -> Iterator[str]:
    if _syntax.quantity(value) is None:
        yield f"{path}: {json.dumps(value, default=str)} is not a quantity{_meant(value)}."


def _over(requests: Object, limits: Object, path: str) -> Iterator[str]:
    for name, amount in requests.items():
        wanted, most = _syntax.quantity(amount), _syntax.quantity(limits.get(name))
        if wanted is not None and most is not None and wanted > most:
            yield f"{path}: requests.{name} {amount} is over limits.{name} {limits[name]}."


def _ports(ports: list[Any], path: str) -> Iterator[str]:
    """Ports of a Service or a container. Names (`targetPort: http`) are the server's to judge."""
    seen: dict[tuple[int, str], int] = {}
    for index, item in enumerate(ports):
        if not isinstance(item, dict):
            continue
        for name in ("port", "containerPort", "nodePort", "hostPort"):
            number = item.get(name)
            if number is None or (name == "port" and isinstance(number, str)):  # a NetworkPolicy's port may be a name
                continue
            if isinstance(number, bool) or not isinstance(number, int):
                yield f"{path}[{index}].{name} is {_syntax.kind(number)}, not a number."
            elif not (name in ("nodePort", "hostPort") and number == 0) and not 1 <= number <= 65535:
                yield f"{path}[{index}].{name} {number} is outside 1 to 65535."
        if path == "spec.ports" and isinstance(item.get("port"), int):  # a Service's; a NetworkPolicy may repeat itself
            known = seen.setdefault((item["port"], str(item.get("protocol", "TCP"))), index)
            if known != index:
                yield f"{path}[{index}] repeats port {item['port']}/{item.get('protocol', 'TCP')} of {path}[{known}]."


def _meant(value: Any) -> str:
    parts = re.fullmatch(r"\s*([\d.]+)\s*([a-zA-Z]*)\s*", str(value))
    if not parts:
        return ""
    unit = parts[2].replace("B", "").replace("b", "")
    close = difflib.get_close_matches(unit, ["Ki", "Mi", "Gi", "Ti", "K", "M", "G", "T", "m"], n=1, cutoff=0.5) if unit else [""]
    return f' (did you mean "{parts[1]}{close[0]}"?)' if close else ""


def _data(document: Object) -> Iterator[str]:
    kind = document["kind"] if document["apiVersion"] == "v1" else ""
    parts = {"Secret": ("data", "stringData"), "ConfigMap": ("data", "binaryData")}.get(kind, ())
    for part in parts:
        entries = document.get(part)
        if entries is None:
            continue
        if not isinstance(entries, dict):
            yield f"{part} is {_syntax.kind(entries)}, not a mapping."
            continue
        for key, value in entries.items():
            if isinstance(key, str) and not _DATA_KEY.fullmatch(key):
                yield f'{part}: "{key}" is not a valid key: letters, digits, "-", "_", ".".'
            if not isinstance(value, str):
                if value is not None:
                    yield f"{part}.{key} is {_syntax.kind(value)}; quote it."
            elif (kind, part) in (("Secret", "data"), ("ConfigMap", "binaryData")) and not _is_base64(value):
                yield f"{part}.{key} is not base64; plain text goes into {'stringData' if kind == 'Secret' else 'data'}."


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
