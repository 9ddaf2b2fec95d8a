# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An account with the role `edit` in one namespace, the usual case in a shared cluster."""

from __future__ import annotations

import json

import pytest
from kube_lab import Module

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "v"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}


def actions(result):
    assert "objects" in result, result
    return {f"{entry['kind']}/{entry['name']}": (entry["action"], entry["assumed"]) for entry in result["objects"]}


@pytest.fixture
def limited(admin, namespace):
    """Called with a ClusterRole's name: the module as an account that has this role in the namespace."""

    def make(role):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "u", "namespace": namespace}}
        admin.create(account, "test")
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "u", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "u", "namespace": namespace}],
        }
        admin.create(binding, "test")
        body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}).encode()
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/u/token"
        answer = admin.request("POST", path, body=body, headers={"Content-Type": "application/json"})
        token = json.loads(answer.body)["status"]["token"]
        return Module(namespace, host=admin.server, api_key=token, validate_certs=False)

    return make


def test_edit_can_do_all_that_its_rights_allow(limited, namespace):
    module = limited("edit")
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    predicted = module(home, CONFIG, SECRET, SERVICE, check=True)
    first = module(home, CONFIG, SECRET, SERVICE)
    assert not first.get("failed"), first["msg"]
    assert actions(predicted) == actions(first)
    assert actions(first)["ConfigMap/a"] == ("created", False)
    assert actions(first)[f"Namespace/{namespace}"][0] == "unchanged"
    assert module(home, CONFIG, SECRET, SERVICE)["changed"] is False
    assert actions(module(home, CONFIG))["Service/v"] == ("deleted", False)
    assert actions(module(state="absent"))["ConfigMap/a"] == ("deleted", False)


def test_the_message_for_the_rest_names_verb_resource_and_namespace(limited, namespace):
    module = limited("edit")
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"}, "rules": rules}
    result = module(role, CONFIG)
    assert result["failed"]
    assert "cannot patch" in result["msg"] and '"roles"' in result["msg"] and f'namespace "{namespace}"' in result["msg"]
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace}, "spec": {"capacity": {"storage": "1Gi"}}}
    result = module(volume)
    assert result["failed"] and '"persistentvolumes"' in result["msg"] and "cluster scope" in result["msg"]


def test_view_can_see_in_check_mode_what_it_may_not_do(limited, namespace, module):
    module(CONFIG)
    viewer = limited("view")
    assert viewer(CONFIG)["changed"] is False
    result = viewer({**CONFIG, "data": {"k": "w"}})
    assert result["failed"] and "cannot patch" in result["msg"] and '"configmaps"' in result["msg"]
