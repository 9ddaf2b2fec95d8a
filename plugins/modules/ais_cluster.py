#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ais_cluster
short_description: Keep an AIStore cluster configured as declared
version_added: "0.1.0"
description:
  - Acts on an AIStore 5.0 cluster that runs in Kubernetes, through the pod proxy of the API server.
  - With O(state=planned) it checks the declaration against itself and against the live cluster, refuses everything that is wrong at once,
    and returns the layout (names, addresses, first configuration) from which the role C(slipway.mlops.aistore) makes its objects.
  - With O(state=present) it waits until all daemons form one cluster, sets configuration and buckets that differ, takes targets in and out
    of maintenance, restarts daemons whose pods are on an old template one at a time, and waits until a rebalance has ended.
  - With O(state=buckets) it waits until all daemons that are there form one cluster, sees to O(buckets) and O(buckets_absent), and leaves all else as
    it is.
  - A task that fails after it has changed something tells so, and what, as one that ends well.
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  name:
    description: Name of the cluster.
    type: str
    default: ais
  namespace:
    description: Namespace of its daemons.
    type: str
    default: ais
  state:
    description: Whether to check the declaration only, or to make the running cluster, or its buckets alone, follow it.
    type: str
    choices: [present, planned, buckets]
    default: present
  targets:
    description: Names of the Kubernetes nodes that store; one target each.
    type: list
    elements: str
    default: []
  proxies:
    description: Names of the Kubernetes nodes that run a proxy each.
    type: list
    elements: str
    default: []
  initial_primary:
    description: The node among O(proxies) whose proxy forms the cluster when there is none. The first by name if not given.
    type: str
    default: ""
  proxies_min:
    description: Fewer proxies are refused. Two cannot elect a new primary when one dies.
    type: int
    default: 3
  mountpaths:
    description: Mount points of the disks, the same on every target.
    type: list
    elements: str
    default: []
  mountpaths_by_target:
    description: What each target has, by node, to be compared with O(mountpaths). Not compared where empty.
    type: dict
    default: {}
  storage:
    description: How a target's pod gets its disks, by hostPath or by static local PersistentVolumes.
    type: str
    choices: [host_path, local_volume]
    default: host_path
  state_path:
    description: Directory on the nodes for the daemons' own state, instead of a claim.
    type: str
    default: ""
  state_storage_class:
    description: StorageClass of the claims for the daemons' own state; the default class if empty.
    type: str
    default: ""
  access:
    description:
      - Where clients are. They are redirected to pod names with V(cluster), to the nodes' addresses with V(host_port), and to one
        load balancer's address per target with V(load_balancer).
    type: str
    choices: [cluster, host_port, load_balancer]
    default: cluster
  public_addresses:
    description: By node, the address that clients outside reach; for V(host_port) and V(load_balancer).
    type: dict
    default: {}
  client_cidrs:
    description: Address ranges outside of Kubernetes that a NetworkPolicy lets in.
    type: list
    elements: str
    default: []
  network_policy_is_enabled:
    description: Whether there is such a NetworkPolicy. With O(access) from outside and no O(client_cidrs) it is refused, since nobody could get in.
    type: bool
    default: false
  https_secret:
    description: Name of the Secret with C(tls.crt) and C(tls.key); the daemons speak HTTPS where it is given.
    type: str
    default: ""
  somaxconn:
    description: The pod sysctl C(net.core.somaxconn) that the daemons get, 0 for none. Refused where a kubelet does not allow it.
    type: int
    default: 0
  cluster_domain:
    description: DNS domain of the Kubernetes cluster.
    type: str
    default: cluster.local
  version:
    description: Version of AIStore that is deployed, such as V(5.0). A cluster that runs a newer one is refused. Not compared where empty.
    type: str
    default: ""
  backends:
    description: Cloud backends, by provider (C(aws), C(azure), C(gcp), C(oci)), with the Secret that holds the credentials. Those that a running
      cluster lacks are switched on; none is switched off.
    type: dict
    default: {}
  config:
    description:
      - Cluster configuration, by section, as AIStore's own; C(features) is a list of names. Unknown keys, keys of former versions and
        values that a daemon would not start with are refused. What is not given here goes back to what the role C(slipway.mlops.aistore) starts
        a new cluster with where that says something of it, and stays as it is otherwise. O(state=buckets) leaves all of it.
    type: dict
    default: {}
  buckets:
    description:
      - Buckets that shall exist, with C(name), optionally C(provider), and properties by section (C(mirror), C(ec), C(checksum), C(lru),
        C(versioning), C(backend_bck), C(extra) ...). Properties that are not given are left as they are.
    type: list
    elements: dict
    default: []
  buckets_absent:
    description: Buckets to destroy with everything in them. Nothing else destroys a bucket.
    type: list
    elements: str
    default: []
  maintenance:
    description: Nodes whose target shall be out of service, its objects moved to the others. All other targets are taken into service.
    type: list
    elements: str
    default: []
  restart_moves_data:
    description: Whether a target's objects are moved away before it restarts. Without it restarts are quick, and its objects answer 404 meanwhile.
    type: bool
    default: true
  objects:
    description: The RV(slipway.mlops.k8s_manifests#module:objects) of the call before, from which check mode tells which daemons would restart.
    type: list
    elements: dict
    default: []
  wait_timeout:
    description: Seconds for the cluster to form, and for one daemon to come back.
    type: int
    default: 300
  rebalance_timeout:
    description: Seconds for one movement of data to end.
    type: int
    default: 3600
seealso:
  - module: slipway.mlops.ais_cluster_info
notes:
  - Needs in the namespace the rights to list StatefulSets, Pods, Services and Events, to delete Pods, to read C(pods/log), and C(pods/proxy) with
    get, create, update, patch and delete; for O(state=planned) C(nodes) list, C(storageclasses) list, and in the namespace C(default) C(endpointslices) get.
"""

EXAMPLES = r"""
- name: Check what is declared, and work out names and addresses
  slipway.mlops.ais_cluster:
    state: planned
    targets: [w1, w2, w3]
    proxies: [w1, w2, w3]
    initial_primary: w1
    mountpaths: [/ais/disk0, /ais/disk1]
    config:
      rebalance: {enabled: true}
  register: plan

- name: Keep a bucket with two copies of every object
  slipway.mlops.ais_cluster:
    targets: [w1, w2, w3]
    proxies: [w1, w2, w3]
    mountpaths: [/ais/disk0, /ais/disk1]
    buckets:
      - name: training
        mirror: {enabled: true, copies: 2}

- name: Make a bucket, whatever else is declared of the cluster
  slipway.mlops.ais_cluster:
    state: buckets
    buckets:
      - name: scratch

- name: Move everything off one target
  slipway.mlops.ais_cluster:
    targets: [w1, w2, w3]
    proxies: [w1, w2, w3]
    mountpaths: [/ais/disk0, /ais/disk1]
    maintenance: [w2]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, one sentence each.
  returned: O(state=present) or O(state=buckets)
  type: list
  elements: str
layout:
  description: Names, addresses and first configuration of every daemon.
  returned: O(state=planned)
  type: dict
config:
  description: Settings that were changed on the running cluster, with C(name), C(before), C(after), C(needs_restart).
  returned: O(state=present) or O(state=buckets)
  type: list
  elements: dict
buckets:
  description: Buckets that were created, updated or deleted, with C(name) and C(action).
  returned: O(state=present) or O(state=buckets)
  type: list
  elements: dict
maintenance:
  description: Targets that were taken out of or into service, with C(daemon), C(node), C(action).
  returned: O(state=present) or O(state=buckets)
  type: list
  elements: dict
rebalances:
  description: Rebalances that were started because one had been interrupted, or because none had run since targets started anew, with C(id) and C(reason).
  returned: O(state=present) or O(state=buckets)
  type: list
  elements: dict
restarts:
  description: Daemons that were restarted (in check mode, that would be), with C(daemon), C(node), C(role), C(reason).
  returned: O(state=present) or O(state=buckets)
  type: list
  elements: dict
ready:
  description: Whether all daemons are in one cluster, in service, with all their mount paths.
  returned: O(state=present) or O(state=buckets)
  type: bool
problems:
  description: Why it is not ready, or why the declaration was refused, one sentence each.
  returned: O(state=present), or when refused
  type: list
  elements: str
uuid:
  description: UUID of the cluster.
  returned: O(state=present) or O(state=buckets)
  type: str
smap_version:
  description: Version of the cluster map.
  returned: O(state=present) or O(state=buckets)
  type: int
config_version:
  description: How often the configuration of the cluster has been changed, as its primary counts.
  returned: O(state=present) or O(state=buckets)
  type: int
daemons:
  description: What each daemon says of itself; see M(slipway.mlops.ais_cluster_info).
  returned: O(state=present) or O(state=buckets)
  type: list
  elements: dict
seconds:
  description: Time of the call in seconds.
  returned: O(state=present) or O(state=buckets)
  type: float
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_ais_cluster import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
