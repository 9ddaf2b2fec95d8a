# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One node at a time: the Lease, what is looked at before, and when a node counts as back."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _lease as lease
from ansible_collections.slipway.mlops.plugins.module_utils import _node_turn as node_turn
from ansible_collections.slipway.mlops.plugins.module_utils import _run_node_change as run_node_change
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Forbidden, Listing, Refused
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from ansible_collections.slipway.mlops.plugins.module_utils._node_turn import LEASE, Turn
from fakes import FakeClock, FakeCluster

NOW = datetime.datetime.now(datetime.timezone.utc).timestamp()
PARAMS = {"timeout": 60, "turn_timeout": 100, "max_nodes_out": 0}


class Nodes(FakeCluster):
    """A cluster with nodes, pods on them, and kubelets that report."""

    def __init__(self, *names: str) -> None:
        super().__init__(FakeClock())
        self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
        for name in names:
            self.node(name)
            self.heartbeat(name, NOW - 5)

    def node(self, name: str, ready: bool = True, machine: str = "") -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "Unknown", "message": "" if ready else "Kubelet stopped posting node status."}]
        status = {"conditions": conditions, "nodeInfo": {"machineID": machine or f"id-{name}"}}
        self.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": f"host-{name}"}}, "status": status})

    def heartbeat(self, name: str, time: float) -> None:
        when = datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata = {"name": name, "namespace": "kube-node-lease"}
        self.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {"renewTime": when}})

    def pod(self, name: str, node: str, ready: bool = True, **status: Any) -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
        body = {"phase": "Running", "conditions": conditions, **status}
        self.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}, "status": body})

    def list(self, api_version: str, kind: str, namespace: str = "", labels: str = "", fields: str = "", metadata_only: bool = False) -> Listing:
        found = super().list(api_version, kind, namespace, labels)
        node = fields.partition("spec.nodeName=")[2]
        return Listing([item for item in found.items if not node or item["spec"].get("nodeName") == node], found.version)

    def lease(self) -> dict[str, Any]:
        return self.objects[LEASE]


class Host:
    """The host module's steps; `then` is what happens to the cluster when the daemon was restarted."""

    def __init__(self, then: Any = None, back: Any = None) -> None:
        self.steps: list[str] = []
        self.then, self.back = then, back

    def __call__(self, step: str, **_more: Any) -> dict[str, Any]:
        self.steps.append(step)
        if step == "apply" and self.then:
            self.then()
        if step == "put_back" and self.back:
            self.back()
        return {"restarted_at": NOW, "message": "The old content was put back.", "pending": False}


def change(cluster: Nodes, host: Host, node: str = "w1", run: str = "run-1", prove: Any = str, **params: Any) -> None:
    call = Call({**PARAMS, **params}, cluster=cluster, clock=cluster.clock)
    run_node_change.change_node(call, host, Turn(run, node), {"pending": False}, prove)


def test_a_node_that_comes_back_keeps_the_change_and_gives_its_turn_away() -> None:
    cluster = Nodes("w1", "w2")
    cluster.pod("web", "w1")
    host = Host(then=lambda: cluster.heartbeat("w1", NOW + 1))
    change(cluster, host)
    assert host.steps == ["apply", "confirm"]
    assert cluster.lease()["spec"]["holderIdentity"] == ""
    assert not cluster.lease()["metadata"].get("annotations")


def test_a_right_that_is_missing_for_the_wait_is_told_before_anything_restarts() -> None:
    cluster, host = Nodes("w1"), Host()

    def fail(verb: str, ref: Any) -> None:
        if verb == "get" and getattr(ref, "namespace", "") == "kube-node-lease":
            raise Forbidden("may not get leases in namespace kube-node-lease")

    cluster.fail = fail
    with pytest.raises(Forbidden, match="may not get leases"):
        change(cluster, host)
    assert host.steps == []


def test_no_node_is_disturbed_while_another_is_out() -> None:
    cluster = Nodes("w1", "w2", "w3")
    cluster.node("w3", ready=False)
    host = Host()
    with pytest.raises(Refused, match="w1 is left as it is, because other nodes are not Ready: w3"):
        change(cluster, host)
    assert host.steps == []


def test_a_node_long_out_of_service_can_be_allowed_for() -> None:
    cluster = Nodes("w1", "w3")
    cluster.node("w3", ready=False)
    host = Host(then=lambda: cluster.heartbeat("w1", NOW + 1))
    change(cluster, host, max_nodes_out=1)
    assert host.steps == ["apply", "confirm"]


def test_a_node_that_is_not_ready_before_is_not_made_worse() -> None:
    cluster = Nodes("w1")
    cluster.node("w1", ready=False)
    host = Host()
    with pytest.raises(Refused, match="not Ready even before"):
        change(cluster, host)
    assert host.steps == []


def test_a_node_whose_kubelet_does_not_report_again_is_taken_back() -> None:
    # Its condition Ready is still true: it outlives a dead kubelet by 40 seconds.
    cluster = Nodes("w1")
    host = Host(back=lambda: cluster.heartbeat("w1", NOW + 1))
    with pytest.raises(Refused) as error:
        change(cluster, host)
    assert host.steps == ["apply", "put_back"]
    assert "w1: the kubelet of w1 has not reported to the API server since its restart" in str(error.value)
    assert "Node and pods are well again" in str(error.value)


def test_pods_that_do_not_come_back_take_the_change_back_and_are_named() -> None:
    cluster = Nodes("w1")
    cluster.pod("web", "w1")
    cluster.pod("never", "w1", ready=False)

    def broken() -> None:
        cluster.heartbeat("w1", NOW + 1)
        cluster.pod("web", "w1", ready=False)

    host = Host(then=broken, back=lambda: cluster.pod("web", "w1"))
    with pytest.raises(Refused, match="pods that were Ready before are not: default/web"):
        change(cluster, host)
    assert host.steps == ["apply", "put_back"]


def test_a_pod_that_the_restarted_kubelet_refuses_ends_the_wait_at_once() -> None:
    cluster = Nodes("w1")
    cluster.pod("web", "w1")

    def refused() -> None:
        cluster.heartbeat("w1", NOW + 1)
        cluster.pod("web", "w1", ready=False, phase="Failed", reason="SysctlForbidden", message="forbidden sysctl")

    host = Host(then=refused, back=lambda: cluster.pod("web", "w1"))
    with pytest.raises(Refused, match="pod default/web failed: SysctlForbidden"):
        change(cluster, host, timeout=1000)
    assert cluster.clock.now() < 100


def test_a_pod_that_flickers_is_waited_for_until_it_is_steady() -> None:
    cluster = Nodes("w1")
    cluster.pod("web", "w1")

    def flicker() -> None:
        cluster.heartbeat("w1", NOW + 1)
        cluster.clock.at(cluster.clock.now() + 3, lambda: cluster.pod("web", "w1", ready=False))
        cluster.clock.at(cluster.clock.now() + 12, lambda: cluster.pod("web", "w1"))

    host = Host(then=flicker)
    change(cluster, host)
    assert host.steps == ["apply", "confirm"]
    assert cluster.clock.now() >= 17


def test_a_pod_that_left_or_ended_is_not_waited_for() -> None:
    cluster = Nodes("w1")
    for name in ("gone", "done"):
        cluster.pod(name, "w1")

    def leave() -> None:
        cluster.heartbeat("w1", NOW + 1)
        cluster.pod("gone", "w2")
        cluster.pod("done", "w1", ready=False, phase="Succeeded")

    change(cluster, Host(then=leave))


def test_what_the_daemon_itself_says_decides_last() -> None:
    cluster = Nodes("w1")
    host = Host(then=lambda: cluster.heartbeat("w1", NOW + 1))
    with pytest.raises(Refused, match="a flag overrides the list"):
        change(cluster, host, prove=lambda: "a flag overrides the list")
    assert host.steps == ["apply", "put_back"]


def test_an_api_server_on_the_node_may_be_away_for_a_while() -> None:
    cluster = Nodes("w1")
    away = {"until": 20.0, "armed": False}

    def fail(verb: str, _ref: Any) -> None:
        if away["armed"] and verb != "patch" and cluster.clock.now() < away["until"]:
            raise ClusterError("connection refused")

    def restarted() -> None:
        cluster.heartbeat("w1", NOW + 1)
        away["armed"] = True

    cluster.fail = fail
    host = Host(then=restarted)
    change(cluster, host)
    assert host.steps == ["apply", "confirm"]


def test_after_a_failure_the_other_nodes_of_the_run_are_left_alone_and_those_of_the_next_are_not() -> None:
    cluster = Nodes("w1", "w2")
    with pytest.raises(Refused):
        change(cluster, Host(back=lambda: cluster.heartbeat("w1", NOW + 1)))
    second = Host()
    with pytest.raises(Refused, match="node w1 failed earlier in this run, so w2 is left as it is"):
        change(cluster, second, node="w2")
    assert second.steps == []
    third = Host(then=lambda: cluster.heartbeat("w2", NOW + 1))
    change(cluster, third, node="w2", run="run-2")
    assert third.steps == ["apply", "confirm"]


def test_a_turn_that_another_run_holds_is_waited_for() -> None:
    cluster, told = Nodes("w1"), []
    with node_turn.taken(cluster, cluster.clock, Turn("other", "w9"), 10, told.append):
        pass
    cluster.lease()["spec"].update(holderIdentity="other/w9")
    cluster.clock.at(7, lambda: cluster.put({**cluster.lease(), "spec": {"holderIdentity": "", "leaseDurationSeconds": 40}}))
    with node_turn.taken(cluster, cluster.clock, Turn("run-1", "w1"), 100, told.append):
        assert cluster.lease()["spec"]["holderIdentity"] == "run-1/w1"
    assert told == ["w1 waits for its turn; w9 has it"]
    assert 7 <= cluster.clock.now() < 12


def test_a_turn_whose_holder_died_ends_by_itself() -> None:
    cluster = Nodes("w1")
    cluster.create(lease._lease(lease.Claim(LEASE, "dead/w9", "x")), "x")
    with node_turn.taken(cluster, cluster.clock, Turn("run-1", "w1"), 100, lambda _line: None):
        assert cluster.clock.now() > lease.DURATION


def test_a_turn_that_does_not_come_is_refused_with_the_holder() -> None:
    cluster = Nodes("w1")
    cluster.create(lease._lease(lease.Claim(LEASE, "alive/w9", "x")), "x")
    for second in range(0, 60, 5):  # it renews
        cluster.clock.at(second, lambda second=second: cluster.put({**cluster.lease(), "spec": {**cluster.lease()["spec"], "renewTime": str(second)}}))
    with (
        pytest.raises(Refused, match=r"within 50 seconds: alive/w9 holds Lease kube-system/slipway-node-turn"),
        node_turn.taken(cluster, cluster.clock, Turn("run-1", "w1"), 50, lambda _line: None),
    ):
        raise AssertionError("it got the turn")


def test_a_host_is_found_by_name_or_host_name_and_never_taken_for_another_machine() -> None:
    nodes = Nodes("w1", "w2").list("v1", "Node").items
    assert node_turn.find(nodes, "w1", "id-w1")["metadata"]["name"] == "w1"
    assert node_turn.find(nodes, "host-w2", "id-w2")["metadata"]["name"] == "w2"
    assert node_turn.find(nodes, "w2", "")["metadata"]["name"] == "w2"
    with pytest.raises(Refused, match="no node h; it has w1, w2"):
        node_turn.find(nodes, "h", "")
    with pytest.raises(Refused, match="machine id is id-other, that of node w1 is id-w1"):
        node_turn.find(nodes, "w1", "id-other")
