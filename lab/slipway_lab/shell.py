# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running other programs: argument lists, output into the step's log, a failure as one clear message."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slipway_lab.errors import LabError
from slipway_lab.progress import current_log


def run(
    argv: Sequence[str | Path],
    *,
    check: bool = True,
    stdin: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    quiet: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; `stdin` is a text or the path of a file. With `quiet` nothing goes to the log (secrets, big JSON)."""
    args = [str(a) for a in argv]
    log = current_log()
    if log and not quiet:
        _append(log, "$ " + shlex.join(args) + "\n")
    try:
        with contextlib.ExitStack() as files:
            feed: dict[str, Any] = {"stdin": files.enter_context(stdin.open("rb"))} if isinstance(stdin, Path) else {"input": (stdin or "").encode()}
            # stderr goes straight to the log, so that a long build can be followed while it runs.
            err = files.enter_context(log.open("ab")) if log and not quiet else subprocess.PIPE
            p = subprocess.run(args, **feed, stdout=subprocess.PIPE, stderr=err, env=_env(env), cwd=cwd, timeout=timeout, check=False, preexec_fn=_end_with_us)
        out, errors = p.stdout.decode(errors="replace"), (p.stderr or b"").decode(errors="replace")
        if log and not quiet:
            _append(log, out)
    except FileNotFoundError as e:
        raise LabError(f"{args[0]}: no such program here; `lab/lab up` installs what the lab needs") from e
    except subprocess.TimeoutExpired as e:
        raise LabError(f"{shlex.join(args[:4])} ...: no end after {timeout:.0f} s") from e
    if check and p.returncode != 0:
        hint = errors.strip().splitlines()[-3:] if errors else []
        raise LabError(f"{shlex.join(args)[:300]}: exit status {p.returncode}" + "".join(f"\n  {line}" for line in hint))
    return subprocess.CompletedProcess(args, p.returncode, out, errors)


def output(argv: Sequence[str | Path], **kwargs: object) -> str:
    """Standard output of a program that must succeed."""
    return run(argv, **kwargs).stdout.strip()  # type: ignore[arg-type]  # run's own options, passed on


def succeeds(argv: Sequence[str | Path], **kwargs: object) -> bool:
    return run(argv, check=False, **{"quiet": True, **kwargs}).returncode == 0  # type: ignore[arg-type]  # run's own options, passed on


_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _end_with_us() -> None:
    """In the child: SIGTERM when the lab's program dies, so that a killed one leaves nothing at work behind its successor's back."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _append(log: Path, text: str) -> None:
    with log.open("a") as f:
        f.write(text)


def _env(extra: Mapping[str, str] | None) -> dict[str, str] | None:
    return {**os.environ, **extra} if extra else None
