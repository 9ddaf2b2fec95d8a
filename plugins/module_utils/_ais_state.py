# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether an AIStore cluster is formed and whole, judged from what every daemon says of itself. Pure.

A Ready pod proves little: a primary proxy is Ready before any cluster exists, two proxies can be Ready in two clusters, and after a restart
pods are Ready up to half a minute before the cluster is. So each expected daemon is asked (`GET /v1/daemon?what=node_status`) and all must
name the same cluster UUID, the same version of the cluster map and the same primary, have started, and be in service in that map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._ais_layout import PROXY, TARGET, Daemon
from ._timestamp import seconds

# Bits of a node's state (cmn/cos/node_state.go).
CLUSTER_STARTED, NODE_STARTED, REBALANCING, REBALANCE_INTERRUPTED, RESILVERING = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
RED = {
    1 << 8: "is out of space",
    1 << 9: "is out of memory",
    1 << 13: "has a disk fault",
    1 << 15: "has far too many goroutines",
    1 << 17: "has an expired certificate",
    1 << 18: "has an invalid certificate",
    1 << 20: "is out of CPU",
    1 << 22: "has a disk out of space",
}
AMBER = {
    1 << 0: "votes on a new primary",
    1 << 6: "had a resilver interrupted",
    1 << 7: "came back after a crash",
    1 << 11: "is low on space",
    1 << 12: "is low on memory",
    1 << 14: "has many goroutines",
    1 << 16: "has a certificate that expires soon",
    1 << 19: "had keep-alive errors in the last 5 minutes",
    1 << 21: "is low on CPU",
    1 << 23: "has a disk low on space",
}
# Bits of a node's entry in the cluster map (core/meta/smap.go).
MAP_MAINTENANCE = (1 << 2) | (1 << 3)

UNBALANCED = "has started anew and no rebalance has run since"
CONSEQUENCE = "its objects answer 404 and listings leave them out until it is back"


@dataclass(frozen=True)
class Observation:
    """What was seen of one daemon: `absence` says why it cannot be asked ("" where it answered), `status` is its node_status,
    `mountpaths` its answer to what=mountpaths (targets), `started` when its container did (RFC 3339), "" where nobody knows."""

    daemon: Daemon
    absence: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)
    mountpaths: Mapping[str, Sequence[str]] = field(default_factory=dict)
    started: str = ""


@dataclass(frozen=True)
class State:
    """The verdict. The cluster is formed where `unformed` is empty, and ready where `unwell` is, too; `warnings` do not count.
    `busy` says what moves data at the moment; `interrupted` names the pods of targets that stopped doing so before the end, `unbalanced` those
    of targets that have not done so since they started anew."""

    uuid: str
    smap_version: int
    config_version: int  # as the primary counts; targets count for themselves
    primary: str
    daemons: list[dict[str, Any]]
    unformed: list[str]
    unwell: list[str]
    warnings: list[str]
    busy: list[str]
    interrupted: list[str]
    unbalanced: list[str]

    @property
    def problems(self) -> list[str]:
        return self.unformed + self.unwell


def unbalanced(observations: Sequence[Observation], smap: Mapping[str, Any]) -> list[str]:
    """Pods of targets that started after the cluster was made and have taken part in no rebalance since.

    A target that ends in good order leaves the map, and those that stay take its place for what is written meanwhile. AIStore moves that when the
    target joins again, but not while its primary starts, too (`rmd.starting`, ais/earlystart.go): after all have ended in good order at once,
    such objects answer 404 until somebody starts a rebalance. What AIStore keeps does not tell whether there are any.
    """
    in_map = smap.get("tmap") or {}
    serving = {name for name, entry in in_map.items() if not int(entry.get("flags", 0)) & MAP_MAINTENANCE}
    made = seconds(str(smap.get("creation_time") or ""))
    if len(serving) < 2 or not made:
        return []
    targets = [seen for seen in observations if seen.daemon.role == TARGET and not seen.absence and seen.status["snode"]["daemon_id"] in serving]
    return [seen.daemon.pod for seen in targets if seconds(seen.started) > max(made, _last_rebalance(seen))]


def judge(
    observations: Sequence[Observation],
    smap: Mapping[str, Any],
    mountpaths: Sequence[str],
    maintenance: Sequence[str] = (),
    to_balance: Sequence[str] = (),
) -> State:
    """`smap`: the cluster map as the primary has it, {} without one. `mountpaths`: those that every target must have.
    `maintenance`: nodes whose target is meant to be out of service. `to_balance`: the `unbalanced` pods, where the cluster rebalances at all."""
    answered = [seen for seen in observations if not seen.absence]
    uuids = {seen.daemon.pod: _cluster(seen)["smap"]["uuid"] for seen in answered}
    uuid = next((found for found, _count in Counter(found for found in uuids.values() if found).most_common(1)), "")
    unformed = [_absent(seen, bool(uuid)) for seen in observations if seen.absence]
    unwell: list[str] = []
    unformed += _formation_problems(answered, uuids, uuid)
    in_map = _members(smap)
    for seen in answered:
        unformed += _joining_problems(seen, in_map)
        unwell += _service_problems(seen, in_map, mountpaths, maintenance)
        if seen.daemon.pod in to_balance and not _movement(seen) and not _is_interrupted(seen):
            unwell.append(f"{label(seen.daemon)} {UNBALANCED}: what was written while it was away may answer 404")
    known = {seen.status["snode"]["daemon_id"] for seen in answered}
    strangers = [] if len(answered) < len(observations) else sorted(set(in_map) - known)
    warnings = [f"the cluster map holds {in_map[name].get('daemon_type')} {name}, which the inventory does not declare" for name in strangers]
    warnings += [f"{label(seen.daemon)} {text}" for seen in answered for bit, text in AMBER.items() if _flags(seen) & bit]
    busy = [f"{label(seen.daemon)} {_movement(seen)}" for seen in answered if _movement(seen)]
    primaries = Counter(_cluster(seen)["smap"]["Primary"]["id"] for seen in answered if uuids[seen.daemon.pod])
    primary = next((name for name, _count in primaries.most_common(1)), "")
    return State(
        uuid=uuid,
        smap_version=max((int(seen.status["smap_version"]) for seen in answered), default=0),
        config_version=next((int(_cluster(seen)["config"]["version"]) for seen in answered if seen.status["snode"]["daemon_id"] == primary), 0),
        primary=next((seen.daemon.pod for seen in answered if seen.status["snode"]["daemon_id"] == primary), primary),
        daemons=[_facts(seen, primary, in_map) for seen in observations],
        unformed=unformed,
        unwell=unwell,
        warnings=warnings,
        busy=busy,
        interrupted=[seen.daemon.pod for seen in answered if _is_interrupted(seen)],
        unbalanced=list(to_balance),
    )


def label(daemon: Daemon) -> str:
    """How a daemon is named to people."""
    return f"{daemon.role} {daemon.pod} (node {daemon.node})"


def _cluster(seen: Observation) -> Mapping[str, Any]:
    found: Mapping[str, Any] = seen.status["cluster"]
    return found


def _flags(seen: Observation) -> int:
    return int(_cluster(seen)["flags"])


def _members(smap: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {**(smap.get("pmap") or {}), **(smap.get("tmap") or {})}


def _absent(seen: Observation, is_cluster: bool) -> str:
    return f"{label(seen.daemon)}: {seen.absence}" + (f"; {CONSEQUENCE}" if is_cluster and seen.daemon.role == TARGET else "")


def _formation_problems(answered: Sequence[Observation], uuids: Mapping[str, str], uuid: str) -> list[str]:
    if not uuid:
        return ["no cluster has formed yet: no daemon knows a cluster UUID"] if answered else []
    found = []
    groups: dict[str, list[str]] = {}
    for pod, name in uuids.items():
        groups.setdefault(name, []).append(pod)
    if groups.get(""):
        found.append(f"not in the cluster yet: {', '.join(sorted(groups.pop('')))}")
    if len(groups) > 1:
        listed = "; ".join(f"{name}: {', '.join(sorted(pods))}" for name, pods in sorted(groups.items()))
        found.append(f"there are {len(groups)} clusters instead of one ({listed})")
    for what, values in (
        ("versions of the cluster map", {seen.daemon.pod: str(seen.status["smap_version"]) for seen in answered if uuids[seen.daemon.pod]}),
        ("primaries", {seen.daemon.pod: _cluster(seen)["smap"]["Primary"]["id"] for seen in answered if uuids[seen.daemon.pod]}),
    ):
        if len(set(values.values())) > 1:
            found.append(f"daemons name different {what}: " + ", ".join(f"{pod} {value}" for pod, value in sorted(values.items())))
    return found


def _joining_problems(seen: Observation, in_map: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    if _flags(seen) & (NODE_STARTED | CLUSTER_STARTED) != NODE_STARTED | CLUSTER_STARTED:
        found.append(f"{label(seen.daemon)} has not started yet")
    if in_map and seen.status["snode"]["daemon_id"] not in in_map:
        found.append(f"{label(seen.daemon)} is not in the cluster map" + (f"; {CONSEQUENCE}" if seen.daemon.role == TARGET else ""))
    return found


def _service_problems(seen: Observation, in_map: Mapping[str, Mapping[str, Any]], mountpaths: Sequence[str], maintenance: Sequence[str]) -> list[str]:
    flags, name = _flags(seen), label(seen.daemon)
    found = [f"{name} {text}" for bit, text in RED.items() if flags & bit]
    entry = in_map.get(seen.status["snode"]["daemon_id"]) or {}
    is_out = bool(int(entry.get("flags", 0)) & MAP_MAINTENANCE)
    meant_out = seen.daemon.role == TARGET and seen.daemon.node in maintenance
    if is_out and not meant_out:
        found.append(f"{name} is in maintenance")
    if meant_out and entry and not is_out:
        found.append(f"{name} serves, and aistore_maintenance names it: its objects are not, or no longer, moved away")
    if _is_interrupted(seen):
        found.append(f"{name}: a rebalance was interrupted; until one has run to its end, objects may lie where they are not looked for")
    if seen.daemon.role == TARGET:
        available = set(seen.mountpaths.get("available") or [])
        lost = sorted(set(mountpaths) - available)
        if lost:
            disabled = set(seen.mountpaths.get("disabled") or []) | set(seen.mountpaths.get("waiting_dd") or [])
            found += [f"{name}: mount path {path} is {'disabled' if path in disabled else 'missing'}" for path in lost]
        found += [f"{name}: mount path {path} is not declared" for path in sorted(available - set(mountpaths))]
        error = (seen.status.get("capacity") or {}).get("cs_err")
        if error and not any(flags & bit for bit in RED):
            found.append(f"{name}: {error}")
    return found


def _is_interrupted(seen: Observation) -> bool:
    return seen.daemon.role == TARGET and bool(_flags(seen) & REBALANCE_INTERRUPTED) and not _movement(seen)


def _last_rebalance(seen: Observation) -> float:
    """When the last rebalance began that the target has brought to an end or is still at, in seconds since the epoch; 0 without one."""
    snap = seen.status.get("rebalance_snap") or {}
    return 0.0 if snap.get("aborted") else seconds(str(snap.get("start-time") or ""))


def _movement(seen: Observation) -> str:
    if seen.daemon.role != TARGET:
        return ""
    snap = seen.status.get("rebalance_snap") or {}
    if _flags(seen) & REBALANCING or (snap and str(snap.get("end-time", "")).startswith("0001-") and not snap.get("aborted")):
        stats = snap.get("stats") or {}
        return f"rebalances ({stats.get('out-objs', 0)} objects sent, {stats.get('in-objs', 0)} received)"
    return "resilvers" if _flags(seen) & RESILVERING else ""


def _facts(seen: Observation, primary: str, in_map: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One daemon as modules return it. Sizes in bytes."""
    facts: dict[str, Any] = {"role": seen.daemon.role, "node": seen.daemon.node, "pod": seen.daemon.pod, "absence": seen.absence}
    if seen.absence:
        return facts
    identity = seen.status["snode"]["daemon_id"]
    facts |= {
        "id": identity,
        "version": seen.status.get("ais_version", ""),
        "uuid": _cluster(seen)["smap"]["uuid"],
        "smap_version": int(seen.status["smap_version"]),
        "flags": _flags(seen),
        "is_primary": seen.daemon.role == PROXY and identity == primary,
        "is_in_maintenance": bool(int((in_map.get(identity) or {}).get("flags", 0)) & MAP_MAINTENANCE),
    }
    if seen.daemon.role == TARGET:
        capacity = seen.status.get("capacity") or {}
        facts |= {
            "used": int(capacity.get("total_used") or 0),
            "available": int(capacity.get("total_avail") or 0),
            "mountpaths": [
                {
                    "path": path,
                    "file_system": (disk.get("fs") or {}).get("Fs", ""),
                    "file_system_type": (disk.get("fs") or {}).get("FsType", ""),
                    "disks": disk.get("disks") or [],
                    "used": int(disk.get("used") or 0),
                    "available": int(disk.get("avail") or 0),
                }
                for path, disk in sorted((capacity.get("mountpaths") or {}).items())
            ],
        }
    return facts
