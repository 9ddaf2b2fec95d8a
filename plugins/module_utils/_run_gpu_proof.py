# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Walks the chain from GPU to pod on one node and names the first broken link; at its end a pod that asks for a GPU lists what it sees."""

from __future__ import annotations

import secrets
from typing import Any

from . import _gpu_links as gpu_links
from . import _node_turn as node_turn
from ._gpu_links import Link
from ._model import Cluster, ClusterError, Object, Ref, Refused
from ._module import Call

ARGUMENTS: dict[str, dict[str, Any]] = {
    "facts": {"type": "dict", "required": True},
    "node": {"type": "str"},
    "is_stated": {"type": "bool", "default": False},
    "handler": {"type": "str", "default": "nvidia"},
    "runtime_class": {"type": "str", "default": "nvidia"},
    "resource": {"type": "str", "default": "nvidia.com/gpu"},
    "expected": {"type": "int"},
    "plugin_namespace": {"type": "str", "default": "gpu-runtime"},
    "plugin_selector": {"type": "str", "default": "app.kubernetes.io/name=nvidia-device-plugin"},
    "namespace": {"type": "str", "default": "gpu-runtime"},
    "image": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "default": ["nvidia-smi", "-L"]},
    "image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},  # names, no values
    "timeout": {"type": "int", "default": 180},
}
_POLL = 1.0


def run(call: Call) -> dict[str, Any]:
    """The links, and whether all hold."""
    began, params, host = call.clock.now(), call.params, call.params["facts"]
    proof_pod(params, "", "")  # its problems are the caller's, and no broken link
    links = gpu_links.host_links(host, params["handler"], params["is_stated"])
    seen: list[str] = []
    name = params["node"] or host.get("node") or ""
    try:
        node = node_turn.find(call.cluster.list("v1", "Node").items, name, host.get("machine_id") or "")
        name = node["metadata"]["name"]
        links += _cluster_links(call, node)
        if not gpu_links.broken(links) and not call.check_mode:
            link, seen = _pod_link(call, node)
            links.append(link)
    except Refused as refused:
        links.append(Link("node", " ".join(refused.problems)))
    except ClusterError as error:
        links.append(Link("cluster", str(error)))
    first = gpu_links.broken(links)
    return {
        "changed": False,
        "name": f"gpu {name}",
        "node": name,
        "ready": first is None,
        "broken_link": first.name if first else "",
        "reason": f"{first.name}: {first.problem}" if first else links[-1].note,
        "links": [{"name": link.name, "holds": not link.problem, "problem": link.problem, "note": link.note} for link in links],
        "visible": seen,
        "seconds": round(call.clock.now() - began, 1),
    }


def _cluster_links(call: Call, node: Object) -> list[Link]:
    params, name = call.params, node["metadata"]["name"]
    runtime_class = call.cluster.get(Ref("node.k8s.io/v1", "RuntimeClass", "", params["runtime_class"]))
    plugin = None
    if params["plugin_namespace"]:
        plugin = call.cluster.list("v1", "Pod", params["plugin_namespace"], labels=params["plugin_selector"], fields=f"spec.nodeName={name}").items
    expected = params["expected"] if params["expected"] is not None else len(params["facts"]["gpus"])
    return gpu_links.cluster_links(runtime_class, params["runtime_class"], params["handler"], node, plugin, params["resource"], expected)


def _pod_link(call: Call, node: Object) -> tuple[Link, list[str]]:
    """A bare pod, never retried by anything, and always deleted. None where other pods have every GPU: they are proof enough, and keep theirs."""
    cluster, params, name = call.cluster, call.params, node["metadata"]["name"]
    held = gpu_links.holders(node_turn.pods(cluster, name), params["resource"])
    if 0 < int((node["status"].get("allocatable") or {}).get(params["resource"], 0)) <= sum(held.values()):
        return Link("pod", note=f"none was run, since every {params['resource']} of {name} is in use by {', '.join(sorted(held))}"), []
    pod = proof_pod(params, name, f"gpu-proof-{secrets.token_hex(4)}")
    ref = Ref("v1", "Pod", params["namespace"], pod["metadata"]["name"])
    try:
        live = cluster.create(pod, "slipway:gpu-proof")
    except ClusterError as error:
        return Link("pod", f"the proof pod is refused: {error}"), []
    try:
        return _judge(call, cluster, ref, name)
    finally:
        cluster.delete(ref, live["metadata"]["uid"])


def _judge(call: Call, cluster: Cluster, ref: Ref, node: str) -> tuple[Link, list[str]]:
    end = call.clock.now() + call.params["timeout"]
    while True:
        live: Object = cluster.get(ref) or {}
        status = live.get("status", {})
        if status.get("phase") in ("Succeeded", "Failed") or call.clock.now() >= end:
            break
        call.clock.sleep(_POLL)
    if status.get("phase") != "Succeeded":
        return Link("pod", f"the proof pod on {node} is {status.get('phase') or 'gone'}: {_why(cluster, ref, status)}"), []
    seen = gpu_links.visible(cluster.logs(ref.namespace, ref.name))
    problem = "" if len(seen) == 1 else f"a pod that asks for 1 {call.params['resource']} on {node} sees {len(seen)} GPUs {', '.join(seen)}"
    return Link("pod", problem, "" if problem else f"a pod that asked for 1 {call.params['resource']} saw {seen[0]}"), seen


def _why(cluster: Cluster, ref: Ref, status: Object) -> str:
    waiting = [(container.get("state") or {}).get("waiting") or {} for container in status.get("containerStatuses") or []]
    words = [status.get("reason"), status.get("message"), *(f"{state.get('reason')}: {state.get('message', '')}" for state in waiting if state)]
    events = cluster.list("v1", "Event", ref.namespace, fields=f"involvedObject.name={ref.name},type=Warning").items
    words += [event.get("message") for event in events[-1:]]
    if status.get("phase") == "Failed":
        try:
            words.append(cluster.logs(ref.namespace, ref.name, lines=5).strip())
        except ClusterError:  # it never started
            words.append("it wrote nothing")
    return "; ".join(dict.fromkeys(str(word) for word in words if word)) or "no reason given"


def proof_pod(params: Any, node: str, name: str) -> Object:
    """A pod on that node that asks for one device and passes Pod Security's level `restricted` but for its namespace's rules."""
    for key in ("image", "command"):
        if not params[key]:
            raise Refused([f"{key}: empty."])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": params["namespace"],
            "labels": {"app.kubernetes.io/name": "gpu-proof", "app.kubernetes.io/part-of": "slipway"},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "runtimeClassName": params["runtime_class"],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "activeDeadlineSeconds": params["timeout"],
            "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": [{"name": secret} for secret in params["image_pull_secrets"]],
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "runAsGroup": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "proof",
                    "image": params["image"],
                    "imagePullPolicy": "IfNotPresent",
                    "command": list(params["command"]),
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi", params["resource"]: "1"}},
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
