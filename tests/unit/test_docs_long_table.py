# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The README's table of long tests counts those that have never come to a result, too."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "docs"))
import generate

FILE = """
pytestmark = [pytest.mark.lab{mark}]

@pytest.mark.long
@pytest.mark.parametrize("a", [1, 2])
def test_marked(a): ...

@pytest.mark.parametrize("a", [1, pytest.param(2, marks=pytest.mark.long)])
def test_quick(a): ...

def helper(): ...

class TestClass:
    @pytest.mark.long
    def test_inside(self): ...
"""


def test_long_tests_without_a_result_are_counted_by_area(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    for name, mark in (("aim/test_some.py", ""), ("site/test_all.py", ", pytest.mark.long")):
        path = tmp_path / "tests/integration" / name
        path.parent.mkdir(parents=True)
        path.write_text(FILE.format(mark=mark))
    some, every = "tests/integration/aim/test_some.py::", "tests/integration/site/test_all.py::"
    assert generate.long_tests() == {
        some + "test_marked", some + "TestClass::test_inside", every + "test_marked", every + "test_quick", every + "TestClass::test_inside"
    }  # fmt: skip
    ran = {some + "test_marked[1]": "passed", some + "TestClass::test_inside": "failed", every + "test_quick[2]": "passed", some + "test_gone": "passed"}
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/long-tests.json").write_text(json.dumps({name: {"outcome": how, "seconds": 60, "date": "2026-01-02"} for name, how in ran.items()}))
    assert generate.long_table().splitlines()[2:] == ["| aim | 1 | 1 | 0 | 0 | 2 | 2026-01-02 |", "| site | 1 | 0 | 0 | 2 | 1 | 2026-01-02 |"]
