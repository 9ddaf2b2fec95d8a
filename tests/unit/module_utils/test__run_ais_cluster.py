# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ais_cluster against a cluster in memory: an API server of dicts with AIStore's daemons behind its pod proxy."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from ais_answers import UUID, smap, status
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_config as configuration
from ansible_collections.slipway.mlops.plugins.module_utils import _run_ais_cluster as module
from ansible_collections.slipway.mlops.plugins.module_utils import _run_ais_cluster_info as info_module
from ansible_collections.slipway.mlops.plugins.module_utils._ais_layout import Daemon, daemons, layout
from ansible_collections.slipway.mlops.plugins.module_utils._ais_options import wanted
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Ref, Refused, Response
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from fakes import FakeClock, FakeCluster

NODES = ["w1", "w2", "w3"]
DECLARED: dict[str, Any] = {"targets": NODES, "proxies": NODES, "initial_primary": "w2", "mountpaths": ["/ais/disk0"]}


def options(**over: Any) -> dict[str, Any]:
    defaults = {name: copy.deepcopy(option.get("default")) for name, option in module.ARGUMENTS.items()}
    return {**defaults, **DECLARED, **over}


def info_options(**over: Any) -> dict[str, Any]:
    return {name: copy.deepcopy(option.get("default")) for name, option in info_module.ARGUMENTS.items()} | over


class FakeAis(FakeCluster):
    """Six daemons that have formed a cluster. Deleting a pod brings a new one on the current template two seconds later, as OnDelete does."""

    def __init__(self, **over: Any) -> None:
        super().__init__(FakeClock())
        self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ais"}})
        self.daemons: list[Daemon] = daemons(wanted(options(**over)))
        self.flags = {daemon.pod: 0 for daemon in self.daemons}  # in the cluster map
        self.states = {daemon.pod: 6 for daemon in self.daemons}
        self.down: set[str] = set()
        self.config = configuration.initial({}, {}, [])
        self.buckets: dict[str, Any] = {}
        self.told: list[tuple[str, str, Any]] = []
        self.rebalance_seconds = 3.0
        self.without: dict[str, str] = {}  # backends that targets cannot begin, and why
        self.not_ready_until = 0.0
        self.scheme = ""
        self.made, self.snap = "", None  # when the cluster was made; its last rebalance as each target tells of it
        self.moving = 0  # rebalances that the primary knows to run; targets say so a second later
        for daemon in self.daemons:
            self._stateful_set(daemon, "r1")
            self._pod(daemon, "r1")

    def _labels(self, daemon: Daemon) -> dict[str, str]:
        return {"app.kubernetes.io/name": "aistore", "app.kubernetes.io/instance": "ais", "app.kubernetes.io/component": daemon.role}

    def _stateful_set(self, daemon: Daemon, revision: str, image: str = "aisnode:5.0") -> None:
        mounts = [{"name": "disk0", "mountPath": "/ais/disk0"}] if daemon.role == "target" else []
        template = {"metadata": {}, "spec": {"containers": [{"name": "aisnode", "image": image, "volumeMounts": mounts}]}}
        meta = {"name": daemon.name, "namespace": "ais", "labels": self._labels(daemon), "annotations": {"slipway.mlops/node": daemon.node}}
        self.put({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": {"replicas": 1, "template": template}})
        live = self.objects[Ref("apps/v1", "StatefulSet", "ais", daemon.name)]
        live["status"] = {"observedGeneration": live["metadata"].get("generation", 0), "updateRevision": revision}

    def _pod(self, daemon: Daemon, revision: str) -> None:
        image = self.objects[Ref("apps/v1", "StatefulSet", "ais", daemon.name)]["spec"]["template"]["spec"]["containers"][0]["image"]
        plan = layout(wanted(options()))
        own = next(item["config_digest"] for item in plan["daemons"] if item["name"] == daemon.name)
        annotations = {"slipway.mlops/config-at-start": plan["config_at_start"], "slipway.mlops/local-config": own}
        labels = {**self._labels(daemon), "controller-revision-hash": revision}
        meta = {"name": daemon.pod, "namespace": "ais", "labels": labels, "annotations": annotations}
        spec = {"containers": [{"name": "aisnode", "image": image}]}
        self.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        self.objects[Ref("v1", "Pod", "ais", daemon.pod)]["status"] = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]}

    def new_template(self, image: str, only: str = "") -> None:
        for daemon in self.daemons:
            if only in daemon.name:
                self._stateful_set(daemon, "r2", image)

    def delete(self, ref: Ref, uid: str, dry_run: bool = False) -> bool:
        gone = super().delete(ref, uid, dry_run)
        daemon = next(daemon for daemon in self.daemons if daemon.pod == ref.name)
        self.told.append(("delete", ref.name, self.flags[ref.name]))
        if ref.name == "ais-ais-proxy-w2-0":  # the primary
            self.not_ready_until = self.clock.now() + 20
        if self.flags[ref.name]:
            self.clock.at(self.clock.now() + 2, lambda: self._rebalance(lambda: None))
        self.flags[ref.name] = 0  # a target that ends leaves the map, and joins it again by itself
        revision = self.objects[Ref("apps/v1", "StatefulSet", "ais", daemon.name)]["status"]["updateRevision"]
        self.clock.at(self.clock.now() + 2, lambda: self._pod(daemon, revision))
        return gone

    def request(self, method: str, path: str, query: Any = None, body: Any = None, headers: Any = None, timeout: Any = None, patience: Any = None) -> Response:
        match = re.fullmatch(rf"/api/v1/namespaces/ais/pods/{self.scheme}([^:]+):(\d+)/proxy(.*)", path)
        if not match:
            return Response(503, {}, f"nothing speaks so: {path}".encode())
        pod, what = match[1], (query or {}).get("what")
        daemon = next(daemon for daemon in self.daemons if daemon.pod == pod)
        assert int(match[2]) == daemon.port
        if pod in self.down:
            return Response(503, {}, b"no route")
        message = json.loads(body) if body else {}
        if message.get("action") in ("start-maintenance", "stop-maintenance") and self.moving:
            return Response(409, {}, b"cluster membership is currently busy: rebalance[g7] is running")
        if message:
            self.told.append((message["action"], pod, message.get("value")))
        if message.get("action") == "set-config" and self.clock.now() < self.not_ready_until:
            return Response(503, {}, b"primary: not ready yet (finalizing global rebalancing state)")
        if message.get("action") == "reload-creds" and message["name"] in self.without:
            return Response(500, {}, self.without[message["name"]].encode())
        answer = self._answer(daemon, method, match[3], what, message)
        return Response(200, {}, json.dumps(answer).encode())

    def _answer(self, daemon: Daemon, method: str, path: str, what: str, message: dict[str, Any]) -> Any:
        if what == "node_status":
            return status(daemon.pod, daemon.role, self.states[daemon.pod], primary="ais-ais-proxy-w2-0", snap=self.snap if daemon.role == "target" else None)
        if what == "mountpaths":
            return {"available": ["/ais/disk0"], "disabled": []}
        if what == "smap":
            by_role = [{d.pod: self.flags[d.pod] for d in self.daemons if d.role == role} for role in ("proxy", "target")]
            return {**smap(*by_role), "creation_time": self.made}
        if what == "cluster_config":
            return self.config
        if what == "bmd":
            return {"providers": {"ais": {"@#": self.buckets}}}
        action, value = message["action"], message.get("value")
        if action == "set-config":
            backend = {"backend": value.get("backend", self.config.get("backend"))}  # replaced as a whole
            self.config = configuration.nest(dict(configuration.flatten(self.config)) | dict(configuration.flatten(value))) | backend
        elif action == "start-maintenance":
            self.flags[value["sid"]] = 20 if value["skip_rebalance"] else 4
            if value["skip_rebalance"]:
                return None
            self._rebalance(lambda: self.flags.__setitem__(value["sid"], 20))
        elif action == "stop-maintenance":
            self.flags[value["sid"]] = 0
            self._rebalance(lambda: None)
        elif action == "reload-creds":
            assert message["name"] in self.config["backend"]
        elif action == "start":
            self._rebalance(lambda: None)
            return "g7"
        elif action in ("create-bck", "set-bprops"):
            self.buckets[path.rpartition("/")[2]] = value or {}
        elif action == "destroy-bck":
            del self.buckets[path.rpartition("/")[2]]
        else:
            raise AssertionError(f"unexpected {method} {path} {message}")
        return None

    def _rebalance(self, then: Any) -> None:
        targets = [daemon.pod for daemon in self.daemons if daemon.role == "target"]
        self.moving += 1

        def begin() -> None:
            for pod in targets:
                self.states[pod] = 6 | 8

        def end() -> None:
            self.moving -= 1
            self.snap = {"start-time": "2026-11-22T23:00:00Z", "end-time": "2026-11-22T23:01:00Z"}
            for pod in targets:
                self.states[pod] = 6 | (8 if self.moving else 0)
            then()

        self.clock.at(self.clock.now() + 0.5, begin)
        self.clock.at(self.clock.now() + self.rebalance_seconds, end)


def run(cluster: FakeAis, check_mode: bool = False, lines: list[str] | None = None, **over: Any) -> dict[str, Any]:
    progress = lines.append if lines is not None else None
    return module.run(Call(options(**over), check_mode=check_mode, diff=True, cluster=cluster, clock=cluster.clock, progress=progress))


def test_a_cluster_as_declared_is_told_by_one_look() -> None:
    cluster = FakeAis()
    result = run(cluster)
    assert (result["changed"], result["ready"], result["problems"], result["actions"]) == (False, True, [], [])
    assert result["uuid"] == UUID
    assert [item for item in cluster.log if item[0] == "list"][2:] == []  # StatefulSets and Pods
    assert cluster.told == []
    assert cluster.clock.now() == 0


def test_configuration_is_set_through_the_api_and_read_back() -> None:
    cluster = FakeAis()
    result = run(cluster, config={"lru": {"enabled": True}, "memsys": {"min_free": "4GiB"}})
    told = {item["name"]: (item["after"], item["needs_restart"]) for item in result["config"]}
    assert told == {"lru.enabled": (True, False), "memsys.min_free": ("4GiB", True)}
    assert ("set-config", "ais-ais-proxy-w2-0", {"lru": {"enabled": True}, "memsys": {"min_free": "4GiB"}}) in cluster.told
    assert run(cluster, config={"lru": {"enabled": True}, "memsys": {"min_free": "4096mb"}})["changed"] is False


def test_a_backend_that_comes_later_is_set_beside_those_that_are_there() -> None:
    cluster = FakeAis()
    cluster.config["backend"] = {"gcp": {}, "ais": {"remote": ["http://there:51080"]}}
    result = run(cluster, backends={"aws": {"secret": "s3-credentials"}})
    assert [(item["name"], sorted(item["after"])) for item in result["config"]] == [("backend", ["ais", "aws", "gcp"])]
    assert cluster.config["backend"] == {"gcp": {}, "ais": {"remote": ["http://there:51080"]}, "aws": {}}
    assert run(cluster, backends={"aws": {"secret": "s3-credentials"}})["changed"] is False
    assert run(cluster)["changed"] is False


def test_a_backend_begins_when_restarts_have_brought_its_credentials() -> None:
    cluster = FakeAis()
    cluster.new_template("aisnode:5.0-aws")
    declared = {"backends": {"aws": {"secret": "s3-credentials"}}, "buckets": [{"name": "cloud", "provider": "aws"}]}
    assert len(run(cluster, **declared)["restarts"]) == 6
    told = [action for action, _pod, _value in cluster.told]
    assert told[-1] == "create-bck" and told.index("set-config") > max(n for n, action in enumerate(told) if action == "delete")
    assert told.index("reload-creds") > told.index("set-config") and cluster.config["backend"] == {"aws": {}}


def test_a_backend_that_targets_cannot_begin_is_taken_back() -> None:
    cluster = FakeAis()
    cluster.config["backend"] = {"gcp": {}}
    cluster.without = {"oci": "cannot initialize OCI backend: missing OCI-supporting libraries in the build"}
    result = run(cluster, backends={name: {"secret": "credentials"} for name in ("aws", "gcp", "oci")})
    assert (result["failed"], result["changed"], result["config"]) == (True, True, [])
    assert result["msg"].startswith("aistore_backends.oci: a target cannot begin it, and the former setting is back.")
    assert "missing OCI-supporting libraries" in result["msg"]
    assert cluster.config["backend"] == {"gcp": {}}


def test_a_configuration_that_does_not_stay_is_an_error() -> None:
    cluster = FakeAis()
    before = cluster._answer
    cluster._answer = lambda *args: None if args[-1].get("action") == "set-config" else before(*args)
    result = run(cluster, config={"lru": {"enabled": True}})
    assert (result["failed"], result["changed"], result["actions"]) == (True, True, ["AIStore lru.enabled None -> True"])
    assert "yet reports another: lru.enabled" in result["msg"]


def test_check_mode_tells_and_does_nothing() -> None:
    cluster = FakeAis()
    actions = {"ais-ais-proxy-w3": "updated", "ais-ais-proxy-w1": "unchanged"}
    objects = [{"kind": "StatefulSet", "name": name, "action": action} for name, action in actions.items()]
    result = run(cluster, check_mode=True, config={"lru": {"enabled": True}}, buckets=[{"name": "new"}], objects=objects)
    assert cluster.told == []
    assert result["actions"] == ["AIStore lru.enabled None -> True", "bucket new created", "restart ais-ais-proxy-w3-0 (node w3): its pod template"]
    assert result["diff"]["after"]["bucket new"] == {"exists": True}


def test_check_mode_says_why_a_daemon_is_going_to_restart() -> None:
    cluster = FakeAis()
    objects = [{"kind": "StatefulSet", "name": daemon.name, "action": "updated"} for daemon in cluster.daemons]
    result = run(cluster, check_mode=True, config={"memsys": {"min_free": "4GiB"}}, objects=objects)
    assert [item["reason"] for item in result["restarts"]] == ["settings that are read at start"] * 6
    result = run(cluster, check_mode=True, access="host_port", public_addresses={"w1": "1", "w2": "2", "w3": "3"}, objects=objects)
    assert {item["reason"] for item in result["restarts"]} == {"its own addresses, ports or mount paths"}


def test_buckets_are_made_changed_and_destroyed_only_by_name() -> None:
    cluster = FakeAis()
    cluster.buckets = {"old": {}, "foreign": {}, "kept": {"mirror": {"enabled": False}}}
    result = run(cluster, buckets=[{"name": "new", "lru": {"enabled": True}}, {"name": "kept", "mirror": {"enabled": False}}], buckets_absent=["old", "never"])
    assert result["buckets"] == [{"name": "new", "action": "created"}, {"name": "old", "action": "deleted"}]
    assert cluster.buckets == {"foreign": {}, "kept": {"mirror": {"enabled": False}}, "new": {"lru": {"enabled": True}}}


def test_daemons_restart_one_at_a_time_targets_first_the_primary_last() -> None:
    cluster = FakeAis()
    cluster.new_template("aisnode:5.1")
    lines: list[str] = []
    result = run(cluster, lines=lines)
    deleted = [pod for action, pod, _flags in cluster.told if action == "delete"]
    assert deleted == [
        "ais-ais-target-w1-0", "ais-ais-target-w2-0", "ais-ais-target-w3-0", "ais-ais-proxy-w1-0", "ais-ais-proxy-w3-0", "ais-ais-proxy-w2-0",
    ]  # fmt: skip
    # A target goes only when its objects are elsewhere.
    assert [flags for action, pod, flags in cluster.told if action == "delete" and "target" in pod] == [20, 20, 20]
    assert result["restarts"][0] == {"daemon": "ais-ais-target-w1-0", "node": "w1", "role": "target", "reason": "image aisnode:5.0 -> aisnode:5.1"}
    assert result["ready"] is True
    assert run(cluster)["changed"] is False


def test_of_two_runs_at_once_one_restarts_daemons() -> None:
    cluster = FakeAis()
    cluster.new_template("aisnode:5.1", only="proxy-w1")
    ref = Ref("coordination.k8s.io/v1", "Lease", "ais", "ais-ais-restarts")
    lease = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": {"name": ref.name, "namespace": ref.namespace}}
    cluster.put({**lease, "spec": {"holderIdentity": "other-1", "leaseDurationSeconds": 40}})
    with pytest.raises(Refused) as refused:
        run(cluster, wait_timeout=20)
    assert "other-1 restarts daemons of this AIStore cluster (it holds Lease ais/ais-ais-restarts)" in refused.value.problems[0]
    assert cluster.told == []
    # One that died does not renew it.
    assert len(run(cluster, wait_timeout=60)["restarts"]) == 1
    assert cluster.objects[ref]["spec"]["holderIdentity"] == ""


def test_without_moving_data_restarts_do_not_wait_for_a_rebalance() -> None:
    cluster = FakeAis()
    cluster.new_template("aisnode:5.1", only="target-w1")
    run(cluster, restart_moves_data=False)
    assert ("start-maintenance", "ais-ais-proxy-w2-0", {"sid": "ais-ais-target-w1-0", "skip_rebalance": True}) in cluster.told


def test_a_restart_stops_at_a_daemon_that_does_not_come_back() -> None:
    cluster = FakeAis()
    cluster.new_template("aisnode:5.1", only="proxy")
    cluster._pod = lambda daemon, revision: None  # type: ignore[method-assign]
    result = run(cluster, wait_timeout=30, config={"lru": {"enabled": True}})
    assert "proxy ais-ais-proxy-w1-0 (node w1) restarts" in result["msg"]
    assert (result["failed"], result["changed"]) == (True, True)
    assert [item["name"] for item in result["config"]] == ["lru.enabled"]
    assert [item["daemon"] for item in result["restarts"]] == ["ais-ais-proxy-w1-0"]  # and of the five that were left alone none
    assert [pod for action, pod, _flags in cluster.told if action == "delete"] == ["ais-ais-proxy-w1-0"]


def test_a_run_after_a_killed_one_goes_on_where_it_stopped() -> None:
    cluster = FakeAis()
    cluster.new_template("aisnode:5.1", only="target")
    cluster.flags["ais-ais-target-w3-0"] = 20  # the killed run had moved its objects away
    cluster.delete(Ref("v1", "Pod", "ais", "ais-ais-target-w1-0"), cluster.objects[Ref("v1", "Pod", "ais", "ais-ais-target-w1-0")]["metadata"]["uid"])
    cluster.clock.advance(5)
    cluster.told.clear()
    run(cluster)
    assert [pod for action, pod, _flags in cluster.told if action == "delete"] == ["ais-ais-target-w3-0", "ais-ais-target-w2-0"]
    assert [value["sid"] for action, _pod, value in cluster.told if action == "start-maintenance"] == ["ais-ais-target-w2-0"]


def test_maintenance_follows_the_declaration() -> None:
    cluster = FakeAis()
    result = run(cluster, maintenance=["w3"])
    assert result["maintenance"] == [{"daemon": "ais-ais-target-w3-0", "node": "w3", "action": "started"}]
    assert result["ready"] is True
    assert run(cluster, maintenance=["w3"])["changed"] is False
    assert run(cluster)["maintenance"] == [{"daemon": "ais-ais-target-w3-0", "node": "w3", "action": "ended"}]


@pytest.mark.parametrize("check_mode", [True, False])
def test_nothing_restarts_while_a_target_is_declared_out_of_service(check_mode: bool) -> None:
    cluster = FakeAis()
    run(cluster, maintenance=["w3"])
    cluster.new_template("aisnode:5.1")
    cluster.told.clear()
    with pytest.raises(Refused, match=r"ais-ais-target-w1-0 \(image .*aistore_maintenance names w3"):
        run(cluster, maintenance=["w3"], check_mode=check_mode)
    assert cluster.told == []
    back = run(cluster)
    assert back["restarts"][0]["node"] == "w3" and len(back["restarts"]) == 6
    assert (back["ready"], cluster.flags["ais-ais-target-w3-0"]) == (True, 0)


def test_a_target_is_told_again_to_leave_while_data_still_moves() -> None:
    cluster = FakeAis()
    cluster._rebalance(lambda: None)
    assert run(cluster, maintenance=["w3"])["ready"] is True
    assert cluster.flags["ais-ais-target-w3-0"] & 4


def test_two_targets_are_taken_back_though_the_first_sets_data_in_motion() -> None:
    cluster = FakeAis()
    run(cluster, maintenance=["w2", "w3"])
    back = run(cluster)
    assert [(item["node"], item["action"]) for item in back["maintenance"]] == [("w2", "ended"), ("w3", "ended")]
    assert (back["ready"], set(cluster.flags.values())) == (True, {0})


@pytest.mark.parametrize("over", [{"maintenance": ["w3"]}, {}])
def test_a_target_is_not_taken_out_where_the_cluster_would_not_move_its_objects(over: dict[str, Any]) -> None:
    cluster = FakeAis()
    cluster.config["rebalance"] = {"enabled": False}
    if not over:
        cluster.new_template("aisnode:5.1")
    with pytest.raises((ClusterError, Refused), match=r"rebalance\.enabled false"):
        run(cluster, config={"rebalance": {"enabled": False}}, **over)
    assert cluster.told == []
    if not over:
        assert len(run(cluster, config={"rebalance": {"enabled": False}}, restart_moves_data=False)["restarts"]) == 6


def test_maintenance_without_rebalance_is_refused_before_anything_is_sent() -> None:
    cluster = FakeAis()
    with pytest.raises(Refused, match=r"aistore_maintenance: with aistore_config\.rebalance\.enabled false"):
        run(cluster, state="planned", maintenance=["w3"], config={"rebalance": {"enabled": False}})


def test_the_only_target_restarts_without_maintenance() -> None:
    cluster = FakeAis(targets=["w1"])
    cluster.new_template("aisnode:5.1", only="target-w1")
    assert run(cluster, targets=["w1"])["ready"] is True
    assert cluster.told == [("delete", "ais-ais-target-w1-0", 0)]


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"config": {"lru": {"enabld": True}}}, "aistore_config.lru.enabld: AIStore 5.0 has no such setting"),
        ({"config": {"features": ["S3-Reverse"]}}, "did you mean S3-Reverse-Proxy"),
        ({"buckets": [{"name": "training", "mirror": {"copis": 2}}]}, r"aistore_buckets\[0\].mirror.copis: AIStore 5.0 has no such setting"),
        ({"maintenance": ["w4"]}, "aistore_maintenance: w4 is not among"),
    ],
)
def test_a_declaration_that_nobody_planned_is_refused_all_the_same(over: dict[str, Any], words: str, check_mode: bool) -> None:
    cluster = FakeAis()
    cluster.buckets["training"] = {}
    with pytest.raises(Refused, match=words):
        run(cluster, check_mode=check_mode, **over)
    assert cluster.told == []


def test_a_target_that_serves_against_the_declaration_is_a_problem() -> None:
    cluster = FakeAis()
    found = info_module.run(Call(info_options(maintenance=["w3"]), cluster=cluster, clock=cluster.clock))
    assert found["ready"] is False
    assert found["problems"] == ["target ais-ais-target-w3-0 (node w3) serves, and aistore_maintenance names it: its objects are not, or no longer, moved away"]


def test_an_interrupted_rebalance_is_started_again() -> None:
    cluster = FakeAis()
    cluster.states["ais-ais-target-w1-0"] = 6 | 16
    result = run(cluster)
    assert result["rebalances"] == [{"id": "g7", "reason": "one was interrupted on ais-ais-target-w1-0"}]
    assert result["ready"] is True


def anew(cluster: FakeAis) -> None:
    """All targets ended in good order and started anew after the cluster was made, which AIStore does not rebalance for."""
    cluster.made = "2026-11-22 21:00:00"
    for daemon in cluster.daemons:
        cluster.objects[Ref("v1", "Pod", "ais", daemon.pod)]["status"]["containerStatuses"] = [{"state": {"running": {"startedAt": "2026-11-22T22:00:00Z"}}}]


def test_after_all_targets_started_anew_a_rebalance_is_started() -> None:
    cluster = FakeAis()
    anew(cluster)
    reason = "none ran since ais-ais-target-w1-0, ais-ais-target-w2-0, ais-ais-target-w3-0 started"
    assert run(cluster, check_mode=True)["rebalances"] == [{"id": "", "reason": reason}]
    assert not info_module.run(Call(info_options(), cluster=cluster, clock=cluster.clock))["ready"]
    result = run(cluster)
    assert result["rebalances"] == [{"id": "g7", "reason": reason}]
    assert result["ready"] is True and cluster.told == [("start", "ais-ais-proxy-w2-0", {"kind": "rebalance"})]
    assert run(cluster)["changed"] is False


def test_a_rebalance_that_aistore_begins_by_itself_is_waited_for() -> None:
    cluster = FakeAis()
    anew(cluster)
    cluster.clock.at(5, lambda: cluster._rebalance(lambda: None))
    result = run(cluster)
    assert (result["rebalances"], result["ready"], cluster.told) == ([], True, [])


def test_where_rebalancing_is_off_none_is_missed() -> None:
    cluster = FakeAis()
    anew(cluster)
    cluster.config["rebalance"]["enabled"] = False
    assert info_module.run(Call(info_options(), cluster=cluster, clock=cluster.clock))["ready"]


def test_a_target_that_stays_away_is_named() -> None:
    cluster = FakeAis()
    cluster.down.add("ais-ais-target-w2-0")
    with pytest.raises(ClusterError, match=r"not within 20 s. Still missing:\ntarget ais-ais-target-w2-0 \(node w2\)"):
        run(cluster, wait_timeout=20)


def test_the_info_module_reads_and_judges() -> None:
    cluster = FakeAis()
    cluster.buckets = {"b": {}, "a": {}}
    params = info_options()
    found = info_module.run(Call(params, cluster=cluster, clock=cluster.clock))
    assert (found["ready"], found["buckets"], found["facts"]["targets"], found["changed"]) == (True, ["a", "b"], 3, False)
    cluster.down.add("ais-ais-target-w2-0")
    found = info_module.run(Call({**params, "proof": {"failed": True, "msg": "wrong bytes"}}, cluster=cluster, clock=cluster.clock))
    assert found["ready"] is False
    assert "ais-ais-target-w2-0" in found["reason"] and "wrong bytes" in found["reason"]


@pytest.mark.parametrize(("proxies", "way"), [(NODES, "another proxy"), (["w2"], "its proxy")])
def test_the_reason_tells_through_how_many_proxies_was_proved(proxies: list[str], way: str) -> None:
    cluster = FakeAis(proxies=proxies)
    found = info_module.run(Call(info_options(proof={"changed": False}), cluster=cluster, clock=cluster.clock))
    assert found["reason"].endswith(f"; an object of 8 MiB came back byte for byte through {way} and S3")


def balanced(name: str, asked: str) -> tuple[dict[str, Any], Ref]:
    labels = {"app.kubernetes.io/name": "aistore", "app.kubernetes.io/instance": "ais"}
    meta = {"name": name, "namespace": "ais", "labels": labels}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"type": "LoadBalancer", "loadBalancerIP": asked}}
    return service, Ref("v1", "Service", "ais", name)


def test_a_service_that_no_load_balancer_serves_is_named() -> None:
    cluster = FakeAis()
    service, ref = balanced("ais-ais-target-w1", "192.0.2.11")
    cluster.put(service)
    found = info_module.run(Call(info_options(), cluster=cluster, clock=cluster.clock))
    assert (found["ready"], len(found["problems"])) == (False, 1)
    assert found["problems"][0].startswith("Service ais-ais-target-w1 has no address: no load balancer has given it one (192.0.2.11 is asked for)")
    cluster.set_status(ref, {"loadBalancer": {"ingress": [{"ip": "192.0.2.11"}]}})
    assert info_module.run(Call(info_options(), cluster=cluster, clock=cluster.clock))["ready"] is True


def test_the_addresses_of_load_balancers_are_waited_for() -> None:
    outside: dict[str, Any] = {"access": "load_balancer", "public_addresses": {node: f"192.0.2.1{number}" for number, node in enumerate(NODES)}}
    cluster = FakeAis()
    service, ref = balanced("ais-ais-proxy", "")
    cluster.put(service)
    with pytest.raises(ClusterError, match="Service ais-ais-proxy has no address"):
        run(cluster, wait_timeout=20, **outside)
    cluster.clock.at(cluster.clock.now() + 5, lambda: cluster.set_status(ref, {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}]}}))
    assert run(cluster, wait_timeout=20, **outside)["changed"] is False


def test_no_cluster_is_said_to_be_none() -> None:
    cluster = FakeAis()
    found = info_module.run(Call(info_options(name="x"), cluster=cluster, clock=cluster.clock))
    assert found["problems"] == ["there is no AIStore cluster x in namespace ais"]


@pytest.mark.parametrize(("state", "check_mode", "nodes"), [("present", False, NODES), ("present", True, []), ("buckets", False, []), ("buckets", True, [])])
def test_a_cluster_that_is_not_there_is_refused_by_name(state: str, check_mode: bool, nodes: list[str]) -> None:
    cluster = FakeAis()
    with pytest.raises(Refused, match="there is no AIStore cluster typo in namespace ais"):
        run(cluster, check_mode, name="typo", state=state, targets=nodes, proxies=nodes)
    assert cluster.told == [] and cluster.clock.now() == 0


@pytest.mark.parametrize("check_mode", [True, False])
def test_buckets_alone_leave_all_else_as_it_is(check_mode: bool) -> None:
    cluster = FakeAis()
    cluster.new_template("aisnode:5.1")
    cluster.flags["ais-ais-target-w3-0"] = 20
    cluster.buckets = {"old": {}}
    bare = {"targets": [], "proxies": [], "mountpaths": [], "initial_primary": ""}
    result = run(cluster, check_mode, state="buckets", buckets=[{"name": "new"}], buckets_absent=["old"], config={"lru": {"enabled": True}}, **bare)
    assert result["actions"] == ["bucket new created", "bucket old deleted"]
    assert [action for action, _pod, _value in cluster.told] == ([] if check_mode else ["create-bck", "destroy-bck"])
    with pytest.raises(Refused, match="copies need as many mount paths on every target"):
        run(cluster, check_mode, state="buckets", buckets=[{"name": "new", "mirror": {"enabled": True, "copies": 2}}], **bare)


def test_buckets_alone_are_asked_for_in_the_protocol_of_the_daemons() -> None:
    cluster = FakeAis()
    cluster.scheme = "https:"
    for ref, item in cluster.objects.items():
        if ref.kind == "StatefulSet":
            item["metadata"]["annotations"]["slipway.mlops/scheme"] = "https"
    result = run(cluster, state="buckets", buckets=[{"name": "new"}], targets=[], proxies=[], mountpaths=[], initial_primary="")
    assert (result["changed"], result["ready"], result["url"].partition(":")[0]) == (True, True, "https")


def test_planned_refuses_everything_at_once_and_sends_nothing() -> None:
    cluster = FakeAis()
    for name in NODES:
        cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    with pytest.raises(Refused) as refused:
        run(cluster, state="planned", targets=["w1", "w9"], config={"cloud": {}}, mountpaths=["/a", "/a/b"], maintenance=["w7"])
    assert len(refused.value.problems) >= 6
    assert cluster.told == [] and cluster.writes() == []


@pytest.mark.parametrize(
    ("annotations", "tunnel"),
    [
        ({}, []),
        ({"projectcalico.org/IPv4VXLANTunnelAddr": "10.244.7.64"}, ["10.244.7.64"]),
        ({"projectcalico.org/IPv4IPIPTunnelAddr": "10.244.7.1", "projectcalico.org/IPv4VXLANTunnelAddr": ""}, ["10.244.7.1"]),
        ({"flannel.alpha.coreos.com/backend-type": "vxlan"}, ["10.244.9.0"]),
    ],
)
def test_the_api_server_gets_in_from_its_tunnel_too(annotations: dict[str, str], tunnel: list[str]) -> None:
    cluster = FakeAis()
    for number, name in enumerate(["cp1", *NODES]):
        notes = annotations if name == "cp1" else dict.fromkeys(annotations, f"10.244.1{number}.0")  # those of other nodes stay out
        cluster.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": notes}, "spec": {"podCIDRs": [f"10.244.{9 + number}.0/24"]}})
        cluster.objects[Ref("v1", "Node", "", name)]["status"] = {"addresses": [{"type": "InternalIP", "address": f"192.0.2.{number}"}]}
    meta = {"name": "kubernetes", "namespace": "default"}
    cluster.put({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "endpoints": [{"addresses": ["192.0.2.0"]}]})
    result = run(cluster, state="planned", state_path="/var/lib/ais")
    assert result["layout"]["api_servers"] == sorted(["192.0.2.0", *tunnel])


def test_the_running_cluster_says_which_proxy_must_not_leave() -> None:
    cluster = FakeAis()
    with pytest.raises(Refused) as refused:
        run(cluster, state="planned", proxies=["w1", "w3"], initial_primary="w1", proxies_min=2)
    assert any("ais-ais-proxy-w2-0 on node w2 is no longer declared, and it is the primary" in problem for problem in refused.value.problems)
    with pytest.raises(Refused) as refused:
        run(cluster, state="planned", proxies=["w2", "w3"], proxies_min=2)
    assert not any("primary" in problem for problem in refused.value.problems)
    assert cluster.told == [] and cluster.writes() == []


def test_disks_that_are_refused_end_the_wait_soon() -> None:
    cluster = FakeAis()
    target = next(daemon for daemon in cluster.daemons if daemon.role == "target")
    cluster.down.add(target.pod)
    ended = {"terminated": {"exitCode": 1}}
    status = {"phase": "Pending", "initContainerStatuses": [{"name": "prepare-disks", "state": ended, "restartCount": 1}]}

    def fail_again() -> None:
        if Ref("v1", "Pod", "ais", target.pod) in cluster.objects:  # the old one is replaced first
            cluster.set_status(Ref("v1", "Pod", "ais", target.pod), status)
        cluster.clock.at(cluster.clock.now() + 1, fail_again)

    cluster.logs_of[target.pod] = "/ais/disk0 is not a mounted disk"
    fail_again()
    result = run(cluster, wait_timeout=300)
    assert (result["failed"], [item["daemon"] for item in result["restarts"]]) == (True, [target.pod])
    assert re.search(r"does not start: .*: /ais/disk0 is not a mounted disk", result["msg"])
    assert cluster.clock.now() < 40


def test_a_pod_that_waits_in_back_off_is_replaced_once_what_it_lacked_may_be_there() -> None:
    cluster = FakeAis()
    target = next(daemon for daemon in cluster.daemons if daemon.role == "target")
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}, "restartCount": 6, "name": "prepare-disks"}
    cluster.objects[Ref("v1", "Pod", "ais", target.pod)]["status"] = {"phase": "Pending", "initContainerStatuses": [waiting]}
    cluster.down.add(target.pod)
    cluster.clock.at(cluster.clock.now() + 3, lambda: cluster.down.discard(target.pod))
    foreseen = run(cluster, check_mode=True)
    assert [item["daemon"] for item in foreseen["restarts"]] == [target.pod]
    result = run(cluster)
    assert [item["daemon"] for item in result["restarts"]] == [target.pod]
    assert [entry for entry in cluster.told if entry[0] == "delete"] == [("delete", target.pod, 0)]
