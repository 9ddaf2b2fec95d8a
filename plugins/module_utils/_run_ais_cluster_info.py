# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an AIStore cluster says of itself, and whether that is what was declared. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ._ais_api import Ais, AisError
from ._ais_layout import PORTS, PROXY, Wanted, daemons
from ._ais_observe import Look, look, without_address
from ._ais_options import DECLARATION, wanted
from ._module import Call

ARGUMENTS: dict[str, Any] = {
    **{name: DECLARATION[name] for name in ("name", "namespace", "targets", "proxies", "mountpaths", "cluster_domain")},
    "maintenance": {"type": "list", "elements": "str", "default": []},
    "proof": {"type": "dict"},
}


def run(call: Call) -> dict[str, Any]:
    """Never fails because a cluster is not ready; `ready` and `problems` say so."""
    started = call.clock.now()
    declared = wanted(call.params)
    expected = daemons(declared) if declared.targets or declared.proxies else []
    found = look(call.cluster, declared.name, declared.namespace, declared=expected, mountpaths=declared.mountpaths, maintenance=call.params["maintenance"])
    found.state.unwell.extend(without_address(call.cluster, declared.name, declared.namespace))
    buckets: list[str] = []
    if found.state.uuid and (proxies := found.answering(PROXY)):
        try:
            buckets = sorted(name for _provider, name in Ais(call.cluster, declared.namespace, scheme_of(found)).buckets(proxies[0]))
        except AisError as error:
            found.state.unwell.append(f"the buckets cannot be listed: {error}")
    result = {"changed": False, "name": f"aistore {declared.name}", **report(found, declared), "buckets": buckets}
    proof = call.params["proof"]
    if proof is not None:
        result["problems"] = result["problems"] + _unproved(proof)
        result["ready"] = not result["problems"]
    return {**result, "reason": _reason(result, proof is not None), "facts": _facts(result), "seconds": round(call.clock.now() - started, 2)}


def _unproved(proof: Mapping[str, Any]) -> list[str]:
    """What the result of the proof's Job says against the cluster."""
    if proof.get("failed"):
        return [f"an object that was written did not come back: {proof.get('msg', 'no reason given')}"]
    return ["no object was written and read back"] if proof.get("skipped") else []


def _reason(result: Mapping[str, Any], is_proved: bool) -> str:
    if result["problems"]:
        return "; ".join(result["problems"])
    way = "another proxy" if sum(facts["role"] == PROXY for facts in result["daemons"]) > 1 else "its proxy"
    proved = f"; an object of 8 MiB came back byte for byte through {way} and S3" if is_proved else ""
    return f"{len(result['daemons'])} daemons in cluster {result['uuid']}, map version {result['smap_version']}{proved}"


def _facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """The few figures that a report shows."""
    counted = Counter(facts["role"] for facts in result["daemons"])
    disks = sum(len(facts.get("mountpaths", [])) for facts in result["daemons"])
    versions = sorted({str(facts["version"]) for facts in result["daemons"] if facts.get("version")})
    return {
        "uuid": result["uuid"], "proxies": counted["proxy"], "targets": counted["target"], "mountpaths": disks,
        "used_bytes": result["capacity"]["used"], "available_bytes": result["capacity"]["available"],
        "versions": versions, "buckets": result["buckets"], "s3_url": result["s3_url"],
    }  # fmt: skip


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
        "config_version": state.config_version,
        "daemons": state.daemons,
        "capacity": {
            "used": sum(int(facts.get("used", 0)) for facts in state.daemons),
            "available": sum(int(facts.get("available", 0)) for facts in state.daemons),
        },
        "url": service,
        "s3_url": f"{service}/s3",
    }
