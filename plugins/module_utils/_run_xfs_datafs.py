# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""xfs_datafs from its options to its result: look, plan, apply, look again."""

from __future__ import annotations

import grp
import os
import pwd
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _xfs_apply, _xfs_journal, _xfs_observe
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed, Refused
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_plan import Disk, Facts, Plan, Seen, Settings, declared, plan

_STATE: dict[str, Any] = {"type": "str", "choices": ["mounted", "unmounted", "absent"]}
_OPTIONS = ["noatime", "nodiratime", "logbufs=8", "logbsize=256k", "largeio", "inode64", "swalloc", "allocsize=131072k", "nofail"]
_DISK: dict[str, Any] = {
    "device": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    "state": _STATE,
    "options": {"type": "list", "elements": "str"},
    "expected_size": {"type": "str"},
    "adopt": {"type": "str"},
    "erase": {"type": "raw"},
}
ARGUMENTS: dict[str, Any] = {
    "disks": {"type": "list", "elements": "dict", "required": True, "options": _DISK},
    "options": {"type": "list", "elements": "str", "default": _OPTIONS},
    "state": {**_STATE, "default": "mounted"},
    "owner": {"type": "str", "default": ""},
    "group": {"type": "str", "default": ""},
    "mode": {"type": "str", "default": ""},
    "selinux_context": {"type": "str", "default": ""},
    "label": {"type": "str", "default": ""},
    "grow": {"type": "bool", "default": False},
    "erasures_max": {"type": "int", "default": 1},
    "oldest_kernel": {"type": "str", "default": "5.14"},
}

# The disks as they are, the host around them, and what is to be done.
Look = tuple[Sequence[Seen], Facts, Plan]


def run(params: Mapping[str, Any], check_mode: bool, wants_diff: bool) -> dict[str, Any]:
    """The result of the module; Refused or Failed, with the result so far, where the disks are not as declared at the end."""
    started = time.monotonic()
    result: dict[str, Any] = {"changed": False, "actions": [], "disks": [], "erased": []}
    if params["disks"]:
        result = _keep(params, check_mode, wants_diff)
    else:
        result["msg"] = "nothing to do: no data disks are declared for this host"
    return {**result, "seconds": round(time.monotonic() - started, 3)}


def _keep(params: Mapping[str, Any], check_mode: bool, wants_diff: bool) -> dict[str, Any]:
    disks, problems = declared(params["disks"], params["options"], params["state"], _xfs_observe.kernel_version())
    settings, more = _settings(params)
    if os.geteuid() != 0:
        more.append("must run as root (become: true)")
    if problems + more:
        raise Refused(problems + more)
    found = _look(disks, settings)
    # What looks busy may be the mkfs of another run: only a look while nobody else changes anything refuses for good.
    if check_mode or not os.path.exists(_xfs_apply.LOCK):
        _not_refused(found, wants_diff)
    if check_mode or not (found[2].changed or found[2].problems):
        return _report(found, wants_diff)
    try:
        with _xfs_apply.locked() as lock:
            # Again, now that nobody else changes anything.
            found = _look(disks, settings)
            _not_refused(found, wants_diff)
            outcome = _xfs_apply.apply(found[2], settings, lock)
    except Failed as failed:
        raise Failed(str(failed), _report(found, wants_diff)) from None
    seen, facts, _rest = _look(disks, settings)
    result = _report((seen, found[1], found[2]), wants_diff, fstab=facts.fstab)
    result["warnings_found"] = outcome.warnings + result["warnings_found"]
    if outcome.failed:
        raise Failed("{} of {} disks failed:\n- {}".format(len(outcome.broken), len(disks), "\n- ".join(outcome.failed)), result)
    return result


def _look(disks: Sequence[Disk], settings: Settings) -> Look:
    content = _files.read(_xfs_journal.PATH)
    try:
        journal = _xfs_journal.parse(content)
    except ValueError as error:
        raise Failed(f"{_xfs_journal.PATH} {error}; nothing was touched. Restore or remove it") from None
    seen, facts = _xfs_observe.look(disks, journal)
    return seen, facts, plan(disks, seen, facts, settings)


def _not_refused(found: Look, wants_diff: bool) -> None:
    if found[2].problems:
        raise Refused(found[2].problems, _report(found, wants_diff))


def _report(found: Look, wants_diff: bool, fstab: bytes | None = None) -> dict[str, Any]:
    """The result: the plan tells what is done, the sights what is there now; `fstab` is the file's content once it is done."""
    seen, facts, planned = found
    rows: list[dict[str, Any]] = []
    for step, sight in zip(planned.steps, seen):
        rows.append(
            {
                "device": step.disk.device,
                "name": step.device.name if step.device else "",
                "identity": step.device.identity if step.device else "",
                "path": step.disk.path,
                "was": step.was,
                "actions": step.actions,
                "uuid": sight.geometry.uuid if sight.settled and sight.geometry else step.uuid,
                "size_bytes": step.device.size if step.device else 0,
                "mounted": sight.settled,
                "options": list(sight.on_path.options) if sight.settled and sight.on_path else [],
                "pending": list(step.pending),
            }
        )
    result = {
        "changed": planned.changed and not planned.problems,
        "actions": [] if planned.problems else [str(step) for step in planned.steps if step.actions],
        "disks": rows,
        "erased": [step.device.name for step in planned.steps if step.erased and step.device],
        "warnings_found": [f"{row['path']}: {pending}" for row in rows for pending in row["pending"]],
    }
    if wants_diff:
        result["diff"] = _diff(planned, facts.fstab, planned.fstab if fstab is None else fstab)
    return result


def _diff(planned: Plan, before: bytes, after: bytes) -> list[dict[str, str]]:
    """Lines of fstab that change, and what happens to each disk."""
    shown = [_files.diff_lines(_xfs_observe.FSTAB, before, after)] if before != after else []
    for step in planned.steps:
        if step.actions:
            name = f"{step.disk.path} ({step.device if step.device else step.disk.device})"
            will_be = "{} (UUID {})\n".format(", ".join(step.actions), step.uuid)
            shown.append({"before_header": name, "after_header": name, "before": step.was + "\n", "after": will_be})
    return shown


def _settings(params: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    problems: list[str] = []

    def number(option: str, look_up: Callable[[str], int]) -> int | None:
        value: str = params[option]
        if value == "" or value.isdigit():
            return int(value) if value else None
        try:
            return look_up(value)
        except KeyError:
            problems.append("{0}: there is no {0} {1!r} on this host".format(option if option == "group" else "user", value))
            return None

    owner = number("owner", lambda name: pwd.getpwnam(name).pw_uid)
    group = number("group", lambda name: grp.getgrnam(name).gr_gid)
    mode = params["mode"]
    # The zero is what tells: YAML reads 0770 without quotes as an octal number, and gives us "504".
    if mode and not re.match(r"0[0-7]{3,4}\Z", mode):
        problems.append(f"mode: {mode!r} is not an octal mode; put it in quotes, like '0755'")
        mode = ""
    if not re.match(r"[A-Za-z0-9._-]{0,12}\Z", params["label"]):
        problems.append("label: {!r} is not a label of XFS (at most 12 letters, digits, '.', '_', '-')".format(params["label"]))
    if not re.match(r"[A-Za-z0-9_.:,-]*\Z", params["selinux_context"]):
        problems.append("selinux_context: {!r} is not a context".format(params["selinux_context"]))
    kernel = re.match(r"(\d+)\.(\d+)\Z", params["oldest_kernel"])
    if not kernel:
        problems.append("oldest_kernel: {!r} is not major.minor, like '5.14'".format(params["oldest_kernel"]))
    return Settings(
        owner=owner,
        group=group,
        mode=int(mode, 8) if mode else None,
        selinux_context=params["selinux_context"],
        grow=params["grow"],
        label=params["label"],
        erasures_max=params["erasures_max"],
        oldest_kernel=(int(kernel.group(1)), int(kernel.group(2))) if kernel else (0, 0),
    ), problems
