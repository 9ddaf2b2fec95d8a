# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happened in a run of a playbook, step by step, and how it is told at the end. Pure: the callback feeds it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CHANGING = ("created", "updated", "deleted")
# Roles that change their hosts together: one host alone would be at odds with the others.
TOGETHER = ("host_mtu",)
# Names of secrets, and URIs with a password.
SECRET = re.compile(r"pass|pwd|secret|token|credential|key|://[^/\s]*:[^/\s]*@", re.IGNORECASE)
# `-e`, also behind short options that take no value, as in `-Kve`.
SHORT = re.compile(r"-[bhkvCDJK]*e")
# What would drive a terminal: texts come from hosts, labels and logs of pods.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What a run of this stage alone ends with, where nothing failed and nothing is left to verify.
ENDS = {
    "Inventory": "Only the inventory was looked at; it can work. The playbook `plan` says what `site` would do.",
    "Images": "The registry holds the images of the workloads.",
    "Uninstall": "What site.yml made is gone, but for what is kept: claims, volumes, generated Secrets and namespaces stay until they are named; "
    "disks keep their content, hosts fstab and MTU, nodes the settings of kubelets and container engines. The head of playbooks/uninstall.yml tells how "
    "these go.",
    "Training": "The run is in MLflow, in the state that is told above: RUNNING where the Job was launched and not followed.",
    "Load": "The load has ended, and what it put there is gone. The report of the next `playbooks/verify.yml` shows what was measured.",
    "Restore": "The database holds what the dump holds.",
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
    tag: str = ""  # of the role, where the task bears it


@dataclass
class Run:
    """The steps of one `ansible-playbook`, with what is needed to say how to go on."""

    playbook: str = ""
    command: tuple[str, ...] = ("ansible-playbook", "site.yml")  # as it was given
    folder: str = "playbooks"  # of our playbooks; empty where they are called by their full names
    extra_vars: tuple[str, ...] = ()  # as words of the command; they may name the cluster
    limit: str = ""
    inventories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()  # that were chosen
    skipped_tags: tuple[str, ...] = ()
    is_unmatched: bool = False  # tags were chosen that no task bears
    stages: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    report: dict[str, Any] | None = None

    @property
    def is_dry(self) -> bool:
        """Whether the run only looked ahead: something was looked at in check mode, and nothing outside it could change."""
        looked = [step.check for step in self.steps if step.stage != "Inventory" and step.outcome != "skipped"]
        return self.report is None and bool(looked) and all(looked)

    @property
    def has_planned(self) -> bool:
        """Whether a stage has just begun that follows the look ahead."""
        return not self.is_unmatched and self.stages[-2:-1] == ["Plan"] and any(step.stage == "Plan" and step.outcome != "skipped" for step in self.steps)

    @property
    def is_part(self) -> bool:
        """Whether it kept to some hosts or tags."""
        return bool(self.limit or self.tags or self.skipped_tags)

    @property
    def alone(self) -> str:
        """The only stage of the run, but for the check of the inventory before it; empty where there were several."""
        worked = [name for name in self.stages if name != "Inventory"] or self.stages
        return worked[0] if len(worked) == 1 else ""

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
    for part in result.get("results") or ():  # of a loop
        if isinstance(part, Mapping):
            lines += changed_lines(part)
    return tuple(lines)


def reason_of(result: Mapping[str, Any]) -> str:
    """Why a step failed, in the module's own words; of a loop those of what failed in it, each once."""
    parts = [part for part in result.get("results") or () if isinstance(part, Mapping) and (part.get("failed") or part.get("unreachable"))]
    if parts:
        return "\n".join(dict.fromkeys(reason_of(part) for part in parts))
    for key in ("msg", "stderr", "exception"):
        text = str(result.get(key) or "").strip()
        if text:
            return text
    return "no reason given; run again with -vvv"


def shown(argv: Sequence[str]) -> tuple[str, ...]:
    """The command as it may be shown: variables that may be secrets are not said again."""
    words = [os.path.basename(argv[0])] if argv else []
    for before, word in zip(argv, argv[1:]):
        name, is_joined, _value = word.partition("=")
        short = SHORT.match(word)
        flag = name + "=" if is_joined and _is_extra_vars(name) else short.group() if short else ""
        value = word if SHORT.fullmatch(before) or _is_extra_vars(before) else word[len(flag) :] if flag else "@"
        hidden = not value.startswith("@") and SECRET.search(value)
        words.append(word[: len(word) - len(value)] + "(as before)" if hidden else word)
    return tuple(words)


def _is_extra_vars(name: str) -> bool:
    """Also by the shorter names that argparse takes."""
    return len(name) > 2 and "--extra-vars".startswith(name)


def again(run: Run, step: Step) -> str:
    """The same command, kept to the failed step where nobody has chosen hosts or tags. What was chosen stays as it is."""
    words = list(run.command)
    if step.host != "localhost" and not run.limit and step.role.rsplit(".", 1)[-1] not in TOGETHER:
        words += ["--limit", f"{step.host},localhost"]
    if step.tag and not run.tags:
        words += ["--tags", step.tag]
    return " ".join(shlex.quote(word) for word in words)


def another(run: Run, name: str) -> str:
    """The command of another playbook of this collection, for the same hosts and with the same variables."""
    book = f"{run.folder}/{name}.yml" if run.folder else f"slipway.mlops.{name}"
    words = ["ansible-playbook", book, *(word for one in run.inventories for word in ("-i", one)), *run.extra_vars]
    return " ".join(shlex.quote(word) for word in words)


def summary(run: Run, seconds: float) -> list[str]:
    """The lines that end a run, as they may be printed."""
    return [CONTROL.sub(" ", line) for line in _summary(run, seconds)]


def _summary(run: Run, seconds: float) -> list[str]:
    lines = [f"{'stage':<34}{'changed':>9}{'failed':>8}{'seconds':>9}"]
    for stage in run.stages:
        steps = [step for step in run.steps if step.stage == stage]
        changed = sum(step.outcome == "changed" and not step.check for step in steps)
        failed = sum(step.outcome in ("failed", "unreachable") for step in steps)
        lines.append(f"{stage:<34}{changed:>9}{failed:>8}{_span(steps):>9.1f}")
    lines.append(f"{'all':<34}{'':>9}{'':>8}{seconds:>9.1f}")
    if run.is_dry and not run.is_unmatched:
        lines += ["", *foreseen(run)]
    failures = _failures(run)
    # The report, and the task that wrote it, say everything that the stage `verify` found.
    for step in failures if run.report is None else [step for step in failures if step.stage != "Verify" or step is failures[-1]]:
        lines += [
            "",
            f"FAILED  {step.role + ': ' if step.role else ''}{step.task}",
            f"  where {step.host}",
            *(f"  {'why  ' if number == 0 else '     '} {text}" for number, text in enumerate(step.reason.splitlines())),
            f"  then  {again(run, step)}",
        ]
    lines += ["", verdict(run, bool(failures))]
    if run.report is not None and run.report.get("ready"):
        for service in run.report.get("services") or ():
            lines += [f"  {service['name']}: {service['url']}", f"    {service['how']}"]
    return lines


def foreseen(run: Run) -> list[str]:
    """What a look ahead found that would change: a line for each change, below its host."""
    steps = [step for step in run.steps if step.outcome == "changed"]
    if not steps:
        return ["Nothing would change" + (", as far as it could be looked at." if _failures(run) else ".")]
    lines = ["What would change:"]
    of_host: dict[str, list[str]] = {}
    for step in steps:
        of_host.setdefault(step.host, []).extend(step.lines or (step.task,))
    for host, changes in of_host.items():
        lines += [f"  {'cluster' if host == 'localhost' else host}", *(f"    {line}" for line in changes)]
    return [CONTROL.sub(" ", line) for line in lines]


def verdict(run: Run, failed: bool) -> str:
    """One sentence: ready, not ready, or not verified, and what to do next."""
    if run.report is not None:
        place = run.report.get("html", "report/report.html")
        if run.report.get("ready"):
            if failed:
                return f"NOT READY: everything was as asked when it was read back ({place}), but a step of this run failed, as told above."
            return f"READY: everything that the inventory asks for was read back. The report: {place}"
        return f"NOT READY: the report says what is missing and why: {place}"
    if failed and run.alone == "Inventory":
        return "REFUSED: no host and no cluster was touched. Mend the inventory, then run the same command again."
    if run.is_unmatched and not failed:
        place = f" on {run.limit}" if run.limit else ""
        return f"NOTHING WAS DONE: no task{place} bears the chosen tags ({', '.join(run.tags)}). Each role has one, equal to its name."
    if run.is_dry and any(step.stage == "Verify" and step.outcome != "skipped" for step in run.steps):
        return f"NOT VERIFIED: only a part was read back, and no report was written; `{another(run, 'verify')}` reads everything back."
    if failed and run.is_dry:
        return "NOT ALL WAS SEEN: what failed above could not be looked at; nothing was touched. Mend it, then look again."
    if failed and run.alone in ENDS:
        return "NOT DONE: mend the above, then run the same command again."
    if failed:
        return "NOT VERIFIED: the run stopped before it could read back what it made. Mend the above, then run the same command again."
    if run.is_dry:
        return "This was a look ahead: nothing was touched. Run the same without --check (or site.yml instead of plan.yml) to do it."
    if run.alone == "Uninstall" and run.is_part:
        return "What the chosen hosts and tags have of it is gone; everything else is as it was."
    if run.alone in ENDS:
        return ENDS[run.alone]
    return f"NOT VERIFIED: the stage `verify` was not part of this run; `{another(run, 'verify')}` reads everything back."


def _failures(run: Run) -> list[Step]:
    """Of a host that nobody could reach the first time is enough: a look ahead tries again and again."""
    failures, gone = [], set()
    for step in run.steps:
        if step.outcome == "failed" or (step.outcome == "unreachable" and step.host not in gone):
            failures.append(step)
        if step.outcome == "unreachable":
            gone.add(step.host)
    return failures


def _span(steps: list[Step]) -> float:
    """Wall seconds of a stage: each of its plays from the first step's begin to the last one's end."""
    plays: dict[int, list[Step]] = {}
    for step in steps:
        plays.setdefault(step.play, []).append(step)
    return sum(max(step.at + step.seconds for step in part) - min(step.at for step in part) for part in plays.values())
