# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The fake cluster keeps the contract that the real one keeps (tests/integration/kubernetes/test_contract.py)."""

from __future__ import annotations

import pytest
from cluster_contract import ClusterContract
from fakes import FakeCluster


class TestFakeCluster(ClusterContract):
    @pytest.fixture
    def cluster(self):
        return FakeCluster()

    @pytest.fixture
    def namespace(self, cluster):
        cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
        return "team"
