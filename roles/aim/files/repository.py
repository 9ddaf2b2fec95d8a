# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Care for the volume of an Aim repository while no server is on it: prepare, copy NAME, restore NAME.

`prepare` runs before every start of the servers. It says exactly what is wrong with the volume, keeps a copy before another version of Aim
opens the repository, and makes the repository where there is none. It never deletes one.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

VOLUME = Path(os.environ.get("AIM_VOLUME", "/repo"))
COPIES = Path(os.environ.get("AIM_COPIES", "/copies"))
KEEP = int(os.environ.get("AIM_COPIES_KEPT", "3"))
PATIENCE = float(os.environ.get("AIM_PATIENCE_SECONDS", "90"))  # for the server before us to let go
REPOSITORY = VOLUME / ".aim"
RESTORED, REPLACED = VOLUME / ".aim-restored", VOLUME / ".aim-replaced"  # the copy that comes back, whole; and what it takes the place of
MARK = VOLUME / ".slipway-aim-version"  # the version of Aim that opened the repository last
BEFORE_UPGRADE, BEFORE_RESTORE = "before-upgrade", "before-restore"


class Problem(Exception):
    """What is wrong, and what to do about it."""


def check_owner() -> None:
    """Every part that the servers write, before the first of them fails in the middle."""
    ours = [os.getegid(), *os.getgroups()]
    parts = [VOLUME, REPOSITORY, *(REPOSITORY / name for name in ("run_metadata.sqlite", "meta", "meta/chunks", "meta/index", "seqs", "seqs/chunks", "locks"))]
    for part in parts:
        if not part.exists() or os.access(part, os.W_OK | (os.X_OK if part.is_dir() else 0)):
            continue
        found = part.stat()
        groups = ", ".join(map(str, sorted(set(ours))))
        raise Problem(
            f"{part} belongs to {found.st_uid}:{found.st_gid} with mode {found.st_mode & 0o7777:04o}; user {os.geteuid()} (groups {groups}) "
            "cannot write there, and this volume does not heed fsGroup. Set aim_uid and aim_gid to its owner, or change the owner on the storage."
        )


def check_locks() -> None:
    """A lock of one process must keep another one out. Object stores behind a file system do not care, and Aim's databases break on them."""
    path = VOLUME / ".slipway-lock-test"
    try:
        with open(path, "w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            code = f"import fcntl; fcntl.lockf(open({str(path)!r}, 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
            other = subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise Problem(f"The file system of {VOLUME} has no locks ({error.strerror}). Aim needs a disk, or NFS 4 with locks.") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
    if other.returncode == 0:
        raise Problem(f"The file system of {VOLUME} gives one lock to two processes. Aim needs a disk, or NFS 4 with locks.")


def wait_until_free() -> None:
    """Two servers on one repository destroy its index. RocksDB holds this lock while a server runs."""
    path, end = REPOSITORY / "meta" / "index" / "LOCK", time.monotonic() + PATIENCE
    while path.exists():
        try:
            with open(path, "r+") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        except BlockingIOError:
            if time.monotonic() > end:
                raise Problem(f"Another Aim UI serves this repository ({path} is locked). Two of them destroy its index; end the other one first.") from None
            print("another server still has the repository, waiting", flush=True)
            time.sleep(2)


def version() -> str:
    return importlib.metadata.version("aim")


def size_of(folder: Path) -> tuple[int, int]:
    """Files and bytes."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def copy(label: str, of: str, spare: Path | None = None) -> Path:
    """A copy of the repository under <UTC time>-<label>, whole or not there. `of`: Aim's version that wrote it; `spare`: a copy that stays, however old."""
    if not COPIES.is_dir():
        raise Problem("There is no volume for copies (aim_copies_claim is empty).")
    files, size = size_of(REPOSITORY)
    free = shutil.disk_usage(COPIES).free
    if size * 1.05 > free:
        raise Problem(
            f"The copy needs {size / 1e9:.2f} GB and {COPIES} has {free / 1e9:.2f} GB free. "
            "Enlarge it (aim_copies_claim_size), or keep fewer (aim_copies_kept)."
        )
    now = datetime.datetime.now(datetime.timezone.utc)
    target = COPIES / f"{now:%Y%m%dT%H%M%SZ}-{label}"
    part = COPIES / f".part-{target.name}"
    for left in COPIES.glob(".part-*"):
        shutil.rmtree(left)
    shutil.copytree(REPOSITORY, part / ".aim")
    if size_of(part / ".aim") != (files, size):
        raise Problem("The repository changed while it was copied: something still writes to it.")
    check_database(part / ".aim")
    (part / "copy.json").write_text(json.dumps({"aim": of, "files": files, "bytes": size, "made": now.isoformat(timespec="seconds")}))
    os.sync()
    part.rename(target)
    print(f"copied {files} files, {size} bytes to {target.name}", flush=True)
    kept = sorted(path for path in COPIES.glob(f"*Z-{label}") if path.is_dir())
    for old in kept[: max(0, len(kept) - KEEP)]:
        if old == spare:
            continue
        shutil.rmtree(old)
        print(f"removed {old.name}: {KEEP} copies of this kind are kept", flush=True)
    return target


def check_database(repository: Path) -> None:
    path = repository / "run_metadata.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        answer = database.execute("PRAGMA integrity_check").fetchone()[0]
    if answer != "ok":
        raise Problem(f"{path} is damaged: {answer}")


def prepare() -> None:
    check_owner()
    check_locks()
    wait_until_free()
    if RESTORED.is_dir() and not REPOSITORY.is_dir():
        print("a restoration ended before the copy was in its place; it goes there now", flush=True)
        RESTORED.rename(REPOSITORY)
    found = MARK.read_text().strip() if MARK.exists() else "unknown"
    if REPOSITORY.is_dir() and found != version() and COPIES.is_dir():
        print(f"the repository was last opened by Aim {found}, this is {version()}", flush=True)
        copy(BEFORE_UPGRADE, found)
    subprocess.run(["aim", "init", "--repo", str(VOLUME), "--skip-if-exists"], check=True)
    MARK.write_text(version() + "\n")


def restore(name: str) -> None:
    """The repository becomes that of a copy. What is there is copied first, so this can be undone in the same way."""
    source = COPIES / name
    have = sorted(path.name for path in COPIES.glob("*Z-*")) if COPIES.is_dir() else []
    if "/" in name or name not in have:
        raise Problem(f"There is no copy {name!r}; there are: {', '.join(have) or 'none'}.")
    about = json.loads((source / "copy.json").read_text())
    if size_of(source / ".aim") != (about["files"], about["bytes"]):
        raise Problem(f"The copy {name} is not what was written: {about['files']} files and {about['bytes']} bytes were.")
    check_database(source / ".aim")
    part = VOLUME / ".aim-restored.part"
    for left in (part, RESTORED, REPLACED) if REPOSITORY.is_dir() else (part,):
        shutil.rmtree(left, ignore_errors=True)
    if REPOSITORY.is_dir():
        copy(BEFORE_RESTORE, MARK.read_text().strip() if MARK.exists() else "unknown", spare=source)
    shutil.copytree(source / ".aim", part)
    os.sync()
    shutil.rmtree(RESTORED, ignore_errors=True)
    part.rename(RESTORED)
    # From here on `prepare` finishes what is killed.
    MARK.write_text(about["aim"] + "\n")
    if REPOSITORY.is_dir():
        REPOSITORY.rename(REPLACED)
    RESTORED.rename(REPOSITORY)
    shutil.rmtree(REPLACED, ignore_errors=True)
    print(f"restored {about['files']} files, {about['bytes']} bytes of {name}, written by Aim {about['aim']}", flush=True)


def main(arguments: list[str]) -> None:
    command, name = arguments[0], "".join(arguments[1:2])
    if command == "prepare":
        prepare()
        return
    check_owner()
    wait_until_free()
    if command == "copy":
        copy(name, MARK.read_text().strip() if MARK.exists() else version())
    else:
        restore(name)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Problem as problem:
        sys.exit(str(problem))
