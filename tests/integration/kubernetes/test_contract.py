# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real cluster keeps the contract that the fake one keeps."""

from __future__ import annotations

from cluster_contract import ClusterContract


class TestRealCluster(ClusterContract):
    """Fixtures `cluster` and `namespace` come from conftest."""
