# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collects what Ansible knows of the inventory and hands it to `_inventory.check`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.slipway.mlops.plugins.module_utils import _inventory

COLLECTION = Path(__file__).resolve().parents[2]
SHARED = COLLECTION / "playbooks/vars/shared.yml"


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec({"required_groups": {"type": "list", "elements": "str", "default": []}})
        try:
            import netaddr  # noqa: F401  asked for here, so that its absence is one clear message
        except ImportError:
            result.update(failed=True, msg="inventory_check needs the Python library netaddr beside ansible-playbook: pip install netaddr")
            return result
        specs = role_specs()
        inventory = _gather(task_vars, {name for options in specs.values() for name in options})
        findings = _inventory.check(inventory, specs)
        for group in args["required_groups"]:
            if not inventory.groups.get(group):
                findings.problems.append(f"group `{group}` is missing or empty; the inventory must name its hosts")
        findings.problems += _type_errors(inventory, specs) + _missing_files(inventory) + _unnamed_cluster(inventory, os.environ)
        result.update(changed=False, warnings_found=findings.warnings)
        if findings.warnings:
            result["warnings"] = findings.warnings
        if findings.problems:
            listed = "\n".join(f"  {number}. {problem}" for number, problem in enumerate(findings.problems, 1))
            result.update(
                failed=True,
                problems=findings.problems,
                msg=f"The inventory cannot work; {len(findings.problems)} thing(s) to mend, nothing was touched:\n{listed}",
            )
        return result


def role_specs() -> dict[str, dict[str, Any]]:
    """Role name -> its public variables and their specification, read from the roles themselves. `slipway` holds what all roles share."""
    specs: dict[str, dict[str, Any]] = {"slipway": {}}
    for path in [SHARED, *sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml"))]:
        entries = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("argument_specs", {})
        role = "slipway" if path == SHARED else path.parent.parent.name
        for entry in entries.values():
            for name, spec in (entry.get("options") or {}).items():
                specs.setdefault("slipway" if name.startswith("slipway_") else role, {})[name] = spec
    return specs


def _gather(task_vars: dict[str, Any], known: set[str]) -> _inventory.Inventory:
    hostvars = task_vars["hostvars"]
    wanted = known | {"ansible_host", "ansible_port"}
    names = sorted({host for members in task_vars["groups"].values() for host in members} | {"localhost"})
    hosts = {}
    for host in names:
        # Untemplated names are enough to find a misspelt one; only our own values are templated, which may fail
        # for reasons that the role itself will report better. Once for each host: Ansible puts all its variables together each time.
        values = hostvars[host]
        hosts[host] = {name: _templated(values, name) if name in wanted else None for name in values if isinstance(name, str)}
    groups = {str(name): [str(host) for host in members] for name, members in task_vars["groups"].items() if name not in ("all", "ungrouped")}
    return _inventory.Inventory(groups=groups, hosts=hosts)


def _templated(values: Any, name: str) -> Any:
    try:
        return values[name]
    except Exception:  # a template that needs what only the role knows
        return None


def _missing_files(inventory: _inventory.Inventory) -> list[str]:
    """Credentials are needed only after hosts were changed, and can be missed before."""
    named: dict[str, list[str]] = {}
    for host, values in inventory.hosts.items():
        path = values.get("slipway_registry_auth_file")
        if isinstance(path, str) and path and not _is_readable(os.path.expanduser(os.path.expandvars(path))):
            named.setdefault(path, []).append(host)
    return [
        f"`slipway_registry_auth_file: {path}` ({_inventory.where(hosts, inventory)}): no such file on this machine that you may read"
        for path, hosts in named.items()
    ]


def _is_readable(path: str) -> bool:
    """False where pathlib would raise, too: in a folder that is not ours to look into, and for `~nobody`."""
    return os.path.isfile(path) and os.access(path, os.R_OK)


def _unnamed_cluster(inventory: _inventory.Inventory, environ: Mapping[str, str]) -> list[str]:
    """What may delete takes no cluster that nobody named, and would say so only after hosts were changed."""
    if environ.get("K8S_AUTH_KUBECONFIG") or environ.get("K8S_AUTH_HOST"):
        return []
    ours = {"localhost", *inventory.nodes}
    hosts = [host for host, values in inventory.hosts.items() if host in ours and not values.get("slipway_kubeconfig")]
    if not hosts:
        return []
    return [f"`slipway_kubeconfig` is empty ({_inventory.where(hosts, inventory)}): name the cluster, for example by `slipway_kubeconfig: ~/.kube/config`"]


def _type_errors(inventory: _inventory.Inventory, specs: dict[str, dict[str, Any]]) -> list[str]:
    found: dict[str, list[str]] = {}
    for options in specs.values():
        for host, values in inventory.hosts.items():
            given = {name: values[name] for name in options if values.get(name) is not None}
            spec = {
                name: {key: value for key, value in options[name].items() if key not in ("required", "default", "description", "version_added")}
                for name in given
            }
            for message in ArgumentSpecValidator(spec).validate(given).error_messages if given else ():
                found.setdefault(message, []).append(host)
    return [f"{message} ({_inventory.where(hosts, inventory)})" for message, hosts in found.items()]
