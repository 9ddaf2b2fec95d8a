# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Only the recorded process is ever ended."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from slipway_lab.processes import Process


@dataclass
class Place:
    runtime: Path
    state: Path = Path("/clone/.lab")


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(Place(tmp_path / "run"), "thing")  # type: ignore[arg-type]


def test_a_started_process_is_known_and_ended(process: Process, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process.start(["sleep", "1000"], log)
    pid = process.pid()
    assert pid is not None
    assert Path(f"/proc/{pid}/comm").read_text().strip() == "sleep"
    # Another clone's lab of the same name sees whose it is; a virtual machine has no label that would tell.
    assert Process(Place(tmp_path / "run", Path("/other/.lab")), "thing").owner() == "/clone/.lab"  # type: ignore[arg-type]
    process.end()
    assert process.pid() is None and process.owner() is None
    assert not list((tmp_path / "run").iterdir())


def test_a_pid_that_another_program_has_by_now_is_left_alone(process: Process, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "1001"])
    try:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thing.pid").write_text(f"{stranger.pid}\n")
        (tmp_path / "run" / "thing.argv").write_text(json.dumps(["sleep", "1000"]))
        assert not process.alive()
        process.end()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_broken_records_mean_not_running(process: Process, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thing.pid").write_text("")
    assert process.pid() is None
    (tmp_path / "run" / "thing.pid").write_text("1\n")
    (tmp_path / "run" / "thing.argv").write_text("{")
    assert process.pid() is None
