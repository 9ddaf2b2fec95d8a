# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the server cannot do without is gone: readiness and report are not green and say what it is, and its return needs no restart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow_lab import BUCKET, BUSY, KEYS, NAMESPACE, S3, Mlflow, kubectl, until
from the_lab import KUBECONFIG, REGISTRY_AUTH, ROOT, playbook_command

pytestmark = [pytest.mark.lab, pytest.mark.long]


def reasons(mlflow: Mlflow) -> str:
    """What the report would say of objects that are not ready, "" where all are."""
    answer = mlflow.module("k8s_readiness_info", sets=[{"name": "mlflow", "namespace": NAMESPACE}])
    assert answer["ready"] is not bool([item for item in answer["objects"] if not item["ready"]])
    return "; ".join(item["reason"] for item in answer["objects"] if not item["ready"])


@pytest.fixture
def verify(mlflow: Mlflow, tmp_path: Path) -> Callable[..., str]:
    """Runs playbooks/verify.yml for AIStore, which has no host here, and these two: what its report says is not ready, "" where it ended well."""
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "group_vars").symlink_to(ROOT / "inventories" / "lab" / "group_vars")
    (inventory / "hosts").write_text(f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    values = {
        **mlflow.values,
        "slipway_kubeconfig": KUBECONFIG,
        "slipway_registry_auth_file": REGISTRY_AUTH,
        "slipway_required_groups": [],
        "slipway_workloads": ["aistore", "postgresql", "mlflow"],
        "slipway_report_directory": str(tmp_path / "report"),
    }

    def run(**given: object) -> str:
        command, environ = playbook_command("playbooks/verify.yml", **values, **given)
        command[command.index("-i") + 1] = str(inventory)
        done = subprocess.run(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUSY, check=False)
        items = json.loads((tmp_path / "report" / "report.json").read_text())["items"]
        red = "; ".join(f"{item['where']} {item['what']}: {item['reason']}" for item in items if item["state"] != "ready")
        assert bool(done.returncode) is bool(red), done.stdout[-3000:] + done.stderr[-2000:]
        return red

    return run


# The same server, as somebody who has only its address and a Secret sees it.
OUTSIDE = {"postgresql_is_external": True, "postgresql_name": "outside", "postgresql_host": "postgresql", "postgresql_secret_name": "postgresql"}


def test_the_report_names_the_database_that_is_gone(mlflow: Mlflow, verify: Callable[..., str]) -> None:
    until("green", lambda: not reasons(mlflow))
    assert verify() == ""
    mlflow.play("--tags", "postgresql", **OUTSIDE)
    assert verify(**OUTSIDE) == "", "what is proved is ready, though nobody deployed it"
    before = mlflow.restarts()
    kubectl("scale", "statefulset/postgresql", "--replicas=0")
    try:
        until("a report that names the database", lambda: "database: the server answers" in reasons(mlflow))
        red = verify()
        assert "postgresql a real client" in red and "mlflow Deployment mlflow" in red and "database: the server answers" in red
        assert "A client in another pod" in mlflow.play("--tags", "postgresql", fails=True, **OUTSIDE), "proved anew, for nothing here shows a change"
    finally:
        kubectl("scale", "statefulset/postgresql", "--replicas=1")
    until("green again", lambda: not reasons(mlflow))
    assert verify() == "" and mlflow.restarts() == before


def test_the_report_names_the_bucket_that_is_gone(mlflow: Mlflow, verify: Callable[..., str]) -> None:
    until("green", lambda: verify() == "")
    before = mlflow.restarts()
    mlflow.python(KEYS, S3, BUCKET, "delete_bucket")
    try:
        until("a report that names the bucket", lambda: f"artifact store: s3://{BUCKET}" in reasons(mlflow) and "no such bucket" in reasons(mlflow))
        assert f"artifact store: s3://{BUCKET}" in verify()
    finally:
        mlflow.python(KEYS, S3, BUCKET, "create_bucket")
    until("green again", lambda: not reasons(mlflow))
    assert mlflow.restarts() == before
