# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A build result has its name only when it is complete, and another input gives another name."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from slipway_lab.cache import cached, digest


def test_the_digest_follows_names_contents_and_executability(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    file = folder / "a"
    file.write_text("1")
    seen = {digest(folder)}
    file.write_text("2")
    seen.add(digest(folder))
    file.chmod(0o755)
    seen.add(digest(folder))
    file.rename(folder / "b")
    seen.add(digest(folder))
    assert len(seen) == 4


def test_the_digest_does_not_follow_the_place_of_the_clone(tmp_path: Path) -> None:
    for clone in ("one", "two"):
        (tmp_path / clone / "in" / "deep").mkdir(parents=True)
        (tmp_path / clone / "in" / "deep" / "a").write_text("1")
    assert digest(tmp_path / "one" / "in") == digest(tmp_path / "two" / "in")


def test_texts_cannot_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_what_failed_is_made_again_and_leaves_nothing(tmp_path: Path) -> None:
    def fail(work: Path) -> None:
        (work / "half").write_text("")
        raise RuntimeError("broke")

    with pytest.raises(RuntimeError):
        cached(tmp_path / "x", "k", fail)
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []
    made = cached(tmp_path / "x", "k", lambda work: (work / "whole").write_text("") and None)
    assert [p.name for p in made.iterdir()] == ["whole"]


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    made: list[Path] = []
    begun = threading.Barrier(2)

    def both() -> None:
        begun.wait()
        cached(tmp_path / "x", "k", made.append)

    threads = [threading.Thread(target=both) for _number in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(made) == 1
