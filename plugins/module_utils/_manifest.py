# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manifests -> Declared objects in the order of applying. Everything that is wrong is found here, at once, before a request is sent."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ._checks import problems_of
from ._kinds import BUILT_IN, level
from ._model import Object, Ref, Refused, ref_of
from ._yaml import YamlError, documents

POLICY = "slipway.mlops/apply"  # annotation: how an object is kept
SET, CREATE_ONLY, ONCE = "set", "create_only", "once"

# What the server writes; exported manifests carry it, and it is never declared.
_SERVERS = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink", "deletionTimestamp")


@dataclass(frozen=True)
class Declared:
    """One object as it shall be. `place` says where it was written ("document 3"), `digest` is of its content."""

    ref: Ref
    body: Object
    place: str
    policy: str = SET
    digest: str = ""

    @property
    def level(self) -> int:
        return level(self.ref.api_version, self.ref.kind)

    def with_body(self, body: Object) -> Declared:
        return dataclasses.replace(self, body=body, ref=ref_of(body))


@dataclass(frozen=True)
class Documents:
    """What `manifests` holds: (place, document) pairs, and what could not be read as YAML."""

    found: list[tuple[str, Any]]
    problems: list[str]


def documents_of(manifests: Any) -> Documents:
    """The documents of YAML text, an object, or a list of both."""
    problems: list[str] = []
    return Documents(list(_taken_apart(manifests, problems)), problems)


def read(manifests: Any, namespace: str, origin: str = "") -> list[Declared]:
    """All objects of `manifests` (or of its Documents), ordered by level; Refused with every problem.

    `namespace` is given to built-in namespaced objects without one. `origin` is the file and line that Ansible knows.
    """
    documents = manifests if isinstance(manifests, Documents) else documents_of(manifests)
    problems = list(documents.problems)
    result: list[Declared] = []
    seen: dict[tuple[str, str, str, str], str] = {}
    for place, document in documents.found:
        found = problems_of(document)
        if found:
            problems += [f"{place}: {problem}" for problem in found]
            continue
        declared = declare(document, place, namespace)
        key = (declared.ref.group, declared.ref.kind, declared.ref.namespace, declared.ref.name)
        if key in seen:
            problems.append(f"{place}: {declared.ref} is declared twice, first in {seen[key]}.")
        seen.setdefault(key, place)
        result.append(declared)
    if problems:
        raise Refused([f"{origin}: {problem}" if origin else problem for problem in problems])
    return sorted(result, key=lambda item: item.level)


def declare(document: Object, place: str, namespace: str) -> Declared:
    """A valid document as a Declared object: defaulted, without what the server writes, Secret's stringData folded into data."""
    body = _without_nulls(document) if (document["apiVersion"], document["kind"]) in BUILT_IN else dict(document)
    body.pop("status", None)
    metadata = {key: value for key, value in body["metadata"].items() if key not in _SERVERS}
    resource = BUILT_IN.get((body["apiVersion"], body["kind"]))
    if resource and resource.namespaced and not metadata.get("namespace"):
        metadata["namespace"] = namespace
    body["metadata"] = metadata
    if body["kind"] == "Secret" and body["apiVersion"] == "v1":
        fold(body)
    policy = (metadata.get("annotations") or {}).get(POLICY, SET)
    if policy == ONCE:
        metadata["name"] = f"{metadata['name'][:52].rstrip('-.')}-{digest_of(body)[:10]}"
    return Declared(ref_of(body), body, place, policy, digest_of(body))


def fold(secret: Object) -> None:
    """Move `stringData` into `data`: nobody owns `data` otherwise, and another's edit of it would never be seen.

    Base64 is written without its line breaks, as the server keeps it.
    """
    if isinstance(secret.get("data"), dict):
        secret["data"] = {key: _on_one_line(value) if isinstance(value, str) else value for key, value in secret["data"].items()}
    texts = secret.pop("stringData", None) or {}
    if texts:
        secret["data"] = {**(secret.get("data") or {}), **{key: base64.b64encode(str(value).encode()).decode() for key, value in texts.items()}}


def digest_of(body: Object) -> str:
    """SHA-256 of the content, independent of the order of keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def secret_values(manifests: Documents) -> set[str]:
    """Every value of every Secret, as written and decoded, so that a doorway can censor it wherever it turns up."""
    values: set[str] = set()
    for _place, document in manifests.found:
        if isinstance(document, dict) and document.get("kind") == "Secret":
            for part in ("data", "stringData"):
                entries = document.get(part)
                for value in entries.values() if isinstance(entries, dict) else ():
                    decoded = _decoded(str(value))
                    values |= {str(value), _on_one_line(str(value)), decoded, decoded.strip()}
    return {value for value in values if len(value) > 2}


def _taken_apart(manifests: Any, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """(place, document) pairs; kind List is flattened, empty documents are left out."""
    items = manifests if isinstance(manifests, list) else [manifests]
    for index, item in enumerate(items):
        base = f"manifests[{index}]" if isinstance(manifests, list) else ""
        if isinstance(item, str):
            yield from _text(item, base, problems)
        elif isinstance(item, list):
            yield from (pair for number, document in enumerate(item) for pair in _flat(f"{base}[{number}]", document))
        elif item is not None:
            yield from _flat(base or "manifests", item)


def _text(text: str, base: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    number = 0
    try:
        for number, document in enumerate(documents(text), 1):
            if document is not None:
                yield from _flat((base + " " if base else "") + f"document {number}", document)
    except YamlError as error:
        problems.append((base + " " if base else "") + f"document {number + 1}, {error}.")


def _flat(place: str, document: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        for number, item in enumerate(document["items"]):
            yield f"{place} items[{number}]", item
    else:
        yield place, document


def _without_nulls(value: Any) -> Any:
    """`key:` without a value says nothing to the API server but disturbs ownership of the field."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _on_one_line(text: str) -> str:
    return "".join(text.split())


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(_on_one_line(text), validate=True).decode()
    except ValueError:
        return ""
