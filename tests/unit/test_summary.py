# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The callback: what it takes from Ansible's results. How it is told is tested with `_run_record`."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from ansible_collections.slipway.mlops.plugins.callback import summary


@pytest.fixture
def callback(monkeypatch) -> summary.CallbackModule:
    chosen = {"subset": "w1", "tags": ("all",), "skip_tags": ("aim",)}
    given = {"args": ("site.yml",), "inventory": ("inv",), "extra_vars": ("a_token=x", "slipway_context=c"), **chosen}
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(given))
    monkeypatch.setattr(summary.sys, "argv", ["/bin/ansible-playbook", "site.yml", "-i", "inv", "--limit", "w1", "-e", "a_token=x"])
    made = summary.CallbackModule()
    made.v2_playbook_on_start(None)
    yield made
    gc.unfreeze()


def play(name: str, **values) -> SimpleNamespace:
    return SimpleNamespace(vars=values, get_name=lambda: name)


def result(values: dict, role: str = "slipway.mlops.aim", tags: tuple[str, ...] = ("aim",), check: bool = False) -> SimpleNamespace:
    task = SimpleNamespace(_uuid="u", _role=SimpleNamespace(get_name=lambda: role) if role else None, name="Aim runs", action="x", tags=list(tags))
    return SimpleNamespace(_host=SimpleNamespace(get_name=lambda: "w1"), _task=task, _result=values, _task_fields={"check_mode": check})


def test_the_command_line_is_kept_without_what_may_be_secret(callback) -> None:
    assert callback.run.command == ("ansible-playbook", "site.yml", "-i", "inv", "--limit", "w1", "-e", "(as before)")
    assert callback.run.extra_vars == ("-e", "(as before)", "-e", "slipway_context=c")
    assert (callback.run.limit, callback.run.tags, callback.run.skipped_tags) == ("w1", (), ("aim",))


@pytest.mark.parametrize(
    ("playbook", "here", "folder"),
    [
        ("site.yml", ".", "playbooks"),
        ("plan.yml", "playbooks", "."),
        ("../site.yml", "docs", "../playbooks"),
        ("collections/ansible_collections/slipway/mlops/site.yml", ".", "playbooks"),
        ("slipway.mlops.site", ".", ""),
        ("/srv/ours.yml", ".", ""),
    ],
)
def test_our_playbooks_are_named_as_they_are_found_from_here(monkeypatch, playbook, here, folder) -> None:
    """A playbook of the user's that imports `slipway.mlops.site` has no folder `playbooks` beside it."""
    monkeypatch.chdir(summary.COLLECTION / here)
    assert summary.folder_of(playbook) == folder


@pytest.mark.parametrize(
    ("name", "values", "ignored", "outcome"),
    [
        ("Apps | Aim", {}, False, "failed"),
        ("Apps | Aim", {}, True, "ok"),
        ("Hosts | Disks", {"slipway_is_dry_run": True}, True, "failed"),
        ("Hosts | Disks", {"slipway_is_dry_run": True, "slipway_stage": "Verify"}, True, "failed"),
        ("Verify | Workloads", {}, True, "failed"),
    ],
)
def test_a_failure_that_is_gone_on_from_counts_where_the_playbook_only_looks(callback, name, values, ignored, outcome) -> None:
    callback.v2_playbook_on_play_start(play(name, **values))
    callback.v2_runner_on_failed(result({"msg": "no"}), ignore_errors=ignored)
    (step,) = callback.run.steps
    assert (step.outcome, step.stage) == (outcome, values.get("slipway_stage") or name.split(" |")[0])


def test_the_inventory_is_its_own_stage_wherever_it_is_imported(callback) -> None:
    callback.v2_playbook_on_play_start(play("Inventory | It can work", slipway_stage="Verify"))
    assert callback.stage == "Inventory"


def test_what_the_plan_found_is_said_once_before_the_first_stage_that_changes_something(callback, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(callback._display, "banner", said.append)
    monkeypatch.setattr(callback._display, "display", said.append)
    callback.v2_playbook_on_play_start(play("Inventory | It can work"))
    callback.v2_playbook_on_play_start(play("Hosts | Disks", slipway_stage="Plan", slipway_is_dry_run=True))
    callback.v2_runner_on_ok(result({"changed": True, "actions": ["format /dev/x"]}, check=True))
    assert said == []
    for name in ("Inventory | It can work", "Hosts | Disks", "Nodes | Kubelets"):
        callback.v2_playbook_on_play_start(play(name))
    assert [line.strip() for line in said].count("format /dev/x") == 1 and said.count("SLIPWAY PLAN") == 1


def test_a_plan_that_was_left_out_says_nothing(callback, monkeypatch) -> None:
    monkeypatch.setattr(callback._display, "banner", pytest.fail)
    callback.v2_playbook_on_play_start(play("Hosts | Disks", slipway_stage="Plan"))
    callback.v2_runner_on_skipped(result({}))
    callback.v2_playbook_on_play_start(play("Hosts | Disks"))


def test_a_tag_is_kept_only_where_the_task_bears_it(callback) -> None:
    callback.v2_playbook_on_play_start(play("Apps | Aim"))
    callback.v2_runner_on_ok(result({"changed": True, "actions": ["x"]}))
    callback.v2_runner_on_unreachable(result({"msg": "gone"}, tags=(), check=True))
    assert [(step.tag, step.outcome, step.check, step.lines, step.reason) for step in callback.run.steps] == [
        ("aim", "changed", False, ("x",), ""),
        ("", "unreachable", True, (), "gone"),
    ]


def test_tags_that_no_task_bears_are_told(callback, monkeypatch) -> None:
    """A look ahead with a misspelt tag would say that nothing would change."""
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict({**context.CLIARGS, "tags": ("aimm",)}))
    callback.v2_playbook_on_start(None)
    callback.v2_playbook_on_play_start(play("Apps | Aim", slipway_stage="Plan"))
    validated = result({}, tags=("always", "aim"))
    validated._task.action = "ansible.builtin.validate_argument_spec"
    callback.v2_runner_on_ok(validated)
    assert callback.run.steps == []
    callback.v2_runner_on_ok(result({}, role="", tags=("always",), check=True))
    lines = summary.record.summary(callback.run, 1.0)
    assert lines[-1] == "NOTHING WAS DONE: no task on w1 bears the chosen tags (aimm). Each role has one, equal to its name."
    assert "Nothing would change." not in lines
    callback.v2_runner_on_skipped(result({}))
    assert not summary.record.summary(callback.run, 1.0)[-1].startswith("NOTHING")


def test_a_playbook_of_others_is_not_spoken_of(callback, monkeypatch) -> None:
    monkeypatch.setattr(callback._display, "banner", pytest.fail)
    callback.v2_playbook_on_play_start(play("Web servers"))
    callback.v2_runner_on_ok(result({"changed": True}, role="nginx"))
    callback.v2_playbook_on_stats(None)


def test_python_does_not_search_at_its_end_what_ansible_held(callback) -> None:
    assert gc.get_freeze_count() == 0
    callback.v2_playbook_on_stats(None)
    assert gc.get_freeze_count() > 0


def test_a_report_that_cannot_be_completed_takes_nothing_from_what_is_said(callback, monkeypatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(callback._display, "banner", said.append)
    monkeypatch.setattr(callback._display, "display", said.append)
    callback.v2_playbook_on_play_start(play("Verify | All"))
    callback.v2_runner_on_ok(result({"slipway_report": {"json": "/dev/null/x", "html": "/dev/null/y", "template": "t", "ready": True}}))
    with pytest.raises(OSError):
        callback.v2_playbook_on_stats(None)
    assert said[-1].startswith("READY")


def test_nothing_of_a_hidden_result_is_looked_at(callback) -> None:
    callback.v2_playbook_on_play_start(play("Apps | Aim"))
    callback.v2_runner_on_failed(result({"_ansible_no_log": True, "msg": "password", "slipway_report": {"json": "x"}}))
    assert callback.run.steps[0].reason == "the result is hidden by no_log" and callback.run.report is None
