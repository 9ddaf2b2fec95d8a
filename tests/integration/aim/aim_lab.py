# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of Aim share: the role in a namespace of their own, a notebook pod in another one, the UI's API through the API server."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._cluster import HttpCluster
from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load
from the_lab import KUBECONFIG, KUBECTL, REGISTRY_AUTH, kubectl, playbook, until

PREFIX = "aim-test-"
NAMESPACE, NOTEBOOKS = PREFIX + "aim", PREFIX + "notebooks"
IMAGE = "registry.lab:5000/aim:3.29.1"

PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  module_defaults:
    group/slipway.mlops.k8s: {kubeconfig: "{{ slipway_kubeconfig }}"}
  roles:
    - {role: slipway.mlops.aim, tags: aim}
"""


class Aim:
    """The role, and what it runs."""

    def __init__(self, folder: Path, namespace: str = NAMESPACE, **values: Any) -> None:
        self.namespace = namespace
        self._play = folder / f"{namespace}.yml"
        self._play.write_text(PLAY)
        self._cluster = HttpCluster(lambda: endpoint({"kubeconfig": KUBECONFIG}, {}, load), SystemClock())
        self._values = {"aim_namespace": namespace, "aim_client_image": IMAGE, **values}

    def play(self, *arguments: str, fails: bool = False, **values: Any) -> str:
        """Run the role; its output."""
        return playbook(self._play, *arguments, fails=fails, **{**self._values, **values})

    def ask(self, path: str, body: Any = None, method: str = "") -> Any:
        """The UI's API, through the API server's service proxy."""
        answer = self._cluster.request(
            method or ("GET" if body is None else "POST"),
            f"/api/v1/namespaces/{self.namespace}/services/aim:43800/proxy{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            timeout=20,
        )
        assert answer.status == 200, f"{path}: {answer.status} {answer.body[:300]!r}"
        return json.loads(answer.body)

    def run_of(self, hash_: str) -> dict[str, Any]:
        return dict(self.ask(f"/api/runs/{hash_}/info")["props"])

    def values(self, hash_: str, name: str = "loss") -> list[float]:
        return list(self.ask(f"/api/runs/{hash_}/metric/get-batch", [{"name": name, "context": {}}])[0]["values"])

    def pods(self) -> list[dict[str, Any]]:
        return list(json.loads(kubectl("-n", self.namespace, "get", "pods", "-l", "app.kubernetes.io/name=aim", "-o", "json"))["items"])

    def wait_ready(self) -> None:
        kubectl("-n", self.namespace, "rollout", "status", "deployment/aim", "--timeout=240s")
        until("the UI through the Service", lambda: self.ask("/api/projects/"))

    def exec(self, script: str, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Python in the notebook pod."""
        return kubectl("-n", NOTEBOOKS, "exec", "notebook", "--", "python3", "-c", script, *arguments, check=check, timeout=timeout)

    @contextlib.contextmanager
    def forwarded(self, port: int) -> Iterator[str]:
        """A port of the Service on this machine, as a laptop has it by `kubectl port-forward`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        command = [*KUBECTL, "-n", self.namespace, "port-forward", "service/aim", f"{free}:{port}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until("the forwarded port", lambda: urllib.request.urlopen(f"http://127.0.0.1:{free}/status/", timeout=2).status == 200, 60)
            yield f"127.0.0.1:{free}"
        finally:
            process.terminate()
            process.wait()


def namespace_with_registry(name: str) -> None:
    kubectl("create", "namespace", name, check=False)
    kubectl(
        "-n", name, "create", "secret", "generic", "registry", "--type=kubernetes.io/dockerconfigjson",
        f"--from-file=.dockerconfigjson={REGISTRY_AUTH}", check=False,
    )  # fmt: skip
