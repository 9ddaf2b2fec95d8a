# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happened in a run of a playbook, step by step, and how it is told at the end. Pure: the callback feeds it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHANGING = ("created", "updated", "deleted")
# What a run of this stage alone ends with, where nothing failed and nothing is left to verify.
ENDS = {
    "Inventory": "Only the inventory was looked at; it can work. `ansible-playbook playbooks/plan.yml` says what site.yml would do.",
    "Images": "The registry holds the images of the workloads.",
    "Uninstall": "What site.yml made is gone; claims, volumes, generated Secrets, namespaces and the content of disks stay until they are named.",
}


@dataclass(frozen=True)
class Step:
    """One task on one host. `play` counts up; `seconds` is wall time, `at` seconds since the run began; `lines` say what was (or would be) changed."""

    stage: str
    role: str
    task: str
    host: str
    at: float
    seconds: float
    outcome: str  # ok | changed | failed | unreachable | skipped
    play: int = 0
    check: bool = False  # a look ahead or a reading back: `changed` means that it differs
    lines: tuple[str, ...] = ()
    reason: str = ""


@dataclass
class Run:
    """The steps of one `ansible-playbook`, with what is needed to say how to go on."""

    playbook: str = ""
    inventory: tuple[str, ...] = ()
    stages: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    report: dict[str, Any] | None = None

    @property
    def is_dry(self) -> bool:
        """Whether the run only looked ahead: something was looked at in check mode, and nothing outside it could change."""
        looked = [step.check for step in self.steps if step.stage != "Inventory" and step.outcome != "skipped"]
        return self.report is None and bool(looked) and all(looked)

    def stage(self, play_name: str) -> str:
        """The stage of a play: what stands before `|` in its name."""
        name = play_name.split("|")[0].strip()
        if name not in self.stages:
            self.stages.append(name)
        return name


def changed_lines(result: Mapping[str, Any]) -> tuple[str, ...]:
    """What a module's result says it changed: its `actions` (sentences), its `objects`, or nothing."""
    lines = [str(line) for line in result.get("actions") or () if isinstance(line, str)]
    for item in result.get("objects") or ():
        if isinstance(item, Mapping) and item.get("action") in CHANGING:
            place = f"{item['namespace']}/" if item.get("namespace") else ""
            assumed = " (assumed: the server could not be asked)" if item.get("assumed") else ""
            lines.append(f"{item['action']} {item.get('kind')} {place}{item.get('name')}{assumed}")
    return tuple(lines)


def reason_of(result: Mapping[str, Any]) -> str:
    """Why a step failed, in the module's own words."""
    for key in ("msg", "stderr", "exception"):
        text = str(result.get(key) or "").strip()
        if text:
            return text
    return "no reason given; run again with -vvv"


def again(run: Run, step: Step) -> str:
    """The command that repeats just the failed step."""
    words = ["ansible-playbook", run.playbook or "site.yml"]
    for source in run.inventory:
        words += ["-i", source]
    if step.host != "localhost":
        words += ["--limit", f"{step.host},localhost"]
    if step.role:
        words += ["--tags", step.role.rsplit(".", 1)[-1]]
    return " ".join(shlex.quote(word) for word in words)


def summary(run: Run, seconds: float) -> list[str]:
    """The lines that end a run."""
    lines = [f"{'stage':<34}{'changed':>9}{'failed':>8}{'seconds':>9}"]
    for stage in run.stages:
        steps = [step for step in run.steps if step.stage == stage]
        changed = sum(step.outcome == "changed" and not step.check for step in steps)
        failed = sum(step.outcome in ("failed", "unreachable") for step in steps)
        lines.append(f"{stage:<34}{changed:>9}{failed:>8}{_span(steps):>9.1f}")
    lines.append(f"{'all':<34}{'':>9}{'':>8}{seconds:>9.1f}")
    if run.is_dry:
        lines += ["", *_foreseen(run)]
    failures = [step for step in run.steps if step.outcome in ("failed", "unreachable")]
    for step in failures:
        lines += [
            "",
            f"FAILED  {step.role + ': ' if step.role else ''}{step.task}",
            f"  where {step.host}",
            *(f"  {'why  ' if number == 0 else '     '} {text}" for number, text in enumerate(step.reason.splitlines())),
            f"  then  {again(run, step)}",
        ]
    lines += ["", verdict(run, bool(failures))]
    return lines


def verdict(run: Run, failed: bool) -> str:
    """One sentence: ready, not ready, or not verified, and what to do next."""
    if run.report is not None:
        place = run.report.get("html", "report/report.html")
        if run.report.get("ready") and not failed:
            return f"READY: everything that the inventory asks for was read back. The report: {place}"
        return f"NOT READY: the report says what is missing and why: {place}"
    if failed:
        return "NOT VERIFIED: the run stopped before it could read back what it made. Mend the above, then run the same command again."
    if run.is_dry:
        return "This was a look ahead: nothing was touched. Run the same without --check (or site.yml instead of plan.yml) to do it."
    if len(run.stages) == 1 and run.stages[0] in ENDS:
        return ENDS[run.stages[0]]
    return "NOT VERIFIED: the stage `verify` was not part of this run; `ansible-playbook playbooks/verify.yml` reads everything back."


def _foreseen(run: Run) -> list[str]:
    steps = [step for step in run.steps if step.outcome == "changed"]
    if not steps:
        return ["Nothing would change."]
    lines = ["What would change:"]
    for host in dict.fromkeys(step.host for step in steps):
        lines.append(f"  {'cluster' if host == 'localhost' else host}")
        for step in steps:
            if step.host == host:
                lines += [f"    {line}" for line in step.lines or (step.task,)]
    return lines


def _span(steps: list[Step]) -> float:
    """Wall seconds of a stage: each of its plays from the first step's begin to the last one's end."""
    plays = {step.play: [other for other in steps if other.play == step.play] for step in steps}
    return sum(max(step.at + step.seconds for step in part) - min(step.at for step in part) for part in plays.values())
