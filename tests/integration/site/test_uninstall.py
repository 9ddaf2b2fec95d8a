# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole is removed and made again, and what users stored is still there."""

from __future__ import annotations

import json
import subprocess

import pytest
from the_lab import KUBECTL, STATE, kubectl, playbook

pytestmark = [pytest.mark.lab, pytest.mark.disturb, pytest.mark.long]

KINDS = "all,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets"
KEPT = "persistentvolumeclaims,secrets"
NAMESPACES = ("ais", "mlflow", "aim")
OF_KUBERNETES = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
# The record of a set stays as long as something of the set does.
RECORDS = {"configmap/slipway-aistore-ais", "configmap/slipway-mlflow-schema", "configmap/slipway-postgresql", "configmap/slipway-aim"}
# What MLflow's data is of stays as long as the data.
RECORDS |= {"configmap/slipway-mlflow-state", "configmap/mlflow-state"}
EXPERIMENT = "kept-by-uninstall"


def names(kinds: str) -> dict[str, set[str]]:
    """namespace -> what is there."""
    return {space: set(kubectl("-n", space, "get", kinds, "-o", "name").split()) for space in NAMESPACES}


def on_worker(command: str) -> str:
    argv = ["ssh", "-F", str(STATE / "ssh" / "config"), "w1", command]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True).stdout


def ask_mlflow(path: str, body: dict | None = None) -> dict:
    argv = [*KUBECTL, "-n", "mlflow", "exec", "deployment/mlflow", "--", "python3", "-c", ASK, path, json.dumps(body)]
    return json.loads(subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True).stdout)


ASK = """
import sys, urllib.request
path, body = sys.argv[1:]
data = None if body == "null" else body.encode()
request = urllib.request.Request("http://127.0.0.1:5000/api/2.0/mlflow/" + path, data, {"Content-Type": "application/json"})
print(urllib.request.urlopen(request).read().decode())
"""


@pytest.fixture(scope="module")
def before() -> dict:
    """The site stands, and a user's experiment is in it."""
    playbook("site.yml")
    known = ask_mlflow("experiments/search", {"max_results": 1000})
    if EXPERIMENT not in {item["name"] for item in known.get("experiments", [])}:
        ask_mlflow("experiments/create", {"name": EXPERIMENT})
    return {"kept": names(KEPT), "uuid": on_worker("findmnt -no UUID /ais/disk0").strip()}


def test_a_look_ahead_touches_nothing(before: dict) -> None:
    there = names(KINDS)
    output = playbook("playbooks/uninstall.yml", "--check")
    assert "nothing was touched" in output
    assert names(KINDS) == there


def test_what_was_made_is_gone_and_what_was_stored_stays(before: dict) -> None:
    output = playbook("playbooks/uninstall.yml")
    assert set().union(*names(KINDS).values()) - OF_KUBERNETES == RECORDS
    claims = {space: {name for name in left if name.startswith("persistentvolumeclaim")} for space, left in before["kept"].items()}
    assert all(claims.values()), "each workload has stored something"
    assert all(claims[space] <= left for space, left in names(KEPT).items())
    assert "secret/postgresql" in names(KEPT)["mlflow"], "a generated password goes only when it is named"
    labels = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    assert [label for node in labels for label in node["metadata"]["labels"] if "nvidia.com/ais" in label] == []
    # The disk is unmounted, its filesystem is the same, and nothing can be written to the folder that is left.
    assert on_worker("findmnt -no SOURCE /ais/disk0 || true") == ""
    assert before["uuid"] in on_worker("blkid -p -o value -s UUID /dev/disk/by-id/*-w1-disk0")
    assert on_worker("grep -ls slipway /etc/sysctl.d/* /etc/udev/rules.d/* || true") == ""
    assert "stay until they are named" in output


def test_removing_again_changes_nothing(before: dict) -> None:
    recap = playbook("playbooks/uninstall.yml").split("PLAY RECAP")[1]
    assert "changed=0" in recap
    assert not [line for line in recap.splitlines() if "changed=" in line and "changed=0" not in line]


def test_the_site_comes_back_with_what_was_stored(before: dict) -> None:
    assert "READY: everything" in playbook("site.yml")
    assert on_worker("findmnt -no UUID /ais/disk0").strip() == before["uuid"]
    found = ask_mlflow("experiments/get-by-name?experiment_name=" + EXPERIMENT)
    assert found["experiment"]["lifecycle_stage"] == "active"
