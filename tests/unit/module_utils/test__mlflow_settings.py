# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which settings of MLflow go together, and under which names a server then answers."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_settings import (
    Running,
    Settings,
    allowed_hosts,
    allowed_origins,
    network_patterns,
    password_problems,
    plain_secrets,
    problems,
    upgrade_problems,
)

GOOD = Settings(
    name="mlflow",
    namespace="ml",
    version="3.17.2",
    replicas=2,
    database_uri="postgresql+psycopg2://",
    artifacts_destination="s3://mlflow/artifacts",
)


def accepts(entries: list[str], host: str) -> bool:
    """As mlflow/server/security_utils.py (3.17) compares: fnmatch for entries with `*`, equality for others."""
    return any(fnmatch.fnmatch(host, entry) if "*" in entry else host == entry for entry in entries)


def test_good_settings_have_no_problem() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    "change",
    [
        {"hosts": ["mlflow.example.org", "mlflow.example.org:8443", "localhost", "10.0.0.1:5000"]},
        {"networks": ["10.0.0.0/8", "10.244.0.0/16"]},
        {"origins": ["https://notebooks.example.org", "http://localhost:8888"]},
        {"static_prefix": "/ml/flow"},
        {"replicas": 1, "artifacts_destination": "file:///artifacts", "artifacts_access_mode": "ReadWriteOnce"},
        {"replicas": 3, "artifacts_destination": "file:///artifacts", "artifacts_access_mode": "ReadWriteMany"},
        {
            "database_uri": "sqlite:////artifacts/mlflow.db",
            "replicas": 1,
            "artifacts_destination": "file:///artifacts",
            "artifacts_access_mode": "ReadWriteOnce",
        },
        {"database_uri": "mysql+pymysql://db/mlflow"},
        {"authentication": True, "admin_password": "geheim-und-lang"},
        {"authentication": True, "admin_password": None},
    ],
)
def test_what_can_be_has_no_problem(change: dict[str, object]) -> None:
    assert problems(replace(GOOD, **change)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"database_uri": "postgresql+psycopg2://u:geheim@db/mlflow"}, "carries a password"),
        ({"database_uri": "postgresql+psycopg2://u:p@ss:w/o%rd#1@db/mlflow"}, "carries a password"),
        ({"database_uri": "postgresql+psycopg2://db/mlflow?password=geheim"}, "carries a password"),
        ({"database_uri": "postgresql://"}, "names no driver"),
        ({"database_uri": "postgresql+psycopg2://db/"}, "names a host or a database"),
        ({"database_uri": "postgresql+psycopg2:///runs"}, "names a host or a database"),
        ({"database_uri": "mysql://db/mlflow"}, "write mysql+pymysql://"),
        ({"database_uri": "mlflow.db"}, "no database that MLflow knows"),
        ({"database_uri": "sqlite:////artifacts/mlflow.db", "replicas": 1}, "needs a claim"),
        (
            {
                "database_uri": "sqlite:////tmp/x.db",
                "replicas": 1,
                "artifacts_destination": "file:///artifacts",
                "artifacts_access_mode": "ReadWriteOnce",
            },
            "must lie on the claim",
        ),
        (
            {
                "database_uri": "sqlite:////artifacts/mlflow.db",
                "artifacts_destination": "file:///artifacts",
                "artifacts_access_mode": "ReadWriteMany",
            },
            "SQLite is one file for one server",
        ),
        ({"artifacts_destination": "file:///artifacts", "artifacts_access_mode": "ReadWriteOnce"}, "serves one node only"),
        ({"artifacts_destination": "./mlartifacts"}, "neither file:///artifacts nor"),
        ({"artifacts_destination": "file:///data"}, "not on the claim"),
        ({"artifacts_destination": "file:///artifacts-else"}, "not on the claim"),
        (
            {
                "database_uri": "sqlite:////artifacts/mlflow.db",
                "replicas": 1,
                "artifacts_destination": "file:///artifacts",
                "artifacts_access_mode": "ReadWriteOnce",
                "gc_is_scheduled": True,
            },
            "mlflow_gc_older_than needs PostgreSQL",
        ),
        ({"artifacts_destination": "s3://key:secret@bucket/x"}, "carries a password"),
        ({"endpoint_url": "https://key:geheim@s3.example.org"}, "mlflow_s3_endpoint_url carries a password"),
        ({"environment": {"MLFLOW_TRACKING_TOKEN": "geheim"}}, "MLFLOW_TRACKING_TOKEN is a secret"),
        ({"environment": {"HTTPS_PROXY": "http://me:geheim@proxy:3128"}}, "HTTPS_PROXY is a secret"),
        ({"replicas": 0}, "at least 1"),
        ({"hosts": ["*"]}, "switches the check"),
        ({"hosts": ["https://mlflow.example.org"]}, "no host name"),
        ({"hosts": ["a b"]}, "no host name"),
        ({"networks": ["10.0.0.1/8"]}, "host bits"),
        ({"networks": ["10.0.0.0/9"]}, "name smaller networks"),
        ({"networks": ["fd00::/8"]}, "fd00"),
        ({"origins": ["*"]}, "every page on the web"),
        ({"origins": ["notebooks.example.org"]}, "no origin"),
        ({"static_prefix": "mlflow/"}, "begin with /"),
        ({"version": "latest"}, "not a release"),
        ({"authentication": True, "admin_password": "elevenchars"}, "fewer than 12"),
        ({"authentication": True, "admin_password": "password1234"}, "published"),
        ({"authentication": True, "admin_password": "geheim-und-lang\n"}, "ends with a line break"),
        ({"authentication": True, "admin_password": "password1234\r\n"}, "published"),
        ({"authentication": True, "database_uri": "mysql+pymysql://db/mlflow"}, "needs a PostgreSQL that is given"),
        ({"authentication": True, "database_uri_is_secret": True}, "needs a PostgreSQL that is given"),
    ],
)
def test_each_problem_is_told(change: dict[str, object], said: str) -> None:
    found = problems(replace(GOOD, **change))
    assert any(said in problem for problem in found), found
    assert not any("geheim" in problem or "p@ss" in problem for problem in found)


def test_all_problems_come_at_once() -> None:
    bad = replace(GOOD, database_uri="postgresql://u:geheim@db/x", hosts=["*"], replicas=0, version="x")
    assert len(problems(bad)) == 5  # password, driver, host, replicas, version


def test_a_password_of_twelve_characters_is_fine() -> None:
    assert password_problems("a" * 11) and not password_problems("a" * 12)


def test_options_of_the_connection_may_follow_the_driver() -> None:
    assert problems(replace(GOOD, database_uri="postgresql+psycopg2://?sslmode=require", authentication=True)) == []


def test_a_secret_is_known_by_its_name_or_as_a_uri_with_a_password() -> None:
    secret = {"PGPASSWORD": "x", "AWS_SECRET_ACCESS_KEY": "x", "my_api_key": "x", "TOKEN": "x", "PROXY": "http://u:p@proxy"}
    harmless = {"AWS_ACCESS_KEY_ID": "x", "MAX_TOKENS": "5", "TOKENIZERS_PARALLELISM": "false", "PASSWORD": "", "URL": "http://u@proxy", "MAIL": "a:b@c"}
    assert plain_secrets({**secret, **harmless}) == list(secret)


@pytest.mark.parametrize("name", ["mlflow", "mlflow.ml", "mlflow.ml.svc", "mlflow.ml.svc.cluster.local", "localhost", "127.0.0.1", "mlflow.example.org"])
def test_each_name_passes_with_and_without_port(name: str) -> None:
    entries = allowed_hosts(replace(GOOD, hosts=["mlflow.example.org"]))
    assert accepts(entries, name) and accepts(entries, name + ":5000") and accepts(entries, name + ":8080")


@pytest.mark.parametrize("name", ["evil.example", "mlflow.other", "mlflow.ml.svc.cluster.local.evil.example", "mlflow.evil.example:5000", "10.1.2.3:5000"])
def test_other_names_do_not_pass(name: str) -> None:
    assert not accepts(allowed_hosts(GOOD), name)


def test_a_name_with_its_port_is_taken_as_it_is() -> None:
    entries = allowed_hosts(replace(GOOD, hosts=["mlflow.example.org:8443"]))
    assert accepts(entries, "mlflow.example.org:8443") and not accepts(entries, "mlflow.example.org:80")


def test_the_bound_address_is_a_name_only_for_job_workers() -> None:
    assert not accepts(allowed_hosts(GOOD), "0.0.0.0:5000")
    assert accepts(allowed_hosts(replace(GOOD, job_execution=True)), "0.0.0.0:5000")


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.244.0.0/16", ["10.244.0.1:5000", "10.244.255.99:5000"], ["10.245.0.1:5000", "10.244.evil.example:5000", "10.244.0.1.evil.example:5000"]),
        ("10.89.77.0/24", ["10.89.77.11:30500"], ["10.89.78.11:30500", "10.89.77.x:1"]),
        ("10.96.0.0/12", ["10.96.0.1:1", "10.111.9.8:1"], ["10.112.0.1:1", "10.95.0.1:1"]),
        ("192.168.7.128/25", ["192.168.7.128:1", "192.168.7.255:1"], ["192.168.7.127:1"]),
        ("10.0.0.0/8", ["10.1.2.3:5000", "10.255.255.255:5000"], ["11.0.0.1:5000", "10.1.2:5000"]),
        ("192.0.2.7/32", ["192.0.2.7:5000"], ["192.0.2.70:5000", "192.0.2.8:5000"]),
    ],
)
def test_a_network_lets_its_addresses_in_and_no_names(network: str, inside: list[str], outside: list[str]) -> None:
    patterns = network_patterns(network)
    assert all(accepts(patterns, host) for host in inside)
    assert not any(accepts(patterns, host) for host in outside)


def test_pages_of_the_server_itself_may_write() -> None:
    origins = allowed_origins(["mlflow.example.org", "mlflow.example.org:*"], ["https://notebooks.example.org"])
    for origin in ("https://mlflow.example.org", "http://mlflow.example.org:30500", "https://notebooks.example.org"):
        assert accepts(origins, origin)
    assert not accepts(origins, "https://evil.example")


@pytest.mark.parametrize(
    ("running", "change", "said"),
    [
        (None, {}, ""),
        (Running("3.17.2", "s3://mlflow/artifacts", None), {}, ""),
        (Running("3.16.0", "s3://mlflow/artifacts/", None), {}, ""),
        (Running("3.9.1", "s3://mlflow/artifacts", None), {"version": "3.17.2"}, ""),
        (Running("3.18.1", "s3://mlflow/artifacts", None), {}, "too new for the older server"),
        (Running("3.17.2", "file:///artifacts", True), {}, "would answer 404"),
        (Running("3.17.2", "file:///artifacts", None), {}, "did not say"),
        (Running("3.17.2", "file:///artifacts", False), {}, ""),
        (Running("3.17.2", "file:///artifacts", True), {"artifacts_moved_from": "file:///artifacts/"}, ""),
        (Running("3.17.2", "file:///artifacts", True), {"artifacts_moved_from": "file:///elsewhere"}, "would answer 404"),
    ],
)
def test_what_runs_limits_where_to_go(running: Running | None, change: dict[str, str], said: str) -> None:
    found = upgrade_problems(replace(GOOD, **change), running)
    assert bool(found) is bool(said) and all(said in problem for problem in found), found
