# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an AIStore cluster says of itself, and whether that is what was declared. Changes nothing."""

from __future__ import annotations

from typing import Any

from ._ais_api import Ais, AisError
from ._ais_layout import PORTS, PROXY, Wanted, daemons
from ._ais_observe import Look, look
from ._ais_options import DECLARATION, wanted
from ._module import Call

ARGUMENTS: dict[str, Any] = {
    **{name: DECLARATION[name] for name in ("name", "namespace", "targets", "proxies", "mountpaths", "cluster_domain")},
    "maintenance": {"type": "list", "elements": "str", "default": []},
}


def run(call: Call) -> dict[str, Any]:
    """Never fails because a cluster is not ready; `ready` and `problems` say so."""
    started = call.clock.now()
    declared = wanted(call.params)
    expected = daemons(declared) if declared.targets or declared.proxies else []
    found = look(
        call.cluster, declared.name, declared.namespace, declared=expected, mountpaths=declared.mountpaths, maintenance=call.params["maintenance"]
    )
    buckets: list[str] = []
    if found.state.uuid and (proxies := found.answering(PROXY)):
        try:
            buckets = sorted(name for _provider, name in Ais(call.cluster, declared.namespace, scheme_of(found)).buckets(proxies[0]))
        except AisError as error:
            found.state.unwell.append(f"the buckets cannot be listed: {error}")
    return {"changed": False, **report(found, declared), "buckets": buckets, "seconds": round(call.clock.now() - started, 2)}


def scheme_of(found: Look) -> str:
    """The protocol that the deployed daemons speak."""
    annotations = [item["metadata"].get("annotations") or {} for item in found.stateful_sets.values()]
    return next((str(item["slipway.mlops/scheme"]) for item in annotations if item.get("slipway.mlops/scheme")), "http")


def report(found: Look, declared: Wanted) -> dict[str, Any]:
    """The part of a result that describes the cluster. Sizes in bytes."""
    state = found.state
    service = f"{scheme_of(found)}://{declared.name}-ais-proxy.{declared.namespace}.svc.{declared.cluster_domain}:{PORTS[PROXY]}"
    problems = state.problems
    if not found.daemons:
        problems = [f"there is no AIStore cluster {declared.name} in namespace {declared.namespace}"]
    return {
        "ready": not problems,
        "problems": problems,
        "warnings": state.warnings,
        "busy": state.busy,
        "uuid": state.uuid,
        "primary": state.primary,
        "smap_version": state.smap_version,
        "daemons": state.daemons,
        "capacity": {
            "used": sum(int(facts.get("used", 0)) for facts in state.daemons),
            "available": sum(int(facts.get("available", 0)) for facts in state.daemons),
        },
        "url": service,
        "s3_url": f"{service}/s3",
    }
