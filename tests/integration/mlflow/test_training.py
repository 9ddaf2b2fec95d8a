# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Training in Jobs, by the playbook that users call, and the runs as the real client finds them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mlflow_lab import NAMESPACE, Mlflow, kubectl, last, until
from the_lab import ROOT, changed, playbook_command

pytestmark = [pytest.mark.lab, pytest.mark.long]

RUNS = """
import json, mlflow, sys
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name(sys.argv[1])
runs = client.search_runs([experiment.experiment_id]) if experiment else []
print(json.dumps([{"id": r.info.run_id, "status": r.info.status, "params": r.data.params, "metrics": r.data.metrics, "tags": r.data.tags} for r in runs]))
"""
BEST = """
import json, mlflow, sys
sys.path.insert(0, sys.argv[2])
model = mlflow.pyfunc.load_model("models:/" + sys.argv[1] + "/1")
import pandas
columns = model.metadata.get_input_schema().input_names()
flights = pandas.DataFrame([[2000.0] * len(columns)] * 5, columns=columns).astype("float32")
print(json.dumps({"columns": columns, "predicted": [int(value) for value in model.predict(flights)], "run": model.metadata.run_id}))
"""


def runs(mlflow: Mlflow, experiment: str) -> list[dict[str, Any]]:
    return list(last(mlflow.python(RUNS, experiment)))


def parents(mlflow: Mlflow, experiment: str) -> list[dict[str, Any]]:
    return [run for run in runs(mlflow, experiment) if "mlflow.parentRunId" not in run["tags"]]


def children(mlflow: Mlflow, experiment: str) -> list[dict[str, Any]]:
    return [run for run in runs(mlflow, experiment) if "mlflow.parentRunId" in run["tags"]]


def program(name: str, code: str, **values: Any) -> dict[str, Any]:
    """Values of a training that is only a line of Python, in an experiment of its own name."""
    return {
        "mlflow_job_name": name,
        "mlflow_job_experiment": name,
        "mlflow_job_command": ["python3", "-c", code],
        "mlflow_job_parameters": {},
        "mlflow_job_image": "registry.lab:5000/python-base:3.11",
        **values,
    }


def train(mlflow: Mlflow, *arguments: str, fails: bool = False, **values: Any) -> str:
    return mlflow.play(*arguments, book="playbooks/training.yml", fails=fails, **values)


def job_of(run: dict[str, Any]) -> dict[str, Any]:
    namespace, name = run["tags"]["slipway.job"].split("/")
    assert namespace == NAMESPACE
    return dict(json.loads(kubectl("get", "job", name, "-o", "json")))


def ended(job: dict[str, Any]) -> str:
    found = [entry["type"] for entry in job["status"].get("conditions", []) if entry["status"] == "True"]
    return "Complete" if "Complete" in found else "Failed" if "Failed" in found else ""


def test_the_example_is_trained_once_and_any_client_loads_its_best_model(mlflow: Mlflow) -> None:
    output = train(mlflow)
    (parent,) = parents(mlflow, "RAPIDS-MLFLOW")
    assert parent["status"] == "FINISHED" and ended(job_of(parent)) == "Complete"
    trials = children(mlflow, "RAPIDS-MLFLOW")
    assert len(trials) == parent["metrics"]["trials"] == 4 and {run["status"] for run in trials} == {"FINISHED"}
    assert parent["metrics"]["accuracy"] == max(run["metrics"]["accuracy"] for run in trials) > 0.8
    assert parent["params"]["conda-env"] == "/opt/client" and parent["id"] in output
    best = last(mlflow.python(BEST, "rapids_airline_hyperopt_k8s", ""))
    assert "Distance" in best["columns"] and set(best["predicted"]) <= {0, 1} and len(best["predicted"]) == 5
    assert changed(train(mlflow)) == 0
    assert len(parents(mlflow, "RAPIDS-MLFLOW")) == 1


def test_a_program_that_fails_fails_job_and_run_and_is_tried_again_as_a_new_run(mlflow: Mlflow) -> None:
    values = program("breaks", "import sys; sys.exit('no data today')")
    output = train(mlflow, fails=True, **values)
    assert "no data today" in output
    (run,) = parents(mlflow, "breaks")
    assert run["status"] == "FAILED" and ended(job_of(run)) == "Failed"
    train(mlflow, fails=True, **values)
    assert [run["status"] for run in parents(mlflow, "breaks")] == ["FAILED", "FAILED"]


def test_a_pod_that_never_starts_fails_the_run(mlflow: Mlflow) -> None:
    """Nobody in the pod can say it, so whoever follows does."""
    output = train(mlflow, fails=True, **program("missing", "pass", mlflow_job_image="registry.lab:5000/missing:1", mlflow_job_deadline=20))
    assert "missing:1" in output
    (run,) = parents(mlflow, "missing")
    assert run["status"] == "FAILED" and ended(job_of(run)) == "Failed"


def test_a_sweep_has_a_run_for_each_set_and_no_more_pods_than_wanted(mlflow: Mlflow) -> None:
    sweep = [{"depth": depth} for depth in (2, 4, 8, 16)]
    train(mlflow, **program("sweep", "import time; time.sleep(4)", mlflow_job_sweep=sweep, mlflow_job_parallelism=2))
    (parent,) = parents(mlflow, "sweep")
    assert parent["status"] == "FINISHED"
    assert sorted(int(run["params"]["depth"]) for run in children(mlflow, "sweep")) == [2, 4, 8, 16]
    assert {run["status"] for run in children(mlflow, "sweep")} == {"FINISHED"}
    job = job_of(parent)
    assert job["spec"]["completionMode"] == "Indexed" and job["status"]["succeeded"] == 4
    pods = mlflow.pods(f"batch.kubernetes.io/job-name={job['metadata']['name']}")
    spans = [terminated for pod in pods for status in pod["status"]["containerStatuses"] if (terminated := status["state"]["terminated"])]
    assert len(spans) == 4
    assert max(sum(other["startedAt"] <= one["startedAt"] < other["finishedAt"] for other in spans) for one in spans) <= 2


def test_a_set_that_fails_fails_the_sweep_and_no_other_set(mlflow: Mlflow) -> None:
    code = "import sys; sys.exit(sys.argv[1] == '--depth=4')"
    train(mlflow, fails=True, **program("half", code, mlflow_job_sweep=[{"depth": depth} for depth in (2, 4, 8)]))
    (parent,) = parents(mlflow, "half")
    assert parent["status"] == "FAILED"
    assert {int(run["params"]["depth"]): run["status"] for run in children(mlflow, "half")} == {2: "FINISHED", 4: "FAILED", 8: "FINISHED"}


def test_a_training_survives_its_launcher(mlflow: Mlflow) -> None:
    values = program("orphan", "import time; time.sleep(45)")
    command, env = playbook_command("playbooks/training.yml", **{**mlflow.values, **values})
    launcher = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        pods = "app.kubernetes.io/instance=orphan"
        until("the training pod", lambda: [pod for pod in mlflow.pods(pods) if pod["status"]["phase"] == "Running"])
    finally:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
    (run,) = parents(mlflow, "orphan")
    assert run["status"] == "RUNNING"
    until("the end of the run", lambda: parents(mlflow, "orphan")[0]["status"] == "FINISHED")
    assert changed(train(mlflow, **values)) == 0
    assert len(parents(mlflow, "orphan")) == 1


def test_the_files_for_mlflow_run_are_rendered_and_valid(mlflow: Mlflow, tmp_path: Path) -> None:
    secret = [{"env": "AWS_SECRET_ACCESS_KEY", "secret": "awskey", "key": "awskey"}]
    train(mlflow, **program("files", "pass", mlflow_job_project_directory=str(tmp_path), mlflow_job_secrets=secret, mlflow_job_is_followed=False))
    config = json.loads((tmp_path / "kubernetes_config.json").read_text())
    assert config == {
        "kube-context": "",
        "kube-job-template-path": str(tmp_path / "kubernetes_job_template.yaml"),
        "repository-uri": "registry.lab:5000/python-base",
    }
    template = (tmp_path / "kubernetes_job_template.yaml").read_text()
    assert "run.py" not in template and "secretKeyRef" in template
    assert "created (server dry run)" in kubectl("create", "--dry-run=server", "-f", "-", text=template)
    kubectl("delete", "jobs", "-l", "app.kubernetes.io/instance=files", "--wait=false")
