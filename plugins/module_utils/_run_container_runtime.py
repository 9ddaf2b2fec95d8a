# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of `container_runtime`: the node's turn, and what the node itself says of its handlers."""

from __future__ import annotations

from typing import Any

from . import _node_turn as node_turn
from ._model import Cluster, Ref
from ._module import Call
from ._run_node_change import Step, change_node


def run(call: Call, host: Step, run_id: str) -> dict[str, Any]:
    """Host and node brought to the wanted state."""
    result = host("plan")
    if result.get("skipped"):
        return result
    node = node_turn.find(call.cluster.list("v1", "Node").items, result["node"], result["machine_id"])
    name = node["metadata"]["name"]
    if result["changed"] and not call.check_mode:
        verb = "restarted" if result["restarted"] else "reloaded"
        call.progress(f"{name}: {result['unit']} is going to be {verb}")
        wanted = call.params["handler"] if call.params["state"] == "present" else ""
        change_node(call, host, node_turn.Turn(run_id, name), result, lambda: _unproved(call.cluster, name, wanted))
        after = host("plan")
        result["handlers"] = after["handlers"]
    return {**result, "node": name}


def _unproved(cluster: Cluster, name: str, handler: str) -> str:
    """The kubelet's own list of handlers; engines before containerd 2.0 do not tell it."""
    node = cluster.get(Ref("v1", "Node", "", name)) or {}
    known = {entry.get("name") for entry in node.get("status", {}).get("runtimeHandlers") or []} - {None, ""}
    return f"the node reports the runtime handlers {', '.join(sorted(known))}, and not {handler}" if handler and known and handler not in known else ""
