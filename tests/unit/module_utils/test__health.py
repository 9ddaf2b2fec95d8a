# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verdict on every kind, as a table: what is live, the state, and words that the reason must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _health as health

KINDS = {kind: f"{group}/v1" if group else "v1" for group, kind in health.TABLE}


def live(kind: str, status: dict[str, Any] | None = None, generation: int = 2, meta: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An object as the server stores it, its controller having seen generation 2."""
    found: dict[str, Any] = {
        "apiVersion": KINDS.get(kind, "example.com/v1"),
        "kind": kind,
        "metadata": {"name": "x", "uid": f"uid-{kind}", "generation": generation, **(meta or {})},
        "spec": spec,
    }
    if status is not None:
        found["status"] = status
    return found


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def deployment(replicas: int = 2, updated: int = 2, available: int = 2, total: int = 2, *conditions: dict[str, str], **spec: Any) -> dict[str, Any]:
    status = {"observedGeneration": 2, "replicas": total, "updatedReplicas": updated, "availableReplicas": available, "conditions": list(conditions)}
    return live("Deployment", status, replicas=replicas, **spec)


def stateful_set(ready: int = 3, updated: int = 3, current: str = "b", strategy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    status = {"observedGeneration": 2, "replicas": 3, "readyReplicas": ready, "updatedReplicas": updated, "currentRevision": current, "updateRevision": "b"}
    return live("StatefulSet", {**status, **more.pop("status", {})}, replicas=3, updateStrategy=strategy or {"type": "RollingUpdate"}, **more)


def daemon_set(want: int, available: int, updated: int, strategy: str = "RollingUpdate") -> dict[str, Any]:
    status = {"observedGeneration": 2, "desiredNumberScheduled": want, "numberAvailable": available, "updatedNumberScheduled": updated}
    return live("DaemonSet", status, updateStrategy={"type": strategy})


def pod(
    *containers: dict[str, Any], phase: str = "Pending", name: str = "x-0", init: list[dict[str, Any]] | None = None,
    conditions: list[dict[str, str]] | None = None, meta: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **status: Any,
) -> dict[str, Any]:  # fmt: skip
    found = {"phase": phase, "containerStatuses": list(containers), "conditions": conditions or [condition("PodScheduled")], **status}
    if init:
        found["initContainerStatuses"] = init
    return live("Pod", found, meta={"name": name, "uid": f"uid-{name}", **(meta or {})}, **(spec or {}))


def waits(reason: str, message: str = "", restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "name": "main", "image": "r/i:1", "restartCount": restarts, "ready": False,
        "state": {"waiting": {"reason": reason, "message": message}}, "lastState": {"terminated": last} if last else {},
    }  # fmt: skip


def runs(ready: bool = True, restarts: int = 0, started: bool = True, last: dict[str, Any] | None = None, name: str = "main") -> dict[str, Any]:
    return {
        "name": name,
        "restartCount": restarts,
        "ready": ready,
        "started": started,
        "state": {"running": {}},
        "lastState": {"terminated": last} if last else {},
    }


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"name": "main", "restartCount": 0, "ready": False, "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}


def event(of: dict[str, Any], reason: str, message: str, kind: str = "Warning", at: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {"involvedObject": {"uid": of["metadata"]["uid"]}, "reason": reason, "message": message, "type": kind, "lastTimestamp": at}


OOM = {"exitCode": 137, "reason": "OOMKilled"}
LIMITED = {"containers": [{"name": "main", "resources": {"limits": {"memory": "64Mi"}}}]}
READY_CONDITIONS = [condition("PodScheduled"), condition("Ready")]
PAUSED_DEADLINE = condition("Progressing", "False", "ProgressDeadlineExceeded", "ReplicaSet x-1 has timed out progressing.")

CASES: list[tuple[str, dict[str, Any] | None, str, str]] = [
    ("nothing", None, "absent", "not there"),
    # Deployment
    ("deployment ready", deployment(), "ready", "2/2 available"),
    ("deployment not yet seen", live("Deployment", {"observedGeneration": 1}, replicas=1), "progressing", "has not seen"),
    ("deployment without a status", live("Deployment", replicas=1), "progressing", "has not seen"),
    ("deployment updating", deployment(updated=1), "progressing", "1/2 updated"),
    ("deployment with old pods", deployment(total=3), "progressing", "1 old still running"),
    ("deployment not available", deployment(available=1), "progressing", "1/2 available"),
    ("deployment past its deadline", deployment(2, 1, 1, 2, PAUSED_DEADLINE), "failed", "timed out progressing"),
    ("deployment over quota", deployment(2, 1, 1, 1, condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota")), "failed", "exceeded quota"),
    ("deployment paused and done", deployment(paused=True), "ready", "2/2"),
    ("deployment paused half way", deployment(updated=1, paused=True), "failed", "paused"),
    ("deployment scaled to nothing", deployment(0, 0, 0, 0), "ready", "0/0"),
    ("deployment without replicas", live("Deployment", {"observedGeneration": 2}), "progressing", "0/1 updated"),
    # StatefulSet
    ("stateful set ready", stateful_set(), "ready", "3/3 ready"),
    ("stateful set of one by default", live("StatefulSet", {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1}), "ready", "1/1 ready"),
    ("stateful set with one too many", stateful_set(status={"replicas": 4}), "progressing", "1 too many"),
    ("stateful set not ready", stateful_set(ready=2), "progressing", "2/3 ready"),
    ("stateful set updating", stateful_set(updated=1, current="a"), "progressing", "1/3 updated"),
    ("stateful set concluding", stateful_set(current="a"), "progressing", "concluded"),
    ("stateful set not yet seen", stateful_set(status={"observedGeneration": 1}), "progressing", "has not seen"),
    (
        "stateful set with partition",
        stateful_set(updated=1, current="a", strategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}),
        "ready",
        "partition",
    ),
    (
        "stateful set below its partition",
        stateful_set(updated=0, current="a", strategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}),
        "progressing",
        "0/1",
    ),
    ("stateful set OnDelete, old pods", stateful_set(updated=1, current="a", strategy={"type": "OnDelete"}), "ready", "2 on the old template"),
    ("stateful set OnDelete, all new", stateful_set(strategy={"type": "OnDelete"}), "ready", "3/3 ready"),
    ("stateful set OnDelete, not ready", stateful_set(ready=1, updated=0, current="a", strategy={"type": "OnDelete"}), "progressing", "1/3"),
    ("stateful set with minReadySeconds", stateful_set(minReadySeconds=9, status={"availableReplicas": 1}), "progressing", "1/3"),
    ("stateful set shrinking", stateful_set(status={"replicas": 5}), "progressing", "2 too many"),
    # DaemonSet
    ("daemon set ready", daemon_set(3, 3, 3), "ready", "3/3"),
    ("daemon set on no node", daemon_set(0, 0, 0), "ready", "no node"),
    ("daemon set updating", daemon_set(3, 3, 1), "progressing", "1/3 updated"),
    ("daemon set not available", daemon_set(3, 2, 3), "progressing", "2/3"),
    ("daemon set OnDelete", daemon_set(3, 3, 1, "OnDelete"), "ready", "2 on the old template"),
    # ReplicaSet
    ("replica set ready", live("ReplicaSet", {"observedGeneration": 2, "replicas": 1, "availableReplicas": 1}, replicas=1), "ready", "1/1"),
    ("replica set filling", live("ReplicaSet", {"observedGeneration": 2, "replicas": 1}, replicas=1), "progressing", "0/1"),
    ("replica set shrinking", live("ReplicaSet", {"observedGeneration": 2, "replicas": 3, "availableReplicas": 3}, replicas=1), "progressing", "2 too many"),
    (
        "replica set refused",
        live("ReplicaSet", {"observedGeneration": 2, "conditions": [condition("ReplicaFailure", "True", "FailedCreate", "violates PodSecurity")]}, replicas=1),
        "failed",
        "violates PodSecurity",
    ),
    # Job and CronJob
    ("job complete", live("Job", {"succeeded": 1, "conditions": [condition("Complete")]}, completions=1), "ready", "completed"),
    ("job running", live("Job", {"active": 1, "failed": 2}, completions=1), "progressing", "0/1 succeeded, 1 active, 2 failed"),
    ("job just made", live("Job", {}, completions=1), "progressing", "0/1 succeeded"),
    (
        "job out of attempts",
        live("Job", {"failed": 7, "conditions": [condition("Failed", "True", "BackoffLimitExceeded", "has reached it")]}),
        "failed",
        "BackoffLimit",
    ),
    ("job about to fail", live("Job", {"conditions": [condition("FailureTarget", "True", "PodFailurePolicy", "exit 3")]}), "failed", "exit 3"),
    (
        "job past its deadline",
        live("Job", {"conditions": [condition("Failed", "True", "DeadlineExceeded", "was active too long")]}),
        "failed",
        "DeadlineExceeded",
    ),
    ("job suspended", live("Job", {"conditions": [condition("Suspended")]}, suspend=True), "progressing", "suspended"),
    ("cron job", live("CronJob", {"lastSuccessfulTime": "2026-01-01T00:00:00Z"}), "ready", "2026-01-01"),
    ("cron job suspended", live("CronJob", {}, suspend=True), "ready", "suspended"),
    # Pod
    ("pod ready", pod(runs(), phase="Running", conditions=READY_CONDITIONS), "ready", "ready"),
    ("pod ready after restarts", pod(runs(restarts=3), phase="Running", conditions=READY_CONDITIONS), "ready", "restarted 3 times"),
    ("pod completed", pod(ended(0, "Completed"), phase="Succeeded"), "ready", "completed"),
    ("pod at the scheduler", pod(conditions=[condition("Other")]), "progressing", "scheduler"),
    ("pod at the kubelet", pod(), "progressing", "kubelet"),
    ("pod gated", pod(conditions=[condition("PodScheduled", "False", "SchedulingGated", "")]), "progressing", "gate"),
    ("pod nowhere", pod(conditions=[condition("PodScheduled", "False", "Unschedulable", "0/3 nodes are available")]), "failed", "0/3 nodes are available"),
    ("pod creating", pod(waits("ContainerCreating")), "progressing", "being created"),
    ("pod pulling badly, first time", pod(waits("ErrImagePull", "401 Unauthorized")), "progressing", "401 Unauthorized"),
    ("pod pulling badly, again", pod(waits("ImagePullBackOff", "Back-off pulling image r/i:1")), "failed", "cannot pull its image"),
    ("pod with a bad image name", pod(waits("InvalidImageName")), "failed", "not valid"),
    ("pod that may never pull", pod(waits("ErrImageNeverPull")), "failed", "Never"),
    ("pod without its Secret", pod(waits("CreateContainerConfigError", 'secret "s" not found')), "failed", 'secret "s" not found'),
    ("pod without a program", pod(waits("RunContainerError", "exec: no such file")), "failed", "no such file"),
    (
        "pod crashing",
        pod(waits("CrashLoopBackOff", restarts=2, last={"exitCode": 3, "reason": "Error", "message": "no database"})),
        "failed",
        "exit code 3: no database",
    ),
    ("pod out of memory", pod(waits("CrashLoopBackOff", restarts=2, last=OOM), spec=LIMITED), "failed", "memory limit 64Mi"),
    ("pod restarted", pod(runs(False, 1, last=OOM), phase="Running", spec=LIMITED), "progressing", "restarted 1 times after OOMKilled"),
    ("pod starting", pod(runs(False, started=False), phase="Running"), "progressing", "is starting"),
    ("pod behind its init", pod(waits("PodInitializing"), init=[runs(False, name="init")]), "progressing", "init container init is running"),
    ("pod after its init", pod(waits("PodInitializing")), "progressing", "container main is being created"),
    (
        "pod whose init crashes",
        pod(waits("PodInitializing"), init=[waits("CrashLoopBackOff", restarts=9, last={"exitCode": 1})]),
        "failed",
        "init container main keeps crashing",
    ),
    (
        "pod with a sidecar",
        pod(
            runs(),
            phase="Running",
            init=[runs(name="side")],
            conditions=READY_CONDITIONS,
            spec={"initContainers": [{"name": "side", "restartPolicy": "Always"}]},
        ),
        "ready",
        "ready",
    ),
    ("pod refused for a sysctl", pod(phase="Failed", reason="SysctlForbidden", message='"net.core.somaxconn" not allowlisted'), "failed", "kubelet_sysctls"),
    ("pod evicted", pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."), "failed", "low on resource"),
    ("pod that failed", pod(ended(2, message="boom"), phase="Failed"), "failed", "exit code 2: boom"),
    ("pod killed for memory", pod(ended(137, "OOMKilled"), phase="Failed", spec=LIMITED), "failed", "memory limit 64Mi"),
    ("pod failed silently", pod(phase="Failed"), "failed", "without a reason"),
    (
        "pod at its end",
        pod(ended(0, "Completed"), phase="Running", conditions=[condition("PodScheduled"), condition("Ready", "False", "PodCompleted")]),
        "progressing",
        "has ended",
    ),
    (
        "pod behind a readiness gate",
        pod(runs(), phase="Running", conditions=[condition("PodScheduled"), condition("Ready", "False", "ReadinessGatesNotReady", "gate x")]),
        "progressing",
        "gate x",
    ),
    # Storage
    ("claim bound", live("PersistentVolumeClaim", {"phase": "Bound", "capacity": {"storage": "5Gi"}}, volumeName="pv"), "ready", "bound to pv, 5Gi"),
    ("claim lost", live("PersistentVolumeClaim", {"phase": "Lost"}, volumeName="pv"), "failed", "pv is gone"),
    ("claim by hand", live("PersistentVolumeClaim", {"phase": "Pending"}, storageClassName=""), "progressing", "made by hand"),
    ("claim of a class", live("PersistentVolumeClaim", {"phase": "Pending"}, storageClassName="fast"), "progressing", "class fast"),
    ("claim of no class", live("PersistentVolumeClaim", {"phase": "Pending"}), "progressing", "no default one"),
    ("claim of a volume", live("PersistentVolumeClaim", {"phase": "Pending"}, volumeName="pv"), "progressing", "waits for volume pv"),
    ("claim growing", live("PersistentVolumeClaim", {"phase": "Bound", "conditions": [condition("FileSystemResizePending")]}), "progressing", "resized"),
    (
        "claim not growing",
        live("PersistentVolumeClaim", {"phase": "Bound", "conditions": [condition("NodeResizeError", "True", "", "no space")]}),
        "failed",
        "no space",
    ),
    ("volume available", live("PersistentVolume", {"phase": "Available"}), "ready", "available"),
    ("volume bound", live("PersistentVolume", {"phase": "Bound"}, claimRef={"namespace": "n", "name": "c"}), "ready", "n/c"),
    ("volume released", live("PersistentVolume", {"phase": "Released"}, claimRef={"namespace": "n", "name": "c"}), "failed", "n/c was deleted"),
    ("volume failed", live("PersistentVolume", {"phase": "Failed", "message": "cannot delete"}), "failed", "cannot delete"),
    ("volume new", live("PersistentVolume", {}), "progressing", "set up"),
    # Network
    ("service", live("Service", {"loadBalancer": {}}, type="ClusterIP", clusterIP="10.0.0.1"), "ready", "ClusterIP 10.0.0.1"),
    ("load balancer with an address", live("Service", {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, type="LoadBalancer"), "ready", "192.0.2.1"),
    ("load balancer without", live("Service", {"loadBalancer": {}}, type="LoadBalancer"), "progressing", "no load balancer"),
    ("ingress with an address", live("Ingress", {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}), "ready", "lb.example.com"),
    ("ingress without", live("Ingress", {"loadBalancer": {}}, ingressClassName="nginx"), "progressing", "class nginx"),
    ("ingress judged by existence", live("Ingress", {"loadBalancer": {}}, meta={"annotations": {health.HEALTH_ANNOTATION: "exists"}}), "ready", "exists"),
    # Cluster
    ("namespace", live("Namespace", {"phase": "Active"}), "ready", "active"),
    (
        "namespace going",
        live(
            "Namespace",
            {"phase": "Terminating", "conditions": [condition("NamespaceContentRemaining", "True", "", "pods. has 2 instances")]},
            meta={"deletionTimestamp": "t"},
        ),
        "progressing",
        "pods. has 2 instances",
    ),
    ("definition served", live("CustomResourceDefinition", {"conditions": [condition("NamesAccepted"), condition("Established")]}), "ready", "established"),
    ("definition new", live("CustomResourceDefinition", {}), "progressing", "not served yet"),
    (
        "definition whose names are taken",
        live("CustomResourceDefinition", {"conditions": [condition("NamesAccepted", "False", "NameConflict", "taken")]}),
        "failed",
        "taken",
    ),
    ("api service", live("APIService", {"conditions": [condition("Available", "True", "Passed", "all checks passed")]}), "ready", "passed"),
    (
        "api service without endpoints",
        live("APIService", {"conditions": [condition("Available", "False", "MissingEndpoints", "no endpoints")]}),
        "progressing",
        "no endpoints",
    ),
    (
        "budget",
        live("PodDisruptionBudget", {"observedGeneration": 2, "currentHealthy": 2, "desiredHealthy": 2, "disruptionsAllowed": 0}),
        "ready",
        "2 healthy, 2 needed, 0 may be taken away",
    ),
    ("budget without a controller", live("PodDisruptionBudget", {}), "progressing", "has not seen"),
    (
        "budget that cannot count",
        live("PodDisruptionBudget", {"conditions": [condition("DisruptionAllowed", "False", "SyncFailed", "no scale")]}),
        "failed",
        "no scale",
    ),
    ("node", live("Node", {"conditions": [condition("Ready")]}), "ready", "ready"),
    (
        "node cordoned, full",
        live("Node", {"conditions": [condition("Ready"), condition("DiskPressure")]}, unschedulable=True),
        "ready",
        "cordoned, DiskPressure",
    ),
    (
        "node not ready",
        live("Node", {"conditions": [condition("Ready", "False", "KubeletNotReady", "cni plugin not initialized")]}),
        "progressing",
        "cni plugin",
    ),
    (
        "node silent",
        live("Node", {"conditions": [condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")]}),
        "failed",
        "stopped posting",
    ),
    ("node new", live("Node", {}), "progressing", "not reported"),
    (
        "node without a network",
        live("Node", {"conditions": [condition("Ready"), condition("NetworkUnavailable", "True", "NoRoute", "no route")]}),
        "progressing",
        "no route",
    ),
    # Any other
    ("config", live("ConfigMap"), "ready", "exists"),
    ("custom ready", live("Thing", {"observedGeneration": 2, "conditions": [condition("Ready", "True", "Up", "all good")]}), "ready", "Up: all good"),
    ("custom ready, but of yesterday", live("Thing", {"observedGeneration": 1, "conditions": [condition("Ready")]}), "progressing", "has not seen"),
    ("custom not ready", live("Thing", {"conditions": [condition("Ready", "False", "Wait", "for x")]}), "progressing", "Wait: for x"),
    ("custom available", live("Thing", {"conditions": [condition("Available")]}), "ready", "available"),
    ("custom stalled", live("Thing", {"conditions": [condition("Ready", "False"), condition("Stalled", "True", "BadSpec", "no")]}), "failed", "BadSpec"),
    ("custom in a failed phase", live("Thing", {"phase": "Failed", "message": "why"}), "failed", "phase Failed: why"),
    ("custom in a first phase", live("Thing", {"state": "Creating"}), "progressing", "Creating"),
    ("custom in some phase", live("Thing", {"phase": "Lively"}), "ready", "Lively"),
    ("a status without meaning", live("ResourceQuota", {"used": {}, "hard": {}}), "ready", "exists"),
    ("a Deployment of another group", {**live("Deployment"), "apiVersion": "example.com/v1"}, "ready", "exists"),
    ("anything that is being deleted", deployment() | {"metadata": {"deletionTimestamp": "t", "finalizers": ["a/b"]}}, "progressing", "held by a/b"),
]


@pytest.mark.parametrize(("found", "state", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_verdict(found: dict[str, Any] | None, state: str, words: str) -> None:
    verdict = health.judge(found)
    assert verdict.state == state, verdict
    assert words in verdict.reason


def test_every_kind_of_the_table_is_judged_ready_once_and_otherwise_once() -> None:
    seen = {(found["kind"], state == "ready") for _unused, found, state, _unused in CASES if found}
    assert not [kind for _unused, kind in health.TABLE if (kind, True) not in seen]
    never_unready = {"CronJob"}
    assert not [kind for _unused, kind in health.TABLE if (kind, False) not in seen and kind not in never_unready]


@pytest.mark.parametrize(("restarts", "grace"), [(1, health.GRACE_CRASH), (health.MANY_RESTARTS, 0.0)])
def test_a_first_crash_has_patience_and_the_fifth_has_none(restarts: int, grace: float) -> None:
    assert health.judge(pod(waits("CrashLoopBackOff", restarts=restarts, last=OOM))).grace == grace


# ---- with pods and events ---------------------------------------------------------------------------------------------------------

SET = stateful_set(ready=2)


def of(
    owner: dict[str, Any], *containers: dict[str, Any], name: str = "x-0", made: str = "2026-01-01T00:00:00Z", hash_: str = "h", **more: Any
) -> dict[str, Any]:
    """A pod of this workload (a Deployment's by way of its ReplicaSet)."""
    reference = (
        {"kind": "ReplicaSet", "name": "x-h", "uid": "rs"} if owner["kind"] == "Deployment" else {"kind": owner["kind"], "uid": owner["metadata"]["uid"]}
    )
    meta = {"ownerReferences": [reference], "creationTimestamp": made, "labels": {"app": "x", "pod-template-hash": hash_}}
    return pod(*containers, name=name, meta=meta, **more)


def test_the_reason_names_the_pod_that_is_waited_for_and_what_it_does() -> None:
    child = of(SET, waits("ContainerCreating"))
    told = [
        event(child, "Scheduled", "ok", "Normal", "2026-01-01T00:00:00Z"),
        event(child, "Pulling", 'Pulling image "r/i:1"', "Normal", "2026-01-01T00:00:01Z"),
    ]
    verdict = health.explain(SET, [child], told)
    assert (verdict.state, verdict.reason) == ("progressing", '2/3 ready, waiting for x-0 (pulling image "r/i:1")')


def test_more_than_one_pod_is_counted() -> None:
    children = [of(SET, waits("ContainerCreating"), name=f"x-{n}") for n in range(3)]
    assert health.explain(SET, children).reason.endswith("and 2 more")


def test_a_pod_in_a_terminal_state_makes_its_workload_failed() -> None:
    verdict = health.explain(SET, [of(SET, waits("ImagePullBackOff", "no such tag"))])
    assert (verdict.state, verdict.grace) == ("failed", health.GRACE_RETRY)
    assert verdict.reason == "2/3 ready; x-0: container main cannot pull its image (ImagePullBackOff): no such tag"


def test_pods_of_others_do_not_matter() -> None:
    stranger = of(SET, waits("InvalidImageName"))
    stranger["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert health.explain(SET, [stranger]) == health.judge(SET)


def test_a_ready_workload_is_ready_whatever_its_pods_say() -> None:
    assert health.explain(stateful_set(), [of(SET, waits("InvalidImageName"))]).state == "ready"


def test_failures_of_pods_that_a_rollout_replaces_do_not_matter() -> None:
    rolling = deployment(updated=1, available=0, selector={"matchLabels": {"app": "x"}})
    old = of(rolling, waits("InvalidImageName"), name="old", hash_="a")
    new = of(rolling, waits("ContainerCreating"), name="new", hash_="b", made="2026-01-02T00:00:00Z")
    assert health.explain(rolling, [old, new]).state == "progressing"
    assert health.explain(rolling, [old]).state == "failed"


def test_a_deployment_owns_by_replica_set_and_selector() -> None:
    owner = deployment(selector={"matchLabels": {"app": "x"}})
    child = of(owner, runs())
    assert health.owns(owner, child)
    child["metadata"]["labels"]["app"] = "y"
    assert not health.owns(owner, child)


def test_a_deadline_is_over_at_once_even_where_the_pod_could_still_recover() -> None:
    late = deployment(2, 1, 1, 2, PAUSED_DEADLINE, selector={"matchLabels": {"app": "x"}})
    verdict = health.explain(late, [of(late, waits("CrashLoopBackOff", restarts=1, last=OOM))])
    assert (verdict.state, verdict.grace) == ("failed", 0.0)
    assert "timed out" in verdict.reason and "OOMKilled" in verdict.reason


def test_pods_that_cannot_be_made_at_all_are_explained_by_the_event() -> None:
    verdict = health.explain(SET, [], [event(SET, "FailedCreate", "create Pod x-0 failed: exceeded quota: q")])
    assert verdict.state == "failed" and "exceeded quota" in verdict.reason


def test_a_volume_that_cannot_be_mounted_is_a_failure_with_patience() -> None:
    child = of(SET, waits("ContainerCreating"))
    verdict = health.explain(SET, [child], [event(child, "FailedMount", 'secret "s" not found')])
    assert (verdict.state, verdict.grace) == ("failed", health.GRACE_PLACE)


def test_an_event_that_is_no_longer_the_last_is_history() -> None:
    child = of(SET, waits("ContainerCreating"))
    told = [event(child, "FailedMount", "no", at="2026-01-01T00:00:00Z"), event(child, "Pulled", "done", "Normal", "2026-01-01T00:00:09Z")]
    assert health.explain(SET, [child], told).state == "progressing"


def test_a_failing_probe_is_told_for_the_container_that_is_waited_for() -> None:
    child = of(SET, runs(False, name="ui"), runs(False, name="api"), phase="Running")

    def probe(container: str, at: str) -> dict[str, Any]:
        told = event(child, "Unhealthy", f"probe of {container} failed", at=at)
        told["involvedObject"]["fieldPath"] = f"spec.containers{{{container}}}"
        return told

    verdict = health.explain(SET, [child], [probe("ui", "2026-01-01T00:00:00Z"), probe("api", "2026-01-01T00:00:01Z")])
    assert verdict.reason.endswith("waiting for x-0 (container ui is running but not ready: probe of ui failed)")


JOB = live("Job", {"active": 1}, completions=1)


@pytest.mark.parametrize(
    ("child", "state", "words"),
    [
        (of(JOB, waits("ImagePullBackOff", "401")), "failed", "401"),
        (of(JOB, waits("CrashLoopBackOff", restarts=9, last={"exitCode": 1})), "progressing", "keeps crashing"),
        (of(JOB, ended(1, message="boom"), phase="Failed"), "progressing", "0/1 succeeded"),
    ],
    ids=["never starts", "crashes within its attempts", "one attempt failed"],
)
def test_a_job_counts_its_own_attempts(child: dict[str, Any], state: str, words: str) -> None:
    verdict = health.explain(JOB, [child])
    assert verdict.state == state and words in verdict.reason


def test_a_failed_job_shows_how_its_last_pod_ended() -> None:
    failed = live("Job", {"conditions": [condition("Failed", "True", "BackoffLimitExceeded", "limit")]})
    assert "x-0: container main ended with exit code 1: boom" in health.explain(failed, [of(failed, ended(1, message="boom"), phase="Failed")]).reason


CLAIM = live("PersistentVolumeClaim", {"phase": "Pending"}, storageClassName="local")


@pytest.mark.parametrize(
    ("reason", "state"),
    [("WaitForFirstConsumer", "ready"), ("ProvisioningFailed", "failed"), ("FailedBinding", "failed"), ("Provisioning", "progressing")],
)
def test_only_the_event_tells_why_a_claim_is_pending(reason: str, state: str) -> None:
    verdict = health.explain(CLAIM, events=[event(CLAIM, reason, "words of the controller")])
    assert verdict.state == state


def test_a_load_balancer_says_what_its_controller_said() -> None:
    service = live("Service", {"loadBalancer": {}}, type="LoadBalancer")
    assert "no available IPs" in health.explain(service, events=[event(service, "AllocationFailed", "no available IPs")]).reason


# ---- words ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines\tand  blanks", "two lines and blanks"),
        ("\x1b[31mred\x1b[0m \x07bell", "red bell"),
        ("dial postgresql+psycopg2://mlflow:s3cret@db:5432/x failed", "dial postgresql+psycopg2://***@db:5432/x failed"),
        ("dial postgresql://mlflow:s3@cret@db:5432/x for a@b", "dial postgresql://***@db:5432/x for a@b"),
        (None, ""),
    ],
)
def test_foreign_text_is_made_harmless(text: str | None, expected: str) -> None:
    assert health.clean(text) == expected


def test_foreign_text_is_not_repeated_at_length() -> None:
    assert len(health.clean("x" * 10_000)) == 400


ODD = [None, True, 7, "text", [], ["text"], [None], [{}], {}, {"a": 1}, [{"type": "Ready"}], [{"type": "Ready", "status": None, "message": 3}]]
ODD += [[{"type": kind, "status": status}] for kind in ("Ready", "Available", "Stalled") for status in (True, False, 0, {}, ["True"])]


@pytest.mark.parametrize("field", ["conditions", "phase", "state", "message", "observedGeneration"])
def test_a_custom_resource_may_have_any_status(field: str) -> None:
    for odd in ODD:
        assert health.judge(live("Thing", {field: odd, "phase": "Failed"} if field != "phase" else {field: odd})).state in ("ready", "progressing", "failed")


def test_the_documented_table_is_the_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "health.md").read_text(encoding="utf-8")
    rows = [f"| {kind} | {ready} | {failed} |" for kind, ready, failed in health.documented()]
    table = page.partition("|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert table == rows, "docs/health.md is behind the docstrings of _health.py; its table must be:\n" + "\n".join(rows)


def test_the_documented_patience_is_the_code() -> None:
    page = (Path(__file__).parents[3] / "docs" / "health.md").read_text(encoding="utf-8")
    table = page.partition("| failure | seconds |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert [row.rsplit("|", 2)[1].strip() for row in table] == [f"{grace:.0f}" for grace in (health.GRACE_RETRY, health.GRACE_CRASH, health.GRACE_PLACE, 0)]
    assert f"fewer than {health.MANY_RESTARTS} restarts" in table[1]
