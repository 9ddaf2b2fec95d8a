# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names, addresses and refusals of an AIStore cluster."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_layout as layout
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_options as options
from ansible_collections.slipway.mlops.plugins.module_utils._ais_layout import Wanted

NODES = ["w1", "w2", "w3"]
DISKS = ["/ais/disk0", "/ais/disk1"]
ADDRESSES = {"w1": "10.0.0.1", "w2": "10.0.0.2", "w3": "10.0.0.3"}
GOOD = Wanted(name="ais", namespace="ais", targets=NODES, proxies=NODES, initial_primary="w1", mountpaths=["/ais/disk0", "/ais/disk1"])


def wanted(**over: Any) -> Wanted:
    return dataclasses.replace(GOOD, **over)


def node(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}}


def proxy_sets(*nodes: str, scheme: str = "http", cluster: str = "ais") -> list[dict[str, Any]]:
    labels = {"app.kubernetes.io/name": "aistore", "app.kubernetes.io/instance": cluster, "app.kubernetes.io/component": "proxy"}
    annotations = [{"slipway.mlops/node": name, "slipway.mlops/scheme": scheme} for name in nodes]
    return [
        {"metadata": {"name": f"ais-ais-proxy-{name}", "namespace": "ais", "labels": labels, "annotations": own}}
        for name, own in zip(nodes, annotations, strict=True)
    ]


def target_set(name: str, on: str, namespace: str = "ais", cluster: str = "ais", paths: tuple[str, ...] = ("/ais/disk0", "/ais/disk1")) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "aistore", "app.kubernetes.io/instance": cluster, "app.kubernetes.io/component": "target"}
    mounts = [{"name": "state", "mountPath": "/etc/ais"}, *({"name": f"disk{number}", "mountPath": path} for number, path in enumerate(paths))]
    meta = {"name": name, "namespace": namespace, "labels": labels, "annotations": {"slipway.mlops/node": on}}
    return {"metadata": meta, "spec": {"replicas": 1, "template": {"spec": {"containers": [{"volumeMounts": mounts}]}}}}


def test_a_good_declaration_has_no_problems() -> None:
    assert layout.problems(GOOD) == []


def test_a_bucket_of_a_declared_backend_has_no_problem() -> None:
    assert layout.problems(wanted(backends={"aws": {"secret": "s3"}}, buckets=[{"name": "abc", "provider": "aws"}])) == []


def test_a_plain_node_name_is_kept() -> None:
    assert layout.slug("w1", 40) == "w1"


@pytest.mark.parametrize("name", ["node-1.example.com", "Rack.7", "a" * 60, "x" * 39 + ".y"])
def test_other_node_names_are_shortened_and_told_apart(name: str) -> None:
    made = layout.slug(name, 40)
    assert len(made) <= 40
    assert layout._LABEL.fullmatch(made)
    assert made == layout.slug(name, 40)
    assert made != layout.slug(name.replace("a", "b", 1) + "z", 40)


def test_long_and_dotted_nodes_give_names_that_fit_a_pods_labels() -> None:
    nodes = [f"storage-node-{number:02d}.rack-17.datacentre-frankfurt.example.com" for number in range(20)]
    made = layout.daemons(wanted(name="c" * layout.CLUSTER_LIMIT, targets=nodes, proxies=nodes, initial_primary=nodes[0]))
    assert len({daemon.name for daemon in made}) == 40
    assert max(len(daemon.name) for daemon in made) <= 52


def test_a_node_that_comes_or_goes_changes_no_other_name() -> None:
    before = {daemon.node: daemon.name for daemon in layout.daemons(GOOD) if daemon.role == "target"}
    after = {daemon.node: daemon.name for daemon in layout.daemons(wanted(targets=["a0", "w1", "w3"])) if daemon.role == "target"}
    assert after["w1"] == before["w1"] and after["w3"] == before["w3"]


def test_the_primary_is_where_the_inventory_says() -> None:
    made = layout.layout(wanted(initial_primary="w2"))
    config = json.loads(made["config"])
    assert config["proxy"]["primary_url"] == "http://ais-ais-proxy-w2-0.ais-ais-proxy-peers.ais.svc.cluster.local:51082"
    assert config["proxy"]["original_url"] == config["proxy"]["primary_url"]
    assert config["proxy"]["discovery_url"] == "http://ais-ais-proxy-peers.ais.svc.cluster.local:51082"
    assert made["client_service"] == "ais-ais-proxy"
    assert made["s3_url"] == "http://ais-ais-proxy.ais.svc.cluster.local:51080/s3"


def test_a_targets_own_file_has_three_networks_and_string_ports() -> None:
    target = next(daemon for daemon in layout.layout(GOOD)["daemons"] if daemon["role"] == "target")
    local = json.loads(target["config"])
    assert local["fspaths"] == {"/ais/disk0": "", "/ais/disk1": ""}
    assert local["host_net"]["port"] == "51081"
    assert {local["host_net"]["port"], local["host_net"]["port_intra_control"], local["host_net"]["port_intra_data"]} == {"51081", "51082", "51083"}
    assert local["host_net"]["hostname_intra_control"] == "ais-ais-target-w1-0.ais-ais-target-peers.ais.svc.cluster.local"


def test_a_proxys_file_knows_no_disks() -> None:
    proxy = next(daemon for daemon in layout.layout(GOOD)["daemons"] if daemon["role"] == "proxy")
    assert "fspaths" not in json.loads(proxy["config"])
    assert proxy["disks"] == []


def test_a_changed_mount_path_concerns_targets_alone() -> None:
    before, after = layout.layout(GOOD), layout.layout(wanted(mountpaths=["/ais/disk0"]))
    changed = {new["role"] for old, new in zip(before["daemons"], after["daemons"], strict=True) if old["config_digest"] != new["config_digest"]}
    assert changed == {"target"}


@pytest.mark.parametrize(
    ("over", "level"),
    [
        ({"storage": "local_volume"}, "restricted"),
        ({"storage": "host_path"}, "privileged"),
        ({"storage": "local_volume", "somaxconn": 100000}, "privileged"),
        ({"storage": "local_volume", "state_path": "/var/lib/ais"}, "privileged"),
        ({"storage": "local_volume", "access": "host_port"}, "privileged"),
    ],
)
def test_the_namespace_is_as_strict_as_the_pods_allow(over: dict[str, Any], level: str) -> None:
    assert layout.pod_security(wanted(**over)) == level


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"targets": []}, ["aistore_targets", "no target"]),
        ({"proxies": [], "initial_primary": ""}, ["aistore_proxies", "no proxy"]),
        ({"proxies": ["w1", "w2"]}, ["aistore_proxies_min", "cannot elect"]),
        ({"initial_primary": "w4"}, ["aistore_initial_primary", "w4 is not among"]),
        ({"targets": ["w1", "w1", "w2"]}, ["w1 is named twice"]),
        ({"mountpaths": []}, ["aistore_mountpaths", "no mount path"]),
        ({"mountpaths": ["/ais/disk0", "/ais/disk0"]}, ["/ais/disk0 is named twice"]),
        ({"mountpaths": ["/ais", "/ais/disk0"]}, ["/ais/disk0 lies inside /ais"]),
        ({"mountpaths": ["ais/disk0"]}, ["not a plain absolute path"]),
        ({"mountpaths": ["/ais/../etc"]}, ["not a plain absolute path"]),
        ({"mountpaths_by_target": {"w1": DISKS, "w2": ["/ais/disk0"], "w3": DISKS}}, ["target w2", "lacks /ais/disk1"]),
        ({"mountpaths_by_target": {"w1": DISKS, "w2": DISKS, "w3": [*DISKS, "/ais/x"]}}, ["target w3", "also has /ais/x"]),
        ({"mountpaths_by_target": {"w1": DISKS, "w2": DISKS}}, ["target w3", "has no disks in the inventory"]),
        ({"name": "c" * 25}, ["aistore_cluster", "25 characters"]),
        ({"name": "Ais"}, ["aistore_cluster", "DNS label"]),
        ({"access": "host_port", "public_addresses": {"w1": "h1", "w2": "h2"}}, ["aistore_public_addresses", "w3 has none"]),
        ({"access": "load_balancer", "public_addresses": {"w1": "10.0.0.1", "w2": "10.0.0.2", "w3": "lb"}}, ["'lb'", "IP address"]),
        ({"access": "host_port", "public_addresses": dict.fromkeys(NODES, "10.0.0.1")}, ["10.0.0.1 is given to several nodes"]),
        ({"client_cidrs": ["10.0.0.0/8", "10.0.0.1"]}, ["aistore_client_cidrs[1]", "'10.0.0.1' is not an address range"]),
        ({"access": "host_port", "public_addresses": ADDRESSES, "network_policy_is_enabled": True}, ["aistore_client_cidrs: empty", "host_port"]),
        ({"config": {"net": {"http": {"use_https": True}}}}, ["aistore_config.net.http.use_https", "aistore_https_secret"]),
        ({"state_path": "/x", "state_storage_class": "y"}, ["give one of them"]),
        ({"config": {"cloud": {}}}, ["aistore_config.cloud"]),
        ({"buckets": [{"name": "A_B"}]}, ["aistore_buckets[0].name"]),
        ({"buckets": [{"name": "abc"}, {"name": "abc"}]}, ["abc is declared twice"]),
        ({"buckets": [{"name": "abc"}], "buckets_absent": ["abc"]}, ["aistore_buckets_absent"]),
        ({"backends": {"s3": {"secret": "x"}}}, ["aistore_backends.s3", "no such backend (aws, azure, gcp, oci)"]),
        ({"backends": {"aws": {}}}, ["aistore_backends.aws.secret", "names no Secret"]),
        ({"buckets": [{"name": "abc", "provider": "aws"}]}, ["aws is not among aistore_backends"]),
        ({"buckets": [{"name": "abc", "provider": ["aws"]}]}, ["['aws'] is not among aistore_backends"]),
        ({"backends": {"gcp": {"secret": "x", "key_file": "key.json"}}}, ["aistore_backends.gcp.key_file", "no such entry"]),
        ({"backends": {"gcp": {"secret": "x", "file_key": None}}}, ["aistore_backends.gcp.file_key", "got None"]),
        ({"backends": {"aws": {"secret": "x", "file_key": "key"}}}, ["aistore_backends.aws.file_key", "is for gcp"]),
        ({"buckets_absent": ["old", "ais://older"]}, ["aistore_buckets_absent[1]", "'ais://older'", "nothing would be destroyed"]),
        ({"version": "latest"}, ["aistore_version", "'latest' is not a version"]),
        ({"client_cidrs": ["10.0.0.0/255.0.0.0"]}, ["aistore_client_cidrs[0]", "not an address range"]),
        ({"access": "host_port", "public_addresses": {**ADDRESSES, "w2": ["10.0.0.2"]}}, ["aistore_public_addresses", "node w2, got ['10.0.0.2']"]),
        ({"mountpaths_by_target": {"w1": DISKS, "w2": "/ais/disk0", "w3": DISKS}}, ["aistore_mountpaths_by_target.w2", "expected a list"]),
    ],
)
def test_what_cannot_work_is_refused_by_the_variable_to_change(over: dict[str, Any], words: list[str]) -> None:
    found = layout.problems(wanted(**over))
    assert len(found) == 1, found
    for word in words:
        assert word in found[0]


@pytest.mark.parametrize("has", [None, 5, "/ais/disk0", [1, "/ais/disk0"]])
def test_what_is_no_list_of_disks_is_refused_and_no_traceback(has: object) -> None:
    params = {"name": "ais", "namespace": "ais", "targets": ["w1"], "proxies": ["w1"], "proxies_min": 1, "mountpaths_by_target": {"w1": has}}
    found = layout.problems(options.wanted({**params, "mountpaths": DISKS}))
    assert found == [f"aistore_mountpaths_by_target.w1: expected a list of mount points, got {has!r}"]


def test_clients_outside_are_let_in_by_their_addresses_or_by_no_policy_at_all() -> None:
    outside: dict[str, Any] = {"access": "load_balancer", "public_addresses": ADDRESSES}
    assert layout.problems(wanted(**outside, network_policy_is_enabled=True, client_cidrs=["10.0.0.0/8", "fd00::/8"])) == []
    assert layout.problems(wanted(**outside, network_policy_is_enabled=False)) == []
    assert layout.problems(wanted(network_policy_is_enabled=True)) == []


def test_everything_wrong_comes_at_once() -> None:
    bad = wanted(targets=[], proxies=["w1"], initial_primary="w9", mountpaths=["/a", "/a/b"], config={"x": 1}, buckets=[{"name": "B"}])
    assert len(layout.problems(bad)) >= 6


def live(over: dict[str, Any] | None = None, **given: Any) -> list[str]:
    facts: dict[str, Any] = {
        "nodes": [node(name) for name in NODES],
        "stateful_sets": [],
        "running_versions": [],
        "primary": "",
        "storage_classes": [{"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}],
        "allowed_sysctls": {},
    }
    return layout.live_problems(wanted(**(over or {})), **{**facts, **given})


def test_an_empty_kubernetes_allows_a_new_cluster() -> None:
    assert live() == []


def test_an_unknown_node_is_refused_with_the_nearest() -> None:
    assert any("no node w3" in problem and "did you mean w33?" in problem for problem in live(nodes=[node("w1"), node("w2"), node("w33")]))


def test_a_node_of_another_cluster_is_refused() -> None:
    nodes = [node("w1"), node("w2", {"nvidia.com/ais-target": "other"}), node("w3", {"nvidia.com/ais-target": "ais"})]
    (problem,) = live(nodes=nodes)
    assert "w2" in problem and "AIStore cluster other" in problem


def test_removing_a_target_is_refused_with_what_to_do() -> None:
    (problem,) = live({"targets": ["w1", "w2"]}, stateful_sets=[target_set("ais-ais-target-w3", "w3")])
    assert "ais-ais-target-w3" in problem and "aistore_maintenance: [w3]" in problem


NEW = ["w4", "w5", "w6"]


@pytest.mark.parametrize(
    ("running", "declared", "primary", "words"),
    [
        (NODES, [*NODES, *NEW], "w1", []),  # grows
        (NODES, ["w1", "w2", "w4"], "w1", []),  # one is swapped
        ([*NODES, *NEW], ["w2", "w3", *NEW], "w4", []),
        (["w1", "w2"], ["w1"], "w1", []),
        (NODES, ["w2", "w3", "w4"], "w1", ["proxy ais-ais-proxy-w1-0 on node w1 is no longer declared, and it is the primary"]),
        (NODES, ["w1", "w2", "w4"], "", ["ais-ais-proxy-w3-0 on node w3 is no longer declared, and it may be the primary"]),
        (NODES, ["w1", "w2", "w4"], "w9", ["it may be the primary: no proxy that answers is"]),
        (NODES, ["w1", "w4", "w5"], "w1", ["w2, w3 are no longer declared, only 1 of 3 proxies would stay"]),
        (NODES, NEW, "w2", ["only 0 of 3 proxies would stay", "it is the primary"]),
        ([*NODES, *NEW], NEW, "w4", ["only 3 of 6 proxies would stay"]),
    ],
)
def test_proxies_leave_a_few_at_a_time_and_never_the_primary(running: list[str], declared: list[str], primary: str, words: list[str]) -> None:
    pod = f"ais-ais-proxy-{primary}-0" if primary else ""
    found = live(
        {"proxies": declared, "initial_primary": declared[0]},
        nodes=[node(name) for name in [*NODES, *NEW]],
        stateful_sets=[*proxy_sets(*running), *proxy_sets("w7", cluster="other")],
        primary=pod,
    )
    assert len(found) == len(words), found
    for word, problem in zip(words, found, strict=True):
        assert word in problem
        assert problem.startswith("aistore_proxies: ")


def test_a_cluster_that_speaks_http_is_never_asked_to_speak_https() -> None:
    (problem,) = live({"https_secret": "tls"}, stateful_sets=proxy_sets(*NODES), primary="ais-ais-proxy-w1-0")
    assert problem.startswith("aistore_https_secret: AIStore cluster ais in namespace ais speaks http, declared is https")
    (problem,) = live(stateful_sets=proxy_sets(*NODES, scheme="https"))
    assert "speaks https, declared is http" in problem and "Name the Secret" in problem
    assert live({"https_secret": "tls"}, stateful_sets=proxy_sets(*NODES, scheme="https")) == []
    assert live({"https_secret": "tls"}, stateful_sets=proxy_sets("w7", cluster="other")) == []


def test_removing_a_mount_path_is_refused() -> None:
    (problem,) = live({"mountpaths": ["/ais/disk0"]}, stateful_sets=[target_set("ais-ais-target-w1", "w1")])
    assert "/ais/disk1" in problem and "would be lost" in problem


def test_a_disk_of_another_cluster_is_refused() -> None:
    (problem,) = live(stateful_sets=[target_set("b-ais-target-w2", "w2", namespace="other", cluster="b", paths=("/ais/disk1",))])
    assert "/ais/disk1 on node w2 belongs to AIStore cluster b (namespace other)" in problem


def test_another_clusters_disks_beside_ours_are_fine() -> None:
    assert live(stateful_sets=[target_set("b-ais-target-w2", "w2", namespace="other", cluster="b", paths=("/ais/disk7",))]) == []


@pytest.mark.parametrize(("running", "declared", "refused"), [
    ("5.0.v1.5.0", "5.0", False), ("5.0.v1.5.0", "4.9", True), ("4.9.v1.4.9", "5.0", False), ("5.1.v1.5.1", "v1.5.0", True), ("5.0.v1.5.0", "", False),
])  # fmt: skip
def test_there_is_no_way_back(running: str, declared: str, refused: bool) -> None:
    found = live({"version": declared}, running_versions=[running])
    assert bool(found) == refused
    if refused:
        assert "no way back" in found[0]


def test_state_needs_a_class_or_a_path() -> None:
    assert any("no default StorageClass" in problem for problem in live(storage_classes=[{"metadata": {"name": "slow"}}]))
    assert any("no StorageClass gold" in problem for problem in live({"state_storage_class": "gold"}))
    assert live({"state_path": "/var/lib/ais"}, storage_classes=[]) == []
    assert live(storage_classes=None) == []  # not allowed to read them


def test_a_sysctl_that_a_kubelet_would_reject_is_refused_before() -> None:
    found = live({"somaxconn": 100000}, allowed_sysctls={"w1": ["net.core.somaxconn"], "w2": [], "w3": ["net.*"]})
    assert len(found) == 1 and "node w2" in found[0]
