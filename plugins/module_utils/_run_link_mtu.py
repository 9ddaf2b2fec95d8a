# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""link_mtu from its options to its result, on the host. The action plugin says which step it is."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _mtu_apply, _mtu_managers, _mtu_plan, _netlink, _path_probe
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed, Refused
from ansible_collections.slipway.mlops.plugins.module_utils._mtu_managers import Edit, Persistence
from ansible_collections.slipway.mlops.plugins.module_utils._netlink import Link

PADDING = 65536  # bytes that a probe sends back, so that the new connection is proved with full segments
TOO_LATE = "the confirmation came too late: the timer has put the old MTU back; give it more time by confirm_within"
ARGUMENTS: dict[str, Any] = {
    "step": {"type": "str", "choices": ["change", "probe", "keep", "confirm", "undo"], "default": "change"},
    "links": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "mtu": {"type": "raw", "required": True},
            "may_be_unproved": {"type": "bool", "default": False},
        },
    },
    "is_persistent": {"type": "bool", "default": True},
    "confirm_within": {"type": "int", "default": 60},
    "addresses": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"address": {"type": "str", "required": True}, "mtu": {"type": "int"}, "link": {"type": "str"}},
    },
    "cni_mtu": {"type": "raw"},
    "cni_encapsulation": {"type": "str", "choices": ["none", "ipip", "vxlan", "wireguard"], "default": "none"},
    "changes": {"type": "dict"},
    "probes": {"type": "dict"},
    "keeps": {"type": "dict"},
    "token": {"type": "str", "no_log": False},
    "changed_links": {"type": "list", "elements": "str", "default": []},
    "peers": {"type": "dict"},
}
RULES: dict[str, Any] = {"required_if": [("step", "keep", ("token",)), ("step", "confirm", ("token",)), ("step", "undo", ("token",))]}


def run(params: Mapping[str, Any], check_mode: bool, wants_diff: bool) -> dict[str, Any]:
    """The result of the module; Refused or Failed where there is none."""
    step = {"change": _change, "probe": _probe, "keep": _keep, "confirm": _confirm, "undo": _undo}[params["step"]]
    return step(params, check_mode, wants_diff)


def _change(params: Mapping[str, Any], check_mode: bool, wants_diff: bool) -> dict[str, Any]:
    links = _netlink.links()
    plan, kept, problems = _decide(params, links)
    waiting = _mtu_apply.pending() if plan.wanted else ""
    if problems or waiting:
        raise Refused([*problems, *([waiting] if waiting else [])])
    edits = kept.edits
    result: dict[str, Any] = {
        "changed": bool(plan.steps or edits),
        "actions": _actions(plan.steps, edits if check_mode or not plan.steps else []),
        "links": [
            {"name": link.name, "before": link.mtu, "mtu": plan.wanted.get(link.name, link.mtu), "addresses": list(link.addresses)}
            | ({"manager": kept.managers[link.name]} if link.name in kept.managers else {})
            for link in links
            if link.name in plan.wanted or (link.addresses and link.name != "lo")
        ],
        "warnings_found": plan.warnings,
    }
    if wants_diff:
        # What waits for its proof is written, and shown, by step keep.
        result["diff"] = _live_diff(plan.steps) + (_file_diff(edits) if check_mode or not plan.steps else [])
    if check_mode or not result["changed"]:
        return result
    if plan.steps:
        seconds = params["confirm_within"]
        result["pending"] = {"token": _mtu_apply.change(plan.steps, seconds), "seconds": seconds, "links": [step.name for step in plan.steps]}
    else:
        _mtu_apply.write(edits)
    return result


def _probe(params: Mapping[str, Any], _check_mode: bool, _wants_diff: bool) -> dict[str, Any]:
    changed, links = params["changed_links"], _netlink.links()
    own = [{"name": link.name, "mtu": link.mtu, "addresses": list(link.addresses)} for link in links]
    paths = _mtu_plan.paths(own, params["peers"] or {}, changed) + _mtu_plan.asked_addresses(links, params["addresses"], changed)
    carried = _path_probe.largest([(path.link, path.address, path.size) for path in paths])
    waived = {item["name"] for item in params["links"] if item["may_be_unproved"]}
    return {
        "changed": False,
        "paths": [{**vars(path), "carried": size} for path, size in zip(paths, carried)],
        "unproved": [name for name in _mtu_plan.unproved(links, changed, {path.link for path in paths}) if name not in waived],
        "padding": "." * PADDING,
    }


def _keep(params: Mapping[str, Any], _check_mode: bool, wants_diff: bool) -> dict[str, Any]:
    _plan, kept, problems = _decide(params, _netlink.links())
    if problems:
        raise Refused(problems)
    edits = kept.edits
    if not _mtu_apply.keep(params["token"], edits):
        raise Failed(TOO_LATE)
    return {"changed": bool(edits), "kept": True, "actions": _actions([], edits), **({"diff": _file_diff(edits)} if wants_diff else {}), "warnings_found": []}


def _confirm(params: Mapping[str, Any], _check_mode: bool, _wants_diff: bool) -> dict[str, Any]:
    if not _mtu_apply.confirm(params["token"]):
        raise Failed(TOO_LATE)
    return {"changed": False, "actions": []}


def _undo(params: Mapping[str, Any], _check_mode: bool, _wants_diff: bool) -> dict[str, Any]:
    undone = _mtu_apply.undo_now(params["token"])
    return {"changed": True, "actions": [undone], "undone": undone}


def _decide(params: Mapping[str, Any], links: Sequence[Link]) -> tuple[_mtu_plan.Plan, Persistence, list[str]]:
    """The plan, how it is kept, and all problems of both."""
    ipv6 = frozenset(link.name for link in links if _ipv6_is_on(link.name))
    plan = _mtu_plan.plan(params["links"], links, ipv6)
    problems = list(plan.problems)
    for item in params["addresses"]:
        try:
            ipaddress.ip_address(item["address"])
        except ValueError as error:
            problems.append(f"addresses: {error}")
        if item.get("link") and plan.wanted and item["link"] not in plan.wanted:
            problems.append(f"addresses: {item['address']}: there is no {item['link']} among the links")
    if params["cni_mtu"] is not None:
        problems += _mtu_plan.cni_problems(plan.wanted, params["cni_mtu"], params["cni_encapsulation"])
    if not 5 <= params["confirm_within"] <= 3600:
        problems.append(f"confirm_within must be 5-3600 seconds, got {params['confirm_within']}")
    kept = _mtu_managers.persistence(plan.wanted, links) if params["is_persistent"] else Persistence()
    return plan, kept, problems + kept.problems


def _ipv6_is_on(name: str) -> bool:
    try:
        return (_files.read(os.path.join("/proc/sys/net/ipv6/conf", name, "disable_ipv6")) or b"1").strip() == b"0"
    except OSError:
        return False


def _actions(steps: Sequence[_mtu_plan.Step], edits: Sequence[Edit]) -> list[str]:
    return [f"{step.name}: MTU {step.before} -> {step.after}" for step in steps] + [f"write {edit.path}" for edit in edits]


def _live_diff(steps: Sequence[_mtu_plan.Step]) -> list[dict[str, str]]:
    if not steps:
        return []
    before = "".join(f"{step.name} mtu {step.before}\n" for step in steps)
    after = "".join(f"{step.name} mtu {step.after}\n" for step in steps)
    return [{"before": before, "after": after, "before_header": "links", "after_header": "links"}]


def _file_diff(edits: Sequence[Edit]) -> list[dict[str, str]]:
    return [_files.diff_lines(edit.path, edit.before, edit.after) for edit in edits]
