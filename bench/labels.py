# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels of many nodes by one task, against kubernetes.core's one task with a list and `kubectl apply --server-side`.

The nodes are objects without a machine, made for the bench and removed after it. Two labels each, first new, then in place. "Above" as in objects.py.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from objects import CORE, EMPTY, KUBECTL, OURS, PEERS, ROOT, SLIPWAY, Sample, measure
from results import Bench

sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._cluster import HttpCluster
from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load

LABELS = {"example.org/bench": "yes", "example.org/disks": "nvme"}


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


def run(contender: str, names: list[str], folder: Path, kubeconfig: str, kubectl: str, labels: dict[str, str]) -> Sample:
    objects = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}} for name in names]
    if contender == KUBECTL:
        path = folder / "nodes.yaml"
        path.write_text("---\n".join(json.dumps(item) + "\n" for item in objects))
        return measure([kubectl, "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", str(path)])
    tasks: list[dict[str, Any]] = []
    values: dict[str, Any] = {}
    if contender == SLIPWAY:
        tasks = [{"slipway.mlops.k8s_node_labels": {"kubeconfig": kubeconfig, "name": "bench", "nodes": "{{ wanted }}"}, "register": "outcome"}]
        values = {"wanted": {name: {"labels": labels} for name in names}}
    elif contender == CORE:
        tasks = [{"kubernetes.core.k8s": {"kubeconfig": kubeconfig, "state": "patched", "definition": "{{ wanted }}"}}]
        values = {"wanted": objects}
    book, variables = folder / "play.json", folder / "values.json"
    variables.write_text(json.dumps(values))
    book.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": [str(variables)], "tasks": tasks}]))
    program = PEERS if contender == CORE else OURS
    config = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LOCALHOST_WARNING": "false"}
    return measure([str(program), str(book)], config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--many", type=int, default=5000, help="nodes for the largest process, ours alone; 0 leaves it out")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kubeconfig", default=str(ROOT / ".lab" / "kubeconfig"))
    parser.add_argument("--kubectl", default=str(ROOT / ".lab" / "bin" / "kubectl"))
    options = parser.parse_args()
    command = f"python bench/labels.py --nodes {options.nodes} --many {options.many} --runs {options.runs}"
    bench = Bench("labels", "Labels of many nodes in one task", command)
    with tempfile.TemporaryDirectory() as folder:
        with Nodes(options.kubeconfig, options.nodes) as nodes:
            side_by_side(bench, nodes.names, Path(folder), options)
        if options.many:
            with Nodes(options.kubeconfig, options.many) as nodes:
                samples = [run(SLIPWAY, nodes.names, Path(folder), options.kubeconfig, options.kubectl, LABELS) for _time in ("new", "in place")]
            for case, sample in zip(("new labels", "in place"), samples):
                bench.add(f"{options.many} nodes, {case}", SLIPWAY, [sample.wall])
                bench.add(f"{options.many} nodes, {case}, largest process", SLIPWAY, [sample.memory], "MB")
    bench.write()
    print(bench.markdown())


def side_by_side(bench: Bench, names: list[str], folder: Path, options: argparse.Namespace) -> None:
    contenders = (SLIPWAY, CORE, KUBECTL)
    for contender in contenders:
        first = run(contender, names, folder, options.kubeconfig, options.kubectl, LABELS)
        bench.add(f"{len(names)} nodes, first by this contender", contender, [first.wall])
    found: dict[str, list[Sample]] = {name: [] for name in (EMPTY, *contenders)}
    for _round in range(options.runs):
        for contender, samples in found.items():
            samples.append(run(contender, names, folder, options.kubeconfig, options.kubectl, LABELS))
    case = f"{len(names)} nodes, in place"
    for contender, samples in found.items():
        bench.add(case, contender, [sample.wall for sample in samples])
    for what, word in (("wall", ""), ("cpu", "CPU ")):
        above = {name: [getattr(one, what) - getattr(empty, what) for one, empty in zip(found[name], found[EMPTY])] for name in (SLIPWAY, CORE)}
        above[KUBECTL] = [getattr(one, what) for one in found[KUBECTL]]
        rows = {name: bench.add(case, f"{name}, {word}above an empty play", values) for name, values in above.items() if name != KUBECTL}
        asked = (10.0, 5.0) if what == "wall" else (None, None)
        bench.ratio(f"{word}above an empty play, kubernetes.core / ours, {case}", rows[SLIPWAY].median, rows[CORE].median, asked[0])
        bench.ratio(f"{word}kubectl's whole process / ours above an empty play, {case}", rows[SLIPWAY].median, statistics.median(above[KUBECTL]), asked[1])


if __name__ == "__main__":
    main()
