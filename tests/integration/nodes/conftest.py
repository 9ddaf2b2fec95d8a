# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes_lab import KUBECONFIG, kubectl


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not KUBECONFIG.exists():
        pytest.skip("the lab is not up (make lab)")
    return tmp_path_factory.mktemp("nodes")


@pytest.fixture
def namespace(folder: Path) -> Iterator[str]:
    name = f"nodes-{uuid.uuid4().hex[:8]}"
    kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    kubectl("-n", name, "create", "serviceaccount", "default", check=False)
    yield name
    # The next test may ask whether a pod of this one still runs.
    kubectl("-n", name, "delete", "pods", "--all", "--timeout=90s", check=False)
    kubectl("delete", "namespace", name, "--wait=false", check=False)
