# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels, annotations and taints of nodes as declared, any number of nodes in one call."""

from __future__ import annotations

import dataclasses
from typing import Any

from ._model import Cluster, ClusterError, Conflict, Forbidden, Object, Ref, Refused, Unreachable
from ._module import Call
from ._node_labels_plan import (
    LabelSet,
    Node,
    Step,
    Wanted,
    actions,
    conflicts,
    needs_whole_nodes,
    plan,
    plan_taints,
    read_node,
    read_sets,
    resolve,
    taint_patch,
    trim,
    views,
)
from ._parallel import all_of

BATCH = 500  # nodes between two lines of progress
TRIES = 6  # of a taint patch, against other writers of the same node
SHOWN = 10  # errors of nodes in one message

_SET: dict[str, Any] = {
    "name": {"type": "str"},
    "nodes": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
ARGUMENTS: dict[str, Any] = {
    **_SET,
    "sets": {"type": "list", "elements": "dict", "options": {**_SET, "name": {"type": "str", "required": True}}},
    "force_conflicts": {"type": "bool", "default": False},
}
RULES: dict[str, Any] = {"required_one_of": [("name", "sets")], "mutually_exclusive": [("name", "sets"), ("nodes", "sets")]}


def run(call: Call) -> Object:
    """Read every node once, refuse all problems at once, then write where something differs."""
    params, cluster, started = call.params, call.cluster, call.clock.now()
    given = params["sets"] if params.get("sets") is not None else [{key: params.get(key) for key in _SET}]
    sets, problems = read_sets(given)
    if problems:
        raise Refused(problems)
    nodes = _read(cluster, sets) if sets else []
    found, problems = resolve(sets, nodes)
    steps, contested = plan(sets, found, nodes, params["force_conflicts"])
    if contested:
        contested.append("Nothing was written. Take the value out of one of them, or take it over with `force_conflicts: true`.")
    if problems or contested:
        raise Refused(problems + contested)
    needed = [step for step in steps if step.needed]
    written, problem = _write(call, needed)
    result = _result(call, [written.get(id(step), step) for step in steps if not step.needed or id(step) in written], started)
    return {**result, "failed": True, "msg": problem} if problem else result


def _read(cluster: Cluster, sets: list[LabelSet]) -> list[Node]:
    whole = needs_whole_nodes(sets)
    return [read_node(item, whole) for item in cluster.list("v1", "Node", metadata_only=not whole, trim=trim).items]


def _write(call: Call, steps: list[Step]) -> tuple[dict[int, Step], str]:
    """Every step, several at a time: what is done of which (by its id), and what the server refused, which does not keep the others back."""
    force = call.params["force_conflicts"]
    done: dict[int, Step] = {}
    whole = 0
    failed: list[ClusterError] = []
    for start in range(0, len(steps), BATCH):
        if start:
            call.progress(f"{whole} of {len(steps)} nodes written")
        batch = steps[start : start + BATCH]
        outcomes = all_of(lambda step: _write_one(call.cluster, step, force, call.check_mode), batch)
        done.update({id(step): part for step, (part, _error) in zip(batch, outcomes) if part.needed})
        errors = [error for _part, error in outcomes if error is not None]
        whole += len(batch) - len(errors)
        failed += errors
        if any(isinstance(error, (Forbidden, Unreachable)) for error in errors):
            break  # the others would fail in the same way
    if not failed:
        return done, ""
    more = [f"And {len(failed) - SHOWN} more."] if len(failed) > SHOWN else []
    return done, f"{whole} of {len(steps)} nodes written. " + " ".join([str(error) for error in failed[:SHOWN]] + more)


def _write_one(cluster: Cluster, step: Step, force: bool, dry_run: bool) -> tuple[Step, ClusterError | None]:
    """What of it is done, and what the server refused: labels are there, and told, also where the taints were refused after them."""
    done = dataclasses.replace(step, write=False, changed=False, taints=False)
    try:
        if step.write:
            cluster.apply(step.object, step.set.manager, force=force, dry_run=dry_run)
            done = dataclasses.replace(done, write=True, changed=step.changed)
        if step.taints:
            _write_taints(cluster, step, force, dry_run)
            done = dataclasses.replace(done, taints=True)
    except ClusterError as error:
        return done, error
    return done, None


def _write_taints(cluster: Cluster, step: Step, force: bool, dry_run: bool) -> None:
    """The server keeps taints as one list, so it is replaced only if the node is still the one that was read."""
    ref = Ref("v1", "Node", "", step.node.name)
    for _attempt in range(TRIES):
        live = cluster.get(ref)
        node = read_node(live, whole=True) if live else None
        if node is None or node.uid != step.node.uid:
            raise Conflict(f"{ref} was deleted or replaced meanwhile; run again.")
        current = Step(step.set, node, step.wanted)
        rivals = [] if force else conflicts(current)
        if rivals:
            raise Conflict(" ".join(rivals))
        planned = plan_taints(step.set, node, step.wanted.taints)
        if planned is None:
            return
        try:
            cluster.patch(ref, taint_patch(step.set, node, *planned), step.set.taint_manager, dry_run=dry_run)
            return
        except ClusterError as error:
            if error.status not in (409, 422):  # 422: a `test` of the patch failed
                raise
            last = error
    raise Conflict(f"{ref} changed {TRIES} times while its taints were being written: {last}")


def _result(call: Call, steps: list[Step], started: float) -> Object:
    touched = [step for step in steps if step.changed or step.taints]
    result: Object = {
        "changed": bool(touched),
        "nodes": [{"set": step.set.name, "name": step.node.name, "action": "updated" if step.wanted != Wanted() else "cleaned"} for step in touched],
        "unchanged": len(steps) - len(touched),
        "actions": actions(touched),
        "server": call.cluster.server,
        "context": call.cluster.context,
        "requests": call.cluster.requests,
        "seconds": round(call.clock.now() - started, 2),
    }
    if call.diff:
        both = [(f"{step.node.name} (set {step.set.name})", *views(step)) for step in touched]
        result["diff"] = {"before": {name: before for name, before, _after in both}, "after": {name: after for name, _before, after in both}}
    return result
