# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Node labels on the real API server, on nodes that exist for this test alone, with kubectl as the rival and a proxy that counts requests."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Ref
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, outcome
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_node_labels import run

ROOT = Path(__file__).resolve().parents[3]
FLEET = 5000
TAINT = {"key": "test.slipway/dedicated", "value": "x", "effect": "PreferNoSchedule"}


def ref(name: str) -> Ref:
    return Ref("v1", "Node", "", name)


def made(admin: Any, names: list[str]) -> None:
    def one(name: str) -> None:
        admin.create(
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": f"host-{name}", "foreign": "stays"}}},
            "kubelet",
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, names))


def unmade(admin: Any, names: list[str]) -> None:
    def one(name: str) -> None:
        live = admin.get(ref(name))
        if live is not None:
            admin.delete(ref(name), live["metadata"]["uid"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, names))


@pytest.fixture
def nodes(admin: Any) -> Iterator[list[str]]:
    """Three nodes without a machine."""
    names = [f"labels-{uuid.uuid4().hex[:6]}-{number}" for number in range(3)]
    made(admin, names)
    yield names
    unmade(admin, names)


@pytest.fixture
def owner() -> str:
    return "test-" + uuid.uuid4().hex[:6]


def call(kubeconfig: Any, check: bool = False, **given: Any) -> dict[str, Any]:
    params = {"kubeconfig": kubeconfig, "name": None, "nodes": None, "state": "present", "sets": None, "force_conflicts": False, **given}
    return outcome(run, Call(params, check_mode=check, diff=True))


def ours(admin: Any, name: str) -> dict[str, str]:
    return {key: value for key, value in admin.get(ref(name))["metadata"]["labels"].items() if key.startswith("test.slipway/") or key == "foreign"}


def taints(admin: Any, name: str) -> list[str]:
    return sorted(taint["key"] for taint in admin.get(ref(name))["spec"].get("taints") or [])


def kubectl(kubeconfig: str, *arguments: str) -> None:
    subprocess.run([str(ROOT / ".lab" / "bin" / "kubectl"), "--kubeconfig", kubeconfig, *arguments], check=True, capture_output=True)


def test_the_life_of_a_set(kubeconfig: str, admin: Any, nodes: list[str], owner: str) -> None:
    one, two, _three = nodes
    declared = {one: {"labels": {"test.slipway/a": "1"}, "taints": [TAINT]}, f"host-{two}": {"labels": {"test.slipway/a": "2"}}}
    predicted = call(kubeconfig, check=True, name=owner, nodes=declared)
    assert "test.slipway/a" not in ours(admin, one)
    done = call(kubeconfig, name=owner, nodes=declared)
    assert (done["nodes"], done["diff"]) == (predicted["nodes"], predicted["diff"]) and done["changed"]
    assert ours(admin, one) == {"test.slipway/a": "1", "foreign": "stays"} and ours(admin, two)["test.slipway/a"] == "2"
    assert TAINT["key"] in taints(admin, one)
    assert not call(kubeconfig, name=owner, nodes=declared)["changed"]

    kubectl(kubeconfig, "taint", "node", one, "test.slipway/rival=1:PreferNoSchedule")
    kubectl(kubeconfig, "label", "node", one, "test.slipway/rival=1")
    left = call(kubeconfig, name=owner, nodes={two: {"labels": {"test.slipway/a": "2"}}})
    assert left["nodes"] == [{"set": owner, "name": one, "action": "cleaned"}]
    assert ours(admin, one) == {"test.slipway/rival": "1", "foreign": "stays"}
    assert "test.slipway/rival" in taints(admin, one) and TAINT["key"] not in taints(admin, one)

    assert call(kubeconfig, name=owner, state="absent")["changed"]
    assert ours(admin, two) == {"foreign": "stays"}
    managers = {entry["manager"] for entry in admin.get(ref(two))["metadata"]["managedFields"]}
    assert not any(owner in manager for manager in managers), "nothing of the set is left"


def test_a_conflict_names_the_holder_and_nothing_is_written(kubeconfig: str, admin: Any, nodes: list[str], owner: str) -> None:
    one, two, _unused = nodes
    kubectl(kubeconfig, "label", "node", one, "test.slipway/a=theirs")
    assert call(kubeconfig, name=owner + "-b", nodes={two: {"labels": {"test.slipway/a": "b"}}})["changed"]
    declared = {one: {"labels": {"test.slipway/a": "ours"}}, two: {"labels": {"test.slipway/a": "ours"}}, "no-such-node": {}}
    refused = call(kubeconfig, name=owner, nodes=declared)
    assert refused["failed"] and not refused["changed"]
    for words in ('"theirs", held by kubectl-label', f'"b", held by set {owner}-b', "no node no-such-node"):
        assert words in refused["msg"]
    assert ours(admin, one)["test.slipway/a"] == "theirs"
    del declared["no-such-node"]
    assert call(kubeconfig, name=owner, nodes=declared, force_conflicts=True)["changed"]
    assert ours(admin, one)["test.slipway/a"] == ours(admin, two)["test.slipway/a"] == "ours"


def test_two_aistore_clusters_share_the_nodes_but_not_a_target(kubeconfig: str, admin: Any, nodes: list[str]) -> None:
    from ansible_collections.slipway.mlops.plugins.module_utils._ais_labels import TARGET, label_sets

    one, two, _three = nodes
    mark = uuid.uuid4().hex[:6]

    def cluster(name: str, node: str) -> dict[str, Any]:
        return {f"{name}-{mark}": {"targets": [node], "proxies": [node], "initial_primary": node}}

    sets = label_sets({**cluster("red", one), **cluster("blue", two)})
    assert call(kubeconfig, sets=sets)["changed"] and not call(kubeconfig, sets=sets)["changed"]
    assert [admin.get(ref(node))["metadata"]["labels"][TARGET] for node in (one, two)] == [f"red-{mark}", f"blue-{mark}"]
    refused = call(kubeconfig, sets=label_sets(cluster("green", one)))
    assert f'label {TARGET} is "red-{mark}", held by set ais-red-{mark}' in refused["msg"]
    assert not call(kubeconfig, sets=label_sets(cluster("red", one)))["changed"], "one cluster's own run leaves the other alone"
    assert admin.get(ref(two))["metadata"]["labels"][TARGET] == f"blue-{mark}"


def test_a_node_that_is_gone_is_not_made_again(kubeconfig: str, admin: Any, nodes: list[str], owner: str) -> None:
    from ansible_collections.slipway.mlops.plugins.module_utils._node_labels_plan import plan, read_node, read_sets, resolve

    sets, _unused = read_sets([{"name": owner, "nodes": {nodes[0]: {"labels": {"test.slipway/a": "1"}}}}])
    seen = [read_node(admin.get(ref(nodes[0])), whole=False)]
    steps, _unused = plan(sets, resolve(sets, seen)[0], seen, force=False)
    unmade(admin, nodes[:1])
    with pytest.raises(ClusterError):
        admin.apply(steps[0].object, sets[0].manager)
    assert admin.get(ref(nodes[0])) is None


def test_a_rival_that_taints_all_the_time_loses_nothing(kubeconfig: str, admin: Any, nodes: list[str], owner: str) -> None:
    over, begun, count = threading.Event(), threading.Event(), 0

    def rival() -> None:
        nonlocal count
        kubectl(kubeconfig, "annotate", "node", nodes[0], "beat=0")
        while not over.wait(0.01):
            admin.patch(ref(nodes[0]), [{"op": "replace", "path": "/metadata/annotations/beat", "value": str(count)}], "rival")
            count += 1
            begun.set()

    thread = threading.Thread(target=rival)
    thread.start()
    try:
        assert begun.wait(30)
        for number in range(5):
            taint = {**TAINT, "value": f"v{number}"}
            assert call(kubeconfig, name=owner, nodes={nodes[0]: {"taints": [taint]}})["changed"]
            assert TAINT["key"] in taints(admin, nodes[0])
    finally:
        over.set()
        thread.join()
    assert count > 3 and admin.get(ref(nodes[0]))["metadata"]["annotations"]["beat"] == str(count - 1)


MEASURE = """
import json, resource, sys
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, outcome
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_node_labels import run
params = json.load(sys.stdin)
result = outcome(run, Call(params))
print(json.dumps({**{key: value for key, value in result.items() if key != "nodes"}, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def measured(params: dict[str, Any]) -> dict[str, Any]:
    """The result of the module in a process of its own, with the largest resident set of that in KiB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "collections")}
    done = subprocess.run([sys.executable, "-c", MEASURE], input=json.dumps(params), env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.long
def test_a_thousand_nodes_in_place_cost_no_more_than_twelve_requests(kubeconfig: str, admin: Any, owner: str) -> None:
    """The module's process, measured from outside."""
    names = [f"labels-{owner}-{number:04d}" for number in range(1000)]
    declared = {name: {"labels": {"test.slipway/a": "1", "test.slipway/b": "2"}} for name in names}
    params = {"kubeconfig": kubeconfig, "name": owner, "nodes": declared, "state": "present", "sets": None, "force_conflicts": False}

    try:
        made(admin, names)
        first, again = measured(params), measured(params)
    finally:
        unmade(admin, names)
    assert first["changed"] and not again["changed"] and again["unchanged"] == 1000
    assert again["requests"] <= 12 and first["requests"] <= 1012
    assert max(first["rss"], again["rss"]) < 200 * 1024
    record = {"nodes": 1000, "first": first, "again": again, "self_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
    (ROOT / ".ci-artifacts").mkdir(exist_ok=True)
    (ROOT / ".ci-artifacts" / "node-labels.json").write_text(json.dumps(record, indent=2) + "\n")


@pytest.fixture
def fleet() -> Iterator[list[str]]:
    """Nodes of kwok: they live and beat, as a kubelet's do."""

    def resize(count: int) -> None:
        done = subprocess.run([str(ROOT / "lab" / "lab"), "fleet", str(count)], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        resize(FLEET)
        yield [f"fleet-{number:04d}" for number in range(1, FLEET + 1)]
    finally:
        resize(0)


@pytest.mark.long
def test_five_thousand_living_nodes_in_place_cost_no_more_than_twelve_requests(proxy: Any, fleet: list[str], owner: str) -> None:
    """Through the proxy, which counts; the module's process is measured from outside."""
    declared = {name: {"labels": {"test.slipway/a": "1", "test.slipway/b": "2"}} for name in fleet}
    params = {"host": proxy.url, "name": owner, "nodes": declared, "state": "present", "sets": None, "force_conflicts": False}
    first = measured(params)
    proxy.forget()
    again = measured(params)
    assert first["changed"] and not again["changed"] and again["unchanged"] == FLEET
    assert len(proxy.seen) <= 12 and proxy.writes == []
    assert max(first["rss"], again["rss"]) < 200 * 1024
