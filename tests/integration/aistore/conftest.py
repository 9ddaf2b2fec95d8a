# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's AIStore cluster, deployed by the role once for the session, and a client of somebody else's (boto3) in a pod of its own."""

from __future__ import annotations

import contextlib
import os
import time
import uuid

import pytest
from ais_lab import continuous_traffic, good, playbook
from ansible_collections.slipway.mlops.plugins.module_utils import _run_ais_cluster, _run_ais_cluster_info
from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._cluster import HttpCluster
from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load
from the_lab import KUBECONFIG

NODES = ["w1", "w2", "w3"]
DECLARED = {
    "targets": NODES,
    "proxies": NODES,
    "initial_primary": "w1",
    "mountpaths": ["/ais/disk0", "/ais/disk1"],
    "config": {"memsys": {"min_free": "1GiB"}},
}


def pytest_collection_modifyitems(items):
    for item in items:
        if "integration/aistore" in str(item.path):
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def api():
    if not os.path.exists(KUBECONFIG):
        pytest.skip("the lab is not up (make lab)")
    cluster = HttpCluster(lambda: endpoint({"kubeconfig": KUBECONFIG}, {}, load), SystemClock())
    yield cluster
    cluster.close()


@pytest.fixture(scope="session")
def deployed(api):
    """The lab's own cluster, as site.yml leaves it."""
    good(playbook("playbooks/hosts.yml", "--tags", "ais_datafs"))
    return good(playbook("playbooks/apps.yml", "--tags", "aistore"))


def _options(module, **over):
    return {name: option.get("default") for name, option in module.ARGUMENTS.items()} | {**DECLARED, **over}


@pytest.fixture
def act(api):
    """ais_cluster with the lab's declaration."""

    def run(check_mode=False, **over):
        return _run_ais_cluster.run(Call(_options(_run_ais_cluster, **over), check_mode=check_mode, cluster=api, progress=print))

    return run


@pytest.fixture
def ask(api):
    """ais_cluster_info; `until_ready` waits that many seconds at most."""

    def run(until_ready=0.0):
        ends = time.monotonic() + until_ready
        while True:
            found = _run_ais_cluster_info.run(Call(_options(_run_ais_cluster_info), cluster=api))
            if found["ready"] or time.monotonic() >= ends:
                return found
            time.sleep(1)

    return run


@pytest.fixture
def requests(api, monkeypatch):
    """Every request of the block as (method, path)."""

    @contextlib.contextmanager
    def counted():
        sent, send = [], api._send

        def count(method, path, *rest, **options):
            sent.append((method, path))
            return send(method, path, *rest, **options)

        with monkeypatch.context() as patch:
            patch.setattr(api, "_send", count)
            before = api.requests
            yield sent
            assert api.requests - before == len(sent)  # nothing went another way

    return counted


@pytest.fixture
def delete_pod(api):
    def delete(name):
        ref = Ref("v1", "Pod", "ais", name)
        assert api.delete(ref, api.get(ref)["metadata"]["uid"])

    return delete


@pytest.fixture
def bucket(act):
    """A bucket that is not there before and not after."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    act(buckets=[{"name": name}])
    yield name
    act(buckets_absent=[name])


@pytest.fixture
def traffic(bucket):
    """Objects written, read and checked without pause; calling it ends that and gives the summary."""
    with continuous_traffic("ais", bucket) as summary:
        yield summary
