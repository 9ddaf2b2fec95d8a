# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: mounted_paths
short_description: Mount points of the data disks of hosts, by Kubernetes node
version_added: "0.1.0"
description:
  - The paths of C(ais_datafs_disks) of each host that are to be mounted there. Disks whose state is C(unmounted) or C(absent), by themselves or by
    C(ais_datafs_state), are left out.
positional: hostvars
options:
  _input:
    description: Names of hosts, such as the members of a group.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts.
    type: dict
    required: true
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: AIStore on the disks that ais_datafs mounts
  ansible.builtin.include_role:
    name: slipway.mlops.aistore
  vars:
    aistore_targets: "{{ groups['ais_targets'] | slipway.mlops.node_names(hostvars) }}"
    aistore_mountpaths_by_target: "{{ groups['ais_targets'] | slipway.mlops.mounted_paths(hostvars) }}"
"""

RETURN = r"""
_value:
  description: Paths by name of the node (see P(slipway.mlops.node_names#filter)), in the order of the lists; an empty list for a host without data disks.
  type: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils import _inventory


def mounted_paths(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    known = {host: hostvars[host] for host in hosts}  # once: Ansible puts all variables of a host together each time
    return {_inventory.node_name(host, values): _inventory.mounted_paths(values) for host, values in known.items()}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"mounted_paths": mounted_paths}
