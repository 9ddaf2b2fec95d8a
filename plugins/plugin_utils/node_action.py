# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The doorway of modules that restart a daemon of a node.

Two places take part. The host module (same name, in plugins/modules) finds, edits, restarts and puts back; it needs root on the host and no
cluster. This action, on the controller, holds the Lease, looks at nodes and pods, and runs the host module step by step; it needs the API
server, and its credentials never go to the host. With `cluster: false` the host module runs alone, all steps at once.
"""

from __future__ import annotations

import os
import socket
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from ansible_collections.slipway.mlops.plugins.module_utils._run_node_change import HostFailed
from ansible_collections.slipway.mlops.plugins.plugin_utils.k8s_action import K8sAction


class NodeAction(K8sAction):
    """Base of them: a subclass names the host's part, with ARGUMENTS, and the controller's, with run(call, host, run_id)."""

    HOST: ClassVar[ModuleType]
    CONTROLLER: ClassVar[ModuleType]

    def _runs_here(self, variables: dict[str, Any]) -> bool:
        """Always: the host's part goes through the connection, whatever that is."""
        self._variables = variables
        self.IMPLEMENTATION = SimpleNamespace(ARGUMENTS=self.HOST.ARGUMENTS, run=self._run)
        return True

    def _run(self, call: Call) -> dict[str, Any]:
        if not call.params["cluster"]:
            return self._host(call, "all")
        return dict(self.CONTROLLER.run(call, partial(self._host, call), _run_id()))

    def _host(self, call: Call, step: str, **more: Any) -> dict[str, Any]:
        arguments = {name: call.params[name] for name in self.HOST.ARGUMENTS if call.params.get(name) is not None}
        result = self._execute_module(module_name=self._task.action, module_args={**arguments, **more, "step": step}, task_vars=self._variables)
        if result.get("failed") or result.get("unreachable"):
            raise HostFailed(result.get("problems") or [str(result.get("msg") or result.get("module_stderr") or "the host gave no result")])
        return {key: value for key, value in result.items() if key not in ("invocation", "_ansible_parsed")}


def _run_id() -> str:
    """The same for all tasks of one ansible-playbook, and no other: its process, which forks the workers, and when that began."""
    parent = os.getppid()
    try:
        with open(f"/proc/{parent}/stat", "rb") as file:
            began = file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:  # not Linux
        began = "0"
    return f"{socket.gethostname()}-{parent}-{began}"
