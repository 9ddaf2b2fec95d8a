# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What breaks in practice, on a real API server behind a proxy that breaks it: each run ends well or says what is wrong, and the next converges."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._clock import SystemClock
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref, Stopped
from fault_proxy import Fault
from kube_lab import ROOT


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def configs(count, **data):
    return [config(f"c{index}", **data) for index in range(count)]


def home(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deployment(image="docker.io/library/busybox:stable", command=("sleep", "3600"), **container):
    one = {"name": "web", "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command), **container}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [one]}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def names(admin, namespace):
    return {item["metadata"]["name"] for item in admin.list("v1", "ConfigMap", namespace).items} - {"kube-root-ca.crt", "slipway-set"}


def actions(result):
    assert "objects" in result, result
    return {f"{entry['kind']}/{entry['name']}": entry["action"] for entry in result["objects"]}


class TestConnection:
    def test_a_third_of_503_is_survived(self, proxied, proxy, namespace, admin):
        dice = random.Random(7)
        proxy.rule = lambda number, method, path: Fault(503) if dice.random() < 0.3 else None
        result = proxied(*configs(60, k="v"))
        assert not result.get("failed"), result["msg"]
        assert len(names(admin, namespace)) == 60
        assert result["requests"] > 80

    def test_every_answer_lost_once_is_survived(self, proxied, proxy, namespace, admin):
        lost = set()

        def rule(number, method, path):
            if path in lost:
                return None
            lost.add(path)
            return Fault(late=True)

        theirs = {**config("theirs", k="old"), "metadata": {"name": "theirs", "namespace": namespace}}
        admin.create(theirs, "kubectl-client-side-apply")
        proxy.rule = rule
        objects = [*configs(20, k="v"), config("theirs", k="v")]
        secrets = [{"name": "made", "generate": [{"key": "k"}]}]
        result = proxied(*objects, secrets=secrets)
        assert not result.get("failed"), result["msg"]
        assert len(names(admin, namespace)) == 21
        wanted = {**{f"ConfigMap/c{index}": "created" for index in range(20)}, "ConfigMap/theirs": "updated", "Secret/made": "created"}
        assert actions(result) == wanted and not any(entry["assumed"] for entry in result["objects"])
        assert {line.partition(" ")[0] for line in proxy.writes} == {"PATCH", "POST"}
        proxy.rule = lambda *request: None
        assert proxied(*objects, secrets=secrets)["changed"] is False

    def test_ten_seconds_without_a_connection_are_waited_out(self, proxied, proxy, namespace, admin):
        down = []

        def rule(number, method, path):
            if number == 15 and not down:
                down.append(time.monotonic())
            return Fault() if down and time.monotonic() < down[0] + 10 else None

        proxy.rule = rule
        begun = time.monotonic()
        result = proxied(*configs(40, k="v"))
        assert not result.get("failed"), result["msg"]
        assert 10 < time.monotonic() - begun < 25
        assert len(names(admin, namespace)) == 40

    def test_the_same_while_waiting(self, proxied, proxy, namespace):
        down, met = [], []

        def rule(number, method, path):
            if "watch=1" in path and not down:
                down.append(time.monotonic())
            if not down or time.monotonic() > down[0] + 10:
                return None
            met.append(path)
            return Fault()

        proxy.rule = rule
        result = proxied(deployment())
        assert not result.get("failed"), result["msg"]
        assert len(met) > 1

    def test_broken_watches_are_followed_by_new_lists(self, proxied, proxy, namespace):
        seen = []

        def rule(number, method, path):
            if "watch=1" in path:
                seen.append(path)
                return Fault() if len(seen) <= 2 else None
            return None

        proxy.rule = rule
        result = proxied(deployment())
        assert not result.get("failed"), result["msg"]
        assert len(seen) >= 2

    def test_retry_after_is_honoured(self, proxied, proxy, namespace):
        refused = {}

        def rule(number, method, path):
            if method == "PATCH" and path not in refused:
                refused[path] = time.monotonic()
                return Fault(429, {"Retry-After": "2"}, reason="TooManyRequests")
            return None

        proxy.rule = rule
        result = proxied(*configs(4, k="v"))
        assert not result.get("failed"), result["msg"]
        again = {}
        for method, path, when in proxy.seen:
            if method == "PATCH":
                again[path] = when
        assert all(again[path] - when >= 1.9 for path, when in refused.items())

    def test_a_wrong_address_is_told_soon(self, module, namespace):
        module.connection = {"host": "https://127.0.0.1:1"}
        begun = time.monotonic()
        result = module(config("a"))
        assert result["failed"] and "127.0.0.1:1" in result["msg"] and "refused" in result["msg"]
        assert time.monotonic() - begun < 12

    def test_an_untrusted_certificate_is_told_at_once(self, module, admin, namespace):
        module.connection = {"host": admin.server, "api_key": "x"}
        result = module(config("a"))
        assert result["failed"] and "certificate" in result["msg"] and "ca_cert" in result["msg"]

    def test_an_expired_token_is_read_again(self, module, proxy, namespace, tmp_path, admin):
        token = tmp_path / "token"
        token.write_text("first")
        user = {"name": "u", "user": {"tokenFile": str(token)}}
        kubeconfig = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": proxy.url}}],
            "users": [user],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }

        renewed = threading.Event()

        def rule(number, method, path):
            if number == 12:
                token.write_text("second")
                renewed.set()
            # Who is refused after the change finds the new one; requests come several at a time.
            if number > 12:
                assert renewed.wait(10)
            if number >= 12 and proxy.authorizations[number] != "Bearer second":
                return Fault(401, message="Unauthorized", reason="Unauthorized")
            return None

        proxy.rule = rule
        module.connection = {"kubeconfig": kubeconfig}
        result = module(*configs(30, k="v"))
        assert not result.get("failed"), result["msg"]
        assert len(names(admin, namespace)) == 30
        proxy.rule = lambda *request: Fault(401, message="Unauthorized", reason="Unauthorized")
        refused = module(config("a"))
        assert refused["failed"] and "credentials" in refused["msg"]


class TestServerSaysNo:
    def test_a_namespace_that_is_being_deleted(self, module, namespace, admin):
        held = {**config("held"), "metadata": {"name": "held", "namespace": namespace, "finalizers": ["example.org/hold"]}}
        admin.create(held, "test")
        ref = Ref("v1", "Namespace", "", namespace)
        admin.delete(ref, admin.get(ref)["metadata"]["uid"])
        try:
            result = module(home(namespace), config("a", k="v"), wait_timeout=5)
            assert result["failed"] and namespace in result["msg"] and "being terminated" in result["msg"]
        finally:
            admin.patch(Ref("v1", "ConfigMap", namespace, "held"), [{"op": "remove", "path": "/metadata/finalizers"}], "test")

    def test_a_policy_that_refuses(self, module, namespace, admin):
        """Admission itself says no, in words of its own."""
        group = "admissionregistration.k8s.io/v1"
        here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}]
        says = {"expression": "!has(object.metadata.labels) || !('refuse' in object.metadata.labels)", "message": "the house does not take it"}
        policy = {"matchConstraints": {**here, "resourceRules": rules}, "validations": [says]}
        binding = {"policyName": namespace, "validationActions": ["Deny"], "matchResources": here}
        bad = {**config("bad", k="v"), "metadata": {"name": "bad", "labels": {"refuse": "me"}}}
        refs = [Ref(group, kind, "", namespace) for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")]
        try:
            for ref, spec in zip(refs, (policy, binding)):
                admin.create({"apiVersion": group, "kind": ref.kind, "metadata": {"name": namespace}, "spec": spec}, "test")
            deadline = time.monotonic() + 60
            while not (result := module(bad, check=True, prune=False)).get("failed") and time.monotonic() < deadline:
                time.sleep(0.5)  # a policy takes a moment
            result = module(config("good", k="v"), bad)
            assert result["failed"] and "the house does not take it" in result["msg"] and "manifests[1]" in result["msg"], result["msg"]
            assert actions(result) == {"ConfigMap/good": "created"} and names(admin, namespace) == {"good"}
        finally:
            for ref in refs:
                live = admin.get(ref)
                if live:
                    admin.delete(ref, live["metadata"]["uid"])

    def test_a_webhook_that_cannot_be_reached(self, module, namespace, admin):
        hook = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": namespace},
            "webhooks": [
                {
                    "name": "refuse.example.org",
                    "clientConfig": {"url": "https://127.0.0.1:1/refuse"},
                    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "objectSelector": {"matchLabels": {"refuse": "me"}},
                    "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                    "timeoutSeconds": 2,
                }
            ],
        }
        admin.create(hook, "test")
        ref = Ref(hook["apiVersion"], hook["kind"], "", namespace)
        try:
            time.sleep(1)
            bad = {**config("bad", k="v"), "metadata": {"name": "bad", "labels": {"refuse": "me"}}}
            result = module(config("good", k="v"), bad)
            assert result["failed"] and "ConfigMap" in result["msg"] and "refuse.example.org" in result["msg"] and "manifests[1]" in result["msg"]
            assert "good" in names(admin, namespace)
        finally:
            admin.delete(ref, admin.get(ref)["metadata"]["uid"])

    def test_a_quota_that_is_exceeded(self, module, namespace, admin):
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": namespace}, "spec": {"hard": {"count/secrets": "0"}}}
        admin.create(quota, "test")
        time.sleep(1)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "canary-value"}}
        result = module(secret, config("a", k="v"))
        assert result["failed"] and "exceeded quota: q" in result["msg"] and "1 of 2 objects are in place" in result["msg"]
        assert "canary" not in repr(result)

    def test_an_object_deleted_while_it_is_waited_for(self, module, namespace, admin):
        def delete():
            ref = Ref("apps/v1", "Deployment", namespace, "web")
            for _attempt in range(100):
                live = admin.get(ref)
                if live:
                    break
                time.sleep(0.1)
            time.sleep(1)
            admin.delete(ref, live["metadata"]["uid"])

        thread = threading.Thread(target=delete)
        thread.start()
        result = module(deployment(image="registry.invalid/none:1", imagePullPolicy="Never"), wait_timeout=8)
        thread.join()
        assert result["failed"] and "Deployment" in result["msg"] and "not there" in result["msg"]


class TestWait:
    def test_a_crash_ends_the_wait_early_and_the_message_has_the_last_lines_without_secrets(self, module, namespace):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "canary-hunter2"}}
        environment = [{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}}]
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "fails", "annotations": {"slipway.mlops/apply": "once"}},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "terminationGracePeriodSeconds": 0,
                        "containers": [
                            {
                                "name": "a",
                                "image": "docker.io/library/busybox:stable",
                                "imagePullPolicy": "IfNotPresent",
                                "env": environment,
                                "command": ["sh", "-c", "printf 'cannot reach postgres://me:%s@db\\033[31m with %s\\n' $PW $PW; exit 3"],
                            }
                        ],
                    }
                },
            },
        }
        begun = time.monotonic()
        result = module(secret, job, wait_timeout=90)
        assert result["failed"] and time.monotonic() - begun < 60
        assert "cannot reach postgres" in result["msg"] and "exit code 3" in result["msg"]
        assert "canary" not in repr(result) + repr(module.lines) and "\x1b" not in result["msg"]

    @pytest.mark.long
    def test_an_image_that_cannot_be_pulled_ends_the_wait_early(self, module, namespace):
        begun = time.monotonic()
        result = module(deployment(image="registry.invalid/none:1"), wait_timeout=120)
        assert result["failed"] and time.monotonic() - begun < 115
        assert "registry.invalid" in result["msg"]
        assert any("Deployment web" in line for line in module.lines)
        assert len(module.lines) == len(set(module.lines)), "nothing is told twice"


class TestManyRequests:
    KINDS = 8

    @staticmethod
    def objects():
        result = configs(60, k="v")
        result += [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{index}"}, "stringData": {"k": "v"}} for index in range(40)]
        result += [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": f"a{index}"}} for index in range(20)]
        port = {"ports": [{"port": 80}], "clusterIP": "None", "selector": {"a": "b"}}
        result += [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"v{index}"}, "spec": port} for index in range(25)]
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
        result += [{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": f"r{index}"}, "rules": rules} for index in range(15)]
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x:1", "ports": [{"containerPort": 80}]}]}}
        workload = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        claims = [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}]
        stateful = {**workload, "serviceName": "v0", "volumeClaimTemplates": claims}
        result += [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"d{index}"}, "spec": workload} for index in range(20)]
        result += [{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": f"t{index}"}, "spec": stateful} for index in range(10)]
        policy = {"podSelector": {}, "policyTypes": ["Ingress"]}
        result += [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": f"n{index}"}, "spec": policy} for index in range(10)]
        return result

    def test_two_hundred_objects_of_eight_kinds(self, proxied, proxy, namespace):
        objects = self.objects()
        assert len(objects) == 200 and len({obj["kind"] for obj in objects}) == self.KINDS
        first = proxied(*objects, wait=False)
        assert not first.get("failed"), first["msg"]
        assert len(proxy.seen) <= 200 + self.KINDS + 4
        assert not proxied(*objects).get("failed")  # until the controllers have seen all
        proxy.forget()
        again = proxied(*objects)
        assert again["changed"] is False and not again.get("failed")
        assert len(proxy.seen) <= self.KINDS + 4
        assert proxy.writes == []
        proxy.forget()
        objects[0] = config("c0", k="w")
        assert actions(proxied(*objects, wait=False))["ConfigMap/c0"] == "updated"
        assert len(proxy.writes) == 1


class TestTwice:
    def test_two_runs_at_once_both_end_well(self, module, namespace, admin):
        results = []
        threads = [threading.Thread(target=lambda: results.append(module(*configs(40, k="v")))) for _run in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [result.get("msg") for result in results if result.get("failed")] == []
        assert len(names(admin, namespace)) == 40
        assert module(*configs(40, k="v"))["changed"] is False


OLD = [*configs(10, k="v"), *[config(f"old{index}", k="v") for index in range(10)]]
NEW = [*configs(20, k="w"), deployment(image="registry.invalid/none:1", imagePullPolicy="Never")]
FINAL = [*configs(20, k="w")]


@pytest.mark.parametrize("when", [6, 25, "waiting"])
def test_a_run_that_is_killed_leaves_nothing_that_the_next_does_not_put_right(when, module, proxy, namespace, admin, tmp_path):
    """SIGKILL to a real ansible-playbook at a request of its apply, or while it waits."""
    assert not module(*OLD).get("failed")
    task = {"slipway.mlops.k8s_manifests": {"host": proxy.url, "name": "set", "namespace": namespace, "wait_timeout": 100, "manifests": NEW}}
    book = tmp_path / "play.json"
    book.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]))
    environ = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    proxy.delay = 0.02
    process = subprocess.Popen(
        [str(ROOT / ".venv/bin/ansible-playbook"), str(book)], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _attempt in range(2000):
            reached = any("watch=1" in line for line in proxy.requests) if when == "waiting" else len(proxy.seen) >= when
            if reached:
                break
            time.sleep(0.02)
        assert reached, proxy.requests
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    sent = len(proxy.seen)
    while when != "waiting" and proxy.busy:
        time.sleep(0.05)
    result = module(*FINAL)
    assert not result.get("failed"), result["msg"]
    assert names(admin, namespace) == {f"c{index}" for index in range(20)}
    assert admin.get(Ref("apps/v1", "Deployment", namespace, "web")) is None
    assert module(*FINAL)["changed"] is False
    assert len(proxy.seen) == sent, "a killed run sends nothing more"


TWELVE_OLD = [*configs(4, k="v"), *[config(f"old{index}", k="v") for index in range(4)]]
TWELVE = [
    *configs(8, k="w"),
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}},
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "v"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]}},
    {**deployment(), "spec": {**deployment()["spec"], "replicas": 0}},
]


@pytest.mark.long
def test_a_run_that_ends_at_any_request_is_put_right_by_the_next(proxied, proxy, namespace, admin, module):
    """Twelve objects; the clock of the run stops at its n-th request, which is still sent, and nothing after it."""

    def seen():
        kinds = ("ConfigMap", "Secret", "Service", "Deployment")
        found = {(kind, item["metadata"]["name"]) for kind in kinds for item in admin.list("apps/v1" if kind == "Deployment" else "v1", kind, namespace).items}
        return found - {("ConfigMap", "kube-root-ca.crt")}

    def start_over():
        assert not module(*TWELVE_OLD).get("failed")
        proxy.forget()

    start_over()
    assert not proxied(*TWELVE, wait=False).get("failed")
    total, wanted = len(proxy.seen), seen()
    assert total > 20
    for last in range(total):
        start_over()
        clock = SystemClock()
        proxy.rule = lambda number, method, path, last=last, clock=clock: clock.stop() if number >= last else None
        with contextlib.suppress(Stopped):
            proxied(*TWELVE, wait=False, clock=clock)
        deadline = time.monotonic() + 30
        while proxy.busy and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(proxy.seen) <= last + 1 + 8, "threads that were about to send have sent nothing more"
        proxy.rule = lambda number, method, path: None
        result = module(*TWELVE, wait=False)
        assert not result.get("failed"), f"ended at request {last}: {result['msg']}"
        assert seen() == wanted, f"ended at request {last}"
        assert module(*TWELVE, wait=False)["changed"] is False, f"ended at request {last}"
