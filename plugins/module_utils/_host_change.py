# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes files of a daemon, restarts it, and puts the files back unless the change is confirmed. Standard library only.

A journal on disk makes this safe to kill at any point: it is written before the first file and removed when the daemon has been
proven with the new files. A later run that finds a journal knows that a restart is still owed, and what to put back.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from . import _files
from ._host_input import Failed

JOURNALS = "/var/lib/slipway"


@dataclass(frozen=True)
class Edit:
    """One file as it is and as it shall be; None stands for an absent file. `new_mode` is the mode of a file that is not there yet."""

    path: str
    before: bytes | None
    after: bytes | None
    new_mode: int = 0o644


class Journal:
    """The unconfirmed change of one daemon on this host."""

    def __init__(self, name: str, folder: str = JOURNALS) -> None:
        self._folder = folder
        self._path = os.path.join(folder, name + ".json")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time changes this daemon; a second one fails at once."""
        os.makedirs(self._folder, mode=0o755, exist_ok=True)
        handle = os.open(self._path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failed(f"{self._path} is locked: another run is changing this daemon right now.") from None
            yield
        finally:
            os.close(handle)

    def pending(self) -> list[Edit]:
        """What an unconfirmed change did: `before` is what to put back, `after` what it wrote. Empty where nothing is owed."""
        content = _files.read(self._path)
        if content is None:
            return []
        return [Edit(file["path"], _decoded(file["before"]), _decoded(file["after"]), file["new_mode"]) for file in json.loads(content)["files"]]

    def about(self) -> dict[str, str]:
        """What `begin` was told about the daemon, for whoever takes the change back without looking at the host again."""
        return dict(json.loads(_files.read(self._path) or b"{}").get("about", {}))

    def begin(self, edits: Sequence[Edit], about: dict[str, str]) -> None:
        """Record what is about to be written.

        What an earlier unconfirmed change replaced stays the thing to put back, unless somebody has written the file since.
        """
        first = {edit.path: edit for edit in self.pending() if _files.read(edit.path) in (edit.before, edit.after)}
        merged = {edit.path: Edit(edit.path, first[edit.path].before if edit.path in first else edit.before, edit.after, edit.new_mode) for edit in edits}
        files = [
            {"path": edit.path, "before": _encoded(edit.before), "after": _encoded(edit.after), "new_mode": edit.new_mode}
            for edit in {**first, **merged}.values()
        ]
        _files.write_atomic(self._path, json.dumps({"about": about, "files": files}).encode(), mode=0o600)

    def confirm(self) -> None:
        """The change is proven: nothing is left to put back."""
        _files.remove(self._path)

    def put_back(self) -> list[str]:
        """Restore every file that still is what we wrote; the paths that somebody else has changed since are left and returned."""
        foreign = []
        for edit in self.pending():
            now = _files.read(edit.path)
            if now == edit.before:
                continue
            if now != edit.after:
                foreign.append(edit.path)
            else:
                write(Edit(edit.path, now, edit.before, edit.new_mode))
        return foreign


def write(edit: Edit) -> None:
    """Make the file what `after` says; folders on the way are made."""
    if edit.after is None:
        _files.remove(edit.path)
        return
    os.makedirs(os.path.dirname(os.path.realpath(edit.path)), exist_ok=True)
    _files.write_atomic(edit.path, edit.after, new_mode=edit.new_mode)


def change(
    journal: Journal,
    edits: Sequence[Edit],
    about: dict[str, str],
    restart: Callable[[], None],
    prove: Callable[[], str],
    log: Callable[[], str],
) -> None:
    """Write, restart, prove. Failed, with the files put back and the daemon restarted with them, where `prove` gives a reason.

    On return the journal is still open: whoever asked confirms it, or takes the change back.
    """
    journal.begin(edits, about)
    for edit in edits:
        write(edit)
    try:
        restart()
        why = prove()
    except (OSError, subprocess.SubprocessError, Failed) as error:
        why = str(error)
    if why:
        lines = log()
        back = take_back(journal, restart, prove)
        raise Failed("\n".join(filter(None, [why, back, lines])))


def take_back(journal: Journal, restart: Callable[[], None], prove: Callable[[], str]) -> str:
    """Put the files back and restart the daemon with them; a sentence on how that went. The journal is closed only if it went well."""
    names = ", ".join(edit.path for edit in journal.pending()) or "no file"
    foreign = journal.put_back()
    try:
        restart()
        why = prove()
    except (OSError, subprocess.SubprocessError, Failed) as error:
        why = str(error)
    left = " Left alone, because somebody else has changed it since: {}.".format(", ".join(foreign)) if foreign else ""
    if why:
        return f"The old content was put back ({names}), and with it the daemon does not come up either: {why}{left}"
    journal.confirm()
    return f"The old content was put back ({names}) and the daemon runs with it.{left}"


def restart_unit(unit: str) -> None:
    """`systemctl restart`, after a reset of the failure counter that would make systemd refuse it."""
    _run(["systemctl", "reset-failed", unit], check=False)
    _run(["systemctl", "restart", unit])


def unit_log(unit: str, since: float, lines: int = 12) -> str:
    """The unit's last lines since a wall-clock time, without control characters; "" where there is no journal."""
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            ["journalctl", "--no-pager", "--quiet", "-o", "cat", "-n", str(lines), "-u", unit, "--since", f"@{since:.0f}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    text = done.stdout.decode("utf-8", "replace")
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n").strip()


def until(check: Callable[[], str], seconds: float, pause: float = 0.25) -> str:
    """Ask `check` until it has no reason left; the last reason when the time is over."""
    end = time.monotonic() + seconds
    while True:
        why = check()
        if not why or time.monotonic() > end:
            return why
        time.sleep(pause)


def digest(content: bytes | None) -> str:
    """SHA-256 of a file's content, "" for an absent one."""
    return hashlib.sha256(content).hexdigest() if content is not None else ""


def _run(argv: list[str], check: bool = True) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120)  # pylint: disable=ansible-bad-function
    if check and done.returncode:
        raise Failed("{} failed ({}): {}".format(" ".join(argv), done.returncode, done.stdout.decode("utf-8", "replace").strip()))


def _encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
