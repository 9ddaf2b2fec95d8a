# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proofs that a sceptic would accept, with the real client in another pod. In this order: later tests use the runs of earlier ones."""

from __future__ import annotations

import datetime
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow_lab import BUCKET, EXPERIMENTS, KEYS, LOG, NAMESPACE, READ, S3, SERVERS, Mlflow, check, kubectl, last, notebook, until
from the_lab import ROOT, changed

pytestmark = [pytest.mark.lab, pytest.mark.long]


@pytest.fixture(scope="module")
def logged(mlflow: Mlflow) -> dict:
    """A run with 30 MB of artifact and a registered model."""
    return last(mlflow.python(LOG, "proofs", str(30 * 1024 * 1024), "doubles"))


def test_three_replicas_on_an_empty_database_start_without_one_restart(mlflow: Mlflow) -> None:
    restarts = mlflow.restarts()
    assert len(restarts) == 3 and set(restarts.values()) == {0}
    jobs = json.loads(kubectl("get", "jobs", "-o", "json"))["items"]
    assert {re.sub("-[0-9a-f]+$", "", job["metadata"]["name"]) for job in jobs} >= {"mlflow-migrate", "mlflow-bucket"}
    assert not any(job["status"].get("failed") for job in jobs)


def test_a_second_run_changes_nothing(mlflow: Mlflow) -> None:
    before = {secret["metadata"]["name"]: secret.get("data") for secret in json.loads(kubectl("get", "secrets", "-o", "json"))["items"]}
    assert changed(mlflow.play()) == 0
    after = {secret["metadata"]["name"]: secret.get("data") for secret in json.loads(kubectl("get", "secrets", "-o", "json"))["items"]}
    assert before == after


def test_no_secret_is_in_any_object_or_argument(mlflow: Mlflow) -> None:
    import base64

    secrets = json.loads(kubectl("get", "secret", "postgresql", "mlflow-keys", "-o", "json"))["items"]
    values = [base64.b64decode(value).decode() for secret in secrets for value in secret["data"].values()]
    objects = kubectl("get", "deployments,statefulsets,jobs,configmaps,pods", "-o", "yaml")
    running = "".join(kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", "cat /proc/[0-9]*/cmdline") for pod in mlflow.pods())
    assert values and not any(value in objects + running for value in values)


def test_every_name_of_the_service_is_accepted_and_no_other(mlflow: Mlflow) -> None:
    for name in ("mlflow", f"mlflow.{NAMESPACE}", f"mlflow.{NAMESPACE}.svc", f"mlflow.{NAMESPACE}.svc.cluster.local"):
        assert mlflow.status(EXPERIMENTS, host=name, method="POST") == 200
        assert mlflow.status(EXPERIMENTS, host=name + ":5000", method="POST") == 200
    assert mlflow.status(EXPERIMENTS, host="evil.example", method="POST") == 403
    assert mlflow.status(EXPERIMENTS, host="10.244.evil.example:5000", method="POST") == 403
    address = mlflow.pods()[0]["status"]["podIP"]
    assert mlflow.status("/metrics", to=address, host=address + ":5000") == 200, "Prometheus comes by the pod's address"


def test_pages_of_others_may_not_write(mlflow: Mlflow) -> None:
    assert mlflow.status(EXPERIMENTS, method="POST", Origin="https://evil.example") == 403
    assert mlflow.status(EXPERIMENTS, method="POST", Origin=f"http://mlflow.{NAMESPACE}.svc:5000") == 200


def test_data_and_artifacts_outlive_all_pods_and_every_replica_has_them(mlflow: Mlflow, logged: dict) -> None:
    check(mlflow, logged)
    kubectl("delete", "pods", "-l", SERVERS)
    mlflow.wait_ready()
    for pod in mlflow.pods():
        check(mlflow, logged, env={"MLFLOW_TRACKING_URI": f"http://{pod['status']['podIP']}:5000"})
    assert set(mlflow.restarts().values()) == {0}


def test_artifacts_are_seen_through_s3(mlflow: Mlflow, logged: dict) -> None:
    keys = json.loads(mlflow.python(KEYS, S3, BUCKET, "list"))
    assert any(logged["run"] in key and key.endswith("/blob.bin") for key in keys)
    assert any(key.endswith("/MLmodel") for key in keys)


def test_a_client_that_cannot_reach_the_s3_downloads_all_the_same(mlflow: Mlflow, logged: dict) -> None:
    """MLflow 3.17 would hand it a URL of the S3 by its name in the cluster, and it would hang (research: the presigned trap)."""
    node = kubectl("get", "node", "w1", "-o", "jsonpath={.status.addresses[?(@.type=='InternalIP')].address}")
    port = kubectl("get", "service", "mlflow", "-o", "jsonpath={.spec.ports[0].nodePort}")
    notebook("laptop", f"http://{node}:{port}", outside=True)
    check(mlflow, logged, pod="laptop")
    kubectl("delete", "pod", "laptop", "--wait=false")


def test_a_stopped_database_is_told_and_its_return_needs_no_restart(mlflow: Mlflow) -> None:
    address = mlflow.pods()[0]["status"]["podIP"]
    kubectl("scale", "statefulset/postgresql", "--replicas=0")
    kubectl("wait", "pod/postgresql-0", "--for=delete", "--timeout=120s")
    until("503 while the database is away", lambda: mlflow.status(EXPERIMENTS, to=address, host="localhost", method="POST") == 503, 60)
    assert mlflow.status("/health", to=address) == 200
    until("a reason that names the database", lambda: "database:" in events(mlflow), 120)
    kubectl("scale", "statefulset/postgresql", "--replicas=1")
    until("200 after its return", lambda: mlflow.status(EXPERIMENTS, to=address, host="localhost", method="POST") == 200)
    mlflow.wait_ready()
    assert set(mlflow.restarts().values()) == {0}


def test_a_bucket_that_is_gone_is_told(mlflow: Mlflow) -> None:
    mlflow.python(KEYS, S3, "mlflow-test-other", "create_bucket")
    mlflow.python(KEYS, S3, "mlflow-test-other", "delete_bucket")
    pod = mlflow.pods()[0]["metadata"]["name"]
    probe = ["python3", "-I", "/etc/slipway/mlflow/ready.py"]
    assert kubectl("exec", pod, "--", *probe).strip() == ""
    gone = kubectl("exec", pod, "--", "env", "MLFLOW_ARTIFACTS_DESTINATION=s3://mlflow-test-other/x", *probe, check=False)
    assert "there is no such bucket" in gone
    away = kubectl("exec", pod, "--", "env", "MLFLOW_S3_ENDPOINT_URL=http://nowhere.invalid:1/s3", *probe, check=False)
    assert "artifact store" in away and "nowhere.invalid" in away


def test_a_server_is_ready_within_a_minute(mlflow: Mlflow) -> None:
    """From the making of the pods on, with the images there: the first that is ready. The load of the machine stands beside the figure."""
    kubectl("delete", "pods", "-l", SERVERS)
    mlflow.wait_ready()
    times = []
    for pod in mlflow.pods():
        (ready,) = [entry["lastTransitionTime"] for entry in pod["status"]["conditions"] if entry["type"] == "Ready"]
        times.append(seconds(ready) - seconds(pod["metadata"]["creationTimestamp"]))
    record(ready_seconds=sorted(times), load_average=os.getloadavg()[0], cores=os.cpu_count())
    assert min(times) <= 60


def seconds(stamp: str) -> float:
    return datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").timestamp()


def record(**figures: Any) -> None:
    """Adds to what stays of the run."""
    file = ROOT / ".ci-artifacts" / "mlflow.json"
    file.parent.mkdir(exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **figures}, indent=2) + "\n")


def test_a_server_at_rest_needs_at_most_700_megabytes(mlflow: Mlflow) -> None:
    script = "cat /sys/fs/cgroup/memory/memory.stat 2>/dev/null || cat /sys/fs/cgroup/memory.stat"
    found = []
    for pod in mlflow.pods():
        stat = dict(line.split() for line in kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", script).splitlines())
        used = int(stat.get("total_rss") or stat["anon"]) + int(stat.get("total_mapped_file") or stat.get("shmem", 0))
        found.append(used)
    record(bytes_at_rest=sorted(found))
    assert max(found) <= 700 * 10**6, found


# Programs that a fork makes, so that twenty clients need the memory of one.
CLIENTS = """
import json, mlflow, os, sys
mlflow.set_experiment("twenty")
client = mlflow.MlflowClient()
experiment = client.get_experiment_by_name("twenty").experiment_id
children = []
for number in range(20):
    child = os.fork()
    if not child:
        client = mlflow.MlflowClient()
        run = client.create_run(experiment).info.run_id
        for step in range(1000):
            client.log_metric(run, "loss", step * 0.5, step=step)
        client.set_terminated(run)
        os._exit(0)
    children.append(child)
failed = [child for child in children if os.waitpid(child, 0)[1]]
runs = client.search_runs([experiment])
values = {run.info.run_id: [metric.value for metric in client.get_metric_history(run.info.run_id, "loss")] for run in runs}
wrong = [run for run, found in values.items() if sorted(found) != [step * 0.5 for step in range(1000)]]
print(json.dumps({"failed": failed, "runs": len(runs), "wrong": wrong, "states": sorted({run.info.status for run in runs})}))
"""


def test_twenty_clients_lose_no_metric(mlflow: Mlflow) -> None:
    began = time.monotonic()
    seen = last(mlflow.python(CLIENTS, timeout=1800))
    record(twenty_clients_seconds=round(time.monotonic() - began, 1))
    assert seen == {"failed": [], "runs": 20, "wrong": [], "states": ["FINISHED"]}
    assert set(mlflow.restarts().values()) == {0}


def test_a_dump_brings_the_database_back(mlflow: Mlflow, logged: dict) -> None:
    output = mlflow.play("--tags", "postgresql_dump", postgresql_dump_label="test")
    job = re.search(r"postgresql-dump-\d+", output)
    assert job
    name = re.search(r"mlflow-\d+T\d+Z-test\.dump", kubectl("logs", f"job/{job[0]}"))
    assert name
    later = last(mlflow.python(LOG, "after-the-dump", "1000"))
    restore = {"postgresql_restore_file": name[0], "postgresql_restore_database": "mlflow"}
    mlflow.play(book="playbooks/postgresql_restore.yml", fails=True, **{**restore, "postgresql_restore_file": "nothing-20260101T000000Z-x.dump"})
    assert last(mlflow.python(READ, later["run"]))["status"] == "FINISHED", "a restore that fails changes nothing"
    mlflow.play(book="playbooks/postgresql_restore.yml", **restore)
    check(mlflow, logged)
    assert "RESOURCE_DOES_NOT_EXIST" in mlflow.python(f"{ERROR}client.get_run('{later['run']}')\nexcept Exception as e: print(e.error_code)")


def test_a_dump_in_a_bucket_brings_the_database_back(mlflow: Mlflow, logged: dict) -> None:
    """No claim has a part in it."""
    place: dict[str, Any] = {"postgresql_dump_claim": "", "postgresql_dump_bucket": f"s3://{BUCKET}/dumps", "postgresql_dump_s3_endpoint_url": S3}
    mlflow.play("--tags", "postgresql_dump", postgresql_dump_label="bucket", **place)
    (key,) = [key for key in json.loads(mlflow.python(KEYS, S3, BUCKET, "list")) if key.startswith("dumps/mlflow-")]
    later = last(mlflow.python(LOG, "after-the-dump-in-the-bucket", "1000"))
    restore = {**place, "postgresql_restore_database": "mlflow"}
    refused = mlflow.play(book="playbooks/postgresql_restore.yml", fails=True, **restore, postgresql_restore_file="mlflow-20260101T000000Z-x.dump")
    assert f"there are: {key.removeprefix('dumps/')}" in " ".join(refused.split())
    mlflow.play(book="playbooks/postgresql_restore.yml", **restore, postgresql_restore_file=key.removeprefix("dumps/"))
    check(mlflow, logged)
    assert "RESOURCE_DOES_NOT_EXIST" in mlflow.python(f"{ERROR}client.get_run('{later['run']}')\nexcept Exception as e: print(e.error_code)")


def test_a_dump_moves_the_database_to_a_new_claim(mlflow: Mlflow, logged: dict) -> None:
    """The steps of docs/mlflow.md, "Major upgrades", as far as one version of PostgreSQL can walk them."""
    moved = {"postgresql_claim": "postgresql-data-2"}
    refused = mlflow.play("--tags", "postgresql", fails=True, postgresql_major_version=17)
    assert "set postgresql_claim to a new name" in " ".join(refused.split())
    kubectl("scale", "deployment/mlflow", "--replicas=0")
    output = mlflow.play("--tags", "postgresql_dump", postgresql_dump_label="move")
    job = re.search(r"postgresql-dump-\d+", output)
    assert job
    name = re.search(r"mlflow-\d+T\d+Z-move\.dump", kubectl("logs", f"job/{job[0]}"))
    assert name
    mlflow.play("--tags", "postgresql", **moved)
    mlflow.play(book="playbooks/postgresql_restore.yml", **moved, postgresql_restore_file=name[0], postgresql_restore_database="mlflow")
    kubectl("scale", "deployment/mlflow", "--replicas=3")
    mlflow.play(**moved)
    check(mlflow, logged)
    assert {"postgresql-data", "postgresql-data-2"} <= set(kubectl("get", "pvc", "-o", "jsonpath={.items[*].metadata.name}").split())
    mlflow.values |= moved


def test_what_was_deleted_is_removed_for_good_at_night(mlflow: Mlflow) -> None:
    """The CronJob, begun by hand."""
    gone = last(mlflow.python(LOG, "for-the-gc", "1000"))
    mlflow.python("import mlflow, sys\nmlflow.MlflowClient().delete_run(sys.argv[1])", gone["run"])
    mlflow.play("--tags", "mlflow", mlflow_gc_older_than="1s")
    kubectl("create", "job", "gc-now", "--from=cronjob/mlflow-gc")
    until("the end of the Job", lambda: json.loads(kubectl("get", "job", "gc-now", "-o", "json"))["status"].get("conditions"))
    assert f"{gone['run']} has been permanently deleted" in kubectl("logs", "job/gc-now")
    assert "RESOURCE_DOES_NOT_EXIST" in mlflow.python(f"{ERROR}client.get_run('{gone['run']}')\nexcept Exception as e: print(e.error_code)")
    assert not [key for key in json.loads(mlflow.python(KEYS, S3, BUCKET, "list")) if gone["run"] in key]
    mlflow.play("--tags", "mlflow")


def test_an_s3_without_policies_is_told(mlflow: Mlflow) -> None:
    pod = mlflow.pods()[0]["metadata"]["name"]
    env = ["env", f"BUCKET={BUCKET}", 'POLICY_PRINCIPALS=["arn:aws:iam::123456789012:user/mlflow"]']
    output = kubectl("exec", pod, "--", *env, "python3", "/etc/slipway/mlflow/bucket.py")
    assert f"bucket {BUCKET} is there" in output and "this S3 knows no bucket policies" in output


ERROR = "import mlflow\nclient = mlflow.MlflowClient()\ntry: "


def events(mlflow: Mlflow) -> str:
    return kubectl("get", "events", "--field-selector", "reason=Unhealthy", "-o", "jsonpath={range .items[*]}{.message}{'\\n'}{end}")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mlflow_database_uri": "postgresql+psycopg2://u:geheim12@db/mlflow"}, "carries a password"),
        ({"mlflow_database_uri": "postgresql://"}, "names no driver"),
        ({"mlflow_artifacts_destination": "s3://mlflow-test-else/x"}, "would answer 404"),
        ({"mlflow_version": "3.16.0", "mlflow_image": "registry.lab:5000/mlflow:3.17.2"}, "too new for the older server"),
        ({"mlflow_artifacts_destination": "file:///artifacts"}, "serves one node only"),
        ({"mlflow_database_uri": "sqlite:////tmp/mlflow.db"}, "SQLite is one file for one server"),
    ],
)
def test_refused_before_anything_is_sent(mlflow: Mlflow, logged: dict, values: dict, said: str) -> None:
    before = kubectl("get", "deployment", "mlflow", "-o", "jsonpath={.metadata.resourceVersion}")
    output = " ".join(mlflow.play("--tags", "mlflow", fails=True, **values).split())
    assert said in output and "geheim12" not in output
    assert kubectl("get", "deployment", "mlflow", "-o", "jsonpath={.metadata.resourceVersion}") == before


def test_a_short_password_is_refused(mlflow: Mlflow, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("elevenchars\n")
    output = mlflow.play("--tags", "mlflow", fails=True, mlflow_authentication_is_enabled=True, mlflow_admin_password_file=str(file))
    assert "12" in output and "elevenchars" not in output


def test_one_variable_changes_only_what_it_must(mlflow: Mlflow) -> None:
    """Dry: the answer is the list of objects that would change."""
    output = mlflow.play("--check", mlflow_replicas=2)
    assert re.findall(r"([\w-]+/\w+ \S+): updated", output) == [f"{NAMESPACE}/Deployment mlflow"]
