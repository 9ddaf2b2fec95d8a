# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The planning worksheet of a site as a check of its inventory. Pure: no host, no cluster, no file is touched.

The worksheet is that of AIStore's deployment guide (target nodes, proxy nodes, one initial primary, the same mount paths on every
target), extended by what else can be known to be wrong before the first connection: misspelt names, addresses, ranges.
"""

from __future__ import annotations

import difflib
import itertools
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils import _mtu_plan
from ansible_collections.slipway.mlops.plugins.module_utils._block_probe import plain_wwn
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import integer

# Groups whose hosts must be nodes of the cluster, and those that say which hosts are.
USES = ("ais_targets", "ais_proxies", "ais_initial_primary", "ais_clients", "gpu_nodes")
GROUPS = ("kube_control_plane", "kube_node", "k8s_cluster", *USES)
# With one of these a stage that looks would change, or the other way round.
SET_BY_PLAYBOOKS = ("slipway_is_dry_run", "slipway_stage")
# Roles that run on the controller, which sees the variables of group_vars/all and not those of other groups.
ON_CONTROLLER = ("aim", "aistore", "mlflow", "mlflow_job", "node_labels", "postgresql", "slipway")
# Of `slipway_`, what is a host's own, or read from any host.
ON_ANY_HOST = ("slipway_node_name", "slipway_node_cidr", "slipway_pod_cidr", "slipway_service_cidr", *SET_BY_PLAYBOOKS)
# What Kubernetes takes as the name of a node (RFC 1123).
NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

# How alike two names must be (difflib's ratio, 0 to 1) for one to be taken as a slip of the other. Inside a role's prefix most of the name
# agrees already, so that a distant one may well be another collection's variable (`postgresql_hba_entries`): it only warns.
LIKE_IN_PREFIX = 0.8
LIKE_ANYWHERE = 0.92
# The beginning of an image's name (distribution's reference grammar): a host, and a path in small letters.
REGISTRY = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")

# Names of disks that no other disk in the world bears, as xfs_datafs takes them; a serial is its maker's alone.
UNIQUE = re.compile(r"(?:(?:/dev/disk/by-id/|ID=)(?:scsi-3|nvme-(?=eui\.)|(?=wwn-))|WWN=|(?=naa\.|eui\.|0x))(.+)")


@dataclass(frozen=True)
class Inventory:
    """What Ansible knows: `groups` name -> host names, `hosts` name -> variables (templated where they could be)."""

    groups: Mapping[str, list[str]]
    hosts: Mapping[str, Mapping[str, Any]]

    def members(self, group: str) -> list[str]:
        return list(self.groups.get(group, []))

    @property
    def nodes(self) -> list[str]:
        """Hosts that are named in any group of ours; an inventory may know other machines, too."""
        return sorted({host for group in GROUPS for host in self.members(group)})


@dataclass
class Findings:
    """`problems` stop the run; `warnings` do not."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(inventory: Inventory, variables: Mapping[str, Iterable[str]]) -> Findings:
    """Everything that is wrong, at once. `variables`: role name (or `slipway`) -> its public variables."""
    findings = Findings()
    _group_names(inventory, findings)
    _variable_names(inventory, variables, findings)
    _set_by_playbooks(inventory, findings)
    _unseen(inventory, variables, findings)
    _addresses(inventory, findings)
    _node_names(inventory, findings)
    _cluster_members(inventory, findings)
    _aistore(inventory, findings)
    _disks(inventory, findings)
    _shared_disks(inventory, findings)
    _ranges(inventory, findings)
    _mtus(inventory, findings)
    _registry(inventory, findings)
    return findings


def _group_names(inventory: Inventory, findings: Findings) -> None:
    for name in inventory.groups:
        near = difflib.get_close_matches(name, GROUPS, n=1, cutoff=LIKE_IN_PREFIX)
        if name not in GROUPS and near and near[0] not in inventory.groups:
            findings.problems.append(f"group `{name}`: there is no such group here; did you mean `{near[0]}`?")


def _variable_names(inventory: Inventory, variables: Mapping[str, Iterable[str]], findings: Findings) -> None:
    known = {name for names in variables.values() for name in names}
    seen: dict[str, list[str]] = {}
    for host, values in inventory.hosts.items():
        for name in values:
            if name not in known and not name.startswith(("ansible_", "_")):
                seen.setdefault(name, []).append(host)
    for name, hosts in sorted(seen.items()):
        role = max((role for role in variables if name.startswith(role + "_")), key=len, default="")
        near = difflib.get_close_matches(name, known, n=1, cutoff=LIKE_IN_PREFIX if role else LIKE_ANYWHERE)
        place = where(hosts, inventory)
        if near:
            findings.problems.append(f"variable `{name}` ({place}): no role reads it; did you mean `{near[0]}`?")
        elif role:
            findings.warnings.append(f"variable `{name}` ({place}): begins like a variable of `{role}`, but nothing in slipway.mlops reads it")


def _set_by_playbooks(inventory: Inventory, findings: Findings) -> None:
    for name in SET_BY_PLAYBOOKS:
        hosts = [host for host, values in inventory.hosts.items() if name in values]
        if hosts:
            findings.problems.append(f"variable `{name}` ({where(hosts, inventory)}): only playbooks set it; to look ahead, run playbooks/plan.yml")


def _unseen(inventory: Inventory, variables: Mapping[str, Iterable[str]], findings: Findings) -> None:
    """What stands in group_vars/ais_targets, say, and is read by a role that runs on the controller: the role would go on by its default."""
    controller = inventory.hosts.get("localhost")
    if controller is None:
        return
    for name in sorted({name for role in ON_CONTROLLER for name in variables.get(role, ())} - {*controller, *ON_ANY_HOST}):
        hosts = [host for host, values in inventory.hosts.items() if name in values]
        if hosts:
            findings.warnings.append(f"variable `{name}` ({where(hosts, inventory)}): is read on localhost, where it is not set; put it into group_vars/all")


def _node_names(inventory: Inventory, findings: Findings) -> None:
    first: dict[str, str] = {}
    for host in sorted({host for group in USES for host in inventory.members(group)}):
        node = node_name(host, inventory.hosts.get(host, {}))
        if not NODE_NAME.fullmatch(node):
            findings.problems.append(f"host {host}: no Kubernetes node can have the name {node}; `slipway_node_name` says which node the host is")
        elif first.setdefault(node, host) != host:
            findings.problems.append(f"hosts {first[node]} and {host}: both are the Kubernetes node {node}; each host is one node (`slipway_node_name`)")


def _addresses(inventory: Inventory, findings: Findings) -> None:
    import netaddr  # here, so that its absence is one clear message of the doorway

    seen: dict[str, str] = {}
    for host in inventory.nodes:
        values = inventory.hosts.get(host, {})
        address = values.get("ansible_host")
        if not isinstance(address, str) or host == "localhost":
            continue
        plain = address.partition("%")[0]  # fe80::1%eth0 names the link, too
        looks_numeric = plain.replace(".", "").isdigit() or ":" in plain
        if looks_numeric and not (netaddr.valid_ipv4(plain, netaddr.INET_PTON) or netaddr.valid_ipv6(plain)):
            findings.problems.append(f"host {host}: `ansible_host: {address}` is not an IP address")
        # One address behind two ports is a NAT or a bastion's forward; the same address and port twice is one machine in two names.
        key = f"{address}:{values.get('ansible_port', 22)}"
        if key in seen and seen[key] != host:
            findings.problems.append(f"hosts {seen[key]} and {host}: both have the address {address}; each host is one machine")
        seen.setdefault(key, host)


def _cluster_members(inventory: Inventory, findings: Findings) -> None:
    nodes = set(inventory.members("k8s_cluster") + inventory.members("kube_node") + inventory.members("kube_control_plane"))
    if not nodes:
        return
    for group in USES:
        for host in inventory.members(group):
            if host not in nodes:
                near = difflib.get_close_matches(host, nodes, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]}?" if near else ""
                findings.problems.append(f"host {host} is in `{group}` but in none of `k8s_cluster`, `kube_node`, `kube_control_plane`{hint}")


def _aistore(inventory: Inventory, findings: Findings) -> None:
    targets, proxies, primary = (inventory.members(group) for group in ("ais_targets", "ais_proxies", "ais_initial_primary"))
    if not (targets or proxies or primary):
        return
    if not targets:
        findings.problems.append("group `ais_targets` is empty: AIStore needs at least one node that stores")
    if not proxies:
        findings.problems.append("group `ais_proxies` is empty: AIStore needs at least one proxy, three for high availability")
    elif len(proxies) < 3:
        findings.warnings.append(f"group `ais_proxies` has {len(proxies)} host(s): a new primary is elected only among several; three survive the loss of one")
    if len(primary) != 1:
        findings.problems.append("group `ais_initial_primary` must hold exactly one host, it holds " + (", ".join(sorted(primary)) or "none"))
    for host in primary:
        if proxies and host not in proxies:
            findings.problems.append(f"host {host} is the initial primary but not in `ais_proxies` ({', '.join(sorted(proxies))})")


def node_name(host: str, values: Mapping[str, Any]) -> str:
    """The Kubernetes node that a host is, given the host's variables."""
    return str(values.get("slipway_node_name") or host)


def state_of(disk: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """State of an entry of `ais_datafs_disks`, given the host's variables; as the role `ais_datafs` understands both."""
    return str(disk.get("state") or values.get("ais_datafs_state") or "mounted")


def mounted_paths(values: Mapping[str, Any]) -> list[str]:
    """Mount points that a host's variables ask for; those of disks that are unmounted or absent are left out."""
    return [str(disk.get("path", "")) for disk in values.get("ais_datafs_disks") or [] if state_of(disk, values) == "mounted"]


def _disks(inventory: Inventory, findings: Findings) -> None:
    paths_of: dict[str, tuple[str, ...]] = {}
    for host in inventory.members("ais_targets"):
        values = inventory.hosts.get(host, {})
        disks = values.get("ais_datafs_disks")
        if disks is None:
            continue
        if not isinstance(disks, list) or not all(isinstance(disk, Mapping) for disk in disks):
            findings.problems.append(f"host {host}: `ais_datafs_disks` must be a list of {{device, path}}")
            continue
        paths = mounted_paths(values)
        devices = [str(disk.get("device", "")) for disk in disks]
        for kind, names in (("device", devices), ("path", paths)):
            for value in sorted({name for name in names if names.count(name) > 1}):
                findings.problems.append(f"host {host}: `ais_datafs_disks` names the {kind} {value or '(none)'} more than once")
        for path in paths:
            if not path.startswith("/") or posixpath.normpath(path) != path:
                findings.problems.append(f"host {host}: `{path}` is not a plain absolute path")
            for other in paths:
                if other != path and other.startswith(path.rstrip("/") + "/"):
                    findings.problems.append(f"host {host}: mount path {other} lies inside mount path {path}")
        paths_of[host] = tuple(sorted(paths))
    wanted = max(set(paths_of.values()), key=list(paths_of.values()).count, default=())
    for host, found in sorted(paths_of.items()):
        if found != wanted:
            findings.problems.append(
                f"host {host}: its mount paths ({', '.join(found) or 'none'}) are not those of the other targets ({', '.join(wanted) or 'none'}); "
                "AIStore wants the same paths on every target"
            )
    without = [host for host in inventory.members("ais_targets") if host not in paths_of]
    if paths_of and without:
        findings.problems.append(f"targets without `ais_datafs_disks`: {', '.join(sorted(without))}; the other targets have it")


def _shared_disks(inventory: Inventory, findings: Findings) -> None:
    """A disk that two hosts reach, as of a storage network: XFS on it is destroyed once both mount it."""
    first: dict[str, str] = {}
    for host in inventory.members("ais_targets"):
        values = inventory.hosts.get(host, {})
        disks = values.get("ais_datafs_disks")
        for disk in disks if isinstance(disks, list) else []:
            if not isinstance(disk, Mapping) or state_of(disk, values) == "absent":
                continue
            device = str(disk.get("device", ""))
            name = UNIQUE.fullmatch(device)
            other = first.setdefault(plain_wwn(name.group(1)), host) if name else host
            if other != host:
                findings.problems.append(f"hosts {other} and {host}: `ais_datafs_disks` names the disk {device} for both; what two hosts mount is destroyed")


def _ranges(inventory: Inventory, findings: Findings) -> None:
    """Each variable holds one range, or one of each family with a comma between them, as `--cluster-cidr` of Kubernetes does."""
    import netaddr

    ranges: dict[str, list[Any]] = {}
    for values in inventory.hosts.values():
        for name in ("slipway_node_cidr", "slipway_pod_cidr", "slipway_service_cidr"):
            text = values.get(name)
            if not text or name in ranges:
                continue
            try:
                found = [netaddr.IPNetwork(part.strip()) for part in str(text).split(",")]
            except (netaddr.AddrFormatError, ValueError):
                findings.problems.append(f"`{name}: {text}` is not an address range such as 10.244.0.0/16, or two such as 10.244.0.0/16,fd00:10::/56")
                continue
            ranges[name] = found
            if len({part.version for part in found}) < len(found):
                findings.problems.append(f"`{name}: {text}` has two ranges of one family; one of IPv4 and one of IPv6 can stand together")
            for part in found:
                if part.ip != part.network:
                    findings.problems.append(f"`{name}: {text}` has host bits set; the network is {part.cidr}")
    names = sorted(ranges)
    families = [{part.version for part in found} for found in ranges.values()]
    if families and not set.intersection(*families):
        said = ", ".join(f"`{name}` is {', '.join(map(str, ranges[name]))}" for name in names)
        findings.problems.append(f"IPv4 and IPv6 are mixed: {said}")
    for one, other in itertools.combinations(names, 2):
        for first, second in itertools.product(ranges[one], ranges[other]):
            if first in second or second in first:
                findings.problems.append(f"`{one}` {first} and `{other}` {second} overlap")
    _outside(inventory, ranges.get("slipway_node_cidr", []), findings)


def _outside(inventory: Inventory, nodes: Sequence[Any], findings: Findings) -> None:
    """Only unusual: ansible_host may be an address of a management network."""
    import netaddr

    for host in inventory.nodes:
        text = inventory.hosts.get(host, {}).get("ansible_host")
        if not isinstance(text, str) or not (netaddr.valid_ipv4(text, netaddr.INET_PTON) or netaddr.valid_ipv6(text)):
            continue
        ours = [part for part in nodes if part.version == netaddr.IPAddress(text).version]
        if ours and not any(text in part for part in ours):
            findings.warnings.append(f"host {host}: `ansible_host: {text}` is outside of `slipway_node_cidr: {ours[0]}`")


def _mtus(inventory: Inventory, findings: Findings) -> None:
    """What host_mtu would refuse on each host can be known before the first connection."""
    import netaddr

    found: dict[tuple[str, str], list[str]] = {}
    for host, values in inventory.hosts.items():
        addresses = values.get("host_mtu_addresses")
        for item in addresses if isinstance(addresses, list) else []:
            address = str(item.get("address")) if isinstance(item, Mapping) else str(item)
            if not (netaddr.valid_ipv4(address, netaddr.INET_PTON) or netaddr.valid_ipv6(address)):
                found.setdefault(("host_mtu_addresses", f"`{address}` is not an IP address"), []).append(host)
        links, mtu, encapsulation = values.get("host_mtu_links"), values.get("host_mtu_cni_mtu"), str(values.get("host_mtu_cni_encapsulation") or "none")
        if not mtu or not isinstance(links, list) or encapsulation not in _mtu_plan.ENCAPSULATION:
            continue
        sizes = {str(link.get("name")): integer(link.get("mtu")) for link in links if isinstance(link, Mapping)}
        for problem in _mtu_plan.cni_problems({name: size for name, size in sizes.items() if size is not None}, mtu, encapsulation):
            found.setdefault(("host_mtu_cni_mtu", problem), []).append(host)
    findings.problems += [f"`{variable}` ({where(hosts, inventory)}): {problem}" for (variable, problem), hosts in found.items()]


def _registry(inventory: Inventory, findings: Findings) -> None:
    found: dict[str, list[str]] = {}
    for host, values in inventory.hosts.items():
        registry = values.get("slipway_image_registry")
        if isinstance(registry, str) and registry and not REGISTRY.fullmatch(registry):
            found.setdefault(registry, []).append(host)
    for registry, hosts in found.items():
        findings.problems.append(
            f"`slipway_image_registry: {registry}` ({where(hosts, inventory)}): must be host[:port][/path] in small letters, such as "
            "registry.example.org/mlops, without https:// and without a slash at its end"
        )


def where(hosts: list[str], inventory: Inventory) -> str:
    if len(hosts) == len(inventory.hosts):
        return "all hosts"
    return "host " + hosts[0] if len(hosts) == 1 else f"{hosts[0]} and {len(hosts) - 1} more"
