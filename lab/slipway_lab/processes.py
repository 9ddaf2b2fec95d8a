# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Programs of the lab that run on the machine itself, known by their recorded pid and start time, ended by nothing else."""

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
    """One long-running program of the lab."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._record = lab.runtime / f"{name}.process"

    def start(self, argv: Sequence[str | Path], out: BinaryIO, stdin: int = subprocess.DEVNULL) -> None:
        """Starts the program detached from this terminal and records it."""
        self._record.parent.mkdir(parents=True, exist_ok=True)
        p = subprocess.Popen([str(a) for a in argv], stdin=stdin, stdout=out, stderr=out, start_new_session=True, cwd="/")
        self._record.write_text(json.dumps({"pid": p.pid, "started": _start_time(p.pid), "argv": [str(a) for a in argv]}))

    def pid(self) -> int | None:
        """The recorded pid if that very process still runs; a pid given to another program since does not count."""
        try:
            record = json.loads(self._record.read_text())
        except (OSError, ValueError):
            return None
        started = _start_time(record["pid"])
        return record["pid"] if started is not None and started == record["started"] else None

    def alive(self) -> bool:
        return self.pid() is not None

    def end(self, patience: float = 3.0) -> None:
        pid = self.pid()
        if pid:
            for sig in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
                deadline = time.monotonic() + patience
                while self.alive() and time.monotonic() < deadline:
                    _reap(pid)
                    time.sleep(0.05)
                if not self.alive():
                    break
        self._record.unlink(missing_ok=True)


def _start_time(pid: int) -> int | None:
    """Clock ticks since boot at which the process began; None for one that is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
