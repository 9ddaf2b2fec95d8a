# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts MTUs back, unless somebody confirmed the change meanwhile. Imported by link_mtu, and run by itself as the timer's program:

    python3 undo.py FOLDER TOKEN SECONDS

It imports nothing of ours, since it must run when all that changed the host is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import struct
import sys
import time

_SIOCSIFMTU = 0x8922


def armed_file(folder: str, token: str) -> str:
    """Names the change that waits for its confirmation. Whoever renames this file decides how it ends, so it ends only once."""
    return os.path.join(folder, "armed-" + token + ".json")


def claim(folder: str, token: str, end: str) -> dict[str, object] | None:
    """Take the change out of the other's hands; its record, or None where it has ended already. `end` names the end, for whoever looks."""
    taken = os.path.join(folder, end + "-" + token + ".json")
    try:
        os.rename(armed_file(folder, token), taken)
    except FileNotFoundError:
        return None
    with open(taken, encoding="utf-8") as file:
        record: dict[str, object] = json.load(file)
    return record


def put_back(record: dict[str, object]) -> list[str]:
    """Set every MTU of the record; what the kernel refuses is returned, and the others are set all the same."""
    stuck = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for name, mtu in record["undo"]:  # type: ignore[attr-defined]
            try:
                fcntl.ioctl(handle, _SIOCSIFMTU, struct.pack("16si12x", name.encode(), mtu))
            except OSError as error:
                stuck.append(f"{name} {mtu}: {error.strerror}")
    return stuck


def main(folder: str, token: str, seconds: str) -> None:
    time.sleep(float(seconds))
    record = claim(folder, token, "undone")
    if record is not None:
        stuck = put_back(record)
        with open(os.path.join(folder, "last-undone.json"), "w", encoding="utf-8") as file:
            json.dump({"token": token, "at": time.time(), "stuck": stuck}, file)
        os.unlink(os.path.join(folder, "undone-" + token + ".json"))


if __name__ == "__main__":
    main(*sys.argv[1:4])
