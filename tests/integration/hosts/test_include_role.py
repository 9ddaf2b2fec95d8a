# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each host role by itself, as `ansible PATTERN -m include_role` runs it, on the nodes of the lab and with the lab's own inventory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[3]
INVENTORY = os.environ.get("SLIPWAY_TEST_INVENTORY") or str(ROOT / "inventories" / "lab")


def outcomes(role: str, pattern: str) -> dict[str, str]:
    """Host -> SUCCESS, CHANGED, FAILED! or UNREACHABLE! of the role's tasks, the worst of them."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), pattern, "-i", INVENTORY, "-m", "include_role", "-a", f"name=slipway.mlops.{role}"],
        cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, str] = {}
    for host, outcome in re.findall(r"^(\S+) \| (SUCCESS|CHANGED|FAILED!|UNREACHABLE!)", done.stdout, re.MULTILINE):
        found[host] = outcome if outcome != "SUCCESS" else found.get(host, outcome)
    return found


# The tuning roles never get `all`: to that belongs the machine under the lab, too.
@pytest.mark.parametrize(
    ("role", "pattern"),
    [("ais_datafs", "all"), ("host_io_scheduler", "k8s_cluster"), ("host_sysctl", "k8s_cluster"), ("host_mtu", "k8s_cluster")],
)
def test_a_second_time_nothing_changes(role: str, pattern: str) -> None:
    first, second = outcomes(role, pattern), outcomes(role, pattern)
    assert {"cp1", "w1", "w2", "w3"} <= set(first)
    assert second == dict.fromkeys(first, "SUCCESS")
