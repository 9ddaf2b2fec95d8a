# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Experiments of an MLflow server as declared."""

from __future__ import annotations

from typing import Any

from . import _mlflow_connect as connection
from ._mlflow_api import Json, Mlflow, MlflowError, closing
from ._mlflow_experiments import CREATE, KEEP, Live, Step, declared, live, outcome, plan, refusals, state
from ._model import Refused
from ._module import Call

ARGUMENTS: dict[str, Any] = {
    **connection.ARGUMENTS,
    "experiments": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "artifact_location": {"type": "str"},
            "tags": {"type": "dict"},
            "purge_tags": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
    },
}
RULES = connection.RULES


def run(call: Call) -> Json:
    """Read all, refuse or plan all, then act; nothing is written when one experiment cannot be as declared."""
    started = call.clock.now()
    wanted = declared(call.params["experiments"])
    with closing(connection.connect(call)) as server:
        existing = {item.name: found for item in wanted if (found := _find(server, item.name))}
        problems = refusals(wanted, existing)
        if problems:
            raise Refused(problems)
        steps = plan(wanted, existing)
        results = []
        for step in steps:
            if step.action != KEEP:
                call.progress(f"experiment {step.wanted.name}: {step.action}")
            results.append(_result(step, step.live if call.check_mode else _act(server, step)))
    result: Json = {
        "changed": any(step.action != KEEP for step in steps),
        "actions": [f"experiment {step.wanted.name} {step.action}" for step in steps if step.action != KEEP],
        "experiments": results,
        "seconds": round(call.clock.now() - started, 2),
    }
    if call.diff:
        result["diff"] = {
            "before": {step.wanted.name: state(step.wanted, step.live) for step in steps if step.action != KEEP},
            "after": {step.wanted.name: outcome(step) for step in steps if step.action != KEEP},
        }
    return result


def _find(server: Mlflow, name: str) -> Live | None:
    """The experiment of this name, deleted or not."""
    try:
        return live(server.get("experiments/get-by-name", experiment_name=name)["experiment"])
    except MlflowError as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _act(server: Mlflow, step: Step) -> Live | None:
    for endpoint, body in step.calls:
        try:
            server.post(endpoint, body)
        except MlflowError as error:
            # Somebody made it since we looked. A location or tags that differ come out in the next run.
            if not (step.action == CREATE and error.code == "RESOURCE_ALREADY_EXISTS"):
                raise
    return _find(server, step.wanted.name) if step.calls else step.live


def _result(step: Step, now: Live | None) -> Json:
    return {
        "name": step.wanted.name,
        "action": step.action,
        "id": now.id if now else "",
        "artifact_location": now.location if now else "",
        "lifecycle_stage": now.stage if now else "",
    }
