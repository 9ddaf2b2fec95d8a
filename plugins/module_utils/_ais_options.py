# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of `ais_cluster` and what they declare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ._ais_layout import Wanted

_NAMES = {"type": "list", "elements": "str"}

DECLARATION: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "default": "ais"},
    "namespace": {"type": "str", "default": "ais"},
    "targets": {**_NAMES, "default": []},
    "proxies": {**_NAMES, "default": []},
    "initial_primary": {"type": "str", "default": ""},
    "mountpaths": {**_NAMES, "default": []},
    "mountpaths_by_target": {"type": "dict", "default": {}},
    "proxies_min": {"type": "int", "default": 3},
    "storage": {"type": "str", "choices": ["host_path", "local_volume"], "default": "host_path"},
    "state_path": {"type": "str", "default": ""},
    "state_storage_class": {"type": "str", "default": ""},
    "access": {"type": "str", "choices": ["cluster", "host_port", "load_balancer"], "default": "cluster"},
    "public_addresses": {"type": "dict", "default": {}},
    "client_cidrs": {**_NAMES, "default": []},
    "network_policy_is_enabled": {"type": "bool", "default": False},
    "https_secret": {"type": "str", "default": "", "no_log": False},
    "somaxconn": {"type": "int", "default": 0},
    "cluster_domain": {"type": "str", "default": "cluster.local"},
    "version": {"type": "str", "default": ""},
    "backends": {"type": "dict", "default": {}},
    "config": {"type": "dict", "default": {}},
    "buckets": {"type": "list", "elements": "dict", "default": []},
    "buckets_absent": {**_NAMES, "default": []},
}


def wanted(params: Mapping[str, Any]) -> Wanted:
    """The declared cluster. An initial primary that is not named is the first proxy by name; mount paths that are not named are those that most
    targets have."""
    given = {field.name: params[field.name] for field in fields(Wanted) if params.get(field.name) is not None}
    if not given.get("initial_primary"):
        given["initial_primary"] = min(given.get("proxies") or [""])
    lists = [tuple(sorted(map(str, paths))) for paths in (given.get("mountpaths_by_target") or {}).values() if isinstance(paths, (list, tuple))]
    if lists and not any(lists):
        given["mountpaths_by_target"] = {}
    elif lists and not given.get("mountpaths"):
        given["mountpaths"] = list(Counter(lists).most_common(1)[0][0])
    return Wanted(**given)
