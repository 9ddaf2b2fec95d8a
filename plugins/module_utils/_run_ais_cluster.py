# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An AIStore cluster as declared: first whether it can be (`planned`), later that it is (`present`), or its buckets alone (`buckets`)."""

from __future__ import annotations

import json
import math
import os
import socket
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import _ais_config as configuration
from . import _lease as lease
from ._ais_api import NOT_NOW, Ais, AisError
from ._ais_layout import PROXY, TARGET, Daemon, Wanted, bucket_problems, daemons, layout, live_problems, mounted_paths, problems
from ._ais_observe import Look, look, without_address
from ._ais_options import DECLARATION, wanted
from ._ais_restart import Restart, Roller, down, foreseen, outdated, replace_pod
from ._ais_state import MAP_MAINTENANCE, UNBALANCED, State, label
from ._model import ClusterError, Forbidden, Object, Ref, Refused
from ._module import Call
from ._run_ais_cluster_info import report, scheme_of

ARGUMENTS: dict[str, Any] = {
    **DECLARATION,
    "state": {"type": "str", "choices": ["present", "planned", "buckets"], "default": "present"},
    "maintenance": {"type": "list", "elements": "str", "default": []},
    "restart_moves_data": {"type": "bool", "default": True},
    "objects": {"type": "list", "elements": "dict", "default": []},
    "wait_timeout": {"type": "int", "default": 300},
    "rebalance_timeout": {"type": "int", "default": 3600},
}

PERIOD = 1.0  # seconds between two looks
MEND_PERIOD = 20.0  # seconds between two attempts to finish a rebalance; names are cached for up to a minute
# Annotations of a node. Flannel's interface has the first address of the node's range.
CALICO_TUNNELS = tuple(
    f"projectcalico.org/{name}"
    for name in ("IPv4IPIPTunnelAddr", "IPv4VXLANTunnelAddr", "IPv6VXLANTunnelAddr", "IPv4WireguardInterfaceAddr", "IPv6WireguardInterfaceAddr")
)
FLANNEL = "flannel.alpha.coreos.com/backend-type"
CALM = 15.0  # seconds before a line is said again with other figures


def run(call: Call) -> dict[str, Any]:
    """Refuses everything at once before anything is sent."""
    declared = wanted(call.params)
    return _planned(call, declared) if call.params["state"] == "planned" else _Present(call, declared).run()


# ---- planned ----------------------------------------------------------------------------------------------------------------------


def _planned(call: Call, declared: Wanted) -> dict[str, Any]:
    found = _declared_problems(declared, call.params["maintenance"])
    running = look(call.cluster, declared.name, declared.namespace).state
    nodes = call.cluster.list("v1", "Node").items
    found += live_problems(
        declared,
        nodes,
        _stateful_sets(call, declared),
        [facts["version"] for facts in running.daemons if facts.get("version")],
        running.primary,
        _storage_classes(call),
        _allowed_sysctls(call, declared) if declared.somaxconn else {},
    )
    if found:
        raise Refused(found)
    return {"changed": False, "layout": {**layout(declared), "api_servers": _api_servers(call, nodes)}}


def _declared_problems(declared: Wanted, maintenance: Sequence[str]) -> list[str]:
    """What the declaration alone shows to be wrong."""
    found = problems(declared) + [
        f"aistore_maintenance: {node} is not among aistore_targets ({', '.join(declared.targets)})" for node in maintenance if node not in declared.targets
    ]
    if len(set(maintenance)) >= len(declared.targets) > 0:
        found.append("aistore_maintenance: names every target; at least one has to stay in service")
    if maintenance and not configuration.moves_data(declared.config):
        found.append("aistore_maintenance: with aistore_config.rebalance.enabled false its objects would not be moved to the other targets; set it to true")
    return found


def _api_servers(call: Call, nodes: Sequence[Object]) -> list[str]:
    """Addresses from which pods are asked through the API server, those of its nodes' tunnels among them; none where they may not be read."""
    try:
        found = call.cluster.get(Ref("discovery.k8s.io/v1", "EndpointSlice", "default", "kubernetes"))
    except Forbidden:
        return []
    servers = {address for endpoint in (found or {}).get("endpoints") or [] for address in endpoint.get("addresses") or []}
    return sorted(servers.union(*(_tunnel_addresses(node) for node in nodes if servers & set(_addresses(node)))))


def _addresses(node: Object) -> list[str]:
    return [item["address"] for item in (node.get("status") or {}).get("addresses") or []]


def _tunnel_addresses(node: Object) -> list[str]:
    """What a node's own connections to pods of other nodes come from where the network is an overlay."""
    notes = node["metadata"].get("annotations") or {}
    found = [notes[key] for key in CALICO_TUNNELS if notes.get(key)]
    if FLANNEL in notes:
        found += [cidr.partition("/")[0] for cidr in (node.get("spec") or {}).get("podCIDRs") or []]
    return found


def _stateful_sets(call: Call, declared: Wanted) -> list[Object]:
    """Those of AIStore everywhere; with rights in one namespace only, those of that namespace."""
    try:
        return call.cluster.list("apps/v1", "StatefulSet", labels="app.kubernetes.io/name=aistore").items
    except Forbidden:
        return call.cluster.list("apps/v1", "StatefulSet", declared.namespace, labels="app.kubernetes.io/name=aistore").items


def _storage_classes(call: Call) -> list[Object] | None:
    try:
        return call.cluster.list("storage.k8s.io/v1", "StorageClass").items
    except Forbidden:
        return None


def _allowed_sysctls(call: Call, declared: Wanted) -> dict[str, list[str]]:
    """By node, where the account may ask the kubelet for its configuration."""
    found = {}
    for node in sorted({*declared.targets, *declared.proxies}):
        try:
            answer = call.cluster.request("GET", f"/api/v1/nodes/{node}/proxy/configz", timeout=5)
            if answer.status == 200:
                found[node] = list(json.loads(answer.body)["kubeletconfig"].get("allowedUnsafeSysctls") or [])
        except (ClusterError, ValueError, KeyError):
            continue
    return found


# ---- present ----------------------------------------------------------------------------------------------------------------------


class _Present:
    """One run. Each step looks, compares, and acts only where something differs."""

    def __init__(self, call: Call, declared: Wanted) -> None:
        self._call, self._wanted = call, declared
        self._scheme = "" if call.params["state"] == "buckets" else declared.scheme  # "": what the daemons speak
        self._expected = daemons(declared)
        self._ais = Ais(call.cluster, declared.namespace, declared.scheme)
        self._maintenance: list[str] = call.params["maintenance"]
        self._did: dict[str, Any] = {"config": [], "buckets": [], "restarts": [], "maintenance": [], "rebalances": []}
        self._mended, self._unbalanced_since = -math.inf, math.inf
        self._before: dict[str, Any] = {}
        self._after: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """What fails when something has been done already still tells what that was."""
        started = self._call.clock.now()
        try:
            found = self._run()
            result = report(found, self._wanted)
        except (Refused, ClusterError) as error:
            if not self._ais.told and not any(self._did.values()):
                raise
            result = {"failed": True, "msg": str(error), **({"problems": error.problems} if isinstance(error, Refused) else {})}
        changed = bool(self._ais.told) or any(self._did.values())
        result = {"changed": changed, "actions": self._sentences(), **self._did, **result}
        result["seconds"] = round(self._call.clock.now() - started, 2)
        if self._call.diff:
            result["diff"] = {"before": self._before, "after": self._after}
        return result

    def _run(self) -> Look:
        found = self._look()
        if not (found.daemons if self._call.check_mode else found.stateful_sets):
            raise Refused([f"there is no AIStore cluster {self._wanted.name} in namespace {self._wanted.namespace}"])
        if self._call.params["state"] == "buckets":
            return self._buckets_alone(found)
        # A task of its own may come without the one that plans.
        if refused := _declared_problems(self._wanted, self._maintenance):
            raise Refused(refused)
        if self._call.check_mode:
            self._predict(found)
            return found
        return self._act(found)

    def _sentences(self) -> list[str]:
        """What was, or in check mode would be, done, for people."""
        return (
            [f"AIStore {item['name']} {item['before']} -> {item['after']}" for item in self._did["config"]]
            + [f"bucket {item['name']} {item['action']}" for item in self._did["buckets"]]
            + [f"maintenance of {item['daemon']} {item['action']}" for item in self._did["maintenance"]]
            + [f"rebalance {item['id']} started: {item['reason']}" for item in self._did["rebalances"]]
            + [f"restart {item['daemon']} (node {item['node']}): {item['reason']}" for item in self._did["restarts"]]
        )

    def _look(self) -> Look:
        return look(self._call.cluster, self._wanted.name, self._wanted.namespace, self._scheme, self._expected, self._wanted.mountpaths, self._maintenance)

    def _predict(self, found: Look) -> None:
        """Check mode: what a run would do, as far as the cluster can be asked."""
        stale = {restart.daemon.name: restart for restart in outdated(found)}
        for item in self._call.params["objects"]:
            name = item.get("name", "")
            if item.get("kind") == "StatefulSet" and item.get("action") == "updated" and name in found.stateful_sets and name not in stale:
                stale[name] = foreseen(found.stateful_sets[name], found.pods.get(f"{name}-0"), layout(self._wanted))
        self._refuse_beside_maintenance(stale.values())
        stale = {restart.daemon.name: restart for restart in down(found)} | stale
        self._did["restarts"] = [restart.facts() for restart in stale.values()]
        if not found.state.uuid or not found.answering(PROXY):
            return
        proxy = found.answering(PROXY)[0]
        self._note_config(self._config_differences(proxy))
        if reason := _why_rebalance(found.state):
            self._did["rebalances"].append({"id": "", "reason": reason})
        self._each_bucket(proxy, act=False)
        self._each_maintenance(found, roller=None)

    def _refuse_beside_maintenance(self, restarts: Collection[Restart]) -> None:
        """AIStore 5.0 forgets a target that is out of service when its primary proxy restarts, and a target that restarts joins again with its objects."""
        if restarts and self._maintenance:
            names = ", ".join(f"{restart.daemon.pod} ({restart.reason})" for restart in restarts)
            raise Refused(
                [
                    f"These daemons have to restart: {names}. That must not happen while aistore_maintenance names {', '.join(self._maintenance)}. "
                    "Take that out of aistore_maintenance, or decommission the target (docs/aistore.md), and run again. Nothing was restarted."
                ]
            )

    def _act(self, found: Look) -> Look:
        patience = float(self._call.params["wait_timeout"])
        rebalance_patience = float(self._call.params["rebalance_timeout"])
        roller = Roller(
            self._call.cluster,
            self._ais,
            self._wanted.namespace,
            self._watch,
            self._call.params["restart_moves_data"],
            patience,
            rebalance_patience,
            lambda restart: self._did["restarts"].append(restart.facts()),
        )
        self._refuse_beside_maintenance(outdated(found))
        whole = not found.state.problems and not found.state.busy
        found = self._formed(found, patience)
        proxy = found.answering(PROXY)[0]
        differences = self._config_differences(proxy)
        backend = next((item for item in differences if item.name == "backend"), None)
        if at_once := [item for item in differences if item is not backend]:
            self._set_config(proxy, at_once)
        if backend is None:
            self._each_bucket(proxy, act=True)
        if outdated(found) or self._misplaced(found):
            self._in_turn(lambda: self._roll(self._look(), roller))
        if backend is not None:
            proxy = self._formed(self._look(), patience).answering(PROXY)[0]
            self._begin_backends(proxy, backend)
            self._each_bucket(proxy, act=True)
        if self._wanted.access == "load_balancer" and self._without_address():
            found = self._watch("load balancers give their addresses", lambda _now: self._without_address(), patience)
        if whole and not any(self._did.values()):
            return found
        # A rebalance begins a moment after the map changed: only two quiet looks in a row are quiet.
        self._watch("the cluster comes to rest", _restless, rebalance_patience)
        self._call.clock.sleep(2 * PERIOD)
        return self._watch("the cluster is at rest", _restless, rebalance_patience)

    def _without_address(self) -> list[str]:
        return without_address(self._call.cluster, self._wanted.name, self._wanted.namespace)

    def _in_turn(self, work: Callable[[], None]) -> None:
        """Holds the cluster's Lease meanwhile: of two runs at once, one restarts daemons."""
        ref = Ref("coordination.k8s.io/v1", "Lease", self._wanted.namespace, f"{self._wanted.name}-ais-restarts")
        claim = lease.Claim(ref, f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}", "slipway:ais-cluster")
        patience = float(self._call.params["wait_timeout"])
        try:
            with lease.held(self._call.cluster, self._call.clock, claim, patience, lambda other: self._call.progress(f"{other} restarts daemons: waits")):
                work()
        except lease.Busy as busy:
            raise Refused(
                [f"{busy.holder} restarts daemons of this AIStore cluster (it holds Lease {ref.namespace}/{ref.name}). Run again when that is over."]
            ) from busy

    def _roll(self, found: Look, roller: Roller) -> None:
        restarts = outdated(found)
        # One that a killed run left out of service goes first: the others wait until it is back.
        restarts.sort(key=lambda restart: not found.map_flags(restart.daemon) & MAP_MAINTENANCE if restart.daemon.role == TARGET else 2)
        self._each_maintenance(found, roller, {restart.daemon.pod for restart in restarts})
        roller.restart(restarts)

    def _formed(self, found: Look, patience: float) -> Look:
        """Waits for one cluster of all daemons. A pod that is down and could not come up by itself, or not soon, is replaced first."""
        for restart in down(found):
            self._call.progress(f"{label(restart.daemon)} is down ({restart.reason}): its pod is replaced")
            replace_pod(self._call.cluster, self._wanted.namespace, found.pods[restart.daemon.pod])
            self._did["restarts"].append(restart.facts())
        if not found.state.unformed:
            return found
        return self._watch(f"AIStore {self._wanted.name} forms one cluster", lambda now: now.state.unformed, patience)

    def _watch(self, what: str, missing: Callable[[Look], list[str]], patience: float) -> Look:
        """Looks again until nothing is missing. Says what is new; gives up after `patience` seconds, or when a pod has failed for good."""
        clock = self._call.clock
        said: dict[str, tuple[str, float]] = {}  # by what stays the same of a line while its figures change
        ends = clock.now() + patience
        failing: dict[str, float] = {}
        while True:
            found = self._look()
            lack = missing(found)
            if not lack:
                return found
            for item in lack:
                text, when = said.get(_stem(item), ("", -CALM))
                if item != text and clock.now() - when >= CALM:
                    self._call.progress(f"{what}: {item}")
                    said[_stem(item)] = (item, clock.now())
            self._fail_early(found, failing)
            self._mend(found)
            if clock.now() >= ends:
                raise ClusterError(f"{what}: not within {patience:.0f} s. Still missing:\n" + "\n".join(lack))
            clock.sleep(PERIOD)

    def _mend(self, found: Look) -> None:
        """Starts a rebalance that AIStore does not start: again one that was interrupted, as happens when a daemon still looks for another at the
        address of its former pod; and one that never began."""
        state, now = found.state, self._call.clock.now()
        self._unbalanced_since = min(self._unbalanced_since, now) if state.unbalanced and not state.busy else math.inf
        # AIStore's own begins a moment after a target has joined.
        due = state.interrupted or now - self._unbalanced_since >= MEND_PERIOD
        if due and not state.busy and not state.unformed and now - self._mended >= MEND_PERIOD:
            self._mended = now
            reason = _why_rebalance(state)
            self._call.progress(f"a rebalance is started: {reason}")
            try:
                answer = self._ais.tell(found.answering(PROXY)[0], "PUT", "/v1/cluster", "start", {"kind": "rebalance"})
            except AisError as error:
                if error.status not in NOT_NOW:
                    raise
                return
            self._did["rebalances"].append({"id": str(answer), "reason": reason})

    def _fail_early(self, found: Look, failing: dict[str, float]) -> None:
        """Ends a wait for what will not come. A proxy that exits is no such thing while targets are still to come: it starts again."""
        now = self._call.clock.now()
        for pod in list(failing):
            if pod not in found.failures:
                del failing[pod]
        targets_up = len(found.answering(TARGET)) == sum(daemon.role == TARGET for daemon in found.daemons)
        for daemon in found.daemons:
            verdict = found.failures.get(daemon.pod)
            if verdict is None or (daemon.role == PROXY and not targets_up):
                continue
            since = failing.setdefault(daemon.pod, now)
            if now - since >= verdict.grace:
                raise ClusterError(f"{label(daemon)} does not start: {verdict.reason}")

    # -- configuration

    def _config_differences(self, proxy: Daemon) -> list[configuration.Difference]:
        live = self._ais.ask(proxy, "/v1/cluster", what="cluster_config")
        return configuration.differences(self._wanted.effective_config, self._wanted.backends, live)

    def _note_config(self, differences: list[configuration.Difference]) -> None:
        at_start = configuration.needing_restart([item.name for item in differences])
        self._did["config"] += [{"name": item.name, "before": item.before, "after": item.after, "needs_restart": item.name in at_start} for item in differences]
        for item in differences:
            self._before[item.name], self._after[item.name] = item.before, item.after

    def _set_config(self, proxy: Daemon, differences: list[configuration.Difference]) -> None:
        """Through the API, since what a daemon has saved wins over its ConfigMap; then read back."""
        self._call.progress("configuration: " + ", ".join(f"{item.name} {item.before} -> {item.after}" for item in differences))
        self._take(configuration.nest({item.name: item.after for item in differences}))
        self._note_config(differences)
        names = {item.name for item in differences}
        if left := [item for item in self._config_differences(proxy) if item.name in names]:
            listed = ", ".join(f"{item.name} is {item.before!r}, declared {item.after!r}" for item in left)
            raise ClusterError(f"AIStore took the configuration and yet reports another: {listed}")

    def _take(self, value: Mapping[str, Any]) -> None:
        """A primary that has just restarted says for some seconds after the cluster has formed that it is not ready yet."""

        def told(now: Look) -> list[str]:
            if now.state.unformed:
                return now.state.unformed
            try:
                self._ais.tell(now.answering(PROXY)[0], "PUT", "/v1/cluster", "set-config", value)
            except AisError as error:
                if error.status not in NOT_NOW:
                    raise
                return [str(error)]
            return []

        self._watch("the primary takes the configuration", told, float(self._call.params["wait_timeout"]))

    def _begin_backends(self, proxy: Daemon, difference: configuration.Difference) -> None:
        """When restarts have brought image and credentials: a target that cannot begin a backend of its configuration ends at its next start. Here it
        only says so, and the backend leaves the configuration again."""
        self._set_config(proxy, [difference])
        for name in sorted(set(difference.after) - set(difference.before)):
            try:
                self._ais.tell(proxy, "PUT", "/v1/cluster", "reload-creds", name=name)
            except AisError as error:
                self._take({"backend": difference.before})
                self._did["config"] = [item for item in self._did["config"] if item["name"] != difference.name]
                raise ClusterError(f"aistore_backends.{name}: a target cannot begin it, and the former setting is back. {error}") from error

    # -- buckets

    def _buckets_alone(self, found: Look) -> Look:
        """Nothing else is looked at or changed: daemons, mount paths and scheme are those that are there."""
        paths = sorted({path for item in found.stateful_sets.values() for path in mounted_paths(item)})
        targets = [daemon.node for daemon in found.daemons if daemon.role == TARGET]
        if refused := bucket_problems(replace(self._wanted, targets=targets, mountpaths=paths)):
            raise Refused(refused)
        self._ais = Ais(self._call.cluster, self._wanted.namespace, scheme_of(found))
        if not self._call.check_mode:
            formed = f"AIStore {self._wanted.name} forms one cluster"
            found = self._watch(formed, lambda now: now.state.unformed, float(self._call.params["wait_timeout"]))
        if found.state.uuid and found.answering(PROXY):
            self._each_bucket(found.answering(PROXY)[0], act=not self._call.check_mode)
        return found

    def _each_bucket(self, proxy: Daemon, act: bool) -> None:
        if not self._wanted.buckets and not self._wanted.buckets_absent:
            return
        live = self._ais.buckets(proxy)
        for bucket in self._wanted.buckets:
            name, provider = str(bucket["name"]), str(bucket.get("provider", "ais"))
            properties = {key: value for key, value in bucket.items() if key not in ("name", "provider")}
            self._one_bucket(proxy, name, provider, properties, live.get((provider, name)), act)
        for name in self._wanted.buckets_absent:
            if ("ais", name) in live:
                if act:
                    self._ais.tell(proxy, "DELETE", f"/v1/buckets/{name}", "destroy-bck", provider="ais")
                self._note_bucket(name, "deleted", {"exists": True}, {"exists": False})

    def _one_bucket(self, proxy: Daemon, name: str, provider: str, properties: Mapping[str, Any], live: Mapping[str, Any] | None, act: bool) -> None:
        if live is None:
            if act:
                try:
                    self._ais.tell(proxy, "POST", f"/v1/buckets/{name}", "create-bck", properties or None, provider=provider)
                except AisError as error:
                    if error.status != 409:  # somebody made it since we looked; the next run sees to its properties
                        raise
                    return
            self._note_bucket(name, "created", {"exists": False}, {"exists": True, **properties})
            return
        differences = configuration.bucket_differences(properties, live)
        if differences:
            if act:
                value = configuration.nest({item.name: item.after for item in differences})
                self._ais.tell(proxy, "PATCH", f"/v1/buckets/{name}", "set-bprops", value, provider=provider)
            self._note_bucket(name, "updated", {item.name: item.before for item in differences}, {item.name: item.after for item in differences})

    def _note_bucket(self, name: str, action: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        self._did["buckets"].append({"name": name, "action": action})
        self._before[f"bucket {name}"], self._after[f"bucket {name}"] = dict(before), dict(after)

    # -- maintenance

    def _misplaced(self, found: Look) -> list[tuple[Daemon, bool]]:
        """Targets that are out of service and should not be (True), or are in service and should not be (False)."""
        out = {daemon: bool(found.map_flags(daemon) & MAP_MAINTENANCE) for daemon in found.answering(TARGET)}
        return [(daemon, is_out) for daemon, is_out in out.items() if is_out != (daemon.node in self._maintenance)]

    def _each_maintenance(self, found: Look, roller: Roller | None, leaving: Collection[str] = ()) -> None:
        """Targets that are named go out of service, with their objects moved away first; all others are in service. One that a killed run left out of
        service, and that has to restart (`leaving`), is taken back by its restart."""
        for daemon, is_out in self._misplaced(found):
            if is_out and daemon.pod in leaving:
                continue
            if roller is not None and is_out:
                roller.enter(found, daemon)
            elif roller is not None:
                roller.leave(found, daemon, moves_data=True)
            self._did["maintenance"].append({"daemon": daemon.pod, "node": daemon.node, "action": "ended" if is_out else "started"})
            self._before[daemon.pod], self._after[daemon.pod] = {"maintenance": is_out}, {"maintenance": not is_out}


def _stem(line: str) -> str:
    """A line without the figures in its last brackets."""
    return line.rpartition(" (")[0] or line if line.endswith(")") else line


def _restless(found: Look) -> list[str]:
    interrupted = [f"a rebalance was interrupted on {pod}" for pod in found.state.interrupted]
    waiting = [f"{pod} {UNBALANCED}" for pod in found.state.unbalanced]
    return found.state.unformed + found.state.busy + interrupted + waiting


def _why_rebalance(state: State) -> str:
    """Why AIStore has to be told to rebalance, "" where it has not."""
    interrupted = [f"one was interrupted on {', '.join(state.interrupted)}"] if state.interrupted else []
    return "; ".join(interrupted + ([f"none ran since {', '.join(state.unbalanced)} started"] if state.unbalanced else []))
