# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told of objects and sets on a cluster of dicts: never an error, always a reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _run_k8s_manifests as manifests
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref, Refused
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_readiness_info import run
from fakes import FakeCluster

DEPLOYMENT = Ref("apps/v1", "Deployment", "n", "web")


def call(cluster: FakeCluster, **given: Any) -> dict[str, Any]:
    return run(Call({"objects": [], "sets": [], **given}, cluster=cluster, clock=cluster.clock))


@pytest.fixture
def cluster() -> FakeCluster:
    """A namespace with a set `web`: a ConfigMap and a Deployment that waits for its pod."""
    made = FakeCluster()
    made.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "status": {"phase": "Active"}})
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": "b"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}},
    ]
    params = {"name": "web", "namespace": "n", "state": "present", "manifests": objects, "secrets": None, "prune": True, "delete_data": [], "wait": False,
              "wait_timeout": 10, "force_conflicts": False}  # fmt: skip
    manifests.run(Call(params, cluster=made, clock=made.clock))
    made.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web-1-x",
                "namespace": "n",
                "labels": {"app": "web"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-1", "uid": "r"}],
            },
            "status": {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [{"name": "web", "image": "i:1", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}],
            },
        }
    )
    made.log.clear()
    return made


def test_a_set_is_all_its_objects_with_the_pod_as_the_reason(cluster: FakeCluster) -> None:
    result = call(cluster, sets=[{"name": "web", "namespace": "n"}])
    told = {item["kind"]: item for item in result["objects"]}
    assert told["ConfigMap"]["state"] == "ready" and told["ConfigMap"]["set"] == "web"
    assert (
        told["Deployment"]["state"] == "failed"
        and "web-1-x: container web cannot pull its image (ImagePullBackOff): no such tag" in told["Deployment"]["reason"]
    )
    assert not result["ready"] and result["counts"] == {"ready": 1, "failed": 1} and result["changed"] is False


def test_what_is_ready_costs_no_look_at_pods_and_events(cluster: FakeCluster) -> None:
    result = call(cluster, objects=[{"api_version": "v1", "kind": "ConfigMap", "namespace": "n", "name": "web"}])
    assert result["ready"] and [verb for verb, _unused in cluster.log] == ["get"]


def test_what_is_not_there_is_absent(cluster: FakeCluster) -> None:
    result = call(
        cluster,
        objects=[
            {"api_version": "v1", "kind": "Node", "namespace": "", "name": "none"},
            {"api_version": "x.y/v1", "kind": "Thing", "namespace": "n", "name": "t"},
        ],
        sets=[{"name": "never", "namespace": "n"}],
    )
    assert [item["state"] for item in result["objects"]] == ["absent"] * 3
    assert "no set never was ever applied in namespace n" in result["objects"][2]["reason"]


def test_a_kind_of_which_nothing_is_left_is_absent(cluster: FakeCluster) -> None:
    cluster.drop(DEPLOYMENT)
    told = {item["kind"]: item for item in call(cluster, sets=[{"name": "web", "namespace": "n"}])["objects"]}
    assert told["Deployment"]["state"] == "absent" and told["Deployment"]["name"] == "(any)"


def test_what_this_account_may_not_see_is_unknown(cluster: FakeCluster) -> None:
    cluster.forbidden = {("get", "ConfigMap"), ("list", "Deployment")}
    result = call(cluster, objects=[{"api_version": "v1", "kind": "ConfigMap", "namespace": "n", "name": "web"}])
    assert [item["state"] for item in result["objects"]] == ["unknown"] and not result["ready"]
    cluster.forbidden = {("list", "Deployment")}
    told = {item["kind"]: item for item in call(cluster, sets=[{"name": "web", "namespace": "n"}])["objects"]}
    assert told["Deployment"]["state"] == "unknown" and told["ConfigMap"]["state"] == "ready"


def test_without_rights_on_pods_the_reason_is_shorter(cluster: FakeCluster) -> None:
    cluster.forbidden = {("list", "Pod"), ("list", "Event")}
    told = {item["kind"]: item for item in call(cluster, sets=[{"name": "web", "namespace": "n"}])["objects"]}
    assert told["Deployment"]["state"] == "progressing" and told["Deployment"]["reason"] == "0/1 updated"


def test_nothing_to_look_at_is_a_mistake(cluster: FakeCluster) -> None:
    with pytest.raises(Refused, match="Neither"):
        call(cluster)


def test_a_kind_of_which_nothing_is_left_has_its_version_and_a_job_that_is_done_is_ready(cluster: FakeCluster) -> None:
    cluster.drop(DEPLOYMENT)
    record = Ref("v1", "ConfigMap", "n", "slipway-web")
    annotations = cluster.objects[record]["metadata"]["annotations"]
    annotations["slipway.mlops/done"] = '{"migrate-1": "2026-01-02T03:04:05Z"}'
    annotations["applyset.kubernetes.io/contains-group-kinds"] += ",Job.batch"
    told = {item["kind"]: item for item in call(cluster, sets=[{"name": "web", "namespace": "n"}])["objects"]}
    assert (told["Deployment"]["api_version"], told["Deployment"]["state"]) == ("apps/v1", "absent")
    assert (told["Job"]["name"], told["Job"]["ready"], told["Job"]["reason"]) == ("migrate-1", True, "ran to its end at 2026-01-02T03:04:05Z")


def made(cluster: FakeCluster, *objects: dict[str, Any], **given: Any) -> dict[str, Any]:
    params = {"name": "team", "namespace": "n", "state": "present", "manifests": list(objects), "secrets": None, "prune": True, "delete_data": [],
              "wait": False, "wait_timeout": 10, "force_conflicts": False, **given}  # fmt: skip
    return manifests.run(Call(params, cluster=cluster, clock=cluster.clock))


def config(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"k": "v"}}


JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"ttlSecondsAfterFinished": 1, "template": {"spec": {"containers": []}}}}
CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
TEAM = [{"name": "team", "namespace": "n"}]


def lost(result: dict[str, Any]) -> list[str]:
    return [item["reason"] for item in result["objects"] if "objects, " in item["reason"]]


def test_an_object_that_somebody_deleted_is_missed_and_a_job_that_ended_is_not(cluster: FakeCluster) -> None:
    foreign = {**config("theirs", annotations={"slipway.mlops/apply": "create_only"}), "kind": "Secret", "data": {"k": "dg=="}}
    cluster.put({**foreign, "metadata": {"name": "theirs", "namespace": "n"}}, "somebody")
    everything = [config("a"), config("b"), CLAIM, JOB, foreign]
    made(cluster, *everything)
    made(cluster, config("a"), config("b"), JOB, foreign)  # the claim is kept
    assert lost(call(cluster, sets=TEAM)) == []
    cluster.drop(Ref("batch/v1", "Job", "n", "j"))
    assert lost(call(cluster, sets=TEAM)) == []
    cluster.drop(Ref("v1", "ConfigMap", "n", "b"))
    result = call(cluster, sets=TEAM)
    assert lost(result) == ["the set had 3 objects, 2 are left; apply it again"] and not result["ready"]
    made(cluster, config("a"), config("b"), foreign, prune=False)
    assert lost(call(cluster, sets=TEAM)) == []


def test_a_set_whose_record_has_no_number_is_judged_without(cluster: FakeCluster) -> None:
    made(cluster, config("a"), config("b"))
    record = cluster.objects[Ref("v1", "ConfigMap", "n", "slipway-team")]
    assert record["metadata"]["annotations"].pop("slipway.mlops/objects") == "2"
    cluster.drop(Ref("v1", "ConfigMap", "n", "b"))
    assert call(cluster, sets=TEAM)["ready"]
    assert [action["action"] for action in made(cluster, config("a"))["objects"]] == ["unchanged"]
    assert record["metadata"]["annotations"] != cluster.objects[Ref("v1", "ConfigMap", "n", "slipway-team")]["metadata"]["annotations"]


def test_an_object_of_a_namespace_is_not_looked_for_without_one(cluster: FakeCluster) -> None:
    with pytest.raises(Refused, match=r"objects\[0\]: Deployment web lives in a namespace; say in which"):
        call(cluster, objects=[{"api_version": "apps/v1", "kind": "Deployment", "namespace": "", "name": "web"}])
