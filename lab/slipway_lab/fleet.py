# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many nodes that exist in the API alone, kept alive by kwok: for tests of scale."""

from __future__ import annotations

import json
import time

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
        cluster.kubectl(lab, "delete", "nodes", "--ignore-not-found", "--wait=false", *chunk)
    kwok = Process(lab, "kwok")
    if not wanted:
        kwok.end()
        return
    if not kwok.alive():
        program = programs.build(lab, "kwok") / "kwok"
        with (lab.logs / "kwok.log").open("ab") as out:
            kwok.start(
                [
                    program,
                    f"--kubeconfig={lab.kubeconfig}",
                    f"--manage-nodes-with-label-selector={LABEL}",
                    "--node-lease-duration-seconds=40",
                    "--server-address=",
                ],
                out,
            )
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
        conditions = cluster.kubectl(
            lab, "get", "nodes", "-l", LABEL, "-o", 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}', quiet=True
        )
        ready = conditions.split().count("True")
        if ready >= count:
            return
        if not kwok.alive() or time.monotonic() > deadline:
            raise LabError(f"{ready} of {count} nodes of the fleet are Ready; kwok's log: {lab.logs / 'kwok.log'}")
        time.sleep(1)
