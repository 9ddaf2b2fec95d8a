# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The run of a module that restarts a daemon of a node: steps on the host, and a look at the cluster between them.

`host` runs one step of the host module and returns its result: plan, apply, confirm, put_back. A step that fails raises HostFailed and
has left the host as it was, or says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import _node_turn as node_turn
from ._model import Refused
from ._module import Call

Step = Callable[..., dict[str, Any]]


class HostFailed(Refused):
    """A step on the host failed."""


def change_node(call: Call, host: Step, turn: node_turn.Turn, plan: Mapping[str, Any], prove: Callable[[], str]) -> None:
    """Apply the plan on the host in the node's turn; keep it only when node, pods and `prove` say so, else take it back and raise Refused."""
    cluster, clock, name, seconds = call.cluster, call.clock, turn.node, float(call.params["timeout"])
    with node_turn.taken(cluster, clock, turn, float(call.params["turn_timeout"]), call.progress):
        nodes = cluster.list("v1", "Node").items
        out = node_turn.others_out(nodes, name)
        if len(out) > call.params["max_nodes_out"]:
            raise Refused([f"{name} is left as it is, because other nodes are not Ready: {', '.join(out)}."])
        if not any(node_turn.ready(node) for node in nodes if node["metadata"]["name"] == name) and not plan["pending"]:
            raise Refused([f"{name} is left as it is, because it is not Ready even before the change."])
        expected = node_turn.pods_ready(cluster, name)
        node_turn.last_report(cluster, name)  # a right that is missing is told before the restart
        applied = host("apply")
        why = node_turn.wait_back(cluster, clock, name, expected, applied["restarted_at"], seconds, prove)
        if not why:
            host("confirm")
            call.progress(f"{name}: Ready again, and so are its {len(expected)} pods")
            return
        call.progress(f"{name}: {why}. The change is taken back")
        back = host("put_back")
        still = node_turn.wait_back(cluster, clock, name, expected, back["restarted_at"], seconds)
        raise Refused([f"{name}: {why}. {back['message']} " + (f"Now {still}." if still else "Node and pods are well again.")])
