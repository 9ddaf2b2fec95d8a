#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: storage_info
version_added: "0.1.0"
short_description: Tell which disks a host has, what uses them and what they hold
description:
  - Looks at disks with the same eyes as M(slipway.mlops.xfs_datafs) and changes nothing. Starts no process and needs no udev.
  - With O(content) the ends, the known places of signatures and evenly spaced samples of each unused device are read, 24 MiB in all.
options:
  devices:
    description: Devices to look at, named as in O(slipway.mlops.xfs_datafs#module:disks[].device). Empty means all disks.
    type: list
    elements: str
    default: []
  content:
    description: Read the devices that are not in use and tell what they hold.
    type: bool
    default: false
attributes:
  check_mode: {support: full, description: Never changes anything.}
  diff_mode: {support: none, description: Changes nothing.}
notes:
  - Needs root for O(content) and for devices named by C(UUID=).
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: Disks that could become data disks are known
  slipway.mlops.storage_info:
    content: true
  register: storage

- name: Blank disks are shown with the lines for the inventory
  ansible.builtin.debug:
    msg: "{{ storage.devices | selectattr('blank') | map(attribute='links') | map('first') }}"
"""

RETURN = r"""
devices:
  description:
    - The devices, by name or in the order asked for. C(uses) says why a device is in use, C(blank) whether M(slipway.mlops.xfs_datafs) would format it (null
      where it was not read).
  returned: always
  type: list
  elements: dict
  sample:
    - name: nvme0n1
      path: /dev/nvme0n1
      links: [/dev/disk/by-id/nvme-SAMSUNG_MZQL27T6HBLA_S6CKNE0T100001]
      size_bytes: 7681501126656
      size: 7.682 TB
      serial: S6CKNE0T100001
      wwn: eui.36434b3054100001
      model: SAMSUNG MZQL27T6HBLA
      identity: S6CKNE0T100001
      rotational: false
      read_only: false
      partitions: []
      holders: []
      mounts: []
      uses: []
      content: nothing
      fingerprint: blank-42cd2bc99ee93292
      blank: true
seconds:
  description: Time that the module took.
  returned: always
  type: float
  sample: 0.02
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.mlops.plugins.module_utils import _block_probe


def main() -> None:
    started = time.monotonic()
    module = AnsibleModule(
        argument_spec={"devices": {"type": "list", "elements": "str", "default": []}, "content": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    host = _block_probe.Host()
    problems, found = [], []
    for wanted in module.params["devices"]:
        try:
            found.append(host.resolve(wanted))
        except _block_probe.NotFound as error:
            problems.append(f"{wanted} {error}")
    if problems:
        module.fail_json(msg="; ".join(problems), seconds=round(time.monotonic() - started, 3))
    if not module.params["devices"]:
        found = host.disks()
    rows = [_row(host, device, module.params["content"]) for device in found]
    module.exit_json(changed=False, devices=rows, seconds=round(time.monotonic() - started, 3))


def _row(host, device, read):
    uses = host.uses(device)
    content = host.content(device) if read and not uses and device.size else None
    return {
        "name": device.name,
        "path": device.path,
        "links": list(host.links(device.name)),
        "size_bytes": device.size,
        "size": _block_probe.human(device.size),
        "serial": device.serial,
        "wwn": device.wwn,
        "model": device.model,
        "identity": device.identity,
        "rotational": device.rotational,
        "read_only": device.read_only,
        "partitions": list(device.partitions),
        "holders": list(device.holders),
        "mounts": [mount.path for mount in host.mounts_of(device.number)],
        "uses": uses,
        "content": content.describe() if content else None,
        "fingerprint": content.fingerprint if content and not content.error else None,
        "blank": content.blank if content else None,
    }


if __name__ == "__main__":
    main()
