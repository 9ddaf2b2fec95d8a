#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_runtime
version_added: "0.1.0"
short_description: Give a node's container engine another runtime, NVIDIA's for one
author: The slipway authors (@slipway-mlops)
description:
  - Finds the container engine that the kubelet of this host uses (containerd 1.6 to 2.x, Docker with cri-dockerd, CRI-O; also those of MicroK8s, k3s and RKE2)
    and adds a runtime handler to its configuration.
    The handler runs containers as runc does on this host, through another program.
  - containerd 1.x gets a marked block in C(config.toml), since a drop-in there would replace the whole configuration of its CRI part;
    containerd 2.x gets a drop-in of the version that the root file has; Docker's C(daemon.json) is merged; CRI-O gets a drop-in.
    Every other byte of a file stays. A file that cannot be read for certain is left alone, and the message names line and column.
  - The engine's own parser reads the new configuration before a file is replaced.
    After the restart (for Docker a reload is enough) the engine must answer over CRI with the handler,
    otherwise the old files are put back and the engine is started with them.
  - Where O(cluster) is true, the default, the node takes its turn by a Lease, no other node may be out, and the change is kept only when
    the node is Ready and its pods are back.
options:
  state:
    description: Whether the handler is configured or not.
    type: str
    choices: [present, absent]
    default: present
  engine:
    description: The container engine; V(auto) takes the one that the kubelet speaks to.
    type: str
    choices: [auto, containerd, docker, crio]
    default: auto
  handler:
    description: Name of the handler, which a RuntimeClass refers to.
    type: str
    default: nvidia
  path:
    description: The runtime program on the host. It must be there and executable.
    type: path
    default: /usr/bin/nvidia-container-runtime
  path_is_installed_first:
    description: Whether an earlier task of the play installs the program, so that check mode takes it as there.
    type: bool
    default: false
  default:
    description:
      - Whether pods without a RuntimeClass get the handler, too.
      - V(false) sets the default back to runc where it is this handler, and leaves any other default alone.
    type: bool
    default: false
  cdi:
    description:
      - Whether the engine injects devices by the Container Device Interface; left as it is where not given.
      - CRI-O always does where a container asks for it; V(false) is refused there.
    type: bool
  detection:
    description: V(auto) skips a host that has no NVIDIA GPU on its PCI bus, with that reason; V(present) takes it as given.
    type: str
    choices: [auto, present]
    default: auto
  allow_container_stop:
    description: Go on even where a restart of the engine's unit would end the containers of the host.
    type: bool
    default: false
  cluster:
    description:
      - Watch over the node through the API server, with the connection options below. Works on the controller.
      - V(false) proves no more than that the engine itself is well; meant for hosts whose API server cannot be reached, or that are no nodes.
    type: bool
    default: true
  node:
    description: Name of the Node object. Found out by the kubelet's C(--hostname-override) or the host name where not given.
    type: str
  timeout:
    description: Seconds until the restarted engine must answer, and again until node and pods must be back.
    type: int
    default: 180
  turn_timeout:
    description: Seconds to wait while other nodes take their turn.
    type: int
    default: 3600
  max_nodes_out:
    description: How many other nodes may be not Ready when this one takes its turn.
    type: int
    default: 0
  step:
    description:
      - What to do on the host. The action plugin needs V(plan), V(apply), V(confirm) and V(put_back), and looks at the cluster between them.
      - V(all) plans, applies and confirms at once.
    type: str
    choices: [all, plan, apply, confirm, put_back]
    default: all
extends_documentation_fragment:
  - slipway.mlops.k8s
"""

EXAMPLES = r"""
- name: Pods of RuntimeClass nvidia run through NVIDIA's runtime
  slipway.mlops.container_runtime:
    handler: nvidia

- name: A host that is no node of a cluster
  slipway.mlops.container_runtime:
    engine: docker
    default: true
    cluster: false
"""

RETURN = r"""
gpus:
  description: PCI addresses of the NVIDIA GPUs of the host.
  returned: success
  type: list
  elements: str
skip_reason:
  description: Why the host was skipped.
  returned: when it was
  type: str
engine:
  description: The container engine, one of C(containerd), C(docker), C(crio).
  returned: unless skipped
  type: str
version:
  description: The engine's version as it answers over CRI.
  returned: unless skipped
  type: str
unit:
  description: The systemd unit that runs it.
  returned: unless skipped
  type: str
handlers:
  description: Handlers that the running engine reports.
  returned: unless skipped
  type: list
  elements: str
notes:
  description: What is odd in the configuration, though it does no harm here.
  returned: unless skipped
  type: list
  elements: str
node:
  description: Name of the node, empty on a host without a kubelet.
  returned: unless skipped
  type: str
actions:
  description: What was done, or in check mode would be, as sentences.
  returned: unless skipped
  type: list
  elements: str
restarted:
  description: Whether the engine was, or in check mode would be, restarted.
  returned: unless skipped
  type: bool
"""

from ansible_collections.slipway.mlops.plugins.module_utils._connection import CONNECTION
from ansible_collections.slipway.mlops.plugins.module_utils._host_module import main as host_main
from ansible_collections.slipway.mlops.plugins.module_utils._runtime_step import ARGUMENTS, step


def main() -> None:
    host_main(step, {**CONNECTION, **ARGUMENTS})


if __name__ == "__main__":
    main()
