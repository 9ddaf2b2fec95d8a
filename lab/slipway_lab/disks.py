# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Data disks: sparse files attached as loop devices. They stay blank; formatting them is what the collection shows."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from slipway_lab.layout import DISKS_PER_NODE, Lab, Node
from slipway_lab.shell import output, run


def attach(lab: Lab, node: Node) -> bool:
    """Makes the node's disk files and their loop devices; True when something was missing."""
    changed = False
    attached = attachments(lab)
    for disk in range(DISKS_PER_NODE if node.disk_bytes else 0):
        file = lab.disk_file(node, disk)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            with file.open("xb") as f:
                os.ftruncate(f.fileno(), node.disk_bytes)
            changed = True
        if file not in attached:
            output(["losetup", "--find", "--show", "--nooverlap", file])
            changed = True
    return changed


def detach(lab: Lab, host: str = "") -> None:
    """Detaches this lab's loop devices (of one host, or all) and deletes their files; also those of files already deleted or moved."""
    for file, device in attachments(lab, with_deleted=True).items():
        if not host or file.name.startswith(f"{lab.name}-{host}-"):
            run(["losetup", "--detach", device])
            with contextlib.suppress(FileNotFoundError):
                file.unlink()


def attachments(lab: Lab, with_deleted: bool = False) -> dict[Path, str]:
    """Backing file -> loop device, of all files that bear this lab's name."""
    ours = re.compile(rf"{re.escape(lab.name)}-(cp|w|h)\d+-disk\d+\.img")
    found = {}
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            text = backing.read_text().rstrip("\n")
            deleted = text.endswith(" (deleted)")
            path = Path(text.removesuffix(" (deleted)"))
            if ours.fullmatch(path.name) and path.parent.name == "disks" and (with_deleted or not deleted):
                found[path] = f"/dev/{backing.parts[3]}"
    return found
