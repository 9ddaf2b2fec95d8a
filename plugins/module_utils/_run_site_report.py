# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`site_report`: puts what the stages read back beside what the cluster shows, judges it, and writes the report."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.slipway.mlops.plugins.module_utils import _health, _report
from ansible_collections.slipway.mlops.plugins.module_utils._model import READY, ClusterError, Forbidden, Object, Refused

if TYPE_CHECKING:
    from ansible_collections.slipway.mlops.plugins.module_utils._module import Call

ARGUMENTS: dict[str, Any] = {
    "directory": {"type": "path", "default": "report"},
    "host_roles": {"type": "dict", "default": {}},
    "objects": {"type": "list", "elements": "dict", "default": []},
    "proofs": {"type": "list", "elements": "dict", "default": []},
    "services": {"type": "list", "elements": "dict", "default": []},
}

NOT_RUN = "was not run: something that it needs failed"
OURS = "app.kubernetes.io/part-of=slipway"


def run(call: Call) -> dict[str, Any]:
    """Write the report. The action adds what only the controller knows as the parameter `gathered`.

    Its keys: `results` (host -> role -> result of its last dry run), `hosts` (host -> {address, groups, node}), `version` of the collection, `inventory`
    (sources), `template` (path of the page).
    """
    params = call.params
    gathered = params["gathered"]
    proofs = [proved(proof) for proof in params["proofs"] if proof]
    items = [
        *_report.host_items(gathered["results"], params["host_roles"]),
        *_report.object_items(params["objects"]),
        *_report.proof_items(proofs),
    ]
    about: dict[str, Any] = {
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "collection_version": gathered["version"],
        "inventory": gathered["inventory"],
        "server": "",
        "context": "",
        "versions": {},
    }
    nodes: list[Object] | None = None
    pods: list[Object] = []
    try:
        about |= {"server": call.cluster.server, "context": call.cluster.context}
        nodes, pods = _all(call, "Node"), _all(call, "Pod", OURS) or []
        about["versions"] = versions(json.loads(call.cluster.request("GET", "/version").body), pods)
    except (ClusterError, Refused) as error:
        items.append(_report.item("cluster", "API server", "answers", "failed", str(error)))
    report = _report.build(
        items=items,
        nodes=pictures(gathered, nodes, pods),
        services=params["services"],
        proofs=proofs,
        about=about,
    )
    for entry in report["items"]:
        if entry["state"] != READY:
            call.progress(f"{entry['where']}/{entry['what']}: {entry['state']}, {entry['reason']}")
    result: dict[str, Any] = {"changed": False, "ready": report["ready"], "counts": report["counts"]}
    if not call.check_mode:
        try:
            paths = _report.write(report, params["directory"], gathered["template"])
        except OSError as error:
            unwritten = f"none, for it could not be written: {error}. `slipway_report_directory` names another place."
            return {**result, "failed": True, "msg": sentence(report, unwritten)}
        result["slipway_report"] = {**paths, "template": gathered["template"], "ready": report["ready"], "services": report["services"]}
    if not report["ready"]:
        result |= {"failed": True, "msg": sentence(report, "none, in check mode" if call.check_mode else paths["html"])}
    return result


def proved(proof: Mapping[str, Any]) -> dict[str, Any]:
    """A proof with everything that the schema wants. One that failed before it could judge has no `ready`."""
    said = {key: value for key, value in proof.items() if key not in ("exception", "failed", "invocation")}
    return {"name": "a proof", "ready": False, **said, "reason": str(proof.get("reason") or proof.get("msg") or NOT_RUN)}


def sentence(report: Mapping[str, Any], page: str) -> str:
    """Why the site is not ready, in a few lines."""
    bad = [entry for entry in report["items"] if entry["state"] != READY]
    if report["ready"]:
        return f"Everything is ready. The report: {page}"
    if not bad:
        return f"Nothing was read back, so nothing is known to be ready. The report: {page}"
    shown = [f"  {entry['where']}: {entry['what']} is {entry['state']}: {entry['reason']}" for entry in bad[:10]]
    more = [f"  and {len(bad) - 10} more"] if len(bad) > 10 else []
    return "\n".join([f"{len(bad)} of {len(report['items'])} things are not ready:", *shown, *more, f"The report: {page}"])


def pictures(gathered: Mapping[str, Any], nodes: list[Object] | None, pods: list[Object]) -> list[dict[str, Any]]:
    """The machines of the picture: hosts of the inventory and nodes of the cluster, under one name where they are the same.

    `nodes` None: nobody could be asked, so that of no machine it is known whether it is ready.
    """
    by_name = {node["metadata"]["name"]: node for node in nodes or ()}
    pictured = []
    for host, facts in gathered["hosts"].items():
        node = by_name.pop(facts.get("node") or host, None)
        machine = _machine(host, node, facts, gathered["results"].get(host, {}), pods)
        pictured.append({**machine, "ready": None} if nodes is None else machine)
    # Of nodes that no inventory names, only those matter on which something of ours runs.
    used = {pod["spec"].get("nodeName") for pod in pods}
    pictured += [_machine(name, node, {}, {}, pods) for name, node in by_name.items() if name in used]
    return sorted(pictured, key=lambda machine: str(machine["name"]))


def _machine(name: str, node: Object | None, facts: Mapping[str, Any], results: Mapping[str, Any], pods: list[Object]) -> dict[str, Any]:
    node_name = node["metadata"]["name"] if node else None
    here = [pod for pod in pods if node_name and pod["spec"].get("nodeName") == node_name]
    return {
        "name": name,
        "address": str(facts.get("address") or ""),
        "roles": list(facts.get("groups") or ()),
        "ready": bool(node) and _health.judge(node).state == READY,
        "version": str(((node or {}).get("status") or {}).get("nodeInfo", {}).get("kubeletVersion", "")),
        "disks": disks(results.get("ais_datafs") or {}),
        "pods": [
            {"namespace": pod["metadata"]["namespace"], "name": pod["metadata"]["name"], "state": _health.judge(pod).state}
            for pod in sorted(here, key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"]))
            if not _is_finished(pod)
        ],
    }


def disks(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Data disks as `xfs_datafs` reports them. One with steps to do is not as the inventory says; where the module failed, none is known to be."""
    return [
        {
            "path": str(disk.get("path") or ""),
            "device": str(disk.get("device") or ""),
            "uuid": str(disk.get("uuid") or ""),
            "size_bytes": int(disk.get("size_bytes") or 0),
            "ready": not (result.get("failed") or disk.get("actions")),
        }
        for disk in result.get("disks") or ()
    ]


def versions(server: Mapping[str, Any], pods: list[Object]) -> dict[str, str]:
    """Kubernetes' version and that of each of our workloads, by its label."""
    found = {"Kubernetes": str(server.get("gitVersion", "?"))}
    for pod in pods:
        labels = pod["metadata"].get("labels") or {}
        if labels.get("app.kubernetes.io/version"):
            found[str(labels.get("app.kubernetes.io/name", "?"))] = str(labels["app.kubernetes.io/version"])
    return found


def _all(call: Call, kind: str, labels: str = "") -> list[Object] | None:
    try:
        return call.cluster.list("v1", kind, labels=labels).items
    except Forbidden:  # an account of one namespace: the picture stays empty, the judgement does not need it
        return None


def _is_finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"
