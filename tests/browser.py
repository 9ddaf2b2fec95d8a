# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real browser without a window: Debian's Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


def chromium() -> str:
    path = shutil.which("chromium")
    assert path, "the browser tests need Debian's chromium: apt-get install --no-install-recommends chromium fonts-dejavu-core"
    return path


def screenshot(url: str, target: Path, width: int = 1200, height: int = 1600, dark: bool = False, wait_seconds: float = 0) -> None:
    """A picture of the page as a PNG. `wait_seconds` is virtual time that the page's scripts may take."""
    target.parent.mkdir(parents=True, exist_ok=True)
    look = ["--hide-scrollbars", f"--window-size={width},{height}", *(["--force-dark-mode"] if dark else [])]
    _run([*look, *_time(wait_seconds), f"--screenshot={target}", url])
    assert target.read_bytes().startswith(b"\x89PNG")


def dom(url: str, width: int = 1200, wait_seconds: float = 0) -> str:
    """The page's elements as the browser holds them after its scripts ran."""
    return _run([f"--window-size={width},1600", *_time(wait_seconds), "--dump-dom", url])


def _time(seconds: float) -> list[str]:
    return [f"--virtual-time-budget={int(seconds * 1000)}"] if seconds else []


def _run(arguments: list[str]) -> str:
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
