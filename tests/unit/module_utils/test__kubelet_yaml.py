# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import contextlib
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils._config_text import Unreadable, decode
from ansible_collections.slipway.mlops.plugins.module_utils._kubelet_yaml import (
    add_to_list,
    check,
    new_document,
    read_list,
    read_scalar,
    remove_from_list,
)
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = "allowedUnsafeSysctls"
HEAD = """# the operator's own words
apiVersion: kubelet.config.k8s.io/v1beta1   # do not touch
authentication:
  anonymous: {enabled: false}
  x509:
    clientCAFile: "/etc/kubernetes/pki/ca.crt"
clusterDNS:
- 10.96.0.10
kind: KubeletConfiguration
"""
STYLES = {
    "absent": "",
    "absent, no newline at the end": "zone: 1",
    "null": KEY + ":\n",
    "null with a comment": KEY + ":  # none yet\n",
    "null by name": KEY + ": null\n",
    "tilde": KEY + ": ~  # none\n",
    "empty flow": KEY + ": []\n",
    "flow": KEY + ": [a.b, 'net.c']  # why\nzone: 1\n",
    "flow over lines": KEY + ': [\n  a.b,  # first, really\n  "net.c",\n]\nzone: 1\n',
    "block": KEY + ":\n- a.b  # why\n- 'net.c'\nzone: 1\n",
    "indented block": KEY + ":\n    - a.b\n    # between\n    - net.c\n\n# about zone\nzone: 1\n",
    "block at the end": KEY + ":\n- a.b\n- net.c",
    "carriage returns": (KEY + ":\n- a.b\nzone: 1\n").replace("\n", "\r\n"),
    "quoted key": '"' + KEY + '": [a.b]\n',
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("start", ["", "---\n"])
def test_adding_changes_the_list_and_no_other_byte(style: str, start: str) -> None:
    text = start + HEAD + STYLES[style]
    before, wanted = yaml.safe_load(text), ["net.core.somaxconn", "net.x"]
    after = add_to_list(text, KEY, wanted)
    expected = dict(before, **{KEY: (before.get(KEY) or []) + wanted})
    assert yaml.safe_load(after) == expected
    assert read_list(after, KEY) == expected[KEY]
    check(after)
    added = [line for line in after.splitlines() if line not in text.splitlines()]
    assert all("net.x" in line or "somaxconn" in line or KEY in line for line in added), added
    for comment in ("the operator's own words", "do not touch", "why", "between", "about zone", "none yet", "first, really"):
        assert after.count(comment) == text.count(comment)


@pytest.mark.parametrize(
    "style", [style for style in STYLES if "null" not in style and "tilde" not in style and "empty" not in style and "no newline" not in style]
)
def test_removing_what_was_added_gives_the_same_bytes(style: str) -> None:
    text = HEAD + STYLES[style]
    added = add_to_list(text, KEY, ["net.core.somaxconn", "net.x"])
    removed = remove_from_list(added, KEY, ["net.core.somaxconn", "net.x"])
    assert removed == text or removed == text + "\n"


@pytest.mark.parametrize("style", STYLES)
def test_removing_all_leaves_no_item_and_everything_else(style: str) -> None:
    text = HEAD + STYLES[style]
    before = yaml.safe_load(text)
    after = remove_from_list(text, KEY, read_list(text, KEY) or [])
    rest = yaml.safe_load(after)
    assert not rest.pop(KEY, None)
    before.pop(KEY, None)
    assert rest == before


NAMES = st.sampled_from(["cpu", "memory.available", "logging", "zone", "featureGates", "a-b"])
WORD = st.sampled_from(["net.core.somaxconn2", "kernel.sem", "a", "b.c", "fs.mqueue.*", "x_1", "z9"])
LIST = st.one_of(st.none(), st.lists(WORD, max_size=4))
SCALARS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\x85"), max_size=30),
    st.integers(),
    st.booleans(),
    st.none(),
)
VALUES = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=8)


ORDINARY = st.one_of(
    st.sampled_from(["0s", "10%", "/etc/kubernetes/manifests", "ca.crt", "1h30m", "some words", "a: b", "#x", "- y", "on", "", "10.96.0.10", "[::1]:80"]),
    st.integers(),
    st.booleans(),
)
SETTINGS = st.recursive(ORDINARY, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)), max_leaves=8)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5), LIST, st.sampled_from([None, True, False]), st.integers(20, 200))
def test_any_document_that_a_library_writes_is_edited_right_or_refused(others: dict[str, Any], items: Any, flow: bool | None, width: int) -> None:
    document = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **others, KEY: items}
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True, width=width)
    with contextlib.suppress(Unreadable):
        after = add_to_list(text, KEY, ["net.core.somaxconn"])
        assert yaml.safe_load(after) == {**document, KEY: (items or []) + ["net.core.somaxconn"]}


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(NAMES, SETTINGS, max_size=5), LIST)
def test_an_ordinary_configuration_is_never_refused(others: dict[str, Any], items: Any) -> None:
    document = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **others, KEY: items}
    text = yaml.safe_dump(document, default_flow_style=False, width=4096)
    after = add_to_list(text, KEY, ["net.core.somaxconn"])
    assert yaml.safe_load(after) == {**document, KEY: (items or []) + ["net.core.somaxconn"]}


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("kind: A\nkind: B\n", 2, 1, "twice"),
        ("a: 1\n\tb: 2\n", 2, 1, "tab"),
        ("a: 1\n---\nb: 2\n", 2, 1, "more than one document"),
        ("{a: 1}\n", 1, 1, "expected 'key:'"),
        ("a: [1, 2\nb: 3\n", 2, 1, "comma or the end"),
        ('a: "x\nb: 3\n', 1, 4, "expected a value"),
        ("- a\n", 1, 1, "no key stands above"),
        ("a: 1\n- b\n", 2, 1, "no key stands above"),
        ("a:\n  b: 1\n c: 2\n", 3, 2, "indented as no other"),
        ("a: b\n  c: d\n", 2, 3, "deeper"),
        ("a: b: c\n", 1, 4, "expected a value"),
        ("a: *b\n", 1, 4, "expected a value"),
        ("%YAML 1.2\n---\na: 1\n", 1, 1, "expected 'key:'"),
        (KEY + ": net.x\n", 1, 23, "not a list"),
        (KEY + ": &anchor [a.b]\n", 1, 23, "expected a value"),
        (KEY + ": [*alias]\n", 1, 24, "expected a word"),
        (KEY + ": [a b]\n", 1, 26, "comma or the end"),
        (KEY + ": [a,,b]\n", 1, 26, "comma"),
        (KEY + ": [a] b\n", 1, 26, "unexpected text"),
        (KEY + ": []\n- a.b\n", 2, 1, "no key stands above"),
        (KEY + ":\n- a.b\n  - net.c\n", 3, 3, "deeper"),
        (KEY + ":\n- a: b\n", 2, 3, "one word"),
        (KEY + ":\n- [a]\n", 2, 3, "one word"),
        (KEY + ':\n- "a\\tb"\n', 2, 3, "one word"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, line: int, column: int, says: str) -> None:
    with pytest.raises(Unreadable) as error:
        read_list(text, KEY)
        remove_from_list(text, KEY, ["a.b"])
        raise AssertionError("it was read")
    assert (error.value.line, error.value.column) == (line, column)
    assert says in str(error.value)


def test_text_inside_of_other_values_is_not_taken_for_keys() -> None:
    block = "note: |\n  x\n  allowedUnsafeSysctls: [no]\nmore:\n  deep: >-\n    {\"\n    '\n"
    text = HEAD + block + KEY + ": [a.b]\n"
    assert read_list(text, KEY) == ["a.b"]


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Unreadable, match="line 2, column 3: not UTF-8"):
        decode(b"a: 1\nb:\xff")


@pytest.mark.parametrize("text", ["a: 1 # \x00\n", "a: 1\n# \x1b\n", "a\t: 1\n", "a: \u2028\n", "a: 1\rb: 2\n"])
def test_what_yaml_has_no_place_for_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read_list(text, KEY)


@pytest.mark.parametrize(
    ("text", "says"),
    [("kind: KubeletConfiguration\n", "apiVersion is missing"), (HEAD.replace("KubeletConfiguration", "ClusterConfiguration"), "kind is ClusterConfiguration")],
)
def test_another_kind_of_document_is_refused(text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        check(text)


def test_a_new_document_is_one() -> None:
    text = new_document(KEY, ["net.core.somaxconn"], "ours")
    check(text)
    assert yaml.safe_load(text)[KEY] == ["net.core.somaxconn"]


def test_scalars_are_read_without_their_quotes_and_comments() -> None:
    assert read_scalar(HEAD, "kind") == "KubeletConfiguration"
    assert read_scalar("healthzPort: 10248 # x\n", "healthzPort") == "10248"
    assert read_scalar("a: 'b'\n", "a") == "b"
    assert read_scalar("a:\n  b: 1\n", "a") is None
