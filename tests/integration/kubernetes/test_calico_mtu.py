# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""calico_mtu on the real API server, without a Calico: the ConfigMap of its manifests, and an Installation by the schema of its operator."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, outcome
from ansible_collections.slipway.mlops.plugins.module_utils._run_calico_mtu import ARGUMENTS, INSTALLATION, MANAGER, run

CRD = Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "installations.operator.tigera.io")
# The fields of the operator's own definition that are met here, with its types.
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "cni": {"type": "object", "properties": {"type": {"type": "string"}}},
                "variant": {"type": "string"},
                "calicoNetwork": {
                    "type": "object",
                    "properties": {
                        "mtu": {"type": "integer", "format": "int32"},
                        "ipPools": {"type": "array", "items": {"type": "object", "properties": {"cidr": {"type": "string"}}}},
                    },
                },
            },
        }
    },
}


def calico(kubeconfig: str, check: bool = False, **options: Any) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in ARGUMENTS.items()}
    return outcome(run, Call({**defaults, "kubeconfig": kubeconfig, **options}, check, True, lambda line: None, environ={}))


def owned(live: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry["fieldsV1"] for entry in live["metadata"]["managedFields"] if entry["manager"] == MANAGER]


@pytest.fixture
def config_map(admin: Any, namespace: str) -> Ref:
    data = {"veth_mtu": "0", "typha_service_name": "none", "cni_network_config": '{"mtu": __CNI_MTU__}'}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "calico-config", "namespace": namespace}, "data": data}
    admin.apply(body, "kubectl")
    return Ref("v1", "ConfigMap", namespace, "calico-config")


@pytest.fixture
def installation(admin: Any) -> Iterator[None]:
    names = {"plural": "installations", "singular": "installation", "kind": "Installation", "listKind": "InstallationList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
    spec = {"group": "operator.tigera.io", "scope": "Cluster", "names": names, "versions": [version]}
    admin.create({"apiVersion": CRD.api_version, "kind": CRD.kind, "metadata": {"name": CRD.name}, "spec": spec}, "test")
    try:
        body = {
            "apiVersion": INSTALLATION.api_version,
            "kind": INSTALLATION.kind,
            "metadata": {"name": INSTALLATION.name},
            "spec": {"variant": "Calico", "calicoNetwork": {"ipPools": [{"cidr": "10.244.0.0/16"}]}},
        }
        end = time.monotonic() + 60
        while not admin.resource(INSTALLATION.api_version, INSTALLATION.kind):
            assert time.monotonic() < end, "the definition was not served within 60 s"
            admin.forget(INSTALLATION.api_version)
            time.sleep(0.2)
        admin.apply(body, "operator")
        yield
    finally:
        admin.delete(CRD, admin.get(CRD)["metadata"]["uid"])
        admin.forget(INSTALLATION.api_version)


def test_the_config_map_gets_one_key_and_its_owner_is_asked_first(admin: Any, kubeconfig: str, namespace: str, config_map: Ref) -> None:
    refused = calico(kubeconfig, mtu=8950, namespace=namespace)
    assert refused["failed"]
    assert '"kubectl"' in refused["msg"]
    assert "force_conflicts" in refused["msg"]
    before = admin.get(config_map)

    predicted = calico(kubeconfig, check=True, mtu=8950, namespace=namespace, force_conflicts=True)
    assert predicted["changed"]
    assert admin.get(config_map)["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]

    done = calico(kubeconfig, mtu=8950, namespace=namespace, force_conflicts=True)
    assert done["changed"]
    assert done["actions"] == predicted["actions"] == [f"data.veth_mtu of ConfigMap {namespace}/calico-config: 0 -> 8950"]
    assert "rollout restart daemonset/calico-node" in done["warnings"][0]
    after = admin.get(config_map)
    assert after["data"] == {**before["data"], "veth_mtu": "8950"}
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert owned(after) == [{"f:data": {"f:veth_mtu": {}}}]

    again = calico(kubeconfig, mtu=8950, namespace=namespace)
    assert not again["changed"]
    assert "warnings" not in again
    assert admin.get(config_map)["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


def test_a_cluster_without_calico_is_refused_and_gets_nothing(admin: Any, kubeconfig: str, namespace: str) -> None:
    refused = calico(kubeconfig, mtu=8950, namespace=namespace)
    assert refused["failed"]
    assert "neither Installation default nor ConfigMap" in refused["msg"]
    assert admin.get(Ref("v1", "ConfigMap", namespace, "calico-config")) is None
    assert "not within" in calico(kubeconfig, mtu=900, namespace=namespace)["msg"]


def test_the_operators_installation_gets_one_field(admin: Any, kubeconfig: str, namespace: str, config_map: Ref, installation: None) -> None:
    before = admin.get(INSTALLATION)
    assert calico(kubeconfig, check=True, mtu=8950)["changed"]
    assert admin.get(INSTALLATION) == before

    done = calico(kubeconfig, mtu=8950, namespace=namespace)
    assert done["actions"] == ["spec.calicoNetwork.mtu of Installation default: (none) -> 8950"]
    assert "warnings" not in done
    after = admin.get(INSTALLATION)
    assert after["spec"] == {**before["spec"], "calicoNetwork": {**before["spec"]["calicoNetwork"], "mtu": 8950}}
    assert owned(after) == [{"f:spec": {"f:calicoNetwork": {"f:mtu": {}}}}]
    assert admin.get(config_map)["data"]["veth_mtu"] == "0", "the operator has its own place"

    assert not calico(kubeconfig, mtu=8950)["changed"]
    assert calico(kubeconfig, mtu=1450)["actions"] == ["spec.calicoNetwork.mtu of Installation default: 8950 -> 1450"]
    admin.patch(INSTALLATION, [{"op": "add", "path": "/spec/cni", "value": {"type": "AmazonVPC"}}], "operator")
    assert "AmazonVPC" in calico(kubeconfig, mtu=8950)["msg"]
