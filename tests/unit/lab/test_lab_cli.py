# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a person without rights or programs is told, in place of a traceback."""

from __future__ import annotations

import os

import pytest
from slipway_lab import cli
from slipway_lab.errors import LabError
from slipway_lab.shell import run


@pytest.mark.parametrize("words", ["down", "status", "reset", "hosts 1", "fleet 0", "ssh w1", "guest down"])
def test_who_is_not_root_is_told_so(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LAB_NAME", "nobodys-lab")
    monkeypatch.setattr("sys.argv", ["lab/lab", *words.split()])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main() == 1
    assert "run it as root" in capsys.readouterr().err


def test_a_program_that_is_missing_is_named_with_what_brings_it() -> None:
    with pytest.raises(LabError, match=r"no-such-program-here.*lab/lab up"):
        run(["no-such-program-here"])
