#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: gpu_info
version_added: "0.1.0"
short_description: Tell which NVIDIA GPUs a host has and how far they can be used
author: The slipway authors (@slipway-mlops)
description:
  - Reads C(/sys), C(/proc) and C(/dev), and asks the container engine over CRI. Starts no program and changes nothing.
options:
  path:
    description: Where NVIDIA's container runtime is expected.
    type: path
    default: /usr/bin/nvidia-container-runtime
  engine:
    description: The container engine; V(auto) takes the one that the kubelet speaks to.
    type: str
    choices: [auto, containerd, docker, crio]
    default: auto
attributes:
  check_mode:
    description: Can run in check mode, where it does the same.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: GPUs of the host are known
  slipway.mlops.gpu_info:
  register: __gpus
"""

RETURN = r"""
gpus:
  description: PCI addresses of NVIDIA's display and 3D controllers.
  returned: always
  type: list
  elements: str
bound:
  description: PCI address to the kernel driver that holds it.
  returned: always
  type: dict
driver:
  description: Version of the loaded kernel module, empty without one.
  returned: always
  type: str
driver_gpus:
  description: How many GPUs the kernel module serves.
  returned: always
  type: int
library:
  description: Version of the driver's user-space library, empty where it is not found.
  returned: always
  type: str
devices:
  description: Device nodes C(nvidia0), C(nvidiactl) and so on.
  returned: always
  type: list
  elements: str
toolkit:
  description: Path of the container runtime.
  returned: always
  type: str
toolkit_is_executable:
  description: Whether it can be run.
  returned: always
  type: bool
engine:
  description: The container engine, empty where none could be told.
  returned: always
  type: str
engine_problem:
  description: Why the engine is not ready, empty where it is.
  returned: always
  type: str
handlers:
  description: Runtime handlers that the running engine reports.
  returned: always
  type: list
  elements: str
node:
  description: Name under which the kubelet registers, empty without a kubelet.
  returned: always
  type: str
machine_id:
  description: Content of C(/etc/machine-id) on a host with a kubelet.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.mlops.plugins.module_utils._gpu_probe import ARGUMENTS, info


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    module.exit_json(changed=False, **info(module.params["path"], module.params["engine"]))


if __name__ == "__main__":
    main()
