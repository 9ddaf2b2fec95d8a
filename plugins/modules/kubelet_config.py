#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: kubelet_config
version_added: "0.1.0"
short_description: Allow pods of a node to set unsafe sysctls
author: The slipway authors (@slipway-mlops)
description:
  - Finds how the kubelet of this host is configured and sees that its C(allowedUnsafeSysctls) hold the given sysctls.
    Known are the file of C(--config) (kubeadm, kubespray and others), drop-ins of C(--config-dir), the flag
    C(--allowed-unsafe-sysctls) in an environment file, and what MicroK8s, k3s and RKE2 use instead.
  - Edits only the list; comments, order and every other byte of the file stay. A file that cannot be read for certain is left alone,
    and the message names line and column.
  - Restarts the kubelet when its list changes. Where O(cluster) is true, the default, the node takes its turn by a Lease, no other node may be
    out, and the change is kept only when the node is Ready again, its pods are back and the kubelet itself reports the list; otherwise the old
    file is put back and the kubelet is started with it.
  - On clusters made by kubeadm the ConfigMap C(kube-system/kubelet-config) follows, so that new nodes and upgrades keep the list.
options:
  sysctls:
    description:
      - Sysctls that pods may set, for example V(net.core.somaxconn). Checked by Kubernetes' own rules, since a wrong entry keeps the kubelet from starting.
      - Entries of the list that are not named here stay.
    type: list
    elements: str
    required: true
  state:
    description: Whether the sysctls are in the list or not. A sysctl that a running pod of the node uses is not taken out.
    type: str
    choices: [present, absent]
    default: present
  allow_wildcards:
    description: Accept patterns such as V(net.*), which let every pod of the node set all the sysctls they cover.
    type: bool
    default: false
  cluster:
    description:
      - Watch over the node through the API server, with the connection options below. Works on the controller.
      - V(false) proves no more than that the kubelet itself is healthy; meant for hosts whose API server cannot be reached.
    type: bool
    default: true
  kubeadm_config_map:
    description: Keep the ConfigMap C(kube-system/kubelet-config) equal, where there is one.
    type: bool
    default: true
  node:
    description: Name of the Node object. Found out by the kubelet's C(--hostname-override) or the host name where not given.
    type: str
  timeout:
    description: Seconds until the restarted kubelet must be healthy, and again until node and pods must be back.
    type: int
    default: 180
  turn_timeout:
    description: Seconds to wait while other nodes take their turn.
    type: int
    default: 3600
  step:
    description:
      - What to do on the host. The action plugin needs V(plan), V(apply), V(confirm) and V(put_back), and looks at the cluster between them.
      - V(all) plans, applies and confirms at once.
    type: str
    choices: [all, plan, apply, confirm, put_back]
    default: all
  max_nodes_out:
    description: How many other nodes may be not Ready when this one takes its turn.
    type: int
    default: 0
extends_documentation_fragment:
  - slipway.mlops.k8s
"""

EXAMPLES = r"""
- name: Pods may ask for a long listen queue
  slipway.mlops.kubelet_config:
    sysctls: [net.core.somaxconn]

- name: The host's API server cannot be reached from here
  slipway.mlops.kubelet_config:
    sysctls: [net.core.somaxconn]
    cluster: false
"""

RETURN = r"""
flavor:
  description: What runs the kubelet, one of C(kubelet), C(microk8s), C(k3s), C(rke2), C(k0s).
  returned: success
  type: str
source:
  description: The file that decides the list.
  returned: success
  type: str
before:
  description: The list as it was.
  returned: success
  type: list
  elements: str
after:
  description: The list as it is, or in check mode would be.
  returned: success
  type: list
  elements: str
node:
  description: Name of the node.
  returned: success
  type: str
machine_id:
  description: Content of C(/etc/machine-id).
  returned: success
  type: str
actions:
  description: What was done, or in check mode would be, as sentences.
  returned: success
  type: list
  elements: str
restarted:
  description: Whether the kubelet was, or in check mode would be, restarted.
  returned: success
  type: bool
config_map:
  description: What happened to the ConfigMap of kubeadm, one of C(absent), C(unchanged), C(updated), C(ignored).
  returned: when O(cluster) is true
  type: str
"""

from ansible_collections.slipway.mlops.plugins.module_utils._connection import CONNECTION
from ansible_collections.slipway.mlops.plugins.module_utils._host_module import main as host_main
from ansible_collections.slipway.mlops.plugins.module_utils._kubelet_step import ARGUMENTS, step


def main() -> None:
    host_main(step, {**CONNECTION, **ARGUMENTS})


if __name__ == "__main__":
    main()
