# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What MLflow's containers are told, and that nothing secret stands in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_environment import Database, Entry, Server, Store, database, server, store
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_settings import Settings

SETTINGS = Settings("mlflow", "ml", "3.17.2", 2, "postgresql+psycopg2://", "s3://mlflow/artifacts")
DATABASE = Database("db", 5432, "mlflow", "mlflow", "postgresql", {"PGPASSWORD": "password"})
STORE = Store("http://s3:51080/s3", addressing_style="path", anonymous=True)
SERVER = Server(keys_secret="mlflow-keys", admin_secret="mlflow-admin")


def by_name(entries: list[Entry]) -> dict[str, Entry]:
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names)), f"a name twice, which server-side apply refuses: {sorted(names)}"
    return {entry["name"]: entry for entry in entries}


def value(entries: list[Entry], name: str) -> str | None:
    entry = by_name(entries).get(name)
    return None if entry is None else entry.get("value")


def test_the_database_is_told_by_libpq_and_the_password_by_reference() -> None:
    entries = by_name(database(SETTINGS, DATABASE))
    assert entries["MLFLOW_BACKEND_STORE_URI"]["value"] == "postgresql+psycopg2://"
    assert entries["PGHOST"]["value"] == "db"
    assert entries["PGPASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": "postgresql", "key": "password"}


def test_a_secret_of_an_operator_gives_everything() -> None:
    keys = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "username", "PGDATABASE": "dbname", "PGPASSWORD": "password"}
    entries = by_name(database(SETTINGS, replace(DATABASE, keys=keys)))
    assert all("valueFrom" in entries[name] for name in keys)


def test_a_whole_uri_comes_from_a_secret() -> None:
    entries = by_name(database(SETTINGS, replace(DATABASE, keys={"MLFLOW_BACKEND_STORE_URI": "uri"})))
    assert "value" not in entries["MLFLOW_BACKEND_STORE_URI"]


def test_sqlite_needs_no_secret() -> None:
    entries = database(replace(SETTINGS, database_uri="sqlite:////artifacts/mlflow.db"), DATABASE)
    assert [entry["name"] for entry in entries] == ["MLFLOW_BACKEND_STORE_URI"]


def test_credentials_replace_placeholders() -> None:
    """The guide's two Secrets with one key each, and an ECS Secret whose keys carry other names."""
    given = (
        {"env": "AWS_ACCESS_KEY_ID", "secret": "awsacct", "key": "awsacct"},
        {"env": "AWS_SECRET_ACCESS_KEY", "secret": "awskey", "key": "awskey"},
        {"env": "MLFLOW_S3_ENDPOINT_URL", "secret": "ecs-s3-credentials", "key": "ecsS3EndpointURL"},
    )
    entries = by_name(store(SETTINGS, replace(STORE, credentials=given)))
    for item in given:
        assert entries[item["env"]] == {"name": item["env"], "valueFrom": {"secretKeyRef": {"name": item["secret"], "key": item["key"]}}}


def test_a_role_of_the_cloud_gets_no_placeholders() -> None:
    assert "AWS_ACCESS_KEY_ID" not in by_name(store(SETTINGS, Store()))
    assert "MLFLOW_S3_ENDPOINT_URL" not in by_name(store(SETTINGS, Store()))


def test_a_claim_needs_nothing_of_s3() -> None:
    assert [entry["name"] for entry in store(replace(SETTINGS, artifacts_destination="file:///artifacts"), STORE)] == ["MLFLOW_ARTIFACTS_DESTINATION"]


def test_the_pods_own_address_is_an_accepted_name_and_known_before_it_is_used() -> None:
    entries = server(SETTINGS, DATABASE, STORE, SERVER)
    names = [entry["name"] for entry in entries]
    assert names.index("POD_IP") < names.index("MLFLOW_SERVER_ALLOWED_HOSTS")
    assert "$(POD_IP):5000" in (value(entries, "MLFLOW_SERVER_ALLOWED_HOSTS") or "").split(",")


def test_a_server_runs_no_jobs_and_calls_nobody_unless_asked() -> None:
    entries = server(SETTINGS, DATABASE, STORE, SERVER)
    assert value(entries, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION") == "false"
    assert value(entries, "MLFLOW_DISABLE_TELEMETRY") == "true"
    assert value(server(replace(SETTINGS, job_execution=True), DATABASE, STORE, SERVER), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION") == "true"


def test_clients_speak_to_the_server_alone_unless_told_otherwise() -> None:
    assert value(server(SETTINGS, DATABASE, STORE, SERVER), "PYTHONPATH") == SERVER.files
    assert value(server(SETTINGS, DATABASE, STORE, replace(SERVER, proxied=False)), "PYTHONPATH") is None


@pytest.mark.parametrize("closed", [False, True])
def test_users_are_asked_for_only_when_wanted(closed: bool) -> None:
    entries = by_name(server(replace(SETTINGS, authentication=closed), DATABASE, STORE, SERVER))
    assert ("MLFLOW_AUTH_ADMIN_PASSWORD" in entries) is closed
    assert ("MLFLOW_FLASK_SERVER_SECRET_KEY" in entries) is closed


def test_the_users_environment_wins() -> None:
    entries = server(SETTINGS, DATABASE, STORE, replace(SERVER, extra={"MLFLOW_WORKERS": 4, "X": True}))
    assert value(entries, "MLFLOW_WORKERS") == "4" and value(entries, "X") == "true"


def test_all_values_are_text() -> None:
    for entry in server(SETTINGS, DATABASE, STORE, SERVER):
        assert isinstance(entry.get("value", ""), str)
