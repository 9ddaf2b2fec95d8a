# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report of a site: what was read back, judged, and written as `report.json` and `report.html`.

`build` is pure; its schema is documented in `docs/report.md` and `docs/report.schema.json` (`schema` counts up when a key changes its meaning).
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._run_record import changed_lines

SCHEMA = 1
READY = "ready"
CONTROLLER = "localhost"  # what a role does there it does to the cluster


def item(area: str, where: str, what: str, state: str, reason: str) -> dict[str, str]:
    """One line of the readiness table. `state`: ready, progressing, failed, absent, differs or unknown."""
    return {"area": area, "where": where, "what": what, "state": state, "reason": reason}


def host_items(results: Mapping[str, Mapping[str, Any]], expected: Mapping[str, Iterable[str]]) -> list[dict[str, str]]:
    """Readiness of roles. `results`: host -> role -> the role's result of a check-mode run; `expected`: role -> hosts that must have one."""
    items = []
    for role, hosts in expected.items():
        for host in hosts:
            place = ("cluster", "cluster") if host == CONTROLLER else ("hosts", host)
            items.append(item(*place, role, *host_state(results.get(host, {}).get(role))))
    return items


def host_state(result: Any) -> tuple[str, str]:
    """State and reason of a role on a host, from what its module said in check mode."""
    if not isinstance(result, Mapping):
        return "absent", "was not read back: the host was unreachable, left out by --limit, or an earlier role failed there"
    if result.get("unreachable"):
        return "failed", "the host was unreachable: " + str(result.get("msg", "no reason given"))
    if result.get("failed"):
        return "failed", str(result.get("msg", "no reason given"))
    if result.get("changed"):
        return "differs", "is not as the inventory says: " + ("; ".join(changed_lines(result)) or "the role would change it")
    if result.get("skipped"):
        return READY, "nothing to do: " + str(result.get("skip_reason", "the role does not apply here"))
    return READY, str(result.get("msg") or "as the inventory says")


def object_items(objects: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Readiness of cluster objects, as `k8s_readiness_info` gives them."""
    return [
        item(
            "cluster",
            str(entry.get("set") or entry.get("namespace") or "cluster"),
            f"{entry.get('kind')} {entry.get('name')}",
            str(entry.get("state")),
            str(entry.get("reason") or ""),
        )
        for entry in objects
    ]


def proof_items(proofs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Readiness of the proofs: what a real client did."""
    return [
        item("proofs", str(proof.get("name")), "a real client", READY if proof.get("ready") else "failed", str(proof.get("reason") or "")) for proof in proofs
    ]


def build(
    *, items: list[dict[str, str]], nodes: list[dict[str, Any]], services: list[dict[str, Any]], proofs: list[dict[str, Any]], about: dict[str, Any]
) -> dict[str, Any]:
    """The report without the run's own part, which only the callback knows."""
    bad = [entry for entry in items if entry["state"] != READY]
    return {
        "schema": SCHEMA,
        **about,
        # Nothing read back is not success.
        "ready": bool(items) and not bad,
        "counts": {"ready": len(items) - len(bad), "not_ready": len(bad)},
        "items": items,
        "nodes": nodes,
        "services": services,
        "proofs": proofs,
        "run": None,
    }


def write(report: Mapping[str, Any], folder: str, template: str) -> dict[str, str]:
    """Write `report.json` and `report.html` into `folder` (made if missing), readable by the owner alone, and give their paths."""
    from ansible_collections.slipway.mlops.plugins.module_utils import _files, _report_html

    os.makedirs(folder, mode=0o700, exist_ok=True)
    paths = {"json": os.path.join(folder, "report.json"), "html": os.path.join(folder, "report.html")}
    _files.write_atomic(paths["json"], (json.dumps(report, indent=1, sort_keys=True) + "\n").encode(), new_mode=0o600)
    _files.write_atomic(paths["html"], _report_html.page(report, template, _load(folder)).encode("utf-8", "replace"), new_mode=0o600)
    return paths


def _load(folder: str) -> dict[str, Any] | None:
    """What playbooks/aisloader.yml left beside the report: `about`, `summary` and the plot, base64. None without it."""
    from ansible_collections.slipway.mlops.plugins.module_utils import _files

    figures, plot = (_files.read(os.path.join(folder, f"aistore-load.{kind}")) for kind in ("json", "svg"))
    if figures is None or plot is None:
        return None
    return {**json.loads(figures), "plot": base64.b64encode(plot).decode()}


def complete(written: Mapping[str, Any], run: dict[str, Any]) -> None:
    """Add the run's part to a report that `write` has made. `written`: the `json`, `html` and `template` paths."""
    from ansible_collections.slipway.mlops.plugins.module_utils import _files

    content = _files.read(str(written["json"]))
    if content is None:
        return
    report = json.loads(content)
    report["run"] = run
    write(report, os.path.dirname(str(written["json"])), str(written["template"]))
