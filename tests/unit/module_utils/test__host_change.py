# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _host_change as host_change
from ansible_collections.slipway.mlops.plugins.module_utils._host_change import Edit, Journal, restart_unit, unit_log
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed


class Daemon:
    """Reads its file when it starts, and is not well with some contents."""

    def __init__(self, path: Path, bad: bytes = b"bad") -> None:
        self.path, self.bad, self.starts, self.loaded = path, bad, 0, b""

    def restart(self) -> None:
        self.starts += 1
        self.loaded = self.path.read_bytes() if self.path.exists() else b""

    def prove(self) -> str:
        return "it does not come up" if self.bad in self.loaded else ""


class Killed(BaseException):
    pass


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    folder = tmp_path / "journal"
    folder.mkdir()
    return Journal("daemon", str(folder))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_bytes(b"old")
    path.chmod(0o640)
    return path


def change(journal: Journal, daemon: Daemon, *edits: Edit) -> None:
    host_change.change(journal, edits, {"unit": "x"}, daemon.restart, daemon.prove, lambda: "last words")


def test_a_good_change_stays_owed_until_it_is_confirmed(journal: Journal, file: Path) -> None:
    daemon = Daemon(file)
    change(journal, daemon, Edit(str(file), b"old", b"new"))
    assert (file.read_bytes(), daemon.loaded, daemon.starts) == (b"new", b"new", 1)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [edit.before for edit in journal.pending()] == [b"old"]
    assert journal.about() == {"unit": "x"}
    journal.confirm()
    assert journal.pending() == []


def test_a_bad_change_is_taken_back_and_says_so(journal: Journal, file: Path) -> None:
    daemon = Daemon(file)
    with pytest.raises(Failed) as error:
        change(journal, daemon, Edit(str(file), b"old", b"bad"))
    assert (file.read_bytes(), daemon.loaded, daemon.starts) == (b"old", b"old", 2)
    assert journal.pending() == []
    assert str(error.value).splitlines()[0] == "it does not come up"
    assert "put back" in str(error.value)
    assert "last words" in str(error.value)


def test_a_new_file_is_removed_again(journal: Journal, file: Path, tmp_path: Path) -> None:
    drop_in = tmp_path / "conf.d" / "90-ours.conf"
    daemon = Daemon(drop_in)
    with pytest.raises(Failed):
        change(journal, daemon, Edit(str(drop_in), None, b"bad"))
    assert not drop_in.exists()


def test_what_somebody_else_wrote_meanwhile_is_left_and_named(journal: Journal, file: Path) -> None:
    daemon = Daemon(file)
    change(journal, daemon, Edit(str(file), b"old", b"new"))
    file.write_bytes(b"theirs")
    words = host_change.take_back(journal, daemon.restart, daemon.prove)
    assert file.read_bytes() == b"theirs"
    assert str(file) in words.partition("Left alone")[2]


def test_a_way_back_that_fails_keeps_the_journal(journal: Journal, file: Path) -> None:
    daemon = Daemon(file, bad=b"")  # never well
    with pytest.raises(Failed, match="does not come up either"):
        change(journal, daemon, Edit(str(file), b"old", b"new"))
    assert file.read_bytes() == b"old"
    assert journal.pending() != []


@pytest.mark.parametrize("moment", ["before writing", "after writing", "after restarting"])
def test_after_a_kill_a_restart_is_owed_and_the_first_content_is_what_comes_back(
    journal: Journal, file: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(file)

    def killed(*_: object) -> None:
        raise Killed

    if moment == "before writing":
        monkeypatch.setattr(host_change, "write", killed)
    restart = killed if moment == "after writing" else daemon.restart
    prove = killed if moment == "after restarting" else daemon.prove
    with pytest.raises(Killed):
        host_change.change(journal, [Edit(str(file), b"old", b"new")], {}, restart, prove, str)  # type: ignore[arg-type]
    monkeypatch.undo()
    assert journal.pending() != []
    now = file.read_bytes()
    with pytest.raises(Failed):
        change(journal, daemon, Edit(str(file), now, b"bad"))
    assert file.read_bytes() == b"old"


def test_a_file_changed_since_a_kill_is_not_overwritten_by_the_old_journal(journal: Journal, file: Path) -> None:
    journal.begin([Edit(str(file), b"old", b"new")], {})
    file.write_bytes(b"theirs")
    daemon = Daemon(file)
    with pytest.raises(Failed):
        change(journal, daemon, Edit(str(file), b"theirs", b"bad"))
    assert file.read_bytes() == b"theirs"


def test_two_runs_do_not_meet(journal: Journal) -> None:
    with journal.locked(), pytest.raises(Failed, match="locked"), journal.locked():
        raise AssertionError("both were in")


def test_others_cannot_read_the_journal(journal: Journal, file: Path, tmp_path: Path) -> None:
    journal.begin([Edit(str(file), b"secret", b"new")], {})
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "journal").iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_symbolic_link_stays_one(journal: Journal, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    change(journal, Daemon(file), Edit(str(link), b"old", b"new"))
    assert os.path.islink(link)
    assert file.read_bytes() == b"new"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs come before the system's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def program(path: Path, script: str) -> None:
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


def test_a_restart_that_systemd_refuses_is_a_failure_in_its_own_words(programs: Path) -> None:
    program(programs / "systemctl", f'echo "$@" >> {programs}/asked\n[ "$1" = restart ] || exit 1\n')
    restart_unit("kubelet")  # a unit that has never failed has no counter to reset
    assert (programs / "asked").read_text() == "reset-failed kubelet\nrestart kubelet\n"
    program(programs / "systemctl", '[ "$1" = restart ] || exit 0\necho "Unit kubelet.service not found." >&2\nexit 5\n')
    with pytest.raises(Failed, match=r"^systemctl restart kubelet failed \(5\): Unit kubelet.service not found.$"):
        restart_unit("kubelet")


def test_the_last_lines_of_a_unit_cannot_steer_a_terminal(programs: Path) -> None:
    program(programs / "journalctl", "printf 'one\\033[31m\\ntwo\\n'\n")
    assert unit_log("kubelet", 0.0) == "one[31m\ntwo"
    program(programs / "journalctl", "exit 1\n")
    assert unit_log("kubelet", 0.0) == ""
