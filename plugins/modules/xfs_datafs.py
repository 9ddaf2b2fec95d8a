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
  returned: when the arguments are valid
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
  returned: when the arguments are valid
  type: list
  elements: str
  sample: ["format /dev/disk/by-id/nvme-SAMSUNG_MZQL27T6HBLA_S6CKNE0T100001 as XFS (7.682 TB), declare it in fstab, mount it on /ais/disk0"]
erased:
  description: Kernel names of the disks that were, or in check mode would be, erased.
  returned: when the arguments are valid
  type: list
  elements: str
  sample: []
seconds:
  description: Time that the module took.
  returned: always
  type: float
  sample: 0.012
"""

import grp
import os
import pwd
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.mlops.plugins.module_utils import _files, _xfs_apply, _xfs_journal, _xfs_observe, _xfs_plan


def main() -> None:
    started = time.monotonic()
    state = {"type": "str", "choices": ["mounted", "unmounted", "absent"]}
    module = AnsibleModule(
        argument_spec={
            "disks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "device": {"type": "str", "required": True},
                    "path": {"type": "str", "required": True},
                    "state": state,
                    "options": {"type": "list", "elements": "str"},
                    "expected_size": {"type": "str"},
                    "adopt": {"type": "str"},
                    "erase": {"type": "raw"},
                },
            },
            "options": {
                "type": "list",
                "elements": "str",
                "default": ["noatime", "nodiratime", "logbufs=8", "logbsize=256k", "largeio", "inode64", "swalloc", "allocsize=131072k", "nofail"],
            },
            "state": {**state, "default": "mounted"},
            "owner": {"type": "str", "default": ""},
            "group": {"type": "str", "default": ""},
            "mode": {"type": "str", "default": ""},
            "selinux_context": {"type": "str", "default": ""},
            "label": {"type": "str", "default": ""},
            "grow": {"type": "bool", "default": False},
            "erasures_max": {"type": "int", "default": 1},
            "oldest_kernel": {"type": "str", "default": "5.14"},
        },
        supports_check_mode=True,
    )
    result = {"changed": False, "actions": [], "disks": [], "erased": []}

    def fail(message: str) -> None:
        module.fail_json(msg=message, seconds=round(time.monotonic() - started, 3), **result)

    if not module.params["disks"]:
        module.exit_json(msg="nothing to do: no data disks are declared for this host", seconds=round(time.monotonic() - started, 3), **result)
    disks, problems = _xfs_plan.declared(module.params["disks"], module.params["options"], module.params["state"], _xfs_observe.kernel_version())
    settings, more = _settings(module.params)
    if os.geteuid() != 0:
        more.append("must run as root (become: true)")
    if problems + more:
        fail(_refusal(problems + more))
    try:
        seen, facts, plan = _planned(disks, settings)
        result.update(_report(plan, seen, module))
        # What looks busy may be the mkfs of another run: only a look while nobody else changes anything refuses for good.
        if plan.problems and (module.check_mode or not os.path.exists(_xfs_apply.LOCK)):
            fail(_refusal(plan.problems))
        if (plan.changed or plan.problems) and not module.check_mode:
            with _xfs_apply.locked() as lock:
                # Again, now that nobody else changes anything.
                seen, facts, plan = _planned(disks, settings)
                result.update(_report(plan, seen, module))
                if plan.problems:
                    fail(_refusal(plan.problems))
                before = facts.fstab
                outcome = _xfs_apply.apply(plan, settings, lock)
            for warning in outcome.warnings:
                module.warn(warning)
            seen, facts, _rest = _planned(disks, settings)
            result.update(_report(plan, seen, module, fstab=(before, facts.fstab)))
            if outcome.failed:
                fail("{} of {} disks failed:\n- {}".format(len(outcome.broken), len(disks), "\n- ".join(outcome.failed)))
    except _xfs_apply.Failed as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or 'the host'} cannot be read or written: {error.strerror}")
    for disk in result["disks"]:
        for pending in disk["pending"]:
            module.warn("{}: {}".format(disk["path"], pending))
    module.exit_json(seconds=round(time.monotonic() - started, 3), **result)


def _planned(disks, settings):
    content = _files.read(_xfs_journal.PATH)
    try:
        journal = _xfs_journal.parse(content)
    except ValueError as error:
        raise _xfs_apply.Failed(f"{_xfs_journal.PATH} {error}; nothing was touched. Restore or remove it") from None
    seen, facts = _xfs_observe.look(disks, journal)
    return seen, facts, _xfs_plan.plan(disks, seen, facts, settings)


def _report(plan, seen, module, fstab=None):
    """The result: `plan` tells what is done, `seen` what is there now; `fstab` is (before, after) of the file once it is done."""
    rows = []
    for step, sight in zip(plan.steps, seen):
        rows.append(
            {
                "device": step.disk.device,
                "name": step.device.name if step.device else "",
                "identity": step.device.identity if step.device else "",
                "path": step.disk.path,
                "was": step.was,
                "actions": step.actions,
                "uuid": sight.geometry.uuid if sight.settled and sight.geometry else step.uuid,
                "size_bytes": step.device.size if step.device else 0,
                "mounted": sight.settled,
                "options": list(sight.on_path.options) if sight.settled and sight.on_path else [],
                "pending": list(step.pending),
            }
        )
    result = {
        "changed": plan.changed and not plan.problems,
        "actions": [] if plan.problems else [str(step) for step in plan.steps if step.actions],
        "disks": rows,
        "erased": [step.device.name for step in plan.steps if step.erased and step.device],
    }
    if module._diff:
        before, after = fstab or (_files.read(_xfs_observe.FSTAB) or b"", plan.fstab)
        result["diff"] = [_files.diff_lines(_xfs_observe.FSTAB, before, after)] if before != after else []
        for step in plan.steps:
            if step.actions:
                name = f"{step.disk.path} ({step.device if step.device else step.disk.device})"
                after = "{} (UUID {})\n".format(", ".join(step.actions), step.uuid)
                result["diff"].append({"before_header": name, "after_header": name, "before": step.was + "\n", "after": after})
    return result


def _settings(params):
    problems = []

    def number(option, look_up):
        value = params[option]
        if value == "" or value.isdigit():
            return int(value) if value else None
        try:
            return look_up(value)
        except KeyError:
            problems.append("{0}: there is no {0} {1!r} on this host".format(option if option == "group" else "user", value))
            return None

    owner = number("owner", lambda name: pwd.getpwnam(name).pw_uid)
    group = number("group", lambda name: grp.getgrnam(name).gr_gid)
    mode = params["mode"]
    # The zero is what tells: YAML reads 0770 without quotes as an octal number, and gives us "504".
    if mode and not re.match(r"0[0-7]{3,4}\Z", mode):
        problems.append(f"mode: {mode!r} is not an octal mode; put it in quotes, like '0755'")
        mode = ""
    if not re.match(r"[A-Za-z0-9._-]{0,12}\Z", params["label"]):
        problems.append("label: {!r} is not a label of XFS (at most 12 letters, digits, '.', '_', '-')".format(params["label"]))
    if not re.match(r"[A-Za-z0-9_.:,-]*\Z", params["selinux_context"]):
        problems.append("selinux_context: {!r} is not a context".format(params["selinux_context"]))
    kernel = re.match(r"(\d+)\.(\d+)\Z", params["oldest_kernel"])
    if not kernel:
        problems.append("oldest_kernel: {!r} is not major.minor, like '5.14'".format(params["oldest_kernel"]))
    return _xfs_plan.Settings(
        owner=owner,
        group=group,
        mode=int(mode, 8) if mode else None,
        selinux_context=params["selinux_context"],
        grow=params["grow"],
        label=params["label"],
        erasures_max=params["erasures_max"],
        oldest_kernel=(int(kernel.group(1)), int(kernel.group(2))) if kernel else (0, 0),
    ), problems


def _refusal(problems) -> str:
    return "{} problem{}; nothing was touched on this host:\n- {}".format(len(problems), "" if len(problems) == 1 else "s", "\n- ".join(problems))


if __name__ == "__main__":
    main()
