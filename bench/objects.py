# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A set of Kubernetes objects by one task, against kubernetes.core's one task with the same file and `kubectl apply --server-side`.

"Above" is the wall time of the whole process less that of an empty play measured in the same round. Contenders take turns, each in a namespace of its own,
so that a busy machine is busy for all. Deployments and StatefulSets have no replicas: nothing but the API server is measured, and nobody waits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import Bench

ROOT = Path(__file__).resolve().parent.parent
OURS, PEERS = Path(sys.executable).parent / "ansible-playbook", ROOT / "bench" / ".venv" / "bin" / "ansible-playbook"
EMPTY, SLIPWAY, CORE, KUBECTL = "empty play", "slipway.mlops", "kubernetes.core", "kubectl apply --server-side"
SHARES = {"ConfigMap": 60, "Secret": 40, "Service": 30, "ServiceAccount": 29, "Deployment": 25, "StatefulSet": 6, "Role": 5, "NetworkPolicy": 5}  # of 200


def objects(count: int, first_value: str = "v") -> list[dict[str, Any]]:
    """`count` objects of eight kinds, about 2 kB each."""
    text = "x" * 1500
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container(text)]}}
    workload = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    claim = {"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}
    bodies = {
        "ConfigMap": {"apiVersion": "v1", "data": {"text": text, "key": "v"}},
        "Secret": {"apiVersion": "v1", "stringData": {"text": text}},
        "Service": {"apiVersion": "v1", "spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"name": "http", "port": 80}]}},
        "ServiceAccount": {"apiVersion": "v1"},
        "Deployment": {"apiVersion": "apps/v1", "spec": workload},
        "StatefulSet": {"apiVersion": "apps/v1", "spec": {**workload, "serviceName": "s", "volumeClaimTemplates": [claim]}},
        "Role": {"apiVersion": "rbac.authorization.k8s.io/v1", "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        "NetworkPolicy": {"apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    }
    kinds = [kind for kind, share in SHARES.items() for _each in range(share)]
    step = len(kinds) / count
    chosen = [kinds[int(index * step)] for index in range(count)]
    found = [{**bodies[kind], "kind": kind, "metadata": {"name": f"bench-{index}", "labels": {"app": "bench"}}} for index, kind in enumerate(chosen)]
    found[0] = {**found[0], "data": {"text": text, "key": first_value}}
    return found


def container(text: str) -> dict[str, Any]:
    environment = [{"name": "TEXT", "value": text}]
    return {"name": "c", "image": "x:1", "ports": [{"containerPort": 80}], "env": environment, "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}}


@dataclass
class Sample:
    """One process: wall seconds, CPU seconds and the largest resident set in MB of it and all that it started."""

    wall: float
    cpu: float
    memory: float


def measure(argv: list[str], environ: dict[str, str] | None = None) -> Sample:
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **(environ or {})}, stdout=output, stderr=output)
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{argv[0]}: exit status {process.returncode}\n{output.read()[-3000:].decode()}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


class Contenders:
    """The same file of objects by each of them, into a namespace of their own."""

    def __init__(self, kubeconfig: str, kubectl: str, folder: Path, count: int) -> None:
        self._kubeconfig, self._kubectl, self._folder = kubeconfig, kubectl, folder
        self.files = {name: folder / f"{name}.yaml" for name in ("same", "other")}
        for name, path in self.files.items():
            items = objects(count, "v" if name == "same" else "w")
            path.write_text("---\n".join(json.dumps(item) + "\n" for item in items))

    def kubectl(self, *arguments: str) -> None:
        subprocess.run([self._kubectl, "--kubeconfig", self._kubeconfig, *arguments], check=True, capture_output=True)

    def run(self, contender: str, namespace: str, file: str) -> Sample:
        if contender == KUBECTL:
            return measure([self._kubectl, "--kubeconfig", self._kubeconfig, "apply", "--server-side", "-n", namespace, "-f", str(self.files[file])])
        tasks: list[dict[str, Any]] = []
        if contender == SLIPWAY:
            text = "{{ lookup('ansible.builtin.file', '" + str(self.files[file]) + "') }}"
            set_of = {"kubeconfig": self._kubeconfig, "name": "bench", "namespace": namespace, "manifests": text, "wait": False}
            tasks = [{"slipway.mlops.k8s_manifests": set_of}]
        elif contender == CORE:
            tasks = [{"kubernetes.core.k8s": {"kubeconfig": self._kubeconfig, "namespace": namespace, "src": str(self.files[file])}}]
        book = self._folder / "play.json"
        book.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]))
        program = PEERS if contender == CORE else OURS
        config = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LOCALHOST_WARNING": "false"}
        return measure([str(program), str(book)], config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="200", help="numbers of objects, comma separated")
    parser.add_argument("--runs", type=int, default=5, help="rounds; each contender runs once in each")
    parser.add_argument("--kubeconfig", default=str(ROOT / ".lab" / "kubeconfig"))
    parser.add_argument("--kubectl", default=str(ROOT / ".lab" / "bin" / "kubectl"))
    options = parser.parse_args()
    bench = Bench("objects", "A set of Kubernetes objects in one task", f"python bench/objects.py --sizes {options.sizes} --runs {options.runs}")
    for size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            one_size(bench, Contenders(options.kubeconfig, options.kubectl, Path(folder), size), size, options.runs)
    bench.notes.append("Processes are measured whole, with all that they start; `above` is less the empty play of the same round.")
    bench.write()
    print(bench.markdown())


def one_size(bench: Bench, contenders: Contenders, size: int, runs: int) -> None:
    names = [SLIPWAY, CORE, KUBECTL]
    samples: dict[tuple[str, str], list[Sample]] = {}
    for number in range(runs):
        spaces = {name: f"bench-{os.getpid()}-{number}-{index}" for index, name in enumerate(names)}
        for space in spaces.values():
            contenders.kubectl("create", "namespace", space)
        try:
            for case, file in (("first apply", "same"), ("no change", "same"), ("one changed", "other")):
                samples.setdefault((case, EMPTY), []).append(contenders.run(EMPTY, "", ""))
                for name in names:
                    samples.setdefault((case, name), []).append(contenders.run(name, spaces[name], file))
        finally:
            contenders.kubectl("delete", "namespace", "--wait=false", *spaces.values())
    for (case, name), found in samples.items():
        bench.add(f"{size} objects, {case}", name, [sample.wall for sample in found])
    for case, above, whole in (("first apply", 3.0, 1.0), ("no change", 8.0, 1.0), ("one changed", None, None)):
        compare(bench, f"{size} objects, {case}", {name: samples[(case, name)] for name in [EMPTY, *names]}, (above, whole) if size == 200 else (None, None))
    bench.add(f"{size} objects, largest process", SLIPWAY, [max(s.memory for s in samples[(case, SLIPWAY)]) for case in ("first apply", "no change")], "MB")
    bench.add(f"{size} objects, largest process", CORE, [max(s.memory for s in samples[(case, CORE)]) for case in ("first apply", "no change")], "MB")


def compare(bench: Bench, case: str, found: dict[str, list[Sample]], wanted: tuple[float | None, float | None]) -> None:
    for what, word, asked in (("wall", "", wanted[0]), ("cpu", "CPU ", None)):
        above = {name: [getattr(one, what) - getattr(empty, what) for one, empty in zip(found[name], found[EMPTY])] for name in (SLIPWAY, CORE)}
        rows = {name: bench.add(case, f"{name}, {word}above an empty play", values) for name, values in above.items()}
        bench.ratio(f"{word}above an empty play, kubernetes.core / ours, {case}", rows[SLIPWAY].median, rows[CORE].median, asked)
    whole = {name: statistics.median(one.wall for one in found[name]) for name in (SLIPWAY, KUBECTL)}
    bench.ratio(f"whole process, kubectl / ours, {case}", whole[SLIPWAY], whole[KUBECTL], wanted[1])


if __name__ == "__main__":
    main()
