# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The words for a bad label, annotation, taint or name, and no words for a good one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _syntax as syntax


@pytest.mark.parametrize("key", ["a", "A.b_c-d", "nvidia.com/ais-target", "a" * 63, "x.y/" + "a" * 63, "node-role.kubernetes.io/x", "0/0"])
def test_good_keys(key: str) -> None:
    assert syntax.key(key) is None


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "is empty"),
        (7, "is a number, not text"),
        (True, "is a boolean, not text"),
        ("nvidia.com/ais target", "has a space"),
        ("-a", "begin and end"),
        ("a-", "begin and end"),
        ("a/b/c", "more than one slash"),
        ("/a", "empty prefix"),
        ("a/", "no name after the slash"),
        ("Nvidia.com/a", "capital letters"),
        ("a_b/c", "not a DNS name"),
        ("x/" + "a" * 64, "64 characters"),
        ("a" * 64, "64 characters"),
        ("a" * 254 + "/x", "254 characters"),
        ("grün", "may hold only"),
    ],
)
def test_bad_keys(key: Any, words: str) -> None:
    problem = syntax.key(key)
    assert problem is not None and words in problem


@pytest.mark.parametrize("value", ["", "a", "true", "1", "a" * 63, "v1.2_3-x"])
def test_good_values(value: str) -> None:
    assert syntax.label_value(value) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, 'is a boolean, not text; write it in quotes ("true")'),
        (1, '("1")'),
        (1.5, '("1.5")'),
        (None, 'write "" for an empty value'),
        ({}, "is a mapping"),
        ([], "is a list"),
        ("a" * 64, "64 characters long (at most 63)"),
        ("a b", "has a space"),
        ("-a", "begin and end"),
        ("a\n", "may hold only"),
    ],
)
def test_bad_values(value: Any, words: str) -> None:
    problem = syntax.label_value(value)
    assert problem is not None and words in problem


def test_annotations_hold_any_text_but_only_text() -> None:
    assert syntax.annotation_value("any thing\n{}") is None
    assert "quotes" in str(syntax.annotation_value(True))


def test_effects() -> None:
    assert syntax.taint_effect("NoExecute") is None
    assert "did you mean NoSchedule?" in str(syntax.taint_effect("NoSchedul"))
    assert "did you mean" not in str(syntax.taint_effect("x"))


@pytest.mark.parametrize(("text", "good"), [("a-b", True), ("a.b", False), ("-a", False), ("a" * 64, False), ("A", False)])
def test_dns_labels(text: str, good: bool) -> None:
    assert (syntax.dns_label(text) is None) is good


def test_the_nearest_word_is_found_whatever_its_case() -> None:
    assert syntax.nearest("deploymnt", ["Deployment", "DaemonSet"]) == "Deployment"
    assert syntax.nearest("zebra", ["Deployment"]) is None
