# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When an AIStore cluster counts as formed, as whole, as at rest."""

from __future__ import annotations

from typing import Any

import pytest
from ais_answers import HEALTHY, running, smap, status
from ansible_collections.slipway.mlops.plugins.module_utils._ais_layout import Daemon
from ansible_collections.slipway.mlops.plugins.module_utils._ais_state import Observation, State, judge, unbalanced

NODES = {"p1": "w1", "p2": "w2", "p3": "w3", "t1": "w1", "t2": "w2", "t3": "w3"}
MAP = smap(dict.fromkeys(("p1", "p2", "p3"), 2), dict.fromkeys(("t1", "t2", "t3"), 0))
PATHS = {"available": ["/ais/disk0"], "waiting_dd": [], "disabled": []}


def daemon(identity: str) -> Daemon:
    role = "proxy" if identity.startswith("p") else "target"
    return Daemon(role, NODES[identity], f"ais-ais-{role}-{NODES[identity]}", "", "")


def seen(**answers: Any) -> list[Observation]:
    """All six daemons, healthy but for what is given: a node_status, or a string that says why there is none."""
    found = []
    for identity in NODES:
        answer = answers.get(identity, status(identity, daemon(identity).role))
        if isinstance(answer, str):
            found.append(Observation(daemon(identity), answer))
        else:
            found.append(Observation(daemon(identity), "", answer, answers.get(f"{identity}_paths", PATHS) if identity.startswith("t") else {}))
    return found


def verdict(cluster_map: dict[str, Any] | None = None, maintenance: tuple[str, ...] = (), **answers: Any) -> State:
    return judge(seen(**answers), MAP if cluster_map is None else cluster_map, ["/ais/disk0"], maintenance)


def test_one_cluster_of_all_daemons_is_ready() -> None:
    state = verdict()
    assert (state.problems, state.warnings, state.busy, state.interrupted) == ([], [], [], [])
    assert state.uuid == "bBBK3sz2d"
    assert state.primary == "ais-ais-proxy-w1-0"
    assert state.smap_version == 10
    assert [facts["is_primary"] for facts in state.daemons if facts["role"] == "proxy"] == [True, False, False]
    target = state.daemons[3]
    assert target["mountpaths"][0]["file_system_type"] == "xfs"
    assert (target["used"], target["available"]) == (1000, 9000)


def test_before_a_cluster_exists_nothing_is_said_of_objects() -> None:
    state = verdict({}, p1=status("p1", "proxy", uuid="", flags=4), p2="its pod is not there", p3="its pod is not there",
                    **dict.fromkeys(("t1", "t2", "t3"), "pulling image"))  # fmt: skip
    assert any("no cluster has formed yet" in problem for problem in state.unformed)
    assert not any("404" in problem for problem in state.problems)


def test_a_missing_target_is_named_with_its_consequence() -> None:
    state = verdict(t2="its pod is not there")
    (problem,) = state.problems
    assert problem.startswith("target ais-ais-target-w2-0 (node w2): its pod is not there")
    assert "answer 404" in problem and "listings" in problem


def test_two_clusters_are_never_ready() -> None:
    state = verdict(p3=status("p3", "proxy", uuid="zzzzzz", primary="p3"), t3=status("t3", "target", uuid="zzzzzz", primary="p3"))
    assert any("2 clusters instead of one" in problem and "zzzzzz: ais-ais-proxy-w3-0" in problem for problem in state.unformed)


def test_another_map_version_is_not_formed() -> None:
    state = verdict(p2=status("p2", "proxy", version=9))
    assert any("different versions of the cluster map" in problem and "ais-ais-proxy-w2-0 9" in problem for problem in state.unformed)


def test_two_primaries_are_not_formed() -> None:
    assert any("different primaries" in problem for problem in verdict(p2=status("p2", "proxy", primary="p2")).unformed)


@pytest.mark.parametrize("flags", [0, 2, 4])
def test_a_daemon_that_has_not_started_is_not_formed(flags: int) -> None:
    state = verdict(p1=status("p1", "proxy", flags=flags))
    assert state.unformed == ["proxy ais-ais-proxy-w1-0 (node w1) has not started yet"]


def test_a_target_outside_of_the_map_serves_nothing() -> None:
    state = verdict(smap({"p1": 2, "p2": 2, "p3": 2}, {"t1": 0, "t2": 0}))
    (problem,) = state.unformed
    assert "ais-ais-target-w3-0" in problem and "not in the cluster map" in problem and "answer 404" in problem
    (problem,) = verdict(smap({"p1": 2, "p2": 2}, {"t1": 0, "t2": 0, "t3": 0})).unformed
    assert "ais-ais-proxy-w3-0" in problem and "not in the cluster map" in problem and "404" not in problem


def test_a_stranger_in_the_map_is_a_warning() -> None:
    state = verdict(smap({"p1": 2, "p2": 2, "p3": 2}, {"t1": 0, "t2": 0, "t3": 0, "t9": 0}))
    assert state.problems == []
    assert "target t9" in state.warnings[0]


def test_maintenance_is_a_problem_unless_it_is_meant() -> None:
    out = smap({"p1": 2, "p2": 2, "p3": 2}, {"t1": 0, "t2": 20, "t3": 0})
    assert verdict(out).unwell == ["target ais-ais-target-w2-0 (node w2) is in maintenance"]
    assert verdict(out, maintenance=("w2",)).problems == []
    (problem,) = verdict(out, maintenance=("w2", "w3")).unwell
    assert problem.startswith("target ais-ais-target-w3-0 (node w3) serves")


def test_a_lost_mount_path_is_named() -> None:
    assert verdict(t1_paths={"available": [], "disabled": ["/ais/disk0"]}).unwell == ["target ais-ais-target-w1-0 (node w1): mount path /ais/disk0 is disabled"]
    assert "is missing" in verdict(t1_paths={"available": []}).unwell[0]


@pytest.mark.parametrize(
    ("bit", "words"),
    [
        (8, "out of space"), (9, "out of memory"), (13, "disk fault"), (15, "goroutines"), (17, "expired"), (18, "invalid"), (20, "CPU"),
        (22, "disk out of space"),
    ],
)  # fmt: skip
def test_red_alerts_are_problems(bit: int, words: str) -> None:
    state = verdict(t1=status("t1", "target", flags=HEALTHY | 1 << bit))
    assert any(words in problem for problem in state.unwell)
    assert state.unformed == []


@pytest.mark.parametrize("bit", [0, 6, 7, 11, 12, 14, 16, 19, 21, 23])
def test_amber_alerts_are_warnings(bit: int) -> None:
    state = verdict(t1=status("t1", "target", flags=HEALTHY | 1 << bit))
    assert state.problems == []
    assert len(state.warnings) == 1


def test_a_rebalance_is_busy_and_no_problem() -> None:
    for answer in (status("t1", "target", flags=HEALTHY | 8), status("t1", "target", snap=running())):
        state = verdict(t1=answer)
        assert state.problems == []
        assert len(state.busy) == 1 and "rebalances" in state.busy[0]


@pytest.mark.parametrize(
    ("started", "snap", "flags", "expected"),
    [
        ("2026-11-22T22:13:43Z", None, 0, True),
        ("2026-11-22T22:13:43Z", {"start-time": "2026-11-22T22:13:50.039033376Z", "end-time": "2026-11-22T22:14:35Z"}, 0, False),
        ("2026-11-22T22:13:43Z", {"start-time": "2026-11-22T22:10:00Z", "end-time": "2026-11-22T22:11:00Z"}, 0, True),  # of before
        ("2026-11-22T22:13:43Z", {"start-time": "2026-11-22T22:13:50Z", "end-time": "2026-11-22T22:14:35Z", "aborted": True}, 0, True),
        ("2026-11-22T22:13:43Z", None, 4, False),  # in maintenance
        ("2026-11-22T22:12:30Z", None, 0, False),  # there when the cluster was made
        ("", None, 0, False),
    ],
)
def test_a_target_that_started_anew_needs_a_rebalance(started: str, snap: dict[str, Any] | None, flags: int, expected: bool) -> None:
    made = {**smap({"p1": 0}, {"t1": flags, "t2": 0, "t3": 0}), "creation_time": "2026-11-22 22:12:40"}
    one = Observation(daemon("t1"), "", status("t1", "target", snap=snap), PATHS, started)
    assert unbalanced([one], made) == (["ais-ais-target-w1-0"] if expected else [])
    assert unbalanced([one], {**made, "creation_time": ""}) == []
    assert unbalanced([one], {**made, "tmap": {"t1": made["tmap"]["t1"]}}) == [], "alone it has nowhere to move objects"


def test_what_was_not_rebalanced_is_a_problem_until_a_rebalance_runs() -> None:
    pod = "ais-ais-target-w1-0"
    state = judge(seen(), MAP, ["/ais/disk0"], to_balance=[pod])
    assert state.unbalanced == [pod]
    assert state.unwell == [f"target {pod} (node w1) has started anew and no rebalance has run since: what was written while it was away may answer 404"]
    assert judge(seen(t1=status("t1", "target", snap=running())), MAP, ["/ais/disk0"], to_balance=[pod]).problems == []


def test_an_interrupted_rebalance_is_a_problem_until_another_runs() -> None:
    state = verdict(t1=status("t1", "target", flags=HEALTHY | 16))
    assert state.interrupted == ["ais-ais-target-w1-0"]
    assert "rebalance was interrupted" in state.unwell[0]
    again = verdict(t1=status("t1", "target", flags=HEALTHY | 16, snap=running()))
    assert again.interrupted == [] and again.problems == [] and again.busy
    assert verdict(p1=status("p1", "proxy", flags=HEALTHY | 16)).problems == [], "a proxy has nothing to move"
