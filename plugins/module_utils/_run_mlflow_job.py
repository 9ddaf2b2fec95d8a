# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A training Job launched once for its content, followed, and its MLflow run brought to the same end."""

from __future__ import annotations

import time
from typing import Any

from . import _mlflow_connect as connection
from . import _mlflow_job_plan as plan
from . import _run_k8s_manifests as manifests
from ._mlflow_api import Json, Mlflow, MlflowError, closing
from ._mlflow_job_plan import FAILED, FINISHED, KILLED, RUNNING, Run
from ._model import ClusterError, Object, Ref, Refused
from ._module import Call

ARGUMENTS: dict[str, Any] = {
    **connection.ARGUMENTS,
    "name": {"type": "str", "required": True},
    "experiment": {"type": "str", "required": True},
    "job": {"type": "dict", "required": True},
    "objects": {"type": "list", "elements": "dict", "default": []},
    "secrets": manifests.ARGUMENTS["secrets"],
    "sweep": {"type": "list", "elements": "dict", "default": []},
    "generation": {"type": "str", "default": ""},
    "user": {"type": "str", "default": "slipway"},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 3600},
}
RULES = connection.RULES


def run(call: Call) -> Json:
    """Find or make the run, apply the Job, follow it, settle."""
    params = call.params
    found = plan.problems(params["name"], params["job"], params["sweep"])
    if found:
        raise Refused(found)
    identity = plan.key(params["job"], params["experiment"], params["generation"])
    with closing(connection.connect(call)) as server:
        experiment = _experiment(server, params["experiment"], call.check_mode)
        if not experiment:
            return {"changed": True, "actions": [f"launch training {params['name']}"], "job": "", "run": {}}
        last = plan.latest(_search(server, experiment, f"tags.`{plan.KEY_TAG}` = '{identity}'"))
        # One that failed has perhaps failed by one index of a sweep, while others were killed without a word.
        if last and last.status in (RUNNING, FAILED):
            last = _settled(call, server, experiment, last, identity)
        if last and last.status == FINISHED:
            call.progress(f"run {last.id} of this content has finished already; another `generation` runs it again")
            return {"changed": False, "actions": [], "job": "", "run": _read(server, last.id)}
        if call.check_mode:
            action = "follow" if last and last.status == RUNNING else "launch"
            return {"changed": action == "launch", "actions": [f"{action} training {params['name']}"], "job": "", "run": {}}
        started = not (last and last.status == RUNNING)
        launched = last if last and not started else _start(call, server, experiment, identity, (last.attempt if last else 0) + 1)
        name = plan.job_name(params["name"], identity, launched.attempt)
        call.progress(f"run {launched.id} of experiment {params['experiment']}: Job {params['job']['metadata']['namespace']}/{name}")
    # The server may be replaced while the Job runs: no connection is held meanwhile.
    result = _apply(call, plan.with_run(params["job"], name, launched.id, experiment))
    first = plan.run_of(_live(call, name))
    if first and first != launched.id:
        # Somebody launched the same content at the same time, and the API server took their Job: ours is no launch.
        call.progress(f"run {first} of this content was launched at the same time and is followed; run {launched.id} is removed")
        with closing(connection.connect(call)) as server:
            _end(server, launched.id, KILLED)
            server.post("runs/delete", {"run_id": launched.id})
        launched, started = Run(first, RUNNING, launched.attempt), False
        result = _apply(call, plan.with_run(params["job"], name, launched.id, experiment))
    with closing(connection.connect(call)) as server:
        if params["wait"]:
            _settle(server, experiment, launched, _live(call, name))
        shown = _read(server, launched.id)
        changed = started or bool(result.get("changed"))
        return {**result, "changed": changed, "actions": [f"training {name}: run {launched.id} {shown['status']}"], "job": name, "run": shown}


def _experiment(server: Mlflow, name: str, check_mode: bool) -> str:
    """The number of the experiment, "" where it would only come with the task before."""
    try:
        found = server.get("experiments/get-by-name", experiment_name=name)["experiment"]
    except MlflowError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST" and check_mode:
            return ""
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            raise Refused([f"There is no experiment '{name}'; make it with mlflow_experiment, so that its artifacts lie where you want them."]) from None
        raise
    if found.get("lifecycle_stage") == "deleted":
        raise Refused([f"Experiment '{name}' is deleted; mlflow_experiment restores it."])
    return str(found["experiment_id"])


def _search(server: Mlflow, experiment: str, condition: str) -> list[Json]:
    body = {"experiment_ids": [experiment], "filter": condition, "max_results": 1000}
    return list(server.post("runs/search", body).get("runs", []))


def _start(call: Call, server: Mlflow, experiment: str, identity: str, attempt: int) -> Run:
    job = call.params["job"]
    wanted = plan.tags(call.params["name"], identity, attempt, job["metadata"]["namespace"], plan.image(job), call.params["user"])
    body = {
        "experiment_id": experiment,
        "start_time": int(time.time() * 1000),
        "run_name": wanted["mlflow.runName"],
        "tags": [{"key": key, "value": value} for key, value in wanted.items()],
    }
    return Run(server.post("runs/create", body)["run"]["info"]["run_id"], RUNNING, attempt)


def _apply(call: Call, job: Object) -> Json:
    """The Job and what it needs, through the module that applies sets; a failed Job is a failed result here, not yet the end."""
    params = call.params
    options = {
        **params,
        "name": params["name"],
        "namespace": job["metadata"]["namespace"],
        "state": "present",
        "manifests": [*params["objects"], job],
        "prune": False,  # earlier launches keep their Jobs, and with them their logs
        "delete_data": [],
        "force_conflicts": False,
    }
    inner = Call(options, call.check_mode, call.diff, call.progress, call.clock, call.cluster, call.environ, call.origin)
    inner.secrets = call.secrets
    try:
        return manifests.run(inner)
    except ClusterError as error:
        return {"failed": True, "msg": str(error)}


def _live(call: Call, name: str) -> Object | None:
    return call.cluster.get(Ref("batch/v1", "Job", call.params["job"]["metadata"]["namespace"], name))


def _settled(call: Call, server: Mlflow, experiment: str, run: Run, identity: str) -> Run:
    """A run that has not finished, after a look at its Job: the pod may have died without a word while nobody followed it."""
    live = _live(call, plan.job_name(call.params["name"], identity, run.attempt))
    verdict = plan.verdict(live)
    if verdict in (RUNNING, None):  # without a Job the launch stopped in between, and goes on now
        return run
    if not call.check_mode:
        _settle(server, experiment, run, live)
    return Run(run.id, verdict or RUNNING, run.attempt)


def _settle(server: Mlflow, experiment: str, run: Run, live: Object | None) -> None:
    """The run's state as the Job's. The pod says it itself; this is for the one that was killed, or never started."""
    status = server.get("runs/get", run_id=run.id)["run"]["info"]["status"]
    wanted = plan.verdict(live) or (FAILED if status == RUNNING else status)
    if wanted == RUNNING:
        return
    if wanted != status:
        _end(server, run.id, wanted)
    # Runs below it (the indexes of a sweep, or the program's own) have nobody any more who could end them.
    for left in _search(server, experiment, f"tags.`mlflow.parentRunId` = '{run.id}' AND attributes.status = '{RUNNING}'"):
        _end(server, left["info"]["run_id"], FAILED)


def _end(server: Mlflow, run: str, status: str) -> None:
    server.post("runs/update", {"run_id": run, "status": status, "end_time": int(time.time() * 1000)})


def _read(server: Mlflow, identity: str) -> Json:
    """The run for the user."""
    found = server.get("runs/get", run_id=identity)["run"]
    data = found.get("data", {})
    return {
        "id": identity,
        "status": found["info"]["status"],
        "experiment_id": found["info"]["experiment_id"],
        "artifact_uri": found["info"].get("artifact_uri", ""),
        "parameters": {entry["key"]: entry["value"] for entry in data.get("params", [])},
        "metrics": {entry["key"]: entry["value"] for entry in data.get("metrics", [])},
    }
