# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What real controllers, schedulers and kubelets say of things that are wrong, and how k8s_readiness_info puts it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, outcome
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_readiness_info import run

# Ten kinds of failure at once take minutes on a slow machine.
pytestmark = pytest.mark.long

IMAGE = "docker.io/library/busybox:stable"  # on every node of the lab


def told(kubeconfig: str, *objects: dict[str, Any]) -> list[dict[str, Any]]:
    named = [
        {"api_version": item["apiVersion"], "kind": item["kind"], "namespace": item["metadata"].get("namespace", ""), "name": item["metadata"]["name"]}
        for item in objects
    ]
    result = outcome(run, Call({"kubeconfig": kubeconfig, "objects": named, "sets": []}))
    assert not result.get("failed"), result
    return list(result["objects"])


def until(look: Callable[[], dict[str, Any]], state: str, *words: str, seconds: float = 240) -> dict[str, Any]:
    end, last = time.monotonic() + seconds, {}
    while time.monotonic() < end:
        last = look()
        if last["state"] == state and all(word in last["reason"] for word in words):
            return last
        time.sleep(1)
    raise AssertionError(f"not {state} with {words} in {seconds:.0f} s; last: {last}")


def pod(command: list[str] | None = None, image: str = IMAGE, container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": command or ["sleep", "600"], **(container or {})}],
        **spec,
    }


def deployment(namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


WRONG: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "image": (pod(image="registry.lab:5000/nothing:0"), "failed", ("ImagePullBackOff", "registry.lab:5000/nothing:0")),
    "secret": (
        pod(container={"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "k"}}}]}),
        "failed",
        ("CreateContainerConfigError", '"gone" not found'),
    ),
    "mount": (
        pod(container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, volumes=[{"name": "v", "secret": {"secretName": "gone"}}]),
        "failed",
        ("a volume cannot be mounted", '"gone" not found'),
    ),
    "crash": (pod(["sh", "-c", "echo no database; exit 3"]), "failed", ("keeps crashing", "exit code 3")),
    "memory": (
        pod(["sh", "-c", "tail /dev/zero"], container={"resources": {"limits": {"memory": "16Mi"}}}),
        "failed",
        ("OOMKilled, the memory limit 16Mi was reached",),
    ),
    "program": (pod(["/no/such/program"]), "failed", ("/no/such/program",)),
    "node": (pod(nodeSelector={"no": "where"}), "failed", ("no node can take it", "node affinity/selector")),
    "probe": (
        pod(container={"readinessProbe": {"exec": {"command": ["sh", "-c", "exit 1"]}, "periodSeconds": 1}}),
        "progressing",
        ("is running but not ready", "Readiness probe failed"),
    ),
    "sysctl": (pod(securityContext={"sysctls": [{"name": "net.ipv4.tcp_tw_reuse", "value": "1"}]}), "failed", ("net.ipv4.tcp_tw_reuse", "kubelet_sysctls")),
    "well": (pod(), "ready", ("1/1 available",)),
}


def test_every_way_to_be_wrong_has_its_words(kubeconfig: str, admin: Any, namespace: str) -> None:
    """All at once, since the kubelets work side by side."""
    made = {name: deployment(namespace, name, spec) for name, (spec, _unused, _more) in WRONG.items()}
    for item in made.values():
        admin.create(item, "test")
    failures = []
    for name, (_unused, state, words) in WRONG.items():
        try:
            found = until(lambda name=name: told(kubeconfig, made[name])[0], state, *words)
        except AssertionError as error:
            failures.append(f"{name}: {error}")
            continue
        if name == "crash":
            assert any("no database" in line for line in found["lines"]), found
    assert not failures, "\n".join(failures)


def test_a_job_claims_and_a_stateful_set(kubeconfig: str, admin: Any, namespace: str) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "boom", "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": {"spec": pod(["sh", "-c", "echo bad input >&2; exit 4"], restartPolicy="Never")}},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "nowhere", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "no-such-class", "resources": {"requests": {"storage": "1Gi"}}},
    }
    waiting = {**claim, "metadata": {"name": "waiting", "namespace": namespace}, "spec": {**claim["spec"], "storageClassName": "local-path"}}
    labels = {"app": "set"}
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "set", "namespace": namespace},
        "spec": {
            "serviceName": "set",
            "replicas": 1,
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod()},
        },
    }
    for item in (job, claim, waiting, stateful):
        admin.create(item, "test")
    ended = until(lambda: told(kubeconfig, job)[0], "failed", "BackoffLimitExceeded", "exit code 4")
    assert any("bad input" in line for line in ended["lines"])
    until(lambda: told(kubeconfig, claim)[0], "failed", "cannot bind", "no-such-class")
    until(lambda: told(kubeconfig, waiting)[0], "ready", "first pod")
    until(lambda: told(kubeconfig, stateful)[0], "ready", "1/1 ready")
    stateful["spec"]["template"]["metadata"]["annotations"] = {"new": "template"}
    admin.apply(stateful, "test", force=True)
    until(lambda: told(kubeconfig, stateful)[0], "ready", "1 on the old template until deleted (OnDelete)")


@pytest.mark.parametrize(("kind", "state"), [("ConfigMap", "absent"), ("Secret", "absent")])
def test_what_is_not_there_is_no_failure(kubeconfig: str, namespace: str, kind: str, state: str) -> None:
    item = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "none", "namespace": namespace}}
    assert told(kubeconfig, item)[0]["state"] == state
