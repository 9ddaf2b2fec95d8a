# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels of AIStore clusters, and the inventories that cannot be labelled."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_labels as ais

GOOD = {"targets": ["a", "b"], "proxies": ["a", "c"], "initial_primary": ["a"]}


def test_every_part_has_its_label_with_the_name_of_the_cluster() -> None:
    target, proxy, primary = ais.TARGET, ais.PROXY, ais.INITIAL_PRIMARY
    assert ais.label_sets({"one": GOOD}) == [
        {
            "name": "ais-one",
            "nodes": {"a": {"labels": {target: "one", proxy: "one", primary: "one"}}, "b": {"labels": {target: "one"}}, "c": {"labels": {proxy: "one"}}},
        }
    ]


def test_two_clusters_are_two_sets() -> None:
    found = ais.label_sets({"one": GOOD, "two": {"targets": ["d"], "proxies": ["d"], "initial_primary": "d"}})
    assert [item["name"] for item in found] == ["ais-one", "ais-two"]
    assert found[1]["nodes"]["d"]["labels"][ais.INITIAL_PRIMARY] == "two"


def test_no_cluster_is_no_set() -> None:
    assert ais.label_sets({}) == []


@pytest.mark.parametrize(
    ("cluster", "given", "words"),
    [
        ("ais", {**GOOD, "initial_primary": []}, "no initial primary; name exactly one of its proxies (a, c)"),
        ("ais", {**GOOD, "initial_primary": ["a", "c"]}, "2 initial primaries (a, c)"),
        ("ais", {**GOOD, "initial_primary": "b"}, "initial primary b is not one of its proxies (a, c)"),
        ("ais", {**GOOD, "targets": []}, "no target"),
        ("ais", {**GOOD, "proxies": []}, "no proxy"),
        ("ais", {**GOOD, "target": ["a"]}, "did you mean targets?"),
        ("ais", {**GOOD, "targets": [1]}, "write a list of node names"),
        ("ais", {**GOOD, "targets": {"a": 1}}, "is a mapping; write a list"),
        ("ais", {**GOOD, "targets": ["a", "a"]}, "names a more than once"),
        ("ais", ["a"], "is a list; write a mapping"),
        ("A_B", GOOD, "is not a DNS label"),
    ],
)
def test_what_cannot_be_is_refused_with_names(cluster: str, given: Any, words: str) -> None:
    with pytest.raises(ais.BadClusters) as caught:
        ais.label_sets({cluster: given})
    assert len(caught.value.problems) == 1 and words in str(caught.value) and cluster in str(caught.value)


def test_all_clusters_are_checked() -> None:
    with pytest.raises(ais.BadClusters) as caught:
        ais.label_sets({"one": {**GOOD, "targets": []}, "two": {**GOOD, "initial_primary": []}})
    assert len(caught.value.problems) == 2
