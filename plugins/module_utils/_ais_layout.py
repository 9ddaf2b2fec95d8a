# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an AIStore cluster consists of, worked out from node names: daemons, their names, addresses and first configuration. Pure.

One StatefulSet of one replica per node and role, since a proxy's identity is a hash of its node's name, a target's data lies on its
node's disks, and any node, not only the last, may leave. Names follow from node names alone and never change.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _ais_config as configuration

PROXY, TARGET = "proxy", "target"
# Public port by role, and the two networks inside the cluster; numbers as in AIStore's own deployments.
PORTS = {PROXY: 51080, TARGET: 51081}
CONTROL_PORT, DATA_PORT = 51082, 51083
# A StatefulSet's name may have 52 characters: its pods carry it in the label controller-revision-hash, with 11 more, and labels end at 63.
NAME_LIMIT = 52
CLUSTER_LIMIT = 24
# What the init container leaves on every disk: whose it is (roles/aistore/files/prepare_disks.py).
MARKER = ".slipway-aistore.json"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PATH = re.compile(r"/[A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class Wanted:
    """An AIStore cluster as the inventory declares it. Node names are those of Kubernetes."""

    name: str
    namespace: str
    targets: Sequence[str]
    proxies: Sequence[str]
    initial_primary: str
    mountpaths: Sequence[str]
    mountpaths_by_target: Mapping[str, Sequence[str]] = field(default_factory=dict)
    proxies_min: int = 3
    storage: str = "host_path"
    state_path: str = ""
    state_storage_class: str = ""
    access: str = "cluster"
    public_addresses: Mapping[str, str] = field(default_factory=dict)
    client_cidrs: Sequence[str] = ()
    network_policy_is_enabled: bool = False
    https_secret: str = ""
    somaxconn: int = 0
    cluster_domain: str = "cluster.local"
    version: str = ""
    backends: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    buckets: Sequence[Mapping[str, Any]] = ()
    buckets_absent: Sequence[str] = ()

    @property
    def scheme(self) -> str:
        return "https" if self.https_secret else "http"

    @property
    def data_directory(self) -> str:
        """The directory on every disk that is a mount path of this cluster and of no other."""
        return f"{self.namespace}.{self.name}"

    @property
    def effective_config(self) -> Mapping[str, Any]:
        """`config`, and what follows from other options."""
        if not self.https_secret:
            return self.config
        tls = {"net": {"http": {"use_https": True, "server_crt": "/var/certs/tls.crt", "server_key": "/var/certs/tls.key", "skip_verify": True}}}
        return configuration.merged(tls, self.config)


@dataclass(frozen=True)
class Daemon:
    """One aisnode. `name` is that of its StatefulSet; `host` its name inside the cluster; `public_host` the one that clients are redirected to."""

    role: str
    node: str
    name: str
    host: str
    public_host: str

    @property
    def pod(self) -> str:
        return f"{self.name}-0"

    @property
    def port(self) -> int:
        return PORTS[self.role]


def slug(node: str, limit: int) -> str:
    """A node's name as part of another name: unchanged where it can be, else shortened and told apart by a hash."""
    if len(node) <= limit and _LABEL.fullmatch(node):
        return node
    plain = re.sub(r"[^a-z0-9]+", "-", node.lower()).strip("-")
    return f"{plain[: limit - 7].strip('-')}-{hashlib.sha256(node.encode()).hexdigest()[:6]}"


def daemons(wanted: Wanted) -> list[Daemon]:
    """All daemons, proxies first, each role in the order of node names."""
    found = []
    for role, nodes in ((PROXY, wanted.proxies), (TARGET, wanted.targets)):
        stem = f"{wanted.name}-ais-{role}-"
        for node in sorted(nodes):
            name = stem + slug(node, NAME_LIMIT - len(stem))
            host = f"{name}-0.{headless(wanted, role)}.{wanted.namespace}.svc.{wanted.cluster_domain}"
            public = host if wanted.access == "cluster" else wanted.public_addresses.get(node, "")
            found.append(Daemon(role, node, name, host, public))
    return found


def headless(wanted: Wanted, role: str) -> str:
    """The Service that gives each daemon of a role a name in DNS."""
    return f"{wanted.name}-ais-{role}-peers"


def client_service(wanted: Wanted) -> str:
    """The Service that clients use."""
    return f"{wanted.name}-ais-proxy"


def primary(wanted: Wanted) -> Daemon:
    """The proxy behind `primary_url`, which forms the cluster when there is none yet."""
    return next(daemon for daemon in daemons(wanted) if daemon.role == PROXY and daemon.node == wanted.initial_primary)


def layout(wanted: Wanted) -> dict[str, Any]:
    """Everything that the role's template needs and cannot say by itself."""
    primary_url = f"{wanted.scheme}://{primary(wanted).host}:{CONTROL_PORT}"
    discovery = f"{wanted.scheme}://{headless(wanted, PROXY)}.{wanted.namespace}.svc.{wanted.cluster_domain}:{CONTROL_PORT}"
    urls = {"primary_url": primary_url, "original_url": primary_url, "discovery_url": discovery}
    service = f"{client_service(wanted)}.{wanted.namespace}.svc.{wanted.cluster_domain}"
    return {
        "daemons": [_daemon(wanted, daemon) for daemon in daemons(wanted)],
        "config": _json(configuration.initial(wanted.effective_config, urls, sorted(wanted.backends))),
        "config_at_start": _digest(_json(configuration.at_start(wanted.effective_config))),
        "client_service": client_service(wanted),
        "headless": {role: headless(wanted, role) for role in PORTS},
        "ports": PORTS | {"control": CONTROL_PORT, "data": DATA_PORT},
        "data_directory": wanted.data_directory,
        "marker": MARKER,
        "pod_security": pod_security(wanted),
        "scheme": wanted.scheme,
        "url": f"{wanted.scheme}://{service}:{PORTS[PROXY]}",
        "s3_url": f"{wanted.scheme}://{service}:{PORTS[PROXY]}/s3",
    }


def _daemon(wanted: Wanted, daemon: Daemon) -> dict[str, Any]:
    local = {
        "confdir": "/etc/ais",
        "log_dir": "/var/log/ais",
        "host_net": {
            "hostname": daemon.public_host,
            "hostname_intra_control": daemon.host,
            "hostname_intra_data": daemon.host,
            "port": str(daemon.port),
            "port_intra_control": str(CONTROL_PORT),
            "port_intra_data": str(DATA_PORT),
        },
    }
    if daemon.role == TARGET:
        local["fspaths"] = dict.fromkeys(sorted(wanted.mountpaths), "")
    text = _json(local)
    return {
        "role": daemon.role, "node": daemon.node, "name": daemon.name, "pod": daemon.pod, "host": daemon.host, "port": daemon.port,
        "public_host": daemon.public_host, "config": text, "config_digest": _digest(text),
        "state_path": f"{wanted.state_path}/{wanted.namespace}/{wanted.name}/{daemon.role}" if wanted.state_path else "",
        "disks": [_disk(wanted, daemon, number, path) for number, path in enumerate(sorted(wanted.mountpaths)) if daemon.role == TARGET],
    }  # fmt: skip


def _disk(wanted: Wanted, daemon: Daemon, number: int, path: str) -> dict[str, str]:
    claim = f"{daemon.name}-disk{number}"
    return {"volume": f"disk{number}", "path": path, "claim": claim, "persistent_volume": f"{wanted.namespace}-{claim}"}


def pod_security(wanted: Wanted) -> str:
    """The strictest Pod Security level that admits the pods: hostPath and unsafe sysctls are for `privileged` alone, a hostPort as well."""
    loose = wanted.storage == "host_path" or wanted.state_path or wanted.somaxconn or wanted.access == "host_port"
    return "privileged" if loose else "restricted"


def problems(wanted: Wanted) -> list[str]:
    """Everything that the declaration alone shows to be wrong, each with the variable to change."""
    found = _name_problems(wanted) + _member_problems(wanted) + _path_problems(wanted) + _access_problems(wanted)
    found += configuration.problems(wanted.config)
    if wanted.version and _version(wanted.version) == (0, 0):
        found.append(f"aistore_version: {wanted.version!r} is not a version such as 5.0; a way back would not be told from a way forward")
    found += _backend_problems(wanted)
    found += bucket_problems(wanted)
    return found


def _name_problems(wanted: Wanted) -> list[str]:
    found = []
    for variable, value, limit in (("aistore_cluster", wanted.name, CLUSTER_LIMIT), ("aistore_namespace", wanted.namespace, 63)):
        if not _LABEL.fullmatch(value):
            found.append(f"{variable}: {value!r} is not a DNS label (lower-case letters, digits and inner hyphens)")
        elif len(value) > limit:
            found.append(f"{variable}: {value!r} has {len(value)} characters; names of its objects leave room for {limit}")
    if not found:
        names: dict[str, str] = {}
        for daemon in daemons(wanted):
            if names.setdefault(daemon.name, daemon.node) != daemon.node:
                found.append(f"nodes {names[daemon.name]} and {daemon.node} would both give {daemon.name}; rename one of them")
    return found


def _member_problems(wanted: Wanted) -> list[str]:
    found = []
    if not wanted.targets:
        found.append("aistore_targets: no target; AIStore stores on targets, name at least one node (inventory group ais_targets)")
    for variable, nodes in (("aistore_targets", wanted.targets), ("aistore_proxies", wanted.proxies)):
        for node in sorted({node for node in nodes if list(nodes).count(node) > 1}):
            found.append(f"{variable}: node {node} is named twice; a node runs one daemon of each kind")
    if not wanted.proxies:
        found.append("aistore_proxies: no proxy; name at least one node, three for high availability (inventory group ais_proxies)")
    elif len(wanted.proxies) < wanted.proxies_min:
        found.append(
            f"aistore_proxies: {len(wanted.proxies)} ({', '.join(wanted.proxies)}) where aistore_proxies_min asks for {wanted.proxies_min}; "
            "two proxies cannot elect a new primary when one dies, three can; add nodes, or lower aistore_proxies_min to live without"
        )
    if wanted.proxies and wanted.initial_primary not in wanted.proxies:
        near = difflib.get_close_matches(wanted.initial_primary, wanted.proxies, n=1)
        found.append(
            f"aistore_initial_primary: {wanted.initial_primary or '(none)'} is not among aistore_proxies ({', '.join(wanted.proxies)})"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    return found


def _path_problems(wanted: Wanted) -> list[str]:
    found = []
    paths = list(wanted.mountpaths)
    if not paths:
        found.append("aistore_mountpaths: no mount path; name the mounted disks, the same on every target, e.g. [/ais/disk0]")
    for path in sorted(set(paths)):
        if not _PATH.fullmatch(path) or posixpath.normpath(path) != path or len(path) > 255:
            found.append(f"aistore_mountpaths: {path!r} is not a plain absolute path")
        if paths.count(path) > 1:
            found.append(f"aistore_mountpaths: {path} is named twice")
        for outer in sorted(set(paths)):
            if path != outer and path.startswith(outer.rstrip("/") + "/"):
                found.append(f"aistore_mountpaths: {path} lies inside {outer}; mount paths cannot be nested")
    for target in wanted.targets:
        if target in wanted.mountpaths_by_target:
            has = wanted.mountpaths_by_target[target]
            if not isinstance(has, (list, tuple)) or not all(isinstance(path, str) for path in has):
                found.append(f"aistore_mountpaths_by_target.{target}: expected a list of mount points, got {has!r}")
                continue
            missing, more = sorted(set(paths) - set(has)), sorted(set(has) - set(paths))
            if missing:
                found.append(f"target {target}: lacks {', '.join(missing)} of aistore_mountpaths (its disks: {', '.join(sorted(has)) or 'none'})")
            if more:
                found.append(f"target {target}: also has {', '.join(more)}, which the other targets lack; AIStore wants the same paths on every target")
        elif wanted.mountpaths_by_target:
            found.append(f"target {target}: has no disks in the inventory (ais_datafs_disks), the other targets have")
    if wanted.state_path and (not _PATH.fullmatch(wanted.state_path) or posixpath.normpath(wanted.state_path) != wanted.state_path):
        found.append(f"aistore_state_path: {wanted.state_path!r} is not a plain absolute path")
    if wanted.state_path and wanted.state_storage_class:
        found.append("aistore_state_path and aistore_state_storage_class: give one of them")
    return found


def _access_problems(wanted: Wanted) -> list[str]:
    found = []
    if wanted.access != "cluster":
        for node in sorted(set(wanted.targets) | set(wanted.proxies if wanted.access == "host_port" else [])):
            address = wanted.public_addresses.get(node, "")
            if not address:
                found.append(f"aistore_public_addresses: node {node} has none; with aistore_access {wanted.access} clients are redirected to it")
            elif not isinstance(address, str):
                found.append(f"aistore_public_addresses: expected an address of node {node}, got {address!r}")
            elif wanted.access == "load_balancer" and not _is_ip(address):
                found.append(f"aistore_public_addresses: {address!r} of node {node} must be an IP address, the load balancer is asked for it")
    used = [str(address) for node, address in wanted.public_addresses.items() if node in wanted.targets]
    for address in sorted({address for address in used if used.count(address) > 1}):
        found.append(f"aistore_public_addresses: {address} is given to several nodes")
    for number, cidr in enumerate(wanted.client_cidrs):
        if not _is_range(cidr):
            found.append(f"aistore_client_cidrs[{number}]: {cidr!r} is not an address range such as 10.0.0.0/8")
    if wanted.access != "cluster" and wanted.network_policy_is_enabled and not wanted.client_cidrs:
        found.append(
            f"aistore_client_cidrs: empty, so the NetworkPolicy keeps out the clients outside for whom aistore_access is {wanted.access}; "
            "name their address ranges, e.g. [10.0.0.0/8], or set aistore_network_policy_is_enabled to false"
        )
    use_https = dict(configuration.flatten(wanted.config)).get("net.http.use_https")
    if use_https is not None and use_https != bool(wanted.https_secret):
        found.append("aistore_config.net.http.use_https: follows from aistore_https_secret; leave it out, and name the Secret where HTTPS is wanted")
    return found


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_range(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return text.rpartition("/")[2].isdigit()  # a mask is none to Kubernetes


def _backend_problems(wanted: Wanted) -> list[str]:
    found = []
    for name, backend in wanted.backends.items():
        if name not in configuration.BACKENDS:
            found.append(f"aistore_backends.{name}: AIStore 5.0 has no such backend ({', '.join(configuration.BACKENDS)})")
        if not isinstance(backend, Mapping) or not backend.get("secret"):
            found.append(f"aistore_backends.{name}.secret: names no Secret; the daemons take the credentials from one in their namespace")
            continue
        for key, value in backend.items():
            if key not in ("secret", "file_key"):
                found.append(f"aistore_backends.{name}.{key}: there is no such entry; a backend has secret and file_key")
            elif not isinstance(value, str) or not value:
                found.append(f"aistore_backends.{name}.{key}: expected a name, got {value!r}")
        if "file_key" in backend and name != "gcp":
            found.append(f"aistore_backends.{name}.file_key: is for gcp; the keys of the Secret become environment variables")
    return found


def bucket_problems(wanted: Wanted) -> list[str]:
    """What is wrong with the buckets, by how many targets and mount paths there are."""
    found = []
    names = [str(bucket.get("name", "")) for bucket in wanted.buckets]
    for number, bucket in enumerate(wanted.buckets):
        where = f"aistore_buckets[{number}]"
        name = names[number]
        # BucketName in cmn/cos: letters, digits, underscores, dots and hyphens; S3 clients want 3 to 63 lower-case ones.
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
            found.append(f"{where}.name: {name!r} is not a bucket name that S3 clients accept (3 to 63 lower-case letters, digits, dots, hyphens)")
        if names.count(name) > 1 and names.index(name) == number:
            found.append(f"{where}.name: {name} is declared twice")
        if name in wanted.buckets_absent:
            found.append(f"{where}.name: {name} is also named in aistore_buckets_absent")
        properties = {key: value for key, value in bucket.items() if key not in ("name", "provider")}
        provider = str(bucket.get("provider", "ais"))
        if provider != "ais" and provider not in wanted.backends:
            found.append(f"{where}.provider: {provider} is not among aistore_backends ({', '.join(wanted.backends) or 'none'})")
        found += configuration.bucket_problems(properties, where, len(wanted.mountpaths), len(wanted.targets))
    for number, name in enumerate(wanted.buckets_absent):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            found.append(f"aistore_buckets_absent[{number}]: {name!r} is not the name of a bucket; nothing would be destroyed")
    return found


def live_problems(
    wanted: Wanted,
    nodes: Sequence[Mapping[str, Any]],
    stateful_sets: Sequence[Mapping[str, Any]],
    running_versions: Sequence[str],
    primary: str,
    storage_classes: Sequence[Mapping[str, Any]] | None,
    allowed_sysctls: Mapping[str, Sequence[str]],
) -> list[str]:
    """What the live cluster forbids. `nodes`: Node objects; `stateful_sets`: those of AIStore in all namespaces that may be read;
    `running_versions`: as daemons report them; `primary`: the pod that they name, where it answers; `storage_classes`: None where they may not be read;
    `allowed_sysctls`: by node, where known."""
    found = _node_problems(wanted, nodes)
    found += _removal_problems(wanted, stateful_sets)
    found += _proxy_removal_problems(wanted, stateful_sets, primary)
    found += _scheme_problems(wanted, stateful_sets)
    found += _neighbour_problems(wanted, stateful_sets)
    for running in sorted(set(running_versions)):
        if wanted.version and _version(running) > _version(wanted.version):
            found.append(
                f"aistore_version: the cluster runs {running}, {wanted.version} is older; AIStore has no way back "
                "(a newer daemon rewrites what is on the disks), declare the running version or a newer one"
            )
    if not wanted.state_path and storage_classes is not None:
        found += _class_problems(wanted, storage_classes)
    if wanted.somaxconn:
        for node, patterns in sorted(allowed_sysctls.items()):
            if not any(pattern in ("*", "net.*", "net.core.*", "net.core.somaxconn") for pattern in patterns):
                found.append(
                    f"aistore_somaxconn: the kubelet of node {node} does not allow net.core.somaxconn, its pods would be rejected; "
                    "run playbooks/nodes.yml (role kubelet_sysctls) first, or set aistore_somaxconn to 0"
                )
    return found


def _node_problems(wanted: Wanted, nodes: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    labels_of = {node["metadata"]["name"]: node["metadata"].get("labels") or {} for node in nodes}
    for variable, role, names in (("aistore_targets", TARGET, wanted.targets), ("aistore_proxies", PROXY, wanted.proxies)):
        for name in sorted(set(names)):
            if name not in labels_of:
                near = difflib.get_close_matches(name, labels_of, n=1, cutoff=0.5)
                found.append(f"{variable}: Kubernetes has no node {name}" + (f"; did you mean {near[0]}?" if near else ""))
                continue
            label = f"nvidia.com/ais-{role}"
            holder = labels_of[name].get(label, wanted.name)
            if holder != wanted.name:
                found.append(f"{variable}: node {name} carries {label}={holder}, it belongs to AIStore cluster {holder}; take it from there first")
    return found


def _belongs(stateful_set: Mapping[str, Any]) -> tuple[str, str]:
    labels = stateful_set["metadata"].get("labels") or {}
    return stateful_set["metadata"].get("namespace", ""), labels.get("app.kubernetes.io/instance", "")


def _role_and_node(stateful_set: Mapping[str, Any]) -> tuple[str, str]:
    labels = stateful_set["metadata"].get("labels") or {}
    annotations = stateful_set["metadata"].get("annotations") or {}
    return labels.get("app.kubernetes.io/component", ""), annotations.get("slipway.mlops/node", "")


def mounted_paths(stateful_set: Mapping[str, Any]) -> set[str]:
    """The mount paths in the pod template of a target."""
    containers = stateful_set["spec"]["template"]["spec"]["containers"]
    return {mount["mountPath"] for mount in containers[0].get("volumeMounts", []) if mount["name"].startswith("disk")}


def _removal_problems(wanted: Wanted, stateful_sets: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for stateful_set in stateful_sets:
        role, node = _role_and_node(stateful_set)
        if _belongs(stateful_set) != (wanted.namespace, wanted.name) or role != TARGET:
            continue
        if node not in wanted.targets:
            found.append(
                f"aistore_targets: target {stateful_set['metadata']['name']} on node {node} is no longer declared; its objects would be lost. "
                f"Keep it declared, move its data away with aistore_maintenance: [{node}], wait for the rebalance to end, "
                "then remove it as docs/aistore.md says under 'Taking a target out'"
            )
            continue
        gone = sorted(mounted_paths(stateful_set) - set(wanted.mountpaths))
        if gone and stateful_set["spec"].get("replicas", 1):
            found.append(f"aistore_mountpaths: {', '.join(gone)} of target {stateful_set['metadata']['name']} is no longer declared; its objects would be lost")
    return found


def _proxy_removal_problems(wanted: Wanted, stateful_sets: Sequence[Mapping[str, Any]], primary: str) -> list[str]:
    """Proxies that are no longer declared end all at once. Without the primary, or with too few that know the cluster, another cluster may form."""
    proxies = {}
    for stateful_set in stateful_sets:
        role, node = _role_and_node(stateful_set)
        if _belongs(stateful_set) == (wanted.namespace, wanted.name) and role == PROXY:
            proxies[node] = f"{stateful_set['metadata']['name']}-0"
    stay, gone = (sorted(node for node in proxies if (node in wanted.proxies) == declared) for declared in (True, False))
    if not gone:
        return []
    found = []
    if len(gone) > 1 and 2 * len(stay) <= len(proxies):
        found.append(
            f"aistore_proxies: {', '.join(gone)} are no longer declared, only {len(stay)} of {len(proxies)} proxies would stay and know the cluster; "
            "declare the new ones besides the old ones first, and take out fewer than half in one run"
        )
    is_known = primary in proxies.values()
    for node in gone:
        if proxies[node] == primary or not is_known:
            found.append(
                f"aistore_proxies: proxy {proxies[node]} on node {node} is no longer declared, and it "
                + ("is the primary" if is_known else "may be the primary: no proxy that answers is")
                + "; keep it declared, make another proxy the primary as docs/aistore.md says under 'Taking a proxy out', then run again"
            )
    return found


def _scheme_problems(wanted: Wanted, stateful_sets: Sequence[Mapping[str, Any]]) -> list[str]:
    for stateful_set in stateful_sets:
        scheme = (stateful_set["metadata"].get("annotations") or {}).get("slipway.mlops/scheme", wanted.scheme)
        if _belongs(stateful_set) == (wanted.namespace, wanted.name) and scheme != wanted.scheme:
            return [
                f"aistore_https_secret: AIStore cluster {wanted.name} in namespace {wanted.namespace} speaks {scheme}, declared is {wanted.scheme}; "
                f"what its daemons have saved wins, and nothing would answer any more. {'Name' if scheme == 'https' else 'Leave out'} the Secret, "
                "or make a new cluster and copy the objects"
            ]
    return []


def _neighbour_problems(wanted: Wanted, stateful_sets: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for stateful_set in stateful_sets:
        role, node = _role_and_node(stateful_set)
        owner = _belongs(stateful_set)
        if owner == (wanted.namespace, wanted.name) or role != TARGET or node not in wanted.targets:
            continue
        for path in sorted(mounted_paths(stateful_set) & set(wanted.mountpaths)):
            found.append(f"aistore_mountpaths: {path} on node {node} belongs to AIStore cluster {owner[1]} (namespace {owner[0]})")
    return found


def _class_problems(wanted: Wanted, classes: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [item["metadata"]["name"] for item in classes]
    if wanted.state_storage_class:
        if wanted.state_storage_class in names:
            return []
        return [f"aistore_state_storage_class: there is no StorageClass {wanted.state_storage_class} (there are: {', '.join(names) or 'none'})"]
    default = "storageclass.kubernetes.io/is-default-class"
    if any((item["metadata"].get("annotations") or {}).get(default) == "true" for item in classes):
        return []
    return ["aistore_state_storage_class: Kubernetes has no default StorageClass for the daemons' own state; name one, or give aistore_state_path"]


def _version(text: str) -> tuple[int, int]:
    """Major and minor of `5.0`, `v5.0.1` or what a daemon reports (`5.0.v1.5.0`); the module's own numbering v1.N.M is N.M."""
    match = re.match(r"v?1\.([45])\.(\d+)$|v?(\d+)\.(\d+)", text)
    if not match:
        return (0, 0)
    major, minor = (match[1], match[2]) if match[1] else (match[3], match[4])
    return int(major), int(minor)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
