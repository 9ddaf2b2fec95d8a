# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The smallest server: SQLite and artifacts on one claim, which one pod at a time may have. In a namespace of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import the_lab
from mlflow_lab import Mlflow
from the_lab import changed

pytestmark = [pytest.mark.lab, pytest.mark.long]

NAMESPACE = "mlflow-claim-mlflow"
VALUES: dict[str, Any] = {
    "slipway_namespace_prefix": "mlflow-claim-",
    "mlflow_database_uri": "sqlite:////artifacts/mlflow.db",
    "mlflow_artifacts_destination": "file:///artifacts",
    "mlflow_replicas": 1,
    "mlflow_workers": 1,
    "mlflow_experiments": [{"name": "kept"}],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    the_lab.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    deployed = Mlflow(tmp_path_factory.mktemp("claim"), **VALUES)
    deployed.play("--tags", "mlflow")
    yield deployed
    the_lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def pods() -> list[dict[str, Any]]:
    return list(json.loads(the_lab.kubectl("-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=mlflow", "-o", "json"))["items"])


def test_the_pod_migrates_its_own_database_and_a_second_run_changes_nothing(small: Mlflow) -> None:
    (pod,) = pods()
    (step,) = pod["status"]["initContainerStatuses"]
    assert step["name"] == "migrate" and step["state"]["terminated"]["exitCode"] == 0
    assert changed(small.play("--tags", "mlflow")) == 0


def test_an_update_replaces_the_pod_and_the_data_stays(small: Mlflow) -> None:
    (before,) = pods()
    output = small.play("--tags", "mlflow", mlflow_memory_request="600Mi")
    (after,) = [pod for pod in pods() if "deletionTimestamp" not in pod["metadata"]]
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert changed(output) == 1, "the Deployment, and no experiment"
