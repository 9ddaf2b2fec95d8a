# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The running lab, asked through its own API and machines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "lab"))

from slipway_lab import containers, layout

BUSYBOX = "docker.io/library/busybox:stable"


class RunningLab:
    """kubectl, machines and names of the lab of this clone."""

    def __init__(self) -> None:
        self.layout = layout.from_environment(ROOT)
        self.kubeconfig = self.layout.kubeconfig

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        argv = [str(self.layout.state / "bin" / "kubectl"), "--kubeconfig", str(self.kubeconfig), *args]
        p = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=300, check=False)
        if check and p.returncode:
            raise AssertionError(f"kubectl {' '.join(args)}: {p.stderr}")
        return p.stdout

    def get(self, *args: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def on(self, machine: str, script: str) -> str:
        """Standard output of a shell script on a machine, by ssh as a user would."""
        argv = ["ssh", "-F", str(self.layout.ssh / "config"), machine, script]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout

    def podman(self, *args: str) -> str:
        return containers.podman(self.layout, *args)

    def container(self, node: str) -> str:
        return f"{self.layout.name}-{node}"


def wait_until(what: str, condition: Callable[[], Any], seconds: float = 180) -> Any:
    """The first true value of `condition`, within the time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.5)


def pod(name: str, namespace: str, node: str, script: str, image: str = BUSYBOX, **spec: Any) -> dict[str, Any]:
    """A pod of one container that runs a shell script on a given node."""
    container = {"name": "main", "image": image, "command": ["sh", "-c", script], "imagePullPolicy": "IfNotPresent", **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node} if node else {},
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            **spec,
        },
    }


def is_ready(record: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in record.get("status", {}).get("conditions", []))
