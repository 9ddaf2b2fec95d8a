# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""k8s_manifests from options to result, on a fake cluster and a fake clock."""

from __future__ import annotations

import base64
import contextlib
import json
import threading

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _run_k8s_manifests
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Ref, Resource
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, censored, outcome
from fakes import FakeClock, FakeCluster

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name, **texts):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts}


def job(name="migrate", image="x:1", policy="once"):
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": {"slipway.mlops/apply": policy}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]}}},
    }


def claim(name="data"):
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def deployment(name="web", image="x:1"):
    container = {"name": "web", "image": image, "resources": {"requests": {"cpu": "1000m"}}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def widget(name="w", policy="set", **metadata):
    annotations = {"slipway.mlops/apply": policy}
    return {"apiVersion": "x.org/v1", "kind": "Widget", "metadata": {"name": name, "annotations": annotations, **metadata}, "spec": {"size": 3}}


class Forgetful(FakeCluster):
    """Does what it is asked and loses the answer; the request is then sent again, as `_cluster` does."""

    def apply(self, obj, manager, force=False, dry_run=False):
        super().apply(obj, manager, force, dry_run)
        return super().apply(obj, manager, force, dry_run)

    def create(self, obj, manager, dry_run=False):
        super().create(obj, manager, dry_run)
        return super().create(obj, manager, dry_run)

    def patch(self, ref, operations, manager, dry_run=False):
        super().patch(ref, operations, manager, dry_run)
        return super().patch(ref, operations, manager, dry_run)


def fail_with(message):
    raise ClusterError(message)


class World:
    """A cluster, a clock, and calls of the module."""

    def __init__(self, kind=FakeCluster):
        self.clock = FakeClock()
        self.cluster = kind(self.clock)
        self.lines = []

    def run(self, *manifests, check=False, diff=False, **options):
        defaults = {name: option.get("default") for name, option in _run_k8s_manifests.ARGUMENTS.items()}
        params = {**defaults, "name": "set", "namespace": "team", "wait": False, "manifests": list(manifests), **options}
        self.cluster.log.clear()
        call = Call(params, check, diff, self.lines.append, self.clock, self.cluster, environ={"TOKEN": "tok-12345"})
        return outcome(_run_k8s_manifests.run, call)

    def ref(self, kind, name, version="v1"):
        return Ref(version, kind, "team", name)

    def data(self, name, kind="ConfigMap"):
        return self.cluster.objects[self.ref(kind, name)].get("data")


@pytest.fixture
def world():
    return World()


def actions(result):
    return {f"{entry['kind']}/{entry['name']}": entry["action"] for entry in result["objects"]}


class TestPresent:
    def test_the_first_run_creates_and_the_second_writes_nothing(self, world):
        first = world.run(NAMESPACE, config("a", k="v"), secret("s", p="w"))
        assert first["changed"] is True
        assert actions(first) == {"Namespace/team": "created", "ConfigMap/a": "created", "Secret/s": "created"}
        second = world.run(NAMESPACE, config("a", k="v"), secret("s", p="w"))
        assert second["changed"] is False
        assert set(actions(second).values()) == {"unchanged"}
        assert world.cluster.writes() == []
        assert second["requests"] == 4  # record, Namespace, a LIST each of two kinds

    def test_an_object_is_reported_while_others_are_still_on_their_way(self, world):
        """Not at the end of its level: a run that is killed has told what it did."""
        told = threading.Event()

        class Lines(list):
            def append(self, line):
                super().append(line)
                if "ConfigMap first" in line:
                    told.set()

        def fail(verb, ref):
            if verb == "apply" and ref.name == "last":
                assert told.wait(20), "nobody was told of the first object"

        world.cluster.fail, world.lines = fail, Lines()
        assert not world.run(NAMESPACE, config("first"), config("last")).get("failed")

    def test_the_record_is_written_before_the_first_member(self, world):
        world.run(NAMESPACE, config("a", k="v"))
        written = [ref for verb, ref in world.cluster.log if verb == "apply"]
        assert [ref.name for ref in written] == ["team", "slipway-set", "a"]

    def test_one_field_is_an_update_and_the_diff_shows_it(self, world):
        world.run(NAMESPACE, config("a", k="v"), config("b", k="v"))
        result = world.run(NAMESPACE, config("a", k="w"), config("b", k="v"), diff=True)
        assert actions(result) == {"Namespace/team": "unchanged", "ConfigMap/a": "updated", "ConfigMap/b": "unchanged"}
        assert [(entry["before"], entry["after"]) for entry in result["diff"]] == [("data:\n  k: v\n", "data:\n  k: w\n")]

    def test_a_removed_field_and_a_removed_list_element_are_updates(self, world):
        world.run(NAMESPACE, config("a", k="v", l="v"))
        assert actions(world.run(NAMESPACE, config("a", k="v")))["ConfigMap/a"] == "updated"
        assert world.data("a") == {"k": "v"}

    def test_a_quantity_written_differently_is_no_change(self, world):
        world.run(NAMESPACE, deployment())
        live = world.cluster.objects[world.ref("Deployment", "web", "apps/v1")]
        live["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "1"
        result = world.run(NAMESPACE, deployment())
        assert actions(result)["Deployment/web"] == "unchanged"
        assert world.cluster.writes() == []

    def test_status_never_counts(self, world):
        world.run(NAMESPACE, deployment())
        world.cluster.set_status(world.ref("Deployment", "web", "apps/v1"), {"observedGeneration": 7, "replicas": 3})
        assert world.run(NAMESPACE, deployment())["changed"] is False

    def test_a_secret_that_somebody_edited_is_put_right(self, world):
        world.run(NAMESPACE, secret("s", p="right"))
        live = world.cluster.get(world.ref("Secret", "s"))
        live["data"]["p"] = base64.b64encode(b"wrong").decode()
        world.cluster.put(live, "kubectl-edit")
        refused = world.run(NAMESPACE, secret("s", p="right"))
        assert refused["failed"] and "kubectl-edit" in refused["msg"] and ".data.p" in refused["msg"]
        assert actions(world.run(NAMESPACE, secret("s", p="right"), force_conflicts=True))["Secret/s"] == "updated"
        assert base64.b64decode(world.data("s", "Secret")["p"]) == b"right"

    def test_adoption_of_an_equal_object_is_no_change_and_of_another_an_update(self, world):
        world.cluster.put(NAMESPACE)
        for name, value in (("same", "v"), ("other", "w")):
            world.cluster.put({**config(name, k=value), "metadata": {"name": name, "namespace": "team"}}, "kubectl-client-side-apply")
        result = world.run(config("same", k="v"), config("other", k="v"))
        assert actions(result) == {"ConfigMap/same": "unchanged", "ConfigMap/other": "updated"}
        assert world.run(config("same", k="v"), config("other", k="v"))["changed"] is False
        assert world.cluster.writes() == []

    def test_what_kubectl_applied_and_nobody_declares_now_goes_in_check_mode_too(self, world):
        world.cluster.put(NAMESPACE)
        applied = json.dumps({"data": {"k": "v", "old": "v"}})
        metadata = {"name": "a", "namespace": "team", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}}
        world.cluster.put({**config("a", k="v", old="v"), "metadata": metadata}, "kubectl-client-side-apply")
        before = world.cluster.objects[world.ref("ConfigMap", "a")]["metadata"]["resourceVersion"]
        predicted = world.run(config("a", k="v"), check=True, diff=True)
        assert world.cluster.objects[world.ref("ConfigMap", "a")]["metadata"]["resourceVersion"] == before
        result = world.run(config("a", k="v"), diff=True)
        assert actions(predicted) == actions(result) == {"ConfigMap/a": "updated"}
        assert [entry["after"] for entry in predicted["diff"]] == [entry["after"] for entry in result["diff"]] == ["data:\n  k: v\n"]
        assert world.data("a") == {"k": "v"}

    def test_the_last_of_what_kubectl_applied_goes_in_check_mode_too(self, world):
        world.cluster.put(NAMESPACE)
        metadata = {"name": "a", "namespace": "team", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"data": {"old": "v"}}'}}
        world.cluster.put({**config("a", old="v"), "metadata": metadata}, "kubectl-client-side-apply")
        bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
        predicted, result = world.run(bare, check=True, diff=True), world.run(bare, diff=True)
        assert actions(predicted) == actions(result) == {"ConfigMap/a": "updated"}
        assert [entry["after"] for entry in predicted["diff"]] == [entry["after"] for entry in result["diff"]] == ["{}\n"]
        assert not world.data("a")

    @pytest.mark.parametrize("check", [True, False])
    def test_what_somebody_else_holds_beside_kubectl_is_a_conflict_in_check_mode_too(self, world, check):
        world.cluster.put(NAMESPACE)
        metadata = {"name": "a", "namespace": "team"}
        world.cluster.put({**config("a", k="v", p="v"), "metadata": metadata}, "kubectl-client-side-apply")
        live = world.cluster.get(world.ref("ConfigMap", "a"))
        world.cluster.put({**live, "data": {"k": "v", "p": "theirs"}}, "operator")
        result = world.run(config("a", k="w", p="ours"), check=check)
        assert result["failed"] and 'conflict with "operator"' in result["msg"]
        assert actions(world.run(config("a", k="w", p="theirs"), check=check)) == {"ConfigMap/a": "updated"}

    def test_objects_of_helm_and_of_other_sets_are_refused_before_any_write(self, world):
        world.cluster.put(NAMESPACE)
        release = {"name": "a", "namespace": "team", "annotations": {"meta.helm.sh/release-name": "shop"}}
        world.cluster.put({**config("a", k="v"), "metadata": release}, "helm")
        world.run(config("b", k="v"), name="other")
        result = world.run(config("a", k="v"), config("b", k="v"))
        assert result["failed"]
        assert 'Helm release "shop"' in result["problems"][0] and "slipway:other" in result["problems"][1]
        assert world.cluster.writes() == []

    def test_after_a_failure_the_rest_of_the_level_is_done_and_the_message_counts(self, world):
        def fail(verb, ref):
            if verb == "apply" and ref.name == "b":
                raise ClusterError("Cannot apply ConfigMap team/b: quota", 403)

        world.cluster.fail = fail
        result = world.run(NAMESPACE, config("a", k="v"), config("b", k="v"), config("c", k="v"), deployment())
        assert result["failed"] and result["changed"]
        assert "quota (manifests[2])" in result["msg"] and "3 of 5 objects are in place, 1 failed, 1 were not begun" in result["msg"]

    def test_a_definition_and_its_objects_in_one_call(self, world):
        spec = {"group": "x.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}, "versions": [{"name": "v1"}]}
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.x.org"}, "spec": spec}
        widget = {"apiVersion": "x.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
        predicted = world.run(NAMESPACE, definition, widget, check=True)
        assert [entry["assumed"] for entry in predicted["objects"]] == [False, False, True]
        result = world.run(NAMESPACE, definition, widget)
        assert actions(predicted) == actions(result)
        assert Ref("x.org/v1", "Widget", "team", "w") in world.cluster.objects
        assert world.run(NAMESPACE, definition, widget)["changed"] is False

    def test_a_definition_that_is_not_established_ends_the_run_before_its_objects(self, world):
        spec = {"group": "x.org", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"}, "versions": [{"name": "v1"}]}
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.x.org"}, "spec": spec}
        taken = {"conditions": [{"type": "NamesAccepted", "status": "False", "reason": "ListKindConflict", "message": "Widget is taken"}]}
        world.cluster.put(definition)
        world.cluster.set_status(Ref(definition["apiVersion"], "CustomResourceDefinition", "", "widgets.x.org"), taken)
        result = world.run(NAMESPACE, definition, widget(), config("a"))
        assert result["failed"] and "A definition is not established" in result["msg"] and "Widget is taken" in result["msg"]
        assert {ref.kind for ref in world.cluster.objects} <= {"Namespace", "CustomResourceDefinition", "ConfigMap"}
        assert world.ref("ConfigMap", "a") not in world.cluster.objects

    def test_a_custom_resource_with_and_without_its_namespace_is_declared_twice(self, world):
        world.cluster.custom[("x.org/v1", "Widget")] = Resource("widgets", True)
        widget = {"apiVersion": "x.org/v1", "kind": "Widget", "metadata": {"name": "w"}}
        result = world.run(NAMESPACE, widget, {**widget, "metadata": {"name": "w", "namespace": "team"}})
        assert result["problems"] == ["manifests[2]: Widget team/w is declared twice, first in manifests[1]."]

    def test_an_unknown_kind_names_the_nearest(self, world):
        world.cluster.custom[("x.org/v1", "Widget")] = Resource("widgets", True)
        result = world.run(NAMESPACE, {"apiVersion": "x.org/v1", "kind": "Wigdet", "metadata": {"name": "w"}})
        assert "manifests[1]: the server has no kind Wigdet in x.org/v1; did you mean Widget?" in result["msg"]

    @pytest.mark.parametrize("request_", [("apply", "slipway-set", 2), ("get", "web", 2)], ids=["record", "look"])
    def test_an_error_after_the_writes_does_not_hide_them(self, world, request_):
        """Of the record's last write, and of a look while waiting."""
        seen = []

        def fail(verb, ref):
            if (verb, getattr(ref, "name", "")) == request_[:2]:
                seen.append(verb)
                if len(seen) >= request_[2]:
                    raise ClusterError("Cannot: no")

        world.run(NAMESPACE, config("old"))
        world.cluster.fail = fail
        world.cluster.forbidden = {("list", "Deployment")}
        result = world.run(NAMESPACE, config("a"), deployment(), wait=True, wait_timeout=5)
        assert result["failed"] and result["changed"] and "no" in result["msg"]
        assert actions(result)["ConfigMap/a"] == "created"

    def test_an_account_that_may_only_write_waits_with_what_the_write_told(self, world):
        world.run(NAMESPACE, config("old"))
        world.cluster.forbidden = {("list", "Deployment"), ("get", "Deployment")}
        result = world.run(NAMESPACE, deployment(), wait=True, wait_timeout=5)
        assert result["failed"] and "objects are not ready" in result["msg"]
        assert actions(result)["Deployment/web"] == "created"


class TestLostAnswers:
    """Each write is answered at the second asking only."""

    def test_what_was_made_is_told_as_created(self):
        world = World(Forgetful)
        world.cluster.put(NAMESPACE)
        made = world.run(config("a", k="v"), secrets=[{"name": "pw", "generate": [{"key": "k"}]}])
        assert actions(made) == {"ConfigMap/a": "created", "Secret/pw": "created"}
        assert not any(entry["assumed"] for entry in made["objects"])
        assert world.run(config("a", k="v"), secrets=[{"name": "pw", "generate": [{"key": "k"}]}])["changed"] is False

    def test_a_secret_that_somebody_else_made_meanwhile_is_not_ours(self, world):
        world.cluster.put(NAMESPACE)
        world.run(config("a"))

        def fail(verb, ref):
            if verb == "create":
                world.cluster.put({**secret("pw"), "metadata": {"name": "pw", "namespace": "team"}})

        world.cluster.fail = fail
        result = world.run(config("a"), secrets=[{"name": "pw", "generate": [{"key": "k"}]}])
        assert actions(result)["Secret/pw"] == "unchanged"

    def test_what_kubectl_applied_is_taken_over(self):
        world = World(Forgetful)
        world.cluster.put(NAMESPACE)
        world.cluster.put({**config("a", k="v"), "metadata": {"name": "a", "namespace": "team"}}, "kubectl-client-side-apply")
        assert actions(world.run(config("a", k="w"))) == {"ConfigMap/a": "updated"}
        assert world.data("a") == {"k": "w"}


class TestPrune:
    def test_what_is_no_longer_declared_goes_and_data_stays(self, world):
        world.run(NAMESPACE, config("a"), config("b"), claim(), deployment())
        result = world.run(NAMESPACE, config("a"))
        assert actions(result) == {
            "Namespace/team": "unchanged",
            "ConfigMap/a": "unchanged",
            "ConfigMap/b": "deleted",
            "Deployment/web": "deleted",
            "PersistentVolumeClaim/data": "kept",
        }
        assert world.ref("PersistentVolumeClaim", "data") in world.cluster.objects

    def test_data_that_is_named_goes(self, world):
        world.run(NAMESPACE, config("a"), claim())
        assert actions(world.run(NAMESPACE, config("a"), delete_data=["PersistentVolumeClaim/data"]))["PersistentVolumeClaim/data"] == "deleted"

    def test_check_mode_names_the_same_and_deletes_nothing(self, world):
        world.run(NAMESPACE, config("a"), config("b"))
        predicted = world.run(NAMESPACE, config("a"), check=True)
        assert world.ref("ConfigMap", "b") in world.cluster.objects
        assert actions(predicted) == actions(world.run(NAMESPACE, config("a")))

    def test_what_only_bears_the_label_is_not_ours(self, world):
        world.run(NAMESPACE, config("a"))
        labels = world.cluster.objects[world.ref("ConfigMap", "a")]["metadata"]["labels"]
        world.cluster.put({**config("copy"), "metadata": {"name": "copy", "namespace": "team", "labels": labels}}, "endpoint-controller")
        assert "ConfigMap/copy" not in actions(world.run(NAMESPACE, config("a")))

    def test_no_objects_are_refused(self, world):
        result = world.run()
        assert result["failed"] and "state: absent" in result["msg"]

    def test_an_implicit_cluster_is_refused(self, world):
        world.cluster.explicit = False
        result = world.run(NAMESPACE, config("a"))
        assert result["failed"] and "K8S_AUTH_KUBECONFIG" in result["msg"]
        assert not world.run(NAMESPACE, config("a"), prune=False).get("failed")

    def test_absent_removes_the_set_and_its_record_but_not_data(self, world):
        world.run(NAMESPACE, config("a"), deployment())
        result = world.run(state="absent")
        assert actions(result) == {"ConfigMap/a": "deleted", "Deployment/web": "deleted"}
        assert list(world.cluster.objects) == [Ref("v1", "Namespace", "", "team")]
        assert world.run(state="absent")["changed"] is False

    def test_absent_in_check_mode_names_the_same_and_leaves_all_with_the_record(self, world):
        world.run(NAMESPACE, config("a"))
        before = dict(world.cluster.objects)
        predicted = world.run(state="absent", check=True)
        assert world.cluster.objects == before
        assert actions(predicted) == actions(world.run(state="absent"))

    def test_what_cannot_be_deleted_fails_and_goes_the_next_time(self, world):
        world.run(NAMESPACE, config("a"), config("b"), config("c"))
        world.cluster.fail = lambda verb, ref: fail_with("Cannot delete ConfigMap team/b: no") if (verb, getattr(ref, "name", "")) == ("delete", "b") else None
        result = world.run(NAMESPACE, config("a"))
        assert result["failed"] and "Cannot delete ConfigMap team/b: no (no longer declared: " in result["msg"]
        assert actions(result)["ConfigMap/c"] == "deleted"
        world.cluster.fail = lambda verb, ref: None
        assert actions(world.run(NAMESPACE, config("a"))) == {"Namespace/team": "unchanged", "ConfigMap/a": "unchanged", "ConfigMap/b": "deleted"}

    def test_what_an_account_may_not_list_is_pruned_by_one_that_may(self, world):
        world.run(NAMESPACE, config("a"), config("b"), secret("s", p="w"))
        world.cluster.forbidden = {("list", "Secret")}
        assert actions(world.run(NAMESPACE, config("a"))) == {"Namespace/team": "unchanged", "ConfigMap/a": "unchanged", "ConfigMap/b": "deleted"}
        world.cluster.forbidden = set()
        assert actions(world.run(NAMESPACE, config("a")))["Secret/s"] == "deleted"

    def test_a_kind_that_is_no_longer_among_the_members_is_no_longer_asked_for(self, world):
        world.run(NAMESPACE, config("a"), secret("s", p="w"))
        world.run(NAMESPACE, config("a"))
        world.run(NAMESPACE, config("a"))
        assert {source.kind for verb, source in world.cluster.log if verb == "list"} == {"ConfigMap"}

    def test_absent_keeps_a_generated_password_until_it_is_named(self, world):
        secrets = [{"name": "pw", "generate": [{"key": "password", "length": 16}]}]
        world.run(NAMESPACE, claim(), secrets=secrets)
        assert actions(world.run(state="absent")) == {"Secret/pw": "kept", "PersistentVolumeClaim/data": "kept"}
        named = ["Secret/pw", "PersistentVolumeClaim/data", "Namespace/team"]
        assert set(actions(world.run(state="absent", delete_data=named)).values()) == {"deleted"}
        assert world.cluster.objects == {}

    @pytest.mark.parametrize("check", [True, False])
    def test_a_namespace_takes_nothing_with_it_that_nobody_named(self, world, check):
        secrets = [{"name": "pw", "generate": [{"key": "password", "length": 16}]}]
        world.run(NAMESPACE, claim(), config("a"), secrets=secrets)
        world.cluster.put({**claim("other"), "metadata": {"name": "other", "namespace": "team"}}, "somebody")
        world.cluster.put({**claim("far"), "metadata": {"name": "far", "namespace": "elsewhere"}}, "somebody")
        result = world.run(state="absent", delete_data=["Namespace/team"], check=check)
        assert [problem.split(" would take ")[1] for problem in result["problems"][:-1]] == [
            f"{one} with it, which is not named." for one in ("PersistentVolumeClaim/team/data", "PersistentVolumeClaim/team/other", "Secret/team/pw")
        ]
        assert result["failed"] and world.cluster.writes() == []
        every = ["Namespace/team", "PersistentVolumeClaim/team/data", "PersistentVolumeClaim/other", "Secret/pw"]
        gone = ("Namespace/team", "PersistentVolumeClaim/data", "Secret/pw", "ConfigMap/a")
        assert actions(world.run(state="absent", delete_data=every, check=check)) == dict.fromkeys(gone, "deleted")

    def test_a_short_name_is_of_the_sets_own_namespace(self, world):
        elsewhere = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}}
        world.run(NAMESPACE, elsewhere, claim(), {**claim(), "metadata": {"name": "data", "namespace": "elsewhere"}})
        told = world.run(state="absent", delete_data=["PersistentVolumeClaim/data"])["objects"]
        assert {entry["namespace"]: entry["action"] for entry in told} == {"team": "deleted", "elsewhere": "kept"}
        assert actions(world.run(state="absent", delete_data=["PersistentVolumeClaim/elsewhere/data"])) == {"PersistentVolumeClaim/data": "deleted"}

    def test_a_definition_whose_names_are_no_mapping_is_the_servers_to_refuse(self, world):
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a.b"}, "spec": {"names": "x"}}
        assert world.run(NAMESPACE, definition, check=True)["changed"]

    def test_no_record_is_written_into_a_namespace_that_goes(self, world):
        far = {**claim("far"), "metadata": {"name": "far", "namespace": "elsewhere"}}
        elsewhere = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}}
        world.run(NAMESPACE, elsewhere, far, config("a"))
        assert actions(world.run(state="absent", delete_data=["Namespace/team"])) == {
            "Namespace/team": "deleted", "ConfigMap/a": "deleted", "PersistentVolumeClaim/far": "kept"
        }  # fmt: skip
        assert [entry for entry in world.cluster.writes() if entry[0] == "apply"] == []

    def test_a_definition_goes_only_when_it_is_named_since_all_objects_of_its_kind_go_with_it(self, world):
        spec = {"group": "x.org", "names": {"kind": "Widget", "plural": "widgets"}, "scope": "Namespaced", "versions": [{"name": "v1"}]}
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.x.org"}, "spec": spec}
        world.run(NAMESPACE, definition, config("a"))
        assert actions(world.run(NAMESPACE, config("a")))["CustomResourceDefinition/widgets.x.org"] == "kept"
        assert actions(world.run(state="absent"))["CustomResourceDefinition/widgets.x.org"] == "kept"
        named = world.run(state="absent", delete_data=["CustomResourceDefinition/widgets.x.org"])
        assert actions(named) == {"CustomResourceDefinition/widgets.x.org": "deleted"}

    @pytest.mark.parametrize("recorded", [True, False])
    def test_any_data_can_be_named_also_where_the_record_is_gone(self, world, recorded):
        world.cluster.custom[("x.org/v1", "Widget")] = Resource("widgets", True)
        stateful = {**deployment("db"), "kind": "StatefulSet"}
        stateful["metadata"] = {"name": "db", "annotations": {"slipway.mlops/apply": "create_only"}}
        world.run(NAMESPACE, stateful, widget(policy="create_only"))
        if not recorded:
            world.cluster.drop(world.ref("ConfigMap", "slipway-set"))
        result = world.run(state="absent", delete_data=["StatefulSet/db", "Widget/w", "Nothing/x"])
        assert not result.get("failed"), result
        assert actions(result) == {"StatefulSet/db": "deleted", **({"Widget/w": "deleted"} if recorded else {})}

    @pytest.mark.parametrize("pruned", [True, False])
    def test_an_operator_outlives_the_custom_resources_whose_finalizers_it_takes_off(self, world, pruned):
        world.cluster.custom[("x.org/v1", "Widget")] = Resource("widgets", True)
        world.run(NAMESPACE, config("a"), deployment("operator"), widget(finalizers=["x.org/clean"]))
        operator, ref = world.ref("Deployment", "operator", "apps/v1"), world.ref("Widget", "w", "x.org/v1")

        def operate():
            assert operator in world.cluster.objects, "the operator is gone"
            world.cluster.drop(ref)

        world.clock.at(world.clock.now() + 7, operate)
        options = {"wait": True, "wait_timeout": 60}
        result = world.run(NAMESPACE, config("a"), **options) if pruned else world.run(state="absent", **options)
        assert not result.get("failed"), result
        assert operator not in world.cluster.objects and ref not in world.cluster.objects

    def test_nothing_goes_before_a_custom_resource_that_stays(self, world):
        world.cluster.custom[("x.org/v1", "Widget")] = Resource("widgets", True)
        world.run(NAMESPACE, deployment("operator"), widget(finalizers=["x.org/clean"]))
        result = world.run(state="absent", wait=True, wait_timeout=40)
        assert result["failed"] and "Widget team/w is being deleted, held by x.org/clean" in result["msg"]
        assert actions(result) == {"Widget/w": "deleted"}
        assert world.ref("Deployment", "operator", "apps/v1") in world.cluster.objects
        world.cluster.drop(world.ref("Widget", "w", "x.org/v1"))
        assert actions(world.run(state="absent")) == {"Deployment/operator": "deleted"}


class TestSecrets:
    def test_generated_once_and_never_again(self, world):
        secrets = [{"name": "pw", "generate": [{"key": "password", "length": 20}]}]
        world.run(NAMESPACE, secrets=secrets)
        first = world.data("pw", "Secret")
        assert len(base64.b64decode(first["password"])) == 20
        assert world.run(NAMESPACE, secrets=secrets)["changed"] is False
        assert world.data("pw", "Secret") == first

    def test_copied_ones_follow_their_source_and_are_never_shown(self, world, tmp_path):
        path = tmp_path / "auth.json"
        path.write_text("canary-one")
        secrets = [{"name": "reg", "copy": [{"key": "auth", "file": str(path)}, {"key": "token", "env": "TOKEN"}]}]
        world.run(NAMESPACE, secrets=secrets)
        assert base64.b64decode(world.data("reg", "Secret")["token"]) == b"tok-12345"
        path.write_text("canary-two")
        result = world.run(NAMESPACE, secrets=secrets, diff=True)
        assert actions(result)["Secret/reg"] == "updated"
        shown = repr(result) + repr(world.lines)
        assert "canary" not in shown and base64.b64encode(b"canary-two").decode() not in shown and "tok-12345" not in shown
        assert "auth" in result["diff"][0]["before"] and result["diff"][0]["before"] != result["diff"][0]["after"]

    def test_all_that_is_wrong_is_told_at_once(self, world):
        result = world.run(
            NAMESPACE,
            {"apiVersion": "v1", "kind": "Pod", "metadata": {}},
            secrets=[{"name": "Bad"}, {"name": "x", "copy": [{"key": "a", "env": "NOPE"}, {"key": "a", "file": "/nope"}]}],
            name="Set",
        )
        assert len(result["problems"]) == 7
        assert world.cluster.log == []

    def test_what_the_server_would_refuse_in_mid_apply_is_refused_before(self, world):
        result = world.run(
            NAMESPACE,
            secrets=[
                {"name": "a", "namespace": "Other", "generate": [{"key": "pass word"}]},
                {"name": "b", "labels": {"tier": 1}, "copy": [{"key": "k", "env": "TOKEN"}]},
            ],
        )
        assert result["problems"] == [
            "secrets[0]: metadata.namespace \"Other\" is not a DNS label (letters a-z, digits and '-', beginning and ending with a letter or digit).",
            'secrets[0]: data: "pass word" is not a valid key: letters, digits, "-", "_", ".".',
            'secrets[1]: metadata.labels["tier"] is a number, not text; write it in quotes ("1").',
        ]
        assert world.cluster.log == []

    def test_what_the_task_says_itself_is_no_secret_and_numbers_stay_numbers(self, world):
        held = secret("postgresql", user="team", database="postgres", number="123", password="hunter2", kind="ConfigMap")
        result = world.run(NAMESPACE, held, config("a", k="v"), diff=True)
        assert actions(result) == {"Namespace/team": "created", "Secret/postgresql": "created", "ConfigMap/a": "created"}
        assert {entry["namespace"] for entry in result["objects"]} == {"", "team"}
        assert world.lines[0].startswith("set: ") and "team/ConfigMap a: created" in world.lines
        result = censored({"requests": 123, "port": 1234, "msg": "hunter2 is 123", "list": ["hunter2", True, None]}, {"hunter2", "123", "hunter"})
        assert result == {"requests": 123, "port": 1234, "msg": "******** is ********", "list": ["VALUE_SPECIFIED_IN_NO_LOG_PARAMETER", True, None]}

    def test_a_credential_is_hidden_whatever_it_is_called_like(self, world):
        given = {"users": [{"name": "u", "user": {"token": "hunter2"}}]}
        result = world.run(NAMESPACE, config("hunter2"), config("b", k="v"), kubeconfig=given)
        assert "hunter2" not in repr(result) + repr(world.lines)

    def test_base64_with_line_breaks_is_written_once_and_censored(self, world):
        text = base64.b64encode(b"hunter2\n").decode() + "\n"
        held = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": text}}
        world.run(NAMESPACE, held)
        assert world.data("s", "Secret") == {"k": text.strip()}
        world.cluster.fail = lambda verb, ref: fail_with("hunter2 is bad") if (verb, ref.kind) == ("list", "Secret") else None
        result = world.run(NAMESPACE, held)
        assert result["failed"] and "is bad" in result["msg"] and "hunter2" not in repr(result)

    @pytest.mark.parametrize("content", ["hunter2\nhunter2", "hunter2" * 40, "hunter2\0", '{"auths": {"r.io": {"auth": "hunter2"}}}'])
    def test_content_where_a_file_belongs_is_not_repeated(self, world, content):
        result = world.run(NAMESPACE, secrets=[{"name": "x", "copy": [{"key": "a", "file": content}]}])
        assert result["failed"] and "cannot read what is given, which is no path" in result["msg"] and "hunter2" not in repr(result)

    @pytest.mark.parametrize("source", [{}, {"file": "/etc/hostname", "env": "TOKEN"}], ids=["none", "both"])
    def test_a_copy_has_one_source(self, world, source):
        result = world.run(NAMESPACE, secrets=[{"name": "x", "copy": [{"key": "a", **source}]}])
        assert result["failed"] and "give either `file` or `env`" in result["msg"] and world.cluster.log == []

    @pytest.mark.parametrize("part", [{"generate": [{"key": "k"}]}, {"copy": [{"key": "k", "env": "TOKEN"}]}], ids=["generate", "copy"])
    def test_two_entries_of_one_name_are_refused(self, world, part):
        result = world.run(NAMESPACE, secrets=[{"name": "a", **part}, {"name": "a", "namespace": "team", **part}])
        assert result["problems"] == ["secrets[1]: Secret team/a is also in secrets[0]; give one entry all its keys."]


class TestOnce:
    def complete(self, world, ref, kind="Complete"):
        ended = {"completionTime": "2026-01-02T03:04:05Z"} if kind == "Complete" else {}
        world.cluster.set_status(ref, {"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded"}], **ended})

    def ref(self, world):
        return next(ref for ref in world.cluster.objects if ref.kind == "Job")

    def test_a_job_runs_once_per_content_also_when_it_is_gone(self, world):
        world.clock.at(5.0, lambda: self.complete(world, self.ref(world)))
        first = world.run(NAMESPACE, job(), wait=True, wait_timeout=60)
        assert first["changed"] and not first.get("failed"), first
        world.cluster.drop(self.ref(world))
        for wait in (True, False):
            again = world.run(NAMESPACE, job(), wait=wait, wait_timeout=60)
            assert again["changed"] is False and world.cluster.writes() == []
            assert [(entry["ready"], entry["reason"]) for entry in again["objects"][1:]] == [(True, "ran to its end at 2026-01-02T03:04:05Z")]
        other = world.run(NAMESPACE, job(image="x:2"))
        assert [entry["action"] for entry in other["objects"]] == ["unchanged", "created"]

    def test_a_failed_job_fails_the_call_and_runs_again_next_time(self, world):
        world.clock.at(5.0, lambda: self.complete(world, self.ref(world), "Failed"))
        result = world.run(NAMESPACE, job(), wait=True, wait_timeout=60)
        assert result["failed"] and "BackoffLimitExceeded" in result["msg"]
        uid = world.cluster.objects[self.ref(world)]["metadata"]["uid"]
        assert [(entry["action"], entry["assumed"]) for entry in world.run(NAMESPACE, job(), check=True)["objects"][1:]] == [("created", True)]
        assert world.cluster.objects[self.ref(world)]["metadata"]["uid"] == uid
        world.clock.at(world.clock.now() + 5.0, lambda: self.complete(world, self.ref(world)))
        assert not world.run(NAMESPACE, job(), wait=True, wait_timeout=60).get("failed")
        assert world.cluster.objects[self.ref(world)]["metadata"]["uid"] != uid


class TestWait:
    READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}

    def test_it_ends_when_ready_with_a_line_for_each_change(self, world):
        ref = world.ref("Deployment", "web", "apps/v1")
        world.clock.at(4.0, lambda: world.cluster.set_status(ref, {**self.READY, "availableReplicas": 0}))
        world.clock.at(9.0, lambda: world.cluster.set_status(ref, self.READY))
        result = world.run(NAMESPACE, deployment(), wait=True, wait_timeout=60)
        assert not result.get("failed")
        assert result["seconds"] == 9.0
        assert [line for line in world.lines if "available" in line] == ["team/Deployment web: 0/1 available", "team/Deployment web: 1/1 available"]

    def test_the_deadline_names_what_is_missing(self, world):
        result = world.run(NAMESPACE, deployment(), wait=True, wait_timeout=30)
        assert result["failed"] and result["changed"]
        assert "Deployment team/web" in result["msg"]
        assert 30.0 <= result["seconds"] < 31.0

    def test_an_object_deleted_meanwhile_is_absent(self, world):
        world.clock.at(3.0, lambda: world.cluster.drop(world.ref("Deployment", "web", "apps/v1")))
        result = world.run(NAMESPACE, deployment(), wait=True, wait_timeout=30)
        assert result["failed"] and "absent" in result["msg"]


class Killed(BaseException):
    """The process is gone at this request."""


class TestKilledAnywhere:
    OLD = [NAMESPACE, *[config(f"old{index}", k="v") for index in range(6)], *[config(f"both{index}", k="v") for index in range(6)]]
    NEW = [
        NAMESPACE,
        *[config(f"both{index}", k="w") for index in range(6)],
        deployment(),
        job(policy="set"),
        claim(),
        *[secret(f"new{index}", p="value") for index in range(3)],
    ]

    def test_the_next_run_converges_whatever_request_was_the_last(self):
        reference = World()
        reference.run(*self.OLD)
        reference.run(*self.NEW)
        wanted = sorted(map(str, reference.cluster.objects))
        total = len(reference.cluster.log)
        assert total > 25
        for last in range(total):
            world = World()
            world.run(*self.OLD)
            self.kill_after(world, last)
            with pytest.raises(Killed):
                world.run(*self.NEW)
            world.cluster = world.cluster.as_left()
            assert not world.run(*self.NEW).get("failed")
            assert sorted(map(str, world.cluster.objects)) == wanted, f"killed at request {last}"
            assert world.run(*self.NEW)["changed"] is False

    def test_killed_and_then_another_set_of_objects_prunes_what_the_killed_run_made(self):
        total = 30
        for last in range(total):
            world = World()
            self.kill_after(world, last)
            with contextlib.suppress(Killed):
                world.run(*self.NEW)
            world.cluster = world.cluster.as_left()
            world.run(NAMESPACE, config("only", k="v"), delete_data=["PersistentVolumeClaim/data"])
            names = {ref.name for ref in world.cluster.objects}
            assert names == {"team", "only", "slipway-set"}, f"killed at request {last}"

    @staticmethod
    def kill_after(world, last):
        sent = []

        def fail(verb, ref):
            sent.append(verb)
            if len(sent) > last:
                raise Killed

        world.cluster.fail = fail
