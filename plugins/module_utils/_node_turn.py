# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes nodes out one at a time, and says when one is back. Sees the protocols of `_model` alone.

A Lease keeps two hosts, two tasks or two controllers from restarting daemons of two nodes at once; a failure is noted in it, so that
the other hosts of the same run stop instead of making the same mistake in turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from . import _lease as lease
from . import _timestamp as timestamp
from ._model import Clock, Cluster, ClusterError, Object, Progress, Ref, Refused
from ._syntax import some

LEASE = Ref("coordination.k8s.io/v1", "Lease", "kube-system", "slipway-node-turn")
FAILED_RUN, FAILED_NODE = "slipway.mlops/failed-run", "slipway.mlops/failed-node"
_POLL = 2.0
# A restarted kubelet may report pods as unready a moment after it said nothing of them; they count as back when they stay back this long.
_STEADY = 5.0
_MANAGER = "slipway:node-turn"


@dataclass(frozen=True)
class Turn:
    """Who asks: `run` is one invocation of ansible-playbook, `node` the node that is going to be disturbed."""

    run: str
    node: str

    @property
    def holder(self) -> str:
        return f"{self.run}/{self.node}"


def find(nodes: list[Object], name: str, machine_id: str) -> Object:
    """The Node of a host; Refused where the cluster has none of that name, or it is another machine."""
    by_name = {node["metadata"]["name"]: node for node in nodes}
    node = by_name.get(name) or next((node for node in nodes if (node["metadata"].get("labels") or {}).get("kubernetes.io/hostname") == name), None)
    if node is None:
        raise Refused([f"this cluster has no node {name}; it has {some(sorted(by_name))}. Set `node`, or another kubeconfig."])
    theirs = node.get("status", {}).get("nodeInfo", {}).get("machineID") or ""
    if machine_id and theirs and theirs != machine_id:
        mix_up = "this kubeconfig belongs to another cluster, or `node` to another host"
        raise Refused([f"the host's machine id is {machine_id}, that of node {name} is {theirs}: {mix_up}."])
    return node


def ready(node: Object) -> bool:
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in node.get("status", {}).get("conditions") or [])


def others_out(nodes: list[Object], name: str) -> list[str]:
    """Names of the other nodes that are not Ready."""
    return sorted(node["metadata"]["name"] for node in nodes if node["metadata"]["name"] != name and not ready(node))


@contextlib.contextmanager
def taken(cluster: Cluster, clock: Clock, turn: Turn, seconds: float, progress: Progress) -> Iterator[None]:
    """Hold the Lease while the body runs. A Refused or any other failure of the body is noted in it for the rest of the run."""
    note = {FAILED_RUN: turn.run, FAILED_NODE: turn.node}
    claim = lease.Claim(LEASE, turn.holder, _MANAGER, lambda found: _stop_if_failed(found, turn), note)
    try:
        with lease.held(cluster, clock, claim, seconds, lambda holder: progress(f"{turn.node} waits for its turn; {holder.rpartition('/')[2]} has it")):
            yield
    except lease.Busy as busy:
        told = f"{turn.node} did not get its turn within {seconds:.0f} seconds: {busy.holder} holds Lease {LEASE.namespace}/{LEASE.name}."
        raise Refused([told]) from busy


def pods_ready(cluster: Cluster, node: str) -> dict[str, str]:
    """Pods of the node that are Ready now: uid -> namespace/name."""
    return {pod["metadata"]["uid"]: _name(pod) for pod in pods(cluster, node) if _pod_ready(pod)}


def pods(cluster: Cluster, node: str) -> list[Object]:
    return cluster.list("v1", "Pod", fields=f"spec.nodeName={node}").items


def wait_back(cluster: Cluster, clock: Clock, node: str, expected: Mapping[str, str], restarted: float, seconds: float, prove: Callable[[], str] = str) -> str:
    """Until the node is Ready and every expected pod is Ready again or gone, steadily; what `prove` says then, else what is missing when time is over.

    `restarted` is the time by the node's own clock; the kubelet's Lease, written by the same clock, must be younger: the condition Ready
    itself outlives a dead kubelet by 40 seconds.
    """
    end, since = clock.now() + seconds, 0.0
    while True:
        try:
            why, final = _missing(cluster, node, expected, restarted)
            if not why and since and clock.now() - since >= _STEADY:
                return prove()
        except ClusterError as error:  # the node may carry the API server
            why, final = f"the API server does not answer: {error}", False
        now = clock.now()
        if final or (why and now >= end):
            return why
        if why:
            since = 0.0
        elif not since:
            since = now
        clock.sleep(_POLL)


def last_report(cluster: Cluster, node: str) -> Object | None:
    """The Lease that the node's kubelet renews; None where it keeps none."""
    return cluster.get(Ref("coordination.k8s.io/v1", "Lease", "kube-node-lease", node))


def _missing(cluster: Cluster, node: str, expected: Mapping[str, str], restarted: float) -> tuple[str, bool]:
    """What keeps the node from being back, and whether waiting is of no use."""
    live = cluster.get(Ref("v1", "Node", "", node))
    if live is None:
        return f"node {node} is gone", True
    heartbeat = last_report(cluster, node)
    if heartbeat is not None and timestamp.seconds(heartbeat["spec"].get("renewTime")) < restarted:
        return f"the kubelet of {node} has not reported to the API server since its restart", False
    if not ready(live):
        return f"node {node} is not Ready: {_why_not_ready(live)}", False
    waiting = []
    for pod in pods(cluster, node):
        if pod["metadata"]["uid"] not in expected or pod["metadata"].get("deletionTimestamp"):
            continue
        status = pod.get("status", {})
        if status.get("phase") == "Failed":
            return f"pod {_name(pod)} failed: {status.get('reason') or ''} {status.get('message') or ''}".strip(), True
        if status.get("phase") != "Succeeded" and not _pod_ready(pod):
            waiting.append(_name(pod))
    return (f"pods that were Ready before are not: {some(sorted(waiting))}" if waiting else ""), False


def _stop_if_failed(found: Object, turn: Turn) -> None:
    notes = found["metadata"].get("annotations") or {}
    if notes.get(FAILED_RUN) == turn.run and notes.get(FAILED_NODE) != turn.node:
        raise Refused([f"node {notes.get(FAILED_NODE)} failed earlier in this run, so {turn.node} is left as it is. Mend that first, then run again."])


def _why_not_ready(node: Object) -> str:
    for condition in node.get("status", {}).get("conditions") or []:
        if condition["type"] == "Ready":
            return str(condition.get("message") or condition.get("reason") or condition["status"])
    return "no condition Ready"


def _pod_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
