# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels, annotations and taints that sets declare for nodes, against the nodes as they are. Pure.

A set owns its labels and annotations as field manager `slipway:<set>` of server-side apply, so those that leave the set leave the
node. Taints are one atomic list for the server, so a set remembers its own in the annotation `slipway.mlops/taints.<set>`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _syntax as syntax
from ._model import Object

MEMORY_PREFIX = "slipway.mlops/taints."
MANAGER_PREFIX = "slipway:"
HOSTNAME_LABEL = "kubernetes.io/hostname"
MANY = 50  # nodes that are told one by one
SET_NAME_SIZE = 50  # characters; the name is part of an annotation's

LABELS, ANNOTATIONS = "labels", "annotations"
Taint = tuple[str, str, str]  # key, value, effect


@dataclass(frozen=True)
class Wanted:
    """What one set declares for one node."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()

    def section(self, name: str) -> Mapping[str, str]:
        return self.labels if name == LABELS else self.annotations


@dataclass(frozen=True)
class LabelSet:
    """One set: its name, and what it declares by the node's name in the inventory. `absent`: it gives up all that it holds."""

    name: str
    nodes: Mapping[str, Wanted]
    absent: bool = False

    @property
    def manager(self) -> str:
        return MANAGER_PREFIX + self.name

    @property
    def memory(self) -> str:
        """Annotation that holds the taints that this set has put on a node."""
        return MEMORY_PREFIX + self.name

    @property
    def taint_manager(self) -> str:
        """Writes the taints and their memory; another one than `manager`, whose fields are exactly what was applied."""
        return "slipway-taints:" + self.name


@dataclass(frozen=True)
class Node:
    """What matters of a live node; the rest was dropped as its page arrived. `taints` is None where they were not asked for."""

    name: str
    uid: str
    version: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owners: Mapping[tuple[str, str], tuple[str, ...]]  # (section, key) -> managers
    taints: tuple[Object, ...] | None = None
    addresses: tuple[str, ...] = ()

    def section(self, name: str) -> Mapping[str, str]:
        return self.labels if name == LABELS else self.annotations

    def owned(self, manager: str) -> set[tuple[str, str]]:
        return {place for place, managers in self.owners.items() if manager in managers}


@dataclass(frozen=True)
class Step:
    """What to do to one node for one set. `write`: send labels and annotations; `changed`: their values will differ afterwards."""

    set: LabelSet
    node: Node
    wanted: Wanted
    write: bool = False
    changed: bool = False
    taints: bool = False

    @property
    def needed(self) -> bool:
        return self.write or self.taints

    @property
    def object(self) -> Object:
        """The declaration that is applied. The uid keeps server-side apply from creating a node that is gone."""
        metadata: Object = {"name": self.node.name, "uid": self.node.uid}
        for section in (LABELS, ANNOTATIONS):
            if self.wanted.section(section):
                metadata[section] = dict(self.wanted.section(section))
        return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


# ---- reading what was declared ------------------------------------------------------------------------------------------------------


def read_sets(given: Sequence[Mapping[str, Any]]) -> tuple[list[LabelSet], list[str]]:
    """The declared sets and every problem of their syntax."""
    problems: list[str] = []
    sets = [_read_set(item, f"sets[{number}]", problems) for number, item in enumerate(given)]
    for name in sorted({item.name for item in sets if sum(other.name == item.name for other in sets) > 1}):
        problems.append(f'set "{name}" is given more than once.')
    return sets, problems


def _read_set(given: Mapping[str, Any], where: str, problems: list[str]) -> LabelSet:
    name, nodes, absent = str(given.get("name") or ""), given.get("nodes") or {}, given.get("state") == "absent"
    problem = "is empty" if not name else syntax.dns_label(name)
    if not problem and len(name) > SET_NAME_SIZE:
        problem = f"is {len(name)} characters long (at most {SET_NAME_SIZE})"
    if problem:
        problems.append(f'{where}.name: "{name}" {problem}.')
    where = f"set {name}" if name else where
    if absent and nodes:
        problems.append(f"{where}: is absent and names nodes; leave `nodes` out.")
    if not absent and not nodes:
        problems.append(f"{where}: names no node; this would take every label of the set away. Say `state: absent` if that is meant.")
    return LabelSet(name, {str(node): _read_wanted(value, f"{where}, node {node}", problems) for node, value in nodes.items()}, absent)


def _read_wanted(given: Any, where: str, problems: list[str]) -> Wanted:
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        problems.append(f"{where}: is {syntax.kind(given)}; write a mapping with labels, annotations and taints.")
        return Wanted()
    for extra in sorted(str(key) for key in given if key not in ("labels", "annotations", "taints")):
        guess = syntax.nearest(extra, ("labels", "annotations", "taints"))
        problems.append(f'{where}: unknown entry "{extra}"' + (f" (did you mean {guess}?)." if guess else "; it may hold labels, annotations and taints."))
    labels = _read_pairs(given.get(LABELS), f"{where}, label", syntax.label_value, problems)
    annotations = _read_pairs(given.get(ANNOTATIONS), f"{where}, annotation", syntax.annotation_value, problems)
    problems += [f"{where}, annotation {key}: is this module's own." for key in annotations if key.startswith(MEMORY_PREFIX)]
    size = sum(len(key.encode(errors="replace")) + len(value.encode(errors="replace")) for key, value in annotations.items())
    if size > syntax.ANNOTATIONS_SIZE:
        problems.append(f"{where}: its annotations are {size} bytes long (at most {syntax.ANNOTATIONS_SIZE}).")
    return Wanted(labels, annotations, _read_taints(given.get("taints"), where, problems))


def _read_pairs(given: Any, where: str, check: Any, problems: list[str]) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        problems.append(f"{where}s: is {syntax.kind(given)}, not a mapping.")
        return {}
    good = {}
    for key, value in given.items():
        for problem, subject in ((syntax.key(key), f'key "{key}"'), (check(value), f'"{key}": the value')):
            if problem:
                problems.append(f"{where} {subject} {problem}.")
        if isinstance(value, str):
            good[str(key)] = value
    return good


def _read_taints(given: Any, where: str, problems: list[str]) -> tuple[Taint, ...]:
    if given is None:
        return ()
    if not isinstance(given, Sequence) or isinstance(given, str):
        problems.append(f"{where}, taints: is {syntax.kind(given)}, not a list.")
        return ()
    good: list[Taint] = []
    for number, item in enumerate(given):
        spot = f"{where}, taints[{number}]"
        if not isinstance(item, Mapping):
            problems.append(f"{spot}: is {syntax.kind(item)}; write a mapping with key, value and effect.")
            continue
        problems += [f'{spot}: unknown entry "{extra}"; it may hold key, value and effect.' for extra in item if extra not in ("key", "value", "effect")]
        value = item.get("value", "")
        found = [("key", syntax.key(item.get("key"))), ("value", syntax.label_value(value)), ("effect", syntax.taint_effect(item.get("effect")))]
        problems += [f'{spot}.{part}: "{item.get(part, "")}" {problem}.' for part, problem in found if problem]
        if any(problem for _part, problem in found):
            continue
        taint = (item["key"], value, item["effect"])
        if any((taint[0], taint[2]) == (other[0], other[2]) for other in good):
            problems.append(f'{spot}: repeats key "{taint[0]}" with effect {taint[2]}.')
        good.append(taint)
    return tuple(good)


def needs_whole_nodes(sets: Iterable[LabelSet]) -> bool:
    """Whether metadata is not enough: taints and addresses are outside of it."""
    return any(wanted.taints or _is_address(name) for item in sets for name, wanted in item.nodes.items())


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# ---- reading nodes ------------------------------------------------------------------------------------------------------------------


def trim(live: Object) -> None:
    """Leave of a node what `read_node` reads; whole nodes of a large cluster are hundreds of megabytes."""
    metadata, spec, status = live["metadata"], live.pop("spec", {}), live.pop("status", {})
    live["spec"] = {"taints": spec.get("taints") or []}
    live["status"] = {"addresses": status.get("addresses") or []}
    metadata["managedFields"] = [
        {"manager": entry.get("manager"), "fieldsV1": {"f:metadata": entry["fieldsV1"]["f:metadata"]}}
        for entry in metadata.get("managedFields") or []
        if "f:metadata" in (entry.get("fieldsV1") or {})
    ]


def read_node(live: Object, whole: bool) -> Node:
    """The part of a node that this module needs."""
    metadata = live["metadata"]
    owners: dict[tuple[str, str], tuple[str, ...]] = {}
    for entry in metadata.get("managedFields") or []:
        fields = ((entry.get("fieldsV1") or {}).get("f:metadata")) or {}
        for section in (LABELS, ANNOTATIONS):
            for key in fields.get("f:" + section) or {}:
                if key.startswith("f:"):
                    owners[(section, key[2:])] = (*owners.get((section, key[2:]), ()), entry.get("manager", ""))
    taints = tuple(((live.get("spec") or {}).get("taints")) or ()) if whole else None
    addresses = tuple(item["address"] for item in ((live.get("status") or {}).get("addresses")) or [] if item.get("type") == "InternalIP")
    labels, annotations = metadata.get(LABELS) or {}, metadata.get(ANNOTATIONS) or {}
    return Node(metadata["name"], metadata["uid"], metadata["resourceVersion"], labels, annotations, owners, taints, addresses)


def resolve(sets: Sequence[LabelSet], nodes: Sequence[Node]) -> tuple[dict[str, dict[str, Wanted]], list[str]]:
    """For each set: live node name -> what is declared for it. Every name that fits no node, or not exactly one, is a problem."""
    by_name = {node.name: node for node in nodes}
    by_hostname = _index(nodes, lambda node: [node.labels.get(HOSTNAME_LABEL, "")])
    by_address = _index(nodes, lambda node: node.addresses)
    found: dict[str, dict[str, Wanted]] = {}
    problems, unknown = [], []
    for item in sets:
        mine = found.setdefault(item.name, {})
        for name, wanted in item.nodes.items():
            fits = [name] if name in by_name else by_hostname.get(name) or by_address.get(name) or []
            if not fits:
                unknown.append(name)
            elif len(fits) > 1:
                problems.append(f'set {item.name}: "{name}" fits {len(fits)} nodes: {", ".join(sorted(fits))}.')
            elif fits[0] in mine:
                problems.append(f'set {item.name}: "{name}" is node {fits[0]}, which is named before.')
            else:
                mine[fits[0]] = wanted
    if unknown:
        names = sorted(set(unknown))
        hints = [f"{name} (did you mean {guess}?)" if (guess := syntax.nearest(name, by_name)) else name for name in names]
        problems.append(f"The cluster has no node {', '.join(hints)} (by name, {HOSTNAME_LABEL} or InternalIP); it has {syntax.some(sorted(by_name))}.")
    return found, problems


def _index(nodes: Iterable[Node], keys: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for node in nodes:
        for key in keys(node):
            if key:
                found.setdefault(key, []).append(node.name)
    return found


# ---- deciding -----------------------------------------------------------------------------------------------------------------------


def plan(sets: Sequence[LabelSet], found: Mapping[str, Mapping[str, Wanted]], nodes: Sequence[Node], force: bool) -> tuple[list[Step], list[str]]:
    """One step for each set and each node that it names or still holds, and the conflicts that forbid to begin."""
    problems = _rivals(sets, found)
    steps = []
    for item in sets:
        for node in nodes:
            wanted = found.get(item.name, {}).get(node.name)
            if wanted is None and not node.owned(item.manager) and item.memory not in node.annotations:
                continue
            step = _step(item, node, wanted or Wanted())
            if not force:
                problems += conflicts(step)
            steps.append(step)
    return steps, problems


def _rivals(sets: Sequence[LabelSet], found: Mapping[str, Mapping[str, Wanted]]) -> list[str]:
    """Two sets of one call that want different values of one thing."""
    problems: list[str] = []
    seen: dict[tuple[str, str, str], tuple[str, str]] = {}
    for item in sets:
        for node, wanted in found.get(item.name, {}).items():
            pairs = [(section, key, value) for section in (LABELS, ANNOTATIONS) for key, value in wanted.section(section).items()]
            pairs += [("taints", f"{key}:{effect}", value) for key, value, effect in wanted.taints]
            for section, key, value in pairs:
                other, theirs = seen.setdefault((node, section, key), (item.name, value))
                if theirs != value:
                    problems.append(f'{node}: {section[:-1]} {key} is to be "{theirs}" in set {other} and "{value}" in set {item.name}.')
    return problems


def _step(item: LabelSet, node: Node, wanted: Wanted) -> Step:
    declared = {(section, key): value for section in (LABELS, ANNOTATIONS) for key, value in wanted.section(section).items()}
    owned = node.owned(item.manager)
    differs = any(node.section(section).get(key) != value for (section, key), value in declared.items())
    goes = any(node.owners[place] == (item.manager,) for place in owned - set(declared))
    return Step(
        item, node, wanted, write=owned != set(declared) or differs, changed=differs or goes, taints=plan_taints(item, node, wanted.taints) is not None
    )  # fmt: skip


def conflicts(step: Step) -> list[str]:
    """What somebody else holds with another value, and who."""
    node, item, found = step.node, step.set, []
    for section in (LABELS, ANNOTATIONS):
        for key, value in step.wanted.section(section).items():
            live = node.section(section).get(key)
            holders = [manager for manager in node.owners.get((section, key), ()) if manager != item.manager]
            ours = item.manager in node.owners.get((section, key), ())
            if live is None or live == value or (ours and not holders):
                continue
            held = f"held by {' and '.join(_who(manager) for manager in holders)}" if holders else "set by somebody whose name the server has not kept"
            found.append(f'{node.name}: {section[:-1]} {key} is "{live}", {held}; wanted "{value}".')
    for taint in foreign_taints(item, node, step.wanted.taints):
        found.append(f'{node.name}: taint {taint["key"]}:{taint["effect"]} has the value "{taint.get("value", "")}", set by somebody else.')
    return found


def _who(manager: str) -> str:
    return f"set {manager[len(MANAGER_PREFIX) :]}" if manager.startswith(MANAGER_PREFIX) else manager


def remembered(item: LabelSet, node: Node) -> set[tuple[str, str]]:
    """Key and effect of the taints that this set has put on the node."""
    try:
        listed = json.loads(node.annotations.get(item.memory, "[]"))
        return {(str(key), str(effect)) for key, effect in listed}
    except (ValueError, TypeError):
        return set()


def foreign_taints(item: LabelSet, node: Node, wanted: Sequence[Taint]) -> list[Object]:
    """Declared taints that the node has with another value, not from this set."""
    values = {(key, effect): value for key, value, effect in wanted}
    ours = remembered(item, node)
    places = [((taint["key"], taint["effect"]), taint) for taint in node.taints or ()]
    return [taint for place, taint in places if place in values and place not in ours and taint.get("value", "") != values[place]]


def plan_taints(item: LabelSet, node: Node, wanted: Sequence[Taint]) -> tuple[list[Object], list[tuple[str, str]]] | None:
    """The node's taints and this set's memory as they must become; None where they are.

    A taint that somebody else has put there with the same value stays theirs: it is not remembered, so it is never taken away.
    """
    ours = remembered(item, node)
    if node.taints is None:  # not asked for: only what the memory tells can be ours
        return ([], []) if item.memory in node.annotations else None
    values = {(key, effect): value for key, value, effect in wanted}
    taints: list[Object] = []
    memory: list[tuple[str, str]] = []
    for taint in node.taints:
        place = (taint["key"], taint["effect"])
        if place in ours and place not in values:
            continue
        if place in values:
            if place in ours or taint.get("value", "") != values[place]:
                memory.append(place)
            if taint.get("value", "") != values[place]:
                taint = _taint(place, values[place])
            del values[place]
        taints.append(taint)
    for place, value in values.items():
        taints.append(_taint(place, value))
        memory.append(place)
    if taints == list(node.taints) and set(memory) == ours and (bool(memory) or item.memory not in node.annotations):
        return None
    return taints, sorted(memory)


def _taint(place: tuple[str, str], value: str) -> Object:
    return {"key": place[0], **({"value": value} if value else {}), "effect": place[1]}


def taint_patch(item: LabelSet, node: Node, taints: Sequence[Object], memory: Sequence[tuple[str, str]]) -> list[Object]:
    """The JSON patch that is refused when the node changed since it was read."""
    operations: list[Object] = [
        {"op": "test", "path": "/metadata/uid", "value": node.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": node.version},
    ]
    if taints != list(node.taints or ()):
        operations.append({"op": "add", "path": "/spec/taints", "value": list(taints)} if taints else {"op": "remove", "path": "/spec/taints"})
    pointer = "/metadata/annotations"
    if memory and not node.annotations:
        operations.append({"op": "add", "path": pointer, "value": {}})
    pointer += "/" + item.memory.replace("~", "~0").replace("/", "~1")
    if memory:
        operations.append({"op": "add", "path": pointer, "value": json.dumps([list(place) for place in memory])})
    elif item.memory in node.annotations:
        operations.append({"op": "remove", "path": pointer})
    return operations


# ---- telling ------------------------------------------------------------------------------------------------------------------------


def views(step: Step) -> tuple[Object, Object]:
    """The node before and after, as far as this set goes: what --diff shows."""
    node, item = step.node, step.set
    before: Object = {}
    after: Object = {}
    for section in (LABELS, ANNOTATIONS):
        declared, live = step.wanted.section(section), node.section(section)
        mine = {key for place, key in node.owned(item.manager) if place == section}
        kept = {key for key in mine - set(declared) if node.owners[(section, key)] != (item.manager,)}
        _put(before, section, {key: live[key] for key in sorted(mine | set(declared)) if key in live})
        _put(after, section, dict(sorted({**{key: live[key] for key in kept}, **declared}.items())))
    planned = plan_taints(item, node, step.wanted.taints) if step.taints else None
    if planned is not None and node.taints is not None:
        ours = remembered(item, node) | {(key, effect) for key, _value, effect in step.wanted.taints}
        for view, taints in ((before, node.taints), (after, planned[0])):
            _put(view, "taints", [_text(taint) for taint in taints if (taint["key"], taint["effect"]) in ours])
    elif planned is not None:
        _put(before, "taints", [f"{key}:{effect}" for key, effect in sorted(remembered(item, node))])
    return before, after


def actions(steps: Sequence[Step]) -> list[str]:
    """A sentence for each node that changes; only how many where they are many."""
    if len(steps) > MANY:
        return [f"{len(steps)} nodes: labels, annotations and taints"]
    return [f"node {step.node.name} (set {step.set.name}): {_difference(*views(step))}" for step in steps]


def _difference(before: Object, after: Object) -> str:
    told = []
    for section in (LABELS, ANNOTATIONS):
        old, new = before.get(section) or {}, after.get(section) or {}
        told += [f"{section[:-1]} {key} {old.get(key, '(none)')} -> {new.get(key, '(none)')}" for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    old, new = before.get("taints") or [], after.get("taints") or []
    told += [f"taint {taint} goes" for taint in old if taint not in new] + [f"taint {taint} comes" for taint in new if taint not in old]
    return ", ".join(told) or "taken into the set"


def _put(view: Object, section: str, value: Any) -> None:
    if value:
        view[section] = value


def _text(taint: Object) -> str:
    return f"{taint['key']}={taint['value']}:{taint['effect']}" if taint.get("value") else f"{taint['key']}:{taint['effect']}"
