# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The life of label sets on a cluster of dicts: what is asked, what is written, and what a rival writer or a missing right does to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._model import Conflict, Forbidden, Ref, Refused, Source, Stopped
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_node_labels import run
from fakes import FakeClock, FakeCluster


def ref(name: str) -> Ref:
    return Ref("v1", "Node", "", name)


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    for name in ("w1", "w2", "w3"):
        made.put(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "foreign": "stays"}}, "spec": {}},
            "kubelet",
        )
    made.log.clear()
    return made


def call(cluster: FakeCluster, check: bool = False, **given: Any) -> dict[str, Any]:
    params = {"name": None, "nodes": None, "state": "present", "sets": None, "force_conflicts": False, **given}
    return run(Call(params, check_mode=check, diff=True, cluster=cluster, clock=FakeClock()))


def labels(cluster: FakeCluster, name: str) -> dict[str, str]:
    return {key: value for key, value in cluster.objects[ref(name)]["metadata"]["labels"].items() if key != "kubernetes.io/hostname"}


A = {"w1": {"labels": {"a": "1"}}, "w2": {"labels": {"a": "2"}}}


def test_the_first_run_labels_and_the_second_asks_once(cluster: FakeCluster) -> None:
    assert [node["name"] for node in call(cluster, name="s", nodes=A)["nodes"]] == ["w1", "w2"]
    assert labels(cluster, "w1") == {"a": "1", "foreign": "stays"} and labels(cluster, "w3") == {"foreign": "stays"}
    cluster.log.clear()
    again = call(cluster, name="s", nodes=A)
    assert not again["changed"] and again["unchanged"] == 2 and cluster.log == [("list", Source("v1", "Node", ""))]


def test_check_mode_tells_what_the_run_does_and_writes_nothing(cluster: FakeCluster) -> None:
    before = json.dumps({str(key): value for key, value in cluster.objects.items()})
    predicted = call(cluster, check=True, name="s", nodes=A)
    assert json.dumps({str(key): value for key, value in cluster.objects.items()}) == before
    done = call(cluster, name="s", nodes=A)
    assert (done["nodes"], done["diff"]) == (predicted["nodes"], predicted["diff"])


def test_what_leaves_the_set_leaves_the_nodes_and_sets_leave_each_other_alone(cluster: FakeCluster) -> None:
    call(cluster, name="s", nodes=A)
    call(cluster, name="t", nodes={"w1": {"labels": {"b": "1"}}})
    result = call(cluster, name="s", nodes={"w2": {"labels": {"a": "2"}}})
    assert result["nodes"] == [{"set": "s", "name": "w1", "action": "cleaned"}]
    assert labels(cluster, "w1") == {"b": "1", "foreign": "stays"} and labels(cluster, "w2")["a"] == "2"
    call(cluster, sets=[{"name": "s", "nodes": None, "state": "absent"}, {"name": "t", "nodes": None, "state": "absent"}])
    assert [labels(cluster, name) for name in ("w1", "w2")] == [{"foreign": "stays"}] * 2


def test_everything_that_is_wrong_is_told_before_anything_is_written(cluster: FakeCluster) -> None:
    call(cluster, name="other", nodes={"w1": {"labels": {"a": "9"}}})
    cluster.log.clear()
    with pytest.raises(Refused) as caught:
        call(cluster, name="s", nodes={**A, "w9": {}})
    assert 'w1: label a is "9", held by set other' in str(caught.value) and "no node w9" in str(caught.value)
    assert not cluster.writes()
    call(cluster, name="s", nodes=A, force_conflicts=True)
    assert labels(cluster, "w1")["a"] == "1"


TAINT = {"key": "ded", "value": "x", "effect": "NoSchedule"}
TAINTED = {"w1": {"taints": [TAINT]}}


def test_taints_come_and_go_beside_foreign_ones(cluster: FakeCluster) -> None:
    foreign = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
    cluster.objects[ref("w1")]["spec"]["taints"] = [foreign]
    assert call(cluster, name="s", nodes=TAINTED)["changed"]
    assert cluster.objects[ref("w1")]["spec"]["taints"] == [foreign, TAINT]
    assert not call(cluster, name="s", nodes=TAINTED)["changed"]
    assert call(cluster, name="s", state="absent")["changed"]
    assert cluster.objects[ref("w1")]["spec"]["taints"] == [foreign]
    assert "slipway.mlops/taints.s" not in cluster.objects[ref("w1")]["metadata"].get("annotations", {})


def test_a_rival_writer_of_the_node_is_given_way_and_loses_nothing(cluster: FakeCluster) -> None:
    left = [3]

    def rival(verb: str, target: Any) -> None:
        if verb == "patch" and left[0]:
            left[0] -= 1
            live = json.loads(json.dumps(cluster.objects[ref("w1")]))
            live["spec"].setdefault("taints", []).append({"key": f"rival-{left[0]}", "effect": "NoSchedule"})
            cluster.put(live, "rival")

    cluster.fail = rival
    call(cluster, name="s", nodes=TAINTED)
    assert {taint["key"] for taint in cluster.objects[ref("w1")]["spec"]["taints"]} == {"ded", "rival-0", "rival-1", "rival-2"}


def test_a_rival_who_never_rests_is_told_about(cluster: FakeCluster) -> None:
    def rival(verb: str, target: Any) -> None:
        if verb == "patch":
            live = json.loads(json.dumps(cluster.objects[ref("w1")]))
            live["metadata"].setdefault("annotations", {})["beat"] = str(len(cluster.log))
            cluster.put(live, "rival")

    cluster.fail = rival
    refused = call(cluster, name="s", nodes=TAINTED)
    assert refused["failed"] and "changed 6 times while its taints were being written" in refused["msg"]


def test_a_node_that_was_replaced_meanwhile_is_not_touched(cluster: FakeCluster) -> None:
    def replaced(verb: str, target: Any) -> None:
        if verb == "get":
            cluster.objects[ref("w1")]["metadata"]["uid"] = "another"

    cluster.fail = replaced
    refused = call(cluster, name="s", nodes=TAINTED)
    assert refused["failed"] and "was deleted or replaced meanwhile" in refused["msg"]
    assert not cluster.objects[ref("w1")]["spec"].get("taints")


def test_one_node_that_is_refused_does_not_keep_the_others_back(cluster: FakeCluster) -> None:
    def refuse(verb: str, target: Any) -> None:
        if verb == "apply" and target == ref("w1"):
            raise Conflict("Cannot apply Node w1: a webhook says no", 409)

    cluster.fail = refuse
    refused = call(cluster, name="s", nodes=A)
    assert refused["failed"] and "1 of 2 nodes written. Cannot apply Node w1: a webhook says no" in refused["msg"]
    assert labels(cluster, "w2")["a"] == "2"
    assert refused["changed"] and [node["name"] for node in refused["nodes"]] == ["w2"] and len(refused["diff"]["after"]) == 1


def test_labels_that_are_there_are_told_where_the_taints_were_refused_after_them(cluster: FakeCluster) -> None:
    def refuse(verb: str, target: Any) -> None:
        if verb == "patch":
            raise Forbidden("Cannot patch Node w1: not the taints", 403)

    cluster.fail = refuse
    result = call(cluster, name="s", nodes={"w1": {"labels": {"a": "1"}, "taints": [TAINT]}})
    assert result["failed"] and "0 of 1 nodes written. Cannot patch Node w1: not the taints" in result["msg"]
    assert labels(cluster, "w1")["a"] == "1"
    assert result["changed"] and result["actions"] == ["node w1 (set s): label a (none) -> 1"]
    assert result["diff"]["after"] == {"w1 (set s)": {"labels": {"a": "1"}}}


def test_a_missing_right_ends_it_with_the_server_s_words(cluster: FakeCluster) -> None:
    def refuse(verb: str, target: Any) -> None:
        if verb == "apply":
            raise Forbidden('Cannot apply Node w1: User "u" cannot patch resource "nodes"', 403)

    cluster.fail = refuse
    refused = call(cluster, name="s", nodes=A)
    assert refused["failed"] and 'cannot patch resource "nodes"' in refused["msg"]


def test_a_task_that_is_told_to_end_writes_no_more(cluster: FakeCluster) -> None:
    def stop(verb: str, target: Any) -> None:
        if verb == "apply":
            raise Stopped

    cluster.fail = stop
    with pytest.raises(Stopped):
        call(cluster, name="s", nodes=A)


def test_no_set_at_all_asks_nobody(cluster: FakeCluster) -> None:
    assert not call(cluster, sets=[])["changed"] and not cluster.log
