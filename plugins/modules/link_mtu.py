#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: link_mtu
version_added: "0.1.0"
short_description: MTU of network links for a group of hosts, which comes back by itself unless it is proved to work
description:
  - A wrong MTU does not break a connection, it makes large transfers hang, often the one that would repair it. So the change is made in four steps, each a
    task for all hosts of a play. The role C(slipway.mlops.host_mtu) has them.
  - O(step=change) starts a timer on each host that puts the old MTU back after O(confirm_within) seconds, whatever happens to the connection, then sets the new
    one.
  - O(step=probe) opens a new connection, moves large data over it, and sends full-size packets that nobody may fragment to every other host of the play in the
    same network, and to O(addresses). Where one is lost, the largest size that gets through is found.
  - O(step=keep) looks at the results of all hosts. If every changed link was probed and every path carries what it shall, each link's network manager
    (systemd-networkd, netplan, NetworkManager, ifcfg files, ifupdown) is told in its own files. If not, all hosts go back at once, and the message names each
    path and what it carries.
  - O(step=confirm) stops the timers, if all hosts could write their files. If not, all go back, MTU and files.
  - Lower links are raised before those on top of them (cards, bonds, bridges, VLANs), and lowered after them.
  - A run that changes nothing spawns no process.
notes:
  - All hosts must be in one batch, with the C(linear) strategy. C(serial) is refused, since one host alone cannot prove anything about its paths.
  - The timer is a transient systemd unit, or a process of its own where systemd does not run. The files are only written once the change is proved, so a host
    that is restarted before comes up with its old MTU. The timer puts the files back, too.
options:
  step:
    description: Which of the four steps. V(undo) puts back at once what waits for its confirmation.
    type: str
    choices: [change, probe, keep, confirm, undo]
    default: change
  links:
    description: The links of this host.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the link.
        type: str
        required: true
      mtu:
        description: Largest IP packet with its header, in bytes.
        type: raw
        required: true
      may_be_unproved:
        description:
          - Keep the MTU although nothing was probed over this link. Otherwise a changed link needs an address of another host of the play in one of its
            networks, or one of O(addresses); a link without addresses of its own is proved by what stands on it.
        type: bool
        default: false
  is_persistent:
    description: The links' network manager keeps the MTU over a boot. A link that nothing configures is then an error.
    type: bool
    default: true
  confirm_within:
    description: Seconds, 5 to 3600, after which an unconfirmed change is undone.
    type: int
    default: 60
  addresses:
    description: Addresses that must be reached with full-size packets, beside those of the hosts of the play.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: An IPv4 or IPv6 address that answers to ICMP echoes.
        type: str
        required: true
      mtu:
        description: The size that must get there; that of the link by default.
        type: int
      link:
        description: The link from which it must be reached; each changed link with an address of the same kind by default.
        type: str
  cni_mtu:
    description: MTU of the pods' network. It is checked that it fits through the links with O(cni_encapsulation) around it.
    type: raw
  cni_encapsulation:
    description: What the CNI puts around a pod's packet, V(ipip) 20 bytes, V(vxlan) 50, V(wireguard) 60.
    type: str
    choices: [none, ipip, vxlan, wireguard]
    default: none
  changes:
    description: For V(probe), V(keep) and V(confirm), the results of step V(change) of all hosts, by host name.
    type: dict
  probes:
    description: For V(keep), the results of step V(probe) of all hosts, by host name.
    type: dict
  keeps:
    description: For V(confirm), the results of step V(keep) of all hosts, by host name.
    type: dict
  token:
    description: Names the change to confirm or undo. The action plugin takes it from O(changes).
    type: str
  changed_links:
    description: Names of the links to probe from. The action plugin takes them from O(changes).
    type: list
    elements: str
    default: []
  peers:
    description: Links of the other hosts, by host name. The action plugin takes them from O(changes).
    type: dict
attributes:
  check_mode: {support: full, description: Step V(change) tells what would be done; the paths cannot be proved before.}
  diff_mode: {support: full, description: Shows the links and the files of their managers.}
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
# What the role host_mtu does:
- name: Links have their MTU for the time being
  slipway.mlops.link_mtu:
    links: [{name: bond0, mtu: 9000}]
    confirm_within: 60
  register: mtu_change

- name: Full-size packets arrive
  slipway.mlops.link_mtu:
    step: probe
    links: [{name: bond0, mtu: 9000}]
    changes: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars) | map(attribute='mtu_change', default={}))) }}"
  register: mtu_probe
  when: mtu_change.pending is defined

- name: The proved MTU outlasts a boot, or is what it was
  slipway.mlops.link_mtu:
    step: keep
    links: [{name: bond0, mtu: 9000}]
    changes: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars) | map(attribute='mtu_change', default={}))) }}"
    probes: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars) | map(attribute='mtu_probe', default={}))) }}"
  register: mtu_kept
  when: mtu_change.pending is defined

- name: The MTU is confirmed, or is what it was
  slipway.mlops.link_mtu:
    step: confirm
    changes: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars) | map(attribute='mtu_change', default={}))) }}"
    keeps: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars) | map(attribute='mtu_kept', default={}))) }}"
  when: mtu_change.pending is defined
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, one phrase each.
  returned: steps change, keep, confirm and undo
  type: list
  elements: str
  sample: ["bond0: MTU 1500 -> 9000", write /etc/netplan/99-slipway-mtu.yaml]
links:
  description: Each link that is asked for or has an address, with its MTU before and after, and the manager that keeps it.
  returned: step change
  type: list
  elements: dict
  sample: [{name: bond0, before: 1500, mtu: 9000, addresses: [10.0.0.1/24], manager: netplan}]
pending:
  description: The change that waits for its confirmation.
  returned: step change, when the MTU of a link was changed
  type: dict
  sample: {token: 5f0c3a1b9d2e4f60, seconds: 60, links: [bond0]}
paths:
  description: Each path with the size that it must carry and the one that it does, in bytes.
  returned: step probe
  type: list
  elements: dict
  sample: [{link: bond0, host: w2, address: 10.0.0.2, size: 9000, carried: 1500}]
unproved:
  description: Changed links over which nothing was probed, without those that may be so.
  returned: step probe
  type: list
  elements: str
  sample: []
kept:
  description: The files that keep the MTU over a boot are written, or were there.
  returned: step keep
  type: bool
  sample: true
problems:
  description: What is wrong, one sentence each.
  returned: failure, when the input, the host or a path forbids the change
  type: list
  elements: str
  sample: ["w1 bond0 to w2 (10.0.0.2) carries 1500 bytes, not 9000"]
"""

from ansible_collections.slipway.mlops.plugins.module_utils._host_module import main as host_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_link_mtu import ARGUMENTS, RULES, run


def main() -> None:
    host_main(run, ARGUMENTS, **RULES)


if __name__ == "__main__":
    main()
