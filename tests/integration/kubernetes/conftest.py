# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real API server: the lab's, or that of SLIPWAY_TEST_KUBECONFIG. Each test has namespaces of its own and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._cluster import HttpCluster
from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load
from fault_proxy import FaultProxy
from kube_lab import ROOT, Module

sys.path.insert(0, str(ROOT / "tests" / "unit"))
KUBECONFIG = os.environ.get("SLIPWAY_TEST_KUBECONFIG") or str(ROOT / ".lab" / "kubeconfig")


def pytest_collection_modifyitems(items):
    for item in items:
        if "kubernetes" in str(item.path):
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def kubeconfig():
    if not os.path.exists(KUBECONFIG):
        pytest.skip("the lab is not up (make lab)")
    return KUBECONFIG


@pytest.fixture(scope="session")
def admin(kubeconfig):
    """The cluster as its administrator sees it, for what tests do behind the module's back."""
    cluster = HttpCluster(lambda: endpoint({"kubeconfig": kubeconfig}, {}, load), SystemClock())
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(kubeconfig):
    cluster = HttpCluster(lambda: endpoint({"kubeconfig": kubeconfig}, {}, load), SystemClock())
    yield cluster
    cluster.close()


@pytest.fixture
def new_namespace(admin):
    """The name of a namespace that does not exist yet and will not afterwards."""
    name = "core-" + uuid.uuid4().hex[:8]
    yield name
    ref = Ref("v1", "Namespace", "", name)
    live = admin.get(ref)
    if live is not None:
        admin.delete(ref, live["metadata"]["uid"])


@pytest.fixture
def namespace(admin, new_namespace):
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": new_namespace}}, "test")
    return new_namespace


@pytest.fixture
def proxy(kubeconfig):
    proxy = FaultProxy(endpoint({"kubeconfig": kubeconfig}, {}, load))
    yield proxy
    proxy.close()


@pytest.fixture
def module(new_namespace, kubeconfig):
    return Module(new_namespace, kubeconfig=kubeconfig)


@pytest.fixture
def proxied(new_namespace, proxy):
    """The module behind the fault proxy."""
    return Module(new_namespace, host=proxy.url)


@pytest.fixture
def play(tmp_path):
    """Runs a play and gives (exit status, output)."""

    def run(tasks, *arguments, environ=None, timeout=120, **keywords):
        book = tmp_path / "play.yml"
        book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks, **keywords}], sort_keys=False, width=1000))
        variables = {key: value for key, value in os.environ.items() if not key.startswith("K8S_AUTH")}
        variables.update(ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", **(environ or {}))
        command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(ROOT / "inventories/lab"), str(book), *arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=timeout, cwd=ROOT, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def play_results(play, tmp_path):
    """Runs a play and gives (the result of each task, its output)."""

    def run(tasks, *arguments, **keywords):
        saved = tmp_path / "results.json"
        registered = [{"register": f"r{index}", "ignore_errors": True, **task} for index, task in enumerate(tasks)]
        content = "{{ [" + ", ".join(task["register"] for task in registered) + "] | to_json }}"
        save = {
            "ansible.builtin.copy": {"dest": str(saved), "content": content, "mode": "0600"},
            "check_mode": False,
            "diff": False,
            "become": False,
            "delegate_to": "localhost",
        }
        _status, text = play([*registered, save], *arguments, **keywords)
        assert saved.exists(), text
        return json.loads(saved.read_text()), text

    return run
