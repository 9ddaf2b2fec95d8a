# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: summary
type: aggregate
short_description: The end of a run in a few lines, and its part of the report
version_added: "0.1.0"
description:
  - Prints per stage what changed, what failed and how long it took; for each failure what, where, why and the command that tries it again; in check
    mode what would change; and whether what was made has been verified.
  - Prints what C(site.yml) is about to change, host by host, before the first stage that changes anything.
  - Completes the report that the stage C(verify) wrote by what only a callback sees, the changes of this run and its timeline.
  - Enable it by C(callbacks_enabled = slipway.mlops.summary) in C(ansible.cfg).
author:
  - The slipway authors (@slipway-mlops)
"""

import gc
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible_collections.slipway.mlops.plugins.module_utils import _run_record as record

COLLECTION = Path(__file__).resolve().parents[2]


def folder_of(playbook: str) -> str:
    """Where our playbooks are, as seen from here, if the one that runs is a file of this collection. Others call ours by their full names."""
    path = Path(playbook)
    is_ours = path.is_file() and COLLECTION in path.resolve().parents
    return os.path.relpath(COLLECTION / "playbooks") if is_ours else ""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway.mlops.summary"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.began = time.monotonic()
        self.run = record.Run()
        self.stage = ""
        self.is_ours = False  # a configuration that enables this callback may be that of other playbooks, too
        self.goes_on = False
        self.play = 0
        self.starts: dict[tuple[str, str], float] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        args = context.CLIARGS
        self.run.playbook = str((args.get("args") or [""])[0])
        self.run.command = record.shown(sys.argv)
        self.run.folder = folder_of(self.run.playbook)
        self.run.extra_vars = record.shown(("", *(word for value in args.get("extra_vars") or () for word in ("-e", str(value)))))[1:]
        self.run.inventories = tuple(str(one) for one in args.get("inventory") or ())
        self.run.limit = str(args.get("subset") or "")
        self.run.tags = tuple(tag for tag in args.get("tags") or () if tag != "all")
        self.run.skipped_tags = tuple(args.get("skip_tags") or ())
        self.run.is_unmatched = bool(self.run.tags)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        # A stage that another one imports, as `verify` does with `hosts`, counts as part of that one.
        name, within = str(play.get_name()), play.vars.get("slipway_stage")
        known = len(self.run.stages)
        self.stage = self.run.stage(str(within) if within and not name.startswith("Inventory") else name)
        if len(self.run.stages) > known and self.run.has_planned:
            self._display.banner("SLIPWAY PLAN")
            for line in record.foreseen(self.run):
                self._display.display(line)
        # Playbooks that only look go on in spite of failures. That is no reason to be silent about them.
        self.goes_on = bool(play.vars.get("slipway_is_dry_run")) or self.stage == "Verify"
        self.play += 1

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.starts[host.get_name(), task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._add(result, "changed" if result._result.get("changed") else "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._add(result, "ok" if ignore_errors and not self.goes_on else "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._add(result, "unreachable")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._add(result, "skipped")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        # Python searches all that it holds for cycles before it ends: 0.08 s, more where the cores are busy, to free what the kernel frees at once.
        gc.freeze()
        if not self.is_ours:
            return
        seconds = time.monotonic() - self.began
        self._display.banner("SLIPWAY")
        for line in record.summary(self.run, seconds):
            self._display.display(line)
        # Last: a report that cannot be completed, as on a full disk, is a warning of Ansible's, and takes nothing from what was said.
        self._complete_report(seconds)

    def _add(self, result: Any, outcome: str) -> None:
        host, task, values = result._host.get_name(), result._task, result._result
        now = time.monotonic()
        start = self.starts.pop((host, task._uuid), now)
        # Censored results say so themselves; nothing of them is looked at.
        hidden = bool(values.get("_ansible_no_log") or values.get("censored"))
        failed = outcome in ("failed", "unreachable")
        role = task._role.get_name() if task._role else ""
        self.is_ours |= role.startswith("slipway.mlops.") or str(task.action).startswith("slipway.mlops.")
        # That a role's variables fit is looked at whatever is chosen, and never in check mode. It is no step of the work.
        if str(task.action).endswith("validate_argument_spec") and not failed:
            return
        self.run.is_unmatched &= "always" in task.tags
        tag = role.rsplit(".", 1)[-1]
        self.run.steps.append(
            record.Step(
                stage=self.stage,
                play=self.play,
                role=role,
                tag=tag if tag in task.tags else "",
                task=task.name or task.action,
                host=host,
                at=start - self.began,
                seconds=now - start,
                outcome=outcome,
                check=bool((result._task_fields or {}).get("check_mode")),
                lines=record.changed_lines(values) if outcome == "changed" and not hidden else (),
                reason=("the result is hidden by no_log" if hidden else record.reason_of(values)) if failed else "",
            )
        )
        if values.get("slipway_report") and not hidden:
            self.run.report = values["slipway_report"]

    def _complete_report(self, seconds: float) -> None:
        if self.run.report is None:
            return
        from ansible_collections.slipway.mlops.plugins.module_utils import _report

        steps = [asdict(step) for step in self.run.steps if step.outcome != "skipped"]
        _report.complete(self.run.report, {"seconds": seconds, "playbook": self.run.playbook, "stages": self.run.stages, "steps": steps})
