# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's AIStore cluster, deployed by the role once for the session, and a client of somebody else's (boto3) in a pod of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest
import the_lab
from ansible_collections.slipway.mlops.plugins.module_utils import _run_ais_cluster, _run_ais_cluster_info
from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._cluster import HttpCluster
from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load
from the_lab import ANSIBLE_PLAYBOOK, INVENTORY, KUBECONFIG, ROOT

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


def kubectl(*args, check=True, text=None):
    return the_lab.kubectl("-n", "ais", *args, check=check, text=text)


def playbook(*args, timeout=900):
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "json"}
    command = [ANSIBLE_PLAYBOOK, "-i", INVENTORY, *args]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False, timeout=timeout)
    text = done.stdout[done.stdout.find("{\n") :]
    assert text, done.stderr[-2000:]
    return done.returncode, json.loads(text)


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
    code, report = playbook("playbooks/hosts.yml", "--tags", "ais_datafs")
    assert code == 0, json.dumps(report["stats"])
    code, report = playbook("playbooks/apps.yml", "--tags", "aistore")
    assert code == 0, json.dumps(report)[-3000:]
    return report


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
    name = f"traffic-{uuid.uuid4().hex[:6]}"
    script = (Path(__file__).parent / "continuous.py").read_text(encoding="utf-8")
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": "cp1",
            "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": [{"name": "slipway-registry"}],
            "securityContext": {"runAsUser": 10004, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "traffic",
                    "image": "registry.lab:5000/client:1",
                    "command": ["python3", "-c", script, "http://ais-ais-proxy.ais.svc:51080/s3", bucket],
                    "securityContext": locked,
                }
            ],
        },
    }
    kubectl("apply", "-f", "-", text=json.dumps(pod))
    try:
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=280s")
        _until(lambda: '"acknowledged"' in kubectl("logs", name, "--tail=1"), 60)

        def summary():
            kubectl("exec", name, "--", "touch", "/tmp/stop")
            _until(lambda: '"summary"' in kubectl("logs", name, "--tail=1"), 240)
            found = json.loads(kubectl("logs", name, "--tail=1"))["summary"]
            print(json.dumps(found, indent=1))
            return found

        yield summary
    finally:
        kubectl("delete", "pod", name, "--grace-period=1", check=False)


def _until(true, seconds):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, f"not within {seconds} s"
        time.sleep(1)
