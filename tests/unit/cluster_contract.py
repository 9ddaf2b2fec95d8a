# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the rest of the code takes for granted of a Cluster. Run on the fake (tests/unit) and on a real API server (tests/integration/kubernetes).

A class that inherits these tests gives the fixtures `cluster` and `namespace` (existing and empty).
"""

from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _cluster
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Conflict, NotFound, Ref, Source, ref_of
from ansible_collections.slipway.mlops.plugins.module_utils._plan import owned


def config_map(namespace, name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def deployment(namespace, **containers):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": name, "image": image} for name, image in containers.items()]},
            },
        },
    }


class ClusterContract:
    def test_a_missing_object_is_none(self, cluster, namespace):
        assert cluster.get(Ref("v1", "ConfigMap", namespace, "nobody")) is None

    def test_apply_tells_new_from_present(self, cluster, namespace):
        assert cluster.apply(config_map(namespace, a="1"), "m")[1] is True
        assert cluster.apply(config_map(namespace, a="2"), "m")[1] is False

    def test_applying_the_same_again_writes_nothing(self, cluster, namespace):
        first, _new = cluster.apply(config_map(namespace, a="1"), "m")
        again, _new = cluster.apply(config_map(namespace, a="1"), "m")
        assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]

    def test_a_field_left_out_goes_unless_another_manager_applies_it(self, cluster, namespace):
        cluster.apply(config_map(namespace, a="1", b="1"), "m")
        cluster.apply(config_map(namespace, b="1"), "other")
        live, _new = cluster.apply(config_map(namespace, c="1"), "m")
        assert live["data"] == {"b": "1", "c": "1"}

    def test_two_managers_with_another_value_conflict_and_the_message_names_both_sides(self, cluster, namespace):
        cluster.apply(config_map(namespace, a="1"), "first")
        with pytest.raises(Conflict, match=r"\.data\.a.*first.*force_conflicts"):
            cluster.apply(config_map(namespace, a="2"), "second")
        live, _new = cluster.apply(config_map(namespace, a="2"), "second", force=True)
        assert live["data"] == {"a": "2"}
        assert owned(live, "second")["f:data"] == {"f:a": {}}
        assert not owned(live, "first")

    def test_list_elements_merge_by_name(self, cluster, namespace):
        cluster.apply(deployment(namespace, a="x:1", b="x:1"), "m")
        live, _new = cluster.apply(deployment(namespace, a="x:2"), "m")
        assert [(item["name"], item["image"]) for item in live["spec"]["template"]["spec"]["containers"]] == [("a", "x:2")]

    def test_a_dry_run_answers_but_does_not_store(self, cluster, namespace):
        after, new = cluster.apply(config_map(namespace, a="1"), "m", dry_run=True)
        assert new and after["data"] == {"a": "1"}
        assert cluster.get(ref_of(after)) is None

    def test_nothing_is_applied_into_a_namespace_that_is_not_there(self, cluster):
        with pytest.raises(NotFound, match="slipway-nowhere"):
            cluster.apply(config_map("slipway-nowhere", a="1"), "m")

    def test_an_unknown_kind_is_not_found(self, cluster, namespace):
        assert cluster.resource("example.org/v1", "Nope") is None
        with pytest.raises(NotFound, match="no kind Nope"):
            cluster.list("example.org/v1", "Nope", namespace)

    def test_create_refuses_what_exists(self, cluster, namespace):
        cluster.create(config_map(namespace, a="1"), "m")
        with pytest.raises(Conflict):
            cluster.create(config_map(namespace, a="2"), "m")

    def test_delete_takes_exactly_the_object_that_was_seen(self, cluster, namespace):
        first, _new = cluster.apply(config_map(namespace, a="1"), "m")
        ref = ref_of(first)
        assert cluster.delete(ref, "00000000-0000-0000-0000-000000000000") is False
        assert cluster.delete(ref, first["metadata"]["uid"], dry_run=True) is True
        assert cluster.get(ref) is not None
        assert cluster.delete(ref, first["metadata"]["uid"]) is True
        assert cluster.delete(ref, first["metadata"]["uid"]) is False
        assert cluster.get(ref) is None

    def test_lists_select_by_label_and_name_and_can_leave_the_content_out(self, cluster, namespace):
        marked = config_map(namespace, "x", a="1")
        marked["metadata"]["labels"] = {"set": "one"}
        cluster.apply(marked, "m")
        cluster.apply(config_map(namespace, "y", a="1"), "m")
        assert [item["metadata"]["name"] for item in cluster.list("v1", "ConfigMap", namespace, labels="set=one").items] == ["x"]
        assert [item["metadata"]["name"] for item in cluster.list("v1", "ConfigMap", namespace, fields="metadata.name=y").items] == ["y"]
        partial = cluster.list("v1", "ConfigMap", namespace, labels="set=one", metadata_only=True).items[0]
        assert (partial["apiVersion"], partial["kind"]) == ("v1", "ConfigMap")
        assert "data" not in partial and partial["metadata"]["managedFields"]

    def test_a_patch_of_an_older_version_is_a_conflict(self, cluster, namespace):
        first, _new = cluster.apply(config_map(namespace, a="1"), "m")
        cluster.apply(config_map(namespace, a="2"), "m")
        stale = {"op": "replace", "path": "/metadata/resourceVersion", "value": first["metadata"]["resourceVersion"]}
        with pytest.raises(Conflict):
            cluster.patch(ref_of(first), [{"op": "replace", "path": "/data/a", "value": "3"}, stale], "m")

    def test_a_patch_whose_test_fails_changes_nothing(self, cluster, namespace):
        first, _new = cluster.apply(config_map(namespace, a="1"), "m")
        change = {"op": "replace", "path": "/data/a", "value": "2"}
        with pytest.raises(ClusterError) as refused:
            cluster.patch(ref_of(first), [{"op": "test", "path": "/data/a", "value": "other"}, change], "m")
        assert refused.value.status == 422
        assert cluster.get(ref_of(first))["data"] == {"a": "1"}
        passed = cluster.patch(ref_of(first), [{"op": "test", "path": "/data/a", "value": "1"}, change], "m")
        assert passed["data"] == cluster.get(ref_of(first))["data"] == {"a": "2"}

    def test_a_dry_run_of_create_answers_but_does_not_store(self, cluster, namespace):
        made = cluster.create(config_map(namespace, a="1"), "m", dry_run=True)
        assert made["data"] == {"a": "1"} and cluster.get(ref_of(made)) is None
        cluster.create(config_map(namespace, a="1"), "m")
        with pytest.raises(Conflict):
            cluster.create(config_map(namespace, a="1"), "m", dry_run=True)

    def test_a_list_of_several_pages_is_whole_and_trimmed_as_it_comes(self, cluster, namespace, monkeypatch):
        monkeypatch.setattr(_cluster, "PAGE", 2)
        names = [f"p{index}" for index in range(5)]
        for name in names:
            marked = config_map(namespace, name, a="1")
            marked["metadata"]["labels"] = {"set": "pages"}
            cluster.apply(marked, "m")
        found = cluster.list("v1", "ConfigMap", namespace, labels="set=pages", trim=lambda item: item.pop("data"))
        assert [item["metadata"]["name"] for item in found.items] == names
        assert not any("data" in item for item in found.items) and found.version

    def test_what_changes_after_a_list_is_followed(self, cluster, namespace):
        first, _new = cluster.apply(config_map(namespace, "before", a="1"), "m")
        source = Source("v1", "ConfigMap", namespace)
        listing = cluster.list(*source)
        cluster.apply(config_map(namespace, "after", a="1"), "m")
        event = next(cluster.follow({source: listing.version}, 20))
        assert (event.type == "DELETED", ref_of(event.object).name) == (False, "after")
        listing = cluster.list(*source)
        cluster.delete(ref_of(first), first["metadata"]["uid"])
        event = next(cluster.follow({source: listing.version}, 20))
        assert (event.type, ref_of(event.object).name) == ("DELETED", "before")

    def test_the_log_of_a_pod_that_is_not_there_is_an_error(self, cluster, namespace):
        with pytest.raises(NotFound, match="nobody"):
            cluster.logs(namespace, "nobody", "main")
