# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration of an AIStore 5.0 cluster as a typed dictionary: what keys there are, what they were called before, what differs.

Pure. Keys, types and ranges are those of `ConfigToSet`, `Bprops` and their `Validate` methods in AIStore v1.5.0 (`cmn/config.go`,
`cmn/api.go`), where one unknown key keeps a daemon from starting. Durations are Go's (`2m30s`), sizes are powers of 1024 (`64mb` = `64MiB`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

# One line per key: dotted name, kind, and the range that the daemon accepts, or 0 where `0|` is written. A 0 that the daemon takes for its default is
# outside of it: the daemon would tell that default ever after, and never what was declared.
_CLUSTER = """
arch.bundle_multiplier int 1..16
arch.burst_buffer int 32..10000
arch.compression never|always
auth.client_auth_required bool
auth.intra_cluster.node_join_secret_path string
auth.intra_cluster.nonce_window duration
auth.intra_cluster.request_auth bool
auth.intra_cluster.rotation_grace duration
auth.intra_cluster.ttl duration
auth.oidc.allowed_iss list
auth.oidc.issuer_ca_bundle string
auth.oidc.jwks_cache.min_background_refresh duration
auth.oidc.jwks_cache.min_rotation_refresh duration
auth.required_claims.aud list
auth.signature.method string
checksum.enable_read_range bool
checksum.type none|xxhash|xxhash2|md5|crc32c|sha256|sha512
checksum.validate_cold_get bool
checksum.validate_obj_move bool
checksum.validate_warm_get bool
chunks.checkpoint_every int 0..1024
chunks.chunk_size size 1KiB..5GiB
chunks.max_monolithic_size size 1GiB..1TiB
chunks.objsize_limit size
client.client_long_timeout duration 1s..30m
client.client_timeout duration 1s..30m
client.list_timeout duration 1s..30m
disk.disk_util_high_wm int 1..100
disk.disk_util_low_wm int 1..100
disk.disk_util_max_wm int 1..100
disk.iostat_time_long duration 2s..1m
disk.iostat_time_short duration 1ms..1m
disk.iostat_time_smooth duration
distributed_sort.bundle_multiplier int 1..16
distributed_sort.burst_buffer int 32..10000
distributed_sort.call_timeout duration
distributed_sort.compression never|always
distributed_sort.default_max_mem_usage string
distributed_sort.dsorter_mem_threshold string
distributed_sort.duplicated_records string
distributed_sort.ekm_malformed_line string
distributed_sort.ekm_missing_key string
distributed_sort.missing_shards string
downloader.timeout duration 1s..1h
ec.bundle_multiplier int 1..16
ec.burst_buffer int 32..10000
ec.compression never|always
ec.data_slices int 1..32
ec.disk_only bool
ec.enabled bool
ec.objsize_limit int -1..
ec.parity_slices int 1..32
fshc.enabled bool
fshc.error_limit int 2..
fshc.io_err_limit int 10..
fshc.io_err_time duration 10s..1m
fshc.test_files int 4..
get_batch.bundle_multiplier int 1..16
get_batch.burst_buffer int 32..10000
get_batch.compression never|always
get_batch.max_gfn int
get_batch.max_soft_errs int
get_batch.max_wait duration 1s..1m
get_batch.warmup_workers int
keepalivetracker.num_retries int 1..10
keepalivetracker.proxy.factor int 1..10
keepalivetracker.proxy.interval duration 1s..1m
keepalivetracker.retry_factor int 1..10
keepalivetracker.target.factor int 1..10
keepalivetracker.target.interval duration 1s..1m
log.flush_time duration 1ms..1h
log.level level
log.max_size size 1KiB..1GiB
log.max_total size 1MiB..10GiB
log.stats_time duration 1ms..10m
log.to_stderr bool
lru.batch_size int 1024..524288
lru.capacity_upd_time duration 10s..
lru.dont_evict_time duration 1h..
lru.enabled bool
lso.bundle_multiplier int 1..16
lso.burst_buffer int 32..10000
lso.compression never|always
lso.idle_time duration 5s..10m
lso.quiescent duration 2s..1m
lso.walk_buffer int 16..4096
memsys.default_buf size 0B..128KiB
memsys.hk_time duration 0s..1h
memsys.min_free size 0|100MiB..
memsys.min_pct_free int 0..95
memsys.min_pct_total int 0..95
memsys.to_gc size 0B..1TiB
mirror.burst_buffer int 1..
mirror.copies int 2..32
mirror.enabled bool
net.http.backend_idle_conn_time duration 1ms..
net.http.chunked_transfer bool
net.http.client_auth_tls int 0..4
net.http.client_ca_tls string
net.http.idle_conn_time duration 1ms..30s
net.http.idle_conns int 0..4096
net.http.idle_conns_per_host int 0..128
net.http.server_crt string
net.http.server_key string
net.http.skip_verify bool
net.http.use_https bool
net.use_ipv6 bool
periodic.notif_time duration 1s..1m
periodic.retry_sync_time duration 10ms..10s
periodic.stats_time duration 1s..1m
rate_limit.backend.enabled bool
rate_limit.backend.interval duration
rate_limit.backend.max_tokens int
rate_limit.backend.num_retries int
rate_limit.backend.per_op_max_tokens string
rate_limit.frontend.burst_size int
rate_limit.frontend.enabled bool
rate_limit.frontend.interval duration
rate_limit.frontend.max_tokens int
rate_limit.frontend.per_op_max_tokens string
rebalance.bundle_multiplier int 1..16
rebalance.burst_buffer int 32..10000
rebalance.compression never|always
rebalance.dest_retry_time duration 1s..10m
rebalance.enabled bool
resilver.enabled bool
space.batch_size int 1024..524288
space.cleanupwm int 1..100
space.dont_cleanup_time duration 15m..
space.highwm int 1..100
space.lowwm int 1..100
space.out_of_space int 1..100
tcb.bundle_multiplier int 1..16
tcb.burst_buffer int 32..10000
tcb.compression never|always
tco.bundle_multiplier int 1..16
tco.burst_buffer int 32..10000
tco.compression never|always
timeout.cold_get_conflict duration 0|1s..
timeout.cplane_operation duration 10ms..
timeout.ec_streams_time duration
timeout.join_startup_time duration
timeout.max_host_busy duration 10s..
timeout.max_keepalive duration
timeout.object_md duration 0|20m..16h
timeout.send_file_time duration 1m..
timeout.startup_time duration 30s..
tracing.attributes map
tracing.enabled bool
tracing.exporter_auth.token_file string
tracing.exporter_auth.token_header string
tracing.exporter_endpoint string
tracing.sampler_probability string
tracing.service_name_prefix string
tracing.skip_verify bool
transport.burst_buffer int 256..4096
transport.idle_teardown duration 1s..
transport.lz4_block 64KiB|256KiB|1MiB|4MiB
transport.lz4_frame_checksum bool
transport.max_header int 512..131072
transport.quiescent duration 8s..
versioning.enabled bool
versioning.synchronize bool
versioning.validate_warm_get bool
write_policy.md immediate|delayed|never
"""

# Sections of a bucket's properties that are those of the cluster, and what a bucket has besides.
_BUCKET_SECTIONS = ("checksum", "chunks", "ec", "lru", "mirror", "rate_limit", "versioning", "write_policy")
_BUCKET_OWN = """
backend_bck.name string
backend_bck.provider ais|aws|gcp|azure|oci|ht
extra.aws.cloud_region string
extra.aws.endpoint string
extra.aws.max_pagesize int
extra.aws.multipart_size size
extra.aws.profile string
extra.gcp.application_creds string
extra.oci.region string
"""

BACKENDS = ("aws", "azure", "gcp", "oci")

# Keys of former versions, with where each went (AIStore 3.x chart values and 4.x configuration, tried key by key on 5.0).
FORMER: dict[str, str] = {
    "cloud": "is now the section `backend`; give credentials through `aistore_backends`",
    "cloud_provider": "is now the section `backend`; give credentials through `aistore_backends`",
    "backend": "is made from `aistore_backends`",
    "compression": "is gone; each data mover has its own, e.g. `rebalance.compression: never`, and LZ4 itself is `transport.lz4_block`",
    "confdir": "belongs to one daemon; this role sets it",
    "log.dir": "belongs to one daemon (`log_dir`); this role sets it",
    "log_dir": "belongs to one daemon; this role sets it",
    "fspaths": "belongs to one daemon; declare `aistore_mountpaths`",
    "test_fspaths": "is for development without disks; declare `aistore_mountpaths`",
    "host_net": "belongs to one daemon; this role sets it",
    "proxy": "is made from `aistore_initial_primary`",
    "uuid": "is given by the cluster itself",
    "config_version": "is counted by the cluster itself",
    "lastupdate_time": "is written by the cluster itself",
    "ec.batch_size": "is gone; `ec.burst_buffer` sizes the queue",
    "keepalivetracker.timeout_factor": "is gone; `keepalivetracker.retry_factor` and `keepalivetracker.num_retries` remain",
    "keepalivetracker.proxy.name": "is fixed to heartbeat",
    "keepalivetracker.target.name": "is fixed to heartbeat",
    "lru.lowwm": "is now `space.lowwm`",
    "lru.highwm": "is now `space.highwm`",
    "lru.out_of_space": "is now `space.out_of_space`",
    "mirror.util_thresh": "is gone",
    "mirror.optimize_put": "is gone",
    "rebalance.quiescent": "is now `transport.quiescent`",
    "rebalance.dont_run_time": "is gone",
    "rebalance.multiplier": "is now `rebalance.bundle_multiplier`",
    "net.ipv4": "is gone; addresses follow from the inventory",
    "net.ipv4_intra_control": "is gone; addresses follow from the inventory",
    "net.ipv4_intra_data": "is gone; addresses follow from the inventory",
    "net.l4": "is read once, when a cluster is born, and set by this role (tcp, 128 KiB buffers)",
    "net.http.domain_tls": "is gone; names belong into the certificate",
    "net.http.write_buffer_size": "is read-only",
    "net.http.read_buffer_size": "is read-only",
    "auth.enabled": "is now `auth.client_auth_required`",
    "auth.cluster_key": "is now `auth.intra_cluster`",
    "auth.secret": "would stand in a ConfigMap; give it as AIS_AUTHN_SECRET_KEY in the Secret named by `aistore_environment_secret`",
    "auth.signature.key": "would stand in a ConfigMap; give it as AIS_AUTHN_SECRET_KEY in the Secret named by `aistore_environment_secret`",
    "write_policy.data": "is read-only",
}

# Feature flags in the order of their bits (cmn/feat/feat.go).
FEATURES = (
    "Enforce-IntraCluster-Access",
    "Skip-Loading-VersionChecksum-MD",
    "Do-not-Auto-Detect-FileShare",
    "S3-API-via-Root",
    "Fsync-PUT",
    "LZ4-Block-1MB",
    "LZ4-Frame-Checksum",
    "Do-not-Allow-Passing-FQN-to-ETL",
    "Ignore-LimitedCoexistence-Conflicts",
    "S3-Presigned-Request",
    "Do-not-Optimize-Listing-Virtual-Dirs",
    "Disable-Cold-GET",
    "Streaming-Cold-GET",
    "S3-Reverse-Proxy",
    "S3-Use-Path-Style",
    "Do-not-Delete-When-Rebalancing",
    "Do-not-Set-Control-Plane-ToS",
    "Trust-Crypto-Safe-Checksums",
    "S3-ListObjectVersions",
    "Enable-Detailed-Prom-Metrics",
    "Force-Container-CPU-Mem",
    "Resume-Interrupted-MPU",
    "Keep-Unknown-FQN",
    "Load-Balance-GET",
    "Count-Object-NotFound-Stats",
    "Enable-Go-Runtime-Metrics",
    "Dload-Allow-Private-Egress",
    "S3-Redirect-Rebuild",
)

# What a new cluster starts with where the inventory says nothing: AIStore's production values (cmd/aisinit/config.go), with logs on stderr so that
# `kubectl logs` shows them, and S3 answered by the proxies themselves, so that clients need not reach every target.
BASE: dict[str, Any] = {
    # This, `fshc.enabled` and `rebalance.enabled` a daemon takes for 0 (no object is too small for slices) and false as soon as anything else of
    # their sections is said.
    "ec": {"objsize_limit": 262144},
    "features": ["S3-Reverse-Proxy"],
    "fshc": {"enabled": True},
    "log": {"to_stderr": True},
    "memsys": {"min_free": "2GiB", "default_buf": "64KiB", "hk_time": "3m"},
    "net": {"http": {"chunked_transfer": True, "idle_conn_time": "20s", "idle_conns_per_host": 128, "idle_conns": 4096}},
    "rebalance": {"enabled": True},
    "resilver": {"enabled": True},
    "timeout": {
        "cplane_operation": "2s",
        "max_keepalive": "5s",
        "max_host_busy": "20s",
        "startup_time": "1m",
        "join_startup_time": "3m",
        "send_file_time": "5m",
    },
    "versioning": {"enabled": True, "validate_warm_get": False},
}
# Read by a daemon only when it starts (`ConfigRestartRequired` in cmn/config.go).
NEEDS_RESTART = ("memsys", "net", "tracing", "timeout.cplane_operation", "timeout.max_keepalive")

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"-?(?:0|(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)")
_SIZE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?")


class Kind(NamedTuple):
    """How one value is written. `read` gives its comparable form or raises ValueError with what is expected."""

    read: Callable[[Any], Any]
    expected: str


def seconds(value: Any) -> float:
    """A Go duration in seconds."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError('a duration with its unit, as "30s" or "2m30s"')
    total = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", value))
    return -total if value.startswith("-") else total


def size(value: Any) -> int:
    """A size in bytes, units being powers of 1024 as AIStore reads them in its configuration. One that it would round is none."""
    match = _SIZE.fullmatch(value.strip().upper()) if isinstance(value, str) else None
    if not match:
        raise ValueError('a size with its unit in quotes, as "64MiB" or "4mb"')
    found = int(float(match[1]) * float(1 << 10 * " KMGT".index(match[2] or " ")))
    # `SizeIEC.String` in cmn/cos/size.go, by which a daemon tells and saves sizes.
    power = max((power for power in range(5) if found >= 1 << 10 * power), default=0)
    kept = round(found / (1 << 10 * power))
    if kept << 10 * power != found:
        raise ValueError(f'a whole number of its largest unit, since AIStore would make "{kept}{_SIZE_UNITS[power]}" of it')
    return found


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    return int(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of strings")
    return value


def _map(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("a mapping of strings to strings")
    return value


def _level(value: Any) -> str:
    # The lowest three bits are the level, those above name modules; a daemon does not read a number.
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,2}", value) or int(value) > 32 or not 1 <= int(value) % 8 <= 5:
        raise ValueError('a log level from "1" to "5", in quotes')
    return value


_READ: dict[str, Callable[[Any], Any]] = {
    "bool": _boolean, "int": _integer, "string": _string, "list": _list, "map": _map, "level": _level, "duration": seconds, "size": size,
}  # fmt: skip


def _choice(words: str) -> Kind:
    choices = words.split("|")

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value)

    return Kind(read, words)


def _ranged(name: str, span: str) -> Kind:
    plain = _READ[name]
    zero, low, high = span.startswith("0|"), *span.removeprefix("0|").split("..")
    bounds = [plain(text) if name != "int" else int(text) for text in (low, high or low)]

    def read(value: Any) -> Any:
        found = plain(value)
        if (zero and found == 0) or (found >= bounds[0] and (not high or found <= bounds[1])):
            return found
        raise ValueError(f"from {low} to {high}" if high else f"at least {low}")

    return Kind(read, span)


def _table(text: str) -> dict[str, Kind]:
    kinds = {}
    for line in text.strip().splitlines():
        key, name, span = [*line.split(), ""][:3]
        if "|" in name:
            kinds[key] = _choice(name)
        else:
            kinds[key] = _ranged(name, span) if span else Kind(_READ[name], name)
    return kinds


CLUSTER_KEYS = _table(_CLUSTER)
BUCKET_KEYS = {key: kind for key, kind in CLUSTER_KEYS.items() if key.partition(".")[0] in _BUCKET_SECTIONS} | _table(_BUCKET_OWN)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`{"log": {"level": "3"}}` as `("log.level", "3")`; an empty mapping yields itself."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and name not in ("tracing.attributes",):
            yield from flatten(value, name + ".")
        else:
            yield name, value


def nest(pairs: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    tree: dict[str, Any] = {}
    for name, value in pairs.items():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on top, key by key; a list replaces a list, and an empty section nothing."""
    return nest(dict(flatten(base)) | {name: value for name, value in flatten(over) if value != {} or name in CLUSTER_KEYS})


def moves_data(config: Mapping[str, Any]) -> bool:
    """Whether a cluster with this configuration moves objects when a target comes or goes."""
    return dict(flatten(merged(BASE, config))).get("rebalance.enabled") is not False


def feature_bits(names: list[str]) -> int:
    """The flags as AIStore stores them: one bit per feature."""
    return sum(1 << FEATURES.index(name) for name in set(names))


def problems(config: Mapping[str, Any], where: str = "aistore_config") -> list[str]:
    """Everything in a cluster configuration that a daemon would die of, or that a running cluster would refuse."""
    found = []
    declared = dict(config)
    if "features" in declared:
        found += _feature_problems(declared.pop("features"), where)
    found += _key_problems(declared, CLUSTER_KEYS, where)
    if not found:
        found += _relation_problems(merged(BASE, config), where)
    return found


def bucket_problems(properties: Mapping[str, Any], where: str, mountpaths: int, targets: int) -> list[str]:
    """What is wrong with one bucket's declared properties, given how many mount paths a target has and how many targets there are."""
    found = _key_problems(properties, BUCKET_KEYS, where)
    if found:
        return found
    flat = dict(flatten(properties))
    if flat.get("mirror.enabled") and flat.get("mirror.copies", 2) > mountpaths:
        found.append(f"{where}.mirror.copies: {flat.get('mirror.copies', 2)} copies need as many mount paths on every target; there are {mountpaths}")
    if flat.get("ec.enabled"):
        needed = flat.get("ec.data_slices", 2) + flat.get("ec.parity_slices", 2) + 1
        if needed > targets:
            found.append(f"{where}.ec: {needed - 1} slices and the object itself need {needed} targets; there are {targets}")
    return found


def _feature_problems(names: Any, where: str) -> list[str]:
    if not isinstance(names, list):
        return [f"{where}.features: expected a list of feature names, e.g. [S3-Reverse-Proxy]"]
    found = []
    for name in names:
        if name not in FEATURES:
            near = difflib.get_close_matches(str(name), FEATURES, n=1, cutoff=0.5)
            found.append(f"{where}.features: AIStore 5.0 has no feature {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    for one, other in (("Disable-Cold-GET", "Streaming-Cold-GET"), ("S3-Reverse-Proxy", "S3-Redirect-Rebuild")):
        if one in names and other in names:
            found.append(f"{where}.features: {one} and {other} exclude each other")
    return found


def _key_problems(tree: Mapping[str, Any], keys: Mapping[str, Kind], where: str) -> list[str]:
    found = []
    for name, value in flatten(tree):
        former = next((FORMER[head] for head in _heads(name) if head in FORMER), None)
        if name in keys:
            try:
                keys[name].read(value)
            except ValueError as expected:
                found.append(f"{where}.{name}: expected {expected}, got {value!r}")
        elif former:
            found.append(f"{where}.{name}: {former}")
        elif any(key.startswith(name + ".") for key in keys):
            if value != {}:
                found.append(f"{where}.{name}: expected a mapping of settings, got {value!r}")
        else:
            near = difflib.get_close_matches(name, keys, n=1, cutoff=0.7)
            found.append(f"{where}.{name}: AIStore 5.0 has no such setting" + (f"; did you mean `{near[0]}`?" if near else ""))
    return found


def _heads(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(len(parts), 0, -1))


def _relation_problems(config: Mapping[str, Any], where: str) -> list[str]:
    """What the daemon checks between settings; each by the name of the setting that has to move."""
    flat = {name: CLUSTER_KEYS[name].read(value) for name, value in flatten(config) if name in CLUSTER_KEYS}
    raw = dict(flatten(config))
    found = []

    def at_least(name: str, least: float, why: str) -> None:
        if flat.get(name) and flat[name] < least:
            found.append(f"{where}.{name}: {raw[name]} is too short, it must be at least {why}")

    at_least("timeout.max_keepalive", 2 * flat["timeout.cplane_operation"], "twice timeout.cplane_operation")
    at_least("timeout.join_startup_time", 2 * flat["timeout.startup_time"], "twice timeout.startup_time (or 0s for just that)")
    at_least("client.client_long_timeout", flat.get("client.client_timeout", 0), "client.client_timeout")
    at_least("disk.iostat_time_long", flat.get("disk.iostat_time_short", 0), "disk.iostat_time_short")
    if 0 < flat.get("timeout.ec_streams_time", 0) < 300:
        found.append(f"{where}.timeout.ec_streams_time: must be at least 5m, or negative to wait without end")
    if flat.get("timeout.cold_get_conflict", 0) > flat["timeout.max_host_busy"]:
        found.append(f"{where}.timeout.cold_get_conflict: must not exceed timeout.max_host_busy")
    if flat.get("log.max_size") and flat.get("log.max_total", 512 << 20) < 2 * flat["log.max_size"]:
        found.append(f"{where}.log.max_total: must be at least twice log.max_size")
    for role in ("proxy", "target"):
        name = f"keepalivetracker.{role}"
        if flat.get(f"{name}.interval", 10) * flat.get(f"{name}.factor", 3) > 120:
            found.append(f"{where}.{name}: interval times factor must not exceed 2m")
        if flat.get(f"{name}.interval", 10) < flat["timeout.max_keepalive"]:
            found.append(f"{where}.{name}.interval: {raw.get(f'{name}.interval', '10s')} is too short, it must be at least timeout.max_keepalive")
    if flat.get("lso.quiescent", 5) >= flat.get("lso.idle_time", 20):
        found.append(f"{where}.lso.quiescent: must be shorter than lso.idle_time")
    if flat.get("chunks.objsize_limit", 0) > flat.get("chunks.max_monolithic_size", 1 << 40):
        found.append(f"{where}.chunks.objsize_limit: must not exceed chunks.max_monolithic_size")
    if flat["net.http.idle_conns_per_host"] > min(flat["net.http.idle_conns"], 128):
        found.append(f"{where}.net.http.idle_conns_per_host: {flat['net.http.idle_conns_per_host']} must not exceed net.http.idle_conns")
    signature, issuers = flat.get("auth.signature.method"), flat.get("auth.oidc.allowed_iss")
    if (signature and issuers) or (flat.get("auth.client_auth_required") and not signature and not issuers):
        found.append(f"{where}.auth: client_auth_required needs signature.method or oidc.allowed_iss, and not both")
    for group in (
        ("disk.disk_util_low_wm", "disk.disk_util_high_wm", "disk.disk_util_max_wm"),
        ("space.cleanupwm", "space.lowwm", "space.highwm", "space.out_of_space"),
    ):
        given = [name for name in group if name in flat]
        if given and len(given) < len(group):
            found.append(f"{where}.{given[0]}: give {', '.join(group)} together")
        elif given and [flat[name] for name in group] != sorted(flat[name] for name in group):
            found.append(f"{where}.{group[0]}: must rise in the order {', '.join(group)}")
    if bool(flat.get("net.http.server_crt")) != bool(flat.get("net.http.server_key")):
        found.append(f"{where}.net.http.server_crt: give server_crt and server_key together (or `aistore_https_secret` alone)")
    if flat.get("versioning.validate_warm_get") and not flat.get("versioning.enabled"):
        found.append(f"{where}.versioning.validate_warm_get: needs versioning.enabled")
    return found


def initial(config: Mapping[str, Any], urls: Mapping[str, str], backends: list[str]) -> dict[str, Any]:
    """The file that a daemon reads when it has no saved state. `urls`: primary_url, original_url, discovery_url."""
    whole = merged(BASE, config)
    features = whole.pop("features")
    whole.setdefault("net", {})["l4"] = {"proto": "tcp", "sndrcv_buf_size": 131072}
    return whole | {"backend": {name: {} for name in backends}, "features": str(feature_bits(features)), "proxy": dict(urls)}


class Difference(NamedTuple):
    """One setting that a running cluster has otherwise. `before` is None where it says nothing."""

    name: str
    before: Any
    after: Any


def differences(config: Mapping[str, Any], backends: Collection[str], live: Mapping[str, Any]) -> list[Difference]:
    """What has to be set on a running cluster, whose whole configuration is `live`, so that it is as declared. Backends are added only:
    there may be buckets of one that is no longer declared, and remote AIStores stand among them, too."""
    wanted = merged(BASE, config)
    features = str(feature_bits(wanted.pop("features")))
    found = _differences(wanted, live, CLUSTER_KEYS)
    if str(live.get("features", "0")) != features:
        found.append(Difference("features", str(live.get("features", "0")), features))
    present: dict[str, Any] = live.get("backend") or {}
    if missing := sorted(set(backends) - set(present)):
        found.append(Difference("backend", present, present | {name: {} for name in missing}))
    return found


def bucket_differences(properties: Mapping[str, Any], live: Mapping[str, Any]) -> list[Difference]:
    """What has to be set on a bucket whose properties are `live`."""
    return _differences(properties, live, BUCKET_KEYS)


def _differences(wanted: Mapping[str, Any], live: Mapping[str, Any], keys: Mapping[str, Kind]) -> list[Difference]:
    present = dict(flatten(live))
    found = []
    for name, value in flatten(wanted):
        if name in keys and _comparable(name, value, keys) != _comparable(name, present.get(name), keys):
            found.append(Difference(name, present.get(name), value))
    return found


def _comparable(name: str, value: Any, keys: Mapping[str, Kind]) -> Any:
    if value is None or value == {}:
        return None
    try:
        return keys[name].read(value) or None  # what is 0, false or empty a daemon may leave out of its answer
    except ValueError:  # a running daemon may write what nobody may declare
        return value


def needing_restart(names: list[str]) -> list[str]:
    """Those of the settings that a daemon reads only when it starts."""
    return [name for name in names if name.startswith(tuple(f"{head}." for head in NEEDS_RESTART)) or name in NEEDS_RESTART]


def at_start(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that a daemon reads only when it starts, comparable, for a hash on the pod."""
    flat = {name: CLUSTER_KEYS[name].read(value) for name, value in flatten(merged(BASE, config)) if name in CLUSTER_KEYS}
    return {name: flat[name] for name in sorted(needing_restart(list(flat)))}
