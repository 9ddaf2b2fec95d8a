# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: failed_results
short_description: What failed on hosts of a play that goes on in spite of failures
version_added: "0.1.0"
description:
  - Looks through what tasks of this collection's roles registered (C(__<role>_<noun>)), and tells the failures and the hosts that were unreachable.
positional: hosts
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of the hosts to look at.
    type: list
    elements: str
    required: true
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: Nothing failed
  ansible.builtin.assert:
    that: hostvars | slipway.mlops.failed_results(groups['all']) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence for each host and each different reason.
  type: list
  elements: str
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._run_record import reason_of


def failed_results(hostvars: Mapping[str, Mapping[str, Any]], hosts: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}  # a set that keeps its order
    for host in hosts:
        # Untemplated, where that is offered: results are plain data, and other variables are not our business.
        values = hostvars.raw_get(host) if hasattr(hostvars, "raw_get") else hostvars[host]
        for name, value in values.items():
            if str(name).startswith("__") and isinstance(value, Mapping) and (value.get("failed") or value.get("unreachable")):
                found[f"{host}: {reason_of(value)}"] = None
    return list(found)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"failed_results": failed_results}
