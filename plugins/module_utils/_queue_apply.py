# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the request queues of disks from /sys and carries out a plan for them. No process is spawned: udevd sees a new rule file by itself."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence

from ansible_collections.slipway.mlops.plugins.module_utils import _files
from ansible_collections.slipway.mlops.plugins.module_utils._block_probe import Device, Host
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed
from ansible_collections.slipway.mlops.plugins.module_utils._queue_plan import ATTRIBUTES, NVME, ROTATIONAL, SSD, Disk, Plan, Queue, chosen, glob_safe

FOLDERS = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")
_SETS_QUEUE = re.compile(r"ATTR\{queue/(" + "|".join(ATTRIBUTES) + r")\}\s*=(?!=)")


def queues(host: Host, device: Device) -> Iterator[Queue]:
    """The queues behind a device: of its disk, where it is a partition; of itself and all disks below, where it stands on others."""
    if device.parent:
        yield from queues(host, host.device(device.parent))
        return
    yield _queue(host, device)
    for name in device.slaves:
        yield from queues(host, host.device(name))


def apply(plan: Plan, file: str, content: bytes | None, sys: str = "/sys") -> None:
    """Set every queue and read it back, then write the rule file. Whatever fails, the queues get their old values and the file stays."""
    touched: list[Disk] = []
    try:
        for disk in plan.disks:
            if disk.changes:
                touched.append(disk)
                _set(sys, disk, disk.wanted)
        _files.replace(file, plan.rules, content)
    except (OSError, Failed) as error:
        raise Failed(f"{_words(error)}. {_put_back(sys, touched)} {file} was not changed.") from error


def later_rules(file: str, root: str = "") -> list[str]:
    """As "path line N", the rules that are applied after ours and set the same attributes."""
    chosen_files: dict[str, str] = {}
    for folder in FOLDERS:
        for path in glob.glob(f"{root}{folder}/*.rules"):
            chosen_files.setdefault(os.path.basename(path), path)
    found = []
    for name in sorted(chosen_files):
        if name > os.path.basename(file):
            text = (_files.read(chosen_files[name]) or b"").decode("utf-8", "replace")
            found += [f"{chosen_files[name]} line {number}" for number, line in enumerate(text.splitlines(), 1) if _SETS_QUEUE.search(line.partition("#")[0])]
    return found


def _queue(host: Host, device: Device) -> Queue:
    disk = f"{host.sys}/class/block/{device.name}"
    match, stable = _match(disk, device.name)
    return Queue(
        name=device.name,
        kind=NVME if device.name.startswith("nvme") else ROTATIONAL if device.rotational else SSD,
        attributes={name: _text(f"{disk}/queue/{name}") for name in ATTRIBUTES if os.path.exists(f"{disk}/queue/{name}")},
        match=match,
        stable=stable,
        stacked=bool(device.slaves),
        bio_based=not os.path.isdir(f"{disk}/mq"),
        max_hw_sectors_kb=int(_text(f"{disk}/queue/max_hw_sectors_kb") or 0),
        tags=int(_text(f"{disk}/mq/0/nr_tags") or 0),
        page_kb=os.sysconf("SC_PAGE_SIZE") >> 10,
    )


def _match(disk: str, name: str) -> tuple[str, bool]:
    """What names the disk for udev: an attribute of its own or of the SCSI device above, which ATTRS finds."""
    for attribute in ("wwid", "serial"):
        value = _text(f"{disk}/{attribute}") or _text(f"{disk}/device/{attribute}")
        if value:
            return f'ATTRS{{{attribute}}}=="{glob_safe(value)}"', True
    for attribute in ("dm/uuid", "md/uuid", "loop/backing_file"):
        value = _text(f"{disk}/{attribute}")
        if value:
            return f'ATTR{{{attribute}}}=="{glob_safe(value)}"', True
    return f'KERNEL=="{name}"', False


def _set(sys: str, disk: Disk, values: dict[str, str]) -> None:
    # Each is looked at again before it is written: a new scheduler has set nr_requests anew.
    for attribute in ATTRIBUTES:
        if attribute in values and _now(sys, disk.name, attribute) != values[attribute]:
            path = f"{sys}/class/block/{disk.name}/queue/{attribute}"
            try:
                handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
                try:
                    os.write(handle, values[attribute].encode())
                finally:
                    os.close(handle)
            except OSError as error:
                took = f"{attribute} {values[attribute]}: {error.strerror} (it has {_now(sys, disk.name, attribute)})"
                raise Failed(f"{disk.name}: the kernel does not take {took}") from error
            now = _now(sys, disk.name, attribute)
            if now != values[attribute]:
                raise Failed(f"{disk.name}: {attribute} was set to {values[attribute]}, and the kernel says {now}")


def _put_back(sys: str, touched: Sequence[Disk]) -> str:
    stuck = []
    for disk in reversed(touched):
        try:
            _set(sys, disk, disk.before)
        except (OSError, Failed) as error:
            stuck.append(_words(error))
    return "Not put back: " + "; ".join(stuck) + "." if stuck else "Every queue is as it was."


def _words(error: Exception) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


def _now(sys: str, name: str, attribute: str) -> str:
    value = _text(f"{sys}/class/block/{name}/queue/{attribute}")
    return chosen(value) if attribute == "scheduler" else value


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
