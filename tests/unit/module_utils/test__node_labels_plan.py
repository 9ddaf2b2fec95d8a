# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What node labels decide before any request: syntax, which node is meant, who holds what, which writes are needed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _node_labels_plan as plan


def live(name: str = "w1", labels: dict[str, str] | None = None, taints: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    """A node as the server lists it. `owners`: manager -> label keys; `memory`: set -> its taints."""
    owners, memory = more.get("owners", {}), more.get("memory", {})
    metadata: dict[str, Any] = {"name": name, "uid": f"uid-{name}", "resourceVersion": "7", "labels": labels or {}}
    metadata["annotations"] = {f"slipway.mlops/taints.{item}": json.dumps(value) for item, value in memory.items()}
    metadata["managedFields"] = [
        {"manager": manager, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, **{f"f:{key}": {} for key in keys}}}}}
        for manager, keys in owners.items()
    ]
    status = {"addresses": [{"type": "InternalIP", "address": more["address"]}]} if "address" in more else {}
    return {"metadata": metadata, "spec": {"taints": taints} if taints else {}, "status": status}


def nodes(*found: dict[str, Any], whole: bool = False) -> list[plan.Node]:
    return [plan.read_node(item, whole) for item in found]


def sets(**given: dict[str, Any]) -> list[plan.LabelSet]:
    read, problems = plan.read_sets([{"name": name, "nodes": value} for name, value in given.items()])
    assert not problems, problems
    return read


def steps(declared: list[plan.LabelSet], found: list[plan.Node], force: bool = False) -> tuple[list[plan.Step], list[str]]:
    resolved, problems = plan.resolve(declared, found)
    assert not problems, problems
    return plan.plan(declared, resolved, found, force)


# ---- syntax


@pytest.mark.parametrize(
    ("nodes_given", "words"),
    [
        ({"w1": {"labels": {"nvidia.com/ais target": "x"}}}, ["has a space"]),
        ({"w1": {"labels": {"a": True, "b": 1}}}, ['("true")', '("1")']),
        ({"w1": {"labels": {"a": "x" * 64, "-b": "c"}}}, ["64 characters", "begin and end"]),
        ({"w1": {"labels": ["a"]}}, ["is a list, not a mapping"]),
        ({"w1": {"annotations": {"a": 1}}}, ['("1")']),
        ({"w1": {"annotations": {"slipway.mlops/taints.x": "[]"}}}, ["this module's own"]),
        ({"w1": {"annotations": {"a": "caf\udce9"}}}, ["has a byte that is not UTF-8"]),
        ({"w1": {"annotations": {"a": "x" * (300 * 1024)}}}, ["at most 262144"]),
        ({"w1": {"label": {"a": "b"}}}, ["did you mean labels?"]),
        ({"w1": "x"}, ["is text; write a mapping"]),
        ({"w1": {"taints": [{"key": "x", "effect": "NoSchedul"}]}}, ["did you mean NoSchedule?"]),
        (
            {"w1": {"taints": [{"key": "x", "effect": "NoExecute"}, {"key": "x", "value": "y", "effect": "NoExecute"}]}},
            ['repeats key "x" with effect NoExecute'],
        ),
        ({"w1": {"taints": [{"key": "x", "value": True, "effect": "NoExecute"}, "x=y:NoExecute"]}}, ["quotes", "is text; write a mapping"]),
        ({"w1": {"taints": {"key": "x"}}}, ["is a mapping, not a list"]),
        ({"w1": {"taints": [{"key": "x", "effect": "NoExecute", "operator": "Exists"}]}}, ['unknown entry "operator"']),
        ({}, ["names no node"]),
    ],
)
def test_bad_input_is_told_with_its_place_and_all_at_once(nodes_given: dict[str, Any], words: list[str]) -> None:
    _unused, problems = plan.read_sets([{"name": "s", "nodes": nodes_given}])
    assert len(problems) >= len(words)
    for word in words:
        assert any(word in problem and problem.startswith("set s") for problem in problems), problems


@pytest.mark.parametrize("name", ["", "A", "a b", "a.b", "x" * 51])
def test_the_name_of_a_set_is_part_of_other_names(name: str) -> None:
    _unused, problems = plan.read_sets([{"name": name, "nodes": {"w1": {}}}])
    assert len(problems) == 1 and problems[0].startswith("sets[0].name")


def test_a_set_is_given_once_and_an_absent_one_names_no_nodes() -> None:
    _unused, problems = plan.read_sets([{"name": "s", "nodes": {"w1": {}}}, {"name": "s", "state": "absent", "nodes": {"w1": {}}}])
    assert any("more than once" in problem for problem in problems) and any("leave `nodes` out" in problem for problem in problems)


# ---- which node


def test_nodes_are_found_by_name_then_hostname_then_address() -> None:
    found = nodes(
        live("a", {"kubernetes.io/hostname": "b"}), live("b"), live("c", {"kubernetes.io/hostname": "host-c"}), live("d", address="10.0.0.4"), whole=True
    )
    resolved, problems = plan.resolve(sets(s={"b": {}, "host-c": {}, "10.0.0.4": {}}), found)
    assert not problems and sorted(resolved["s"]) == ["b", "c", "d"]


def test_all_unknown_nodes_are_told_in_one_sentence_with_the_nearest_name() -> None:
    _unused, problems = plan.resolve(sets(s={"worker-2": {}, "zz": {}}, t={"zz": {}}), nodes(live("worker-1")))
    assert len(problems) == 1
    assert "worker-2 (did you mean worker-1?), zz (" in problems[0] and "it has worker-1" in problems[0]


def test_a_name_that_fits_two_nodes_or_a_node_named_twice_is_refused() -> None:
    found = nodes(live("a", {"kubernetes.io/hostname": "h"}), live("b", {"kubernetes.io/hostname": "h"}), live("c", {"kubernetes.io/hostname": "hc"}))
    _unused, problems = plan.resolve(sets(s={"h": {}, "c": {}, "hc": {}}), found)
    assert sorted(problems) == ['set s: "h" fits 2 nodes: a, b.', 'set s: "hc" is node c, which is named before.']


@pytest.mark.parametrize(
    ("given", "whole"), [({"w1": {"labels": {"a": "b"}}}, False), ({"10.0.0.1": {}}, True), ({"w1": {"taints": [{"key": "x", "effect": "NoExecute"}]}}, True)]
)
def test_whole_nodes_are_read_only_where_metadata_is_not_enough(given: dict[str, Any], whole: bool) -> None:
    assert plan.needs_whole_nodes(sets(s=given)) is whole


# ---- labels


LABELLED = {"w1": {"labels": {"a": "1", "b": "2"}}}


def one(declared: dict[str, Any], found: dict[str, Any], force: bool = False) -> tuple[plan.Step, list[str]]:
    made, problems = steps(sets(s=declared), nodes(found), force)
    assert len(made) == 1
    return made[0], problems


@pytest.mark.parametrize(
    ("found", "write", "changed"),
    [
        (live(), True, True),
        (live(labels={"a": "1", "b": "2"}, owners={"slipway:s": ["a", "b"]}), False, False),
        (live(labels={"a": "1", "b": "2"}), True, False),
        (live(labels={"a": "1", "b": "2", "c": "3"}, owners={"slipway:s": ["a", "b", "c"]}), True, True),
        (live(labels={"a": "1", "b": "2", "c": "3"}, owners={"slipway:s": ["a", "b", "c"], "kubectl-label": ["c"]}), True, False),
        (live(labels={"a": "1", "b": "9"}, owners={"slipway:s": ["a", "b"]}), True, True),
        (live(labels={"a": "1"}, owners={"slipway:s": ["a"]}), True, True),
    ],
    ids=["new", "as declared", "set by hand before", "one leaves", "one leaves us but stays another's", "another value of ours", "one was removed by hand"],
)
def test_what_is_written_and_what_counts_as_change(found: dict[str, Any], write: bool, changed: bool) -> None:
    step, problems = one(LABELLED, found)
    assert (step.write, step.changed, problems) == (write, changed, [])


def test_an_apply_carries_the_uid_and_nothing_but_the_set() -> None:
    step, _unused = one({"w1": {"labels": {"a": "1"}}}, live(labels={"foreign": "x"}))
    assert step.object == {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1", "uid": "uid-w1", "labels": {"a": "1"}}}


def test_a_node_that_left_the_set_is_cleaned() -> None:
    made, problems = steps(
        sets(s={"w1": {"labels": {"a": "1"}}}), nodes(live("w1"), live("w2", {"a": "1"}, owners={"slipway:s": ["a"]}), live("w3", {"a": "1"}))
    )
    assert not problems and [(step.node.name, step.object["metadata"].get("labels")) for step in made] == [("w1", {"a": "1"}), ("w2", None)]


def test_an_absent_set_gives_up_all_its_nodes() -> None:
    absent, problems = plan.read_sets([{"name": "s", "state": "absent"}])
    assert not problems
    made, _unused = steps(absent, nodes(live("w1", {"a": "1"}, owners={"slipway:s": ["a"]}), live("w2")))
    assert [step.node.name for step in made] == ["w1"] and made[0].changed


@pytest.mark.parametrize(
    ("owners", "holder"),
    [
        ({"slipway:other": ["a"]}, "held by set other"),
        ({"kubelet": ["a"]}, "held by kubelet"),
        ({"slipway:s": ["a"], "kubectl-label": ["a"]}, "held by kubectl-label"),
        ({}, "not kept"),
    ],
)
def test_a_label_that_somebody_else_holds_with_another_value_is_refused_with_the_holder(owners: dict[str, list[str]], holder: str) -> None:
    found = live(labels={"a": "9", "b": "2"}, owners=owners)
    _unused, problems = one(LABELLED, found)
    assert len(problems) == 1 and problems[0].startswith('w1: label a is "9"') and holder in problems[0] and 'wanted "1"' in problems[0]
    step, problems = one(LABELLED, found, force=True)
    assert step.write and step.changed and not problems


def test_two_sets_of_one_call_must_not_want_different_values() -> None:
    _unused, problems = steps(sets(s={"w1": {"labels": {"a": "1", "c": "3"}}}, t={"w1": {"labels": {"a": "2", "c": "3"}}}), nodes(live()))
    assert problems == ['w1: label a is to be "1" in set s and "2" in set t.']


# ---- taints

OURS = [{"key": "ded", "value": "ais", "effect": "NoSchedule"}]
FOREIGN = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}
TAINTED = {"w1": {"taints": OURS}}
PLACE = ["ded", "NoSchedule"]


@pytest.mark.parametrize(
    ("declared", "found", "taints", "memory"),
    [
        (TAINTED, live(), OURS, [("ded", "NoSchedule")]),
        (TAINTED, live(taints=[FOREIGN]), [FOREIGN, *OURS], [("ded", "NoSchedule")]),
        ({"w1": {"labels": {"x": "y"}}}, live(taints=[FOREIGN, *OURS], memory={"s": [PLACE]}), [FOREIGN], []),
        (TAINTED, live(taints=[{**OURS[0], "value": "old"}], memory={"s": [PLACE]}), OURS, [("ded", "NoSchedule")]),
        (TAINTED, live(taints=[FOREIGN], memory={"s": [PLACE]}), [FOREIGN, *OURS], [("ded", "NoSchedule")]),
        ({"w1": {"labels": {"x": "y"}}}, live(taints=[FOREIGN], memory={"s": [PLACE]}), [FOREIGN], []),
    ],
    ids=["new", "beside a foreign one", "leaves, the foreign one stays", "another value", "removed by hand", "memory without taint"],
)
def test_taints_become(declared: dict[str, Any], found: dict[str, Any], taints: list[Any], memory: list[Any]) -> None:
    item = sets(s=declared)[0]
    node = plan.read_node(found, whole=True)
    assert plan.plan_taints(item, node, item.nodes["w1"].taints) == (taints, memory)
    assert not plan.foreign_taints(item, node, item.nodes["w1"].taints)


@pytest.mark.parametrize("memory", [{"s": [PLACE]}, {}], ids=["ours", "theirs, with the same value"])
def test_taints_that_are_there_cost_no_write(memory: dict[str, Any]) -> None:
    for taints in ([FOREIGN, *OURS], [*OURS, FOREIGN]):
        item, node = sets(s=TAINTED)[0], plan.read_node(live(taints=taints, memory=memory), whole=True)
        assert plan.plan_taints(item, node, item.nodes["w1"].taints) is None


def test_a_foreign_taint_with_another_value_is_a_conflict() -> None:
    found = plan.read_node(live(taints=[{**OURS[0], "value": "theirs"}]), whole=True)
    _unused, problems = steps(sets(s=TAINTED), [found])
    assert problems == ['w1: taint ded:NoSchedule has the value "theirs", set by somebody else.']


def test_the_patch_is_guarded_and_remembers() -> None:
    item, node = sets(s=TAINTED)[0], plan.read_node(live(), whole=True)
    patch = plan.taint_patch(item, node, OURS, [("ded", "NoSchedule")])
    assert patch[:2] == [{"op": "test", "path": "/metadata/uid", "value": "uid-w1"}, {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}]
    assert patch[2:] == [
        {"op": "add", "path": "/spec/taints", "value": OURS},
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": "/metadata/annotations/slipway.mlops~1taints.s", "value": '[["ded", "NoSchedule"]]'},
    ]


def test_the_patch_keeps_the_annotations_that_are_there() -> None:
    """To add the map itself would replace all that others have noted."""
    found = live(taints=[FOREIGN])
    found["metadata"]["annotations"] = {"node.alpha.kubernetes.io/ttl": "0"}
    item, node = sets(s=TAINTED)[0], plan.read_node(found, whole=True)
    patch = plan.taint_patch(item, node, [FOREIGN, *OURS], [("ded", "NoSchedule")])
    assert [operation["path"] for operation in patch[2:]] == ["/spec/taints", "/metadata/annotations/slipway.mlops~1taints.s"]


def test_the_patch_leaves_nothing_behind() -> None:
    item, node = sets(s={"w1": {}})[0], plan.read_node(live(taints=OURS, memory={"s": [PLACE]}), whole=True)
    assert plan.taint_patch(item, node, [], [])[2:] == [
        {"op": "remove", "path": "/spec/taints"},
        {"op": "remove", "path": "/metadata/annotations/slipway.mlops~1taints.s"},
    ]


def test_a_damaged_memory_is_no_memory() -> None:
    node = plan.read_node({"metadata": {"name": "w1", "uid": "u", "resourceVersion": "1", "annotations": {"slipway.mlops/taints.s": "{oops"}}}, whole=True)
    assert plan.remembered(sets(s=TAINTED)[0], node) == set()


def test_without_the_spec_a_memory_alone_asks_for_a_closer_look() -> None:
    step, _unused = one({"w1": {"labels": {"a": "1"}}}, live(memory={"s": [PLACE]}))
    assert step.taints


# ---- diff


def test_the_diff_shows_what_the_set_declares_and_gives_up() -> None:
    step, _unused = one(
        {"w1": {"labels": {"a": "2"}}},
        live(labels={"a": "1", "gone": "x", "shared": "y", "foreign": "z"}, owners={"slipway:s": ["a", "gone", "shared"], "k": ["shared"]}),
    )
    assert plan.views(step) == ({"labels": {"a": "1", "gone": "x", "shared": "y"}}, {"labels": {"a": "2", "shared": "y"}})


def test_the_diff_shows_no_taints_of_others() -> None:
    step, _unused = steps(sets(s=TAINTED), nodes(live(taints=[FOREIGN]), whole=True))
    assert plan.views(step[0]) == ({}, {"taints": ["ded=ais:NoSchedule"]})


def test_a_sentence_tells_what_comes_changes_and_goes() -> None:
    step, _unused = one({"w1": {"labels": {"a": "2", "new": "x"}}}, live(labels={"a": "1", "gone": "x"}, owners={"slipway:s": ["a", "gone"]}))
    assert plan.actions([step]) == ["node w1 (set s): label a 1 -> 2, label gone x -> (none), label new (none) -> x"]
    tainted, _unused = steps(sets(s=TAINTED), nodes(live(taints=[{**OURS[0], "value": "old"}], memory={"s": [PLACE]}), whole=True))
    assert plan.actions(tainted) == ["node w1 (set s): taint ded=old:NoSchedule goes, taint ded=ais:NoSchedule comes"]
