# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scripts that run in pods: readiness against a real HTTP server, and the wrapper of a training program."""

from __future__ import annotations

import datetime
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from role_script import script

ready, run = script("mlflow/files/ready.py"), script("mlflow_job/files/run.py")


class Answers(BaseHTTPRequestHandler):
    """Answers as `server.answer(method, path, body, headers)` says, (status, object), and keeps what was asked."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.server.answer(self.command, self.path, json.loads(body) if body else None, self.headers)  # type: ignore[attr-defined]
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def http() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


# readiness


@pytest.mark.parametrize(
    ("status", "env", "said"),
    [
        (200, {}, ""),
        (503, {}, "database: the server answers 503 the database is away"),
        (401, {}, "database: the server answers 401"),
        (401, {"MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": "old"}, ""),
        (503, {"MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": "right"}, "database: the server answers 503"),
    ],
)
def test_the_database_is_asked_through_the_server(http: Any, monkeypatch: pytest.MonkeyPatch, status: int, env: dict[str, str], said: str) -> None:
    http.answer = lambda *_asked: (status, {"message": "the database is away"})
    monkeypatch.setattr(ready, "PORT", http.server_port)
    found = ready.database(env)
    assert found.startswith(said) and bool(found) is bool(said)


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "PORT", 1)
    assert ready.database({}).startswith("server: ")


@pytest.mark.parametrize(("status", "said"), [(200, ""), (404, "there is no such bucket"), (500, "500 broken"), (403, "403 broken")])
def test_the_bucket_is_asked_for(http: Any, status: int, said: str) -> None:
    asked = []
    http.answer = lambda method, path, _body, headers: (asked.append((method, path, headers.get("Authorization", ""))), (status, {"message": "broken"}))[1]
    env = {
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts",
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{http.server_port}/s3",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    found = ready.artifacts(env)
    assert (said in found) and bool(found) is bool(said)
    method, path, authorization = asked[0]
    assert (method, path) == ("GET", "/s3/mlflow?list-type=2&max-keys=1")
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=id/")


def test_a_refusal_is_an_answer_where_we_have_no_keys(http: Any) -> None:
    http.answer = lambda *_asked: (403, {})
    assert ready.artifacts({"MLFLOW_ARTIFACTS_DESTINATION": "s3://b/x", "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{http.server_port}"}) == ""


def test_an_s3_that_is_away_is_told_with_its_address() -> None:
    env = {"MLFLOW_ARTIFACTS_DESTINATION": "s3://b/x", "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:1"}
    assert ready.artifacts(env).startswith("artifact store: s3://b at 127.0.0.1:1: ")


def test_the_signature_is_that_of_the_published_example() -> None:
    """AWS, "Signature Calculations for the Authorization Header", example "GET Bucket Lifecycle"."""
    now = datetime.datetime(2013, 5, 24, tzinfo=datetime.timezone.utc)
    env = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
    headers = ready.sign("examplebucket.s3.amazonaws.com", "/", "lifecycle=", "us-east-1", env, now)
    assert headers["Authorization"].endswith("Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543")


def test_a_folder_must_be_there_and_writable(tmp_path: Path) -> None:
    assert ready.artifacts({"MLFLOW_ARTIFACTS_DESTINATION": f"file://{tmp_path}"}) == ""
    assert "is not there" in ready.artifacts({"MLFLOW_ARTIFACTS_DESTINATION": f"file://{tmp_path}/none"})


def test_stores_that_nobody_here_can_ask_are_left_alone() -> None:
    assert ready.artifacts({"MLFLOW_ARTIFACTS_DESTINATION": "gs://bucket/x"}) == ""


# the wrapper of a training program


class Tracking:
    """As much of MLflow as the wrapper uses: runs with status, tags and parameters."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {"parent": {"status": "RUNNING", "tags": {}, "params": {}, "seen": []}}

    def __call__(self, _method: str, path: str, body: Any, _headers: Any) -> tuple[int, Any]:
        name = path.rpartition("/")[2]
        if name == "update":
            self.runs[body["run_id"]]["status"] = body["status"]
            self.runs[body["run_id"]]["seen"].append(body["status"])
            return 200, {}
        if name == "log-batch":
            self.runs[body["run_id"]]["params"] |= {item["key"]: item["value"] for item in body["params"]}
            return 200, {}
        if name == "create":
            identity = f"run{len(self.runs)}"
            self.runs[identity] = {"status": "RUNNING", "tags": {tag["key"]: tag["value"] for tag in body["tags"]}, "params": {}, "seen": []}
            return 200, {"run": {"info": {"run_id": identity}}}
        wanted = body["filter"]
        found = [
            {"info": {"run_id": identity, "status": one["status"]}, "data": {"tags": [{"key": k, "value": v} for k, v in one["tags"].items()]}}
            for identity, one in self.runs.items()
            if one["tags"].get("mlflow.parentRunId") == "parent" and ("slipway.index" not in wanted or f"'{one['tags']['slipway.index']}'" in wanted)
        ]
        return 200, {"runs": found}


def launch(http: Any, code: str, sweep: list[dict[str, Any]] | None = None, index: int = 0, **parameters: Any) -> int:
    env = {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{http.server_port}",
        "MLFLOW_RUN_ID": "parent",
        "MLFLOW_EXPERIMENT_ID": "1",
        "SLIPWAY_PARAMETERS": json.dumps(parameters),
        "SLIPWAY_SWEEP": json.dumps(sweep or []),
        "JOB_COMPLETION_INDEX": str(index),
    }
    return int(run.main([sys.executable, "-c", code], env))


@pytest.fixture
def tracking(http: Any) -> Tracking:
    http.answer = Tracking()
    return http.answer


@pytest.mark.parametrize(("code", "status"), [("pass", "FINISHED"), ("raise SystemExit(3)", "FAILED"), ("import os; os.kill(os.getpid(), 9)", "FAILED")])
def test_the_run_ends_as_the_program_does(http: Any, tracking: Tracking, code: str, status: str) -> None:
    result = launch(http, code)
    assert tracking.runs["parent"]["status"] == status and bool(result) is (status == "FAILED")


def test_parameters_are_logged_and_given(http: Any, tracking: Tracking) -> None:
    code = "import sys; sys.exit(sys.argv[1:] != ['--max-evals=4', '--deep=true'])"
    assert launch(http, code, **{"max-evals": 4, "deep": True}) == 0
    assert tracking.runs["parent"]["params"] == {"max-evals": "4", "deep": "true"}


def test_a_sweep_finishes_with_its_last_index(http: Any, tracking: Tracking) -> None:
    sweep = [{"depth": 1}, {"depth": 2}]
    launch(http, "pass", sweep, 0)
    assert tracking.runs["parent"]["status"] == "RUNNING"
    launch(http, "pass", sweep, 1)
    assert tracking.runs["parent"]["status"] == "FINISHED"
    assert [one["params"] for name, one in tracking.runs.items() if name != "parent"] == [{"depth": "1"}, {"depth": "2"}]


def test_a_failed_index_fails_the_sweep_until_it_is_tried_again(http: Any, tracking: Tracking) -> None:
    sweep = [{"depth": 1}, {"depth": 2}]
    launch(http, "raise SystemExit(1)", sweep, 0)
    launch(http, "pass", sweep, 1)
    assert tracking.runs["parent"]["status"] == "FAILED"
    launch(http, "pass", sweep, 0)
    assert tracking.runs["parent"]["status"] == "FINISHED"
    assert len(tracking.runs) == 3, "the second attempt goes on with the first one's run"


def test_a_command_that_is_not_there_fails_the_run(http: Any, tracking: Tracking) -> None:
    env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{http.server_port}", "MLFLOW_RUN_ID": "parent", "MLFLOW_EXPERIMENT_ID": "1"}
    with pytest.raises(FileNotFoundError):
        run.main(["/no/such/program"], env)
    assert tracking.runs["parent"]["status"] == "FAILED"


def test_a_server_that_comes_back_is_waited_for(http: Any) -> None:
    answers = iter([(503, {}), (500, {}), (200, {"yes": 1})])
    http.answer = lambda *_asked: next(answers)
    slept: list[float] = []
    server = run.Server({"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{http.server_port}"}, slept.append)
    assert server.post("runs/update", {}) == {"yes": 1} and len(slept) == 2


def test_a_refusal_is_not_repeated(http: Any) -> None:
    http.answer = lambda *_asked: (400, {"message": "no"})
    with pytest.raises(SystemExit, match="refused runs/update: 400"):
        run.Server({"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{http.server_port}"}, lambda _s: None).post("runs/update", {})
