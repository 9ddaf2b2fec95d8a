#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_readiness_info
short_description: Which Kubernetes objects are ready, and why the others are not
version_added: "0.1.0"
author:
  - The slipway authors (@slipway-mlops)
description:
  - Judges objects, and all objects of sets that M(slipway.mlops.k8s_manifests) keeps. docs/health.md has the table of rules.
  - The reason of a workload that is not ready names its pods, what their containers wait for or died of, and what the events about them say.
  - Never fails because something is not ready, is absent or may not be looked at; look at RV(ready).
  - Needs the right to C(get) and C(list) what is named. Without that on Pods and Events the reasons are shorter.
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  objects:
    description: Objects to judge.
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: Group and version, such as V(apps/v1).
        type: str
        required: true
      kind:
        description: Kind.
        type: str
        required: true
      namespace:
        description: Namespace; empty for what lives outside of namespaces.
        type: str
        default: ""
      name:
        description: Name.
        type: str
        required: true
  sets:
    description: Sets of M(slipway.mlops.k8s_manifests) whose objects are judged. A kind that a set had and of which nothing is left is absent.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the set.
        type: str
        required: true
      namespace:
        description: Namespace of the set.
        type: str
        required: true
seealso:
  - module: slipway.mlops.k8s_manifests
"""

EXAMPLES = r"""
- name: What of MLflow and Aim is ready is known
  slipway.mlops.k8s_readiness_info:
    sets:
      - {name: mlflow, namespace: mlflow}
      - {name: aim, namespace: aim}
    objects:
      - {api_version: v1, kind: Node, name: gpu-1}
  register: readiness

- name: What is not ready is shown
  ansible.builtin.debug:
    msg: "{{ readiness.objects | rejectattr('ready') | map(attribute='reason') }}"
"""

RETURN = r"""
fingerprints:
  description: For each of O(sets) a text that is another whenever an object of the set is made anew or declared otherwise.
  returned: when the cluster was asked
  type: dict
  sample: {aim: 3f0c9a7be2d1c4f8}
ready:
  description: Whether every object is ready.
  returned: success
  type: bool
counts:
  description: How many objects are in each state.
  returned: success
  type: dict
  sample: {ready: 11, progressing: 1}
objects:
  description: The verdicts, in the order of O(objects), then of O(sets).
  returned: success
  type: list
  elements: dict
  contains:
    set:
      description: Name of the set, empty for one of O(objects).
      type: str
    api_version:
      description: Group and version.
      type: str
    kind:
      description: Kind.
      type: str
    namespace:
      description: Namespace, or empty.
      type: str
    name:
      description: Name; C((any)) for a kind of a set of which nothing is left, the name of its record for a set of which some objects are gone.
      type: str
    state:
      description: V(ready), V(progressing), V(failed) (will not recover by itself), V(absent), or V(unknown) where the account may not look.
      type: str
    ready:
      description: Whether the state is V(ready).
      type: bool
    reason:
      description: Why, in words.
      type: str
    lines:
      description: The last lines that containers of a workload wrote that is not ready; values of Secrets are taken out.
      returned: where the object is progressing or failed
      type: list
      elements: str
  sample:
    - set: mlflow
      api_version: apps/v1
      kind: Deployment
      namespace: mlflow
      name: mlflow
      state: progressing
      ready: false
      reason: 1/2 available, waiting for mlflow-7d9f-x2x1p (pulling image "mlflow:3.17.2")
      lines: []
requests:
  description: HTTP requests sent to the API server.
  returned: when a server was asked
  type: int
  sample: 9
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
  returned: success
  type: float
  sample: 0.12
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_readiness_info import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
