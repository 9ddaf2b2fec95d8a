# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What only the controller can do for link_mtu: see all hosts of the play, open a new connection, and decide for all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.mlops.plugins.module_utils import _mtu_plan


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args = dict(self._task.args)
        step = args.get("step", "change")
        changes, probes, keeps = (args.pop(name, None) or {} for name in ("changes", "probes", "keeps"))
        host = task_vars["inventory_hostname"]
        mine = changes.get(host) or {}
        pending = mine.get("pending")

        if step == "change":
            serial = _serial_problem(task_vars)
            return {**result, "failed": True, "msg": serial} if serial else {**result, **self._module(args, task_vars)}
        if step in ("probe", "keep", "confirm") and not pending:
            # Also in check mode, where nothing was changed.
            return {**result, "changed": False, "skipped": True, "skip_reason": "nothing waits for a confirmation"}
        if step == "probe":
            # A connection from before the change would go on with segments of the old size, and prove nothing.
            with contextlib.suppress(AttributeError, NotImplementedError):
                self._connection.reset()
            args.update(changed_links=pending["links"], peers={name: change.get("links", []) for name, change in changes.items() if name != host and change})
            found = self._module(args, task_vars)
            found.pop("padding", None)
            return {**result, **found}
        if step in ("keep", "confirm"):
            args["token"] = pending["token"]
            reasons = _mtu_plan.verdict(changes, probes) if step == "keep" else _mtu_plan.not_kept(changes, keeps)
            if reasons:
                return {**result, **self._refuse(args, reasons, task_vars)}
        return {**result, **self._module(args, task_vars)}

    def _refuse(self, args: Mapping[str, Any], reasons: list[str], task_vars: Any) -> dict[str, Any]:
        undone = self._module({**args, "step": "undo"}, task_vars)
        end = undone.get("undone") or "The timer puts the old MTU back: " + str(undone.get("msg"))
        listed = "\n".join("  - " + reason for reason in reasons)
        return {"failed": True, "changed": False, "problems": reasons, "msg": f"The new MTU was not confirmed:\n{listed}\n{end}"}

    def _module(self, args: Mapping[str, Any], task_vars: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._execute_module(module_name="slipway.mlops.link_mtu", module_args=dict(args), task_vars=task_vars)
        return found


def _serial_problem(task_vars: Mapping[str, Any]) -> str:
    batch, play = set(task_vars.get("ansible_play_batch") or ()), set(task_vars.get("ansible_play_hosts") or ())
    if batch == play:
        return ""
    return (
        f"link_mtu changes all hosts of a play together, and this play takes {len(batch)} of {len(play)} at a time: paths between hosts can only be proved "
        "when both ends have the new MTU. Remove `serial` from the play. Nothing was changed."
    )
