# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What of a set only a server can refuse: kinds that it does not have, and objects that somebody else keeps. Reads, never writes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from ._manifest import Declared
from ._model import Cluster, Object, Refused
from ._plan import stranger
from ._survey import Survey


def definitions(declared: Sequence[Declared]) -> dict[tuple[str, str], Object]:
    """(group, kind) -> the CustomResourceDefinition of this set that defines it."""
    found = {}
    for item in declared:
        spec = item.body.get("spec")
        if item.ref.kind == "CustomResourceDefinition" and isinstance(spec, dict) and isinstance(spec.get("names"), dict):
            found[(str(spec.get("group")), str(spec["names"].get("kind")))] = spec
    return found


def resolve(cluster: Cluster, declared: Sequence[Declared], namespace: str) -> list[Declared]:
    """`declared` with namespaces where custom kinds need them; Refused for every kind that neither the server nor the set defines, and for what
    turns out to be declared twice, once with and once without its namespace."""
    own = definitions(declared)
    problems: list[str] = []
    result: list[Declared] = []
    places: dict[tuple[str, str, str, str], str] = {}
    for item in declared:
        ref = item.ref
        resource = cluster.resource(ref.api_version, ref.kind)
        spec = own.get((ref.group, ref.kind))
        if resource is None and spec is None:
            problems.append(f"{item.place}: {_unknown(cluster, item)}")
            continue
        namespaced = resource.namespaced if resource is not None else (spec or {}).get("scope") == "Namespaced"
        if namespaced and not ref.namespace:
            item = item.with_body({**item.body, "metadata": {**item.body["metadata"], "namespace": namespace}})
        elif ref.namespace and not namespaced:
            problems.append(f"{item.place}: metadata.namespace: a {ref.kind} lives outside of namespaces; leave it out.")
        first = places.setdefault((item.ref.group, item.ref.kind, item.ref.namespace, item.ref.name), item.place)
        if first != item.place:
            problems.append(f"{item.place}: {item.ref} is declared twice, first in {first}.")
        result.append(item)
    if problems:
        raise Refused(problems)
    return result


def check_live(declared: Sequence[Declared], seen: Survey, set_id: str) -> None:
    """Refused if somebody else keeps an object that is declared, or if a Node would be made."""
    problems = []
    for item in declared:
        live = seen.live.get(item.ref)
        if live is None and item.ref.kind == "Node":
            problems.append(f"{item.place}: there is no {item.ref}; nodes are registered by their kubelet, not applied.")
        told = stranger(live, set_id) if live is not None else ""
        if told:
            problems.append(f"{item.place}: {item.ref} {told}.")
    if problems:
        raise Refused(problems)


def _unknown(cluster: Cluster, item: Declared) -> str:
    ref = item.ref
    known = cluster.kinds(ref.api_version)
    if not known:
        return f"the server has no group version {ref.api_version} (kind {ref.kind}); is its CustomResourceDefinition installed?"
    close = difflib.get_close_matches(ref.kind, known, n=1, cutoff=0.6)
    return f"the server has no kind {ref.kind} in {ref.api_version}" + (f"; did you mean {close[0]}?" if close else f"; it has {', '.join(known)}.")
