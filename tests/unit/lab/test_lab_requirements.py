# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab asks of a machine is all that it uses there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from slipway_lab import pins, requirements
from slipway_lab.layout import from_environment

SOURCES = Path(__file__).resolve().parents[3] / "lab" / "slipway_lab"
# Essential in Debian, or what the lab is installed and started with.
ALWAYS_THERE = {"apt-get", "cp", "nice", "python3", "rm", "sh", "systemctl", "tar"}


def test_every_program_that_is_run_on_the_machine_is_asked_for() -> None:
    """A minimal Debian has no curl and perhaps no ip; the lab has to install what it runs."""
    texts = [path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py")]
    used = {name for text in texts for name in re.findall(r'(?:\b(?:run|output|succeeds|start)\(|argv(?:: [^=]*)? = )\s*\[\s*"([a-z][a-z0-9_-]*)"', text)}
    assert {"podman", "losetup", "ip", "qemu-system-x86_64", "setpriv"} <= used
    assert used - ALWAYS_THERE <= set(pins.HOST_COMMANDS) | set(pins.GUEST_COMMANDS)


@pytest.mark.parametrize(("free", "refused"), [(14, True), (16, False)])
def test_state_and_caches_on_one_disk_need_room_for_both(free: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(0, 0, free * 10**9))  # type: ignore[attr-defined]
    found = requirements._too_little_space(from_environment(tmp_path, {"HOME": str(tmp_path)}))
    assert [str(tmp_path) in text and "needs 15 GB" in text for text in found] == [True] * refused
