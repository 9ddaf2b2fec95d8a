# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose lab is it: refuses to touch what carries another's name, and says whose it is."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterator
from pathlib import Path

from slipway_lab.containers import inspect, podman
from slipway_lab.errors import LabError
from slipway_lab.layout import PROCESSES, REGISTRY_PORT, Lab
from slipway_lab.nodes import LABEL_NAME, LABEL_STATE, containers
from slipway_lab.processes import Process
from slipway_lab.shell import output


def other_owner(lab: Lab) -> Path | None:
    """The state folder of another clone that runs a lab of this name, if there is one."""
    marks = [c["Labels"].get(LABEL_STATE) for c in containers(lab).values()]
    network = inspect(lab, "network", lab.name)
    if network:
        marks.append((network.get("labels") or {}).get(LABEL_STATE))
    marks += [Process(lab, name).owner() for name in PROCESSES]
    others = sorted({m for m in marks if m and Path(m) != lab.state})
    return Path(others[0]) if others else None


def problems(lab: Lab) -> list[str]:
    """Everything of another's that stands where this lab wants to be."""
    found = []
    network = inspect(lab, "network", lab.name)
    if network and (network.get("labels") or {}).get(LABEL_NAME) != lab.name:
        found.append(f"the podman network {lab.name} exists and was not made by the lab: choose another LAB_NAME or remove it")
    subnets = [s["subnet"] for s in (network or {}).get("subnets") or []]
    if subnets and lab.subnet not in subnets:
        found.append(f"the lab runs in {', '.join(subnets)}, not in {lab.subnet}: end it before LAB_SUBNET changes")
    wanted = {lab.container(n) for n in lab.nodes}
    for c in json.loads(podman(lab, "ps", "--all", "--format", "json", quiet=True) or "[]"):
        if c["Names"][0] in wanted and (c["Labels"] or {}).get(LABEL_NAME) != lab.name:
            found.append(f"the container {c['Names'][0]} exists and was not made by the lab: choose another LAB_NAME or remove it")
    found += list(_taken_subnet(lab))
    holder = port_holder(lab.gateway, REGISTRY_PORT)
    if holder and holder[0] != Process(lab, "registry").pid():
        found.append(f"port {REGISTRY_PORT}, which the registry needs at {lab.gateway}, is held by process {holder[0]} ({holder[1]})")
    return found


def _taken_subnet(lab: Lab) -> Iterator[str]:
    subnet = ipaddress.IPv4Network(lab.subnet)
    bridge = (inspect(lab, "network", lab.name) or {}).get("network_interface")
    for name in podman(lab, "network", "ls", "--quiet", quiet=True).split():
        record = inspect(lab, "network", name) or {}
        for s in record.get("subnets") or []:
            if name != lab.name and ipaddress.ip_network(s["subnet"]).overlaps(subnet):
                owner = (record.get("labels") or {}).get(LABEL_STATE)
                yield f"the podman network {name} has {s['subnet']}" + (f" (the lab of {owner})" if owner else "") + ": choose another LAB_SUBNET"
                return
    for route in json.loads(output(["ip", "-json", "-4", "route", "show", "table", "main"], quiet=True) or "[]"):
        if route["dst"] != "default" and route.get("dev") != bridge and ipaddress.ip_network(route["dst"], strict=False).overlaps(subnet):
            yield f"the machine reaches {route['dst']} by the interface {route.get('dev')}: choose another LAB_SUBNET"


def port_holder(address: str, port: int) -> tuple[int, str] | None:
    """Pid and name of the process that listens on this IPv4 address and port, or on the port of all addresses."""
    wild = {"00000000", "0" * 32}
    exact = "".join(f"{int(x):02X}" for x in reversed(address.split(".")))
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            ip, hex_port = fields[1].split(":")
            if fields[3] == "0A" and int(hex_port, 16) == port and (ip in wild or ip == exact):
                inodes.add(f"socket:[{fields[9]}]")
    for fd in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        try:
            if os.readlink(fd) in inodes:
                pid = fd.parts[2]
                return int(pid), Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
    return (0, "unknown") if inodes else None


def refuse_if_taken(lab: Lab) -> None:
    found = problems(lab)
    if found:
        raise LabError("something stands where the lab wants to be; nothing was touched:\n" + "\n".join(f"- {p}" for p in found))
