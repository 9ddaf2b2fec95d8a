# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs of the lab that run on the machine itself: known by recorded pid and command line, and nothing else is ever ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from slipway_lab.layout import Lab


class Process:
    """One long-running program of the lab. Its arguments name a file of this lab, so they tell it from all others."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._argv_file = lab.runtime / f"{name}.argv"
        self._pid_file = lab.runtime / f"{name}.pid"
        self._owner_file = lab.runtime / f"{name}.state"
        self._state = lab.state

    def start(self, argv: Sequence[str | Path], out: BinaryIO, stdin: int = subprocess.DEVNULL) -> None:
        """Starts the program detached from this terminal. What identifies it is written before it runs, so that a kill cannot orphan it."""
        args = [str(a) for a in argv]
        self._argv_file.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.unlink(missing_ok=True)
        self._owner_file.write_text(str(self._state))
        self._argv_file.write_text(json.dumps(args))
        script = 'echo $$ > "$0" && exec "$@"'
        p = subprocess.Popen(["sh", "-c", script, str(self._pid_file), *args], stdin=stdin, stdout=out, stderr=out, start_new_session=True, cwd="/")
        deadline = time.monotonic() + 10
        while self.pid() is None and p.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)

    def pid(self) -> int | None:
        """The recorded pid while it still runs the recorded command; a pid that another program has by now does not count."""
        try:
            pid = int(self._pid_file.read_text())
            argv = json.loads(self._argv_file.read_text())
            running = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        except (OSError, ValueError):
            return None
        return pid if running == argv else None

    def owner(self) -> str | None:
        """The state folder of the lab that started what runs, perhaps one of another clone."""
        return self._owner_file.read_text() if self.pid() and self._owner_file.exists() else None

    def alive(self) -> bool:
        return self.pid() is not None

    def end(self, patience: float = 3.0) -> None:
        pid = self.pid()
        for sig in (signal.SIGTERM, signal.SIGKILL) if pid else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
            deadline = time.monotonic() + patience
            while self.alive() and time.monotonic() < deadline:
                time.sleep(0.05)
            if not self.alive():
                break
        self._pid_file.unlink(missing_ok=True)
        self._argv_file.unlink(missing_ok=True)
        self._owner_file.unlink(missing_ok=True)
