# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What playbooks/labels.yml makes of the groups of an inventory. Only the control plane's node is written, which no site of the lab labels."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from nodes_lab import KUBECONFIG, ROOT, live
from the_lab import playbook_command

pytestmark = pytest.mark.lab
NODE, LABEL = "cp1", "nvidia.com/ais-target"
WORKERS = {"ais_targets": ["w1", "w2", "w3"], "ais_proxies": ["w1", "w2", "w3"], "ais_initial_primary": ["w1"]}
NOBODY = {"ais_targets": [], "ais_proxies": [], "ais_initial_primary": []}
ALONE = {"ais_targets": [NODE], "ais_proxies": [NODE], "ais_initial_primary": [NODE]}


def labels(folder: Path, groups: dict[str, list[str]], *options: str, **variables: Any) -> tuple[int, str]:
    """Exit status and output of the playbook with an inventory of these groups and variables."""
    given = {"slipway_kubeconfig": str(KUBECONFIG), **variables}
    nodes = {"k8s_cluster": [NODE, "w1", "w2", "w3"], **groups}
    inventory = {"all": {"vars": given, "children": {name: {"hosts": dict.fromkeys(hosts)} for name, hosts in nodes.items()}}}
    (folder / "labels.yml").write_text(yaml.safe_dump(inventory))
    command, environ = playbook_command("playbooks/labels.yml", "-v", *options)
    command[command.index("-i") + 1] = str(folder / "labels.yml")
    done = subprocess.run(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, done.stdout + done.stderr


def test_two_primaries_are_refused_also_where_the_inventory_was_not_checked(folder: Path) -> None:
    status, output = labels(folder, {**WORKERS, "ais_initial_primary": ["w1", "w2"]}, __inventory_result={})
    assert status != 0
    assert "has 2 initial primaries (w1, w2); name exactly one" in output


def test_the_clusters_of_the_inventory_come_to_that_of_the_groups(folder: Path) -> None:
    other = {"other": {"targets": [NODE], "proxies": [NODE], "initial_primary": NODE}}
    status, output = labels(folder, WORKERS, "--check", node_labels_ais_clusters=other)
    assert status == 0, output
    assert "set: ais-other" in output
    # Where the lab has its site, the nodes of the groups bear their labels already.
    assert "set: ais-ais" in output or "unchanged: 3" in output


def test_an_emptied_group_takes_the_labels_away_and_a_missing_one_does_not(folder: Path) -> None:
    def target() -> str | None:
        return live("node", NODE)["metadata"]["labels"].get(LABEL)

    try:
        for groups, expected in ((ALONE, "labels-test"), ({"ais_clients": [NODE]}, "labels-test"), (NOBODY, None)):
            status, output = labels(folder, groups, aistore_cluster="labels-test")
            assert status == 0, output
            assert target() == expected
    finally:
        status, output = labels(folder, {}, node_labels_absent_sets=["ais-labels-test"])
        assert status == 0, output
    assert target() is None
