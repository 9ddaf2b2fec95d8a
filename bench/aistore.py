# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""AIStore as the role deploys it against the same program, configuration and disks without Kubernetes, each under AIStore's own aisloader.

The bare daemons run on the same nodes as systemd units, with a directory of their own on the same disks and the node's network; their program is copied
from the deployed one's process. Both stay up; they take turns under load, so that a busy machine is busy for both. The deployed cluster is loaded from an
ordinary pod through its Service, the bare one from the node's network. Every write goes to a bucket that is destroyed right after.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results import Bench

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "collections"))
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_load as load

KUBECONFIG = os.environ.get("SLIPWAY_TEST_KUBECONFIG") or str(ROOT / ".lab" / "kubeconfig")
STATE = Path(KUBECONFIG).parent
NAME, NAMESPACE = "ais", "ais"
FOLDER, DIRECTORY = "/var/tmp/slipway-bench-aistore", "slipway-bench"
# Public, control, data: beside those of pods with a hostPort.
PORTS = {"proxy": (52080, 52082, 52083), "target": (52081, 52084, 52085)}
DEPLOYED, BARE = "deployed by the role", "bare daemons"
CASES = {"reads": 0, "writes": 100}


def kubectl(*arguments: str, text: str | None = None, check: bool = True) -> str:
    command = [str(STATE / "bin" / "kubectl"), "--kubeconfig", KUBECONFIG, *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
    if check and done.returncode:
        raise SystemExit(f"kubectl {' '.join(arguments)[:200]}: {done.stderr}")
    return done.stdout


def ssh(node: str, script: str) -> str:
    command = ["ssh", "-F", str(STATE / "ssh" / "config"), node, "bash -euc " + shlex.quote(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120)
    if done.returncode:
        raise SystemExit(f"{node}: {done.stderr[-1000:]}")
    return done.stdout


def until(what: str, true: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(0.5)
    raise SystemExit(f"{what}: not within {seconds:.0f} s")


class Deployed:
    """What there is: nodes by role, their addresses, mount paths and the configuration that a new cluster starts with."""

    def __init__(self) -> None:
        labels = f"app.kubernetes.io/name=aistore,app.kubernetes.io/instance={NAME}"
        sets = json.loads(kubectl("-n", NAMESPACE, "get", "statefulset", "-l", labels, "-o", "json"))
        self.nodes: dict[str, list[str]] = {"proxy": [], "target": []}
        self.disks: list[str] = []
        for item in sets["items"]:
            role, node = item["metadata"]["labels"]["app.kubernetes.io/component"], item["metadata"]["annotations"]["slipway.mlops/node"]
            self.nodes[role].append(node)
            mounts = item["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
            self.disks = self.disks or [mount["mountPath"] for mount in mounts if mount["name"].startswith("disk")]
        if not self.nodes["target"]:
            raise SystemExit(f"there is no AIStore cluster {NAME} in namespace {NAMESPACE}; run site.yml first")
        config = json.loads(kubectl("-n", NAMESPACE, "get", "configmap", f"{NAME}-ais-config", "-o", "json"))["data"]
        self.config = json.loads(config["ais.json"])
        listed = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
        self.addresses = {
            node["metadata"]["name"]: next(entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP") for node in listed
        }
        # The client shares no node with a target where there is one without.
        self.client = sorted(self.addresses, key=lambda name: (name in self.nodes["target"], name))[0]


class Bare:
    """The same daemons without Kubernetes, from `with` to its end."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._primary = sorted(deployed.nodes["proxy"])[0]
        self.address = deployed.addresses[self._primary]
        self._members = [(role, node) for role in ("proxy", "target") for node in deployed.nodes[role]]

    def __enter__(self) -> Bare:
        self._clean()
        for role, node in self._members:
            self._start(role, node)
        until("the bare daemons form a cluster", self._is_formed, 120)
        return self

    def __exit__(self, *_error: object) -> None:
        self._clean()

    def _start(self, role: str, node: str) -> None:
        address, (public, control, data), home = self._deployed.addresses[node], PORTS[role], f"{FOLDER}/{role}"
        url = f"http://{self.address}:{PORTS['proxy'][1]}"
        whole = {**self._deployed.config, "proxy": {"primary_url": url, "original_url": url, "discovery_url": url}}
        network = {"hostname": address, "hostname_intra_control": address, "hostname_intra_data": address}
        network |= {"port": str(public), "port_intra_control": str(control), "port_intra_data": str(data)}
        local: dict[str, Any] = {"confdir": f"{home}/conf", "log_dir": f"{home}/log", "host_net": network}
        disks = [f"{path}/{DIRECTORY}" for path in self._deployed.disks] if role == "target" else []
        if disks:
            local["fspaths"] = dict.fromkeys(disks, "")
        count = f"-ntargets={len(self._deployed.nodes['target'])}" if role == "proxy" else ""
        ssh(node, f"""
            mkdir -p {home}/conf {home}/log {' '.join(disks)}
            [ -e {FOLDER}/aisnode ] || cp /proc/$(pgrep -x aisnode | head -1)/exe {FOLDER}/aisnode
            printf %s {shlex.quote(json.dumps(whole))} > {home}/ais.json
            printf %s {shlex.quote(json.dumps(local))} > {home}/local.json
            chown -R 10002:10002 {home} {' '.join(disks)}
            systemd-run --quiet --collect --unit=slipway-bench-{role} --setenv=HOME=/tmp --setenv=USER=ais \\
              setpriv --reuid=10002 --regid=10002 --clear-groups {FOLDER}/aisnode -role={role} -config={home}/ais.json -local_config={home}/local.json {count}
        """)  # fmt: skip

    def _is_formed(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.address}:{PORTS['proxy'][0]}/v1/daemon?what=smap", timeout=5) as answer:
                found = json.loads(answer.read())
        except (OSError, ValueError):
            return False
        counts = {role: len(found[key] or {}) for key, role in (("pmap", "proxy"), ("tmap", "target"))}
        return bool(found.get("uuid")) and counts == {role: len(nodes) for role, nodes in self._deployed.nodes.items()}

    def _clean(self) -> None:
        for node in sorted({node for _role, node in self._members}):
            disks = " ".join(f"{path}/{DIRECTORY}" for path in self._deployed.disks)
            ssh(node, f"systemctl stop slipway-bench-target slipway-bench-proxy 2>/dev/null || true; rm -rf {FOLDER} {disks}")


class Loader:
    """aisloader in a pod of its own for each run."""

    def __init__(self, deployed: Deployed, bare: Bare, workers: int, sizes: tuple[str, str]) -> None:
        self._deployed, self._workers, self._sizes = deployed, workers, sizes
        self._ends = {DEPLOYED: (f"{NAME}-ais-proxy.{NAMESPACE}.svc.cluster.local", 51080), BARE: (bare.address, PORTS["proxy"][0])}
        self._runs = 0
        spec = json.loads(kubectl("-n", NAMESPACE, "get", "statefulset", "-o", "json"))["items"][0]["spec"]["template"]["spec"]
        self._image = spec["containers"][0]["image"].replace("aisnode:", "aisloader:")
        self._secrets = spec.get("imagePullSecrets", [])

    def run(self, contender: str, bucket: str, put_percent: int, seconds: float, keep: bool) -> float:
        """MiB/s, as aisloader itself counts."""
        self._runs += 1
        name, (host, port) = f"bench-load-{os.getpid()}-{self._runs}", self._ends[contender]
        arguments = [
            f"-ip={host}", f"-port={port}", f"-bucket=ais://{bucket}", f"-numworkers={self._workers}", f"-minsize={self._sizes[0]}",
            f"-maxsize={self._sizes[1]}", f"-pctput={put_percent}", f"-duration={seconds:.0f}s", f"-cleanup={'false' if keep else 'true'}",
            "-readertype=sg", "-statsinterval=1", "-json", "-quiet",
        ]  # fmt: skip
        container = {"name": "load", "image": self._image, "args": arguments, "env": [{"name": "USER", "value": "ais"}, {"name": "HOME", "value": "/tmp"}]}
        spec = {
            "restartPolicy": "Never", "nodeName": self._deployed.client, "tolerations": [{"operator": "Exists"}], "imagePullSecrets": self._secrets,
            "hostNetwork": contender == BARE, "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
            "terminationGracePeriodSeconds": 1, "containers": [container],
        }  # fmt: skip
        kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}))
        try:
            phase = ["-n", NAMESPACE, "get", "pod", name, "-o", "jsonpath={.status.phase}"]
            ended = until(f"{name} ends", lambda: next((word for word in ("Succeeded", "Failed") if kubectl(*phase) == word), ""), seconds + 120)
            log = kubectl("-n", NAMESPACE, "logs", name)
            if ended == "Failed":
                raise SystemExit(f"aisloader on {contender}:\n{log[-2000:]}")
            found = load.summary([load.parse(self._deployed.client, log)])
        finally:
            kubectl("-n", NAMESPACE, "delete", "pod", name, "--wait=false", check=False)
        if sum(row["errors"] for row in found.values()):
            raise SystemExit(f"aisloader on {contender} met errors: {json.dumps(found)}")
        return float(sum(row["mib_per_second"] for row in found.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="of runs in each case; the order changes from one to the next")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sizes", nargs=2, default=("1MiB", "1MiB"), help="least and largest object")
    options = parser.parse_args()
    command = f"python bench/aistore.py --pairs {options.pairs} --seconds {options.seconds:g} --workers {options.workers} --sizes {' '.join(options.sizes)}"
    bench = Bench("aistore", "AIStore under aisloader: deployed by the role, and bare on the same disks", command)
    deployed = Deployed()
    with Bare(deployed) as bare, Cleaner(deployed, bare) as cleaner:
        loader = Loader(deployed, bare, options.workers, tuple(options.sizes))
        samples = measure(loader, cleaner, options.pairs, options.seconds)
    for case in CASES:
        for contender in (DEPLOYED, BARE):
            bench.add(case, contender, samples[case, contender], "MiB/s")
        pairs = [ours / theirs for ours, theirs in zip(samples[case, DEPLOYED], samples[case, BARE])]
        bench.ratio(f"AIStore, deployed / bare, {case}", 1.0, statistics.median(pairs))
    targets, proxies = len(deployed.nodes["target"]), len(deployed.nodes["proxy"])
    bench.notes.append("Ratios are medians of those of the interleaved pairs.")
    bench.notes.append(f"{targets} targets with {len(deployed.disks)} disks each, {proxies} proxies, client on {deployed.client}; all on one machine.")
    bench.write()
    print(bench.markdown())


def measure(loader: Loader, cleaner: Cleaner, pairs: int, seconds: float) -> dict[tuple[str, str], list[float]]:
    samples: dict[tuple[str, str], list[float]] = {(case, contender): [] for case in CASES for contender in (DEPLOYED, BARE)}
    filled = f"bench-{os.getpid()}"
    try:
        for contender in (DEPLOYED, BARE):
            loader.run(contender, filled, 100, min(seconds, 5), keep=True)
        for number in range(pairs):
            for case, put_percent in CASES.items():
                for contender in (DEPLOYED, BARE)[:: 1 if number % 2 else -1]:
                    bucket = f"{filled}-{number}" if put_percent else filled
                    cleaner.clean()
                    found = loader.run(contender, bucket, put_percent, seconds, keep=not put_percent)
                    samples[case, contender].append(found)
                    print(f"pair {number + 1}, {case}: {contender} {found:.0f} MiB/s", flush=True)
    finally:
        cleaner.destroy(filled)
    return samples


class Cleaner:
    """What the controller asks of both clusters between the runs; the deployed one is reached by a forwarded port from `with` to its end."""

    def __init__(self, deployed: Deployed, bare: Bare) -> None:
        self._deployed, self._bare = deployed, bare

    def __enter__(self) -> Cleaner:
        pod = kubectl("-n", NAMESPACE, "get", "pod", "-l", f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=proxy", "-o", "name").split()[0]
        command = [str(STATE / "bin" / "kubectl"), "--kubeconfig", KUBECONFIG, "-n", NAMESPACE, "port-forward", pod, ":51080"]
        self._forward = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._forward.stdout is not None
        port = self._forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        self._ends = {DEPLOYED: f"http://127.0.0.1:{port}", BARE: f"http://{self._bare.address}:{PORTS['proxy'][0]}"}
        return self

    def __exit__(self, *_error: object) -> None:
        self._forward.terminate()
        self._forward.wait()

    def clean(self) -> None:
        for contender in self._ends:
            self._ask(contender, "PUT", "/v1/cluster", {"action": "start", "value": {"kind": "cleanup-store"}})
        for node in self._deployed.nodes["target"]:
            until(f"what was destroyed is gone from the disks of {node}", lambda node=node: self._is_clean(node), 60)

    def destroy(self, bucket: str) -> None:
        """The bucket that was read from, on the deployed cluster; the bare one's disks are emptied as a whole."""
        self._ask(DEPLOYED, "DELETE", f"/v1/buckets/{bucket}?provider=ais", {"action": "destroy-bck"})

    def _is_clean(self, node: str) -> bool:
        return not ssh(node, f"sync; find {' '.join(self._deployed.disks)} -path '*/.$deleted/*' -type f -print -quit")

    def _ask(self, contender: str, method: str, path: str, body: dict[str, Any]) -> None:
        request = urllib.request.Request(
            self._ends[contender] + path, method=method, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60):
            pass


if __name__ == "__main__":
    main()
