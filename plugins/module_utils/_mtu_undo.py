# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts MTUs and the files that keep them back, unless somebody confirmed the change meanwhile. Imported by link_mtu, and run by itself as the timer's program:

    python3 undo.py FOLDER TOKEN SECONDS

It imports nothing of ours, since it must run when all that changed the host is gone.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

_SIOCSIFMTU = 0x8922


def armed_file(folder: str, token: str) -> str:
    """Names the change that waits for its confirmation. Whoever renames this file decides how it ends, so it ends only once."""
    return os.path.join(folder, "armed-" + token + ".json")


def files_file(folder: str, token: str) -> str:
    """Names the files that keep the change over a boot: [path, before or null, after, command that loads it], contents in base64."""
    return os.path.join(folder, "files-" + token + ".json")


def claim(folder: str, token: str, end: str) -> dict[str, object] | None:
    """Take the change out of the other's hands; its record, or None where it has ended already. `end` names the end, for whoever looks."""
    taken = os.path.join(folder, end + "-" + token + ".json")
    try:
        os.rename(armed_file(folder, token), taken)
    except FileNotFoundError:
        return None
    with open(taken, encoding="utf-8") as file:
        record: dict[str, object] = json.load(file)
    try:
        with open(files_file(folder, token), encoding="utf-8") as file:
            record["files"] = json.load(file)
    except FileNotFoundError:
        pass  # nothing was written yet
    return record


def put_back(record: dict[str, object]) -> list[str]:
    """Set every MTU of the record and restore every file; what does not go is returned, and the others are put back all the same."""
    stuck = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for name, mtu in record["undo"]:  # type: ignore[attr-defined]
            try:
                fcntl.ioctl(handle, _SIOCSIFMTU, struct.pack("16si12x", name.encode(), mtu))
            except OSError as error:
                stuck.append(f"{name} {mtu}: {error.strerror}")
    for path, before, after, load in record.get("files", []):  # type: ignore[attr-defined]
        try:
            if restore(path, None if before is None else base64.b64decode(before), base64.b64decode(after)) and load:
                subprocess.run(load, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=60)  # pylint: disable=ansible-bad-function
        except (OSError, subprocess.SubprocessError) as error:
            stuck.append(f"{path}: {error}")
    return stuck


def restore(path: str, before: bytes | None, after: bytes) -> bool:
    """Make the file what it was, with its owner, mode and label. False where it is not what we made of it: that is somebody else's then."""
    path = os.path.realpath(path)
    try:
        with open(path, "rb") as file:
            now = file.read()
    except FileNotFoundError:
        return False
    if now != after:
        return False
    if before is None:
        os.unlink(path)
        return True
    copy = path + ".slipway~"  # an end that every network manager passes over
    with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(before)
        file.flush()
        os.fsync(file.fileno())
    old = os.stat(path)
    os.chown(copy, old.st_uid, old.st_gid)
    shutil.copystat(path, copy)
    os.replace(copy, path)
    return True


def main(folder: str, token: str, seconds: str) -> None:
    time.sleep(float(seconds))
    record = claim(folder, token, "undone")
    if record is not None:
        stuck = put_back(record)
        with open(os.path.join(folder, "last-undone.json"), "w", encoding="utf-8") as file:
            json.dump({"token": token, "at": time.time(), "stuck": stuck}, file)
        for path in (os.path.join(folder, "undone-" + token + ".json"), files_file(folder, token)):
            if os.path.exists(path):
                os.unlink(path)


if __name__ == "__main__":
    main(*sys.argv[1:4])
