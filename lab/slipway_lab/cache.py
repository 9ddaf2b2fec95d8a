# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Build results in the user's cache, named by the hash of what they are made from; a half-made one never gets its name."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from slipway_lab.progress import say


def digest(*inputs: str | bytes | Path | Iterable[Path]) -> str:
    """Twelve hex digits over texts and the content of files and folders (names relative to their folder)."""
    h = hashlib.sha256()
    for item in inputs:
        if isinstance(item, Path):
            for file in sorted(item.rglob("*")) if item.is_dir() else [item]:
                if file.is_file() and "__pycache__" not in file.parts:
                    h.update(str(file.relative_to(item.parent)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
                    h.update(str(file.stat().st_mode & 0o111).encode())
        else:
            h.update((item.encode() if isinstance(item, str) else bytes(item)) + b"\0")  # type: ignore[arg-type]  # a Path is told apart above
    return h.hexdigest()[:12]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by one process at a time; freed by the kernel when it dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("..", f"waits for another lab command, which holds {path}")
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def cached(folder: Path, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `<folder>-<key>`, made once by `make(temporary folder)` and renamed when complete."""
    final = folder.with_name(f"{folder.name}-{key}")
    if final.is_dir():
        os.utime(final)  # last use, for who wants to delete the old ones
        return final
    with locked(folder.with_name(f".{folder.name}.lock")):
        if final.is_dir():
            return final
        for leftover in folder.parent.glob(f".{folder.name}.tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a killed run; in the way of nothing
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
        work.chmod(0o755)
        try:
            make(work)
            work.rename(final)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)  # the error above is the one to tell
            raise
    return final
