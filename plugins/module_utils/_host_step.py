# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The doorway of a module that changes a daemon of a host in steps. Its action plugin keeps the connection to the cluster on the controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._connection import CONNECTION
from ._host_input import Failed, Refused


def main(step: Callable[[Mapping[str, Any], bool, bool], dict[str, Any]], arguments: Mapping[str, Any]) -> None:
    module = AnsibleModule(argument_spec={**CONNECTION, **arguments}, supports_check_mode=True)
    try:
        result = step(module.params, module.check_mode, module._diff)
    except Refused as refused:
        module.fail_json(msg=str(refused), problems=refused.problems)
    except Failed as failed:
        module.fail_json(msg=str(failed))
    module.exit_json(**result)
