# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLflow's REST API over real connections, and what is said when it does not work."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _mlflow_connect, _run_mlflow_experiment
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_api import Credentials, MlflowError, by_service, by_url
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, NotFound, Refused
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, outcome
from fakes import FakeClock, FakeCluster


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, body, self.headers.get("Authorization")))  # type: ignore[attr-defined]
        status, answer = self.server.answers.pop(0)  # type: ignore[attr-defined]
        if status == 0:  # hangs up without a word, as a server that is replaced
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def http() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.answers, server.asked = True, [], []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def test_calls_carry_the_credentials_and_the_prefix(http: Any) -> None:
    http.answers = [(200, {"yes": 1}), (200, {})]
    server = by_url(http.url + "/mlflow/", Credentials("ann", "p:w"))
    assert server.get("experiments/get-by-name", experiment_name="a b&c") == {"yes": 1}
    server.post("runs/update", {"run_id": "1"})
    server.close()
    login = "Basic " + base64.b64encode(b"ann:p:w").decode()
    assert http.asked[0] == ("GET", "/mlflow/api/2.0/mlflow/experiments/get-by-name?experiment_name=a+b%26c", b"", login)
    assert http.asked[1] == ("POST", "/mlflow/api/2.0/mlflow/runs/update", b'{"run_id": "1"}', login)


def test_a_token_goes_as_one() -> None:
    assert Credentials(token="t").header() == {"Authorization": "Bearer t"}
    assert "geheim" not in repr(Credentials("u", "geheim", "geheim"))


@pytest.mark.parametrize(
    ("status", "answer", "said", "code"),
    [
        (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}, "answered 404 to x: no such run", "RESOURCE_DOES_NOT_EXIST"),
        (401, b"You are not authenticated", "wants a user and a password", ""),
        (403, b"Invalid Host header - possible DNS rebinding attack detected", "add the name to mlflow_hosts", ""),
        (200, b"<html>", "is no MLflow server", ""),
        (503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "db"}, "answered 503", "TEMPORARILY_UNAVAILABLE"),
    ],
)
def test_a_refusal_says_why(http: Any, status: int, answer: Any, said: str, code: str) -> None:
    http.answers = [(status, answer)]
    with pytest.raises(MlflowError, match=said) as caught:
        by_url(http.url, Credentials()).post("x", {})
    assert caught.value.code == code


def test_a_kept_connection_that_was_closed_is_opened_again(http: Any) -> None:
    http.answers = [(200, {}), (0, {}), (200, {"again": True})]
    server = by_url(http.url, Credentials())
    server.get("a")
    assert server.get("b") == {"again": True}
    server.close()


def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(ClusterError, match="does not answer"):
        by_url("http://127.0.0.1:1", Credentials()).get("a")


@pytest.mark.parametrize("uri", ["postgresql://u:geheim@db/x", "mlflow.example.org", "http://u:geheim@mlflow.example.org"])
def test_a_wrong_uri_is_refused_without_showing_what_is_secret(uri: str) -> None:
    with pytest.raises(Refused) as caught:
        by_url(uri, Credentials())
    assert "geheim" not in str(caught.value)


def cluster_with_namespace() -> FakeCluster:
    cluster = FakeCluster()
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ml"}}, "test")
    return cluster


def test_a_service_without_ready_pods_is_told() -> None:
    cluster = cluster_with_namespace()
    with pytest.raises(NotFound, match="no Service ml/mlflow"):
        by_service(cluster, "ml", "mlflow", Credentials()).get("a")
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "mlflow", "namespace": "ml"},
            "spec": {"selector": {"app": "mlflow"}, "ports": [{"port": 5000, "targetPort": "http"}]},
        },
        "test",
    )
    with pytest.raises(ClusterError, match="no pod behind Service ml/mlflow is ready"):
        by_service(cluster, "ml", "mlflow", Credentials()).get("a")


def call(http: Any, **params: Any) -> Call:
    given = {name: option.get("default") for name, option in _run_mlflow_experiment.ARGUMENTS.items()}
    return Call({**given, "tracking_uri": http.url, **params}, diff=True, clock=FakeClock(), cluster=FakeCluster())


GONE = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"})


def found(name: str, **extra: Any) -> tuple[int, Any]:
    return 200, {"experiment": {"experiment_id": "5", "name": name, "artifact_location": "mlflow-artifacts:/5", "lifecycle_stage": "active", **extra}}


def test_an_experiment_is_made_and_told(http: Any) -> None:
    http.answers = [GONE, (200, {"experiment_id": "5"}), found("new")]
    result = _run_mlflow_experiment.run(call(http, experiments=[{"name": "new"}]))
    assert result["changed"] and result["actions"] == ["experiment new created"]
    assert result["experiments"] == [{"name": "new", "action": "created", "id": "5", "artifact_location": "mlflow-artifacts:/5", "lifecycle_stage": "active"}]
    assert result["diff"]["before"] == {"new": None}


def test_somebody_elses_experiment_of_the_same_moment_is_no_error(http: Any) -> None:
    http.answers = [GONE, (400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "there"}), found("new")]
    assert _run_mlflow_experiment.run(call(http, experiments=[{"name": "new"}]))["experiments"][0]["id"] == "5"


def test_check_mode_only_reads(http: Any) -> None:
    http.answers = [GONE]
    looked = call(http, experiments=[{"name": "new"}])
    looked.check_mode = True
    assert _run_mlflow_experiment.run(looked)["changed"] and [asked[0] for asked in http.asked] == ["GET"]


def test_one_impossible_experiment_keeps_all_from_being_written(http: Any) -> None:
    http.answers = [GONE, found("there")]
    result = outcome(_run_mlflow_experiment.run, call(http, experiments=[{"name": "new"}, {"name": "there", "artifact_location": "s3://b/x"}]))
    assert result["failed"] and "cannot change that" in result["msg"] and {asked[0] for asked in http.asked} == {"GET"}


def test_credentials_come_from_a_secret_and_are_never_shown(http: Any) -> None:
    cluster = cluster_with_namespace()
    data = {"password": base64.b64encode(b"very-geheim").decode()}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mlflow-admin", "namespace": "ml"}, "data": data}, "test")
    source = {"name": "mlflow-admin", "username": "admin", "password_key": "password"}
    asked = Call({"namespace": "ml", "service": "mlflow", "credentials_secret": source}, cluster=cluster)
    _mlflow_connect.connect(asked)
    assert "very-geheim" in asked.secrets
    source["password_key"] = "other"
    with pytest.raises(Refused, match="gives no password"):
        _mlflow_connect.connect(asked)
