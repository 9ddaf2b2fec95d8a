# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""With authentication: anonymous clients are refused, users see what is theirs, and credentials are in Secrets alone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from mlflow_lab import EXPERIMENTS, NAMESPACE, URI, Mlflow, kubectl, until
from test_training import parents, program, train
from the_lab import changed

pytestmark = [pytest.mark.lab, pytest.mark.long]
CLOSED: dict[str, Any] = {"mlflow_authentication_is_enabled": True, "mlflow_replicas": 1, "mlflow_experiments": [{"name": "closed"}]}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def password(mlflow: Mlflow) -> Iterator[str]:
    """The administrator's, of a server that asks for it."""
    mlflow.play("--check", **CLOSED)
    mlflow.play(**CLOSED)
    data = json.loads(kubectl("get", "secret", "mlflow-admin", "-o", "json"))["data"]
    yield base64.b64decode(data["password"]).decode()
    mlflow.play()


def post(mlflow: Mlflow, path: str, body: dict[str, Any], user: str, secret: str, method: str = "POST") -> tuple[int, Any]:
    """Status and answer of one call by a user."""
    script = (
        "import http.client, json, sys\n"
        "host, method, path, body, login = sys.argv[1:]\n"
        "c = http.client.HTTPConnection(host, 5000, timeout=30)\n"
        "c.request(method, path, body=body, headers={'Content-Type': 'application/json', 'Authorization': login})\n"
        "r = c.getresponse()\n"
        "print(json.dumps([r.status, r.read().decode()]))"
    )
    status, text = json.loads(mlflow.python(script, f"mlflow.{NAMESPACE}.svc", method, path, json.dumps(body), basic(user, secret)))
    return status, json.loads(text) if text.startswith("{") else text


def test_anonymous_and_wrong_passwords_are_refused(mlflow: Mlflow, password: str) -> None:
    assert mlflow.status(EXPERIMENTS, method="POST") == 401
    assert mlflow.status(EXPERIMENTS, method="POST", Authorization=basic("admin", "wrong")) == 401
    assert mlflow.status(EXPERIMENTS, method="POST", Authorization=basic("admin", password)) == 200
    assert mlflow.status("/health") == 200
    assert len(password) >= 12


def test_a_user_cannot_read_what_is_anothers(mlflow: Mlflow, password: str) -> None:
    for user in ("anna", "bert"):
        status, answer = post(mlflow, "/api/2.0/mlflow/users/create", {"username": user, "password": f"{user}-has-a-secret"}, "admin", password)
        assert status == 200, answer
    status, answer = post(mlflow, "/api/2.0/mlflow/experiments/create", {"name": "annas"}, "anna", "anna-has-a-secret")
    assert status == 200, answer
    path = f"/api/2.0/mlflow/experiments/get?experiment_id={answer['experiment_id']}"
    assert post(mlflow, path, {}, "anna", "anna-has-a-secret", "GET")[0] == 200
    assert post(mlflow, path, {}, "bert", "bert-has-a-secret", "GET")[0] == 403


def test_users_have_a_database_of_their_own(mlflow: Mlflow, password: str) -> None:
    def users(database: str) -> str:
        return kubectl("exec", "postgresql-0", "--", "psql", "-h", "/run/postgresql", "-U", "postgres", "-d", database, "-Atc", "SELECT to_regclass('users')")

    assert users("mlflow_auth").strip() == "users" and users("mlflow").strip() == ""


def test_a_second_run_changes_neither_server_nor_secret(mlflow: Mlflow, password: str) -> None:
    before = kubectl("get", "secret", "mlflow-admin", "-o", "jsonpath={.data}")
    assert changed(mlflow.play(**CLOSED)) == 0
    assert kubectl("get", "secret", "mlflow-admin", "-o", "jsonpath={.data}") == before


def test_a_training_logs_in_and_its_password_is_in_no_argument(mlflow: Mlflow, password: str) -> None:
    login = {"mlflow_job_credentials_secret": "mlflow-admin"}
    train(mlflow, **program("login", "import time; time.sleep(30)", mlflow_job_is_followed=False, **login))
    pods = "app.kubernetes.io/instance=login"
    until("the training pod", lambda: [pod for pod in mlflow.pods(pods) if pod["status"]["phase"] == "Running"])
    name = mlflow.pods(pods)[0]["metadata"]["name"]
    arguments = kubectl("exec", name, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline")
    assert "run.py" in arguments and password not in arguments
    objects = kubectl("get", "jobs,pods,configmaps", "-o", "yaml")
    assert password not in objects and base64.b64encode(password.encode()).decode() not in objects
    env = {"MLFLOW_TRACKING_URI": URI, "MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    mlflow.env = env
    try:
        until("the end of the run", lambda: [run["status"] for run in parents(mlflow, "login")] == ["FINISHED"])
    finally:
        mlflow.env = {}


def test_the_password_is_changed_as_the_documentation_tells(mlflow: Mlflow, password: str) -> None:
    """In MLflow, then in the Secret, by which the role's own clients log in. The last of this file: `password` is the old one from here on."""
    new = "another-" + password[:12]
    change = {"username": "admin", "current_password": password, "password": new}
    status, answer = post(mlflow, "/api/2.0/mlflow/users/update-password", change, "admin", password, "PATCH")
    assert status == 200, answer
    kubectl("patch", "secret", "mlflow-admin", "-p", json.dumps({"stringData": {"password": new}}))
    assert mlflow.status(EXPERIMENTS, method="POST", Authorization=basic("admin", password)) == 401
    assert mlflow.status(EXPERIMENTS, method="POST", Authorization=basic("admin", new)) == 200
    assert changed(mlflow.play(**CLOSED)) == 0, "the role has logged in for its experiments, and left the Secret alone"
    assert base64.b64decode(kubectl("get", "secret", "mlflow-admin", "-o", "jsonpath={.data.password}")).decode() == new
    # Servers that start with it find the user made, and keep what MLflow was told.
    kubectl("delete", "pods", "-l", "app.kubernetes.io/name=mlflow")
    mlflow.wait_ready()
    assert mlflow.status(EXPERIMENTS, method="POST", Authorization=basic("admin", new)) == 200


def test_a_look_ahead_at_a_server_that_would_be_opened_has_nobody_to_ask(mlflow: Mlflow, password: str) -> None:
    """And is no failure, neither in this direction nor, in the fixture's, the other."""
    mlflow.play("--check", mlflow_experiments=CLOSED["mlflow_experiments"], mlflow_replicas=1)
    mlflow.play("--check", **{**CLOSED, "mlflow_static_prefix": "/ml"})
