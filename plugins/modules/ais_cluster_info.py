#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ais_cluster_info
short_description: Tell whether an AIStore cluster is formed and whole
version_added: "0.1.0"
description:
  - Asks every daemon of an AIStore cluster in Kubernetes for its state, through the pod proxy of the API server, and judges the whole.
  - A cluster is ready when all daemons name the same cluster UUID, the same version of the cluster map and the same primary, have
    started, are in service, and every target has all its mount paths. Ready pods alone prove none of this.
  - Never fails because a cluster is not ready; RV(ready) and RV(problems) tell.
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
  targets:
    description: Nodes that must run a target, besides those whose StatefulSet is there.
    type: list
    elements: str
    default: []
  proxies:
    description: Nodes that must run a proxy, besides those whose StatefulSet is there.
    type: list
    elements: str
    default: []
  mountpaths:
    description: Mount paths that every target must have. Those of the StatefulSets if not given.
    type: list
    elements: str
    default: []
  maintenance:
    description: Nodes whose target is meant to be out of service.
    type: list
    elements: str
    default: []
  proof:
    description: Result of the Job that wrote and read an object, as a task registered it; RV(ready) and RV(reason) then tell of it, too.
    type: dict
  cluster_domain:
    description: DNS domain of the Kubernetes cluster, for RV(url).
    type: str
    default: cluster.local
seealso:
  - module: slipway.mlops.ais_cluster
notes:
  - Needs in the namespace the rights to list StatefulSets, Pods, Services and Events, to read C(pods/log), and to get C(pods/proxy).
"""

EXAMPLES = r"""
- name: Look at the cluster
  slipway.mlops.ais_cluster_info:
    name: ais
    namespace: ais
  register: aistore

- name: Stop unless it is whole
  ansible.builtin.assert:
    that: aistore.ready
    fail_msg: "{{ aistore.problems | join('; ') }}"
"""

RETURN = r"""
name:
  description: What this is about, for a report.
  returned: always
  type: str
  sample: aistore ais
reason:
  description: RV(problems) in one sentence, or what was found.
  returned: always
  type: str
facts:
  description: A few figures for a report.
  returned: always
  type: dict
ready:
  description: Whether there are no RV(problems).
  returned: always
  type: bool
problems:
  description: What is wrong, one sentence each, with the daemon and its node.
  returned: always
  type: list
  elements: str
  sample: ["target ais-ais-target-w2-0 (node w2): its pod is not there; its objects answer 404 and listings leave them out until it is back"]
warnings:
  description: What should be looked at, and does not make the cluster unready.
  returned: always
  type: list
  elements: str
busy:
  description: Targets that move data at the moment, because of a rebalance or a resilver.
  returned: always
  type: list
  elements: str
uuid:
  description: UUID of the cluster, empty where none has formed.
  returned: always
  type: str
primary:
  description: Pod of the primary proxy.
  returned: always
  type: str
smap_version:
  description: Highest version of the cluster map that any daemon has.
  returned: always
  type: int
config_version:
  description: How often the configuration of the cluster has been changed, as its primary counts.
  returned: always
  type: int
daemons:
  description:
    - One entry per daemon, with C(role), C(node), C(pod) and C(absence) (why it cannot be asked, empty where it answered); and where it
      answered C(id), C(version), C(uuid), C(smap_version), C(flags), C(is_primary), C(is_in_maintenance); for targets C(used), C(available) (bytes)
      and C(mountpaths) with C(path), C(file_system), C(file_system_type), C(disks), C(used), C(available).
  returned: always
  type: list
  elements: dict
capacity:
  description: Sums over all targets in bytes, C(used) and C(available).
  returned: always
  type: dict
buckets:
  description: Names of all buckets.
  returned: always
  type: list
  elements: str
url:
  description: Where clients inside Kubernetes reach it.
  returned: always
  type: str
  sample: http://ais-ais-proxy.ais.svc.cluster.local:51080
s3_url:
  description: The S3 endpoint, to be used with path-style addressing.
  returned: always
  type: str
  sample: http://ais-ais-proxy.ais.svc.cluster.local:51080/s3
seconds:
  description: Time of the call in seconds.
  returned: always
  type: float
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_ais_cluster_info import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
