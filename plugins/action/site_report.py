# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gives `_run_site_report` what only the controller knows: what the roles registered on each host, groups, the collection's version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.slipway.mlops.plugins.module_utils import _inventory, _run_site_report
from ansible_collections.slipway.mlops.plugins.plugin_utils.k8s_action import K8sAction

COLLECTION = Path(__file__).resolve().parents[2]


class ActionModule(K8sAction):
    IMPLEMENTATION = _run_site_report

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._task_vars = task_vars or {}
        return super().run(tmp, task_vars)

    def _validated(self) -> tuple[dict[str, Any], set[str]]:
        params, hidden = super()._validated()
        return {**params, "gathered": self._gathered(params["host_roles"])}, hidden

    def _gathered(self, roles: dict[str, Any]) -> dict[str, Any]:
        hostvars, groups = self._task_vars["hostvars"], self._task_vars["groups"]
        hosts = sorted({host for group in _inventory.GROUPS for host in groups.get(group, ())})
        asked = sorted({*hosts, *(host for expected in roles.values() for host in expected)})
        known = {host: hostvars[host] for host in asked}  # once: Ansible puts all variables of a host together each time
        return {
            "results": {host: {role: known[host][f"__{role}_result"] for role in roles if f"__{role}_result" in known[host]} for host in asked},
            "hosts": {
                host: {
                    "address": str(known[host].get("ansible_host", "")),
                    "groups": [group for group in _inventory.GROUPS if group not in ("k8s_cluster", "kube_node") and host in groups.get(group, ())],
                    "node": _inventory.node_name(host, known[host]),
                }
                for host in hosts
            },
            "version": _version(),
            "inventory": [str(source) for source in self._task_vars.get("ansible_inventory_sources") or ()],
            "template": str(COLLECTION / "playbooks/templates/report.html.j2"),
        }


def _version() -> str:
    """Of this collection: from MANIFEST.json where it was installed, from galaxy.yml in a checkout. YAML reads both."""
    for name in ("MANIFEST.json", "galaxy.yml"):
        path = COLLECTION / name
        if path.exists():
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            return str(data.get("collection_info", data)["version"])
    return "unknown"
