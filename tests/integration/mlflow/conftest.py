# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One MLflow with its own PostgreSQL for all tests of this folder; its artifacts are in the lab's AIStore."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mlflow_lab import NAMESPACE, Mlflow, kubectl, notebook


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """Three replicas that met an empty database."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    deployed = Mlflow(tmp_path_factory.mktemp("mlflow"))
    deployed.play()
    notebook("notebook")
    yield deployed
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
