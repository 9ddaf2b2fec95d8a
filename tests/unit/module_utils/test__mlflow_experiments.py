# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Declared experiments against those of the server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_experiments import Live, declared, live, outcome, plan, refusals, state

THERE = Live("7", "there", "mlflow-artifacts:/7", "active", {"team": "a", "extra": "x", "mlflow.note.content": "words"})
GONE = Live("8", "gone", "s3://b/8", "deleted", {})
EXISTING = {"there": THERE, "gone": GONE, "Default": Live("0", "Default", "mlflow-artifacts:/0", "active", {})}


def calls(**item: Any) -> tuple[str, list[str]]:
    (step,) = plan(declared([item]), EXISTING)
    return step.action, [name.rpartition("/")[2] for name, _body in step.calls]


@pytest.mark.parametrize(
    ("item", "action", "names"),
    [
        ({"name": "new"}, "created", ["create"]),
        ({"name": "there"}, "unchanged", []),
        ({"name": "there", "tags": {"team": "a"}}, "unchanged", []),
        ({"name": "there", "tags": {"team": "b"}}, "updated", ["set-experiment-tag"]),
        ({"name": "there", "tags": {"team": "a"}, "purge_tags": True}, "updated", ["delete-experiment-tag"]),
        ({"name": "there", "artifact_location": "mlflow-artifacts:/7/"}, "unchanged", []),
        ({"name": "gone"}, "restored", ["restore"]),
        ({"name": "gone", "tags": {"a": 1}}, "restored", ["restore", "set-experiment-tag"]),
        ({"name": "there", "state": "absent"}, "deleted", ["delete"]),
        ({"name": "gone", "state": "absent"}, "unchanged", []),
        ({"name": "never", "state": "absent"}, "unchanged", []),
    ],
)
def test_what_is_done(item: dict[str, Any], action: str, names: list[str]) -> None:
    assert calls(**item) == (action, names)


def test_a_new_one_is_made_with_location_and_tags_at_once() -> None:
    (step,) = plan(declared([{"name": "new", "artifact_location": "s3://b/x", "tags": {"n": 1, "yes": True}}]), {})
    body = step.calls[0][1]
    assert body == {"name": "new", "artifact_location": "s3://b/x", "tags": [{"key": "n", "value": "1"}, {"key": "yes", "value": "true"}]}


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([{"name": "there", "artifact_location": "s3://b/else"}], "cannot change that"),
        ([{"name": "gone", "artifact_location": "s3://b/else"}], "cannot change that"),
        ([{"name": "Default", "state": "absent"}], "not deleted"),
        ([{"name": "x", "artifact_location": "bucket/path"}], "no URI"),
        ([{"name": "x"}, {"name": "x"}], "declared 2 times"),
        ([{"name": " "}], "needs a name"),
    ],
)
def test_what_is_refused(items: list[dict[str, Any]], said: str) -> None:
    found = refusals(declared(items), EXISTING)
    assert len(found) == 1 and said in found[0], found


def test_good_ones_are_not_refused() -> None:
    assert refusals(declared([{"name": "there"}, {"name": "gone", "artifact_location": "s3://b/8/"}, {"name": "new"}]), EXISTING) == []


def test_the_diff_shows_declared_tags_and_what_a_purge_removes() -> None:
    (step,) = plan(declared([{"name": "there", "tags": {"team": "b"}, "purge_tags": True}]), EXISTING)
    assert (state(step.wanted, step.live) or {})["tags"] == {"extra": "x", "team": "a"}
    assert (outcome(step) or {})["tags"] == {"team": "b"}


def test_an_experiment_as_the_server_gives_it() -> None:
    answer = {"experiment_id": 3, "name": "n", "artifact_location": "l", "lifecycle_stage": "deleted", "tags": [{"key": "a", "value": "b"}]}
    assert live(answer) == Live("3", "n", "l", "deleted", {"a": "b"})
