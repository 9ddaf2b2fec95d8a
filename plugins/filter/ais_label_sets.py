# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Node labels of AIStore clusters, for templates."""

from __future__ import annotations

DOCUMENTATION = r"""
name: ais_label_sets
short_description: Node labels of AIStore clusters
version_added: "0.1.0"
author:
  - The slipway authors (@slipway-mlops)
description:
  - Turns AIStore clusters into sets for M(slipway.mlops.k8s_node_labels), one set C(ais-<cluster>) each, with the labels C(nvidia.com/ais-target),
    C(nvidia.com/ais-proxy) and C(nvidia.com/ais-initial-primary-proxy).
  - Refuses a cluster without targets or proxies, and one whose initial primary is not exactly one of its proxies.
positional: _input
options:
  _input:
    description:
      - Clusters by name, each a mapping with C(targets) and C(proxies), lists of nodes, and C(initial_primary), one node or a list with one.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Nodes bear the labels of their AIStore clusters
  slipway.mlops.k8s_node_labels:
    sets: "{{ clusters | slipway.mlops.ais_label_sets }}"
  vars:
    clusters:
      ais:
        targets: [storage-1, storage-2]
        proxies: [storage-1, storage-2]
        initial_primary: storage-1
"""

RETURN = r"""
_value:
  description: Sets for M(slipway.mlops.k8s_node_labels).
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.slipway.mlops.plugins.module_utils._ais_labels import BadClusters, label_sets


def ais_label_sets(clusters: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return label_sets(clusters)
    except BadClusters as bad:
        raise AnsibleFilterError(str(bad)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ais_label_sets": ais_label_sets}
