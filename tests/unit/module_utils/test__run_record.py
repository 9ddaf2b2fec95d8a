# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from ansible_collections.slipway.mlops.plugins.module_utils import _run_record as record


def step(**values) -> record.Step:
    base = {"stage": "Hosts", "role": "slipway.mlops.ais_datafs", "task": "Disks are mounted", "host": "w1", "at": 1.0, "seconds": 2.0, "outcome": "ok"}
    return record.Step(**{**base, **values})


def run(*steps: record.Step, **values) -> record.Run:
    made = record.Run(playbook="site.yml", inventory=("inventories/lab",), **values)
    for one in steps:
        made.stage(one.stage)
        made.steps.append(one)
    return made


def test_a_stage_is_what_stands_before_the_bar() -> None:
    made = record.Run()
    assert [made.stage("Hosts | Disks"), made.stage("Hosts | Links"), made.stage("Apps | Aim")] == ["Hosts", "Hosts", "Apps"]
    assert made.stages == ["Hosts", "Apps"]


def test_the_lines_of_a_result_are_its_actions_and_changed_objects() -> None:
    result = {
        "actions": ["format /dev/x"],
        "objects": [
            {"action": "created", "kind": "Service", "namespace": "aim", "name": "aim"},
            {"action": "unchanged", "kind": "Secret", "namespace": "aim", "name": "s"},
            {"action": "deleted", "kind": "Namespace", "name": "old", "assumed": True},
        ],
    }
    assert record.changed_lines(result) == ("format /dev/x", "created Service aim/aim", "deleted Namespace old (assumed: the server could not be asked)")


def test_a_failure_says_what_where_why_and_the_next_command() -> None:
    text = "\n".join(record.summary(run(step(outcome="failed", reason="holds ext4\nserial S1")), 3.0))
    assert "FAILED  slipway.mlops.ais_datafs: Disks are mounted" in text
    assert "where w1" in text and "why   holds ext4" in text and "serial S1" in text
    assert "ansible-playbook site.yml -i inventories/lab --limit w1,localhost --tags ais_datafs" in text
    assert "NOT VERIFIED: the run stopped" in text


def test_without_verify_the_run_says_not_verified() -> None:
    assert "NOT VERIFIED" in record.summary(run(step()), 3.0)[-1]


def test_a_ready_report_is_ready_unless_something_failed() -> None:
    report = {"ready": True, "html": "report/report.html"}
    assert record.summary(run(step(), report=report), 3.0)[-1].startswith("READY")
    assert record.summary(run(step(outcome="failed", reason="x"), report=report), 3.0)[-1].startswith("NOT READY")
    assert record.summary(run(step(), report={"ready": False}), 3.0)[-1].startswith("NOT READY")


def test_a_look_ahead_lists_what_would_change_and_counts_nothing_as_changed() -> None:
    lines = record.summary(run(step(check=True, outcome="changed", lines=("format /dev/x",)), step(check=True, host="w2")), 3.0)
    text = "\n".join(lines)
    assert "What would change:\n  w1\n    format /dev/x" in text
    assert "w2" not in text
    assert lines[1].split() == ["Hosts", "0", "0", "2.0"]
    assert "nothing was touched" in lines[-1]
