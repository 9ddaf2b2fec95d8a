# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The doorway of the Kubernetes modules inside the controller: no process, no copied code, and progress while it runs.

Only for a local connection that needs no other user and no other Python; any other task runs the module file, with the same options and result.
"""

from __future__ import annotations

import os
import sys
import time
from types import ModuleType
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused, Stopped
from ansible_collections.slipway.mlops.plugins.module_utils._module import CONNECTION, TASK_TIMEOUT, Call, outcome

display = Display()


class K8sAction(ActionBase):
    """Base of all of them: a subclass names the `_run_*` module that has ARGUMENTS, RULES (optional) and run."""

    IMPLEMENTATION: ClassVar[ModuleType]

    _supports_check_mode = True
    _supports_diff = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        began = time.time()
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._runs_here(variables):
            return {**result, **self._run_here()}
        return {**result, **self._run_there(variables, began)}

    def _runs_here(self, variables: dict[str, Any]) -> bool:
        if self._connection.transport not in ("local", "ansible.builtin.local") or self._connection.become:
            return False
        if self._task.delegate_to:
            variables = variables.get("ansible_delegated_vars", {}).get(self._task.delegate_to, variables)
        wanted = variables.get("ansible_python_interpreter")
        if not wanted:
            return True
        wanted = str(self._templar.template(wanted))
        return wanted.startswith("auto") or _is_ours(wanted)

    def _run_there(self, variables: dict[str, Any], began: float) -> dict[str, Any]:
        args = _plain(self._task.args)
        portable = getattr(self.IMPLEMENTATION, "portable", None)
        if portable is not None:
            try:
                args = portable(args, _origin(self._task.args.get("manifests")))
            except Refused as refused:
                return {"failed": True, "changed": False, "msg": "\n".join(refused.problems), "problems": refused.problems}
        if self._task.timeout:
            # The module's process outlives the task: it must know when to stop writing.
            self._task.environment = [*(self._task.environment or []), {TASK_TIMEOUT: f"{self._task.timeout}@{began:.2f}"}]
        return self._execute_module(module_args=args, task_vars=variables)

    def _run_here(self) -> dict[str, Any]:
        environment: dict[str, Any] = {}
        self._compute_environment_string(environment)
        params, hidden = self._validated()
        # Ansible's workers are sessions of their own: they outlive an ansible-playbook that is killed, and must not go on writing.
        clock = SystemClock(with_parent=True)
        call = Call(
            params,
            check_mode=self._task.check_mode,
            diff=self._task.diff,
            progress=None if self._task.no_log else self._show,
            clock=clock,
            environ={**os.environ, **{key: str(value) for key, value in environment.items()}},
            origin=_origin(self._task.args.get("manifests")),
        )
        call.secrets |= hidden
        try:
            return outcome(self.IMPLEMENTATION.run, call)
        except Stopped:
            return {"failed": True, "msg": "The task was told to stop; nothing more is written."}
        except BaseException:
            clock.stop()  # a task timeout or Ctrl-C arrives here: other threads send nothing more
            raise

    def _validated(self) -> tuple[dict[str, Any], set[str]]:
        """Options checked by the module's own specification, as plain types, and the values that must not be shown."""
        rules = getattr(self.IMPLEMENTATION, "RULES", {})
        validator = ArgumentSpecValidator({**CONNECTION, **self.IMPLEMENTATION.ARGUMENTS}, **rules)
        checked = validator.validate(_plain(self._task.args))
        if checked.error_messages:
            raise AnsibleActionFail("; ".join(checked.error_messages))
        return checked.validated_parameters, {str(value) for value in checked._no_log_values}

    @staticmethod
    def _show(line: str) -> None:
        # stderr: a callback that prints JSON owns stdout
        display.display(line, stderr=True)


def _is_ours(interpreter: str) -> bool:
    """Whether this is the controller's own Python, by whatever name of its folder: python, python3, python3.11 of one environment."""
    same_folder = os.path.dirname(os.path.abspath(interpreter)) == os.path.dirname(os.path.abspath(sys.executable))
    return same_folder and os.path.realpath(interpreter) == os.path.realpath(sys.executable)


def _plain(value: Any) -> Any:
    """Without Ansible's tagged types: YAML cannot dump them, and `type(x) is str` does not hold for them."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    return value


def _origin(value: Any) -> str:
    """File and line where the manifests were written, where Ansible (2.19 or newer) knows."""
    try:
        from ansible._internal._datatag._tags import Origin
    except ImportError:
        return ""
    tag = Origin.get_tag(value)
    if tag is None or not tag.path:
        return ""
    return f"{tag.path}:{tag.line_num}" if tag.line_num else str(tag.path)
