# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""calico_mtu: one field of what Calico was installed by, and no other.

Sources: docs.tigera.io/calico/latest/networking/configuring/mtu (both ways, and when they take effect).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._model import Cluster, Conflict, Object, Ref, Refused
from ._module import Call

ARGUMENTS: dict[str, dict[str, Any]] = {
    "mtu": {"type": "int", "required": True},
    "namespace": {"type": "str", "default": "kube-system"},
    "force_conflicts": {"type": "bool", "default": False},
}
MANAGER = "slipway:calico-mtu"
SMALLEST, LARGEST = 1280, 65535  # IPv6 needs the one, an IPv4 packet has a field for the other
INSTALLATION = Ref("operator.tigera.io/v1", "Installation", "", "default")


@dataclass(frozen=True)
class Place:
    """Where this Calico has its MTU: the object, the path of the field, and the value as it stands there."""

    ref: Ref
    live: Object
    path: tuple[str, ...]
    value: Any

    @property
    def before(self) -> Any:
        found: Any = self.live
        for key in self.path:
            found = (found or {}).get(key)
        return found

    def field(self) -> Object:
        """The field alone, with what names this very object: it must not be made anew where somebody deletes it meanwhile."""
        inner: Any = self.value
        for key in reversed(self.path):
            inner = {key: inner}
        metadata = {"name": self.ref.name, "uid": self.live["metadata"]["uid"]}
        if self.ref.namespace:
            metadata["namespace"] = self.ref.namespace
        return {"apiVersion": self.ref.api_version, "kind": self.ref.kind, "metadata": metadata, **inner}


def run(call: Call) -> dict[str, Any]:
    """Calico told of the MTU, or nothing touched."""
    mtu = call.params["mtu"]
    if not SMALLEST <= mtu <= LARGEST:
        raise Refused([f"mtu: {mtu} is not within {SMALLEST}-{LARGEST}."])
    place = _place(call.cluster, mtu, call.params["namespace"])
    before, field = place.before, ".".join(place.path)
    changed = before != place.value
    if changed:
        _apply(call, place)
    result: dict[str, Any] = {
        "changed": changed,
        "object": str(place.ref),
        "before": before,
        "mtu": mtu,
        "actions": [f"{field} of {place.ref}: {before if before not in (None, '') else '(none)'} -> {mtu}"] if changed else [],
    }
    if call.diff and changed:
        title = f"{place.ref} {field}"
        result["diff"] = [{"before_header": title, "after_header": title, "before": f"{before}\n", "after": f"{place.value}\n"}]
    if changed and place.ref.kind == "ConfigMap":
        restart = f"kubectl -n {place.ref.namespace} rollout restart daemonset/calico-node"
        result["warnings"] = [f"Calico reads {place.ref} when its pods start: `{restart}`. Pods that run keep their MTU until they are made anew."]
    return result


def _place(cluster: Cluster, mtu: int, namespace: str) -> Place:
    """The operator's Installation where there is one, else the ConfigMap of the manifests."""
    if cluster.resource(INSTALLATION.api_version, INSTALLATION.kind):
        live = cluster.get(INSTALLATION)
        if live is not None:
            kind = ((live.get("spec") or {}).get("cni") or {}).get("type") or "Calico"
            if kind != "Calico":
                raise Refused([f"{INSTALLATION} has the CNI plugin {kind}: its MTU is not Calico's to set."])
            return Place(INSTALLATION, live, ("spec", "calicoNetwork", "mtu"), mtu)
    ref = Ref("v1", "ConfigMap", namespace, "calico-config")
    live = cluster.get(ref)
    if live is None or "veth_mtu" not in (live.get("data") or {}):
        raise Refused([f"This cluster has neither {INSTALLATION} nor {ref} with the key veth_mtu: it has no Calico, or one that was installed in another way."])
    return Place(ref, live, ("data", "veth_mtu"), str(mtu))


def _apply(call: Call, place: Place) -> None:
    try:
        call.cluster.apply(place.field(), MANAGER, force=call.params["force_conflicts"], dry_run=call.check_mode)
    except Conflict as conflict:
        raise Refused([f"{conflict} `force_conflicts: true` takes over this one field."]) from None
