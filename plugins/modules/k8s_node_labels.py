#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_node_labels
short_description: Labels, annotations and taints of Kubernetes nodes as declared
version_added: "0.1.0"
author:
  - The slipway authors (@slipway-mlops)
description:
  - Brings the labels, annotations and taints of any number of nodes into the declared state in one call.
  - A set owns what it declares, as field manager C(slipway:<set>) of server-side apply. What leaves the set leaves the nodes, also a node that left the
    list; what others have put on a node stays. A label that another one holds with the same value too stays when the set gives it up.
  - All nodes are read with one paged list (metadata alone, unless taints or addresses are named), and only those that differ are written.
  - Everything that is wrong is told at once and before the first write - unknown nodes, bad syntax, values that somebody else holds.
  - The server keeps taints as one list. It is replaced only if the node is still the one that was read, and the set remembers in the annotation
    C(slipway.mlops/taints.<set>) which taints are its own. A taint that was there before with the same value stays somebody else's.
  - Needs the rights to C(list) and C(patch) nodes, with taints to C(get) them, too.
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  name:
    description:
      - Name of the set. Two sets never take away each other's labels, so give each purpose its own.
      - Needed unless O(sets) is given.
    type: str
  nodes:
    description:
      - What the set declares, by node. A node is found by its name, then by its label C(kubernetes.io/hostname), then by its InternalIP.
      - Each value may hold C(labels) and C(annotations), mappings of text to text, and C(taints), a list of mappings with C(key), C(value) (optional) and
        C(effect) (V(NoSchedule), V(PreferNoSchedule) or V(NoExecute)).
      - All values must be text. YAML reads V(true), V(yes) or V(1) as something else; write them in quotes.
    type: dict
  state:
    description:
      - V(absent) takes away everything that the set holds, on all nodes; O(nodes) must be left out.
      - V(present) refuses an empty O(nodes), because that would be the same.
    type: str
    choices: [present, absent]
    default: present
  sets:
    description:
      - Several sets in one call, which reads the nodes once. Two of them that want different values for one label are refused.
    type: list
    elements: dict
    suboptions:
      name:
        description: As O(name).
        type: str
        required: true
      nodes:
        description: As O(nodes).
        type: dict
      state:
        description: As O(state).
        type: str
        choices: [present, absent]
        default: present
  force_conflicts:
    description:
      - Take over labels, annotations and taints that somebody else holds with another value. Without it they are refused, with the holder's name.
    type: bool
    default: false
seealso:
  - module: slipway.mlops.k8s_readiness_info
"""

EXAMPLES = r"""
- name: Storage nodes bear the labels of AIStore cluster "ais"
  slipway.mlops.k8s_node_labels:
    name: ais-ais
    nodes:
      storage-1:
        labels:
          nvidia.com/ais-target: ais
          nvidia.com/ais-proxy: ais
          nvidia.com/ais-initial-primary-proxy: ais
      storage-2:
        labels:
          nvidia.com/ais-target: ais
          nvidia.com/ais-proxy: ais
        taints:
          - {key: dedicated, value: storage, effect: PreferNoSchedule}

- name: Nodes bear what the inventory says, in two sets
  slipway.mlops.k8s_node_labels:
    sets:
      - name: gpu
        nodes:
          gpu-1: {labels: {accelerator: a100}}
      - name: racks
        nodes:
          gpu-1: {labels: {topology.example.com/rack: r12}}
          storage-1: {labels: {topology.example.com/rack: r13}}

- name: No node bears anything of set "old" any longer
  slipway.mlops.k8s_node_labels:
    name: old
    state: absent
"""

RETURN = r"""
nodes:
  description: The nodes whose labels, annotations or taints were, or in check mode would be, changed.
  returned: when nodes were read
  type: list
  elements: dict
  contains:
    set:
      description: Name of the set.
      type: str
    name:
      description: Name of the node in the cluster.
      type: str
    action:
      description: V(updated), or V(cleaned) for a node that the set no longer names.
      type: str
  sample:
    - {set: ais-ais, name: storage-1, action: updated}
actions:
  description: What was, or in check mode would be, changed, a sentence each.
  returned: when nodes were read
  type: list
  elements: str
  sample: ["node storage-1 (set ais-ais): label nvidia.com/ais-target (none) -> ais"]
unchanged:
  description: How many nodes were as declared already.
  returned: when nodes were read
  type: int
  sample: 997
requests:
  description: HTTP requests sent to the API server.
  returned: when a server was asked
  type: int
  sample: 13
server:
  description: URL of the API server.
  returned: when a server was asked
  type: str
  sample: https://192.0.2.10:6443
context:
  description: Context of the kubeconfig, empty without one.
  returned: when a server was asked
  type: str
  sample: kubernetes-admin@kubernetes
seconds:
  description: Duration of the call.
  returned: when nodes were read
  type: float
  sample: 0.45
problems:
  description: Each reason to refuse, as a sentence of its own; C(msg) is all of them.
  returned: when refused
  type: list
  elements: str
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_node_labels import ARGUMENTS, RULES, run


def main() -> None:
    module_main(run, ARGUMENTS, **RULES)


if __name__ == "__main__":
    main()
