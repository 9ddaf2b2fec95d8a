# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of `container_runtime`: one step, its result."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from . import _files, _runtime_apply, _runtime_plan, _runtime_probe
from ._containerd_plan import Handler
from ._host_change import Journal
from ._host_input import Refused
from ._host_step import STEPS, Stepper

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "engine": {"type": "str", "choices": ["auto", "containerd", "docker", "crio"], "default": "auto"},
    "handler": {"type": "str", "default": "nvidia"},
    "path": {"type": "path", "default": "/usr/bin/nvidia-container-runtime"},
    "path_is_installed_first": {"type": "bool", "default": False},
    "default": {"type": "bool", "default": False},
    "cdi": {"type": "bool"},
    "detection": {"type": "str", "choices": ["auto", "present"], "default": "auto"},
    "allow_container_stop": {"type": "bool", "default": False},
    **STEPS,
}
NO_GPU = "no NVIDIA GPU on this host's PCI bus"


def step(params: Mapping[str, Any], check_mode: bool, diff: bool) -> dict[str, Any]:
    """The result of one step on this host; Refused or Failed where it cannot be done."""
    steps = Stepper(params, check_mode, Journal("container_runtime"), _runtime_apply.put_back)
    settled = steps.settled()
    if settled is not None:
        return settled
    present, gpus = params["state"] == "present", _runtime_probe.gpus()
    if present and params["detection"] == "auto" and not gpus:
        return {"changed": False, "skipped": True, "skip_reason": NO_GPU, "msg": f"Skipped: {NO_GPU}.", "gpus": []}
    pending, runtime = steps.pending, steps.probed(lambda: _runtime_probe.probe(params["engine"]))
    if runtime is None:
        about = steps.journal.about()
        known = {name: about[name] for name in ("engine", "unit", "socket")}
        return {**steps.owed(), **known, "gpus": gpus, "version": "", "handlers": [], "notes": []}
    handler = Handler(params["handler"], params["path"], params["default"], params["cdi"])
    if present:
        _check(handler, is_there=check_mode and params["path_is_installed_first"])
    plan = _runtime_plan.plan(runtime, handler, present)
    changed = bool(plan.edits) or plan.owed or pending
    result: dict[str, Any] = {
        "changed": changed,
        "gpus": gpus,
        "engine": runtime.engine,
        "version": runtime.version,
        "unit": runtime.unit,
        "socket": runtime.socket,
        "handlers": sorted(runtime.status.handlers) if runtime.status else [],
        "notes": list(plan.notes),
        "node": params["node"] or runtime.node,
        "machine_id": runtime.machine_id,
        "restarted": changed and not plan.reload,
        "pending": pending,
        "actions": _actions(plan, runtime, handler, present) if changed else [],
    }
    if diff:
        result["diff"] = [_files.diff(edit.path, edit.before, edit.after) for edit in plan.edits]
    if not changed:
        return result
    unread = _runtime_apply.never_read(runtime)
    if unread and not (pending or plan.owed or plan.reload):
        raise Refused(
            [
                f"{', '.join(unread)} was changed after {runtime.unit} had started, so it has never run with it as it is now. "
                "Restart it, see that pods start, and run this again."
            ]
        )
    why = "" if params["allow_container_stop"] else _runtime_apply.disturbs(runtime, plan)
    if why:
        raise Refused([f"{why}: set allow_container_stop where that is wanted, and drain the node first."])
    result.update(steps.carried_out(lambda: _runtime_apply.apply(runtime, plan, handler, present, steps.journal, steps.seconds)))
    return result


def _actions(plan: _runtime_plan.Plan, runtime: _runtime_probe.Runtime, handler: Handler, present: bool) -> list[str]:
    """What is done, or would be, as sentences."""
    verb = f"define the runtime {handler.name}" if present else f"remove the runtime {handler.name}"
    edits = [f"{verb} in {' and '.join(edit.path for edit in plan.edits)}"] if plan.edits else []
    return [*edits, f"{'reload' if plan.reload else 'restart'} {runtime.unit}"]


def _check(handler: Handler, is_there: bool) -> None:
    problems = []
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", handler.name):
        problems.append(f'handler: "{handler.name}" is no name for a RuntimeClass handler: lower case letters, digits and -, at most 63.')
    if not handler.path.startswith("/") or not handler.path.isprintable():
        problems.append(f"path: {handler.path!r} is not an absolute path.")
    elif not is_there and not os.access(handler.path, os.X_OK):
        problems.append(f"path: {handler.path} is missing or cannot be executed: install the NVIDIA Container Toolkit first.")
    if problems:
        raise Refused(problems)
