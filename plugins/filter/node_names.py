# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: node_names
short_description: Names of the Kubernetes nodes that hosts of the inventory are
version_added: "0.1.0"
description:
  - A host's node has the host's name, unless the host has a variable C(slipway_node_name).
positional: hostvars
options:
  _input:
    description: Names of hosts, such as the members of a group. Undefined counts as none.
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
- name: AIStore's targets by the names of their nodes
  ansible.builtin.include_role:
    name: slipway.mlops.aistore
  vars:
    aistore_targets: "{{ groups['ais_targets'] | slipway.mlops.node_names(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The names of the nodes, in the order of the hosts.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._inventory import node_name


def node_names(hosts: Sequence[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [node_name(host, hostvars[host]) for host in hosts]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"node_names": node_names}
