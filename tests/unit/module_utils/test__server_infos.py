# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles mlflow and postgresql are told about what is there: with a fake cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _run_mlflow_server_info as mlflow
from ansible_collections.slipway.mlops.plugins.module_utils import _run_postgresql_server_info as postgresql
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from fakes import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ml"}}, "test")
    return made


def ask(module: Any, cluster: FakeCluster, **params: Any) -> Any:
    given = {name: option.get("default") for name, option in module.ARGUMENTS.items()}
    return module.run(Call({**given, "namespace": "ml", **params}, cluster=cluster))


def settings(destination: str = "s3://mlflow/artifacts", **params: Any) -> dict[str, Any]:
    options = mlflow.ARGUMENTS["artifacts"]["options"]
    artifacts = {name: option.get("default") for name, option in options.items()}
    database = {"uri": "postgresql+psycopg2://", "host": "db", "port": 5432, "user": "u", "name": "n", "secret_name": "s", "secret_keys": {}}
    return {"version": "3.17.2", "database": database, "artifacts": {**artifacts, "destination": destination}, **params}


def note(cluster: FakeCluster, version: str, destination: str) -> None:
    data = {"version": version, "artifacts_destination": destination}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mlflow-state", "namespace": "ml"}, "data": data}, "test")


def test_nothing_there_allows_everything(cluster: FakeCluster) -> None:
    assert ask(mlflow, cluster, **settings())["running_version"] == ""


def test_the_guards_outlive_the_server(cluster: FakeCluster) -> None:
    """After playbooks/uninstall.yml, and when a run was killed before the new servers came."""
    note(cluster, "3.18.1", "s3://mlflow/artifacts")
    with pytest.raises(Refused, match=r"was about to be, brought to MLflow 3\.18\.1, and 3\.17\.2 is wanted.*ml/mlflow-state.*migration never began"):
        ask(mlflow, cluster, **settings())
    note(cluster, "3.17.2", "s3://elsewhere/artifacts")
    with pytest.raises(Refused, match="did not say whether there are experiments"):
        ask(mlflow, cluster, **settings())
    note(cluster, "3.17.2", "s3://mlflow/artifacts/")
    assert ask(mlflow, cluster, **settings())["running_version"] == "", "no server is there that could be asked for experiments"


OPEN: dict[str, Any] = {}
CLOSED: dict[str, Any] = {"authentication": {"is_enabled": True, "username": "admin", "secret_name": "mlflow-admin"}}
BELOW: dict[str, Any] = {"static_prefix": "/ml"}


@pytest.mark.parametrize("live", [OPEN, CLOSED, BELOW, None], ids=["open", "closed", "below a prefix", "not there"])
@pytest.mark.parametrize("wanted", [OPEN, CLOSED, BELOW], ids=["open", "closed", "below a prefix"])
def test_a_server_can_be_asked_as_declared_when_it_runs_so(cluster: FakeCluster, live: dict[str, Any] | None, wanted: dict[str, Any]) -> None:
    """Login and path of the server that runs may only come to be what is declared."""
    if live is not None:
        environment = ask(mlflow, cluster, **settings(**live))["server_environment"]
        pod = {"containers": [{"name": "mlflow", "env": environment}]}
        server = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mlflow", "namespace": "ml"}, "spec": {"template": {"spec": pod}}}
        cluster.apply(server, "test")
    assert ask(mlflow, cluster, **settings(**wanted))["answers_as_declared"] is (live is wanted)


def test_a_password_file_with_a_line_break_is_refused(cluster: FakeCluster, tmp_path: Path) -> None:
    """Copied as it is, the line break would be part of the password."""
    file = tmp_path / "password"
    file.write_text("a-good-password\n")
    login = {"is_enabled": True, "password_file": str(file), "secret_name": "mlflow-admin", "username": "admin"}
    with pytest.raises(Refused, match="ends with a line break") as refused:
        ask(mlflow, cluster, **settings(authentication=login))
    assert "a-good-password" not in str(refused.value)
    file.write_text("a-good-password")
    ask(mlflow, cluster, **settings(authentication=login))


def serve(cluster: FakeCluster, major: str, claim: str) -> None:
    pod = {"volumes": [{"name": "run", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}
    metadata = {"name": "postgresql", "namespace": "ml", "annotations": {postgresql.MAJOR: major}}
    cluster.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {"template": {"spec": pod}}}, "test")


def test_another_major_version_needs_another_claim(cluster: FakeCluster) -> None:
    serve(cluster, "15", "postgresql-data")
    assert ask(postgresql, cluster)["running_major_version"] == 15
    with pytest.raises(Refused, match="set postgresql_claim to a new name"):
        ask(postgresql, cluster, major_version=17)
    assert ask(postgresql, cluster, major_version=17, claim="postgresql-17")["configuration"]
