#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: xfs_datafs
version_added: "0.1.0"
short_description: Make, mount and keep the XFS data filesystems of a host
description:
  - Takes all data disks of a host in one call. A disk that is proved blank gets an XFS, an XFS of ours is kept, and each is mounted by UUID, now and
    at every boot.
  - Nothing is ever erased because of a default, a boolean or a prompt. A disk that holds anything is refused with what it holds; O(disks[].erase) of
    the inventory names the disk and its content to give both up, and the refusal prints the line.
  - All problems of all disks are found before any disk is touched. Then every C(mkfs.xfs) runs at once, C(/etc/fstab) is written once, atomically, with
    every foreign line as it was, and the filesystems are mounted.
  - An interrupted run is finished by the next one. The UUID of a filesystem is noted in C(/var/lib/slipway/xfs_datafs.json) before C(mkfs.xfs) starts.
  - The directory under a mount is made immutable, so that nothing is written to the system's disk while a data disk is missing.
  - Where nothing is to change, no process is started and no disk is read.
options:
  disks:
    description: The data disks of this host. An empty list is nothing to do.
    type: list
    elements: dict
    required: true
    suboptions:
      device:
        description:
          - The disk or partition - a path below C(/dev) (best C(/dev/disk/by-id/...)), a kernel name, C(UUID=) of an XFS that is there, C(SERIAL=), C(WWN=),
            C(ID=) for a name in C(/dev/disk/by-id), or a bare serial or WWN.
        type: str
        required: true
      path:
        description: Where it is mounted. Absolute and normalised, not inside another disk's path, not a directory of the system.
        type: str
        required: true
      state:
        description: As O(state), for this disk.
        type: str
        choices: [mounted, unmounted, absent]
      options:
        description: As O(options), for this disk.
        type: list
        elements: str
      expected_size:
        description: Refuse the disk if its size differs by more than 2 percent, for example V(7.68T) (decimal, as disks are sold) or V(7Ti).
        type: str
      adopt:
        description: UUID of an XFS with data that was not made here, to be kept and mounted.
        type: str
      erase:
        description:
          - What may be erased, as a refusal prints it - C(device), the serial, WWN or other identity of this very disk, and C(content), the fingerprint of
            what it holds. Both must fit, so the line is spent once the disk is erased.
          - "The identity is the disk's serial, else its WWN, else what it is made of (C(loop:FILE), C(dm:UUID), C(md:UUID)), else its first name in
            C(/dev/disk/by-id); a partition adds C(-partN) to that of its disk."
          - Disks in use and members of LVM, md RAID, bcache, ZFS, DRBD or multipath are never erased.
        type: raw
  options:
    description: Mount options, with those for fstab alone (C(nofail), C(x-systemd...)). Checked against the running kernel before anything is touched.
    type: list
    elements: str
    default:
      - noatime
      - nodiratime
      - logbufs=8
      - logbsize=256k
      - largeio
      - inode64
      - swalloc
      - allocsize=131072k
      - nofail
  state:
    description:
      - V(mounted) - the filesystem is there, declared in fstab and mounted.
      - V(unmounted) - it is not mounted; fstab and the data stay.
      - V(absent) - it is not mounted and not in fstab, and its mount point is gone if it is empty; the data stay.
    type: str
    choices: [mounted, unmounted, absent]
    default: mounted
  owner:
    description: Owner of the filesystem's root directory, a name or number. Left as it is when empty.
    type: str
    default: ""
  group:
    description: Group of the filesystem's root directory, a name or number. Left as it is when empty.
    type: str
    default: ""
  mode:
    description: Mode of the filesystem's root directory, octal with a zero in front, in quotes, for example V(0755). Left as it is when empty.
    type: str
    default: ""
  selinux_context:
    description: SELinux context of the filesystem's root directory, for example V(system_u:object_r:container_file_t:s0). Left as it is when empty.
    type: str
    default: ""
  label:
    description:
      - Label of filesystems made here, at most 12 characters. It is also the mark by which the disks of a reinstalled host are known as ours - an XFS
        with this label is mounted without O(disks[].adopt). Choose one that nobody else uses, such as the name of the cluster.
    type: str
    default: ""
  grow:
    description: Grow a filesystem to its device where the device has become larger.
    type: bool
    default: false
  erasures_max:
    description: Refuse a run that would erase more disks of this host.
    type: int
    default: 1
  oldest_kernel:
    description: The oldest kernel that must be able to mount a new filesystem, as V(major.minor); newer features are left out.
    type: str
    default: "5.14"
attributes:
  check_mode: {support: full, description: "Says what would be done, with the very UUIDs."}
  diff_mode: {support: full, description: "Shows the lines of fstab that change, and what happens to each disk."}
notes:
  - Needs root, and C(mkfs.xfs) (package xfsprogs) where a filesystem is to be made.
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: The data disks are XFS and mounted
  slipway.mlops.xfs_datafs:
    label: ais-lab1
    disks:
      - device: /dev/disk/by-id/nvme-SAMSUNG_MZQL27T6HBLA_S6CKNE0T100001
        path: /ais/disk0
        expected_size: 7.68T
      - device: WWN=0x5000c500a1b2c3d4
        path: /ais/disk1

- name: One disk is given up with all that is on it, as the refusal told
  slipway.mlops.xfs_datafs:
    disks:
      - device: /dev/disk/by-id/ata-ST8000NM0055_ZA1ABCDE
        path: /ais/disk2
        erase: {device: ZA1ABCDE, content: gpt-9d0f5c6f2a7e4b31}
"""

RETURN = r"""
disks:
  description: Each disk in the order of the list, as read back at the end (in check mode as it is).
  returned: once the disks were looked at, also by a refusal or failure
  type: list
  elements: dict
  sample:
    - device: /dev/disk/by-id/nvme-SAMSUNG_MZQL27T6HBLA_S6CKNE0T100001
      name: nvme0n1
      identity: S6CKNE0T100001
      path: /ais/disk0
      was: blank
      actions: [format, fstab, guard, mount]
      uuid: 5b0f6a2e-1f0c-5c55-8a3d-8d0e0a2f6c11
      size_bytes: 7681501126656
      mounted: true
      options: [rw, noatime, nodiratime]
      pending: []
actions:
  description: What was done, or in check mode would be, one sentence for each disk.
  returned: once the disks were looked at, also by a refusal or failure
  type: list
  elements: str
  sample: ["format /dev/disk/by-id/nvme-SAMSUNG_MZQL27T6HBLA_S6CKNE0T100001 as XFS (7.682 TB), declare it in fstab, mount it on /ais/disk0"]
erased:
  description: Kernel names of the disks that were, or in check mode would be, erased.
  returned: once the disks were looked at, also by a refusal or failure
  type: list
  elements: str
  sample: []
problems:
  description: What is wrong, one sentence each.
  returned: failure, when the input or the host forbids to begin
  type: list
  elements: str
  sample: ["disks[0] /dev/sdb: holds ext4"]
seconds:
  description: Time that the module took.
  returned: success
  type: float
  sample: 0.012
"""

from ansible_collections.slipway.mlops.plugins.module_utils._host_module import main as host_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_xfs_datafs import ARGUMENTS, run


def main() -> None:
    host_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
