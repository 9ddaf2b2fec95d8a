# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a wait ends, and what it tells meanwhile: objects that change at moments of a clock that nobody waits for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._health import GRACE_RETRY
from ansible_collections.slipway.mlops.plugins.module_utils._model import ABSENT, FAILED, PROGRESSING, READY, Ref, Unreachable, Verdict, ref_of
from ansible_collections.slipway.mlops.plugins.module_utils._wait import HANDOVER, Wait
from fakes import FakeClock, FakeCluster

PULLING, STUCK = "ErrImagePull", "ImagePullBackOff"  # the first is a try, the second a failure once it has stood for GRACE_RETRY


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cluster = FakeCluster(self.clock)
        self.lines: list[str] = []

    def at(self, seconds: float, *objects: dict[str, Any]) -> None:
        """The objects as they are from that moment on."""
        for obj in objects:
            if seconds:
                self.clock.at(seconds, lambda obj=obj: self.cluster.put(obj))
            else:
                self.cluster.put(obj)

    def wait(self, *wanted: dict[str, Any], gone: tuple[Ref, ...] = (), seconds: float = 300.0) -> tuple[dict[Ref, Verdict], float]:
        """The verdicts, and when they came."""
        live = {ref_of(obj): self.cluster.objects.get(ref_of(obj)) for obj in wanted}
        return Wait(self.cluster, self.clock, self.lines.append, live, gone).run(seconds), self.clock.now()


@pytest.fixture
def world() -> World:
    return World()


def pod(reason: str = "", name: str = "p", restarts: int = 0, **metadata: Any) -> dict[str, Any]:
    """A pod whose container waits for this reason; "" for one that is ready."""
    state = {"waiting": {"reason": reason}} if reason else {"running": {}}
    container = {"name": "c", "image": "x:1", "restartCount": restarts, "ready": not reason, "state": state}
    status = {
        "phase": "Pending" if reason else "Running",
        "containerStatuses": [container],
        "conditions": [] if reason else [{"type": "Ready", "status": "True"}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n", **metadata}, "spec": {}, "status": status}


def deployment(available: int = 0) -> dict[str, Any]:
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "n", "generation": 1}, "spec": spec, "status": status}


def of_deployment(reason: str) -> dict[str, Any]:
    return pod(reason, "web-5-x", labels={"app": "web"}, ownerReferences=[{"kind": "ReplicaSet", "name": "web-5", "uid": "u", "controller": True}])


def test_a_failure_ends_the_wait_once_it_has_stood_for_its_grace(world: World) -> None:
    world.at(0, pod(STUCK))
    verdicts, seconds = world.wait(pod())
    assert [verdict.state for verdict in verdicts.values()] == [FAILED]
    assert GRACE_RETRY <= seconds < GRACE_RETRY + 1


def test_a_short_try_in_between_is_no_recovery(world: World) -> None:
    world.at(0, pod(STUCK))
    world.at(12, pod(PULLING))
    world.at(15, pod(STUCK))
    _verdicts, seconds = world.wait(pod())
    assert GRACE_RETRY <= seconds < GRACE_RETRY + 1


def test_a_failure_that_was_overcome_is_forgotten(world: World) -> None:
    world.at(0, pod(STUCK))
    world.at(2, pod(PULLING))
    world.at(13, pod(PULLING, restarts=1))
    world.at(15, pod(STUCK))
    _verdicts, seconds = world.wait(pod())
    assert 15 + GRACE_RETRY <= seconds < 16 + GRACE_RETRY


def test_what_heals_in_time_is_ready(world: World) -> None:
    world.at(0, pod(STUCK))
    world.at(GRACE_RETRY - 1, pod())
    verdicts, seconds = world.wait(pod())
    assert [verdict.state for verdict in verdicts.values()] == [READY]
    assert seconds == GRACE_RETRY - 1


def test_the_failed_pods_of_a_former_template_have_a_moment_to_go(world: World) -> None:
    """What would be final at once on a pod is so for a workload only when its controller has had time to take over."""
    world.at(0, deployment(), of_deployment("InvalidImageName"))
    verdicts, seconds = world.wait(deployment())
    assert [verdict.state for verdict in verdicts.values()] == [FAILED] and HANDOVER <= seconds < HANDOVER + 1

    other = World()
    other.at(0, deployment(), of_deployment("InvalidImageName"))
    other.at(HANDOVER - 1, of_deployment(""), deployment(1))
    verdicts, _seconds = other.wait(deployment())
    assert [verdict.state for verdict in verdicts.values()] == [READY]


def test_a_pod_that_comes_later_is_seen_when_it_comes(world: World) -> None:
    world.at(0, deployment())
    world.at(3, of_deployment("InvalidImageName"))
    world.at(3 + HANDOVER, {**deployment(), "metadata": {**deployment()["metadata"], "annotations": {"something": "happens"}}})
    verdicts, seconds = world.wait(deployment())
    assert ([verdict.state for verdict in verdicts.values()], seconds) == ([FAILED], 3 + HANDOVER)


def test_a_failed_job_is_final_at_once(world: World) -> None:
    failed = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n"}, "spec": {}, "status": failed}
    world.at(0, job)
    verdicts, seconds = world.wait(job)
    assert [verdict.state for verdict in verdicts.values()] == [FAILED] and seconds == 0


def test_one_failure_ends_the_wait_for_all(world: World) -> None:
    world.at(0, pod(STUCK), pod("ContainerCreating", "slow"))
    verdicts, seconds = world.wait(pod(), pod(name="slow"))
    assert {ref.name: verdict.state for ref, verdict in verdicts.items()} == {"p": FAILED, "slow": PROGRESSING}
    assert seconds < GRACE_RETRY + 1


def test_what_is_deleted_is_waited_for_until_nobody_holds_it(world: World) -> None:
    held = pod(name="held", finalizers=["x.org/a"], deletionTimestamp="now")
    world.at(0, held)
    ref = ref_of(held)
    world.clock.at(7, lambda: world.cluster.drop(ref))
    verdicts, seconds = world.wait(gone=(ref,))
    assert (verdicts[ref].state, seconds) == (ABSENT, 7)

    again = World()
    again.at(0, held)
    verdicts, seconds = again.wait(gone=(ref,), seconds=30)
    assert verdicts[ref].state != ABSENT and "x.org/a" in verdicts[ref].reason and 30 <= seconds < 31


def test_another_object_of_the_same_name_is_not_the_one_that_was_deleted(world: World) -> None:
    world.at(0, pod(STUCK))
    verdicts, seconds = world.wait(gone=(ref_of(pod()),))
    assert ([verdict.state for verdict in verdicts.values()], seconds) == ([ABSENT], 0)


def test_whoever_may_not_look_at_pods_asks_once(world: World) -> None:
    world.cluster.forbidden = {("list", "Pod")}
    world.at(0, deployment())
    world.at(100, deployment(1))
    verdicts, seconds = world.wait(deployment())
    assert ([verdict.state for verdict in verdicts.values()], seconds) == ([READY], 100)
    assert len([1 for verb, source in world.cluster.log if (verb, source.kind) == ("list", "Pod")]) == 1


def test_a_server_that_is_away_says_nothing_about_the_objects(world: World) -> None:
    def away(verb: str, ref: Any) -> None:
        if world.clock.now() < 8:
            raise Unreachable("connection refused")

    world.cluster.fail = away
    world.at(0, pod("ContainerCreating"))
    world.at(5, pod())
    verdicts, seconds = world.wait(pod())
    assert [verdict.state for verdict in verdicts.values()] == [READY] and 8 <= seconds < 10
    assert "waiting for the API server: connection refused" in world.lines


def test_each_thing_is_told_once_and_what_was_well_from_the_start_is_not(world: World) -> None:
    world.at(0, pod(PULLING), pod(name="well"))
    world.at(1, pod(STUCK))
    world.at(2, pod(PULLING))
    world.at(3, pod(STUCK))
    world.at(4, pod())
    world.wait(pod(), pod(name="well"))
    assert len(world.lines) == len(set(world.lines)) == 3, world.lines
    assert all(line.startswith("n/Pod p: ") for line in world.lines) and world.lines[-1] == "n/Pod p: ready"


def test_nothing_to_wait_for_asks_nothing(world: World) -> None:
    world.at(0, pod())
    assert world.wait(pod())[1] == 0 and world.cluster.log == []
