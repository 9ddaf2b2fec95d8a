# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""block_queues from its options to its result: probe, plan, apply."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _queue_apply, _queue_plan
from ansible_collections.slipway.mlops.plugins.module_utils._block_probe import Device, Host, NotFound
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Refused, not_ours

_SETTINGS: dict[str, Any] = {
    "scheduler": {"type": "str"},
    "read_ahead_kb": {"type": "raw"},
    "nr_requests": {"type": "raw"},
    "max_sectors_kb": {"type": "raw"},
    "rq_affinity": {"type": "raw"},
}
ARGUMENTS: dict[str, Any] = {
    "devices": {"type": "list", "elements": "str", "default": []},
    "rotational": {"type": "dict", "options": _SETTINGS},
    "ssd": {"type": "dict", "options": _SETTINGS},
    "nvme": {"type": "dict", "options": _SETTINGS},
    "device_settings": {"type": "list", "elements": "dict", "default": [], "options": {"device": {"type": "str", "required": True}, **_SETTINGS}},
    "rule_file": {"type": "path", "default": "/etc/udev/rules.d/99-slipway-block-queues.rules"},
}


def run(params: Mapping[str, Any], check_mode: bool, wants_diff: bool, host: Host | None = None) -> dict[str, Any]:
    """The result of the module; Refused or Failed where there is none."""
    host = host or Host()
    file = params["rule_file"]
    problems = []
    if not file.startswith("/") or os.path.normpath(file) != file or not file.endswith(".rules"):
        problems.append(f'rule_file: "{file}" is not the full path of a .rules file')

    queues: dict[str, _queue_plan.Queue] = {}
    by_device: dict[str, Mapping[str, Any]] = {}
    for where, wanted, settings in _asked(params):
        try:
            device = host.resolve(wanted)
            found = {queue.name: queue for queue in _queue_apply.queues(host, device)}
        except NotFound as error:
            problems.append(f'{where}: "{wanted}" {error}')
            continue
        queues.update(found)
        if settings is not None:
            problems += _twice(where, device, found, by_device)
            by_device.update(dict.fromkeys(found, settings))
    plan = _queue_plan.plan(list(queues.values()), {kind: params[kind] or {} for kind in ("rotational", "ssd", "nvme")}, by_device)
    content = _files.read(file)
    foreign = not_ours(file, content, _queue_plan.HEADER)
    problems += [f"rule_file: {foreign}"] if foreign else []
    if problems or plan.problems:
        raise Refused(problems + plan.problems)

    changes = [disk for disk in plan.disks if disk.changes]
    result: dict[str, Any] = {
        "changed": bool(changes or plan.rules != (content or b"")),
        "actions": [f"{disk.name}: {name} {disk.before[name]} -> {value}" for disk in changes for name, value in disk.changes.items()]
        + ([f"{'write' if plan.rules else 'remove'} {file}"] if plan.rules != (content or b"") else []),
        "disks": [{"name": disk.name, "class": disk.kind, "before": disk.before, "after": disk.wanted} for disk in plan.disks],
        "warnings_found": plan.warnings + [f"{line} sets queue attributes after {file}, and wins where it matches" for line in _queue_apply.later_rules(file)],
    }
    if wants_diff:
        result["diff"] = _diff(changes, file, content, plan.rules)
    if result["changed"] and not check_mode:
        _queue_apply.apply(plan, file, content, host.sys)
    return result


def _asked(params: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any] | None]]:
    """(where it stands, device, settings of its own or None) of every device that the options name."""
    asked: list[tuple[str, str, Mapping[str, Any] | None]] = [(f"devices[{index}]", str(device), None) for index, device in enumerate(params["devices"])]
    for index, item in enumerate(params["device_settings"]):
        asked.append((f"device_settings[{index}]", item["device"], {name: item.get(name) for name in _queue_plan.ATTRIBUTES if item.get(name) is not None}))
    return asked


def _twice(where: str, device: Device, found: Mapping[str, Any], by_device: Mapping[str, Any]) -> list[str]:
    again = sorted(set(found) & set(by_device))
    return [f"{where}: {device.name} has settings of its own already ({', '.join(again)})"] if again else []


def _diff(changes: list[_queue_plan.Disk], file: str, content: bytes | None, rules: bytes) -> list[dict[str, str]]:
    found = []
    if changes:
        before = "".join(f"{disk.name}/queue/{name} {disk.before[name]}\n" for disk in changes for name in disk.changes)
        after = "".join(f"{disk.name}/queue/{name} {value}\n" for disk in changes for name, value in disk.changes.items())
        found.append({"before": before, "after": after, "before_header": "/sys/block", "after_header": "/sys/block"})
    if rules != (content or b""):
        found.append(_files.diff(file, content, rules or None))
    return found
