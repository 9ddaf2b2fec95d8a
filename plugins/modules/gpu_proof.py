#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: gpu_proof
version_added: "0.1.0"
short_description: Prove that pods of a node can use its GPUs, or name the broken link
author: The slipway authors (@slipway-mlops)
description:
  - Walks the chain from the GPU to a pod and reports every link up to the first broken one - GPU on the bus, driver, device nodes, toolkit, runtime handler,
    RuntimeClass, device plugin, allocatable equal to the number of GPUs, and at last a pod that asks for one GPU and lists what it sees.
  - The allocatable number alone proves nothing, since anybody may write it into the Node's status; so the pod's own words decide.
  - A broken link is a result and no failure, also where the cluster does not answer or has no such node.
  - Where pods hold every GPU of the node already, no other is run, and the result says who they are.
options:
  facts:
    description: What M(slipway.mlops.gpu_info) returned for the host.
    type: dict
    required: true
  node:
    description: Name of the node, where it is not the one that the host reports.
    type: str
  is_stated:
    description: Take the GPU, its driver and device nodes as given. For hosts whose driver lives in a container, and for tests.
    type: bool
    default: false
  handler:
    description: Handler that the engine must know.
    type: str
    default: nvidia
  runtime_class:
    description: RuntimeClass of the proof pod.
    type: str
    default: nvidia
  resource:
    description: Extended resource of the device plugin. Resources of its MIG profiles count, too.
    type: str
    default: nvidia.com/gpu
  expected:
    description: How many of the resource the node must offer; the number of GPUs on the bus where not given.
    type: int
  plugin_namespace:
    description: Namespace of the device plugin. Empty where somebody else runs one, which is then not looked for.
    type: str
    default: gpu-runtime
  plugin_selector:
    description: Labels of the device plugin's pods.
    type: str
    default: app.kubernetes.io/name=nvidia-device-plugin
  namespace:
    description: Namespace of the proof pod.
    type: str
    default: gpu-runtime
  image:
    description: Image of the proof pod.
    type: str
    required: true
  command:
    description: Command that lists GPUs by their UUIDs. NVIDIA's runtime brings C(nvidia-smi) into the container.
    type: list
    elements: str
    default: [nvidia-smi, -L]
  image_pull_secrets:
    description: Names of Secrets in O(namespace) for pulling the image.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds until the pod must be done.
    type: int
    default: 180
extends_documentation_fragment:
  - slipway.mlops.k8s
"""

EXAMPLES = r"""
- name: The host tells of its GPUs
  slipway.mlops.gpu_info:
  register: __gpus

- name: A pod on it uses one
  slipway.mlops.gpu_proof:
    facts: "{{ __gpus }}"
    image: nvcr.io/nvidia/cuda:12.4.1-base-ubuntu22.04
  delegate_to: localhost
"""

RETURN = r"""
name:
  description: What this is about, for a report.
  returned: success
  type: str
  sample: gpu gpu-1
node:
  description: Name of the node.
  returned: success
  type: str
ready:
  description: Whether every link holds.
  returned: success
  type: bool
broken_link:
  description: Name of the first link that does not hold, empty where all do.
  returned: success
  type: str
reason:
  description: The same with the reason; where all hold, what the pod saw.
  returned: success
  type: str
links:
  description: The links in their order, each with C(name), C(holds), C(problem) and C(note).
  returned: success
  type: list
  elements: dict
visible:
  description: UUIDs that the proof pod listed.
  returned: success
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: success
  type: float
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_gpu_proof import ARGUMENTS, run


def main():
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
