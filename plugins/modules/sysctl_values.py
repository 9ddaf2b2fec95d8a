#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: sysctl_values
version_added: "0.1.0"
short_description: Kernel settings of a host, now and after the next boot
description:
  - Sets a whole list of kernel settings (sysctls) at once. Each is written to the kernel, read back, and kept by one file that belongs to this module.
  - A setting is exact, a floor (never lowered where the host has more) or a ceiling. Its value is given, or computed from the machine's memory or
    from the speed of its fastest network link.
  - Every file that is applied at boot is read, in the order of sysctl.d(5). A later file that would undo a setting is an error that names its line.
  - Either all settings are made or none. When the kernel does not take one, the others get their old value back and the file stays as it is.
  - A container refuses keys that are not its own, since they would change the machine below it.
  - Spawns no process.
options:
  values:
    description: The settings. Names are unique. Everything that is wrong with them is said at once, before anything is written.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name with dots, as in C(net.core.somaxconn). A dot inside of a part is written as a slash (C(net.ipv4.conf.eth0/100.rp_filter)).
        type: str
        required: true
      value:
        description: The value, one number or several separated by spaces. YAML words such as V(on) are refused.
        type: raw
      memory_percent:
        description: Instead of O(values[].value), each field as a share of the machine's memory, in O(values[].unit).
        type: list
        elements: float
      link_seconds:
        description: Instead of O(values[].value), as many bytes as the fastest network link carries in these seconds. Needs O(values[].minimum).
        type: float
      unit:
        description: Unit of computed values and of their bounds.
        type: str
        choices: [bytes, KiB, pages]
        default: bytes
      minimum:
        description: A computed field is at least this. It is the value where no link tells its speed.
        type: int
      maximum:
        description: A computed field is at most this.
        type: int
      match:
        description:
          - V(exact) means this value. V(floor) means at least this, field by field, and V(ceiling) at most this.
          - A floor that the host exceeds stays as it is, and the file keeps the larger value, so that the file does not lower it at the next boot.
        type: str
        choices: [exact, floor, ceiling]
        default: exact
      optional:
        description: A key that this kernel or this container does not have is passed over and listed in RV(absent).
        type: bool
        default: false
      reason:
        description: Why, one line. It stands above the setting in the file.
        type: str
        default: ""
  file:
    description:
      - The file, written whole. It should come late in the order of file names, so that distributions' files do not undo it.
      - Removed when O(values) is empty. A file that this module did not write is neither replaced nor removed, but refused.
      - Where a setting needs a kernel module (C(nf_conntrack), C(br_netfilter)), that is named in C(/etc/modules-load.d/slipway-FILE), so that it is
        there when the boot sets the value. In a container nothing is loaded.
    type: path
    default: /etc/sysctl.d/99-zz-slipway.conf
  former_files:
    description: Files of tools that were used before. Those that are there are named in a warning and in RV(former_files); nothing else happens to them.
    type: list
    elements: path
    default: []
  remove_files:
    description: Files to be put away. A copy whose name ends in C(~) stays beside each, which nothing reads at boot.
    type: list
    elements: path
    default: []
  open_files:
    description:
      - The least number of files that pods may open. They inherit the limit of the container runtime (containerd, dockerd or crio), not that of a login.
      - A runtime with a lower limit is raised while it runs, and by a drop-in of its systemd unit. Nothing is restarted; running pods keep what they have.
      - V(0) removes the drop-in. Without this option, limits are not looked at.
    type: int
attributes:
  check_mode:
    support: full
    description: The same plan, nothing written. Only a value that the kernel itself refuses is found later.
  diff_mode: {support: full, description: Shows the kernel's values and the files.}
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: The network stack takes many connections
  slipway.mlops.sysctl_values:
    values:
      - {name: net.core.somaxconn, value: 100000, match: floor, reason: bursts of clients}
      - {name: net.core.rmem_max, link_seconds: 0.01, minimum: 16777216, maximum: 134217728, match: floor}
      - {name: vm.min_free_kbytes, memory_percent: [1], unit: KiB, minimum: 65536, match: floor}

- name: The file of an older tool is put away
  slipway.mlops.sysctl_values:
    values: "{{ my_values }}"
    remove_files: [/etc/sysctl.d/90-ais.conf]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, one phrase each.
  returned: success
  type: list
  elements: str
  sample: ["net.core.somaxconn 4096 -> 100000", write /etc/sysctl.d/99-zz-slipway.conf]
settings:
  description: Each setting with the kernel's value before and after, and the value that the file keeps for the next boot.
  returned: success
  type: list
  elements: dict
  sample: [{name: net.core.somaxconn, match: floor, before: "4096", after: "100000", at_boot: "100000"}]
absent:
  description: Optional keys that do not exist, or are not to be set, here.
  returned: success
  type: list
  elements: str
  sample: [net.netfilter.nf_conntrack_tcp_be_liberal]
former_files:
  description: Files of O(former_files) that are there and were not removed.
  returned: success
  type: list
  elements: str
  sample: [/etc/sysctl.d/90-ais.conf]
left_behind:
  description: Settings that no file makes any more. The kernel keeps them until it is restarted or told otherwise.
  returned: success
  type: list
  elements: str
  sample: ["net.ipv4.tcp_timestamps = 0"]
copies:
  description: Where the copies of the removed files are.
  returned: when a file was removed
  type: list
  elements: str
  sample: [/etc/sysctl.d/90-ais.conf.20260822T101500Z~]
problems:
  description: What is wrong, one sentence each.
  returned: failure, when the input or the host forbids to begin
  type: list
  elements: str
  sample: ['values[0] net.core.somaxconn: value "on" is not an integer, as the kernel''s own is (4096)']
"""

from ansible_collections.slipway.mlops.plugins.module_utils._host_module import main as host_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_sysctl_values import ARGUMENTS, run


def main() -> None:
    host_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
