# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The chain from a GPU on the bus to a pod that uses it, link by link: the first broken one is the answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._model import Object


@dataclass(frozen=True)
class Link:
    """`problem` is "" where the link holds."""

    name: str
    problem: str = ""
    note: str = ""


def host_links(host: Mapping[str, Any], handler: str, is_stated: bool) -> list[Link]:
    """The links that lie on the host. `is_stated`: somebody vouches for the GPU, so bus, driver and devices are not looked for."""
    links = [Link(name, note="stated, not looked for") for name in ("gpu", "driver", "devices")] if is_stated else _hardware(host)
    links.append(Link("toolkit", "" if host["toolkit_is_executable"] else f"{host['toolkit']} is missing or cannot be executed"))
    links.append(Link("handler", _handler(host, handler)))
    return links


def cluster_links(
    runtime_class: Object | None, class_name: str, handler: str, node: Object, plugin_pods: Sequence[Object] | None, resource: str, expected: int
) -> list[Link]:
    """The links that the API server knows. `plugin_pods` is None where somebody else runs the device plugin."""
    name = node["metadata"]["name"]
    if runtime_class is None:
        first = Link("runtime_class", f"there is no RuntimeClass {class_name}")
    elif runtime_class.get("handler") != handler:
        first = Link("runtime_class", f"RuntimeClass {class_name} asks for the handler {runtime_class.get('handler')}, the node has {handler}")
    else:
        first = Link("runtime_class", _not_scheduled(runtime_class, node))
    plugin = Link("device_plugin", note="somebody else's, not looked for") if plugin_pods is None else Link("device_plugin", _plugin(plugin_pods, name))
    return [first, plugin, Link("allocatable", _allocatable(node, resource, expected))]


def broken(links: Sequence[Link]) -> Link | None:
    """The first link that does not hold; those behind it cannot either."""
    return next((link for link in links if link.problem), None)


def holders(pods: Sequence[Object], resource: str) -> dict[str, int]:
    """Unfinished pods that hold some of the resource: namespace/name -> how many."""
    held = {}
    for pod in pods:
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        count = sum(int(((container.get("resources") or {}).get("limits") or {}).get(resource, 0)) for container in pod["spec"]["containers"])
        if count:
            held[f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"] = count
    return held


def visible(log: str) -> list[str]:
    """GPUs that a container listed, by their UUIDs: lines of `nvidia-smi -L`, or the UUIDs alone."""
    words = log.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return sorted({word for word in words if word.startswith(("GPU-", "MIG-"))})


def _hardware(host: Mapping[str, Any]) -> list[Link]:
    count = len(host["gpus"])
    if not count:
        return [Link("gpu", "no NVIDIA GPU on the PCI bus")]
    foreign = {driver for driver in host["bound"].values() if driver != "nvidia"}
    if not host["driver"]:
        held = f"; {', '.join(sorted(foreign))} holds the GPU" if foreign else ""
        driver = f"the kernel module nvidia is not loaded{held}"
    elif host["library"] and host["library"] != host["driver"]:
        driver = f"the kernel module is {host['driver']}, the library {host['library']}: reboot, or reload the module"
    elif host["driver_gpus"] != count:
        driver = f"the driver serves {host['driver_gpus']} of {count} GPUs"
    else:
        driver = ""
    nodes = [name for name in host["devices"] if name[len("nvidia") :].isdigit()]
    missing = "" if len(nodes) == count and "nvidiactl" in host["devices"] else f"/dev has {', '.join(host['devices']) or 'no nvidia device'} for {count} GPUs"
    return [Link("gpu"), Link("driver", driver), Link("devices", missing)]


def _handler(host: Mapping[str, Any], handler: str) -> str:
    if host["engine_problem"]:
        return str(host["engine_problem"])
    if host["handlers"] and handler not in host["handlers"]:
        return f"{host['engine']} runs without the handler {handler}; it knows {', '.join(host['handlers'])}"
    return ""


def _not_scheduled(runtime_class: Object, node: Object) -> str:
    selector = (runtime_class.get("scheduling") or {}).get("nodeSelector") or {}
    labels = node["metadata"].get("labels") or {}
    missing = [f"{key}={value}" for key, value in selector.items() if labels.get(key) != value]
    return f"the node lacks the label {', '.join(missing)} that the RuntimeClass asks for" if missing else ""


def _plugin(pods: Sequence[Object], node: str) -> str:
    if not pods:
        return f"no device plugin runs on {node}"
    for pod in pods:
        status = pod.get("status", {})
        if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions") or []):
            return ""
    states = [state for container in pods[0].get("status", {}).get("containerStatuses") or [] for state in (container.get("state") or {}).values()]
    why = next((f"{state.get('reason') or ''} {state.get('message') or ''}".strip() for state in states if state.get("reason")), "")
    return f"the device plugin {pods[0]['metadata']['name']} is not ready: {why or pods[0].get('status', {}).get('phase')}"


def _allocatable(node: Object, resource: str, expected: int) -> str:
    """With MIG strategy `mixed` the resources are named nvidia.com/mig-*: those count, too."""
    offered = node.get("status", {}).get("allocatable") or {}
    mig = resource.rpartition("/")[0] + "/mig-"
    count = sum(int(value) for name, value in offered.items() if name == resource or name.startswith(mig))
    return "" if count == expected else f"the node offers {count} {resource}, expected {expected}"
