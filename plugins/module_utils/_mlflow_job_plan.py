# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A training Job and its MLflow run: which belongs to which, and which state the run has to have. Pure."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._mlflow_api import Json
from ._mlflow_settings import plain_secrets
from ._model import Object

RUNNING, FINISHED, FAILED, KILLED = "RUNNING", "FINISHED", "FAILED", "KILLED"
KEY_TAG, ATTEMPT_TAG, JOB_TAG = "slipway.key", "slipway.attempt", "slipway.job"
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")  # with key and attempt it stays a label's value (63)


@dataclass(frozen=True)
class Run:
    """One launch as MLflow knows it."""

    id: str
    status: str
    attempt: int


def problems(name: str, job: Object, sweep: Sequence[Mapping[str, Any]]) -> list[str]:
    """Everything that forbids to launch, each a sentence."""
    found = []
    if not _NAME.match(name):
        found.append(f"name: '{name}' must be lower case letters, digits and -, at most 40.")
    if job.get("apiVersion") != "batch/v1" or job.get("kind") != "Job":
        found.append(f"job: a batch/v1 Job is needed, not {job.get('apiVersion')} {job.get('kind')}.")
        return found
    if not (job.get("metadata") or {}).get("namespace"):
        found.append("job: metadata.namespace is missing.")
    containers = _containers(job)
    if not containers:
        found.append("job: spec.template.spec.containers is empty.")
    taken = {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"} & {entry.get("name") for entry in (containers[0].get("env") or [] if containers else [])}
    if taken:
        found.append(f"job: {', '.join(sorted(taken))} is set by this module; leave it out.")
    plain = {str(entry.get("name")): entry.get("value") for container in containers for entry in container.get("env") or []}
    found += [
        f"job: {name} is a secret, which would be readable in the inventory and the Job. Put it into a Secret and refer to that (role: mlflow_job_secrets)."
        for name in plain_secrets(plain)
    ]
    if sweep and (job["spec"].get("completionMode") != "Indexed" or job["spec"].get("completions") != len(sweep)):
        found.append(f"job: a sweep of {len(sweep)} needs completionMode: Indexed and completions: {len(sweep)}.")
    return found


def key(job: Object, experiment: str, generation: str) -> str:
    """Identity of a launch: same content, same key. A new `generation` makes a new one of the same content."""
    text = json.dumps([job, experiment, generation], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def latest(runs: Sequence[Json]) -> Run | None:
    """The newest launch among the runs that carry the key."""
    found = []
    for run in runs:
        tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
        attempt = tags.get(ATTEMPT_TAG, "")
        found.append(Run(run["info"]["run_id"], run["info"]["status"], int(attempt) if attempt.isdigit() else 0))
    return max(found, key=lambda run: run.attempt, default=None)


def job_name(name: str, identity: str, attempt: int) -> str:
    return f"{name}-{identity}-{attempt}"


def with_run(job: Object, name: str, run: str, experiment_id: str) -> Object:
    """The Job under its name, told its run. All else is as given; only the first container gets the variables, as `mlflow run` has it."""
    result = copy.deepcopy(job)
    result["metadata"]["name"] = name
    container = _containers(result)[0]
    container["env"] = [
        *(container.get("env") or []),
        {"name": "MLFLOW_RUN_ID", "value": run},
        {"name": "MLFLOW_EXPERIMENT_ID", "value": experiment_id},
    ]
    return result


def tags(name: str, identity: str, attempt: int, namespace: str, image: str, user: str) -> dict[str, str]:
    """Tags of a new run: ours to find it again, MLflow's own to show it in the UI."""
    return {
        KEY_TAG: identity,
        ATTEMPT_TAG: str(attempt),
        JOB_TAG: f"{namespace}/{job_name(name, identity, attempt)}",
        "mlflow.runName": f"{name}-{attempt}",
        "mlflow.source.type": "JOB",
        "mlflow.source.name": image,
        "mlflow.user": user,
    }


def run_of(live: Object | None) -> str:
    """The run that a Job was told, "" where there is no Job."""
    env = (_containers(live)[0].get("env") or []) if live else []
    return str(next((entry.get("value") for entry in env if entry.get("name") == "MLFLOW_RUN_ID"), ""))


def image(job: Object) -> str:
    return str(_containers(job)[0].get("image", ""))


def verdict(live: Object | None) -> str | None:
    """State that a run must have for this Job: FINISHED, FAILED, RUNNING; None where there is no Job."""
    if live is None:
        return None
    for condition in (live.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "SuccessCriteriaMet"):
            return FINISHED
        if condition.get("status") == "True" and condition.get("type") in ("Failed", "FailureTarget"):
            return FAILED
    return RUNNING


def _containers(job: Object) -> list[Json]:
    spec = (((job.get("spec") or {}).get("template") or {}).get("spec")) or {}
    return spec.get("containers") or []
