# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each row: what is changed in a good inventory, and what must be said about it (nothing else may be said)."""

from __future__ import annotations

import copy
import re

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _inventory

VARIABLES = {
    "slipway": [
        "slipway_kubeconfig",
        "slipway_node_name",
        "slipway_is_dry_run",
        "slipway_pod_cidr",
        "slipway_service_cidr",
        "slipway_node_cidr",
        "slipway_image_registry",
    ],
    "host_mtu": ["host_mtu_links", "host_mtu_addresses", "host_mtu_cni_mtu", "host_mtu_cni_encapsulation"],
    "ais_datafs": ["ais_datafs_disks"],
    "aim": ["aim_image", "aim_storage_size"],
    "mlflow": ["mlflow_replicas"],
}
DISKS = [{"device": "/dev/disk/by-id/a", "path": "/ais/disk0"}, {"device": "/dev/disk/by-id/b", "path": "/ais/disk1"}]


def good() -> dict:
    hosts = {name: {"ansible_host": f"10.0.0.{number}", "slipway_pod_cidr": "10.244.0.0/16"} for number, name in enumerate(("cp1", "w1", "w2", "w3"), 1)}
    for name in ("w1", "w2", "w3"):
        hosts[name]["ais_datafs_disks"] = copy.deepcopy(DISKS)
    groups = {
        "kube_control_plane": ["cp1"],
        "kube_node": ["w1", "w2", "w3"],
        "ais_targets": ["w1", "w2", "w3"],
        "ais_proxies": ["w1", "w2", "w3"],
        "ais_initial_primary": ["w1"],
    }
    return {"hosts": hosts, "groups": groups}


def findings(site: dict) -> _inventory.Findings:
    return _inventory.check(_inventory.Inventory(groups=site["groups"], hosts=site["hosts"]), VARIABLES)


def test_a_good_inventory_has_nothing_said_about_it() -> None:
    found = findings(good())
    assert (found.problems, found.warnings) == ([], [])


def _set(site, host, **values):
    site["hosts"][host].update(values)


def _device(site, host, device, **more):
    site["hosts"][host]["ais_datafs_disks"][0].update(device=device, **more)


WRONG = {
    "misspelt variable": (
        lambda s: _set(s, "w1", aim_storage_sise="1Gi"),
        "variable `aim_storage_sise` (host w1): no role reads it; did you mean `aim_storage_size`?",
    ),
    "misspelt prefix": (
        lambda s: _set(s, "w1", slipwaykubeconfig="x"),
        "variable `slipwaykubeconfig` (host w1): no role reads it; did you mean `slipway_kubeconfig`?",
    ),
    "misspelt on all hosts": (
        lambda s: [_set(s, host, mlflow_replica=2) for host in s["hosts"]],
        "variable `mlflow_replica` (all hosts): no role reads it; did you mean `mlflow_replicas`?",
    ),
    "misspelt group": (
        lambda s: s["groups"].update(ais_target=s["groups"].pop("ais_targets")),
        "group `ais_target`: there is no such group here; did you mean `ais_targets`?",
    ),
    "no primary": (lambda s: s["groups"].update(ais_initial_primary=[]), "group `ais_initial_primary` must hold exactly one host, it holds none"),
    "two primaries": (
        lambda s: s["groups"].update(ais_initial_primary=["w2", "w1"]),
        "group `ais_initial_primary` must hold exactly one host, it holds w1, w2",
    ),
    "primary is no proxy": (lambda s: s["groups"].update(ais_initial_primary=["cp1"]), "host cp1 is the initial primary but not in `ais_proxies` (w1, w2, w3)"),
    "target outside the cluster": (
        lambda s: (s["hosts"].update(s9={"ansible_host": "10.0.0.9", "ais_datafs_disks": DISKS}), s["groups"]["ais_targets"].append("s9")),
        "host s9 is in `ais_targets` but in none of `k8s_cluster`, `kube_node`, `kube_control_plane`",
    ),
    "address": (lambda s: _set(s, "w1", ansible_host="10.0.0.300"), "host w1: `ansible_host: 10.0.0.300` is not an IP address"),
    "address twice": (lambda s: _set(s, "w2", ansible_host="10.0.0.2"), "hosts w1 and w2: both have the address 10.0.0.2; each host is one machine"),
    "two hosts of one node": (
        lambda s: (_set(s, "w1", slipway_node_name="n"), _set(s, "w3", slipway_node_name="n")),
        "hosts w1 and w3: both are the Kubernetes node n; each host is one node (`slipway_node_name`)",
    ),
    "no name of a node": (
        lambda s: _set(s, "w1", slipway_node_name="Storage_1"),
        "host w1: no Kubernetes node can have the name Storage_1; `slipway_node_name` says which node the host is",
    ),
    "what only playbooks set": (
        lambda s: _set(s, "w1", slipway_is_dry_run=None),
        "variable `slipway_is_dry_run` (host w1): only playbooks set it; to look ahead, run playbooks/plan.yml",
    ),
    "other paths": (
        lambda s: s["hosts"]["w3"]["ais_datafs_disks"].pop(),
        "host w3: its mount paths (/ais/disk0) are not those of the other targets (/ais/disk0, /ais/disk1); AIStore wants the same paths on every target",
    ),
    "no disks": (lambda s: s["hosts"]["w3"].pop("ais_datafs_disks"), "targets without `ais_datafs_disks`: w3; the other targets have it"),
    "relative path": (
        lambda s: [s["hosts"][host]["ais_datafs_disks"][1].update(path="ais/disk1") for host in ("w1", "w2", "w3")],
        "host w1: `ais/disk1` is not a plain absolute path",
    ),
    "path with dots": (
        lambda s: [s["hosts"][host]["ais_datafs_disks"][1].update(path="/ais/../disk1") for host in ("w1", "w2", "w3")],
        "host w1: `/ais/../disk1` is not a plain absolute path",
    ),
    "one path for two disks": (
        lambda s: [s["hosts"][host]["ais_datafs_disks"][1].update(path="/ais/disk0") for host in ("w1", "w2", "w3")],
        "host w1: `ais_datafs_disks` names the path /ais/disk0 more than once",
    ),
    "one disk for two paths": (
        lambda s: [s["hosts"][host]["ais_datafs_disks"][1].update(device="/dev/disk/by-id/a") for host in ("w1", "w2", "w3")],
        "host w1: `ais_datafs_disks` names the device /dev/disk/by-id/a more than once",
    ),
    "disks that are no list": (lambda s: _set(s, "w1", ais_datafs_disks={"device": "/dev/x"}), "host w1: `ais_datafs_disks` must be a list of {device, path}"),
    "misspelt on some hosts": (
        lambda s: [_set(s, host, mlflow_replica=2) for host in ("w1", "w2", "w3")],
        "variable `mlflow_replica` (w1 and 2 more): no role reads it; did you mean `mlflow_replicas`?",
    ),
    "path inside a path": (
        lambda s: [s["hosts"][host]["ais_datafs_disks"][1].update(path="/ais/disk0/x") for host in ("w1", "w2", "w3")],
        "host w1: mount path /ais/disk0/x lies inside mount path /ais/disk0",
    ),
    "one disk for two hosts": (
        lambda s: (_device(s, "w1", "WWN=0x600508b1001c1234"), _device(s, "w3", "/dev/disk/by-id/scsi-3600508B1001C1234")),
        "hosts w1 and w3: `ais_datafs_disks` names the disk /dev/disk/by-id/scsi-3600508B1001C1234 for both; what two hosts mount is destroyed",
    ),
    "address of a path": (
        lambda s: [_set(s, host, host_mtu_addresses=[{"address": "10.0.0.1"}, {"address": "10.0.0.300"}]) for host in s["hosts"]],
        "`host_mtu_addresses` (all hosts): `10.0.0.300` is not an IP address",
    ),
    "range": (
        lambda s: _set(s, "cp1", slipway_pod_cidr="10.244/99"),
        "`slipway_pod_cidr: 10.244/99` is not an address range such as 10.244.0.0/16, or two such as 10.244.0.0/16,fd00:10::/56",
    ),
    "two ranges of one family": (
        lambda s: _set(s, "cp1", slipway_pod_cidr="10.244.0.0/16,10.245.0.0/16"),
        "`slipway_pod_cidr: 10.244.0.0/16,10.245.0.0/16` has two ranges of one family; one of IPv4 and one of IPv6 can stand together",
    ),
    "second range overlaps": (
        lambda s: _set(s, "cp1", slipway_pod_cidr="10.244.0.0/16, fd00::/56", slipway_service_cidr="10.96.0.0/12,fd00::/108"),
        "`slipway_pod_cidr` fd00::/56 and `slipway_service_cidr` fd00::/108 overlap",
    ),
    "host bits": (lambda s: _set(s, "cp1", slipway_pod_cidr="10.0.0.1/8"), "`slipway_pod_cidr: 10.0.0.1/8` has host bits set; the network is 10.0.0.0/8"),
    "mixed families": (
        lambda s: _set(s, "cp1", slipway_service_cidr="fd00::/108"),
        "IPv4 and IPv6 are mixed: `slipway_pod_cidr` is 10.244.0.0/16, `slipway_service_cidr` is fd00::/108",
    ),
    "MTU of pods over that of links": (
        lambda s: [
            _set(s, host, host_mtu_links=[{"name": "eth1", "mtu": 1500}], host_mtu_cni_mtu=1480, host_mtu_cni_encapsulation="vxlan") for host in s["hosts"]
        ],
        "`host_mtu_cni_mtu` (all hosts): eth1: a pod's packet of 1480 bytes with 50 of vxlan does not fit in 1500; the CNI's MTU may be at most 1450",
    ),
    "registry with a scheme": (
        lambda s: _set(s, "cp1", slipway_image_registry="https://registry.example.org/"),
        "`slipway_image_registry: https://registry.example.org/` (host cp1): must be host[:port][/path] in small letters, such as "
        "registry.example.org/mlops, without https:// and without a slash at its end",
    ),
    "ranges overlap": (
        lambda s: _set(s, "cp1", slipway_service_cidr="10.244.3.0/24"),
        "`slipway_pod_cidr` 10.244.0.0/16 and `slipway_service_cidr` 10.244.3.0/24 overlap",
    ),
}


# What follows from a mistake, and is said beside it.
FOLLOWS = {
    "misspelt group": "group `ais_targets` is empty: AIStore needs at least one node that stores",
    "disks that are no list": "targets without `ais_datafs_disks`: w1; the other targets have it",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str) -> None:
    site = good()
    change, message = WRONG[name]
    change(site)
    found = findings(site)
    assert message in found.problems and found.warnings == []
    # The same of the other hosts that it was done to, and nothing else.
    same = re.compile("^host w[23]:")
    assert {same.sub("host w1:", problem) for problem in found.problems} == {same.sub("host w1:", text) for text in (message, FOLLOWS.get(name, message))}


def test_a_range_that_is_wrong_on_all_hosts_is_said_once_each() -> None:
    site = good()
    for host in site["hosts"]:
        _set(site, host, slipway_pod_cidr="10.0.0.1/8", slipway_node_cidr="")
    assert findings(site).problems == ["`slipway_pod_cidr: 10.0.0.1/8` has host bits set; the network is 10.0.0.0/8"]


def test_addresses_of_either_family_names_and_the_controller_itself_are_fine() -> None:
    site = good()
    _set(site, "cp1", ansible_host="fd00::1")
    _set(site, "w1", ansible_host="w1.example.org")
    site["hosts"]["localhost"] = {"ansible_host": "10.0.0.3"}  # the same machine as w2, by another way
    _set(site, "w3", ansible_host="10.0.0.3", ansible_port=2223)  # behind a forward
    for host in site["hosts"]:
        _set(site, host, host_mtu_addresses=[{"address": "10.0.0.1"}, "fd00::2"])
    assert findings(site).problems == []


def test_all_problems_come_at_once() -> None:
    site = good()
    for name in ("misspelt variable", "two primaries", "address", "other paths"):
        WRONG[name][0](site)
    assert len(findings(site).problems) >= 4


@pytest.mark.parametrize("value", [["a"], {"a": 1}, 5])
def test_a_value_of_another_kind_is_left_to_the_check_of_types(value: object) -> None:
    site = good()
    _set(site, "w1", host_mtu_links=[{"name": "eth1", "mtu": 1500}], host_mtu_cni_mtu=1450, host_mtu_cni_encapsulation=value)
    assert findings(site).problems == []


def test_machines_outside_of_our_groups_are_not_judged_by_their_addresses() -> None:
    site = good()
    for name in ("switch_a", "switch_b"):
        site["hosts"][name] = {"ansible_host": "10.9.9.9"}
    site["hosts"]["w1"]["ansible_host"] = "fe80::1%eth0"
    found = findings(site)
    assert (found.problems, found.warnings) == ([], [])


def test_a_distant_name_with_our_prefix_only_warns() -> None:
    site = good()
    _set(site, "w1", mlflow_tenant_of_another_collection=1, ansible_user="root", unrelated="x")
    found = findings(site)
    assert found.problems == []
    assert found.warnings == [
        "variable `mlflow_tenant_of_another_collection` (host w1): begins like a variable of `mlflow`, but nothing in slipway.mlops reads it"
    ]


def test_a_variable_where_its_role_does_not_see_it_is_said() -> None:
    """As in group_vars/ais_targets: the role runs on localhost, and would go on by its default."""
    site = good()
    site["hosts"]["localhost"] = {"aim_image": "x"}
    for host in ("w1", "w2", "w3"):
        _set(site, host, mlflow_replicas=3, aim_image="y", slipway_node_name=host, slipway_pod_cidr="10.244.0.0/16")
    found = findings(site)
    assert found.problems == []
    assert found.warnings == ["variable `mlflow_replicas` (w1 and 2 more): is read on localhost, where it is not set; put it into group_vars/all"]


def test_what_fits_is_not_spoken_of() -> None:
    site = good()
    for host in site["hosts"]:
        _set(site, host, host_mtu_links=[{"name": "eth1", "mtu": 9000}], host_mtu_cni_mtu=8950, host_mtu_cni_encapsulation="vxlan")
        _set(site, host, slipway_image_registry="registry.example.org:5000/team/ml-ops", slipway_node_cidr="10.0.0.0/24")
    found = findings(site)
    assert (found.problems, found.warnings) == ([], [])


WWN = "/dev/disk/by-id/wwn-0x600508b1001c1234"


@pytest.mark.parametrize(
    ("first", "second", "more", "is_one"),
    [
        (WWN, WWN, {}, True),
        (WWN, "/dev/disk/by-id/scsi-3600508b1001c1234", {"state": "unmounted"}, True),
        ("ID=wwn-0x600508b1001c1234", "naa.600508B1001C1234", {}, True),
        ("/dev/disk/by-id/nvme-eui.0025384b01", "WWN=eui.0025384b01", {}, True),
        (WWN, WWN + "9", {}, False),
        (WWN, WWN, {"state": "absent"}, False),  # moved from one host to the other
        ("/dev/disk/by-id/virtio-disk0", "/dev/disk/by-id/virtio-disk0", {}, False),
        ("SERIAL=S1", "SERIAL=S1", {}, False),
        ("/dev/nvme0n1", "/dev/nvme0n1", {}, False),
    ],
)
def test_names_that_no_other_disk_has_are_one_disk(first: str, second: str, more: dict, is_one: bool) -> None:
    site = good()
    _device(site, "w1", first)
    _device(site, "w2", second, **more)
    assert any("what two hosts mount is destroyed" in problem for problem in findings(site).problems) is is_one


def test_a_host_outside_of_the_nodes_network_is_said_but_allowed() -> None:
    site = good()
    _set(site, "cp1", slipway_node_cidr="10.0.0.0/30")
    found = findings(site)
    assert found.problems == []
    assert found.warnings == ["host w3: `ansible_host: 10.0.0.4` is outside of `slipway_node_cidr: 10.0.0.0/30`"]


def test_ranges_may_be_of_two_families() -> None:
    site = good()
    _set(site, "cp1", slipway_pod_cidr="10.244.0.0/16,fd00:10::/56", slipway_service_cidr="10.96.0.0/12,fd00:20::/108", slipway_node_cidr="10.0.0.0/24")
    _set(site, "w1", ansible_host="fd00:30::1")
    found = findings(site)
    assert (found.problems, found.warnings) == ([], [])


def test_few_proxies_are_said_but_allowed() -> None:
    site = good()
    site["groups"]["ais_proxies"] = ["w1"]
    found = findings(site)
    assert found.problems == []
    assert "group `ais_proxies` has 1 host(s)" in found.warnings[0]


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        ({}, []),
        ({"ais_datafs_disks": [{"path": "/ais/a"}, {"path": "/ais/b", "state": "mounted"}, {"path": "/ais/c", "state": "absent"}]}, ["/ais/a", "/ais/b"]),
        ({"ais_datafs_disks": [{"path": "/ais/a"}, {"path": "/ais/b", "state": "mounted"}], "ais_datafs_state": "unmounted"}, ["/ais/b"]),
    ],
)
def test_only_disks_that_shall_be_mounted_count_among_mount_paths(values, paths):
    assert _inventory.mounted_paths(values) == paths
