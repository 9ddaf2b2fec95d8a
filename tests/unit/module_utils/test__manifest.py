# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manifests in, Declared objects out, and one message with everything that is wrong."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._manifest import documents_of, read, secret_values
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused


def config(**metadata):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", **metadata}}


def pod(**container):
    spec = {"containers": [{"name": "c", "image": "x:1", **container}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}


def of_pod(**spec):
    return {**pod(), "spec": {**pod()["spec"], **spec}}


def service(*ports):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": list(ports)}}


def test_quantities_and_labels_that_are_allowed_are_not_refused():
    bounds = [{"requests": {"cpu": "2"}, "limits": {"cpu": 2}}, {"requests": {"cpu": "1500m"}, "limits": {"memory": "1Gi"}}, {"limits": {"cpu": "1"}}]
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1.5Gi"}}, {"name": "w", "hostPath": {"path": "/x"}}]
    taken = [pod(resources=one) for one in bounds] + [of_pod(volumes=volumes, nodeSelector={"gpu": "true", "empty": ""})]
    named = [{**one, "metadata": {"name": f"p{number}", "labels": {"none": None}}} for number, one in enumerate(taken)]
    assert len(read(named, "team")) == 4


def test_ports_that_are_allowed_are_not_refused():
    several = service({"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "targetPort": "dns", "nodePort": 0})
    free = pod(ports=[{"containerPort": 80, "hostPort": 0}])
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}}
    policy["spec"] = {"podSelector": {}, "ingress": [{"ports": [{"port": "http"}, {"port": 53}, {"port": 53}]}]}
    own = {"apiVersion": "example.org/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"ports": [{"port": "0"}, {"containerPort": "x"}]}}
    assert len(read([several, policy, own, free], "team")) == 4


FOREIGN = {
    "apiVersion": "example.org/v1",
    "kind": "Pool",
    "metadata": {"name": "p"},
    "spec": {
        "nodeSelector": "all()",
        "limits": {"cpu": "as much as there is"},
        "requests": {"memory": "2 GB"},
        "capacity": {"pods": {"least": 1}},
        "endpointSelector": {"matchLabels": {"any:io.cilium/app": 1}},
        "template": {"metadata": {"labels": {"a": 1}}},
        "ports": [{"containerPort": "http"}],
    },
}
SELECTOR_SCHEMA = {
    "type": "object",
    "properties": {
        "matchLabels": {"type": "object", "description": "A label map.", "additionalProperties": {"type": "string"}},
        "nodeSelector": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "metadata": {"type": "object", "labels": {"minProperties": 1}},
    },
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "pools.example.org"},
    "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SELECTOR_SCHEMA}}}}]},
}
STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "s"},
    "provisioner": "driver.longhorn.io",
    "parameters": {"nodeSelector": "storage,fast"},
}
NEWER = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": {"name": "m"}}


@pytest.mark.parametrize("document", [FOREIGN, DEFINITION, STORAGE_CLASS, NEWER], ids=lambda document: document["kind"])
def test_what_only_the_server_knows_is_not_refused(document):
    assert len(read([document], "team")) == 1


def test_labels_of_a_custom_resource_itself_are_judged():
    assert problems([{**FOREIGN, "metadata": {"name": "p", "labels": {"a": 1}}}]) == [
        'manifests[0]: metadata.labels["a"] is a number, not text; write it in quotes ("1").'
    ]


def problems(manifests, **keywords):
    with pytest.raises(Refused) as refused:
        read(manifests, "team", **keywords)
    return refused.value.problems


UNSAYABLE = (
    "manifests[0]: holds something that JSON cannot say (a date, a set, binary data, .nan, a key that is no text; quote it), or a byte that is not UTF-8."
)
ONE = [
    # what is given, the one problem
    ("kind: A\nkind: B\n", 'document 1, line 2: key "kind" is given twice (first in line 1).'),
    ("kind: A\n\tx: 1\n", "document 1, line 2: found a tab character that violates indentation; YAML is indented with spaces, not tabs."),
    ("a:\n\t- 1\n", "document 1, line 2: found character that cannot start any token; YAML is indented with spaces, not tabs."),
    ("a: [1\n", "document 1, line 2: did not find expected ',' or ']'."),
    ("---\n---\nb: {c: 1\n", "document 2, line 4: did not find expected ',' or '}'."),
    ([["x"]], "manifests[0][0]: is text, not an object with apiVersion, kind and metadata."),
    ([5], "manifests[0]: is a number, not an object with apiVersion, kind and metadata."),
    ([config(), config()], "manifests[1]: ConfigMap team/a is declared twice, first in manifests[0]."),
    ([{**config(), "metadata": {}}], "manifests[0]: metadata.name is missing."),
    ([config(name=5)], 'manifests[0]: metadata.name is a number, not text; write it in quotes ("5").'),
    ([config(name="Up")], 'manifests[0]: metadata.name "Up" has capital letters.'),
    ([config(generateName="x-")], "manifests[0]: metadata.generateName makes another object on each run; give a metadata.name."),
    (
        [config(namespace="a b")],
        "manifests[0]: metadata.namespace \"a b\" is not a DNS label (letters a-z, digits and '-', beginning and ending with a letter or digit).",
    ),
    ([{**config(namespace="x"), "kind": "Node"}], "manifests[0]: metadata.namespace: a Node lives outside of namespaces; leave it out."),
    ([{**config(), "kind": "Deploymnt", "apiVersion": "apps/v1"}], 'manifests[0]: kind "Deploymnt" is not in apps/v1; did you mean Deployment?'),
    ([{**config(), "kind": "configmap"}], 'manifests[0]: kind "configmap" is not in v1; did you mean ConfigMap?'),
    ([{**config(), "kind": "Deployment"}], "manifests[0]: kind Deployment is not in v1; it is in apps/v1."),
    ([{**config(), "apiVersion": "apps"}], 'manifests[0]: apiVersion "apps" is not a group and a version such as apps/v1.'),
    ([config(labels={"gpu": True})], 'manifests[0]: metadata.labels["gpu"] is a boolean, not text; write it in quotes ("true").'),
    ([config(labels={"a b": "c"})], 'manifests[0]: metadata.labels: the key "a b" has a space.'),
    ([config(labels={"a": "x" * 64})], 'manifests[0]: metadata.labels["a"] is 64 characters long (at most 63).'),
    ([config(annotations={"a": 1})], 'manifests[0]: metadata.annotations["a"] is a number, not text; write it in quotes ("1").'),
    ([{**config(), "data": {"a": 1}}], "manifests[0]: data.a is a number; quote it."),
    ([{**config(), "data": {"a b": "1"}}], 'manifests[0]: data: "a b" is not a valid key: letters, digits, "-", "_", ".".'),
    ([{**config(), "kind": "Secret", "data": {"k": "canary!"}}], "manifests[0]: data.k is not base64; plain text goes into stringData."),
    ([pod(resources={"limits": {"memory": "1Gb"}})], 'manifests[0]: spec.containers[0].resources.limits.memory: "1Gb" is not a quantity (did you mean "1G"?).'),
    ([pod(resources={"requests": {"cpu": " 1"}})], 'manifests[0]: spec.containers[0].resources.requests.cpu: " 1" is not a quantity (did you mean "1"?).'),
    ([pod(resources={"requests": {"cpu": "4"}, "limits": {"cpu": 2}})], "manifests[0]: spec.containers[0].resources: requests.cpu 4 is over limits.cpu 2."),
    ([pod(resources={"requests": {"memory": "1e3Mi"}})], 'manifests[0]: spec.containers[0].resources.requests.memory: "1e3Mi" is not a quantity.'),
    ([pod(ports=[{"containerPort": 70000}])], "manifests[0]: spec.containers[0].ports[0].containerPort 70000 is outside 1 to 65535."),
    ([service({"port": 0})], "manifests[0]: spec.ports[0].port 0 is outside 1 to 65535."),
    ([service({"port": 80, "nodePort": "51080-51070"})], "manifests[0]: spec.ports[0].nodePort is text, not a number."),
    ([service({"name": "a", "port": 80}, {"name": "b", "port": 80})], "manifests[0]: spec.ports[1] repeats port 80/TCP of spec.ports[0]."),
    (
        [config(annotations={"slipway.mlops/apply": "onec"})],
        'manifests[0]: metadata.annotations["slipway.mlops/apply"] is "onec"; it can be set, create_only or once.',
    ),
    (
        [config(annotations={"slipway.mlops/apply": "once"})],
        'manifests[0]: metadata.annotations["slipway.mlops/apply"]: once is for Jobs, not for a ConfigMap.',
    ),
    ([{**config(), "metadata": "a"}], "manifests[0]: metadata is missing or has the wrong type."),
    ([{**config(), "metadata": {"name": "a", "labels": "gpu"}}], "manifests[0]: metadata.labels is text, not a mapping."),
    ([{**config(), "data": ["a"]}], "manifests[0]: data is a list, not a mapping."),
    ([of_pod(nodeSelector={"gpu": True})], 'manifests[0]: spec.nodeSelector["gpu"] is a boolean, not text; write it in quotes ("true").'),
    (
        [of_pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "2 GB"}}])],
        'manifests[0]: spec.volumes[0].emptyDir.sizeLimit: "2 GB" is not a quantity (did you mean "2G"?).',
    ),
    (
        [{**service({"port": 80}), "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"selector": {"matchLabels": {"a": 1}}}}],
        'manifests[0]: spec.selector.matchLabels["a"] is a number, not text; write it in quotes ("1").',
    ),
    ("a: !!int x\n", "document 1, line 1: what stands there is no int; quote it if it is text."),
    ("---\n---\na:\n- 0x_\n", "document 2, line 4: what stands there is no int; quote it if it is text."),
    ("a: !!bool x\n", "document 1, line 1: what stands there is no bool; quote it if it is text."),
    ("a: !!timestamp x\n", "document 1, line 1: what stands there is no timestamp; quote it if it is text."),
    ("a: " + "9" * 5000, "document 1, line 1: what stands there is no int; quote it if it is text."),
    ("a: !canary b\n", "document 1, line 1: could not determine a constructor for the tag."),
    ("a: caf\udce9\n", "document 1, character 7 is a byte that is not UTF-8."),
    (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nspec: &a [*a]\n",
        "document 1: is nested more than 200 levels deep, or an alias (*) in it holds itself.",
    ),
    (
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)),
        "document 1, line 1: its aliases (*) stand for more than 1000000 values.",
    ),
    ([{**config(), "spec": json.loads("[" * 300 + "]" * 300)}], "manifests[0]: is nested more than 200 levels deep, or an alias (*) in it holds itself."),
    ([{**config(), "kind": "Secret", "stringData": {"a": "caf\udce9"}}], UNSAYABLE),
    ([{**config(), "spec": float("nan")}], UNSAYABLE),
    ([pod(resources={"limits": {1: 1, "cpu": 1}})], UNSAYABLE),
    ([{**STORAGE_CLASS, "parameters": {1: "a"}}], "manifests[0]: parameters.1: the key is a number; quote it."),
    ([{**config(), "data": {1: "a"}}], "manifests[0]: data.1: the key is a number; quote it."),
    ([{**config(), "data": {"a": "x" * 1_600_000}}], "manifests[0]: is 1.6 MB; the API server's store takes 1.5 MB an object."),
]


@pytest.mark.parametrize(("manifests", "problem"), ONE, ids=[problem[:60] for _given, problem in ONE])
def test_one_problem(manifests, problem):
    assert problems(manifests) == [problem]


def test_what_no_schema_allows_is_left_to_the_server_without_a_traceback():
    assert read([service({"port": 80, "protocol": {}}, {"port": 80, "protocol": ["TCP"]})], "team")
    told = problems([pod(resources={"requests": {"cpu": float("nan")}, "limits": {"cpu": 1}})])
    assert told[0] == "manifests[0]: spec.containers[0].resources.requests.cpu: NaN is not a quantity."


def test_all_problems_at_once_each_with_its_place_and_no_secret():
    text = "apiVersion: v1\nkind: Secret\nmetadata: {name: S, labels: {a: yes}}\ndata: {k: canary!}\n---\n\n---\nkind: Pod\n"
    found = problems([text, config(name="-")], origin="site.yml:7")
    assert len(found) == 6
    assert all(problem.startswith("site.yml:7: manifests[") for problem in found)
    assert "manifests[0] document 3: apiVersion is missing or has the wrong type." in found[3]
    assert "canary" not in repr(found)


def test_order_levels_and_default_namespace():
    items = [
        {"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}},
        pod(),
        config(),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}},
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.org"}},
    ]
    found = read(items, "team")
    assert [item.ref.kind for item in found] == ["Namespace", "CustomResourceDefinition", "ConfigMap", "Pod", "Widget"]
    assert [item.ref.namespace for item in found] == ["", "", "team", "team", ""]


def test_a_list_object_empty_documents_and_nested_lists_are_taken_apart():
    text = "---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}\n---\n# nothing\n"
    found = read([text, [config(name="two")]], "team")
    assert [(item.ref.name, item.place) for item in found] == [("one", "manifests[0] document 2 items[0]"), ("two", "manifests[1][0]")]


def test_what_the_server_writes_is_not_declared():
    given = {**config(uid="x", resourceVersion="5", creationTimestamp=None, managedFields=[]), "status": {"a": 1}, "data": {"a": "b", "c": None}}
    assert read([given], "team")[0].body == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "team"}, "data": {"a": "b"}}


def test_string_data_becomes_data_and_wins():
    given = {**config(), "kind": "Secret", "data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "z"}}
    body = read([given], "team")[0].body
    assert body["data"] == {"a": base64.b64encode(b"z").decode(), "b": "eQ=="} and "stringData" not in body


def test_the_digest_is_of_the_content_not_of_its_order():
    one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    digests = {read([{**config(), "data": data}], "team")[0].digest for data in (one, other)}
    assert len(digests) == 1
    assert read([{**config(), "data": {"a": "1"}}], "team")[0].digest not in digests


def test_a_job_that_runs_once_bears_the_hash_of_its_content():
    def job(image, name="migrate"):
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "annotations": {"slipway.mlops/apply": "once"}}, "spec": {"x": image}}

    first, same, other = (read([job(image)], "team")[0].ref.name for image in ("a", "a", "b"))
    assert first == same != other and first.startswith("migrate-")
    assert len(read([job("a", "m" * 63)], "team")[0].ref.name) <= 63


def test_a_job_that_runs_once_keeps_a_valid_name_where_it_is_cut():
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a" * 51 + ".b", "annotations": {"slipway.mlops/apply": "once"}}}
    [declared] = read([job], "team")
    assert declared.ref.name.startswith("a" * 51 + "-") and ".-" not in declared.ref.name


def test_yaml_is_read_as_json_would_be():
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {d: 2024-01-01}}\n"
    assert read(text, "team")[0].body["metadata"]["annotations"] == {"d": "2024-01-01"}


def test_secret_values_are_known_as_written_and_decoded():
    encoded = base64.b64encode(b"canary-two").decode()
    text = f"kind: Secret\nstringData: {{a: canary-one}}\ndata: {{b: {encoded}}}\n"
    assert secret_values(documents_of(text)) == {"canary-one", "canary-two", encoded}
    assert secret_values(documents_of([{"kind": "Secret", "data": "nonsense"}, "a: [", None, 5])) == set()


def test_what_a_merge_key_brings_may_be_given_again_however_deep():
    text = "x-a: &a {k: one}\nx-b: &b\n  <<: *a\n  k: two\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  <<: *b\n  k: three\n"
    assert read(text, "team")[0].body["data"] == {"k": "three"}
    with pytest.raises(Refused, match='line 11: key "k" is given twice'):
        read(text.replace("  k: three\n", "  k: three\n  k: four\n"), "team")
