# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Declared against live, guided by managedFields. The objects are as a real 1.35 API server stored them (shortened)."""

from __future__ import annotations

import copy
import json

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._applyset import SetName, read_record, record_object, record_of, stamp
from ansible_collections.slipway.mlops.plugins.module_utils._manifest import read
from ansible_collections.slipway.mlops.plugins.module_utils._plan import after_migration, changed, in_place, migration, owned, stranger

OWNER = SetName("shop", "team")

DECLARED = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db"},
    "spec": {
        "replicas": 0,
        "template": {
            "spec": {
                "hostNetwork": False,
                "containers": [{"name": "db", "image": "x:1", "args": ["a"], "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "1000m"}}}],
            }
        },
        "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}],
    },
}


def declared(obj=None):
    return stamp(read([DECLARED if obj is None else obj], "team")[0], OWNER)


def stored():
    """What the server keeps of DECLARED: with defaults, quantities in canonical form, and who owns what."""
    item = declared()
    port = {".": {}, "f:containerPort": {}}
    container = {
        ".": {},
        "f:name": {},
        "f:image": {},
        "f:args": {},
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': port},
        "f:resources": {"f:requests": {"f:cpu": {}}},
    }
    spec = {
        "f:replicas": {},
        "f:template": {"f:spec": {"f:hostNetwork": {}, "f:containers": {'k:{"name":"db"}': container}}},
        "f:volumeClaimTemplates": {},
    }
    marks = {"f:labels": {"f:applyset.kubernetes.io/part-of": {}}, "f:annotations": {"f:slipway.mlops/declared": {}}}
    live = copy.deepcopy(item.body)
    live["metadata"].update(uid="u", resourceVersion="7", generation=1)
    live["metadata"]["managedFields"] = [
        {"manager": OWNER.manager, "operation": "Apply", "fieldsV1": {"f:metadata": marks, "f:spec": spec}},
        {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
    ]
    template = live["spec"]["template"]["spec"]
    del template["hostNetwork"]  # false is not stored
    template["containers"][0].update(terminationMessagePath="/dev/termination-log", resources={"requests": {"cpu": "1"}})
    template["containers"][0]["ports"][0]["protocol"] = "TCP"
    live["spec"]["volumeClaimTemplates"] = [
        {
            "metadata": {"name": "d"},
            "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"},
        }
    ]
    live["status"] = {"replicas": 0}
    return live


def container(live):
    return live["spec"]["template"]["spec"]["containers"][0]


def fields(live):
    return live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


def test_defaults_quantities_and_what_is_not_stored_are_in_place():
    assert in_place(declared(), stored(), OWNER.manager)


NOT_IN_PLACE = {
    "another declaration": lambda live: live["metadata"]["annotations"].update({"slipway.mlops/declared": "x"}),
    "our label is gone": lambda live: live["metadata"]["labels"].clear(),
    "another value": lambda live: container(live).update(image="x:2"),
    "another quantity": lambda live: container(live)["resources"]["requests"].update(cpu="2"),
    "a longer atomic list": lambda live: container(live)["args"].append("b"),
    "a value inside an atomic list": lambda live: live["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"].update(storage="2Gi"),
    "a field that is no longer ours": lambda live: fields(live).pop("f:replicas"),
    "a field that only we own still, and no longer declare": lambda live: fields(live).update({"f:serviceName": {}}),
    "the element is gone": lambda live: live["spec"]["template"]["spec"].update(containers=[]),
    "nothing is ours": lambda live: live["metadata"].update(managedFields=[]),
    "ours by update only": lambda live: live["metadata"]["managedFields"][0].update(operation="Update"),
    "hostNetwork was switched on": lambda live: live["spec"]["template"]["spec"].update(hostNetwork=True),
}


@pytest.mark.parametrize("harm", NOT_IN_PLACE.values(), ids=NOT_IN_PLACE.keys())
def test_any_doubt_is_not_in_place(harm):
    live = stored()
    harm(live)
    assert not in_place(declared(), live, OWNER.manager)


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda live: live["status"].update(replicas=5), False),
        (lambda live: live["metadata"].update(resourceVersion="9", generation=4), False),
        (lambda live: live["metadata"]["annotations"].update({"slipway.mlops/declared": "other"}), False),
        (lambda live: container(live).update(terminationMessagePath="/elsewhere"), False),
        (lambda live: container(live).update(image="x:2"), True),
        (lambda live: live["spec"].pop("replicas"), True),
    ],
    ids=["status", "version", "our mark", "a field of nobody", "a value", "a removal"],
)
def test_only_declared_fields_count_as_changes(harm, expected):
    after = stored()
    harm(after)
    assert changed(stored(), after, OWNER.manager) is expected


def test_what_others_add_to_a_keyed_list_is_no_change():
    after = stored()
    after["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "y:1"})
    assert in_place(declared(), after, OWNER.manager) and not changed(stored(), after, OWNER.manager)


def test_what_we_own_of_a_subresource_is_no_declaration():
    live = stored()
    live["metadata"]["managedFields"].insert(0, {"manager": OWNER.manager, "operation": "Apply", "subresource": "scale", "fieldsV1": {"f:spec": {}}})
    assert in_place(declared(), live, OWNER.manager)


def with_finalizers(live, ours):
    """A ConfigMap that declares x.org/a and x.org/b: these are there, and we own those."""
    item = declared({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "finalizers": ["x.org/a", "x.org/b"]}})
    stands = copy.deepcopy(item.body)
    stands["metadata"]["finalizers"] = live
    held = {"f:finalizers": {".": {}, **{f'v:"{name}"': {} for name in ours}}}
    marks = {"f:labels": {"f:applyset.kubernetes.io/part-of": {}}, "f:annotations": {"f:slipway.mlops/declared": {}}}
    stands["metadata"]["managedFields"] = [{"manager": OWNER.manager, "operation": "Apply", "fieldsV1": {"f:metadata": {**marks, **held}}}]
    return item, stands


BOTH = ["x.org/a", "x.org/b"]


@pytest.mark.parametrize(
    ("live", "ours", "expected"),
    [
        (BOTH, BOTH, True),
        (["x.org/b", "theirs", "x.org/a"], BOTH, True),
        (["x.org/a"], BOTH, False),
        ([], BOTH, False),
        (BOTH, ["x.org/a"], False),
        ([*BOTH, "x.org/c"], [*BOTH, "x.org/c"], False),
    ],
    ids=["all", "others beside", "one is gone", "all are gone", "one is another's", "one is no longer declared"],
)
def test_each_element_of_a_set_is_there_and_ours(live, ours, expected):
    item, stands = with_finalizers(live, ours)
    assert in_place(item, stands, OWNER.manager) is expected


@pytest.mark.parametrize(("after", "expected"), [([*BOTH, "else"], False), (["x.org/a", "theirs"], True), (BOTH, False)])
def test_only_our_elements_of_a_set_count_as_changes(after, expected):
    assert changed(with_finalizers([*BOTH, "theirs"], BOTH)[1], with_finalizers(after, BOTH)[1], OWNER.manager) is expected


@pytest.mark.parametrize(("wanted", "live", "expected"), [(True, True, True), (True, 1, False), (True, "true", False), (1, True, False), ("1", 1, True)])
def test_a_boolean_equals_nothing_but_itself(wanted, live, expected):
    item = declared({"apiVersion": "x.org/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"on": wanted}})
    stands = copy.deepcopy(item.body)
    stands["spec"]["on"] = live
    marks = {"f:labels": {"f:applyset.kubernetes.io/part-of": {}}, "f:annotations": {"f:slipway.mlops/declared": {}}}
    entry = {"manager": OWNER.manager, "operation": "Apply", "fieldsV1": {"f:metadata": marks, "f:spec": {"f:on": {}}}}
    stands["metadata"]["managedFields"] = [entry]
    assert in_place(item, stands, OWNER.manager) is expected


def test_what_kubectl_applied_and_nobody_declares_is_foreseen_as_gone():
    """Elements of lists and of sets, single fields, and whole parts of the object; not what the server or another put beside them."""
    applied = {
        "metadata": {"finalizers": ["x.org/a"]},
        "data": {"k": "v"},
        "spec": {"paused": True, "containers": [{"name": "a", "tty": True}, {"name": "b", "image": "y"}]},
    }
    lists = {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:tty": {}}, 'k:{"name":"b"}': {".": {}, "f:name": {}, "f:image": {}, "f:pullPolicy": {}}}
    theirs = {
        "f:metadata": {"f:finalizers": {".": {}, 'v:"x.org/a"': {}}},
        "f:data": {".": {}, "f:k": {}},
        "f:spec": {"f:paused": {}, "f:replicas": {}, "f:containers": lists},
    }
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(applied)}
    kubectl = {"manager": "kubectl-client-side-apply", "operation": "Update", "fieldsV1": theirs}
    live = {"metadata": {"annotations": annotations, "managedFields": [kubectl]}}
    ours = {"manager": OWNER.manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:containers": {'k:{"name":"a"}': {".": {}, "f:name": {}}}}}}
    dry = {
        "kind": "Widget",
        "metadata": {"name": "p", "uid": "u", "finalizers": ["x.org/a", "theirs"], "managedFields": [kubectl, ours]},
        "data": {"k": "v"},
        "spec": {"paused": True, "replicas": 1, "containers": [{"name": "a", "tty": True}, {"name": "b", "image": "y", "pullPolicy": "Always"}, {"name": "c"}]},
        "status": {"x": 1},
    }
    assert after_migration(live, dry, OWNER.manager) == {
        "kind": "Widget",
        "metadata": {"name": "p", "uid": "u", "finalizers": ["theirs"], "managedFields": [kubectl, ours]},
        "spec": {"replicas": 1, "containers": [{"name": "a"}, {"name": "c"}]},
        "status": {"x": 1},
    }


def test_kubectls_ownership_becomes_ours_with_ours_kept():
    live = stored()
    theirs = {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    operator = {"manager": "operator", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:minReadySeconds": {}}}}
    live["metadata"]["managedFields"] += [theirs, operator]
    replace, guard = migration(live, OWNER.manager)
    after = {"metadata": {"managedFields": replace["value"]}}
    assert set(owned(after, OWNER.manager)["f:spec"]) == {"f:replicas", "f:template", "f:volumeClaimTemplates", "f:paused"}
    assert [entry["manager"] for entry in replace["value"]] == ["kube-controller-manager", "operator", OWNER.manager]
    assert guard == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}
    assert migration(stored(), OWNER.manager) == []


def test_whose_an_object_is():
    assert stranger(stored(), OWNER.id) == ""
    assert "another set (slipway:shop)" in stranger(stored(), SetName("other", "team").id)
    owner = {**stored(), "metadata": {"ownerReferences": [{"controller": True, "kind": "Widget", "name": "w"}]}}
    assert "controller of Widget w" in stranger(owner, OWNER.id)


def test_the_record_says_what_it_was_told_in_the_layout_of_kep_3659():
    items = [item.ref for item in read([DECLARED, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "else"}}], "team")]
    record = record_of(items, {"migrate-1": "2026-01-02T03:04:05Z"}, "team")
    written = record_object(OWNER, record)
    annotations = written["metadata"]["annotations"]
    assert annotations["applyset.kubernetes.io/contains-group-kinds"] == "Secret,StatefulSet.apps"
    assert annotations["applyset.kubernetes.io/additional-namespaces"] == "else"
    assert written["metadata"]["labels"]["applyset.kubernetes.io/id"] == OWNER.id
    assert read_record(written) == record
    assert read_record(None) == record_of([], {}, "team")
    for text, done in (('["migrate-1"]', {"migrate-1": ""}), ("5", {}), ("{", {})):
        assert read_record({"metadata": {"annotations": {"slipway.mlops/done": text}}}).done == done
