# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The script that runs before Aim's servers, on real folders: what it refuses, what it copies, what it brings back. Aim itself runs on the lab only."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "aim" / "files" / "repository.py"


@pytest.fixture
def care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with its volumes under tmp_path, Aim 3.29.1 and `aim init` that makes an empty repository."""
    monkeypatch.setenv("AIM_VOLUME", str(tmp_path / "repo"))
    monkeypatch.setenv("AIM_COPIES", str(tmp_path / "copies"))
    monkeypatch.setenv("AIM_PATIENCE_SECONDS", "0")
    spec = importlib.util.spec_from_file_location("repository", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.VOLUME.mkdir()
    module.COPIES.mkdir()
    monkeypatch.setattr(module, "version", lambda: "3.29.1")
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if command[0] != "aim":
            return real(command, check=options.pop("check", False), **options)
        assert command == ["aim", "init", "--repo", str(module.VOLUME), "--skip-if-exists"]
        if not module.REPOSITORY.exists():
            fill(module)
        return None

    monkeypatch.setattr(module.subprocess, "run", run)
    return module


def fill(care: ModuleType, content: str = "one") -> None:
    """A repository as Aim lays it out."""
    (care.REPOSITORY / "meta" / "index").mkdir(parents=True, exist_ok=True)
    (care.REPOSITORY / "meta" / "index" / "LOCK").touch()
    (care.REPOSITORY / "meta" / "chunk").write_text(content)
    with sqlite3.connect(care.REPOSITORY / "run_metadata.sqlite") as database:
        database.execute("create table if not exists run (hash text)")
    database.close()


def copies(care: ModuleType) -> list[str]:
    return sorted(path.name for path in care.COPIES.iterdir())


def test_the_first_start_makes_a_repository_and_the_second_leaves_it_alone(care: ModuleType) -> None:
    care.prepare()
    (care.REPOSITORY / "meta" / "chunk").write_text("kept")
    care.prepare()
    assert (care.REPOSITORY / "meta" / "chunk").read_text() == "kept"
    assert care.MARK.read_text() == "3.29.1\n" and not copies(care)


@pytest.mark.parametrize("mark", ["3.28.0\n", None], ids=["an older version", "a repository that was there before"])
def test_another_version_of_aim_gets_a_copy_first(care: ModuleType, mark: str | None) -> None:
    fill(care)
    if mark:
        care.MARK.write_text(mark)
    care.prepare()
    (copy,) = copies(care)
    assert copy.endswith("Z-before-upgrade")
    assert (care.COPIES / copy / ".aim" / "meta" / "chunk").read_text() == "one"
    assert json.loads((care.COPIES / copy / "copy.json").read_text())["aim"] == (mark or "unknown").strip()
    care.prepare()
    assert copies(care) == [copy]


def test_without_a_place_for_copies_an_upgrade_goes_on(care: ModuleType) -> None:
    fill(care)
    care.COPIES.rmdir()
    care.prepare()
    assert care.MARK.exists()
    with pytest.raises(care.Problem, match="aim_copies_claim is empty"):
        care.copy("manual", "3.29.1")


def test_a_copy_that_does_not_fit_is_refused_before_it_begins(care: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(care)
    monkeypatch.setattr(care.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": 10}))
    with pytest.raises(care.Problem, match=r"Enlarge it \(aim_copies_claim_size\)"):
        care.prepare()
    assert not copies(care) and not care.MARK.exists()


def test_a_copy_that_was_killed_half_way_is_cleared_away(care: ModuleType) -> None:
    fill(care)
    (care.COPIES / ".part-20260101T000000Z-manual").mkdir()
    care.copy("manual", "3.29.1")
    assert len(copies(care)) == 1 and copies(care)[0].endswith("Z-manual")


def test_only_some_copies_of_a_kind_are_kept(care: ModuleType) -> None:
    fill(care)
    for day in range(1, 6):
        (care.COPIES / f"2026010{day}T000000Z-manual").mkdir()
    (care.COPIES / "20250101T000000Z-before-upgrade").mkdir()
    care.copy("manual", "3.29.1")
    assert len([name for name in copies(care) if name.endswith("-manual")]) == care.KEEP
    assert "20250101T000000Z-before-upgrade" in copies(care) and "20260105T000000Z-manual" in copies(care)


def test_a_copy_comes_back_and_what_was_there_is_kept(care: ModuleType) -> None:
    fill(care, "old")
    name = care.copy("manual", "3.28.0").name
    (care.REPOSITORY / "meta" / "chunk").write_text("new")
    care.restore(name)
    assert (care.REPOSITORY / "meta" / "chunk").read_text() == "old"
    assert care.MARK.read_text() == "3.28.0\n", "so that the next start knows whose it is"
    (before,) = [item for item in copies(care) if item.endswith("before-restore")]
    assert (care.COPIES / before / ".aim" / "meta" / "chunk").read_text() == "new"
    assert sorted(path.name for path in care.VOLUME.iterdir()) == [".aim", ".slipway-aim-version"]


def test_the_copy_that_comes_back_is_not_the_one_that_is_too_old_to_keep(care: ModuleType) -> None:
    fill(care, "zero")
    first = care.copy("manual", "3.29.1").name
    for number in (1, 2, 3):  # each restoration leaves a copy of what was there; "zero" is in the oldest
        care.restore(first)
        made = max(care.COPIES.glob("*-before-restore"))
        made.rename(care.COPIES / f"2026010{number}T000000Z-before-restore")
        (care.REPOSITORY / "meta" / "chunk").write_text(f"after {number}")
    oldest, *younger = [name for name in copies(care) if name.endswith("before-restore")]
    care.restore(oldest)
    assert (care.REPOSITORY / "meta" / "chunk").read_text() == "zero"
    assert oldest in copies(care) and set(younger) <= set(copies(care))


@pytest.mark.parametrize("killed_at", range(1, 5))
def test_a_restoration_that_is_killed_is_finished_by_the_next_start_or_never_began(care: ModuleType, monkeypatch: pytest.MonkeyPatch, killed_at: int) -> None:
    fill(care, "old")
    name = care.copy("manual", "3.29.1").name
    (care.REPOSITORY / "meta" / "chunk").write_text("new")
    care.MARK.write_text("3.29.1\n")
    real, renames = Path.rename, []

    def rename(path: Path, target: Path) -> None:
        if path.parent == care.VOLUME:
            renames.append(path)
            if len(renames) == killed_at:
                raise KeyboardInterrupt
        real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    if killed_at <= 3:
        with pytest.raises(KeyboardInterrupt):
            care.restore(name)
    else:
        care.restore(name)
    monkeypatch.setattr(Path, "rename", real)
    care.prepare()
    assert (care.REPOSITORY / "meta" / "chunk").read_text() == ("new" if killed_at <= 2 else "old"), "nothing is ever an empty repository"
    for copy in care.COPIES.glob("*-before-restore"):  # of the same second
        shutil.rmtree(copy)
    care.restore(name)
    assert (care.REPOSITORY / "meta" / "chunk").read_text() == "old"
    assert sorted(path.name for path in care.VOLUME.iterdir()) == [".aim", ".slipway-aim-version"]


@pytest.mark.parametrize("name", ["nope", "../repo", "", "20260101T000000Z-other"])
def test_only_a_copy_comes_back(care: ModuleType, name: str) -> None:
    fill(care, "kept")
    care.copy("manual", "3.29.1")
    with pytest.raises(care.Problem, match="There is no copy"):
        care.restore(name)
    assert (care.REPOSITORY / "meta" / "chunk").read_text() == "kept"


def test_a_damaged_copy_does_not_come_back(care: ModuleType) -> None:
    fill(care, "kept")
    name = care.copy("manual", "3.29.1").name
    (care.COPIES / name / ".aim" / "meta" / "chunk").unlink()
    with pytest.raises(care.Problem, match="is not what was written"):
        care.restore(name)
    assert (care.REPOSITORY / "meta" / "chunk").read_text() == "kept"


def test_another_server_on_the_repository_is_refused(care: ModuleType) -> None:
    fill(care)
    code = "import fcntl, sys, time; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(care.REPOSITORY / "meta" / "index" / "LOCK")], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout and other.stdout.readline() == "held\n"
        with pytest.raises(care.Problem, match="Another Aim UI serves this repository"):
            care.prepare()
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    care.prepare()


def test_a_file_system_without_locks_is_refused(care: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_unused: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(care.fcntl, "lockf", none)
    with pytest.raises(care.Problem, match="has no locks"):
        care.check_locks()


def test_a_file_system_that_gives_a_lock_twice_is_refused(care: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(care.fcntl, "lockf", lambda *_: None)  # this process holds nothing, so the other one gets it
    with pytest.raises(care.Problem, match="gives one lock to two processes"):
        care.check_locks()
    assert not list(care.VOLUME.iterdir())


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/usr/bin/python3").exists(), reason="needs root, and a Python that another user may run")
def test_a_volume_of_another_owner_is_refused_with_the_exact_reason(care: ModuleType, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(0o755)
    done = subprocess.Popen(
        ["/usr/bin/python3", str(SCRIPT), "prepare"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, user=10003, group=10003, extra_groups=[],
        env={**os.environ, "AIM_VOLUME": str(care.VOLUME), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    _unused, error = done.communicate()
    assert done.returncode == 1
    assert f"{care.VOLUME} belongs to 0:0 with mode 0755; user 10003 (groups 10003) cannot write there" in error
    assert "Traceback" not in error


def test_the_lock_of_this_test_is_a_real_one(care: ModuleType) -> None:
    fill(care)
    with open(care.REPOSITORY / "meta" / "index" / "LOCK", "r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.Popen([sys.executable, "-c", code, file.name], stderr=subprocess.DEVNULL)
        assert other.wait() != 0
