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
