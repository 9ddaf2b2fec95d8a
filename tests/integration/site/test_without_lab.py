# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the playbooks do with an inventory that cannot work, and without hosts and cluster. No lab is needed: ssh is a script that tells it was called."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
from the_lab import ANSIBLE_PLAYBOOK, ROOT

STAGES = ["hosts", "nodes", "labels", "apps", "verify", "plan", "site", "uninstall", "training", "postgresql_restore", "aisloader"]

INVENTORY = """
all:
  vars: {ansible_ssh_executable: SSH, ansible_python_interpreter: /usr/bin/python3, slipway_kubeconfig: ~/.kube/config}
  children:
    k8s_cluster: {hosts: {w1: {ansible_host: 192.0.2.1}, w2: {ansible_host: 192.0.2.2}}}
    ais_targets: {hosts: {w1: {}}}
    ais_proxies: {hosts: {w1: {}}}
    ais_initial_primary: {hosts: {w1: {}}}
"""


def play(folder: Path, book: str, inventory: str, *arguments: str, **variables: str) -> tuple[int, str, bool]:
    """Exit code, output, and whether any host was contacted."""
    ssh, contacted = folder / "ssh", folder / "contacted"
    ssh.write_text(f"#!/bin/sh\ntouch {contacted}\nexit 255\n")
    ssh.chmod(0o755)
    (folder / "hosts.yml").write_text(inventory.replace("SSH", str(ssh)))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K8S_AUTH_"))}
    environ = {**clean, **variables, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "KUBECONFIG": "/dev/null"}
    argv = [ANSIBLE_PLAYBOOK, str(ROOT / f"playbooks/{book}.yml"), "-i", str(folder / "hosts.yml"), *arguments]
    done = subprocess.run(argv, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr, contacted.exists()


@pytest.mark.parametrize("book", STAGES)
def test_no_playbook_touches_a_host_before_the_inventory_is_known_to_make_sense(tmp_path: Path, book: str) -> None:
    """Also with a --limit that leaves out localhost."""
    code, output, contacted = play(tmp_path, book, INVENTORY, "--limit", "w1", "-e", "ais_datafs_disk=[]")
    assert code and not contacted
    assert "variable `ais_datafs_disk` (all hosts): no role reads it; did you mean `ais_datafs_disks`?" in output
    assert "REFUSED: no host and no cluster was touched" in output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (INVENTORY.replace("ais_targets:", "ais_target:"), "group `ais_target`: there is no such group here; did you mean `ais_targets`?"),
        (INVENTORY.replace("k8s_cluster:", "cluster:"), "group `k8s_cluster` is missing or empty; the inventory must name its hosts"),
        (INVENTORY.replace("ais_proxies: {hosts: {w1", "ais_proxies: {hosts: {w9"), "host w9 is in `ais_proxies` but in none of"),
        (
            INVENTORY.replace("vars: {", "vars: {slipway_registry_auth_file: /none, "),
            "`slipway_registry_auth_file: /none` (all hosts): no such file on this machine",
        ),
        (INVENTORY.replace("vars: {", "vars: {slipway_registry_auth_file: ~no-such-user/x, "), "~no-such-user/x` (all hosts): no such file on this machine"),
        (INVENTORY.replace("~/.kube/config", ""), "`slipway_kubeconfig` is empty (all hosts): name the cluster"),
        (INVENTORY.replace("vars: {", "vars: {aim_ui_workers: many, "), "aim_ui_workers"),
        (INVENTORY.replace("~/.kube/config", '""'), "`slipway_kubeconfig` is empty (all hosts): name the cluster"),
        (INVENTORY.replace(", slipway_kubeconfig: ~/.kube/config", ""), "`slipway_kubeconfig` is empty (all hosts): name the cluster"),
    ],
)
def test_what_is_wrong_is_refused_in_one_message(tmp_path: Path, wrong: str, message: str) -> None:
    code, output, contacted = play(tmp_path, "inventory", wrong)
    assert code and not contacted
    assert message in output and "thing(s) to mend, nothing was touched" in output


def test_nobody_makes_a_look_ahead_a_run_by_a_variable(tmp_path: Path) -> None:
    """With `-e slipway_is_dry_run=false` plan.yml would change hosts, and restart the daemons of all nodes at once."""
    code, output, contacted = play(tmp_path, "plan", INVENTORY, "-e", "slipway_is_dry_run=false")
    assert code and not contacted and "variable `slipway_is_dry_run` (all hosts): only playbooks set it" in output


def test_an_inventory_that_makes_sense_passes(tmp_path: Path) -> None:
    assert play(tmp_path, "inventory", INVENTORY)[::2] == (0, False)


@pytest.mark.parametrize("name", ["K8S_AUTH_KUBECONFIG", "K8S_AUTH_HOST"])
def test_the_environment_may_name_the_cluster(tmp_path: Path, name: str) -> None:
    assert play(tmp_path, "inventory", INVENTORY.replace("~/.kube/config", '""'), **{name: "there"})[::2] == (0, False)


def test_the_example_passes_as_it_is(tmp_path: Path) -> None:
    argv = [ANSIBLE_PLAYBOOK, "playbooks/inventory.yml", "-i", "inventories/example"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K8S_AUTH_"))}
    subprocess.run(argv, cwd=ROOT, env={**clean, "HOME": str(tmp_path)}, stdin=subprocess.DEVNULL, capture_output=True, check=True)


# What an inventory often says to all hosts, and to a localhost that it names. The controller's Python stays its own, and its user who it is.
EXPLICIT = INVENTORY.replace("vars: {", "vars: {ansible_become: true, ", 1).replace("  children:", "  hosts: {localhost: {}}\n  children:", 1)


@pytest.mark.parametrize("inventory", [INVENTORY, EXPLICIT], ids=["implicit localhost", "explicit localhost"])
def test_verify_reports_hosts_that_nobody_can_reach_and_a_cluster_that_does_not_answer(tmp_path: Path, inventory: str) -> None:
    code, output, contacted = play(tmp_path, "verify", inventory, "-e", f"slipway_kubeconfig={tmp_path}/none")
    assert code and contacted
    assert "w1: ais_datafs is failed: the host was unreachable" in output
    assert "cluster: node_labels is failed" in output
    assert "NOT READY" in output and (tmp_path / "report/report.html").exists()
    report = json.loads((tmp_path / "report/report.json").read_text())
    jsonschema.validate(report, json.loads((ROOT / "docs/report.schema.json").read_text()), cls=jsonschema.Draft202012Validator)
    states = {(item["where"], item["what"]): item["state"] for item in report["items"]}
    assert states["API server", "answers"] == "failed"
    assert states["cluster", "Objects of aistore, postgresql, mlflow, aim"] == "unknown"
    assert {proof["name"]: proof["ready"] for proof in report["proofs"]} == dict.fromkeys(["aistore", "postgresql", "mlflow", "aim"], False)
    assert all("kubeconfig: cannot read" in proof["reason"] for proof in report["proofs"]), "why there is no proof, not what follows from that"
    assert "ready" not in states.values()


def test_a_look_ahead_that_could_not_look_ends_with_an_error(tmp_path: Path) -> None:
    code, output, _contacted = play(tmp_path, "plan", INVENTORY, "--tags", "ais_datafs,host_sysctl")
    assert code
    assert "This could not be looked at:\n" in output and "NOT ALL WAS SEEN" in output
    assert output.count("FAILED  slipway.mlops") == 1, "a host that is gone is told once"


def test_a_look_ahead_goes_on_past_a_workload_that_fails_and_tells_each_reason_once(tmp_path: Path) -> None:
    """AIStore's, PostgreSQL's and MLflow's is the cluster that does not answer; Aim's is its own, too."""
    given = ["--tags", "aistore,postgresql,mlflow,aim", "-e", f"slipway_kubeconfig={tmp_path}/none", "-e", '{"aim_copies_kept": 0}']
    code, output, contacted = play(tmp_path, "plan", INVENTORY, *given)
    assert code and not contacted
    told = output.split("This could not be looked at:")[1].partition("PLAY RECAP")[0]
    assert "aim_copies_kept is 0" in told and told.count(f"{tmp_path}/none") == 1
    failed = output.split("SLIPWAY")[-1]
    assert all(f"FAILED  slipway.mlops.{role}: " in failed for role in ("aistore", "postgresql", "mlflow", "aim")), failed
    assert "undefined" not in output, "what follows from a failure is no second one"
