# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""k8s_manifests: options -> a Reconciler's report -> the result."""

from __future__ import annotations

from typing import Any

from . import _syntax
from ._applyset import SetName
from ._diff import diff
from ._manifest import Declared, Documents, documents_of, read, secret_values
from ._model import DELETED, READY, ClusterError, Object, Refused, Report
from ._module import Call
from ._reconcile import Reconciler
from ._secrets import declared_secrets

ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "manifests": {"type": "raw"},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "type": {"type": "str", "default": "Opaque"},
            "labels": {"type": "dict"},
            "generate": {
                "type": "list",
                "elements": "dict",
                "options": {"key": {"type": "str", "required": True, "no_log": False}, "length": {"type": "int", "default": 32}},
            },
            "copy": {
                "type": "list",
                "elements": "dict",
                "options": {"key": {"type": "str", "required": True, "no_log": False}, "file": {"type": "path"}, "env": {"type": "str"}},
            },
        },
    },
    "prune": {"type": "bool", "default": True},
    "delete_data": {"type": "list", "elements": "str", "default": []},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 300},
    "force_conflicts": {"type": "bool", "default": False},
}


def portable(params: dict[str, Any], origin: str) -> dict[str, Any]:
    """Options for a module file on a host: YAML is read, and all that is wrong with it told, on the controller, which has PyYAML."""
    if not params.get("manifests"):
        return params
    documents = documents_of(params["manifests"])
    read(documents, str(params.get("namespace") or ""), origin)
    return {**params, "manifests": [document for _place, document in documents.found]}


def run(call: Call) -> dict[str, Any]:
    begun = call.clock.now()
    params = call.params
    documents = documents_of(params["manifests"])
    credentials = set(call.secrets)
    call.secrets |= secret_values(documents)
    owner = SetName(params["name"], params["namespace"])
    items = _declared(call, owner, documents)
    # A Secret may hold what is none, such as a user called like the namespace.
    names = {name for item in items for name in (item.ref.kind, item.ref.namespace, item.ref.name)}
    call.public = {owner.name, owner.namespace, *names} - credentials
    call.secrets -= call.public
    wait = float(params["wait_timeout"]) if params["wait"] else 0.0
    call.patience = min(call.patience, wait or call.patience)  # who waits five seconds for all does not wait a minute for an answer
    if (params["state"] == "absent" or params["prune"]) and not call.names_cluster:
        raise Refused(
            ["Objects may be deleted, and no cluster is named: set slipway_kubeconfig (`kubeconfig`), `host` or K8S_AUTH_KUBECONFIG; nothing else counts."]
        )
    cluster = call.cluster
    call.progress(f"{owner.name}: {cluster.server}" + (f" (context {cluster.context})" if cluster.context else ""))
    reconciler = Reconciler(cluster, call.clock, call.progress, owner, call.check_mode, params["force_conflicts"], params["delete_data"])
    result: Object = {}
    try:
        if params["state"] == "absent":
            reconciler.absent(items, wait)
        else:
            reconciler.present(items, params["prune"], wait)
    except ClusterError as error:
        result = {"failed": True, "msg": str(error), **({"status": error.status} if error.status else {})}
    report = reconciler.report
    result.update(changed=report.changed, objects=objects(report), seconds=round(call.clock.now() - begun, 2))
    if call.diff:
        result["diff"] = diff(report.changes, owner.manager)
    return result


def objects(report: Report) -> list[dict[str, Any]]:
    """The report's changes for the user, in the order of applying."""
    result = []
    for change in report.changes:
        verdict = report.verdicts.get(change.ref) if change.action != DELETED else None
        entry: dict[str, Any] = {"kind": change.ref.kind, "namespace": change.ref.namespace, "name": change.ref.name, "action": change.action}
        entry["assumed"] = change.assumed
        entry["ready"] = None if verdict is None else verdict.state == READY
        entry["reason"] = verdict.reason if verdict else ""
        result.append(entry)
    return result


def _declared(call: Call, owner: SetName, documents: Documents) -> list[Declared]:
    """Everything declared, by manifest or as a secret; all problems of the input at once."""
    params = call.params
    problems = []
    for option in ("name", "namespace"):
        problem = _syntax.dns_label(params[option])
        if problem:
            problems.append(f'{option}: "{params[option]}" {problem}.')
    problems += [f'delete_data: "{entry}" is not Kind/name or Kind/namespace/name.' for entry in params["delete_data"] if entry.count("/") not in (1, 2)]
    if params["wait_timeout"] < 1:
        problems.append(f"wait_timeout: {params['wait_timeout']} is not a number of seconds above 0 (`wait: false` does not wait).")
    items: list[Declared] = []
    try:
        items = read(documents, owner.namespace, call.origin)
    except Refused as refused:
        problems += refused.problems
    try:
        extra, values = declared_secrets(params["secrets"] or [], owner.namespace, call.environ)
        call.secrets |= values
        taken = {item.ref for item in items}
        problems += [f"{item.place}: {item.ref} is also in the manifests." for item in extra if item.ref in taken]
        items = sorted([*items, *extra], key=lambda item: item.level)
    except Refused as refused:
        problems += refused.problems
    if params["state"] == "present" and not items and not problems:
        problems.append(f'manifests: no objects. To remove the set "{owner.name}", say `state: absent`.')
    if problems:
        raise Refused(problems)
    return items
