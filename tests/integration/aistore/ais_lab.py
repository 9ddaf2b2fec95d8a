# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this folder need of the lab: plays, continuous traffic, and small clusters of their own beside the lab's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import the_lab
from ansible_collections.slipway.mlops.plugins.module_utils import _run_ais_cluster_info
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from the_lab import ANSIBLE_PLAYBOOK, INVENTORY, ROOT, STATE, until

sys.path.insert(0, str(ROOT / "lab"))

from slipway_lab import containers, layout

HERE = Path(__file__).parent
LAB = layout.from_environment(ROOT).name


def play_command(*args, **over):
    """A play on the lab with these variables."""
    return [ANSIBLE_PLAYBOOK, "-i", INVENTORY, *args, *(["-e", json.dumps(over)] if over else [])]


def environment(**more):
    return {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback_plugins"), **more}


@dataclass(frozen=True)
class Played:
    """How a play went: exit status, what was printed, and one entry for each task on each host."""

    code: int
    text: str
    entries: list

    @property
    def changed(self):
        return sum(host["changed"] for entry in self.entries for host in entry.get("stats", {}).values())

    @property
    def failure(self):
        """The message of the task that failed."""
        failed = [entry["result"].get("msg", "") for entry in self.entries if entry.get("failed")]
        return failed[-1] if failed else self.text[-3000:]

    def result(self, words):
        """The result on localhost of the last task whose name holds `words`."""
        found = [entry["result"] for entry in self.entries if words in entry.get("task", "") and entry["host"] == "localhost"]
        assert found, [entry.get("task") for entry in self.entries]
        return found[-1]


def playbook(*args, timeout=2400, **over):
    with tempfile.NamedTemporaryFile("r", suffix=".json") as results:
        done = subprocess.run(
            play_command(*args, **over), capture_output=True, text=True, cwd=ROOT, env=environment(RESULTS_FILE=results.name), check=False, timeout=timeout
        )
        return Played(done.returncode, done.stdout + done.stderr, [json.loads(line) for line in results])


def good(played):
    """A play that went well."""
    assert played.code == 0, played.failure
    return played


def ssh(node, script, check=True):
    command = ["ssh", "-F", str(STATE / "ssh" / "config"), node, script]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=120)
    assert not check or done.returncode == 0, f"{node}: {script}: {done.stderr}"
    return done.stdout


def restart_node(node):
    """Off and on again; the machine mounts its disks by fstab."""
    lab = layout.from_environment(ROOT)
    containers.podman(lab, "restart", "--time", "20", f"{lab.name}-{node}")


class Small:
    """A cluster beside the lab's own, in a namespace and on disks of its own: of 4 GiB (sparse), mounted on `path`, named with `disk` (a number beside those of
    the lab, so that `lab/lab down` takes them away, too). Its name is that of the lab's, since node labels name one cluster per node."""

    def __init__(self, api, namespace, disk, targets, proxies, **over):
        self.api, self.namespace, self.disk, self.proxies, self.path = api, namespace, disk, proxies, f"/{namespace}/disk"
        self.variables = {
            "aistore_cluster": "ais", "aistore_namespace": namespace, "aistore_targets": targets, "aistore_proxies": proxies,
            "aistore_initial_primary": proxies[0], "aistore_mountpaths": [self.path], "aistore_mountpaths_by_target": {},
            "aistore_buckets": [{"name": "traffic"}], "aistore_client_namespaces": [], **over,
        }  # fmt: skip
        self._disks = {}

    def mount(self, node):
        """A new disk with XFS, mounted on the node as ais_datafs would; nothing where it has been done."""
        if node in self._disks:
            return
        file = STATE / "disks" / f"{LAB}-{node}-disk{self.disk}.img"
        with file.open("wb") as new:
            new.truncate(4 << 30)
        device = subprocess.run(["losetup", "--find", "--show", "--nooverlap", str(file)], capture_output=True, text=True, check=True).stdout.strip()
        self._disks[node] = (device, file)
        subprocess.run(["mkfs.xfs", "-q", "-f", device], check=True)
        ssh(node, f"SLIPWAY_LAB_NAME={LAB} SLIPWAY_LAB_NODE={node} /usr/local/lib/slipway-lab/link-disks")
        self.mount_again(node)

    def mount_again(self, node):
        ssh(node, f"mkdir -p {self.path} && mount -o noatime /dev/disk/by-id/{LAB}-{node}-disk{self.disk} {self.path} && chown 10002:10002 {self.path}")

    def remove(self):
        """The cluster and its disks; data included, since it is the test's."""
        the_lab.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=200s")
        for node, (device, file) in self._disks.items():
            until(f"{self.path} on {node} is free", lambda node=node: not ssh(node, f"! mountpoint -q {self.path} || umount {self.path} || echo busy"), 60)
            ssh(node, f"rmdir {self.path} {Path(self.path).parent}; rm -f /dev/disk/by-id/{LAB}-{node}-disk{self.disk}", check=False)
            subprocess.run(["losetup", "--detach", device], check=True)
            file.unlink()

    def arguments(self, *args):
        return ["playbooks/apps.yml", "--tags", "aistore", *args]

    def play(self, *args, **over):
        return playbook(*self.arguments(*args), **{**self.variables, **over})

    def start(self, **over):
        """The same without waiting for its end, in a process group of its own."""
        command = play_command(*self.arguments(), **{**self.variables, **over})
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment(RESULTS_FILE=os.devnull)}
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **silent)

    def settle(self, **over):
        """Plays once, and once more to see that nothing was left to do."""
        first = good(self.play(**over))
        assert good(self.play(**over)).changed == 0
        return first

    def ask(self, **over):
        options = {name: option.get("default") for name, option in _run_ais_cluster_info.ARGUMENTS.items()}
        return _run_ais_cluster_info.run(Call({**options, "namespace": self.namespace, **over}, cluster=self.api))

    def kubectl(self, *args, **rest):
        return the_lab.kubectl("-n", self.namespace, *args, **rest)

    def pods(self):
        """uid by name of the daemons' pods."""
        found = json.loads(self.kubectl("get", "pods", "-l", "app.kubernetes.io/name=aistore", "-o", "json"))["items"]
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in found}


def kill(process):
    """kill -9 of ansible-playbook and all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def continuous_traffic(namespace, bucket, size=65536):
    """The writer and reader in a pod of `namespace`; calling what it gives ends it and returns its summary."""

    def kubectl(*args, **rest):
        return the_lab.kubectl("-n", namespace, *args, **rest)

    name = f"traffic-{uuid.uuid4().hex[:6]}"
    script = (Path(__file__).parent / "continuous.py").read_text(encoding="utf-8")
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": "cp1",
            "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": [{"name": "slipway-registry"}],
            "securityContext": {"runAsUser": 10004, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "traffic",
                    "image": "registry.lab:5000/client:1",
                    "command": ["python3", "-c", script, f"http://ais-ais-proxy.{namespace}.svc:51080/s3", bucket, str(size)],
                    "securityContext": locked,
                }
            ],
        },
    }
    kubectl("apply", "-f", "-", text=json.dumps(pod))
    try:
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=280s")
        until("traffic flows", lambda: '"acknowledged"' in kubectl("logs", name, "--tail=1"), 60)

        def summary():
            kubectl("exec", name, "--", "touch", "/tmp/stop")
            until("the traffic is summed up", lambda: '"summary"' in kubectl("logs", name, "--tail=1"), 600)
            found = json.loads(kubectl("logs", name, "--tail=1"))["summary"]
            print(json.dumps(found, indent=1))
            return found

        yield summary
    finally:
        kubectl("delete", "pod", name, "--grace-period=1", check=False)


def nothing_lost(found):
    assert found["acknowledged"] > 0
    assert (found["corrupt"], found["lost"]) == (0, 0)
    assert found["listed"] >= found["acknowledged"]  # a write whose answer was lost may be there, too
