# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Steps: what runs, how long it took, what it waits for; a failed one shows the end of its log and the log's path."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from slipway_lab.errors import LabError

_current = threading.local()
_print_lock = threading.Lock()
_started = time.monotonic()
HEARTBEAT_SECONDS = 20
TAIL_LINES = 25


def say(mark: str, text: str) -> None:
    """One line: time since the program began, a mark of at most six characters, the text."""
    minutes, seconds = divmod(int(time.monotonic() - _started), 60)
    with _print_lock:
        print(f"[{minutes:2d}:{seconds:02d}] {mark:6s} {text}", flush=True)


def current_log() -> Path | None:
    return getattr(_current, "log", None)


@contextlib.contextmanager
def logging_to(log: Path | None) -> Iterator[None]:
    """Commands run in this thread write to `log`."""
    before = current_log()
    _current.log = log
    try:
        yield
    finally:
        _current.log = before


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    with contextlib.suppress(OSError), log.open(errors="replace") as f:
        return [re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", line.rstrip("\n")) for line in f.readlines()[-lines:]]
    return []


def _heartbeat(name: str, waits_for: str, log: Path, done: threading.Event) -> None:
    began = time.monotonic()
    while not done.wait(HEARTBEAT_SECONDS):
        last = next((line for line in reversed(tail(log, 5)) if line.strip()), "")
        say("..", f"{name}: {time.monotonic() - began:.0f} s, waits for {waits_for}" + (f" | {last.strip()[:100]}" if last else ""))


@contextlib.contextmanager
def step(name: str, logs: Path, waits_for: str = "its commands") -> Iterator[Path]:
    """Runs the body as a named step; its commands log to a file of the step's own under `logs`."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".log")
    log.write_text("")
    log.chmod(0o600)
    say("->", name)
    done = threading.Event()
    beat = threading.Thread(target=_heartbeat, args=(name, waits_for, log, done), daemon=True)
    beat.start()
    began = time.monotonic()
    try:
        with logging_to(log):
            yield log
    except BaseException as e:
        took = time.monotonic() - began
        if not getattr(e, "shown", False):
            say("FAILED", f"{name} after {took:.1f} s")
            with _print_lock:
                for line in tail(log):
                    print(f"         | {line}", file=sys.stderr)
                print(f"         log: {log}", file=sys.stderr, flush=True)
            if isinstance(e, LabError):
                e.shown = True  # type: ignore[attr-defined]  # a mark for whoever catches it next
        raise
    else:
        say("ok", f"{name}  {time.monotonic() - began:.1f} s")
    finally:
        done.set()
