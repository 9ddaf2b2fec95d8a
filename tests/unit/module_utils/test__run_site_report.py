# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _run_site_report
from ansible_collections.slipway.mlops.plugins.module_utils._model import Forbidden, Response, Unreachable
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, outcome
from fakes import FakeClock, FakeCluster

TEMPLATE = str(Path(__file__).resolve().parents[3] / "playbooks/templates/report.html.j2")
READY_NODE = {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.35.4"}}
LABELS = {"app.kubernetes.io/part-of": "slipway", "app.kubernetes.io/name": "aim", "app.kubernetes.io/version": "3.29.1"}
RESULTS = {"w1": {"ais_datafs": {"changed": False, "disks": [{"path": "/ais/disk0", "device": "/dev/x", "uuid": "u", "size_bytes": 5, "was": "ours"}]}}}


class Cluster(FakeCluster):
    def request(self, method, path, query=None, body=None, headers=None, timeout=None):
        assert (method, path) == ("GET", "/version")
        return Response(200, {}, b'{"gitVersion": "v1.35.4"}')


@pytest.fixture
def cluster() -> FakeCluster:
    made = Cluster(FakeClock())
    for name in ("w1", "w9", "idle"):
        made.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": READY_NODE})
    for name, node in (("aim-0", "w1"), ("stray-0", "w9")):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "aim", "labels": LABELS},
            "spec": {"nodeName": node, "containers": []},
        }
        made.put({**pod, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
    return made


def run(cluster: FakeCluster, folder: Path, results: dict | None = None, check_mode: bool = False, **params) -> tuple[dict, dict, list[str]]:
    lines: list[str] = []
    gathered = {
        "results": RESULTS if results is None else results,
        "hosts": {"w1": {"address": "10.0.0.1", "groups": ["ais_targets"], "node": "w1"}},
        "version": "0.1.0",
        "inventory": [],
        "template": TEMPLATE,
    }
    given = {"directory": str(folder), "host_roles": {"ais_datafs": ["w1"]}, "objects": [], "proofs": [], "services": [], "gathered": gathered, **params}
    result = outcome(_run_site_report.run, Call(given, check_mode=check_mode, cluster=cluster, clock=FakeClock(), progress=lines.append))
    return result, json.loads((folder / "report.json").read_text()) if (folder / "report.json").exists() else {}, lines


def test_all_ready_is_ready_and_nothing_is_written_to_the_cluster(cluster, tmp_path) -> None:
    result, report, lines = run(cluster, tmp_path)
    assert (result["changed"], result["ready"], result.get("failed"), lines) == (False, True, None, [])
    assert cluster.writes() == []
    assert report["versions"] == {"Kubernetes": "v1.35.4", "aim": "3.29.1"}


def test_hosts_and_nodes_of_one_name_are_one_machine_with_disks_and_pods(cluster, tmp_path) -> None:
    _result, report, _lines = run(cluster, tmp_path)
    machines = {machine["name"]: machine for machine in report["nodes"]}
    # A node that no inventory names is shown only when something of ours runs there.
    assert sorted(machines) == ["w1", "w9"]
    assert machines["w1"]["disks"] == [{"path": "/ais/disk0", "device": "/dev/x", "uuid": "u", "size_bytes": 5, "ready": True}]
    assert machines["w1"]["pods"] == [{"namespace": "aim", "name": "aim-0", "state": "ready"}]


def test_what_is_not_ready_fails_the_task_after_the_report_is_written(cluster, tmp_path) -> None:
    objects = [{"set": "mlflow", "kind": "Deployment", "name": "mlflow", "state": "failed", "reason": "0/2 available"}]
    result, report, lines = run(cluster, tmp_path, objects=objects)
    assert result["failed"] and report["ready"] is False
    assert "mlflow: Deployment mlflow is failed: 0/2 available" in result["msg"]
    assert lines == ["mlflow/Deployment mlflow: failed, 0/2 available"]


def test_a_report_that_cannot_be_written_still_says_what_is_not_ready(cluster, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    result, _report, _lines = run(cluster, tmp_path / "file", results={})
    assert result["failed"] and "w1: ais_datafs is absent" in result["msg"]
    assert "could not be written" in result["msg"] and "slipway_report" not in result
    assert run(cluster, tmp_path / "file")[0]["msg"].startswith("Everything is ready. The report: none, for it could not be written")


def test_a_host_that_was_not_read_back_is_not_ready(cluster, tmp_path) -> None:
    result, report, _lines = run(cluster, tmp_path, results={})
    assert result["failed"] and report["items"][0]["state"] == "absent"


def test_a_cluster_that_does_not_answer_is_in_the_report(cluster, tmp_path) -> None:
    def fail(verb, ref) -> None:
        raise Unreachable("connection refused")

    cluster.fail = fail
    result, report, _lines = run(cluster, tmp_path)
    assert result["failed"]
    assert report["items"][-1] == {"area": "cluster", "where": "API server", "what": "answers", "state": "failed", "reason": "connection refused"}


def test_a_picture_that_nobody_may_look_at_is_not_red(cluster, tmp_path) -> None:
    def fail(verb, ref) -> None:
        if verb == "list":
            raise Forbidden("nodes is forbidden")

    cluster.fail = fail
    result, report, _lines = run(cluster, tmp_path)
    assert result["ready"] is True
    assert [machine["ready"] for machine in report["nodes"]] == [None]


def test_check_mode_judges_and_leaves_the_report_of_before(cluster, tmp_path) -> None:
    result, report, _lines = run(cluster, tmp_path, results={}, check_mode=True)
    assert result["failed"] and report == {} and "slipway_report" not in result


@pytest.mark.parametrize(
    ("proof", "reason"),
    [({"name": "aistore"}, "was not run: something that it needs failed"), ({"name": "aistore", "failed": True, "msg": "no answer"}, "no answer")],
)
def test_a_proof_that_was_not_run_is_not_ready(cluster, tmp_path, proof, reason) -> None:
    result, report, _lines = run(cluster, tmp_path, proofs=[proof])
    assert result["failed"]
    assert (report["items"][-1]["state"], report["items"][-1]["reason"], report["proofs"][0]["ready"]) == ("failed", reason, False)


def test_disks_of_a_host_that_differs_or_failed_are_not_ready() -> None:
    disks = [{"path": "/a", "actions": []}, {"path": "/b", "actions": ["mount"]}]
    assert [disk["ready"] for disk in _run_site_report.disks({"changed": True, "disks": disks})] == [True, False]
    assert [disk["ready"] for disk in _run_site_report.disks({"failed": True, "disks": disks})] == [False, False]
