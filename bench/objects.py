# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A set of Kubernetes objects from nothing to gone: one task of ours, one of kubernetes.core with the same file, kubectl and helm.

"Above" is the wall time of the whole process less that of an empty play measured in the same round; programs without Ansible have nothing to take off.
Contenders take turns, each in a namespace of its own. Deployments and StatefulSets have no replicas: nothing but the API server is measured, and
nobody waits. Requests are counted in a first round through a proxy, which is not timed; with --delay all rounds go through it, and each request takes longer.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contenders import CORE, EMPTY, HELM, HELM_PROGRAM, KUBECTL, PEERS, ROOT, SLIPWAY, Found, Sample, compare, in_turns, measure, play
from results import Bench

sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "tests" / "integration" / "kubernetes")]

from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load
from fault_proxy import FaultProxy

SHARES = {"ConfigMap": 60, "Secret": 40, "Service": 30, "ServiceAccount": 29, "Deployment": 25, "StatefulSet": 6, "Role": 5, "NetworkPolicy": 5}  # of 200
CREATE, SAME, CHECK, ONE, GONE = "first apply", "no change", "check mode, one differs", "one changed", "all but one removed"
CASES = (CREATE, SAME, CHECK, ONE, GONE)
PAUSE = 0.5  # seconds, for what the controllers do after each process


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


class Contenders:
    """The same objects by each of them, into a namespace of their own."""

    def __init__(self, kubeconfig: str, kubectl: str, folder: Path, count: int) -> None:
        self.kubeconfig, self._kubectl, self._folder = kubeconfig, kubectl, folder
        same, other = objects(count), objects(count, "w")
        for name, items in {"same": same, "other": other, "one": other[:1], "rest": other[1:]}.items():
            text = "---\n".join(json.dumps(item) + "\n" for item in items)
            self._file(name).write_text(text)
            chart = folder / name
            (chart / "templates").mkdir(parents=True)
            (chart / "Chart.yaml").write_text("apiVersion: v2\nname: bench\nversion: 0.1.0\n")
            (chart / "templates" / "all.yaml").write_text(text)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.yaml"

    def kubectl(self, *arguments: str) -> None:
        subprocess.run([self._kubectl, "--kubeconfig", self.kubeconfig, *arguments], check=True, capture_output=True)

    def run(self, contender: str, case: str, namespace: str, kubeconfig: str = "") -> Sample:
        way = {SLIPWAY: self._slipway, CORE: self._core, KUBECTL: self._with_kubectl, HELM: self._helm}.get(contender)
        return way(case, namespace, kubeconfig or self.kubeconfig) if way else play(self._folder, [])

    def _slipway(self, case: str, namespace: str, kubeconfig: str) -> Sample:
        file = {CHECK: "other", ONE: "other", GONE: "one"}.get(case, "same")
        text = "{{ lookup('ansible.builtin.file', '" + str(self._file(file)) + "') }}"
        options = {"kubeconfig": kubeconfig, "name": "bench", "namespace": namespace, "manifests": text, "wait": False}
        return play(self._folder, [{"slipway.mlops.k8s_manifests": options}], *(["--check"] if case == CHECK else []))

    def _core(self, case: str, namespace: str, kubeconfig: str) -> Sample:
        file, state = {CHECK: "other", ONE: "other", GONE: "rest"}.get(case, "same"), "absent" if case == GONE else "present"
        options = {"kubeconfig": kubeconfig, "namespace": namespace, "src": str(self._file(file)), "state": state}
        return play(self._folder, [{"kubernetes.core.k8s": options}], *(["--check"] if case == CHECK else []), program=PEERS)

    def _with_kubectl(self, case: str, namespace: str, kubeconfig: str) -> Sample:
        words, file, well = {
            CHECK: (["diff", "--server-side"], "other", (0, 1)),
            ONE: (["apply", "--server-side"], "other", (0,)),
            GONE: (["delete", "--wait=false"], "rest", (0,)),
        }.get(case, (["apply", "--server-side"], "same", (0,)))
        return measure([self._kubectl, "--kubeconfig", kubeconfig, *words, "-n", namespace, "-f", str(self._file(file))], well=well)

    def _helm(self, case: str, namespace: str, kubeconfig: str) -> Sample:
        file = {CHECK: "other", ONE: "other", GONE: "one"}.get(case, "same")
        extra = ["--dry-run=server"] if case == CHECK else []
        command = [str(HELM_PROGRAM), "--kubeconfig", kubeconfig, "upgrade", "--install", "bench", str(self._folder / file), "-n", namespace, *extra]
        return measure(command, {f"HELM_{what}_HOME": str(self._folder / "helm") for what in ("CACHE", "CONFIG", "DATA")})


@contextmanager
def spaces(contenders: Contenders, names: list[str], round_name: str) -> Iterator[dict[str, str]]:
    """A namespace for each contender; gone, with all in it, when the next round begins."""
    found = {name: f"bench-{os.getpid()}-{round_name}-{index}" for index, name in enumerate(names)}
    for space in found.values():
        contenders.kubectl("create", "namespace", space)
    time.sleep(PAUSE)
    try:
        yield found
    finally:
        contenders.kubectl("delete", "namespace", *found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="200", help="numbers of objects, comma separated")
    parser.add_argument("--runs", type=int, default=5, help="rounds; each contender runs once in each")
    parser.add_argument("--delay", type=int, default=0, help="milliseconds that each request takes longer")
    parser.add_argument("--kubeconfig", default=str(ROOT / ".lab" / "kubeconfig"))
    parser.add_argument("--kubectl", default=str(ROOT / ".lab" / "bin" / "kubectl"))
    options = parser.parse_args()
    proxy = FaultProxy(endpoint({"kubeconfig": options.kubeconfig}, {}, load))
    try:
        warm_up(options.kubeconfig, options.kubectl, proxy)
        for size in map(int, options.sizes.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                one_size(Contenders(options.kubeconfig, options.kubectl, Path(folder), size), proxy, Path(folder), size, options.runs, options.delay)
    finally:
        proxy.close()


def one_size(contenders: Contenders, proxy: FaultProxy, folder: Path, size: int, runs: int, delay: int) -> None:
    name = f"objects-{size}" + (f"-{delay}ms" if delay else "")
    title = f"{size} Kubernetes objects in one task" + (f", each request {delay} ms longer" if delay else "")
    bench = Bench(name, title, f"python bench/objects.py --sizes {size} --runs {runs}" + (f" --delay {delay}" if delay else ""))
    names = peers()
    through = kubeconfig_of(proxy.url, folder)
    label = f"{size} objects" + (f" at {delay} ms" if delay else "")
    cases = (CREATE, SAME) if delay else CASES

    with spaces(contenders, names, "count") as homes:
        for case in cases:
            for contender in names:
                proxy.forget()
                contenders.run(contender, case, homes[contender], str(through))
                bench.add(f"{label}, {case}", contender, [len(proxy.seen)], "requests")
    found: Found = {}
    proxy.delay = delay / 1000
    for number in range(runs):
        with spaces(contenders, names, str(number)) as homes:
            for case in cases:
                for contender in in_turns([EMPTY, *names], number):
                    sample = contenders.run(contender, case, homes.get(contender, ""), str(through) if delay else "")
                    found.setdefault((case, contender), []).append(sample)
                    time.sleep(PAUSE if contender != EMPTY and case in (CREATE, GONE) else 0)
    proxy.delay = 0.0
    for case in cases:
        compare(bench, label, found, case)
    bench.notes += [
        "Processes are measured whole, with all that they start; `above` is less the empty play of the same round, for those who run in Ansible.",
        "kubernetes.core and kubectl do not prune: they are told what to delete. helm's dry run shows no difference to what is there.",
    ]
    if HELM not in names:
        bench.notes.append("helm could not be built here.")
    bench.write()
    print(bench.markdown(), flush=True)


def warm_up(kubeconfig: str, kubectl: str, proxy: FaultProxy) -> None:
    """Clients keep what they learn of a server (kinds, schemas) on disk: the first contact is not what is measured."""
    with tempfile.TemporaryDirectory() as folder:
        few, through = Contenders(kubeconfig, kubectl, Path(folder), 10), kubeconfig_of(proxy.url, Path(folder))
        for server in (kubeconfig, str(through)):
            with spaces(few, peers(), "warm") as homes:
                for contender in peers():
                    few.run(contender, CREATE, homes[contender], server)


def peers() -> list[str]:
    return [SLIPWAY, CORE, KUBECTL, *([HELM] if HELM_PROGRAM.exists() else [])]


def kubeconfig_of(url: str, folder: Path) -> Path:
    """A kubeconfig for a server without credentials."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "users": [{"name": "bench", "user": {}}],
    }
    path = folder / "proxy.kubeconfig"
    path.write_text(json.dumps(content))
    return path


if __name__ == "__main__":
    main()
