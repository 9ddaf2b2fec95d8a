# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Declared against live, guided by managedFields. The objects are as a real 1.35 API server stored them (shortened)."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._applyset import SetName, read_record, record_object, record_of, stamp
from ansible_collections.slipway.mlops.plugins.module_utils._manifest import read
from ansible_collections.slipway.mlops.plugins.module_utils._plan import changed, in_place, migration, owned, stranger

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


def test_kubectls_ownership_becomes_ours_with_ours_kept():
    live = stored()
    theirs = {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    live["metadata"]["managedFields"].append(theirs)
    replace, guard = migration(live, OWNER.manager)
    after = {"metadata": {"managedFields": replace["value"]}}
    assert set(owned(after, OWNER.manager)["f:spec"]) == {"f:replicas", "f:template", "f:volumeClaimTemplates", "f:paused"}
    assert [entry["manager"] for entry in replace["value"]] == ["kube-controller-manager", OWNER.manager]
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
