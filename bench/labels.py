# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels of many nodes by one task, against kubernetes.core's one task with a list and `kubectl apply --server-side`.

The nodes are objects without a machine, made for the bench and removed after it. Two labels each: new, then in place, then one node's changed.
"Above" as in objects.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from contenders import CORE, EMPTY, KUBECTL, PEERS, ROOT, SLIPWAY, Found, Sample, compare, in_turns, measure, play
from results import Bench

sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._cluster import HttpCluster
from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load

NEW, SAME, ONE = "new labels", "in place", "one changed"


def node(name: str) -> dict[str, Any]:
    """As a kubelet registers one, about 3 kB."""
    images = [{"names": [f"registry.example.org/team/image-{index}@sha256:{index:064d}"], "sizeBytes": 10**8} for index in range(20)]
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    taints = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"unschedulable": True, "taints": taints},
        "status": {"addresses": [{"type": "Hostname", "address": name}], "images": images, "capacity": {"cpu": "64", "memory": "512Gi"}},
    }


class Nodes:
    """`count` nodes on the API server, for as long as the bench takes."""

    def __init__(self, kubeconfig: str, count: int) -> None:
        self._cluster = HttpCluster(lambda: endpoint({"kubeconfig": kubeconfig}, {}, load), SystemClock())
        self.names = [f"bench-{os.getpid()}-{number}" for number in range(count)]

    def __enter__(self) -> Nodes:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self._cluster.create(node(name), "bench"), self.names))
        return self

    def __exit__(self, *_error: object) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._remove, self.names))

    def _remove(self, name: str) -> None:
        ref = Ref("v1", "Node", "", name)
        live = self._cluster.get(ref)
        if live is not None:
            self._cluster.delete(ref, live["metadata"]["uid"])


def labels(contender: str, number: int, value: str = "yes") -> dict[str, str]:
    """Of each contender and round its own: new to all nodes."""
    whose = contender.partition(" ")[0].strip(",").replace(".", "-")
    return {f"example.org/{whose}-{number}": value, "example.org/disks-" + whose: f"nvme-{number}"}


def run(contender: str, wanted: dict[str, dict[str, str]], folder: Path, kubeconfig: str, kubectl: str) -> Sample:
    objects = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": of}} for name, of in wanted.items()]
    if contender == KUBECTL:
        path = folder / "nodes.yaml"
        path.write_text("---\n".join(json.dumps(item) + "\n" for item in objects))
        return measure([kubectl, "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", str(path)])
    if contender == EMPTY:
        return play(folder, [])
    variables = folder / "values.json"
    if contender == SLIPWAY:
        variables.write_text(json.dumps({"wanted": {name: {"labels": of} for name, of in wanted.items()}}))
        task = {"slipway.mlops.k8s_node_labels": {"kubeconfig": kubeconfig, "name": "bench", "nodes": "{{ wanted }}"}}
        return play(folder, [task], vars_files=[str(variables)])
    variables.write_text(json.dumps({"wanted": objects}))
    task = {"kubernetes.core.k8s": {"kubeconfig": kubeconfig, "state": "patched", "definition": "{{ wanted }}"}}
    return play(folder, [task], program=PEERS, vars_files=[str(variables)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", default="1000", help="numbers of nodes, comma separated")
    parser.add_argument("--runs", type=int, default=5, help="rounds; each contender runs once in each")
    parser.add_argument("--cases", default=",".join((NEW, SAME, ONE)), help="which of them, comma separated")
    parser.add_argument("--ours-only", action="store_true", help="no peers: for numbers that take them hours")
    parser.add_argument("--kubeconfig", default=str(ROOT / ".lab" / "kubeconfig"))
    parser.add_argument("--kubectl", default=str(ROOT / ".lab" / "bin" / "kubectl"))
    options = parser.parse_args()
    for count in map(int, options.nodes.split(",")):
        with tempfile.TemporaryDirectory() as folder, Nodes(options.kubeconfig, count) as nodes:
            side_by_side(nodes.names, Path(folder), options)


def side_by_side(names: list[str], folder: Path, options: argparse.Namespace) -> None:
    count, cases = len(names), [case.strip() for case in options.cases.split(",")]
    flags = f" --cases '{options.cases}'" if len(cases) < 3 else ""
    command = f"python bench/labels.py --nodes {count} --runs {options.runs}{flags}" + (" --ours-only" if options.ours_only else "")
    bench = Bench(f"labels-{count}", f"Labels of {count} nodes in one task", command)
    contenders = [SLIPWAY] if options.ours_only else [SLIPWAY, CORE, KUBECTL]
    found: Found = {}

    def one(contender: str, case: str, number: int) -> Sample:
        wanted = {name: labels(contender, number) for name in names}
        if case == ONE:
            wanted[names[0]] = labels(contender, number, "no")
        return run(contender, wanted, folder, options.kubeconfig, options.kubectl)

    if NEW not in cases:
        for contender in contenders:
            one(contender, NEW, 0)
    for number in range(options.runs):
        for case in cases:
            for contender in in_turns([EMPTY, *contenders], number):
                found.setdefault((case, contender), []).append(one(contender, case, number if NEW in cases else 0))
    for case in cases:
        compare(bench, f"{count} nodes", found, case)
    bench.notes += [
        "The nodes are objects of 3 kB on the API server, without a machine.",
        "Linux counts for a process what its parent held when it was started: no largest process is below the bench itself.",
    ]
    bench.write()
    print(bench.markdown(), flush=True)


if __name__ == "__main__":
    main()
