# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the role aim declares, rendered by Ansible itself, valid for several Kubernetes; and the combinations that it refuses."""

from __future__ import annotations

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

ROOT = Path(__file__).resolve().parents[3]
KUBERNETES = ["1.29", "1.31", "1.34"]
NFS = {"aim_volume_is_shared": True, "aim_nfs_server": "nfs.example.org", "aim_nfs_path": "/aim"}
INGRESS = {"aim_ingress_host": "aim.example.org", "aim_ingress_auth_secret": "users"}

VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "nfs": NFS,
    "shared": {"aim_volume_is_shared": True, "aim_claim_storage_class": "cephfs"},
    "load_balancer": {"aim_service_type": "LoadBalancer", "aim_is_open_to_anyone": True},
    "nginx": {**INGRESS, "aim_ingress_tls_secret": "tls", "aim_ingress_class": "nginx", "aim_ingress_controller_namespace": "ingress-nginx"},
    "traefik": {**INGRESS, "aim_ingress_controller": "traefik"},
    "haproxy": {**INGRESS, "aim_ingress_controller": "haproxy"},
    "login_page": {
        "aim_ingress_host": "aim.example.org",
        "aim_ingress_controller": "",
        "aim_ingress_annotations": {"nginx.ingress.kubernetes.io/auth-url": "https://login.example.org"},
    },
    "tls": {"aim_tracking_tls_secret": "aim-tls"},
    "clients": {"aim_client_namespaces": ["teams", "notebooks"], "aim_copies_claim": "", "aim_namespace_is_managed": False},
    "pulling": {"slipway_registry_auth_file": "/etc/auth.json", "slipway_image_pull_secrets": ["mine"], "slipway_image_registry": "registry.example.org"},
    "stopped": {"__aim_replicas": 0, "aim_existing_claim": "there", "aim_network_policy_is_managed": False},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "open load balancer": ({"aim_service_type": "LoadBalancer"}, "aim_is_open_to_anyone: true"),
    "open node port": ({"aim_service_type": "NodePort"}, "Aim knows no users"),
    "open ingress": ({"aim_ingress_host": "x"}, "without a password"),
    "users nobody asks for": ({**INGRESS, "aim_ingress_controller": ""}, "the aim_ingress_controller that asks for it"),
    "unrelated annotation": (
        {**INGRESS, "aim_ingress_controller": "", "aim_ingress_annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"}},
        "without a password",
    ),
    "two sources of users": ({**INGRESS, "aim_ingress_auth_file": "/f"}, "one of them names the users"),
    "nfs without sharing": ({**NFS, "aim_volume_is_shared": False}, "aim_volume_is_shared: true"),
    "nfs without a path": ({**NFS, "aim_nfs_path": ""}, "go together"),
    "nfs with a relative path": ({**NFS, "aim_nfs_path": "aim"}, "must begin with a slash"),
    "nfs and a claim": ({**NFS, "aim_existing_claim": "x"}, "both set"),
    "nfs without locks": ({**NFS, "aim_nfs_mount_options": ["nfsvers=4.1", "nolock"]}, "has nolock"),
    "nfs 3": ({**NFS, "aim_nfs_mount_options": ["nfsvers=3", "soft"]}, "has nfsvers=3, soft"),
    "nfs with local locks": ({**NFS, "aim_nfs_mount_options": ["local_lock=all"]}, "has local_lock=all"),
    "shared but for one pod": ({"aim_volume_is_shared": True, "aim_claim_access_mode": "ReadWriteOncePod"}, "a shared volume is ReadWriteMany"),
    "copies on the repository": ({"aim_copies_claim": "aim-repo"}, "copies belong on another one"),
    "no copy is kept": ({"aim_copies_kept": 0}, "at least 1 is kept"),
}
# What k8s_manifests and k8s_readiness_info said, and what the report then says.
VERIFIED: dict[str, Any] = {"objects": [{"action": "created", "ready": True}], "seconds": 9}
PROOFS: dict[str, tuple[dict[str, Any], bool, bool, str]] = {
    "proved_now": (VERIFIED, True, True, "read back from the UI"),
    "proved_before_and_the_job_is_gone": ({"objects": [{"action": "unchanged", "ready": None}]}, True, True, "nothing changed since"),
    "the_client_failed": ({"failed": True, "msg": "the client saw 502", "objects": [{"action": "created", "ready": False}]}, True, False, "saw 502"),
    "not_ready_any_more": ({"objects": [{"action": "unchanged", "ready": True}]}, False, False, ""),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every variant is a host of one play, so Ansible starts once: host -> {text, problems}."""
    folder = tmp_path_factory.mktemp("aim")
    unproved = {"__aim_verified": {}, "__aim_readiness": {"ready": False}}
    hosts: dict[str, dict[str, Any]] = {**VARIANTS, **{name.replace(" ", "_"): values for name, (values, _unused) in REFUSED.items()}}
    hosts |= {name: {"__aim_verified": verified, "__aim_readiness": {"ready": ready}} for name, (verified, ready, _ready, _said) in PROOFS.items()}
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": {name: {**unproved, **values} for name, values in hosts.items()}}}))
    role = ROOT / "roles" / "aim"
    play = [
        {
            "hosts": "all",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {"include_vars": {"file": str(role / "vars" / "main.yml")}},
                {"debug": {"msg": "{{ {'text': lookup('template', 'aim.yaml.j2'), 'problems': __aim_problems, 'proof': __aim_proof} | to_json }}"}},
            ],
        }
    ]
    for part in ("files", "templates"):  # a play finds them beside itself
        (folder / part).symlink_to(role / part)
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    group = folder / "group_vars"
    group.mkdir()
    (group / "all.yml").write_text(yaml.safe_dump(defaults))
    (folder / "play.yml").write_text(yaml.safe_dump(play))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "inventory.yml"), str(folder / "play.yml")]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    results = re.findall(r"^ok: \[(\w+)\] => (\{.*?^\})", done.stdout, re.MULTILINE | re.DOTALL)
    shown = {name: json.loads(result)["msg"] for name, result in results if '"msg"' in result}
    return {name: json.loads(text) if isinstance(text, str) else text for name, text in shown.items()}


def objects(rendered: dict[str, dict[str, Any]], variant: str) -> dict[str, dict[str, Any]]:
    found = [item for item in yaml.safe_load_all(rendered[variant]["text"]) if item]
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in found}


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_declared_is_valid_kubernetes(rendered: dict[str, dict[str, Any]], variant: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pkg_resources
        import kubernetes_validate
    assert rendered[variant]["problems"] == []
    for name, item in objects(rendered, variant).items():
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "slipway", name
        if item["apiVersion"].startswith("traefik.io"):
            continue
        for version in KUBERNETES:
            kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_in_a_sentence(rendered: dict[str, dict[str, Any]], case: str) -> None:
    problems = rendered[case.replace(" ", "_")]["problems"]
    assert len(problems) == 1 and REFUSED[case][1] in " ".join(problems[0].split())


@pytest.mark.parametrize("case", PROOFS)
def test_the_report_believes_a_proof_until_something_changes(rendered: dict[str, dict[str, Any]], case: str) -> None:
    _verified, _readiness, ready, said = PROOFS[case]
    assert rendered[case]["proof"]["ready"] is ready and said in rendered[case]["proof"]["reason"]


def test_there_is_never_a_second_pod(rendered: dict[str, dict[str, Any]]) -> None:
    for variant in VARIANTS:
        spec = objects(rendered, variant)["Deployment/aim"]["spec"]
        assert spec["strategy"] == {"type": "Recreate"} and spec["replicas"] == (0 if variant == "stopped" else 1)


def test_the_pod_has_no_rights(rendered: dict[str, dict[str, Any]]) -> None:
    found = objects(rendered, "defaults")
    pod = found["Deployment/aim"]["spec"]["template"]["spec"]
    assert found["Namespace/aim"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert pod["automountServiceAccountToken"] is False and pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["initContainers"] + pod["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["resources"]["limits"]["memory"]


def test_the_probes_ask_what_fails_when_aim_does(rendered: dict[str, dict[str, Any]]) -> None:
    ui, tracking = objects(rendered, "tls")["Deployment/aim"]["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert ui[probe]["httpGet"]["path"] == "/api/projects/"
        assert tracking[probe]["httpGet"] == {"path": "/status/", "port": "tracking", "scheme": "HTTPS"}
    assert tracking["command"][-4:] == ["--ssl-keyfile", "/tls/tls.key", "--ssl-certfile", "/tls/tls.crt"]


def test_an_nfs_export_is_bound_to_this_claim_and_outlives_it(rendered: dict[str, dict[str, Any]]) -> None:
    found = objects(rendered, "nfs")
    volume, claim = found["PersistentVolume/aim-aim-repo"]["spec"], found["PersistentVolumeClaim/aim-repo"]["spec"]
    assert volume["nfs"] == {"server": "nfs.example.org", "path": "/aim"} and volume["persistentVolumeReclaimPolicy"] == "Retain"
    assert (volume["claimRef"]["namespace"], volume["claimRef"]["name"]) == ("aim", "aim-repo") and volume["mountOptions"] == ["nfsvers=4.1", "hard"]
    assert claim["accessModes"] == volume["accessModes"] == ["ReadWriteMany"] and claim["volumeName"] == "aim-aim-repo" and claim["storageClassName"] == ""


def test_the_outside_gets_the_ui_alone(rendered: dict[str, dict[str, Any]]) -> None:
    service = objects(rendered, "load_balancer")["Service/aim-ui"]["spec"]
    assert service["type"] == "LoadBalancer" and [(port["port"], port["targetPort"]) for port in service["ports"]] == [(80, "ui")]
    assert "type" not in objects(rendered, "load_balancer")["Service/aim"]["spec"]


def test_an_ingress_asks_for_a_password(rendered: dict[str, dict[str, Any]]) -> None:
    nginx = objects(rendered, "nginx")["Ingress/aim"]
    assert nginx["metadata"]["annotations"]["nginx.ingress.kubernetes.io/auth-secret"] == "users" and nginx["spec"]["tls"][0]["secretName"] == "tls"
    traefik = objects(rendered, "traefik")
    assert traefik["Ingress/aim"]["metadata"]["annotations"] == {"traefik.ingress.kubernetes.io/router.middlewares": "aim-aim-users@kubernetescrd"}
    assert traefik["Middleware/aim-users"]["spec"]["basicAuth"]["secret"] == "users"
    assert objects(rendered, "haproxy")["Ingress/aim"]["metadata"]["annotations"]["haproxy.org/auth-secret"] == "aim/users"


def test_the_policy_lets_in_who_is_named(rendered: dict[str, dict[str, Any]]) -> None:
    def peers(variant: str) -> list[Any]:
        return [rule.get("from") for rule in objects(rendered, variant)["NetworkPolicy/aim"]["spec"]["ingress"]]

    def of(namespace: str) -> dict[str, Any]:
        return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}

    assert peers("defaults") == [[{"podSelector": {}}]]
    assert peers("clients") == [[{"podSelector": {}}, of("teams"), of("notebooks")]]
    assert peers("nginx") == [[{"podSelector": {}}], [of("ingress-nginx")]]
    assert peers("load_balancer") == [[{"podSelector": {}}], None]


def test_choices_leave_out_what_they_should(rendered: dict[str, dict[str, Any]]) -> None:
    clients, stopped = objects(rendered, "clients"), objects(rendered, "stopped")
    assert not {"Namespace/aim", "PersistentVolumeClaim/aim-copies"} & set(clients)
    assert not {"PersistentVolumeClaim/aim-repo", "NetworkPolicy/aim"} & set(stopped)
    pulling = objects(rendered, "pulling")["Deployment/aim"]["spec"]["template"]["spec"]
    assert pulling["imagePullSecrets"] == [{"name": "mine"}, {"name": "aim-registry"}]
    assert pulling["containers"][0]["image"] == "registry.example.org/aim:3.29.1"
