# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many nodes that exist in the API alone, kept alive by kwok: for tests of scale."""

from __future__ import annotations

import json
import time
import urllib.parse

from slipway_lab import cluster, programs
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab
from slipway_lab.processes import Process

LABEL = "slipway.lab/fleet"
MAX_FLEET = 5000
# A pod that does not ask for such a node must never land on it: nothing would run there.
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}


def names(lab: Lab) -> list[str]:
    return cluster.kubectl(lab, "get", "nodes", "-l", LABEL, "-o", "name", quiet=True).replace("node/", "").split()


def resize(lab: Lab, count: int) -> None:
    """Makes fleet-0001 to fleet-<count> Ready and removes all others of the fleet."""
    wanted = [f"fleet-{i:04d}" for i in range(1, count + 1)]
    there = set(names(lab))
    surplus = sorted(there - set(wanted))
    for chunk in _chunks(surplus):
        # One request for many: kubectl would send one for each, five a second.
        selector = urllib.parse.quote(f"{LABEL},kubernetes.io/hostname in ({','.join(chunk)})")
        cluster.kubectl(lab, "delete", "--raw", f"/api/v1/nodes?labelSelector={selector}", quiet=True)
    kwok = Process(lab, "kwok")
    if not wanted:
        kwok.end()
        return
    if not kwok.alive():
        built = programs.build(lab, "kwok")
        stages = [f"--config={file}" for file in sorted(built.glob("*.yaml"))]
        flags = [f"--manage-nodes-with-label-selector={LABEL}", "--node-lease-duration-seconds=40", "--server-address="]
        with (lab.logs / "kwok.log").open("ab") as out:
            kwok.start([built / "kwok", f"--kubeconfig={lab.kubeconfig}", *flags, *stages], out)
    for chunk in _chunks([n for n in wanted if n not in there]):
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": [_node(name) for name in chunk]})
        cluster.kubectl(lab, "create", "-f", "-", stdin=body)
    _wait(lab, count, kwok)


def _chunks(items: list[str], size: int = 250) -> list[list[str]]:
    return [items[i : i + size] for i in range(0, len(items), size)]


def _node(name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {LABEL: "", "type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"taints": [TAINT]},
    }


def _wait(lab: Lab, count: int, kwok: Process, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while True:
        path = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
        ready = cluster.kubectl(lab, "get", "nodes", "-l", LABEL, "-o", f"jsonpath={path}", quiet=True).split().count("True")
        if ready >= count:
            return
        if not kwok.alive() or time.monotonic() > deadline:
            raise LabError(f"{ready} of {count} nodes of the fleet are Ready; kwok's log: {lab.logs / 'kwok.log'}")
        time.sleep(1)
