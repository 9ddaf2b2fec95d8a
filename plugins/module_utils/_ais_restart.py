# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Daemons taken down and brought back one at a time, targets first, the primary last; each is back before the next goes.

The StatefulSets update `OnDelete`: nothing restarts unless it is done here. A run that is killed leaves one daemon down or in maintenance
at most; the next run sees that its pod is (or is not) on the new template and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._ais_api import NOT_NOW, Ais, AisError
from ._ais_layout import PROXY, TARGET, Daemon
from ._ais_observe import Look, daemon_of, runs
from ._ais_state import MAP_MAINTENANCE, NODE_STARTED, UNBALANCED, label
from ._model import Cluster, ClusterError, Object, Ref

_STOPPERS = ("is in maintenance", "is out of space", "has a disk fault", "was interrupted", UNBALANCED)
# A target whose data has been moved away carries this besides (core/meta/smap.go).
MAP_MAINTENANCE_DONE = 1 << 4

# What the pod template bears of the configuration (roles/aistore/templates/aistore.yaml.j2), and what a change of it is called.
CONFIG_AT_START, LOCAL_CONFIG = "slipway.mlops/config-at-start", "slipway.mlops/local-config"
TOLD = {CONFIG_AT_START: "settings that are read at start", LOCAL_CONFIG: "its own addresses, ports or mount paths"}

QUIET_LOOKS = 10

Watch = Callable[[str, Callable[[Look], "list[str]"], float], Look]


@dataclass(frozen=True)
class Restart:
    """A daemon that has to be restarted, and why."""

    daemon: Daemon
    reason: str

    def facts(self) -> dict[str, str]:
        return {"daemon": self.daemon.pod, "node": self.daemon.node, "role": self.daemon.role, "reason": self.reason}


def outdated(found: Look) -> list[Restart]:
    """Daemons whose pod is not on the current template of its StatefulSet, in the order in which they have to go. Pure."""
    old = []
    for name, item in found.stateful_sets.items():
        pod = found.pods.get(f"{name}-0")
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            continue
        status = item.get("status") or {}
        current = item["metadata"].get("generation", 0) == status.get("observedGeneration", 0)
        revision = (pod["metadata"].get("labels") or {}).get("controller-revision-hash", "")
        if not current or revision != status.get("updateRevision"):
            old.append(Restart(daemon_of(item), _what_changed(pod, item["spec"]["template"])))
    return sorted(old, key=lambda restart: (restart.daemon.role == PROXY, restart.daemon.pod == found.state.primary, restart.daemon.node))


def foreseen(stateful_set: Object, pod: Object | None, layout: Mapping[str, Any]) -> Restart:
    """The restart that a change of this StatefulSet brings, by what the layout says its pod template is going to bear. Pure."""
    daemon = daemon_of(stateful_set)
    own = next((item["config_digest"] for item in layout["daemons"] if item["name"] == daemon.name), None)
    template = stateful_set["spec"]["template"]
    bears = {CONFIG_AT_START: layout["config_at_start"], LOCAL_CONFIG: own}
    marked = {**template, "metadata": {**(template.get("metadata") or {}), "annotations": bears}}
    return Restart(daemon, _what_changed(pod, marked) if pod else "its pod template")


def _what_changed(pod: Object, template: Mapping[str, Any]) -> str:
    before = {item["name"]: item.get("image") for item in pod["spec"].get("containers", [])}
    after = {item["name"]: item.get("image") for item in template["spec"].get("containers", [])}
    images = [f"{before.get(name)} -> {image}" for name, image in after.items() if before.get(name) != image]
    if images:
        return "image " + ", ".join(images)
    annotations = [(item["metadata"].get("annotations") or {}) for item in (pod, template)]
    changed = [text for key, text in TOLD.items() if annotations[0].get(key) != annotations[1].get(key)]
    return " and ".join(changed) or "its pod template"


def is_down(restart: Restart, found: Look) -> bool:
    """Whether no daemon runs in the pod: it may be replaced at once, there is nothing to move or to interrupt."""
    return not runs(found.pods.get(restart.daemon.pod))


def down(found: Look) -> list[Restart]:
    """Daemons that do not run and whose pod stands in the way: on an old template, or in a back-off of up to five minutes after what made it fail is mended."""
    old = [restart for restart in outdated(found) if is_down(restart, found)]
    known = {restart.daemon.pod for restart in old}
    stuck = [
        Restart(daemon, "it failed before and waits to be tried again")
        for daemon in found.daemons
        if daemon.pod in found.failures and daemon.pod not in known and not runs(found.pods.get(daemon.pod))
    ]
    return old + stuck


def replace_pod(cluster: Cluster, namespace: str, pod: Object) -> None:
    """Deletes exactly this pod; its StatefulSet makes the new one."""
    cluster.delete(Ref("v1", "Pod", namespace, pod["metadata"]["name"]), pod["metadata"]["uid"])


class Roller:
    """Restarts one daemon after the other. `watch(what, missing, patience)` looks until `missing(look)` is empty, and raises after `patience` seconds.
    `note` is told each restart once the pod is gone."""

    def __init__(
        self,
        cluster: Cluster,
        ais: Ais,
        namespace: str,
        watch: Watch,
        moves_data: bool,
        patience: float,
        rebalance_patience: float,
        note: Callable[[Restart], None],
    ) -> None:
        self._cluster, self._ais, self._namespace, self._watch = cluster, ais, namespace, watch
        self._moves_data, self._patience, self._rebalance_patience = moves_data, patience, rebalance_patience
        self._note = note

    def restart(self, restarts: Sequence[Restart]) -> Look | None:
        """Each in turn. The last look, None where there was nothing to restart."""
        found = None
        for restart in restarts:
            found = self._one(restart)
        return found

    def _one(self, restart: Restart) -> Look:
        daemon = restart.daemon
        found = self._watch(f"before {label(daemon)} restarts ({restart.reason})", lambda now: idle(now, daemon), self._rebalance_patience)
        # AIStore keeps the last target that serves in service.
        steps_out = daemon.role == TARGET and any(
            other.pod != daemon.pod and not found.map_flags(other) & MAP_MAINTENANCE for other in found.daemons if other.role == TARGET
        )
        if steps_out:
            found = self.leave(found, daemon, self._moves_data)
        old = found.pods[daemon.pod]
        replace_pod(self._cluster, self._namespace, old)
        self._note(restart)
        uid = old["metadata"]["uid"]
        self._watch(f"{label(daemon)} restarts ({restart.reason})", lambda now: _back(now, daemon, uid), self._patience)
        if steps_out:
            found = self._watch(f"{label(daemon)} is back", lambda now: [] if now.identity(daemon) else ["it does not answer"], self._patience)
            self.enter(found, daemon)
        return self._watch(f"after {label(daemon)} restarted", idle, self._rebalance_patience)

    def leave(self, found: Look, daemon: Daemon, moves_data: bool) -> Look:
        """Into maintenance, and until its objects are elsewhere where `moves_data`."""

        if not found.map_flags(daemon) & MAP_MAINTENANCE:
            if moves_data and not self._ais.ask(found.answering(PROXY)[0], "/v1/cluster", what="cluster_config")["rebalance"]["enabled"]:
                raise ClusterError(
                    f"{label(daemon)} is left in service: the cluster has rebalance.enabled false and would not move its objects to other targets. "
                    "Set aistore_config.rebalance.enabled to true, or let targets restart without (aistore_restart_moves_data: false)."
                )
            self._tell(daemon, "start-maintenance", {"skip_rebalance": not moves_data}, "go into maintenance")

        quiet = 0

        def missing(now: Look) -> list[str]:
            nonlocal quiet
            if not now.map_flags(daemon) & MAP_MAINTENANCE:
                return ["it is not in maintenance yet"]
            if not moves_data or now.map_flags(daemon) & MAP_MAINTENANCE_DONE:
                return []
            # A rebalance that had to be started again does not set that flag: then it counts that all is still.
            quiet = 0 if now.state.busy or now.state.interrupted else quiet + 1
            return [] if quiet >= QUIET_LOOKS else now.state.busy or ["its objects move to the other targets"]

        return self._watch(f"{label(daemon)} goes into maintenance", missing, self._rebalance_patience)

    def enter(self, found: Look, daemon: Daemon) -> None:
        """Out of maintenance."""
        if found.map_flags(daemon) & MAP_MAINTENANCE:
            self._tell(daemon, "stop-maintenance", {}, "serve again")

    def _tell(self, daemon: Daemon, action: str, value: Mapping[str, Any], what: str) -> None:
        """AIStore changes who serves only while no data moves."""

        def told(now: Look) -> list[str]:
            if now.state.unformed or now.state.busy:
                return now.state.unformed + now.state.busy
            try:
                self._ais.tell(now.answering(PROXY)[0], "PUT", "/v1/cluster", action, {"sid": now.identity(daemon), **value})
            except AisError as error:
                if error.status not in NOT_NOW:
                    raise
                return [str(error)]
            return []

        self._watch(f"{label(daemon)} is told to {what}", told, self._rebalance_patience)


def idle(found: Look, leaving: Daemon | None = None) -> list[str]:
    """What still forbids to take a daemon down: one that is away, out of service (but for the one that is `leaving` anyway) or moving data."""
    stopping = [problem for problem in found.state.unwell if any(word in problem for word in _STOPPERS)]
    if leaving is not None:
        stopping = [problem for problem in stopping if problem != f"{label(leaving)} is in maintenance"]
    return found.state.unformed + stopping + found.state.busy


def _back(found: Look, daemon: Daemon, old_uid: str) -> list[str]:
    """What is missing until the restarted daemon runs again: another pod, started. Its place in the map comes after."""
    pod = found.pods.get(daemon.pod)
    if pod is None or pod["metadata"]["uid"] == old_uid:
        return ["the old pod ends"]
    if daemon.pod in found.failures:
        raise ClusterError(f"{label(daemon)} does not come back: {found.failures[daemon.pod].reason}. The remaining daemons were left as they are.")
    facts = next(facts for facts in found.state.daemons if facts["pod"] == daemon.pod)
    if facts["absence"]:
        return [str(facts["absence"])]
    return [] if int(facts["flags"]) & NODE_STARTED else ["it starts"]
