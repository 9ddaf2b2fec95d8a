# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Verdicts on objects and sets: what is ready, what is not, and why. Reads only, and never fails because something is not ready."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ._applyset import SetName, stays
from ._health import ended, explain, judge
from ._last_words import last_words
from ._model import ABSENT, READY, Cluster, ClusterError, Forbidden, NotFound, Object, Ref, Refused, Verdict, ref_of
from ._module import Call
from ._parallel import all_of
from ._plan import written_by
from ._survey import survey, version

UNKNOWN = "unknown"  # beside the states of a Verdict: this account may not look

ARGUMENTS: dict[str, Any] = {
    "objects": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "api_version": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "namespace": {"type": "str", "default": ""},
            "name": {"type": "str", "required": True},
        },
    },
    "sets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": {"type": "str", "required": True}, "namespace": {"type": "str", "required": True}},
    },
}

Entry = tuple[str, Ref, Verdict]  # name of the set or "", object, verdict


def run(call: Call) -> Object:
    """One LIST per kind of a set, one GET per object, and pods and events only where something is not ready."""
    cluster, started = call.cluster, call.clock.now()
    named = [Ref(item["api_version"], item["kind"], item["namespace"], item["name"]) for item in call.params["objects"]]
    sets = [SetName(item["name"], item["namespace"]) for item in call.params["sets"]]
    if not named and not sets:
        raise Refused(["Neither `objects` nor `sets` name anything to look at."])
    homeless = [f"objects[{index}]: {ref} lives in a namespace; say in which." for index, ref in enumerate(named) if _lacks_namespace(cluster, ref)]
    if homeless:
        raise Refused(homeless)
    live: dict[Ref, Object | None] = {}
    entries: list[Entry] = [("", ref, verdict) for ref, verdict in zip(named, all_of(lambda ref: _look(cluster, ref, live), named))]
    for owner in sets:
        entries += _of_set(cluster, owner, live)
    pods, events = _around(cluster, {ref.namespace for _owner, ref, verdict in entries if verdict.state not in (READY, UNKNOWN)} - {""})
    told = [(owner, ref, _explained(verdict, live.get(ref), pods.values(), events)) for owner, ref, verdict in entries]
    results = [_result(cluster, owner, ref, verdict, live, pods) for owner, ref, verdict in told]
    counts: dict[str, int] = {}
    for _owner, _ref, verdict in told:
        counts[verdict.state] = counts.get(verdict.state, 0) + 1
    return {
        "changed": False,
        "ready": set(counts) == {READY},
        "counts": counts,
        "objects": results,
        "fingerprints": {owner.name: fingerprint(entries, live, owner.name) for owner in sets},
        "server": cluster.server,
        "context": cluster.context,
        "seconds": round(call.clock.now() - started, 2),
    }


def fingerprint(entries: Iterable[Entry], live: dict[Ref, Object | None], owner: str) -> str:
    """Another text whenever an object of the set is made anew or declared otherwise: a proof of the set holds for as long as it stays the same.

    `generation` counts changes of a spec; what has none (ConfigMap, Secret, Service) bears the hash of its declaration as an annotation.
    """
    parts = []
    for name, ref, _verdict in entries:
        metadata = (live.get(ref) or {}).get("metadata") or {}
        if name == owner:
            declared = sorted((key, value) for key, value in (metadata.get("annotations") or {}).items() if key.startswith("slipway.mlops/"))
            parts.append(f"{ref} {metadata.get('uid')} {metadata.get('generation')} {declared}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:16]


def _lacks_namespace(cluster: Cluster, ref: Ref) -> bool:
    try:
        resource = cluster.resource(ref.api_version, ref.kind) if not ref.namespace else None
    except ClusterError:
        return False  # told when it is looked at
    return resource is not None and resource.namespaced


def _look(cluster: Cluster, ref: Ref, live: dict[Ref, Object | None]) -> Verdict:
    try:
        live[ref] = cluster.get(ref)
    except NotFound as error:
        return Verdict(ABSENT, str(error))
    except Forbidden as error:
        return Verdict(UNKNOWN, str(error))
    return judge(live[ref])


def _of_set(cluster: Cluster, owner: SetName, live: dict[Ref, Object | None]) -> list[Entry]:
    """Members of a set of k8s_manifests. Its record knows kinds and not names, so a kind of which nothing is left counts as absent."""
    try:
        seen = survey(cluster, owner, [])
    except Forbidden as error:
        return [(owner.name, owner.record, Verdict(UNKNOWN, str(error)))]
    if not seen.recorded:
        return [(owner.name, owner.record, Verdict(ABSENT, f"no set {owner.name} was ever applied in namespace {owner.namespace}"))]
    live.update(seen.members)
    entries: list[Entry] = [(owner.name, ref, judge(member)) for ref, member in sorted(seen.members.items())]
    known = {ref.name for ref in seen.members}
    for name, at in sorted(seen.record.done.items()):
        if name not in known:
            entries.append((owner.name, Ref("batch/v1", "Job", owner.namespace, name), ended(at)))
    found, hidden = {(ref.group, ref.kind) for ref in seen.members}, {(source.api_version.rpartition("/")[0], source.kind) for source in seen.blind}
    if seen.record.done:
        found.add(("batch", "Job"))
    for group, kind in sorted(seen.record.kinds - found):
        if (group, kind) in hidden:
            verdict = Verdict(UNKNOWN, f"this account may not list {kind} in namespace {owner.namespace}")
        else:
            verdict = Verdict(ABSENT, f"the set had objects of kind {kind}, and none is left")
        entries.append((owner.name, Ref(version(cluster, group, kind) or group, kind, owner.namespace, "(any)"), verdict))
    had, left = seen.record.objects, sum(stays(ref.kind) and written_by(live, owner.manager) for ref, live in seen.members.items())
    if had is not None and left < had and not seen.blind:
        entries.append((owner.name, owner.record, Verdict(ABSENT, f"the set had {had} objects, {left} are left; apply it again")))
    return entries


def _around(cluster: Cluster, namespaces: Iterable[str]) -> tuple[dict[Ref, Object], list[Object]]:
    """Pods and events that explain; an account that may not read them gets plainer reasons."""
    pods: dict[Ref, Object] = {}
    events: list[Object] = []
    for namespace in sorted(namespaces):
        for kind in ("Pod", "Event"):
            try:
                items = cluster.list("v1", kind, namespace).items
            except ClusterError:
                continue
            if kind == "Pod":
                pods.update({ref_of(item): item for item in items})
            else:
                events += items
    return pods, events


def _explained(verdict: Verdict, live: Object | None, pods: Iterable[Object], events: Iterable[Object]) -> Verdict:
    return verdict if live is None or verdict.state in (READY, UNKNOWN) else explain(live, pods, events)


def _result(cluster: Cluster, owner: str, ref: Ref, verdict: Verdict, live: dict[Ref, Object | None], pods: dict[Ref, Object]) -> Object:
    result: Object = {
        "set": owner,
        "api_version": ref.api_version,
        "kind": ref.kind,
        "namespace": ref.namespace,
        "name": ref.name,
        "state": verdict.state,
        "ready": verdict.state == READY,
        "reason": verdict.reason,
    }
    if verdict.state not in (READY, UNKNOWN, ABSENT):
        result["lines"] = last_words(cluster, [ref], live, pods)
    return result
