# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which run belongs to which training Job, and that both end alike: with a tracking server in memory and a fake cluster."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _mlflow_connect, _run_mlflow_job
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_api import MlflowError
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_job_plan import job_name, key, latest, problems, run_of, verdict, with_run
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref, Refused
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from fakes import FakeClock, FakeCluster

JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"namespace": "ml"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "training", "image": "training:1"}]}}},
}


def condition(kind: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": kind, "status": "True"}]}}


@pytest.mark.parametrize(
    ("live", "state"),
    [(None, None), ({}, "RUNNING"), (condition("Complete"), "FINISHED"), (condition("Failed"), "FAILED"), (condition("Suspended"), "RUNNING")],
)
def test_the_state_that_a_run_must_have(live: Any, state: str | None) -> None:
    assert verdict(live) == state


def test_the_same_content_has_the_same_key() -> None:
    other = copy.deepcopy(JOB)
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "training:2"
    keys = {key(JOB, "e", ""), key(copy.deepcopy(JOB), "e", ""), key(other, "e", ""), key(JOB, "e", "2"), key(JOB, "f", "")}
    assert len(keys) == 4


def test_the_longest_name_still_fits_into_a_label() -> None:
    assert len(job_name("a" * 40, key(JOB, "e", ""), 9999)) <= 63 - len("-99999") and problems("a" * 40, JOB, []) == []


@pytest.mark.parametrize(
    ("name", "change", "sweep", "said"),
    [
        ("Airline", {}, [], "lower case"),
        ("a" * 41, {}, [], "at most 40"),
        ("a", {"kind": "CronJob"}, [], "a batch/v1 Job is needed"),
        ("a", {"metadata": {}}, [], "metadata.namespace is missing"),
        ("a", {"spec": {"template": {"spec": {"containers": []}}}}, [], "containers is empty"),
        ("a", {}, [{"x": 1}], "needs completionMode: Indexed and completions: 1"),
        ("a", {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "MLFLOW_RUN_ID"}]}]}}}}, [], "MLFLOW_RUN_ID is set by this module"),
        ("a", {"spec": {"template": {"spec": {"containers": [{"env": [{"name": "HF_TOKEN", "value": "x"}]}]}}}}, [], "HF_TOKEN is a secret"),
    ],
)
def test_what_is_refused(name: str, change: dict[str, Any], sweep: list[dict[str, Any]], said: str) -> None:
    found = problems(name, {**JOB, **change}, sweep)
    assert len(found) == 1 and said in found[0], found


def test_the_job_is_told_its_run_and_nothing_else_changes() -> None:
    told = with_run(JOB, "a-1", "r1", "7")
    assert told["spec"]["template"]["spec"]["containers"][0]["env"] == [
        {"name": "MLFLOW_RUN_ID", "value": "r1"},
        {"name": "MLFLOW_EXPERIMENT_ID", "value": "7"},
    ]
    assert "env" not in JOB["spec"]["template"]["spec"]["containers"][0] and "name" not in JOB["metadata"]


def test_the_newest_attempt_counts() -> None:
    runs = [{"info": {"run_id": str(n), "status": "FAILED"}, "data": {"tags": [{"key": "slipway.attempt", "value": str(n)}]}} for n in (2, 10, 9)]
    assert (found := latest(runs)) and found.id == "10"
    assert latest([]) is None


class Tracking:
    """MLflow as far as the module speaks to it."""

    def __init__(self, *experiments: str) -> None:
        self.experiments, self.runs = experiments, dict[str, dict[str, Any]]()

    def get(self, name: str, **query: str) -> Any:
        if name == "runs/get":
            run = self.runs[query["run_id"]]
            return {"run": {"info": {"run_id": query["run_id"], "status": run["status"], "experiment_id": "1"}, "data": {}}}
        if query["experiment_name"] not in self.experiments:
            raise MlflowError("no", 404, "RESOURCE_DOES_NOT_EXIST")
        return {"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}

    def post(self, name: str, body: Any) -> Any:
        if name == "runs/create":
            identity = f"r{len(self.runs) + 1}"
            self.runs[identity] = {"status": "RUNNING", "tags": body["tags"]}
            return {"run": {"info": {"run_id": identity}}}
        if name == "runs/delete":
            self.runs[body["run_id"]]["deleted"] = True
            return {}
        if name == "runs/update":
            self.runs[body["run_id"]]["status"] = body["status"]
            return {}
        wanted = [part.split(" = ") for part in body["filter"].split(" AND ")]
        asked = {identity: run for identity, run in self.runs.items() if all(self.has(run, name, value.strip("'")) for name, value in wanted)}
        return {"runs": [{"info": {"run_id": identity, "status": run["status"]}, "data": {"tags": run["tags"]}} for identity, run in asked.items()]}

    @staticmethod
    def has(run: dict[str, Any], name: str, value: str) -> bool:
        tags = {f"tags.`{tag['key']}`": tag["value"] for tag in run["tags"]}
        return value == (run["status"] if name == "attributes.status" else tags.get(name))

    def close(self) -> None: ...


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tracking, self.cluster = Tracking("e"), FakeCluster()
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ml"}}, "test")
        self.ends: Any = "Complete"  # condition that the next Job gets; None: it goes on
        self.first = ""  # run of another launcher, whose Job comes before ours
        monkeypatch.setattr(_mlflow_connect, "connect", lambda call: self.tracking)
        monkeypatch.setattr(_run_mlflow_job.manifests, "run", self.applied)

    def applied(self, call: Call) -> dict[str, Any]:
        job = call.params["manifests"][-1]
        if self.first:
            self.cluster.apply(with_run(JOB, job["metadata"]["name"], self.first, "1"), "test")
            self.first = ""
        there = self.cluster.get(Ref("batch/v1", "Job", "ml", job["metadata"]["name"]))
        if there and run_of(there) != run_of(job):
            return {"changed": False, "failed": True, "msg": "spec.template: field is immutable"}
        stored, _new = self.cluster.apply(job, "test")
        changed = there is None
        if self.ends:
            for live in self.cluster.objects.values():
                if live["metadata"]["name"] == stored["metadata"]["name"]:
                    live["status"] = condition(self.ends)["status"]
        return {"changed": changed, "failed": True, "msg": "it failed"} if self.ends == "Failed" else {"changed": changed}

    def train(self, **params: Any) -> dict[str, Any]:
        given = {name: option.get("default") for name, option in _run_mlflow_job.ARGUMENTS.items()}
        given |= {"namespace": "ml", "name": "a", "experiment": "e", "job": JOB, **params}
        return _run_mlflow_job.run(Call(given, cluster=self.cluster, clock=FakeClock(), check_mode=bool(params.get("check"))))

    def other(self, **tags: str) -> str:
        """A run that somebody else makes: another launcher, or with tags the pod of an index."""
        made = self.tracking.post("runs/create", {"tags": [{"key": key, "value": value} for key, value in tags.items()]})
        return str(made["run"]["info"]["run_id"])

    def ended(self, kind: str) -> None:
        """The Jobs end while nobody follows."""
        for ref, live in self.cluster.objects.items():
            if ref.kind == "Job":
                live["status"] = condition(kind)["status"]

    def jobs(self) -> list[str]:
        return [ref.name for ref in self.cluster.objects if ref.kind == "Job"]

    def states(self) -> list[str]:
        return [run["status"] for run in self.tracking.runs.values()]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize(("ends", "state"), [("Complete", "FINISHED"), ("Failed", "FAILED")])
def test_a_pod_that_died_without_a_word_still_ends_its_run(world: World, ends: str, state: str) -> None:
    world.ends = ends
    result = world.train()
    assert world.states() == [state] and result["run"]["status"] == state and bool(result.get("failed")) is (ends == "Failed")


def test_the_same_content_is_trained_once(world: World) -> None:
    first, second = world.train(), world.train()
    assert (first["changed"], first["actions"]) == (True, [f"training {first['job']}: run r1 FINISHED"])
    assert (second["changed"], second["actions"], second["job"], second["run"]) == (False, [], "", first["run"])
    assert len(world.jobs()) == 1
    world.train(generation="2")
    assert len(world.jobs()) == 2


def test_what_failed_is_tried_again_as_a_new_run(world: World) -> None:
    world.ends = "Failed"
    world.train()
    world.ends = "Complete"
    world.train()
    assert world.states() == ["FAILED", "FINISHED"] and len(world.jobs()) == 2


def test_what_still_runs_is_followed_and_not_launched_again(world: World) -> None:
    world.ends = None
    assert world.train(wait=False)["changed"]
    world.ends = "Complete"
    result = world.train()
    assert result["run"]["status"] == "FINISHED" and not result["changed"], "nothing was started, nothing applied"
    assert world.states() == ["FINISHED"] and len(world.jobs()) == 1


def test_a_launch_that_stopped_before_its_job_goes_on(world: World) -> None:
    world.ends = None
    world.train(wait=False)
    world.cluster.objects = {ref: live for ref, live in world.cluster.objects.items() if ref.kind != "Job"}
    world.ends = "Complete"
    assert world.train()["changed"], "its Job was applied"
    assert world.states() == ["FINISHED"]


def test_a_run_whose_job_failed_while_nobody_looked_is_settled_first(world: World) -> None:
    world.ends = None
    world.train(wait=False)
    world.ended("Failed")
    world.ends = "Complete"
    assert world.train()["changed"]
    assert world.states() == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("told", ["RUNNING", "FAILED"], ids=["nobody said a word", "the pod of another index failed the parent"])
def test_runs_below_one_whose_job_was_killed_end_with_it(world: World, told: str) -> None:
    world.ends = None
    parent = world.train(wait=False)["run"]["id"]
    done, left = (world.other(**{"mlflow.parentRunId": parent}) for _number in range(2))
    foreign = world.other(**{"mlflow.parentRunId": "r99"})
    world.tracking.runs[done]["status"] = "FINISHED"
    world.tracking.runs[parent]["status"] = told
    world.ended("Failed")
    world.ends = "Complete"
    world.train()
    assert [world.tracking.runs[run]["status"] for run in (parent, done, left, foreign)] == ["FAILED", "FINISHED", "FAILED", "RUNNING"]


def test_runs_below_one_that_goes_on_go_on(world: World) -> None:
    world.ends = None
    parent = world.train(wait=False)["run"]["id"]
    world.other(**{"mlflow.parentRunId": parent})
    world.train()
    assert world.states() == ["RUNNING", "RUNNING"]


def test_of_two_launchers_at_once_the_later_follows_the_earlier(world: World) -> None:
    world.first = world.other()
    result = world.train()
    assert not result.get("failed") and not result["changed"], "the Job is another launcher's"
    assert result["run"] == {**result["run"], "id": "r1", "status": "FINISHED"}
    assert world.states() == ["FINISHED", "KILLED"] and world.tracking.runs["r2"]["deleted"] and len(world.jobs()) == 1


def test_check_mode_foresees_a_launch_whose_experiment_would_only_come(world: World) -> None:
    assert world.train(check=True, experiment="none")["actions"] == ["launch training a"] and world.jobs() == []


def test_check_mode_writes_nothing(world: World) -> None:
    result = world.train(check=True)
    assert result["changed"] and world.states() == [] and world.jobs() == []


@pytest.mark.parametrize(("kind", "changed"), [("Failed", True), ("Complete", False)])
def test_check_mode_after_a_pod_died_foresees_the_next_step_and_writes_nothing(world: World, kind: str, changed: bool) -> None:
    world.ends = None
    world.train(wait=False)
    world.ended(kind)
    assert world.train(check=True)["changed"] is changed
    assert world.states() == ["RUNNING"] and len(world.jobs()) == 1


def test_a_missing_experiment_is_refused_with_the_way_out(world: World) -> None:
    with pytest.raises(Refused, match="make it with mlflow_experiment"):
        world.train(experiment="none")
    assert world.states() == []
