# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The look at the disks before a target starts, where no real disk is needed; tests/integration/aistore/test_prepare_disks.py has the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from role_script import ROLES, script

OWNER = {"namespace": "ais", "cluster": "ais", "node": "w1"}


def test_a_disk_that_fails_is_named_by_its_path_on_the_node(tmp_path: Path) -> None:
    module = script("aistore/files/prepare_disks.py")
    module.VOLUMES = str(tmp_path)
    volume = tmp_path / "disk0"
    (volume / ".marker").mkdir(parents=True)  # stands for a read that the disk does not answer
    mounted = {str(volume): ("8:16", "/", "xfs", "/dev/sdb")}
    found = module.judged({"path": "/ais/nvme3", "volume": "disk0"}, OWNER, mounted, "ais.ais", ".marker")
    assert found == f"/ais/nvme3 is mounted and cannot be used: Is a directory ({volume}/.marker)."


def test_a_proxy_has_no_disk_and_may_start() -> None:
    environment = {"DISKS": "[]", "OWNER": json.dumps(OWNER), "DATA_DIRECTORY": "ais.ais", "MARKER": ".marker", "OPEN_FILES_MIN": "1"}
    command = [sys.executable, str(ROLES / "aistore" / "files" / "prepare_disks.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.startswith("0 disks are mounted")) == (0, True), done.stderr
