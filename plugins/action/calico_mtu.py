# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible_collections.slipway.mlops.plugins.module_utils import _run_calico_mtu
from ansible_collections.slipway.mlops.plugins.plugin_utils.k8s_action import K8sAction


class ActionModule(K8sAction):
    IMPLEMENTATION = _run_calico_mtu
