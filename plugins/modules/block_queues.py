#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: block_queues
version_added: "0.1.0"
short_description: I/O scheduler and queue settings of disks, now and whenever they appear
description:
  - Sets scheduler, read-ahead and queue sizes of the disks that are named, and of no other.
  - The values are written to C(/sys), read back, and kept by one udev rule file that belongs to this module. Its rules go by the disk's WWN or serial, so they
    hold over a boot, for a disk that is plugged in later, and whatever name the kernel gives it.
  - What the kernel does not offer for a disk is an error that says what it offers. Either all disks are set or none.
  - A disk that makes no requests of its own, as a namespace of NVMe's native multipath, has no scheduler. What its class says of scheduler, nr_requests and
    rq_affinity is left out with a warning there.
  - A partition stands for its disk. Of a device that stands on others (md, dm, multipath), the disks below are set, and its own read-ahead.
  - Spawns no process. The rule file is written also where no udevd runs.
options:
  devices:
    description:
      - The disks. Each as a path below C(/dev) (best C(/dev/disk/by-id/...)), a kernel name, V(SERIAL=...), V(WWN=...) or V(UUID=...).
      - They get the settings of their class, O(rotational), O(ssd) or O(nvme).
    type: list
    elements: str
    default: []
  rotational:
    description: Settings of disks that turn.
    type: dict
    suboptions: &settings
      scheduler:
        description: Name of the I/O scheduler, as C(queue/scheduler) offers it.
        type: str
      read_ahead_kb:
        description: Read-ahead, in KiB.
        type: raw
      nr_requests:
        description: Requests that the queue holds. At least 4; at most 2048, or the hardware's own number where the scheduler is V(none).
        type: raw
      max_sectors_kb:
        description: Largest request, in KiB. At most C(queue/max_hw_sectors_kb).
        type: raw
      rq_affinity:
        description: Where a request is completed. V(0) anywhere, V(1) in the group of CPUs that asked, V(2) on the CPU that asked.
        type: raw
  ssd:
    description: Settings of disks that do not turn and are not NVMe. Same keys as O(rotational).
    type: dict
    suboptions: *settings
  nvme:
    description: Settings of NVMe disks. Same keys as O(rotational).
    type: dict
    suboptions: *settings
  device_settings:
    description: Settings of single disks, which win over those of their class. A disk here need not be in O(devices), too.
    type: list
    elements: dict
    default: []
    suboptions:
      device:
        description: The disk, as in O(devices).
        type: str
        required: true
      scheduler:
        description: As O(rotational.scheduler).
        type: str
      read_ahead_kb:
        description: As O(rotational.read_ahead_kb).
        type: raw
      nr_requests:
        description: As O(rotational.nr_requests).
        type: raw
      max_sectors_kb:
        description: As O(rotational.max_sectors_kb).
        type: raw
      rq_affinity:
        description: As O(rotational.rq_affinity).
        type: raw
  rule_file:
    description: The udev rule file, written whole, removed when nothing is to be set. One that this module did not write is refused.
    type: path
    default: /etc/udev/rules.d/99-slipway-block-queues.rules
attributes:
  check_mode: {support: full, description: "The same plan, nothing written."}
  diff_mode: {support: full, description: Shows the queues and the rule file.}
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: Data disks have their queues set
  slipway.mlops.block_queues:
    devices:
      - /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
      - /dev/disk/by-id/nvme-eui.0025385b11b2c3d4
    rotational: {scheduler: mq-deadline, read_ahead_kb: 4096, nr_requests: 2048}
    nvme: {scheduler: none, read_ahead_kb: 128}
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, one phrase each.
  returned: success
  type: list
  elements: str
  sample: ["sdb: scheduler none -> mq-deadline", write /etc/udev/rules.d/99-slipway-block-queues.rules]
disks:
  description: Each disk with its class and its settings before and after.
  returned: success
  type: list
  elements: dict
  sample: [{name: sdb, class: rotational, before: {scheduler: none, read_ahead_kb: "128"}, after: {scheduler: mq-deadline, read_ahead_kb: "4096"}}]
problems:
  description: What is wrong, one sentence each.
  returned: failure, when the input or the host forbids to begin
  type: list
  elements: str
  sample: ['loop0: scheduler "cfq" is not offered (none mq-deadline kyber bfq)']
"""

from ansible_collections.slipway.mlops.plugins.module_utils._host_module import main as host_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_block_queues import ARGUMENTS, run


def main() -> None:
    host_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
