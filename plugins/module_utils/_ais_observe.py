# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at an AIStore cluster: its StatefulSets and pods by two LISTs, then every daemon that runs, all at once."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._ais_api import Ais, AisError
from ._ais_layout import PROXY, TARGET, Daemon, mounted_paths
from ._ais_state import Observation, State, judge, unbalanced
from ._health import explain
from ._model import FAILED, Cluster, ClusterError, Object, Verdict

CONTAINER, INIT_CONTAINER = "aisnode", "prepare-disks"
DISKS_GRACE = 20.0  # seconds for which disks may be missing: a node that has just started may still be mounting them


@dataclass(frozen=True)
class Look:
    """What one look found. `pods` and `stateful_sets` by their names; `failures` by pod: what will not cure itself."""

    state: State
    daemons: list[Daemon]
    stateful_sets: dict[str, Object]
    pods: dict[str, Object]
    failures: dict[str, Verdict]
    smap: Mapping[str, Any]

    def answering(self, role: str = PROXY) -> list[Daemon]:
        """Daemons of a role that answered, the primary proxy first."""
        absent = {facts["pod"] for facts in self.state.daemons if facts["absence"]}
        found = [daemon for daemon in self.daemons if daemon.role == role and daemon.pod not in absent]
        return sorted(found, key=lambda daemon: daemon.pod != self.state.primary)

    def identity(self, daemon: Daemon) -> str:
        """AIStore's own ID of a daemon that answered."""
        return next((str(facts["id"]) for facts in self.state.daemons if facts["pod"] == daemon.pod and "id" in facts), "")

    def map_flags(self, daemon: Daemon) -> int:
        """The flags of a daemon's entry in the cluster map, 0 without one."""
        entries = {**(self.smap.get("pmap") or {}), **(self.smap.get("tmap") or {})}
        return int((entries.get(self.identity(daemon)) or {}).get("flags", 0))


def look(
    cluster: Cluster,
    name: str,
    namespace: str,
    scheme: str = "",
    declared: Sequence[Daemon] = (),
    mountpaths: Sequence[str] = (),
    maintenance: Sequence[str] = (),
) -> Look:
    """`declared` daemons are expected besides those whose StatefulSets are there. Without `mountpaths` those of the StatefulSets count;
    without `scheme` it is taken from them, too."""
    labels = f"app.kubernetes.io/name=aistore,app.kubernetes.io/instance={name}"
    sets = {item["metadata"]["name"]: item for item in cluster.list("apps/v1", "StatefulSet", namespace, labels=labels).items}
    pods = {item["metadata"]["name"]: item for item in cluster.list("v1", "Pod", namespace, labels=labels).items}
    daemons = {daemon.name: daemon for daemon in [*(daemon_of(item) for item in sets.values()), *declared]}
    ordered = sorted(daemons.values(), key=lambda daemon: (daemon.role, daemon.node))
    if not scheme:
        scheme = next((_annotation(item, "slipway.mlops/scheme") for item in sets.values()), "") or "http"
    ais = Ais(cluster, namespace, scheme)
    answers = ais.statuses([daemon for daemon in ordered if runs(pods.get(daemon.pod))])
    verdicts = _verdicts(cluster, namespace, [daemon for daemon in ordered if not isinstance(answers.get(daemon.pod), dict)], pods)
    observations = [_observation(daemon, answers.get(daemon.pod), verdicts.get(daemon.pod), pods.get(daemon.pod)) for daemon in ordered]
    wanted_paths = mountpaths or sorted({path for item in sets.values() for path in mounted_paths(item)})
    smap = _cluster_map(ais, observations)
    to_balance = unbalanced(observations, smap)
    if to_balance and not _rebalances(ais, observations):
        to_balance = []
    return Look(
        state=judge(observations, smap, wanted_paths, maintenance, to_balance),
        daemons=ordered,
        stateful_sets=sets,
        pods=pods,
        failures={pod: verdict for pod, verdict in verdicts.items() if verdict.state == FAILED},
        smap=smap,
    )


def without_address(cluster: Cluster, name: str, namespace: str) -> list[str]:
    """The Services for clients outside that no load balancer has given an address."""
    labels = f"app.kubernetes.io/name=aistore,app.kubernetes.io/instance={name}"
    return [
        f"Service {item['metadata']['name']} has no address: no load balancer has given it one"
        + (f" ({item['spec']['loadBalancerIP']} is asked for)" if item["spec"].get("loadBalancerIP") else "")
        + ", and clients outside cannot reach what is behind it"
        for item in cluster.list("v1", "Service", namespace, labels=labels).items
        if item["spec"].get("type") == "LoadBalancer" and not ((item.get("status") or {}).get("loadBalancer") or {}).get("ingress")
    ]


def daemon_of(stateful_set: Object) -> Daemon:
    """The daemon that a StatefulSet of the role `aistore` runs."""
    meta = stateful_set["metadata"]
    role = (meta.get("labels") or {}).get("app.kubernetes.io/component", TARGET)
    return Daemon(role, _annotation(stateful_set, "slipway.mlops/node"), meta["name"], "", "")


def _annotation(obj: Object, key: str) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(key, ""))


def runs(pod: Object | None) -> bool:
    """Whether there is a process to ask; a pod in maintenance is not Ready and yet answers."""
    if pod is None or pod["metadata"].get("deletionTimestamp"):
        return False
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any("running" in (status.get("state") or {}) for status in statuses)


def _verdicts(cluster: Cluster, namespace: str, silent: Sequence[Daemon], pods: Mapping[str, Object]) -> dict[str, Verdict]:
    """Why each of `silent` does not answer, as far as its pod, the events about it and its last words tell."""
    present = [daemon.pod for daemon in silent if daemon.pod in pods]
    if not present:
        return {}
    events = cluster.list("v1", "Event", namespace, fields="involvedObject.kind=Pod").items
    found = {}
    for pod in present:
        verdict = _judge(pods[pod], events)
        words = _last_words(cluster, namespace, pods[pod])
        found[pod] = Verdict(verdict.state, f"{verdict.reason}: {words}" if words else verdict.reason, verdict.grace)
    return found


def _judge(pod: Object, events: Sequence[Object]) -> Verdict:
    verdict = explain(pod, [], events)
    if verdict.state == FAILED:
        return verdict
    # The look at the disks has said no: what it says is final, however soon the kubelet tries again.
    for container in (pod.get("status") or {}).get("initContainerStatuses") or []:
        now = container.get("state") or {}
        ended = now.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
        if container.get("name") == INIT_CONTAINER and "running" not in now and ended.get("exitCode"):
            return Verdict(FAILED, verdict.reason, DISKS_GRACE)
    return verdict


def _last_words(cluster: Cluster, namespace: str, pod: Object) -> str:
    """The last line of a container that ended badly, its own account of why."""
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        now, before = container.get("state") or {}, container.get("lastState") or {}
        ended = now.get("terminated") or before.get("terminated")
        if not ended or ended.get("exitCode") == 0 or "running" in now:
            continue
        try:
            lines = cluster.logs(namespace, pod["metadata"]["name"], container["name"], lines=5, previous="terminated" not in now)
        except ClusterError:
            continue
        said = [line.strip() for line in lines.splitlines() if line.strip()]
        if said:
            return said[-1][:400]
    return ""


def _observation(daemon: Daemon, answer: dict[str, Any] | AisError | None, verdict: Verdict | None, pod: Object | None) -> Observation:
    if isinstance(answer, dict):
        return Observation(daemon, "", answer["status"], answer.get("mountpaths") or {}, _started(pod))
    reasons = [verdict.reason if verdict else "", str(answer) if answer else ""]
    if answer is None and verdict is None:
        return Observation(daemon, "its pod is not there")
    return Observation(daemon, "; ".join(reason for reason in reasons if reason) or "its pod does not run yet")


def _started(pod: Object | None) -> str:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return next((str(now["startedAt"]) for status in statuses if (now := (status.get("state") or {}).get("running") or {}).get("startedAt")), "")


def _rebalances(ais: Ais, observations: Sequence[Observation]) -> bool:
    """Whether the cluster moves objects where they belong; somebody may have forbidden it."""
    for seen in observations:
        if seen.daemon.role == PROXY and not seen.absence:
            with contextlib.suppress(AisError):
                return bool(ais.ask(seen.daemon, "/v1/cluster", what="cluster_config")["rebalance"]["enabled"])
    return False


def _cluster_map(ais: Ais, observations: Sequence[Observation]) -> Mapping[str, Any]:
    """The map as the primary has it, else as any proxy has it."""
    proxies = [seen for seen in observations if seen.daemon.role == PROXY and not seen.absence]
    for seen in sorted(proxies, key=lambda seen: seen.status["snode"]["daemon_id"] != seen.status["cluster"]["smap"]["Primary"]["id"]):
        try:
            found: Mapping[str, Any] = ais.ask(seen.daemon, "/v1/daemon", what="smap")
            return found
        except AisError:
            continue
    return {}
