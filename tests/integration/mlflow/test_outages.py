# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the server cannot do without is gone: readiness and report are not green and say what it is, and its return needs no restart."""

from __future__ import annotations

import pytest
from mlflow_lab import BUCKET, KEYS, NAMESPACE, S3, Mlflow, kubectl, until

pytestmark = [pytest.mark.lab, pytest.mark.long]


def reasons(mlflow: Mlflow) -> str:
    """What the report would say of objects that are not ready, "" where all are."""
    answer = mlflow.module("k8s_readiness_info", sets=[{"name": "mlflow", "namespace": NAMESPACE}])
    assert answer["ready"] is not bool([item for item in answer["objects"] if not item["ready"]])
    return "; ".join(item["reason"] for item in answer["objects"] if not item["ready"])


def test_the_report_names_the_database_that_is_gone(mlflow: Mlflow) -> None:
    until("green", lambda: not reasons(mlflow))
    before = mlflow.restarts()
    kubectl("scale", "statefulset/postgresql", "--replicas=0")
    try:
        until("a report that names the database", lambda: "database: the server answers" in reasons(mlflow))
    finally:
        kubectl("scale", "statefulset/postgresql", "--replicas=1")
    until("green again", lambda: not reasons(mlflow))
    assert mlflow.restarts() == before


def test_the_report_names_the_bucket_that_is_gone(mlflow: Mlflow) -> None:
    before = mlflow.restarts()
    mlflow.python(KEYS, S3, BUCKET, "delete_bucket")
    try:
        until("a report that names the bucket", lambda: f"artifact store: s3://{BUCKET}" in reasons(mlflow) and "no such bucket" in reasons(mlflow))
    finally:
        mlflow.python(KEYS, S3, BUCKET, "create_bucket")
    until("green again", lambda: not reasons(mlflow))
    assert mlflow.restarts() == before
