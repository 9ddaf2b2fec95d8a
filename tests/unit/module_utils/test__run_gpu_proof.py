# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of the chain: who holds the GPUs, and what no answer is taken for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _node_turn
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Ref
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from ansible_collections.slipway.mlops.plugins.module_utils._run_gpu_proof import ARGUMENTS, run
from fakes import FakeCluster

GPU = "nvidia.com/gpu"
FACTS = {"gpus": [], "toolkit": "/x", "toolkit_is_executable": True, "engine": "containerd", "engine_problem": "", "handlers": ["nvidia"], "node": "w1"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    made = FakeCluster()
    # The fake knows no field selector but the one for names; everything here is on one node.
    monkeypatch.setattr(_node_turn, "pods", lambda cluster, node: cluster.list("v1", "Pod").items)
    made.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gpu-runtime"}})
    made.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1", "labels": {}}, "status": {"allocatable": {GPU: "2"}}})
    made.put({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"})
    return made


def busy(cluster: FakeCluster, name: str, count: int, phase: str = "Running") -> None:
    container = {"name": "c", "resources": {"limits": {GPU: str(count)}}}
    spec = {"nodeName": "w1", "containers": [container]}
    cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "jobs"}, "spec": spec, "status": {"phase": phase}})


def proof(cluster: FakeCluster, check: bool = False, **options: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    given = {"facts": FACTS, "is_stated": True, "expected": 2, "plugin_namespace": "", "image": "i", "timeout": 5, "kubeconfig": "x"}
    return run(Call({**defaults, **given, **options}, check, False, lambda line: None, cluster=cluster, clock=cluster.clock, environ={}))


def test_pods_that_hold_every_gpu_are_proof_enough_and_keep_them(cluster: FakeCluster) -> None:
    busy(cluster, "train", 2)
    found = proof(cluster)
    assert found["ready"]
    assert found["reason"] == f"none was run, since every {GPU} of w1 is in use by jobs/train"
    assert not [verb for verb, _ref in cluster.log if verb in ("create", "apply", "delete")]


def test_one_that_is_done_holds_none_and_the_proof_pod_is_always_deleted(cluster: FakeCluster) -> None:
    busy(cluster, "train", 1)
    busy(cluster, "done", 1, "Succeeded")
    found = proof(cluster)
    # Nobody runs pods here, so the proof waits until its time is over.
    assert (found["broken_link"], found["ready"]) == ("pod", False)
    assert [verb for verb, _ref in cluster.log if verb in ("create", "delete")] == ["create", "delete"]
    assert not [ref for ref in cluster.objects if ref.name.startswith("gpu-proof-")]


def test_a_cluster_without_the_node_or_without_an_answer_is_a_broken_link(cluster: FakeCluster) -> None:
    found = proof(cluster, node="w9")
    assert (found["name"], found["broken_link"]) == ("gpu w9", "node")
    assert "this cluster has no node w9" in found["reason"]

    def fail(verb: str, ref: Any) -> None:
        if isinstance(ref, Ref) and ref.kind == "RuntimeClass":
            raise ClusterError("get RuntimeClass nvidia: forbidden")

    cluster.fail = fail
    assert proof(cluster)["reason"] == "cluster: get RuntimeClass nvidia: forbidden"


def test_a_look_ahead_runs_no_pod(cluster: FakeCluster) -> None:
    assert proof(cluster, check=True)["ready"]
    assert not [verb for verb, _ref in cluster.log if verb == "create"]
