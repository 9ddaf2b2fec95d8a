# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible_collections.slipway.mlops.plugins.module_utils import _run_container_runtime, _runtime_step
from ansible_collections.slipway.mlops.plugins.plugin_utils.node_action import NodeAction


class ActionModule(NodeAction):
    HOST = _runtime_step
    CONTROLLER = _run_container_runtime
