# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What this host's journal knows of filesystems that were made here. Pure.

A filesystem is noted with its UUID before mkfs starts, and as made when mkfs has ended: so an interrupted one is known as our own.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

PATH = "/var/lib/slipway/xfs_datafs.json"
MAKING, MADE = "making", "made"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@dataclass(frozen=True)
class Made:
    """One filesystem: `device` is the identity of its disk, `path` where it was to be mounted.

    `erased` is the fingerprint of what was erased for it, or ""; `held` the signatures that this had, as told to people.
    """

    uuid: str
    device: str
    path: str
    state: str
    erased: str = ""
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class Journal:
    filesystems: tuple[Made, ...] = ()

    def find(self, uuid: str) -> Made | None:
        return next((made for made in self.filesystems if made.uuid == uuid), None)

    def unfinished(self, device: str, path: str) -> Made | None:
        """The last filesystem that was begun, and not noted as made, on this device for this path.

        The path is asked for, too, because an identity may be that of several disks: the serial of an NVMe controller is that of all its namespaces,
        and a virtual disk may have none.
        """
        last = next((made for made in reversed(self.filesystems) if (made.device, made.path) == (device, path)), None)
        return last if last and last.state == MAKING else None

    def noted(self, entry: Made) -> Journal:
        """With `entry` added, or in the place of the one with its UUID."""
        if self.find(entry.uuid):
            return Journal(tuple(entry if made.uuid == entry.uuid else made for made in self.filesystems))
        return Journal((*self.filesystems, entry))


def parse(content: bytes | None) -> Journal:
    """The journal in a file's content. ValueError, as a sentence, where it is not ours or damaged."""
    if content is None:
        return Journal()
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(document, dict) or document.get("version") != 1:
        raise ValueError("is not a journal of version 1")
    try:
        entries = tuple(Made(**{**entry, "held": tuple(entry.get("held", ()))}) for entry in document["filesystems"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"is damaged ({error})") from None
    if not all(_UUID.match(made.uuid) and made.state in (MAKING, MADE) for made in entries):
        raise ValueError("is damaged (an entry without UUID or state)")
    return Journal(entries)


def dump(journal: Journal) -> bytes:
    document = {"version": 1, "filesystems": [asdict(made) for made in journal.filesystems]}
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"
