# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import time

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _run_record as record


def step(**values) -> record.Step:
    base = {
        "stage": "Hosts",
        "role": "slipway.mlops.ais_datafs",
        "tag": "ais_datafs",
        "task": "Disks are mounted",
        "host": "w1",
        "at": 1.0,
        "seconds": 2.0,
        "outcome": "ok",
    }
    return record.Step(**{**base, **values})


def run(*steps: record.Step, **values) -> record.Run:
    made = record.Run(**{"playbook": "site.yml", "command": ("ansible-playbook", "site.yml", "-i", "inventories/lab"), **values})
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
    failed = record.summary(run(step(outcome="failed", reason="x"), report=report), 3.0)[-1]
    assert failed.startswith("NOT READY") and "says what is missing" not in failed, "the report says that nothing is"
    assert record.summary(run(step(), report={"ready": False}), 3.0)[-1].startswith("NOT READY")


def test_a_look_ahead_lists_what_would_change_and_counts_nothing_as_changed() -> None:
    lines = record.summary(run(step(check=True, outcome="changed", lines=("format /dev/x",)), step(check=True, host="w2")), 3.0)
    text = "\n".join(lines)
    assert "What would change:\n  w1\n    format /dev/x" in text
    assert "w2" not in text
    assert lines[1].split() == ["Hosts", "0", "0", "2.0"]
    assert "nothing was touched" in lines[-1]


def test_the_next_command_keeps_what_was_given_and_adds_nothing_to_what_was_chosen() -> None:
    given = (
        "ansible-playbook",
        "site.yml",
        "-i",
        "inventories/lab",
        "--check",
        "-e",
        "slipway_kubeconfig=/x y",
        "--skip-tags",
        "aim",
        "--limit",
        "ais_targets",
    )
    command = record.again(run(command=given, limit="ais_targets", tags=("ais_datafs",)), step(outcome="failed"))
    assert command == "ansible-playbook site.yml -i inventories/lab --check -e 'slipway_kubeconfig=/x y' --skip-tags aim --limit ais_targets"


def test_a_role_that_changes_hosts_together_is_not_kept_to_one() -> None:
    assert "--limit" not in record.again(run(), step(role="slipway.mlops.host_mtu", tag="host_mtu", outcome="failed"))


def test_a_task_that_does_not_bear_the_tag_of_its_role_is_not_chosen_by_it() -> None:
    assert "--tags" not in record.again(run(), step(role="slipway.mlops.postgresql", tag="", host="localhost"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["-e", "postgresql_admin_password=x"], ["-e", "(as before)"]),
        (["--extra-vars=api_token=x"], ["--extra-vars=(as before)"]),
        (["-eapi_token=x"], ["-e(as before)"]),
        (["-ve", "postgresql_admin_password=x"], ["-ve", "(as before)"]),
        (["-Kvve", "api_token=x"], ["-Kvve", "(as before)"]),
        (["-vvveapi_token=x"], ["-vvve(as before)"]),
        (["-i", "secret-site"], ["-i", "secret-site"]),
        (["--extra-var", "s3_access_key=x"], ["--extra-var", "(as before)"]),
        (["--extra=apikey=x"], ["--extra=(as before)"]),
        (["-e", "@secrets.yml"], ["-e", "@secrets.yml"]),
        (["-e", "slipway_kubeconfig=/x"], ["-e", "slipway_kubeconfig=/x"]),
        (["-e", "mlflow_database_uri=postgresql+psycopg2://u:hidden@db/mlflow"], ["-e", "(as before)"]),
        (["-e", "mlflow_s3_endpoint_url=http://s3:9000/x"], ["-e", "mlflow_s3_endpoint_url=http://s3:9000/x"]),
        (["--vault-password-file", "/x"], ["--vault-password-file", "/x"]),
    ],
)
def test_a_value_that_may_be_secret_is_not_said_again(given, words) -> None:
    assert record.shown(["/usr/bin/ansible-playbook", "site.yml", *given]) == ("ansible-playbook", "site.yml", *words)


def test_a_host_that_nobody_can_reach_is_told_once() -> None:
    gone = step(outcome="unreachable", check=True, reason="no route")
    lines = record.summary(run(gone, step(outcome="unreachable", check=True, task="other", reason="no route")), 3.0)
    assert sum(line.startswith("FAILED") for line in lines) == 1
    assert lines[1].split()[2] == "2"
    assert "Nothing would change, as far as it could be looked at." in lines
    assert lines[-1].startswith("NOT ALL WAS SEEN") and "stopped before" not in lines[-1]


def test_a_refused_inventory_is_no_half_run() -> None:
    made = run(step(stage="Inventory", role="", tag="", host="localhost", outcome="failed", reason="typo"))
    assert record.summary(made, 1.0)[-1].startswith("REFUSED")


@pytest.mark.parametrize(
    ("stage", "chosen", "text"),
    [
        ("Uninstall", {}, "What site.yml made is gone, but for what is kept"),
        ("Uninstall", {"tags": ("aim",)}, "What the chosen hosts and tags have of it is gone"),
        ("Uninstall", {"limit": "w1"}, "What the chosen hosts and tags have of it is gone"),
        ("Training", {}, "The run is in MLflow, in the state that is told above"),
        ("Load", {}, "The load has ended"),
        ("Restore", {}, "The database holds"),
        ("Hosts", {}, "NOT VERIFIED"),
    ],
)
def test_each_playbook_ends_with_what_it_did(stage, chosen, text) -> None:
    made = run(step(stage="Inventory", outcome="ok"), step(stage=stage, outcome="changed"), **chosen)
    assert record.summary(made, 1.0)[-1].startswith(text)
    failed = run(step(stage=stage, outcome="failed", reason="x"), **chosen)
    assert record.summary(failed, 1.0)[-1].startswith("NOT VERIFIED" if stage == "Hosts" else "NOT DONE")


def test_a_ready_site_says_how_to_connect() -> None:
    services = [{"name": "MLflow", "url": "http://mlflow.mlflow:5000", "how": "kubectl -n mlflow port-forward svc/mlflow 5000"}]
    lines = record.summary(run(step(), report={"ready": True, "html": "r.html", "services": services}), 3.0)
    assert lines[-2:] == ["  MLflow: http://mlflow.mlflow:5000", "    kubectl -n mlflow port-forward svc/mlflow 5000"]
    assert "MLflow" not in "".join(record.summary(run(step(), report={"ready": False, "services": services}), 3.0))


def test_a_loop_tells_what_each_of_its_items_changed_and_why_one_failed() -> None:
    part = {"objects": [{"action": "deleted", "kind": "Service", "namespace": "aim", "name": "aim"}]}
    assert record.changed_lines({"results": [part, {"changed": False}]}) == ("deleted Service aim/aim",)
    assert record.reason_of({"msg": "One or more items failed", "results": [part, *[{"failed": True, "msg": "forbidden"}] * 2]}) == "forbidden"


@pytest.mark.parametrize("outcome", ["ok", "failed"])
def test_a_part_that_was_read_back_is_no_look_ahead(outcome) -> None:
    """`verify.yml --limit w1` or `--tags host_mtu` writes no report."""
    last = record.summary(run(step(stage="Verify", check=True, outcome=outcome, reason="x"), limit="w1"), 1.0)[-1]
    assert last.startswith("NOT VERIFIED: only a part")
    skipped = run(step(check=True), step(stage="Verify", outcome="skipped"))
    assert record.summary(skipped, 1.0)[-1].startswith("This was a look ahead"), "site.yml --check"


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("playbooks", "ansible-playbook playbooks/verify.yml -i 'my hosts' -e slipway_kubeconfig=/k"),
        ("", "ansible-playbook slipway.mlops.verify -i 'my hosts' -e slipway_kubeconfig=/k"),
    ],
)
def test_the_playbook_to_go_on_with_is_for_the_same_hosts_and_cluster(folder, command) -> None:
    given = {"folder": folder, "inventories": ("my hosts",), "extra_vars": ("-e", "slipway_kubeconfig=/k")}
    assert f"`{command}`" in record.summary(run(step(), **given), 1.0)[-1]


def test_no_text_of_a_host_drives_the_terminal() -> None:
    evil = "holds \x1b[2Jnothing\x9b1m"
    lines = record.summary(run(step(outcome="failed", reason=evil), step(check=True, outcome="changed", lines=(evil,))), 1.0)
    lines += record.foreseen(run(step(check=True, outcome="changed", lines=(evil,))))
    assert "holds  [2Jnothing 1m" in "".join(lines)
    assert not [line for line in lines if not line.isprintable()]


def test_thousands_of_hosts_are_told_in_a_moment() -> None:
    made = run(*(step(host=f"w{number}", check=True, outcome="changed", lines=("x",)) for number in range(10_000)))
    began = time.process_time()
    assert len(record.summary(made, 1.0)) > 20_000
    assert time.process_time() - began < 2
