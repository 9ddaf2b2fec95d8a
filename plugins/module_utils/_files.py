# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of a host, read and replaced whole. Standard library only: this runs on the hosts, too."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import stat
import tempfile
import time


def under(root: str, path: str) -> str:
    """A path of a host whose file system begins at `root`: "/" but in tests."""
    return os.path.join(root, path.lstrip("/"))


def unrooted(root: str, path: str) -> str:
    """The way back from `under`: what a host whose file system begins at `root` calls this path."""
    return "/" + os.path.relpath(path, root)


def read(path: str) -> bytes | None:
    """The content of `path`, or None where there is no such file. Other errors are the caller's."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def text(root: str, path: str) -> str:
    """The content of a host's file as text, "" where it cannot be read."""
    try:
        with open(under(root, path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def write_atomic(path: str, content: bytes, mode: int | None = None, new_mode: int = 0o644) -> None:
    """Replace `path` so that a reader, or a power cut, sees the old content or the new, never a part.

    Owner, mode and extended attributes (SELinux label) of an existing file are kept; `mode` sets the mode in any case,
    `new_mode` is that of a file that was not there. A symbolic link stays one: its target is replaced.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        old: os.stat_result | None = os.stat(target)
    except FileNotFoundError:
        old = None
    # mkstemp makes the file 0600: nobody reads a secret in the moment before the mode is set.
    handle, temporary = tempfile.mkstemp(prefix="." + os.path.basename(target) + ".", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            if old is not None:
                os.fchown(file.fileno(), old.st_uid, old.st_gid)
                _copy_attributes(target, temporary)
            os.fchmod(file.fileno(), mode if mode is not None else stat.S_IMODE(old.st_mode) if old else new_mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(folder)


def replace(path: str, content: bytes, before: bytes | None) -> None:
    """Make a file that we own whole what it shall be: nothing where it is so, no file where it has no content."""
    if content == (before or b""):
        return
    if content:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomic(path, content)
    else:
        remove(path)


def remove(path: str) -> bool:
    """Remove a file for good, also over a power cut; False where it was not there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    sync_folder(os.path.dirname(os.path.realpath(path)))
    return True


def back_up(path: str) -> str:
    """Copy `path` to `path.<UTC time>~` with its mode and owner, and give the copy's name; one of the same second is kept."""
    stem = f"{path}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (f"{stem}~" if number == 1 else f"{stem}-{number}~" for number in itertools.count(1))
    copy = next(name for name in names if not os.path.lexists(name))
    content = read(path)
    if content is None:
        raise FileNotFoundError(path)
    old = os.stat(path)
    write_atomic(copy, content, mode=stat.S_IMODE(old.st_mode))
    os.chown(copy, old.st_uid, old.st_gid)
    return copy


def diff(path: str, before: bytes | None, after: bytes | None) -> dict[str, str]:
    """What Ansible prints for `--diff`: whole contents, an absent file as an empty one that is named so."""
    return {
        "before": (before or b"").decode("utf-8", "replace"),
        "after": (after or b"").decode("utf-8", "replace"),
        "before_header": path if before is not None else path + " (absent)",
        "after_header": path if after is not None else path + " (absent)",
    }


def diff_lines(path: str, before: bytes | None, after: bytes | None) -> dict[str, str]:
    """As `diff`, with only the lines that differ: a file of others may hold passwords beside ours."""
    whole = diff(path, before, after)
    old, new = whole["before"].splitlines(keepends=True), whole["after"].splitlines(keepends=True)
    bare = difflib.SequenceMatcher(None, [line.rstrip("\r\n") for line in old], [line.rstrip("\r\n") for line in new], autojunk=False)
    changes = [code for code in bare.get_opcodes() if code[0] != "equal"]
    whole["before"] = "".join(line for _tag, start, end, _start, _end in changes for line in old[start:end])
    whole["after"] = "".join(line for _tag, _start, _end, start, end in changes for line in new[start:end])
    return whole


def sync_folder(folder: str) -> None:
    """Make a rename or an unlink in `folder` last."""
    handle = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_attributes(source: str, target: str) -> None:
    if not hasattr(os, "listxattr"):  # not Linux: a developer's laptop runs the unit tests
        return
    for name in os.listxattr(source):
        # A file system without this attribute, or a right that we lack: the content matters more.
        with contextlib.suppress(OSError):
            os.setxattr(target, name, os.getxattr(source, name))
