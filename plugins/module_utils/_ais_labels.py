# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The node labels by which AIStore's tools find the nodes of a cluster. Pure.

Names and meaning: https://github.com/NVIDIA/ais-k8s, playbooks/ais-deployment. The value is the cluster's name, so two clusters can share one Kubernetes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import _syntax as syntax

TARGET = "nvidia.com/ais-target"
PROXY = "nvidia.com/ais-proxy"
INITIAL_PRIMARY = "nvidia.com/ais-initial-primary-proxy"
PARTS = ("targets", "proxies", "initial_primary")


class BadClusters(ValueError):
    """Every problem of the declared clusters."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


def label_sets(clusters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sets for k8s_node_labels, `ais-<cluster>` each, from {cluster: {targets, proxies, initial_primary}}."""
    problems: list[str] = []
    sets = [{"name": f"ais-{cluster}", "nodes": _nodes(str(cluster), given, problems)} for cluster, given in clusters.items()]
    if problems:
        raise BadClusters(problems)
    return sets


def _nodes(cluster: str, given: Any, problems: list[str]) -> dict[str, Any]:
    where, before = f"AIStore cluster {cluster}", len(problems)
    name = syntax.dns_label(cluster)
    if name:
        problems.append(f'{where}: its name "{cluster}" {name}.')
    if not isinstance(given, Mapping):
        problems.append(f"{where}: is {syntax.kind(given)}; write a mapping with {', '.join(PARTS)}.")
        return {}
    for extra in sorted(str(key) for key in given if key not in PARTS):
        guess = syntax.nearest(extra, PARTS)
        problems.append(f'{where}: unknown entry "{extra}"' + (f" (did you mean {guess}?)." if guess else "."))
    targets, proxies, primaries = (_names(given.get(part), f"{where}, {part}", problems) for part in PARTS)
    if len(problems) == before:
        _check(where, targets, proxies, primaries, problems)
    nodes: dict[str, Any] = {}
    for label, names in ((TARGET, targets), (PROXY, proxies), (INITIAL_PRIMARY, primaries)):
        for node in names:
            nodes.setdefault(node, {"labels": {}})["labels"][label] = cluster
    return nodes


def _check(where: str, targets: list[str], proxies: list[str], primaries: list[str], problems: list[str]) -> None:
    if not targets:
        problems.append(f"{where}: has no target; nothing would store its objects.")
    if not proxies:
        problems.append(f"{where}: has no proxy; no client could reach it.")
    elif not primaries:
        problems.append(f"{where}: has no initial primary; name exactly one of its proxies ({', '.join(proxies)}).")
    elif len(primaries) > 1:
        problems.append(f"{where}: has {len(primaries)} initial primaries ({', '.join(primaries)}); name exactly one.")
    elif primaries[0] not in proxies:
        problems.append(f"{where}: its initial primary {primaries[0]} is not one of its proxies ({', '.join(proxies)}).")


def _names(given: Any, where: str, problems: list[str]) -> list[str]:
    """A list of node names, or one name."""
    names = [given] if isinstance(given, str) and given else list(given or []) if isinstance(given, (list, tuple, type(None), str)) else None
    if names is None or not all(isinstance(name, str) and name for name in names):
        problems.append(f"{where}: is {syntax.kind(given)}; write a list of node names.")
        return []
    problems += [f"{where}: names {name} more than once." for name in sorted({name for name in names if names.count(name) > 1})]
    return names
