# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's part of kubelet_config, on a cluster and a host in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _run_kubelet_config as run_kubelet_config
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Ref, Refused, Response, Unreachable
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from fakes import FakeCluster
from test__node_turn import NOW, PARAMS, Nodes

SYSCTL = "net.core.somaxconn"
CONFIG = "/var/lib/kubelet/config.yaml"
DOCUMENT = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n# why: for the site\nclusterDomain: cluster.local\n"


class Kubelets(Nodes):
    """Nodes whose kubelets answer through the API server's proxy, or not."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.lists: dict[str, list[str] | None] = {name: [] for name in names}  # None: the kubelet does not answer
        self.patient: list[float | None] = []
        self.answers: Any = None

    def request(self, method: str, path: str, query: Any = None, body: Any = None, headers: Any = None, timeout: Any = None, patience: Any = None) -> Response:
        self.patient.append(patience)
        node = path.split("/")[4]
        assert path == f"/api/v1/nodes/{node}/proxy/configz"
        if self.answers:
            return self.answers(node)
        found = self.lists[node]
        if found is None:
            if patience is None:  # as _cluster does: it waits for what may pass by itself, and a dead kubelet does not
                raise Unreachable(f"no usable answer to GET {path} in 60 s: HTTP 503")
            return Response(503, {}, b"dial tcp: connection refused")
        return Response(200, {}, json.dumps({"kubeletconfig": {"allowedUnsafeSysctls": found}}).encode())


class Host:
    """The host module: what `plan` says, and what comes of `apply`."""

    def __init__(self, cluster: Kubelets, node: str = "w1", apply: Any = None, **plan: Any) -> None:
        self.cluster, self.node, self.apply, self.steps = cluster, node, apply, []
        about = {"node": node, "machine_id": f"id-{node}", "source": CONFIG, "before": [], "after": [SYSCTL], "actions": ["x"], "pending": False}
        self.plan = {"changed": True, **about, **plan}

    def __call__(self, step: str, **more: Any) -> dict[str, Any]:
        assert not more
        self.steps.append(step)
        if step in ("apply", "put_back"):
            self.cluster.node(self.node)
            self.cluster.heartbeat(self.node, NOW + 1)
        if step == "apply" and self.apply:
            self.apply()
        return dict(self.plan) if step == "plan" else {"restarted_at": NOW, "message": "The old content was put back."}


def run(cluster: Kubelets, host: Host, check_mode: bool = False, **params: Any) -> dict[str, Any]:
    given = {**PARAMS, "sysctls": [SYSCTL], "state": "present", "allow_wildcards": False, "kubeadm_config_map": True, **params}
    return run_kubelet_config.run(Call(given, check_mode=check_mode, cluster=cluster, clock=cluster.clock), host, "run-1")


def config_map(cluster: FakeCluster, document: str = DOCUMENT) -> Ref:
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kubelet-config", "namespace": "kube-system"}, "data": {"kubelet": document}})
    return run_kubelet_config.CONFIG_MAP


def accepts(cluster: Kubelets) -> Any:
    return lambda: cluster.lists.update(w1=[SYSCTL])


def test_a_kubelet_that_a_killed_run_left_dead_does_not_keep_the_next_run_from_mending_it() -> None:
    cluster = Kubelets("w1")
    cluster.lists["w1"] = None
    cluster.node("w1", ready=False)
    host = Host(cluster, pending=True, before=[], after=[], apply=accepts(cluster))
    assert run(cluster, host)["changed"]
    assert host.steps == ["plan", "apply", "confirm"]
    assert cluster.patient[0] == 0  # nobody waits for it


def test_a_kubelet_that_the_api_server_cannot_reach_is_proved_by_its_node_alone() -> None:
    cluster = Kubelets("w1")

    def behind_a_wall(_node: str) -> Response:
        raise Unreachable("no usable answer: timed out")

    cluster.answers = behind_a_wall
    host = Host(cluster)
    assert run(cluster, host)["changed"]
    assert host.steps == ["plan", "apply", "confirm"]


def test_an_account_that_may_not_ask_kubelets_can_change_them() -> None:
    cluster = Kubelets("w1")
    cluster.answers = lambda _node: Response(403, {}, b"{}")
    host = Host(cluster)
    run(cluster, host)
    assert host.steps == ["plan", "apply", "confirm"]


def test_an_api_server_that_goes_away_before_the_proof_is_waited_for() -> None:
    cluster, away = Kubelets("w1"), {"since": 1e9}

    def answers(node: str) -> Response:
        if "apply" in host.steps and cluster.clock.now() < away["since"] + 20:
            away["since"] = min(away["since"], cluster.clock.now())
            raise Unreachable("connection refused")
        return Response(200, {}, json.dumps({"kubeletconfig": {"allowedUnsafeSysctls": [SYSCTL] if "apply" in host.steps else []}}).encode())

    def fail(_verb: str, ref: Any) -> None:
        if ref.kind == "Node" and away["since"] <= cluster.clock.now() < away["since"] + 20:
            raise ClusterError("connection refused")

    cluster.answers, cluster.fail = answers, fail
    host = Host(cluster)
    run(cluster, host)
    assert host.steps == ["plan", "apply", "confirm"]
    assert cluster.clock.now() >= 20


def test_an_api_server_that_stays_away_takes_the_change_back() -> None:
    cluster = Kubelets("w1")
    asked: list[str] = []

    def answers(_node: str) -> Response:
        if "apply" in host.steps:
            asked.append("gone")
            raise Unreachable("connection refused")
        return Response(200, {}, b"{}")

    def fail(_verb: str, ref: Any) -> None:
        if ref.kind == "Node" and asked and "put_back" not in host.steps:
            raise ClusterError("connection refused")

    cluster.answers, cluster.fail = answers, fail
    host = Host(cluster)
    with pytest.raises(Refused, match=r"w1: the API server does not answer: connection refused. The old content was put back"):
        run(cluster, host)
    assert host.steps == ["plan", "apply", "put_back"]


def test_a_kubelet_that_reports_another_list_gets_its_old_file_back() -> None:
    cluster = Kubelets("w1")
    host = Host(cluster)
    with pytest.raises(Refused, match=r"the kubelet runs, but reports allowedUnsafeSysctls \[\]: a flag or another file overrides"):
        run(cluster, host)
    assert host.steps == ["plan", "apply", "put_back"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_file_that_the_kubelet_has_never_read_is_no_success_and_nothing_is_restarted(check_mode: bool) -> None:
    cluster = Kubelets("w1")
    host = Host(cluster, changed=False, before=[SYSCTL], actions=[])
    with pytest.raises(Refused, match=rf"w1: {CONFIG} is as wanted, but the kubelet runs with allowedUnsafeSysctls \[\].*Restart the kubelet"):
        run(cluster, host, check_mode)
    assert host.steps == ["plan"]


def test_nothing_to_do_is_one_look() -> None:
    cluster = Kubelets("w1")
    cluster.lists["w1"] = [SYSCTL]
    host = Host(cluster, changed=False, before=[SYSCTL], actions=[])
    result = run(cluster, host)
    assert (result["changed"], result["config_map"], host.steps) == (False, "absent", ["plan"])
    assert cluster.writes() == []


def test_the_config_map_follows_the_node_and_keeps_its_comments() -> None:
    cluster = Kubelets("w1")
    ref = config_map(cluster)
    result = run(cluster, Host(cluster, apply=accepts(cluster)))
    assert result["config_map"] == "updated"
    text = cluster.objects[ref]["data"]["kubelet"]
    assert text == DOCUMENT + f"allowedUnsafeSysctls:\n- {SYSCTL}\n"
    again = run(cluster, Host(cluster, changed=False, before=[SYSCTL], actions=[]))
    assert (again["config_map"], again["changed"]) == ("unchanged", False)


def test_the_config_map_stays_as_it_is_where_the_node_fails_and_in_check_mode() -> None:
    cluster = Kubelets("w1")
    ref = config_map(cluster)
    assert run(cluster, Host(cluster), check_mode=True)["config_map"] == "updated"
    with pytest.raises(Refused):
        run(cluster, Host(cluster))
    assert cluster.objects[ref]["data"]["kubelet"] == DOCUMENT


def test_a_sysctl_that_a_running_pod_uses_is_not_taken_out() -> None:
    cluster = Kubelets("w1")
    cluster.pod("web", "w1")
    pod = next(live for ref, live in cluster.objects.items() if ref.name == "web")
    pod["spec"]["securityContext"] = {"sysctls": [{"name": SYSCTL, "value": "1"}]}
    host = Host(cluster, before=[SYSCTL], after=[])
    with pytest.raises(Refused, match=f"pod default/web on w1 uses {SYSCTL}: stop it first"):
        run(cluster, host, state="absent")
    assert host.steps == ["plan"]
