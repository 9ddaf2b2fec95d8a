# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`changed` is true if and only if a declared field changed in the store, and check mode names the same actions."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import threading
import time

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref

DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "labels": {"tier": "front"}},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "hostNetwork": False,
                "volumes": [{"name": "v", "emptyDir": {}}],
                "nodeSelector": {"kubernetes.io/os": "linux"},
                "containers": [
                    {
                        "name": "web",
                        "image": "x:1",
                        "args": ["--a", "--b"],
                        "ports": [{"containerPort": 80}],
                        "env": [{"name": "A", "value": "1"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"memory": "1Gi"}},
                        "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
                    },
                    {"name": "side", "image": "y:1"},
                ],
            },
        },
    },
}

STATEFUL_SET = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db"},
    "spec": {
        "replicas": 0,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "x:1", "ports": [{"containerPort": 5432}]}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}],
    },
}

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "dns"},
    "spec": {
        "selector": {"app": "web"},
        "ports": [{"name": "udp", "port": 53, "protocol": "UDP"}, {"name": "tcp", "port": 53, "protocol": "TCP"}, {"name": "http", "port": 80}],
    },
}

ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "r"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
}

POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "p"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": 80}]}]},
}

CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "c"},
    "spec": {
        "schedule": "0 3 * * *",
        "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "x:1"}]}}}},
    },
}

BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "b"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}},
}

ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}, "automountServiceAccountToken": False}

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "claim"},
    "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}},
}

ALL = [DEPLOYMENT, STATEFUL_SET, SERVICE, ROLE, POLICY, CRON_JOB, BUDGET, ACCOUNT, CLAIM]


def config(name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(**texts):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": texts}


def changed_by(obj, function):
    other = copy.deepcopy(obj)
    function(other)
    return other


def container(obj, index=0):
    return obj["spec"]["template"]["spec"]["containers"][index]


def actions(result):
    assert "objects" in result, result
    return {f"{entry['kind']}/{entry['name']}": entry["action"] for entry in result["objects"]}


@pytest.fixture
def apply(module, namespace):
    """Applies without waiting, in check mode first: both must name the same actions."""

    def run(*manifests, **options):
        predicted = module(*manifests, check=True, wait=False, diff=True, **options)
        result = module(*manifests, wait=False, diff=True, **options)
        assert not result.get("failed"), result["msg"]
        assert actions(predicted) == actions(result)
        assert not any(entry["assumed"] for entry in predicted["objects"])
        assert predicted["diff"] == result["diff"] or all(entry["action"] != "updated" for entry in result["objects"])
        return result

    return run


@pytest.fixture
def kubectl(kubeconfig, namespace):
    binary = next((path for path in (f"{kubeconfig.rpartition('/')[0]}/bin/kubectl", f"{kubeconfig.rpartition('/')[0]}/kubectl")), "kubectl")

    def run(*arguments, stdin=""):
        command = [binary, "--kubeconfig", kubeconfig, "-n", namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("obj", ALL, ids=lambda obj: obj["kind"])
def test_create_then_nothing_and_an_unchanged_one_costs_no_write(apply, cluster, obj):
    assert set(actions(apply(obj)).values()) == {"created"}
    result = apply(obj)
    assert result["changed"] is False
    assert result["requests"] <= 3  # record, LIST, and one for luck: an apply would be a fourth


CHANGES = {
    "one field": lambda obj: container(obj).update(image="x:2"),
    "a field removed": lambda obj: container(obj).pop("readinessProbe"),
    "a label removed": lambda obj: obj["metadata"].pop("labels"),
    "an element removed from a keyed list": lambda obj: obj["spec"]["template"]["spec"]["containers"].pop(),
    "an element removed from an atomic list": lambda obj: container(obj)["args"].pop(),
    "an environment variable removed": lambda obj: container(obj)["env"].pop(0),
    "a key removed from an atomic map": lambda obj: obj["spec"]["template"]["spec"].pop("nodeSelector"),
    "a quantity": lambda obj: container(obj)["resources"]["requests"].update(cpu="1100m"),
    "order of containers": lambda obj: obj["spec"]["template"]["spec"]["containers"].append(obj["spec"]["template"]["spec"]["containers"].pop(0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_declaration_is_an_update_once(apply, change):
    apply(DEPLOYMENT)
    other = changed_by(DEPLOYMENT, change)
    assert actions(apply(other)) == {"Deployment/web": "updated"}
    assert apply(other)["changed"] is False


SAME = {
    "cpu 1": lambda obj: container(obj)["resources"]["requests"].update(cpu="1"),
    "cpu as a number": lambda obj: container(obj)["resources"]["requests"].update(cpu=1),
    "memory 1Gi": lambda obj: container(obj)["resources"]["requests"].update(memory="1Gi"),
    "a default spelled out": lambda obj: container(obj)["ports"][0].update(protocol="TCP"),
    "a false left out": lambda obj: obj["spec"]["template"]["spec"].pop("hostNetwork"),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_the_same_written_differently_is_no_change(apply, change):
    apply(DEPLOYMENT)
    other = changed_by(DEPLOYMENT, change)
    assert apply(other)["changed"] is False
    assert apply(other)["requests"] <= 3


def test_label_values_that_look_like_booleans_are_labels(apply, admin, namespace):
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {gpu: 'true', n: '012', x: 'no'}}\n"
    apply(text)
    assert apply(text)["changed"] is False
    assert admin.get(Ref("v1", "ConfigMap", namespace, "c"))["metadata"]["labels"]["gpu"] == "true"


def test_secrets_by_string_data(apply, admin, namespace, kubectl):
    apply(secret(user="me", password="one"))
    assert apply(secret(user="me", password="one"))["changed"] is False
    assert actions(apply(secret(user="me", password="two"))) == {"Secret/s": "updated"}
    assert actions(apply(secret(password="two"))) == {"Secret/s": "updated"}
    live = admin.get(Ref("v1", "Secret", namespace, "s"))
    assert {key: base64.b64decode(value) for key, value in live["data"].items()} == {"password": b"two"}


def test_a_secret_edited_by_somebody_else_is_a_conflict_that_names_them(module, apply, kubectl):
    apply(secret(password="right"))
    kubectl("patch", "secret", "s", "--type=merge", "-p", json.dumps({"stringData": {"password": "wrong"}}))
    result = module(secret(password="right"), wait=False)
    assert result["failed"] and ".data.password" in result["msg"] and "kubectl-patch" in result["msg"]
    assert actions(apply(secret(password="right"), force_conflicts=True)) == {"Secret/s": "updated"}


def test_fields_of_others_do_not_count(apply, kubectl):
    apply(DEPLOYMENT)
    kubectl("annotate", "deployment", "web", "note=hello")
    kubectl("label", "deployment", "web", "team=blue")
    assert apply(DEPLOYMENT)["requests"] <= 3
    without = changed_by(DEPLOYMENT, lambda obj: obj["spec"].pop("replicas"))
    apply(without)
    kubectl("scale", "deployment", "web", "--replicas=0")
    assert apply(without)["changed"] is False


@pytest.mark.parametrize("server_side", [False, True], ids=["kubectl apply", "kubectl apply --server-side"])
def test_an_equal_object_made_by_kubectl_is_adopted_without_a_change(apply, kubectl, server_side):
    kubectl("apply", "-f", "-", *(["--server-side"] if server_side else []), stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": ALL}))
    assert apply(*ALL)["changed"] is False
    assert apply(*ALL)["changed"] is False


def test_what_kubectl_applied_and_nobody_declares_is_removed(apply, kubectl, admin, namespace):
    kubectl("apply", "-f", "-", stdin=json.dumps(config(old="1", same="1")))
    assert actions(apply(config(same="1"))) == {"ConfigMap/c": "updated"}
    live = admin.get(Ref("v1", "ConfigMap", namespace, "c"))
    assert live["data"] == {"same": "1"}
    assert "kubectl.kubernetes.io/last-applied-configuration" not in live["metadata"].get("annotations", {})
    assert apply(config(same="1"))["changed"] is False


def test_a_value_changed_over_kubectl_apply_is_an_update(apply, kubectl):
    kubectl("apply", "-f", "-", stdin=json.dumps(config(k="1")))
    assert actions(apply(config(k="2"))) == {"ConfigMap/c": "updated"}


def test_definitions_and_their_objects_in_one_call(module, admin, namespace):
    group = f"{namespace}.example.org"
    selector = {"type": "object", "description": "Which pods.", "additionalProperties": {"type": "string"}}
    named_as_ours = {"matchLabels": selector, "nodeSelector": {"type": "string"}, "limits": {"type": "object", "additionalProperties": {"type": "string"}}}
    properties = {"size": {"type": "integer"}, "mode": {"type": "string", "default": "a"}, **named_as_ours}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets." + group},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    widget = {"apiVersion": group + "/v1", "kind": "Widget", "metadata": {"name": "w", "annotations": {"slipway.mlops/health": "exists"}}}
    widget["spec"] = {"size": 3, "nodeSelector": "all()", "limits": {"cpu": "what there is"}}
    seen = []

    def clean_up():
        """As an operator of the set would: what it is asked to clean up is gone only if it is still there."""
        ref = Ref(group + "/v1", "Widget", namespace, "w")
        for _attempt in range(100):
            time.sleep(0.1)
            if admin.get(ref)["metadata"].get("deletionTimestamp"):
                break
        time.sleep(2)
        operator = admin.get(Ref("apps/v1", "Deployment", namespace, "web"))
        seen.append("the operator is gone" if operator is None or operator["metadata"].get("deletionTimestamp") else "the operator is still there")
        admin.patch(ref, [{"op": "remove", "path": "/metadata/finalizers"}], "test")

    try:
        predicted = module(definition, widget, check=True)
        assert [(entry["action"], entry["assumed"]) for entry in predicted["objects"]] == [("created", False), ("created", True)]
        result = module(definition, widget)
        assert actions(result) == actions(predicted), result
        again = module(definition, widget)
        assert again["changed"] is False and again["requests"] <= 4
        bigger = changed_by(widget, lambda obj: obj["spec"].update(size=4))
        assert actions(module(definition, bigger)) == {"CustomResourceDefinition/widgets." + group: "unchanged", "Widget/w": "updated"}
        typo = changed_by(widget, lambda obj: obj["spec"].update(sise=4))
        refused = module(definition, typo)
        assert refused["failed"] and "sise" in refused["msg"]
        assert actions(module(definition))["Widget/w"] == "deleted"
        held = changed_by(widget, lambda obj: obj["metadata"].update(finalizers=["example.org/clean"]))
        assert not module(definition, held, DEPLOYMENT).get("failed")
        cleaner = threading.Thread(target=clean_up)
        cleaner.start()
        gone = module(state="absent")
        cleaner.join()
        assert not gone.get("failed"), gone["msg"]
        assert seen == ["the operator is still there"]
        assert actions(gone)["CustomResourceDefinition/widgets." + group] == "kept"
    finally:
        module(state="absent", delete_data=["CustomResourceDefinition/widgets." + group])
    assert admin.get(Ref("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "widgets." + group)) is None


def once(command, name="once", **spec):
    container = {"name": "a", "image": "docker.io/library/busybox:stable", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    metadata = {"name": name, "annotations": {"slipway.mlops/apply": "once"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"backoffLimit": 0, **spec, "template": {"spec": pod}}}


def test_a_job_that_ran_to_its_end_is_ready_also_when_its_ttl_has_taken_it(module, admin, namespace):
    job = once("true", ttlSecondsAfterFinished=1)
    first = module(job)
    assert not first.get("failed"), first["msg"]
    deadline = time.monotonic() + 60
    while admin.list("batch/v1", "Job", namespace).items and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not admin.list("batch/v1", "Job", namespace).items
    again = module(job)
    assert again["changed"] is False and not admin.list("batch/v1", "Job", namespace).items
    assert again["objects"][0]["ready"] is True and again["objects"][0]["reason"].startswith("ran to its end at 20")


def test_check_mode_foresees_that_a_failed_job_is_made_again(module, namespace):
    job = once("exit 1")
    assert module(job)["failed"]
    assert actions(module(job, check=True)) == actions(module(job)) == {f"Job/{module(job, check=True)['objects'][0]['name']}": "created"}


def test_check_mode_of_a_whole_new_application(module, new_namespace, admin):
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": new_namespace}}
    predicted = module(home, *ALL, config(k="v"), check=True)
    assert {entry["kind"]: entry["assumed"] for entry in predicted["objects"]}["Namespace"] is False
    assert all(entry["assumed"] for entry in predicted["objects"] if entry["kind"] != "Namespace")
    assert admin.get(Ref("v1", "Namespace", "", new_namespace)) is None
    assert actions(module(home, *ALL, config(k="v"), wait=False)) == actions(predicted)


def test_a_field_that_does_not_exist_is_refused_by_name(module, namespace):
    result = module(changed_by(DEPLOYMENT, lambda obj: obj["spec"].update(replicsa=2)), wait=False)
    assert result["failed"] and "replicsa" in result["msg"]


def test_an_immutable_field_gives_the_way_out(module, namespace):
    module(STATEFUL_SET, wait=False)
    result = module(changed_by(STATEFUL_SET, lambda obj: obj["spec"].update(serviceName="other")), wait=False)
    assert result["failed"] and "forbidden" in result["msg"].lower() and "delete the object yourself" in result["msg"], result["msg"]
