# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What state a live object is in, and why, in words that a person understands.

`judge` looks at one object by itself; `explain` also at its pods and at the events about them. Both are pure: no clock, no network.
The rules follow `kubectl rollout status` and the conditions that each controller documents. `TABLE` is the whole list; the docstring of each
rule is its line in docs/health.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ._model import ABSENT, FAILED, PROGRESSING, READY, Verdict

Live = Mapping[str, Any]

#: An object with this annotation set to "exists" is ready as soon as it is there
#: (an Ingress whose controller publishes no address, a custom resource whose status says nothing).
HEALTH_ANNOTATION = "slipway.mlops/health"

# Seconds that a failure must last before it counts: long enough for what cures itself.
GRACE_RETRY = 20.0  # image pulls, missing Secrets and ConfigMaps: the kubelet tries again, another object may still come
GRACE_CRASH = 30.0  # the third restart is 30 s after the first; a database may be that late
GRACE_PLACE = 45.0  # no node, no volume: the old pod may still hold the claim, a provisioner may still start
MANY_RESTARTS = 5  # a container that crashed this often is not merely early

_LINE = 400  # characters of a foreign message that we repeat


def judge(live: Live | None) -> Verdict:
    """The state of one object, from that object alone. None means that it is not there."""
    if live is None:
        return Verdict(ABSENT, "is not there")
    meta = live.get("metadata") or {}
    if meta.get("deletionTimestamp"):
        return _going(live)
    if (meta.get("annotations") or {}).get(HEALTH_ANNOTATION) == "exists":
        return Verdict(READY, "exists")
    return TABLE.get((_group(live), live.get("kind", "")), _other)(live)


def ended(at: str) -> Verdict:
    """A Job that ran to its end and is gone since (its TTL), as the record of its set remembers it."""
    return Verdict(READY, f"ran to its end at {at}" if at else "ran to its end before")


def explain(live: Live | None, pods: Iterable[Live] = (), events: Iterable[Live] = ()) -> Verdict:
    """`judge`, sharpened by what only the pods and the events know.

    `pods` and `events` may hold all of the namespace; those of others are left out here. A pod in a terminal state makes its
    workload failed; otherwise the reason names the pods that are waited for.
    """
    verdict = judge(live)
    if live is None or verdict.state in (READY, ABSENT):
        return verdict
    told = _by_object(events)
    own = told.get(_uid(live), ())
    kind = live.get("kind")
    if kind == "Pod":
        return _pod_with_events(verdict, own)
    if kind == "PersistentVolumeClaim":
        return _claim_with_events(verdict, own)
    if kind in WORKLOADS:
        return _workload_with_pods(live, verdict, [pod for pod in pods if owns(live, pod)], told)
    if verdict.state == PROGRESSING and own and own[-1].get("type") == "Warning":
        return Verdict(PROGRESSING, f"{verdict.reason}; {_event(own[-1])}")
    return verdict


#: Kinds whose verdict `explain` sharpens with the pods of the namespace.
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"})


def owns(workload: Live, pod: Live) -> bool:
    """Whether this pod is one of the workload's. A Deployment's pods belong to its ReplicaSets: there the selector decides, too."""
    owners = (pod.get("metadata") or {}).get("ownerReferences") or []
    if workload.get("kind") != "Deployment":
        return any(owner.get("uid") == _uid(workload) for owner in owners)
    name = _name(workload)
    by_set = any(owner.get("kind") == "ReplicaSet" and str(owner.get("name", "")).startswith(f"{name}-") for owner in owners)
    wanted = ((_spec(workload).get("selector") or {}).get("matchLabels")) or {}
    labels = (pod.get("metadata") or {}).get("labels") or {}
    return by_set and all(labels.get(key) == value for key, value in wanted.items())


# ---- workloads --------------------------------------------------------------------------------------------------------------------


def _deployment(live: Live) -> Verdict:
    """Ready: every replica is updated and available and no old one is left.
    Failed: `ProgressDeadlineExceeded`; replicas that cannot be created (`ReplicaFailure`: quota, Pod Security); a paused rollout that is not done.
    """
    unseen = _unseen(live)
    if unseen:
        return unseen
    spec, status = _spec(live), _status(live)
    want, updated, available = _int(spec, "replicas", 1), _int(status, "updatedReplicas"), _int(status, "availableReplicas")
    count = f"{available}/{want} available"
    progress = _condition(live, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(FAILED, f"{count}; {_words(progress)}")
    failure = _condition(live, "ReplicaFailure")
    if failure.get("status") == "True":
        return Verdict(FAILED, f"{count}; pods cannot be created: {_words(failure)}", GRACE_RETRY)
    if updated < want:
        if spec.get("paused"):
            return Verdict(FAILED, f"{updated}/{want} updated and the rollout is paused (spec.paused)")
        return Verdict(PROGRESSING, f"{updated}/{want} updated")
    old = _int(status, "replicas") - updated
    if old > 0:
        return Verdict(PROGRESSING, f"{count}, {old} old still running")
    if available < want:
        return Verdict(PROGRESSING, count)
    return Verdict(READY, count)


def _stateful_set(live: Live) -> Verdict:
    """Ready: every replica is ready (and available, with `minReadySeconds`); with `RollingUpdate` those above `partition` are updated.
    With `OnDelete` pods on the old template do not matter: the reason counts them.
    Failed: by its pods only.
    """
    unseen = _unseen(live)
    if unseen:
        return unseen
    spec, status = _spec(live), _status(live)
    want = _int(spec, "replicas", 1)
    usable = min(_int(status, key) for key in (("readyReplicas", "availableReplicas") if spec.get("minReadySeconds") else ("readyReplicas",)))
    count = f"{usable}/{want} ready"
    updated = _int(status, "updatedReplicas")
    strategy = spec.get("updateStrategy") or {}
    surplus = _int(status, "replicas") - want
    if surplus > 0:
        return Verdict(PROGRESSING, f"{count}, {surplus} too many still running")
    if strategy.get("type") == "OnDelete":
        current = status.get("updateRevision") == status.get("currentRevision")
        old = 0 if current else max(0, want - updated)
        return Verdict(READY if usable >= want else PROGRESSING, count + (f", {old} on the old template until deleted (OnDelete)" if old else ""))
    partition = _int(strategy.get("rollingUpdate") or {}, "partition")
    if updated < want - partition:
        return Verdict(PROGRESSING, f"{count}, {updated}/{want - partition} updated")
    if usable < want:
        return Verdict(PROGRESSING, count)
    if not partition and status.get("updateRevision") != status.get("currentRevision"):
        return Verdict(PROGRESSING, f"{count}, the update is being concluded")
    return Verdict(READY, count + (f", updated above ordinal {partition} (partition)" if partition else ""))


def _daemon_set(live: Live) -> Verdict:
    """Ready: a pod is available on every node that is selected (none selected is ready, too) and, with `RollingUpdate`, updated.
    Failed: by its pods only.
    """
    unseen = _unseen(live)
    if unseen:
        return unseen
    status = _status(live)
    want, available, updated = _int(status, "desiredNumberScheduled"), _int(status, "numberAvailable"), _int(status, "updatedNumberScheduled")
    count = f"{available}/{want} available" if want else "no node is selected"
    if (_spec(live).get("updateStrategy") or {}).get("type") == "OnDelete":
        old = want - updated
        return Verdict(READY if available >= want else PROGRESSING, count + (f", {old} on the old template until deleted (OnDelete)" if old > 0 else ""))
    if updated < want:
        return Verdict(PROGRESSING, f"{count}, {updated}/{want} updated")
    return Verdict(READY if available >= want else PROGRESSING, count)


def _replica_set(live: Live) -> Verdict:
    """Ready: every replica is available.
    Failed: replicas that cannot be created (`ReplicaFailure`).
    """
    unseen = _unseen(live)
    if unseen:
        return unseen
    want, have, available = _int(_spec(live), "replicas", 1), _int(_status(live), "replicas"), _int(_status(live), "availableReplicas")
    count = f"{available}/{want} available"
    failure = _condition(live, "ReplicaFailure")
    if failure.get("status") == "True":
        return Verdict(FAILED, f"{count}; pods cannot be created: {_words(failure)}", GRACE_RETRY)
    if have > want:
        return Verdict(PROGRESSING, f"{count}, {have - want} too many still running")
    return Verdict(READY if available >= want else PROGRESSING, count)


def _job(live: Live) -> Verdict:
    """Ready: it has completed.
    Failed: condition `Failed` or `FailureTarget` (attempts used up, deadline passed). A failed attempt alone is not a failed Job; a suspended Job is not ready.
    """
    spec, status = _spec(live), _status(live)
    succeeded, failed = _int(status, "succeeded"), _int(status, "failed")
    for kind in ("Failed", "FailureTarget"):
        condition = _condition(live, kind)
        if condition.get("status") == "True":
            return Verdict(FAILED, _words(condition) or "failed")
    if _condition(live, "Complete").get("status") == "True":
        return Verdict(READY, f"completed, {succeeded} succeeded" if succeeded != 1 else "completed")
    if spec.get("suspend"):
        return Verdict(PROGRESSING, "is suspended (spec.suspend)")
    want = spec.get("completions")
    count = f"{succeeded}/{want} succeeded" if want is not None else f"{succeeded} succeeded"
    parts = [count, f"{_int(status, 'active')} active"] + ([f"{failed} failed"] if failed else [])
    return Verdict(PROGRESSING, ", ".join(parts))


def _cron_job(live: Live) -> Verdict:
    """Ready: it exists; the reason says when it last ran, or that it is suspended.
    Failed: never (judge its Jobs).
    """
    if _spec(live).get("suspend"):
        return Verdict(READY, "suspended")
    last = _status(live).get("lastSuccessfulTime")
    return Verdict(READY, f"last success {last}" if last else "no success yet")


# ---- pods -------------------------------------------------------------------------------------------------------------------------

# What the kubelet says of a container that waits -> how we put it. (reason: words, seconds of grace)
_STUCK = {
    "ImagePullBackOff": ("cannot pull its image", GRACE_RETRY),
    "InvalidImageName": ("has an image name that is not valid", 0.0),
    "ErrImageNeverPull": ("has an image that is not on the node, and the pull policy is Never", 0.0),
    "ImageInspectError": ("has an image that the node cannot read", GRACE_RETRY),
    "SignatureValidationFailed": ("has an image whose signature is refused", 0.0),
    "CreateContainerConfigError": ("cannot be configured", GRACE_RETRY),
    "CreateContainerError": ("cannot be created", GRACE_RETRY),
    "RunContainerError": ("cannot be started", GRACE_RETRY),
    "PostStartHookError": ("fails in its postStart hook", GRACE_RETRY),
}

# What to do about a pod that the kubelet or the scheduler turned away.
_HINTS = {
    "SysctlForbidden": "allow it in the kubelet of the node (role kubelet_sysctls)",
    "Evicted": "the node ran out of a resource",
}


def _pod(live: Live) -> Verdict:
    """Ready: condition `Ready`, or phase `Succeeded`.
    Failed: phase `Failed` with its reason (`SysctlForbidden`, `Evicted`, exit code, `OOMKilled`, ...); `Unschedulable`; a container in
    `ImagePullBackOff`, `InvalidImageName`, `ErrImageNeverPull`, `ImageInspectError`, `SignatureValidationFailed`, `CreateContainerConfigError`,
    `CreateContainerError`, `RunContainerError`, `PostStartHookError` or `CrashLoopBackOff`. The first `ErrImagePull` is still progress.
    """
    status = _status(live)
    phase = status.get("phase")
    if phase == "Succeeded":
        return Verdict(READY, "completed")
    if phase == "Failed":
        return Verdict(FAILED, _why_failed(live))
    scheduled = _condition(live, "PodScheduled")
    if scheduled.get("status") == "False":
        if scheduled.get("reason") == "SchedulingGated":
            return Verdict(PROGRESSING, "waits behind a scheduling gate")
        if scheduled.get("reason") == "Unschedulable":
            return Verdict(FAILED, f"no node can take it: {clean(scheduled.get('message'))}", GRACE_PLACE)
    waiting: list[Verdict] = []
    for field, word in (("initContainerStatuses", "init container"), ("containerStatuses", "container")):
        for container in status.get(field) or []:
            verdict = _container(live, container, word)
            if verdict is not None and verdict.state == FAILED:
                return verdict
            if verdict is not None:
                waiting.append(verdict)
    if _condition(live, "Ready").get("status") == "True":
        return Verdict(READY, "ready" + _restarts(status))
    if waiting:
        return waiting[0]
    if not scheduled.get("status"):
        return Verdict(PROGRESSING, "waits for the scheduler")
    if not status.get("containerStatuses"):
        return Verdict(PROGRESSING, "waits for the kubelet of its node")
    ready = _condition(live, "Ready")
    if ready.get("reason") == "PodCompleted":
        return Verdict(PROGRESSING, "has ended")
    gates = _words(ready)
    return Verdict(PROGRESSING, f"is not ready: {gates}" if gates else "is not ready")


def _container(pod: Live, container: Live, word: str) -> Verdict | None:
    """What one container status says; None where it is as it should be."""
    name, state = container.get("name", "?"), container.get("state") or {}
    who = f"{word} {name}"
    pause = state.get("waiting") or {}
    reason, message = pause.get("reason", ""), clean(pause.get("message"))
    if reason in _STUCK:
        words, grace = _STUCK[reason]
        return Verdict(FAILED, f"{who} {words} ({reason}): {message or container.get('image', '')}", grace)
    last = (container.get("lastState") or {}).get("terminated") or {}
    restarts = _int(container, "restartCount")
    if reason == "CrashLoopBackOff":
        end = _ended(pod, name, last)
        return Verdict(FAILED, f"{who} keeps crashing, restarted {restarts} times: {end}", 0.0 if restarts >= MANY_RESTARTS else GRACE_CRASH)
    if reason == "ErrImagePull":
        return Verdict(PROGRESSING, f"{who} could not pull {container.get('image', 'its image')} and tries again: {message}")
    if reason in ("ContainerCreating", "PodInitializing"):
        return Verdict(PROGRESSING, f"{who} is being created")
    if reason:
        return Verdict(PROGRESSING, f"{who} waits: {reason}" + (f": {message}" if message else ""))
    over = state.get("terminated")
    if over:
        if _int(over, "exitCode") == 0:
            return None
        return Verdict(PROGRESSING, f"{who} ended with {_ended(pod, name, over)}")
    if state.get("running") is not None and word == "init container" and not _is_sidecar(pod, name):
        return Verdict(PROGRESSING, f"{who} is running")
    if state.get("running") is not None and not container.get("ready"):
        again = f", restarted {restarts} times after {_ended(pod, name, last)}" if restarts else ""
        phase = "is running but not ready" if container.get("started", True) else "is starting"
        return Verdict(PROGRESSING, f"{who} {phase}{again}")
    return None


def _why_failed(pod: Live) -> str:
    status = _status(pod)
    reason, message = status.get("reason"), clean(status.get("message"))
    hint = _HINTS.get(str(reason))
    if reason:
        return ": ".join(part for part in (str(reason), message) if part) + (f"; {hint}" if hint else "")
    for field, word in (("initContainerStatuses", "init container"), ("containerStatuses", "container")):
        for container in status.get(field) or []:
            over = (container.get("state") or {}).get("terminated") or {}
            if _int(over, "exitCode"):
                return f"{word} {container.get('name', '?')} ended with {_ended(pod, str(container.get('name')), over)}"
    return message or "failed without a reason"


def _ended(pod: Live, container: str, over: Live) -> str:
    """The end of a container in words: exit code or signal, the kernel's verdict, its last message."""
    if not over:
        return "an end that the node has not kept"
    reason, code, message = over.get("reason"), _int(over, "exitCode"), "" if _is_unsafe_log(pod, container) else clean(over.get("message"))
    text = f"exit code {code}"
    if reason == "OOMKilled":
        limit = _memory_limit(pod, container)
        text = f"OOMKilled, the memory limit {limit} was reached" if limit else "OOMKilled, the memory of its node or group ran out"
    elif over.get("signal"):
        text = f"signal {over['signal']}"
    elif reason and reason not in ("Error", "Completed"):
        text += f" ({reason})"
    return text + (f": {message}" if message else "")


def _is_unsafe_log(pod: Live, container: str) -> bool:
    """Whether its last message may be the end of its log, and the log may hold what is in a Secret: `_last_words` tells it without that."""
    return _container_spec(pod, container).get("terminationMessagePolicy") == "FallbackToLogsOnError" and any(secret_names(_spec(pod)))


def secret_names(value: Any) -> Iterator[str]:
    """`secretKeyRef.name`, `secretRef.name`, `secret.secretName` and a projected `secret.name`, wherever they stand in a pod."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("secretKeyRef", "secretRef", "secret") and isinstance(item, Mapping) and item.get("name"):
                yield str(item["name"])
            elif key == "secretName" and isinstance(item, str):
                yield item
            yield from secret_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from secret_names(item)


def _memory_limit(pod: Live, container: str) -> str:
    return str(((_container_spec(pod, container).get("resources") or {}).get("limits") or {}).get("memory") or "")


def _container_spec(pod: Live, name: str) -> Live:
    spec = _spec(pod)
    both: list[Live] = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return next((item for item in both if item.get("name") == name), {})


def _is_sidecar(pod: Live, name: str) -> bool:
    return any(item.get("name") == name and item.get("restartPolicy") == "Always" for item in _spec(pod).get("initContainers") or [])


def _restarts(status: Live) -> str:
    count = sum(_int(container, "restartCount") for container in status.get("containerStatuses") or [])
    return f", restarted {count} times" if count else ""


# ---- storage, network, cluster ----------------------------------------------------------------------------------------------------


def _claim(live: Live) -> Verdict:
    """Ready: phase `Bound` and no resize is open; a claim that waits for its first pod (event `WaitForFirstConsumer`) is ready, too.
    Failed: phase `Lost`; a resize that failed; a claim that cannot bind (events `FailedBinding`, `ProvisioningFailed`).
    """
    status, phase = _status(live), _status(live).get("phase")
    if phase == "Lost":
        return Verdict(FAILED, f"its volume {_spec(live).get('volumeName', '')} is gone")
    if phase == "Bound":
        for kind in ("ControllerResizeError", "NodeResizeError"):
            if _condition(live, kind).get("status") == "True":
                return Verdict(FAILED, f"cannot be resized: {_words(_condition(live, kind))}", GRACE_RETRY)
        for kind in ("Resizing", "FileSystemResizePending"):
            if _condition(live, kind).get("status") == "True":
                return Verdict(PROGRESSING, f"is being resized ({kind})")
        return Verdict(READY, f"bound to {_spec(live).get('volumeName')}, {(status.get('capacity') or {}).get('storage', 'size unknown')}")
    spec = _spec(live)
    volume, storage_class = spec.get("volumeName"), spec.get("storageClassName")
    if volume:
        return Verdict(PROGRESSING, f"waits for volume {volume}")
    if storage_class == "":
        return Verdict(PROGRESSING, "waits for a volume made by hand (its storage class is empty)")
    if storage_class is None:
        return Verdict(PROGRESSING, "waits for a volume; it names no storage class and the cluster has no default one")
    return Verdict(PROGRESSING, f"waits for a volume of class {storage_class}")


def _volume(live: Live) -> Verdict:
    """Ready: phase `Available` or `Bound`.
    Failed: phase `Failed` or `Released` (its claim is gone, the data is kept).
    """
    status, phase = _status(live), _status(live).get("phase")
    claim = _spec(live).get("claimRef") or {}
    if phase == "Bound":
        return Verdict(READY, f"bound to {claim.get('namespace')}/{claim.get('name')}")
    if phase == "Available":
        return Verdict(READY, "available")
    if phase == "Released":
        return Verdict(FAILED, f"released: claim {claim.get('namespace')}/{claim.get('name')} was deleted; remove spec.claimRef.uid to let it bind again")
    if phase == "Failed":
        return Verdict(FAILED, clean(status.get("message")) or "failed")
    return Verdict(PROGRESSING, "is being set up")


def _service(live: Live) -> Verdict:
    """Ready: it exists; of type `LoadBalancer`: it has an address.
    Failed: never by itself.
    """
    spec = _spec(live)
    if spec.get("type") != "LoadBalancer":
        return Verdict(READY, f"{spec.get('type', 'ClusterIP')} {spec.get('clusterIP', '')}".rstrip())
    address = _address(live)
    return Verdict(READY, address) if address else Verdict(PROGRESSING, "no load balancer has given it an address")


def _ingress(live: Live) -> Verdict:
    """Ready: its controller has published an address.
    Failed: never by itself.
    """
    address = _address(live)
    if address:
        return Verdict(READY, address)
    name = _spec(live).get("ingressClassName")
    return Verdict(PROGRESSING, f"no controller of class {name} has published an address" if name else "no controller has published an address")


def _namespace(live: Live) -> Verdict:
    """Ready: phase `Active`.
    Failed: never; one that is being deleted says what it still holds.
    """
    phase = _status(live).get("phase")
    return Verdict(READY, "active") if phase == "Active" else Verdict(PROGRESSING, f"phase {phase}" if phase else "is being created")


def _crd(live: Live) -> Verdict:
    """Ready: condition `Established`.
    Failed: its names are taken by another definition (`NamesAccepted` is false).
    """
    names = _condition(live, "NamesAccepted")
    if names.get("status") == "False":
        return Verdict(FAILED, _words(names))
    if _condition(live, "Established").get("status") == "True":
        return Verdict(READY, "established")
    return Verdict(PROGRESSING, _words(_condition(live, "Established")) or "is not served yet")


def _api_service(live: Live) -> Verdict:
    """Ready: condition `Available`.
    Failed: never; the reason says what is wrong with the service behind it.
    """
    return _by_condition(live, "Available")


def _disruption_budget(live: Live) -> Verdict:
    """Ready: its controller has counted the pods; the reason gives the count.
    Failed: it cannot count them (`SyncFailed`).
    """
    allowed = _condition(live, "DisruptionAllowed")
    if allowed.get("reason") == "SyncFailed":
        return Verdict(FAILED, _words(allowed), GRACE_RETRY)
    unseen = _unseen(live)
    if unseen:
        return unseen
    status = _status(live)
    healthy, needed, spare = (_int(status, key) for key in ("currentHealthy", "desiredHealthy", "disruptionsAllowed"))
    return Verdict(READY, f"{healthy} healthy, {needed} needed, {spare} may be taken away")


def _node(live: Live) -> Verdict:
    """Ready: condition `Ready` and the network is up; the reason tells of cordon and pressure.
    Failed: the kubelet no longer reports (`Ready` is unknown).
    """
    ready = _condition(live, "Ready")
    if ready.get("status") == "Unknown":
        return Verdict(FAILED, _words(ready), GRACE_PLACE)
    if ready.get("status") != "True":
        return Verdict(PROGRESSING, _words(ready) or "its kubelet has not reported yet")
    network = _condition(live, "NetworkUnavailable")
    if network.get("status") == "True":
        return Verdict(PROGRESSING, f"network: {_words(network)}")
    notes = [kind for kind in ("MemoryPressure", "DiskPressure", "PIDPressure") if _condition(live, kind).get("status") == "True"]
    return Verdict(READY, ", ".join(["ready"] + (["cordoned"] if _spec(live).get("unschedulable") else []) + notes))


def _other(live: Live) -> Verdict:
    """Ready: condition `Ready`, else `Available`, is true and `observedGeneration` is current; where the status has neither, a phase that is
    not one of beginning or failure; without any status, existence.
    Failed: condition `Stalled` or `Failed`, or a phase such as `Failed` or `Error`.
    """
    status = _status(live)
    if not status:
        return Verdict(READY, "exists")
    if "observedGeneration" in status:
        unseen = _unseen(live)
        if unseen:
            return unseen
    for kind in ("Stalled", "Failed"):
        if _condition(live, kind).get("status") == "True":
            return Verdict(FAILED, _words(_condition(live, kind)))
    for kind in ("Ready", "Available"):
        if _condition(live, kind):
            return _by_condition(live, kind)
    phase = next((str(status[key]) for key in ("phase", "state") if isinstance(status.get(key), str)), "")
    if phase.lower() in ("failed", "error", "degraded"):
        return Verdict(FAILED, f"phase {phase}" + (f": {clean(status.get('message'))}" if isinstance(status.get("message"), str) else ""))
    if phase.lower() in ("pending", "creating", "initializing", "provisioning", "progressing", "deploying", "updating", "upgrading", "terminating"):
        return Verdict(PROGRESSING, f"phase {phase}")
    return Verdict(READY, f"phase {phase}" if phase else "exists; its status says nothing about readiness")


TABLE: dict[tuple[str, str], Callable[[Live], Verdict]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("batch", "Job"): _job,
    ("batch", "CronJob"): _cron_job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume,
    ("", "Service"): _service,
    ("networking.k8s.io", "Ingress"): _ingress,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("apiregistration.k8s.io", "APIService"): _api_service,
    ("policy", "PodDisruptionBudget"): _disruption_budget,
    ("", "Node"): _node,
}


def documented() -> list[tuple[str, str, str]]:
    """Rows of docs/health.md: kind, ready when, failed when. The last row is every other kind."""
    rows = [(kind, rule) for (_group_name, kind), rule in TABLE.items()] + [("any other", _other)]
    texts = [(kind, " ".join((rule.__doc__ or "").split()).partition(" Failed: ")) for kind, rule in rows]
    return [(kind, ready.removeprefix("Ready: "), failed) for kind, (ready, _mark, failed) in texts]


# ---- pods and events ----------------------------------------------------------------------------------------------------------------


JudgedPod = tuple[str, Verdict, Live]  # name, verdict, the pod


def _workload_with_pods(live: Live, verdict: Verdict, pods: Sequence[Live], told: Mapping[str, Sequence[Live]]) -> Verdict:
    if live.get("kind") in ("Deployment", "DaemonSet"):
        pods = _newest_template(pods)
    judged = [(_name(pod), _pod_with_events(judge(pod), told.get(_uid(pod), ())), pod) for pod in pods]
    if live.get("kind") == "Job":
        return _job_with_pods(verdict, judged, told.get(_uid(live), ()))
    failed = [item for item in judged if item[1].state == FAILED]
    if failed:
        name, state, _pod_object = min(failed, key=lambda item: item[1].grace)
        grace = 0.0 if verdict.state == FAILED and not verdict.grace else state.grace
        return Verdict(FAILED, f"{verdict.reason}; {name}: {state.reason}", grace)
    waiting = [(name, state) for name, state, _pod_object in judged if state.state == PROGRESSING]
    if verdict.state == PROGRESSING and waiting:
        name, state = waiting[0]
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        return Verdict(PROGRESSING, f"{verdict.reason}, waiting for {name} ({state.reason}){more}")
    own = told.get(_uid(live), ())
    if verdict.state == PROGRESSING and own and own[-1].get("reason") in ("FailedCreate", "FailedUpdate"):
        return Verdict(FAILED, f"{verdict.reason}; {_event(own[-1])}", GRACE_RETRY)
    return verdict


def _job_with_pods(verdict: Verdict, judged: Sequence[JudgedPod], own: Sequence[Live]) -> Verdict:
    """A Job counts its failed attempts itself; only a pod that never starts ends the wait before the Job gives up."""
    failed = [item for item in judged if item[1].state == FAILED]
    over = [item for item in failed if _status(item[2]).get("phase") == "Failed"]
    crashing = [item for item in failed if item not in over and "CrashLoopBackOff" in _waiting_reasons(item[2])]
    if verdict.state == FAILED:
        shown = (over or crashing or failed)[-1:]
        return Verdict(FAILED, "; ".join([verdict.reason] + [f"{name}: {state.reason}" for name, state, _pod_object in shown]))
    stuck = [item for item in failed if item not in over and item not in crashing]
    if stuck:
        name, state, _pod_object = min(stuck, key=lambda item: item[1].grace)
        return Verdict(FAILED, f"{verdict.reason}; {name}: {state.reason}", state.grace)
    waiting = crashing + [item for item in judged if item[1].state == PROGRESSING]
    if waiting:
        name, state, _pod_object = waiting[0]
        return Verdict(PROGRESSING, f"{verdict.reason}, waiting for {name} ({state.reason})")
    if not judged and own and own[-1].get("reason") == "FailedCreate":
        return Verdict(FAILED, f"{verdict.reason}; {_event(own[-1])}", GRACE_RETRY)
    return verdict


def _pod_with_events(verdict: Verdict, events: Sequence[Live]) -> Verdict:
    """A pod that is being created says little itself; its last event tells what the kubelet does."""
    if verdict.state != PROGRESSING or not events:
        return verdict
    last = events[-1]
    reason, message = last.get("reason"), clean(last.get("message"))
    if reason == "Pulling":
        return Verdict(PROGRESSING, f"{message[:1].lower()}{message[1:]}")
    if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        return Verdict(FAILED, f"a volume cannot be mounted: {message}", GRACE_PLACE)
    if reason in ("FailedCreatePodSandBox", "FailedKillPod", "NetworkNotReady"):
        return Verdict(FAILED, f"the node cannot start it: {message}", GRACE_PLACE)
    probes = [event for event in events if event.get("reason") == "Unhealthy" and _about(event) in verdict.reason]
    if probes:
        return Verdict(PROGRESSING, f"{verdict.reason}: {clean(probes[-1].get('message'))}")
    return verdict


def _about(event: Live) -> str:
    """The container of an event as our reasons name it; several of one pod fail their probes in turn."""
    path = str((event.get("involvedObject") or {}).get("fieldPath") or "")
    return f"container {path.partition('{')[2].rstrip('}')} "


def _claim_with_events(verdict: Verdict, events: Sequence[Live]) -> Verdict:
    if verdict.state != PROGRESSING or not events:
        return verdict
    last = events[-1]
    if last.get("reason") == "WaitForFirstConsumer":
        return Verdict(READY, "binds when its first pod is scheduled (WaitForFirstConsumer)")
    if last.get("reason") in ("FailedBinding", "ProvisioningFailed", "ClaimMisbound", "VolumeMismatch"):
        return Verdict(FAILED, f"cannot bind: {clean(last.get('message'))}", GRACE_PLACE)
    return Verdict(PROGRESSING, f"{verdict.reason}: {clean(last.get('message'))}")


def _newest_template(pods: Sequence[Live]) -> Sequence[Live]:
    """The pods of the newest revision: failures of the ones that are being replaced no longer matter."""

    def revision(pod: Live) -> str:
        labels = (pod.get("metadata") or {}).get("labels") or {}
        return str(labels.get("pod-template-hash") or labels.get("controller-revision-hash") or "")

    newest = max(pods, key=lambda pod: str((pod.get("metadata") or {}).get("creationTimestamp") or ""), default=None)
    return [pod for pod in pods if newest is not None and revision(pod) == revision(newest)]


def _waiting_reasons(pod: Live) -> set[str]:
    status = _status(pod)
    both = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {str(((item.get("state") or {}).get("waiting") or {}).get("reason")) for item in both}


def _by_object(events: Iterable[Live]) -> dict[str, list[Live]]:
    """Events by the UID of what they are about, oldest first."""
    found: dict[str, list[Live]] = {}
    for event in events:
        found.setdefault(str((event.get("involvedObject") or {}).get("uid")), []).append(event)
    for told in found.values():
        told.sort(key=_when)
    return found


def _when(event: Live) -> str:
    """When it was last seen. All are RFC 3339 in UTC, so text order is time order to the second."""
    series = (event.get("series") or {}).get("lastObservedTime")
    seen = series or event.get("lastTimestamp") or event.get("eventTime") or (event.get("metadata") or {}).get("creationTimestamp")
    return str(seen or "")


def _event(event: Live) -> str:
    return f"{event.get('reason')}: {clean(event.get('message'))}"


# ---- small things -------------------------------------------------------------------------------------------------------------------

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_USERINFO = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/]+@")


def clean(text: Any) -> str:
    """Foreign text on one line: no control characters, no passwords of URIs, not longer than a few lines."""
    line = " ".join(_USERINFO.sub(r"\1***@", _CONTROL.sub("", str(text or ""))).split())
    return line if len(line) <= _LINE else f"{line[: _LINE - 3]}..."


def _going(live: Live) -> Verdict:
    """An object that is being deleted, and what holds it."""
    held = list((live.get("metadata") or {}).get("finalizers") or [])
    notes = [clean(item.get("message")) for item in _conditions(live) if live.get("kind") == "Namespace" and item.get("status") == "True"]
    text = "is being deleted" + (f", held by {', '.join(held)}" if held else "")
    return Verdict(PROGRESSING, "; ".join([text] + [note for note in notes if note]))


def _unseen(live: Live) -> Verdict | None:
    """A verdict while the status is about an older generation than the spec."""
    if _int(_status(live), "observedGeneration", -1) >= _int(live.get("metadata") or {}, "generation", -1):
        return None
    return Verdict(PROGRESSING, "its controller has not seen this change yet")


def _by_condition(live: Live, kind: str) -> Verdict:
    condition = _condition(live, kind)
    words = _words(condition)
    if condition.get("status") == "True":
        return Verdict(READY, words or kind.lower())
    return Verdict(PROGRESSING, words or f"condition {kind} is {str(condition.get('status') or 'not set').lower()}")


def _condition(live: Live, kind: str) -> Live:
    return next((item for item in _conditions(live) if item.get("type") == kind), {})


def _conditions(live: Live) -> list[Live]:
    """Custom resources may put anything there."""
    conditions = _status(live).get("conditions")
    return [item for item in conditions if isinstance(item, Mapping)] if isinstance(conditions, list) else []


def _words(condition: Live) -> str:
    reason, message = clean(condition.get("reason")), clean(condition.get("message"))
    return f"{reason}: {message}" if reason and message else reason or message


def _address(live: Live) -> str:
    given = (_status(live).get("loadBalancer") or {}).get("ingress") or []
    return ", ".join(str(item.get("ip") or item.get("hostname")) for item in given if item.get("ip") or item.get("hostname"))


def _group(live: Live) -> str:
    version = str(live.get("apiVersion") or "")
    return version.rpartition("/")[0]


def _spec(live: Live) -> Live:
    return live.get("spec") or {}


def _status(live: Live) -> Live:
    status = live.get("status")
    return status if isinstance(status, Mapping) else {}


def _name(live: Live) -> str:
    return str((live.get("metadata") or {}).get("name") or "")


def _uid(live: Live) -> str:
    return str((live.get("metadata") or {}).get("uid") or "")


def _int(fields: Live, key: str, default: int = 0) -> int:
    value = fields.get(key)
    return value if isinstance(value, int) else default
