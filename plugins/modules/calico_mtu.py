#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: calico_mtu
version_added: "0.1.0"
short_description: The MTU that Calico gives to pods
description:
  - Sets the MTU where this Calico has it, C(spec.calicoNetwork.mtu) of the operator's Installation C(default), or C(veth_mtu) of the ConfigMap
    C(calico-config) of its manifests. Nothing else of these objects is touched or owned, and neither is ever made or deleted.
  - By server-side apply as the field manager C(slipway:calico-mtu). A value that is already there is left to whoever set it.
  - The operator rolls a change out by itself. After a change of the ConfigMap C(calico-node) has to be restarted, which this module leaves to you and says.
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  mtu:
    description: Largest packet of a pod, in bytes, without what the encapsulation adds (IPIP 20, VXLAN 50, WireGuard 60).
    type: int
    required: true
  namespace:
    description: Namespace of the ConfigMap.
    type: str
    default: kube-system
  force_conflicts:
    description: Take the field over where another field manager holds it with another value. Without it that is a failure that names the manager.
    type: bool
    default: false
seealso:
  - module: slipway.mlops.link_mtu
"""

EXAMPLES = r"""
- name: Pods have room for the header of VXLAN in a link of 9000
  slipway.mlops.calico_mtu:
    mtu: 8950
"""

RETURN = r"""
object:
  description: The object that has the MTU.
  returned: success
  type: str
  sample: Installation default
before:
  description: The value that was there, null where there was none.
  returned: success
  type: raw
mtu:
  description: The value that is there now, or in check mode would be.
  returned: success
  type: int
  sample: 8950
actions:
  description: What was, or in check mode would be, changed, a sentence each.
  returned: success
  type: list
  elements: str
problems:
  description: Each reason to refuse, as a sentence of its own; C(msg) is all of them.
  returned: when refused
  type: list
  elements: str
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_calico_mtu import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
