# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""sysctl_values from its options to its result: probe, plan, apply."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _open_files, _sysctl_apply, _sysctl_plan, _sysctl_text
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Refused, not_ours

Edit = tuple[str, Optional[bytes], bytes]  # path, content before, content after (empty: no file)
ARGUMENTS: dict[str, Any] = {
    "values": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "value": {"type": "raw"},
            "memory_percent": {"type": "list", "elements": "float"},
            "link_seconds": {"type": "float"},
            "unit": {"type": "str", "choices": ["bytes", "KiB", "pages"], "default": "bytes"},
            "minimum": {"type": "int"},
            "maximum": {"type": "int"},
            "match": {"type": "str", "choices": ["exact", "floor", "ceiling"], "default": "exact"},
            "optional": {"type": "bool", "default": False},
            "reason": {"type": "str", "default": ""},
        },
    },
    "file": {"type": "path", "default": "/etc/sysctl.d/99-zz-slipway.conf"},
    "former_files": {"type": "list", "elements": "path", "default": []},
    "remove_files": {"type": "list", "elements": "path", "default": []},
    "open_files": {"type": "int"},
}


def run(params: Mapping[str, Any], check_mode: bool, wants_diff: bool, root: str = "/") -> dict[str, Any]:
    """The result of the module; Refused or Failed where there is none. `root` is "/" except in tests."""
    wanted = [_sysctl_plan.Wanted(**value) for value in params["values"]]
    file = params["file"]
    misplaced = _file_problems(file, params["remove_files"])
    state = _sysctl_apply.state(wanted, file, root)
    plan = _sysctl_plan.plan(wanted, _sysctl_apply.machine(root), state, file, params["remove_files"])
    limits = _open_files.State((), {}, 0) if params["open_files"] is None else _open_files.probe(root)
    raised = _open_files.plan(params["open_files"] or 0, limits, _nr_open(plan, limits.nr_open))
    # Each file of ours as it is and as it shall be; empty: no file.
    files = [(file, state.content, plan.content), (_sysctl_text.modules_file(file), state.modules, plan.modules)]
    misplaced += [f"file: {foreign}" for foreign in (not_ours(path, before, _sysctl_text.HEADER) for path, before, _after in files) if foreign]
    if misplaced or plan.problems or raised.problems:
        raise Refused(misplaced + plan.problems + raised.problems)

    there = [path for path in params["remove_files"] if _exists(root, path)]
    former = [path for path in params["former_files"] if _exists(root, path) and path not in there]
    edits = [edit for edit in files if edit[2] != (edit[1] or b"")]
    result: dict[str, Any] = {
        "changed": bool(plan.live_changes or there or edits or raised.daemons or raised.drop_ins),
        "actions": _actions(plan, edits, there, raised),
        "settings": [vars(setting) for setting in plan.settings],
        "absent": plan.absent,
        "former_files": former,
        "left_behind": plan.left_behind,
        "warnings_found": _warnings(former, plan.left_behind),
    }
    if wants_diff:
        result["diff"] = _diff(plan, edits, there, root) + _limits_diff(raised, limits)
    if result["changed"] and not check_mode:
        # fs.nr_open comes first, for the limits may need it.
        copies = _sysctl_apply.apply(plan, file, state, there, root)
        _open_files.apply(raised, root)
        if copies:
            result["copies"] = copies
    return result


def _file_problems(file: str, remove: list[str]) -> list[str]:
    found = []
    for what, path in [("file", file)] + [("remove_files", path) for path in remove]:
        if not path.startswith("/") or os.path.normpath(path) != path or not path.endswith(".conf"):
            found.append(f'{what}: "{path}" is not the full path of a .conf file')
    if file in remove:
        found.append(f"remove_files names {file}, the file that is to be written")
    return found


def _actions(plan: _sysctl_plan.Plan, edits: list[Edit], there: list[str], raised: _open_files.Plan) -> list[str]:
    found = [f"{setting.name} {setting.before} -> {setting.after}" for setting in plan.live_changes]
    found += [f"{'write' if after else 'remove'} {path}" for path, _before, after in edits]
    found += [f"put away {path}" for path in there]
    found += [f"{daemon.unit}, process {daemon.pid}: open files {daemon.hard} -> {raised.raise_to}" for daemon in raised.daemons]
    return found + [f"{'write' if text else 'remove'} {_open_files.drop_in(unit)}" for unit, text in raised.drop_ins.items()]


def _warnings(former: list[str], left_behind: list[str]) -> list[str]:
    found = [f"{path} is left from another tool and still sets values at boot; name it in remove_files to have it put away" for path in former]
    if left_behind:
        found.append("no file sets these any more, but the kernel keeps them until it is restarted: {}".format(", ".join(left_behind)))
    return found


def _diff(plan: _sysctl_plan.Plan, edits: list[Edit], there: list[str], root: str) -> list[dict[str, str]]:
    found = []
    if plan.live_changes:
        before = "".join(f"{setting.name} = {setting.before}\n" for setting in plan.live_changes)
        after = "".join(f"{setting.name} = {setting.after}\n" for setting in plan.live_changes)
        found.append({"before": before, "after": after, "before_header": "kernel", "after_header": "kernel"})
    found += [_files.diff(path, before, after or None) for path, before, after in edits]
    found += [_files.diff(path, _files.read(_files.under(root, path)), None) for path in there]
    return found


def _nr_open(plan: _sysctl_plan.Plan, now: int) -> int:
    """fs.nr_open once the plan is carried out."""
    return next((int(setting.after) for setting in plan.settings if setting.name == "fs.nr_open"), now)


def _limits_diff(raised: _open_files.Plan, limits: _open_files.State) -> list[dict[str, str]]:
    found = []
    if raised.daemons:
        lines = [(f"{daemon.unit} process {daemon.pid}: open files {{}}\n", daemon.hard) for daemon in raised.daemons]
        before, after = "".join(line.format(hard) for line, hard in lines), "".join(line.format(raised.raise_to) for line, _hard in lines)
        found.append({"before": before, "after": after, "before_header": "processes", "after_header": "processes"})
    return found + [_files.diff(_open_files.drop_in(unit), limits.drop_ins[unit], content) for unit, content in raised.drop_ins.items()]


def _exists(root: str, path: str) -> bool:
    return os.path.exists(_files.under(root, path))
