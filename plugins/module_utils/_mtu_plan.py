# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which links get which MTU, in which order, and what paths this must carry. Pure. All MTUs are bytes of an IP packet with its header."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._host_input import integer
from ansible_collections.slipway.mlops.plugins.module_utils._netlink import Link

SMALLEST, LARGEST, SMALLEST_IPV6 = 68, 65535, 1280  # RFC 791; RFC 8200 section 5
# What a CNI puts around a pod's packet on an IPv4 network, bytes (Calico's documentation, "Configure MTU").
ENCAPSULATION = {"none": 0, "ipip": 20, "vxlan": 50, "wireguard": 60}


@dataclass(frozen=True)
class Step:
    """One link set from one MTU to another."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Plan:
    steps: list[Step] = field(default_factory=list)  # in the order of setting
    wanted: dict[str, int] = field(default_factory=dict)  # all that were asked for, also those that have it already
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Path:
    """A packet of `size` bytes from a link of ours to an address of another host must arrive in one piece."""

    link: str
    host: str
    address: str
    size: int


def plan(asked: Sequence[Mapping[str, Any]], links: Sequence[Link], ipv6: frozenset[str]) -> Plan:
    """Decide. `asked` are mappings with name and mtu; `ipv6` names the links on which IPv6 is on."""
    by_name = {link.name: link for link in links}
    problems: list[str] = []
    wanted: dict[str, int] = {}
    for index, item in enumerate(asked):
        name, mtu = item["name"], integer(item["mtu"])
        why = _unfit(name, item["mtu"], mtu, by_name, ipv6, wanted)
        if why or mtu is None:
            problems.append(f"links[{index}] {name}: {why}")
        else:
            wanted[name] = mtu
    after = _after(wanted, links)
    problems += _against_each_other(wanted, after, links)
    if problems:
        return Plan(problems=problems)
    changed = [link for link in links if link.name in wanted and link.mtu != wanted[link.name]]
    depth = {link.name: _depth(link, links) for link in links}
    # A link may never be larger than the one below it: shrink from the top, grow from the bottom.
    shrinking = sorted((link for link in changed if wanted[link.name] < link.mtu), key=lambda link: -depth[link.name])
    growing = sorted((link for link in changed if wanted[link.name] > link.mtu), key=lambda link: depth[link.name])
    steps = [Step(link.name, link.mtu, wanted[link.name]) for link in [*shrinking, *growing]]
    return Plan(steps, wanted, warnings=_followers(wanted, links))


def cni_problems(wanted: Mapping[str, int], cni_mtu: Any, encapsulation: str) -> list[str]:
    """Whether packets of pods still fit through the links, once the CNI has put its header around them."""
    mtu, overhead = integer(cni_mtu), ENCAPSULATION[encapsulation]
    if mtu is None or not SMALLEST <= mtu <= LARGEST:
        return [f"cni_mtu must be an integer {SMALLEST}-{LARGEST}, got {cni_mtu!r}"]
    return [
        f"{name}: a pod's packet of {mtu} bytes with {overhead} of {encapsulation} does not fit in {size}; the CNI's MTU may be at most {size - overhead}"
        for name, size in sorted(wanted.items())
        if mtu + overhead > size
    ]


def paths(own: Sequence[Mapping[str, Any]], others: Mapping[str, Sequence[Mapping[str, Any]]], changed: Sequence[str]) -> list[Path]:
    """What must be carried: from each changed link to every address in the same network, the smaller of the two MTUs.

    A link here is a mapping with name, mtu and addresses (with prefix), as it is after the change; `others` are those of each other host.
    An address that several hosts have (of a service on kube-ipvs0, of a load balancer's servers) is no way to another host.
    """
    found = []
    ours = {ipaddress.ip_interface(address).ip for link in own for address in link["addresses"]}
    for link in own:
        if link["name"] not in changed:
            continue
        for mine in map(ipaddress.ip_interface, link["addresses"]):
            for host, theirs in sorted(others.items()):
                for other in theirs:
                    for address in map(ipaddress.ip_interface, other["addresses"]):
                        if address.version == mine.version and address.ip in mine.network and address.ip not in ours:
                            found.append(Path(link["name"], host, str(address.ip), min(link["mtu"], other["mtu"])))
    return found


def asked_addresses(links: Sequence[Link], addresses: Sequence[Mapping[str, Any]], changed: Sequence[str]) -> list[Path]:
    """What must be carried to addresses outside of the play: from the link that the inventory names, else from each changed one with such an address."""
    found = []
    for item in addresses:
        version = ipaddress.ip_address(item["address"]).version
        for link in links:
            speaks = any(ipaddress.ip_interface(own).version == version for own in link.addresses)
            if link.name in changed and (item.get("link") == link.name or (not item.get("link") and speaks)):
                found.append(Path(link.name, item["address"], item["address"], min(integer(item.get("mtu")) or link.mtu, link.mtu)))
    return found


def unproved(links: Sequence[Link], changed: Sequence[str], probed: Set[str]) -> list[str]:
    """The changed links over which nothing was probed. One without an address is proved by what stands on it: a card by its bond, that by its VLAN."""

    def proved(link: Link) -> bool:
        if link.name in probed or link.addresses:
            return link.name in probed
        upper = [other for other in links if other.below == link.index or other.index == link.master]
        return any(proved(other) for other in upper)

    return [link.name for link in links if link.name in changed and not proved(link)]


def verdict(changes: Mapping[str, Mapping[str, Any]], probes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why the group must go back, one sentence each: every host of the play has to be there still, every changed link to be proved by a path, and every
    path to carry its packets."""
    reasons = []
    for host in sorted(changes):
        if not changes[host]:
            reasons.append(f"{host} has no result: it failed earlier or was left out, and all hosts of the play change together")
            continue
        if not changes[host].get("pending"):
            if changes[host].get("failed") or changes[host].get("unreachable"):
                reasons.append(f"{host} could not be changed")
            continue
        probe = probes.get(host) or {}
        if "paths" not in probe:
            reasons.append(f"{host} did not answer over a new connection" + (f": {probe['msg']}" if probe.get("msg") else ""))
            continue
        reasons += [
            f"{host} {path['link']} to {path['host']} ({path['address']}) carries {carried(path)}, not {path['size']}"
            for path in probe["paths"]
            if path["carried"] < path["size"]
        ]
        reasons += [
            f"{host} {link}: nothing proves its MTU, for no other host of the play has an address in its networks. Run the play for all hosts, name an "
            "address that this link reaches (addresses of link_mtu, host_mtu_addresses), or give the link may_be_unproved: true"
            for link in probe.get("unproved", [])
        ]
    return reasons


def not_kept(changes: Mapping[str, Mapping[str, Any]], keeps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Why the group must go back after all: a host on which the new MTU would be lost at the next boot, or that has gone back already."""
    waiting = [host for host in sorted(changes) if changes[host].get("pending")]
    return [f"{host} could not keep its MTU over a boot" for host in waiting if not (keeps.get(host) or {}).get("kept")]


def carried(path: Mapping[str, Any]) -> str:
    """How much a path carries, in words."""
    return f"{path['carried']} bytes" if path["carried"] else "nothing (no answer to an echo of any size; is ICMP filtered?)"


def _unfit(name: str, given: Any, mtu: int | None, by_name: Mapping[str, Link], ipv6: frozenset[str], wanted: Mapping[str, int]) -> str:
    """Why this one cannot be, looked at alone; "" where it can."""
    link = by_name.get(name)
    if link is None:
        return "there is no such link here (have: {})".format(", ".join(sorted(set(by_name) - {"lo"})))
    if name == "lo":
        return "the loopback link is not for tuning"
    if name in wanted:
        return "is in the list twice"
    if mtu is None:
        return f"mtu must be an integer {SMALLEST}-{LARGEST}, got {given!r}"
    low, high = max(link.min_mtu, SMALLEST), min(link.max_mtu or LARGEST, LARGEST)
    if not low <= mtu <= high:
        return f"mtu {mtu} is outside of what the driver supports, {low}-{high}"
    if mtu < SMALLEST_IPV6 and name in ipv6:
        return f"mtu {mtu} is too small while IPv6 is on, which needs {SMALLEST_IPV6}"
    return ""


def _after(wanted: Mapping[str, int], links: Sequence[Link]) -> dict[int, int]:
    """MTU of each link by index once all is set: what a bond is given, its cards get, too."""
    by_index = {link.index: link for link in links}
    found = {}
    for link in links:
        master = by_index.get(link.master)
        found[link.index] = wanted.get(link.name, wanted.get(master.name, link.mtu) if master and master.kind == "bond" else link.mtu)
    return found


def _against_each_other(wanted: Mapping[str, int], after: Mapping[int, int], links: Sequence[Link]) -> list[str]:
    by_index = {link.index: link for link in links}
    found = []
    for link in links:
        mtu = after[link.index]
        below, master = by_index.get(link.below), by_index.get(link.master)
        if below and mtu > after[below.index] and (link.name in wanted or below.name in wanted):
            found.append(f"{link.name}: {mtu} exceeds {below.name} below it ({after[below.index]}); put both in the list")
        if master and master.kind == "bond":
            if link.name in wanted and wanted[link.name] != after[master.index]:
                found.append(f"{link.name} is part of {master.name} ({after[master.index]}) and always has its MTU; put {master.name} in the list")
            if master.name in wanted and link.max_mtu and mtu > link.max_mtu:
                found.append(f"{master.name}: its card {link.name} supports at most {link.max_mtu}")
        if master and master.kind == "bridge" and master.name in wanted and after[master.index] > mtu:
            found.append(f"{master.name}: {after[master.index]} exceeds its port {link.name} ({mtu}), which would drop packets; put the port in the list")
    return found


def _followers(wanted: Mapping[str, int], links: Sequence[Link]) -> list[str]:
    """Bridges that the kernel will change along, because nobody has set their MTU."""
    bridges = {link.index: link.name for link in links if link.kind == "bridge" and link.name not in wanted}
    ports = {link.master for link in links if link.name in wanted and wanted[link.name] != link.mtu}
    return [f"{bridges[index]} is not in the list; the kernel may give it the smallest MTU of its ports" for index in sorted(ports & set(bridges))]


def _depth(link: Link, links: Sequence[Link]) -> int:
    under = [other for other in links if other.index == link.below or other.master == link.index]
    return 1 + max(_depth(other, links) for other in under) if under else 0
