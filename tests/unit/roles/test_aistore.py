# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role aistore declares, rendered by Ansible itself and valid for several Kubernetes."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_layout as layout
from ansible_collections.slipway.mlops.plugins.module_utils._ais_layout import Wanted

ROOT = Path(__file__).resolve().parents[3]
NODES = ["w1", "w2", "storage-3.example.com"]
ADDRESSES = {"w1": "10.0.0.1", "w2": "10.0.0.2", "storage-3.example.com": "10.0.0.3"}
KNOWN = {field.name for field in dataclasses.fields(Wanted)}  # the rest of a variant is the role's alone
BASE = {"targets": NODES, "proxies": NODES, "initial_primary": "w1", "mountpaths": ["/ais/disk0", "/ais/disk1"]}
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "local_volume": {"storage": "local_volume", "state_storage_class": "fast"},
    "state_path": {"state_path": "/var/lib/ais"},
    "host_port": {"access": "host_port", "public_addresses": ADDRESSES},
    "load_balancer": {"access": "load_balancer", "public_addresses": ADDRESSES},
    "https": {"https_secret": "ais-tls"},
    "prefixed": {"slipway_namespace_prefix": "team1-", "client_cidrs": ["10.0.0.0/8"]},
    "open_to_all": {"client_namespaces": ["*"]},
    "no_policy": {"network_policy_is_enabled": False},
    "somaxconn": {"somaxconn": 100000},
    "two_targets": {"targets": NODES[:2]},
    "backends": {"backends": {"aws": {"secret": "s3-credentials"}, "gcp": {"secret": "gcp.prod", "file_key": "key.json"}}},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Every variant is a host of one play, so Ansible starts once."""
    folder = tmp_path_factory.mktemp("aistore")
    hosts = {}
    for name, over in VARIANTS.items():
        declared = {**BASE, **over}
        values = {key if key.startswith("slipway_") else f"aistore_{key}": value for key, value in declared.items()}
        wanted = Wanted(name="ais", namespace="ais", **{key: value for key, value in declared.items() if key in KNOWN})
        hosts[name] = {**values, "__aistore_plan": {"layout": {**layout.layout(wanted), "api_servers": ["10.0.0.9", "fd00::9"]}}}
    role = ROOT / "roles" / "aistore"
    text = f"{{{{ lookup('ansible.builtin.template', '{role}/templates/aistore.yaml.j2') }}}}"
    copy = {"content": text, "dest": f"{folder}/{{{{ inventory_hostname }}}}.yaml"}
    play = [
        {
            "name": "Render",
            "hosts": "all",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(folder / "defaults.yml"), f"{role}/vars/main.yml"],
            "tasks": [{"name": "Render", "ansible.builtin.copy": copy}],
        }
    ]
    # vars_files win over inventory variables: leave out of the defaults what a variant sets.
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    set_here = {f"aistore_{key}" for over in VARIANTS.values() for key in {**BASE, **over}}
    (folder / "defaults.yml").write_text(yaml.safe_dump({key: value for key, value in defaults.items() if key not in set_here}))
    for values in hosts.values():
        values.update({key: value for key, value in defaults.items() if key in set_here and key not in values})
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (folder / "files").symlink_to(role / "files")
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(folder / "inventory.yml"), str(folder / "play.yml"), "-f", "8"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    return {name: [item for item in yaml.safe_load_all((folder / f"{name}.yaml").read_text()) if item] for name in VARIANTS}


QUICK = [("defaults", "1.29"), ("local_volume", "1.34"), ("state_path", "1.34")]
REST = [(variant, version) for variant in VARIANTS for version in ("1.29", "1.34") if (variant, version) not in QUICK]


@pytest.mark.parametrize(("variant", "version"), [*QUICK, *(pytest.param(*case, marks=pytest.mark.long) for case in REST)])
def test_objects_are_valid(rendered: dict[str, list[dict[str, Any]]], variant: str, version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kubernetes_validate
    # Daemons of a role are alike: the last of each kind and role stands for all.
    several = {(item["kind"], item["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")): item for item in rendered[variant]}
    for item in several.values():
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_stateful_set_per_node_and_role_pinned_and_locked(rendered: dict[str, list[dict[str, Any]]], variant: str) -> None:
    sets = [item for item in rendered[variant] if item["kind"] == "StatefulSet"]
    assert len(sets) == len({**BASE, **VARIANTS[variant]}["targets"]) + len(NODES)
    for item in sets:
        spec = item["spec"]["template"]["spec"]
        assert item["spec"]["updateStrategy"] == {"type": "OnDelete"}
        terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert terms[0]["matchFields"][0]["values"] == [item["metadata"]["annotations"]["slipway.mlops/node"]]
        daemon = spec["containers"][0]
        assert daemon["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert "limits" not in daemon["resources"]
        assert [volume["name"] for volume in spec["volumes"] if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", volume["name"])] == []
    assert not [item for item in rendered[variant] if item["kind"] in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")]


@pytest.mark.parametrize("variant", ["defaults", "state_path", "local_volume"])
def test_every_daemon_starts_only_where_it_may_open_enough_files(rendered: dict[str, list[dict[str, Any]]], variant: str) -> None:
    checked = {}
    for item in rendered[variant]:
        if item["kind"] == "StatefulSet":
            spec = item["spec"]["template"]["spec"]
            (look,) = [container for container in spec["initContainers"] if container["name"] == "prepare-disks"]
            checked[item["metadata"]["name"]] = next(entry["value"] for entry in look["env"] if entry["name"] == "OPEN_FILES_MIN")
            assert {mount["name"] for mount in look["volumeMounts"]} <= {volume["name"] for volume in spec["volumes"]}
    assert len(checked) == 6 and set(checked.values()) == {"16384"}


def test_growing_restarts_no_daemon(rendered: dict[str, list[dict[str, Any]]]) -> None:
    two, three = ([item for item in rendered[variant] if item["kind"] == "StatefulSet"] for variant in ("two_targets", "defaults"))
    before, after = ({item["metadata"]["name"]: item["spec"] for item in items} for items in (two, three))
    assert len(before) == 5
    assert {name: after[name] for name in before} == before


def test_a_daemon_never_mounts_the_bare_path_of_a_disk(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for variant, objects in rendered.items():
        for item in objects:
            if item["kind"] != "StatefulSet" or item["metadata"]["labels"]["app.kubernetes.io/component"] != "target":
                continue
            spec = item["spec"]["template"]["spec"]
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            mounts = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"].startswith("disk")]
            assert [mount["mountPath"] for mount in mounts] == ["/ais/disk0", "/ais/disk1"]
            for mount in mounts:
                volume = volumes[mount["name"]]
                if "hostPath" in volume:
                    assert volume["hostPath"]["path"] == f"{mount['mountPath']}/ais.ais", variant
                else:
                    assert mount["subPath"] == "ais.ais", variant


def test_local_volumes_leave_the_namespace_restricted(rendered: dict[str, list[dict[str, Any]]]) -> None:
    objects = rendered["local_volume"]
    assert objects[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert "hostPath" not in json.dumps(objects)
    volumes = [item for item in objects if item["kind"] == "PersistentVolume"]
    assert len(volumes) == 6
    claims = {item["metadata"]["name"]: item for item in objects if item["kind"] == "PersistentVolumeClaim"}
    for volume in volumes:
        assert claims[volume["spec"]["claimRef"]["name"]]["spec"]["volumeName"] == volume["metadata"]["name"]


def test_clients_outside_get_addresses_that_they_reach(rendered: dict[str, list[dict[str, Any]]]) -> None:
    config = next(item for item in rendered["host_port"] if item["kind"] == "ConfigMap")["data"]
    assert json.loads(config["ais-ais-target-w2.json"])["host_net"]["hostname"] == "10.0.0.2"
    balanced = [item for item in rendered["load_balancer"] if item["kind"] == "Service" and item["spec"].get("type") == "LoadBalancer"]
    assert sorted(item["spec"].get("loadBalancerIP", "") for item in balanced) == ["", "10.0.0.1", "10.0.0.2", "10.0.0.3"]
    # A node that passes a connection on to another one hides the client, and aistore_client_cidrs would be compared with the node.
    assert {item["spec"]["externalTrafficPolicy"] for item in balanced} == {"Local"}
    assert not [item for item in rendered["defaults"] if "externalTrafficPolicy" in item["spec" if "spec" in item else "metadata"]]


def test_the_daemons_named_clients_and_the_api_server_get_in_and_nobody_else(rendered: dict[str, list[dict[str, Any]]]) -> None:
    def policy(variant: str) -> dict[str, Any]:
        (found,) = [item for item in rendered[variant] if item["kind"] == "NetworkPolicy"]
        spec: dict[str, Any] = found["spec"]
        return spec

    def namespaces(*names: str) -> dict[str, Any]:
        return {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(names)}]}}

    daemons = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "aistore", "app.kubernetes.io/instance": "ais"}}}
    api = [{"ipBlock": {"cidr": "10.0.0.9/32"}}, {"ipBlock": {"cidr": "fd00::9/128"}}]
    found = policy("defaults")
    assert (found["podSelector"], found["policyTypes"]) == (daemons["podSelector"], ["Ingress"])
    among, clients = found["ingress"]
    assert among == {"from": [daemons]}  # every port
    assert clients == {"ports": [{"port": "public"}], "from": [{"podSelector": {}}, namespaces("ais", "mlflow"), *api]}
    # Without its prefix the namespace would be somebody else's.
    prefixed = policy("prefixed")["ingress"][1]["from"]
    assert prefixed == [{"podSelector": {}}, namespaces("team1-ais", "team1-mlflow"), *api, {"ipBlock": {"cidr": "10.0.0.0/8"}}]
    assert policy("open_to_all")["ingress"][1]["from"] == [{"namespaceSelector": {}}, *api]
    assert not [item for item in rendered["no_policy"] if item["kind"] == "NetworkPolicy"]
    for item in rendered["defaults"]:
        if item["kind"] == "StatefulSet":
            assert daemons["podSelector"]["matchLabels"].items() <= item["spec"]["template"]["metadata"]["labels"].items()
            assert "public" in [port["name"] for port in item["spec"]["template"]["spec"]["containers"][0]["ports"]]


def test_https_speaks_https_everywhere(rendered: dict[str, list[dict[str, Any]]]) -> None:
    objects = rendered["https"]
    config = json.loads(next(item for item in objects if item["kind"] == "ConfigMap")["data"]["ais.json"])
    assert config["net"]["http"]["use_https"] is True
    assert config["proxy"]["primary_url"].startswith("https://")
    probe = next(item for item in objects if item["kind"] == "StatefulSet")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    assert probe["httpGet"]["scheme"] == "HTTPS"
