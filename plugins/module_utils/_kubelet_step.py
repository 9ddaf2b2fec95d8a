# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of `kubelet_config`: one step, its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _files, _kubelet_apply, _kubelet_plan, _kubelet_probe, _sysctl_pattern
from ._host_change import Journal
from ._host_input import Refused
from ._host_step import STEPS, Stepper

ARGUMENTS: dict[str, dict[str, Any]] = {
    "sysctls": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "allow_wildcards": {"type": "bool", "default": False},
    "kubeadm_config_map": {"type": "bool", "default": True},
    **STEPS,
}


def step(params: Mapping[str, Any], check_mode: bool, diff: bool) -> dict[str, Any]:
    """The result of one step on this host; Refused or Failed where it cannot be done."""
    steps = Stepper(params, check_mode, Journal("kubelet_config"), _kubelet_apply.put_back)
    settled = steps.settled()
    if settled is not None:
        return settled
    problems = _sysctl_pattern.problems(params["sysctls"], params["allow_wildcards"] or params["state"] == "absent")
    if problems:
        raise Refused(problems)
    pending, kubelet = steps.pending, steps.probed(_kubelet_probe.probe)
    if kubelet is None:
        return {**steps.owed(), "before": [], "after": [], "flavor": "", "source": ""}
    plan = _kubelet_plan.plan(kubelet, params["sysctls"], params["state"] == "present")
    changed = bool(plan.edits) or pending
    result: dict[str, Any] = {
        "changed": changed,
        "flavor": kubelet.flavor,
        "source": plan.source,
        "before": plan.before,
        "after": plan.after,
        "node": params["node"] or kubelet.node,
        "machine_id": kubelet.machine_id,
        "restarted": changed,
        "pending": pending,
        "actions": _actions(plan) if changed else [],
    }
    if diff:
        result["diff"] = [_files.diff(edit.path, edit.before, edit.after) for edit in plan.edits]
    if changed and kubelet.unread and not pending:
        raise Refused(
            [
                f"{', '.join(kubelet.unread)} was changed after the kubelet (pid {kubelet.pid}) had started, so no kubelet has run with it as it is now. "
                "Restart the kubelet, see that the node is Ready, and run this again."
            ]
        )
    if changed:
        result.update(steps.carried_out(lambda: _kubelet_apply.apply(kubelet, plan, steps.journal, steps.seconds)))
    return result


def _actions(plan: _kubelet_plan.Plan) -> list[str]:
    """What is done, or would be, as sentences."""
    if not plan.edits:
        return ["restart the kubelet with what an interrupted run has written"]
    added = [f"allow {name}" for name in plan.after if name not in plan.before]
    gone = [f"no longer allow {name}" for name in plan.before if name not in plan.after]
    return [f"{' and '.join(added + gone) or 'rewrite the list'} in {plan.source}", "restart the kubelet"]
