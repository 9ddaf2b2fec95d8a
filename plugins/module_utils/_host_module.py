# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The doorway of host modules: options in, one call, result out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._host_input import Failed, Refused


def main(run: Callable[[Mapping[str, Any], bool, bool], dict[str, Any]], arguments: Mapping[str, Any], **rules: Any) -> None:
    """End the module with what `run(params, check_mode, diff)` returns; its `warnings_found` become warnings."""
    module = AnsibleModule(argument_spec=dict(arguments), supports_check_mode=True, **rules)
    try:
        result = run(module.params, module.check_mode, module._diff)
    except Refused as refused:
        _end(module, refused.result, module.fail_json, msg=str(refused), problems=refused.problems)
    except Failed as failed:
        _end(module, failed.result, module.fail_json, msg=str(failed))
    except OSError as failed:
        module.fail_json(msg=f"{failed.filename} cannot be read or written: {failed.strerror}" if failed.filename else str(failed))
    _end(module, result, module.exit_json)


def _end(module: AnsibleModule, result: Mapping[str, Any], end: Callable[..., None], **more: Any) -> None:
    for line in result.get("warnings_found", ()):
        module.warn(line)
    end(**{name: value for name, value in result.items() if name != "warnings_found"}, **more)
