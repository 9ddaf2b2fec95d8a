# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of `kubelet_config`: the node's turn, the list that the running kubelet reports, and kubeadm's ConfigMap."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from . import _node_turn as node_turn
from . import _sysctl_pattern as sysctl_pattern
from ._config_text import Unreadable
from ._kubelet_plan import KEY, edited_document
from ._model import Cluster, Object, Ref, Refused, Unreachable
from ._module import Call
from ._run_node_change import Step, change_node

CONFIG_MAP = Ref("v1", "ConfigMap", "kube-system", "kubelet-config")
_MANAGER = "slipway:kubelet-config"
_PATIENCE = 20.0  # seconds for a restarted kubelet's own port, which opens about when the node is Ready


def run(call: Call, host: Step, run_id: str) -> dict[str, Any]:
    """Host and cluster brought to the wanted list."""
    cluster, wanted, present = call.cluster, list(call.params["sysctls"]), call.params["state"] == "present"
    problems = sysctl_pattern.problems(wanted, call.params["allow_wildcards"] or not present)
    if problems:
        raise Refused(problems)
    result = host("plan")
    node = node_turn.find(cluster.list("v1", "Node").items, result["node"], result["machine_id"])
    name = node["metadata"]["name"]
    config_map, document = _planned_config_map(cluster, wanted, present) if call.params["kubeadm_config_map"] else (None, None)
    live = reported(cluster, name)
    if not result["changed"] and live is not None and not satisfied(live, wanted, present):
        # Whoever changed the file knows whether a kubelet can live with it; with no edit of ours there would be nothing to put back.
        overridden = "it was changed without a restart of the kubelet, or a flag or another file overrides it"
        told = f"{name}: {result['source']} is as wanted, but the kubelet runs with {KEY} {live}: {overridden}."
        raise Refused([f"{told} Restart the kubelet, see that the node is Ready, and run this again."])
    if not present:
        _refuse_if_used(cluster, name, wanted)
    if result["changed"] and not call.check_mode:
        call.progress(f"{name}: the kubelet is going to be restarted with the sysctls {', '.join(result['after']) or 'none'}")
        change_node(call, host, node_turn.Turn(run_id, name), result, lambda: _unproved(cluster, name, wanted, present))
    if document is not None and config_map is not None:
        result["changed"] = True
        result["actions"] = [*result["actions"], f"change {KEY} in {CONFIG_MAP}, for new nodes and upgrades"]
        if "diff" in result:
            before, title = config_map["data"]["kubelet"], str(CONFIG_MAP)
            result["diff"].append({"before": before, "after": document, "before_header": title, "after_header": title})
        if not call.check_mode:
            # After the node: what broke one kubelet shall not reach those that join later.
            _replace(cluster, config_map, document)
    state = "ignored" if not call.params["kubeadm_config_map"] else "absent" if config_map is None else "unchanged" if document is None else "updated"
    return {**result, "node": name, "config_map": state}


def reported(cluster: Cluster, node: str, patience: float = 0.0) -> list[str] | None:
    """The list that the running kubelet itself reports; None where this account may not ask it, or it does not answer within `patience` seconds."""
    try:
        answer = cluster.request("GET", f"/api/v1/nodes/{node}/proxy/configz", timeout=10, patience=patience)
    except Unreachable:  # the kubelet, behind a wall say, or the API server itself: that says so here
        cluster.get(Ref("v1", "Node", "", node))
        return None
    if answer.status != 200:
        return None
    return list(json.loads(answer.body).get("kubeletconfig", {}).get(KEY) or [])


def satisfied(entries: Sequence[str], wanted: Sequence[str], present: bool) -> bool:
    if present:
        return all(sysctl_pattern.covers(entries, name) for name in wanted)
    kept = {sysctl_pattern.normalised(name) for name in entries}
    return not any(sysctl_pattern.normalised(name) in kept for name in wanted)


def _unproved(cluster: Cluster, node: str, wanted: Sequence[str], present: bool) -> str:
    live = reported(cluster, node, patience=_PATIENCE)
    if live is None or satisfied(live, wanted, present):
        return ""
    return f"the kubelet runs, but reports {KEY} {live}: a flag or another file overrides the one that was changed"


def _planned_config_map(cluster: Cluster, wanted: Sequence[str], present: bool) -> tuple[Object | None, str | None]:
    """The ConfigMap, if there is one, and its new document, None where that stays as it is."""
    found = cluster.get(CONFIG_MAP)
    text = ((found or {}).get("data") or {}).get("kubelet")
    if found is None or text is None:
        return None, None
    try:
        after = edited_document(text, wanted, present)[0]
    except Unreadable as error:
        raise Refused([f"{CONFIG_MAP}, key kubelet: {error}. Nothing was changed; set `kubeadm_config_map: false` to leave it out."]) from None
    return found, after if after != text else None


def _replace(cluster: Cluster, config_map: Object, document: str) -> None:
    guard = {"op": "replace", "path": "/metadata/resourceVersion", "value": config_map["metadata"]["resourceVersion"]}
    cluster.patch(CONFIG_MAP, [guard, {"op": "replace", "path": "/data/kubelet", "value": document}], _MANAGER)


def _refuse_if_used(cluster: Cluster, node: str, names: Sequence[str]) -> None:
    """A kubelet admits its running pods anew when it starts: one that uses a sysctl no longer allowed would fail."""
    problems = []
    for pod in node_turn.pods(cluster, node):
        for sysctl in ((pod["spec"].get("securityContext") or {}).get("sysctls")) or []:
            if pod.get("status", {}).get("phase") in ("Pending", "Running") and sysctl_pattern.covers(names, sysctl["name"]):
                problems.append(f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} on {node} uses {sysctl['name']}: stop it first.")
    if problems:
        raise Refused(problems)
