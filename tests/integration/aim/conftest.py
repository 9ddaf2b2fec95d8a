# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aim_lab import IMAGE, NAMESPACE, NOTEBOOKS, Aim, namespace_with_registry
from the_lab import KUBECONFIG, kubectl


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not Path(KUBECONFIG).exists():
        pytest.skip("the lab is not up (make lab)")
    return tmp_path_factory.mktemp("aim")


@pytest.fixture(scope="session")
def aim(folder: Path) -> Iterator[Aim]:
    """Aim as the role's defaults make it, and a pod of another namespace that a notebook could be."""
    namespace_with_registry(NOTEBOOKS)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "notebook", "namespace": NOTEBOOKS},
        "spec": {
            "imagePullSecrets": [{"name": "registry"}],
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "notebook", "image": IMAGE, "command": ["sleep", "3600"], "env": [{"name": "HOME", "value": "/tmp"}]}],
        },
    }
    try:
        kubectl("apply", "-f", "-", text=json.dumps(pod))
        server = Aim(folder)
        server.play()
        kubectl("-n", NOTEBOOKS, "wait", "--for=condition=Ready", "pod/notebook", "--timeout=300s")
        server.wait_ready()
        yield server
    finally:
        kubectl("delete", "namespace", NAMESPACE, NOTEBOOKS, "--wait=false", check=False)
