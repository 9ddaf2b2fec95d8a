# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles postgresql, mlflow and mlflow_job declare, rendered by Ansible itself and valid for several Kubernetes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils import _mlflow_environment as environment
from ansible_collections.slipway.mlops.plugins.module_utils._mlflow_settings import Settings

ROOT = Path(__file__).resolve().parents[3]
ROLES = ("postgresql", "mlflow", "mlflow_job")
CLAIM: dict[str, Any] = {"mlflow_artifacts_destination": "file:///artifacts", "mlflow_replicas": 1}
SQLITE = {**CLAIM, "mlflow_database_uri": "sqlite:////artifacts/mlflow.db"}
PULLING = {"slipway_registry_auth_file": "/etc/auth.json", "slipway_image_pull_secrets": ["mine"], "slipway_image_registry": "registry.example.org"}
JOB: dict[str, Any] = {"name": "j", "script": "true", "env": [], "dumps": True, "bucket": "", "seconds": 60}
KEYS = [{"env": "AWS_ACCESS_KEY_ID", "secret": "awsacct", "key": "awsacct"}]

# role -> variant -> its variables
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "mlflow": {
        "defaults": {},
        "one_replica": {"mlflow_replicas": 1},
        "claim": CLAIM,
        "claim_of_one_pod": {**CLAIM, "mlflow_artifacts_claim_access_mode": "ReadWriteOncePod", "mlflow_artifacts_existing_claim": "mine"},
        "shared_claim": {**CLAIM, "mlflow_replicas": 2, "mlflow_artifacts_claim_access_mode": "ReadWriteMany", "mlflow_artifacts_claim_storage_class": "c"},
        "sqlite": SQLITE,
        "users": {"mlflow_authentication_is_enabled": True, "mlflow_database_uri": "postgresql+psycopg2://?sslmode=require", "mlflow_gc_older_than": "30d"},
        "gc_beside_a_claim": {**CLAIM, "mlflow_gc_older_than": "30d"},
        "again": {"mlflow_schema_generation": "2"},
        "uri_from_a_secret": {"mlflow_database_secret_keys": {"MLFLOW_BACKEND_STORE_URI": "uri"}},
        "open": {
            "mlflow_ingress_host": "mlflow.example.org",
            "mlflow_ingress_tls_secret": "tls",
            "mlflow_ingress_class": "nginx",
            "mlflow_static_prefix": "/mlflow",
            "mlflow_service_type": "NodePort",
            "mlflow_service_node_port": 30500,
            "mlflow_clients": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "notebooks"}}}],
            "mlflow_namespace_is_managed": False,
        },
        "pulling": {**PULLING, "mlflow_artifacts_credentials": KEYS},
    },
    "postgresql": {
        "defaults": {},
        "moved": {"postgresql_claim": "postgresql-17", "postgresql_claim_storage_class": "fast"},
        "proof": {"__postgresql_job": {**JOB, "proof_of": "abc", "dumps": False}},
        "there": {"postgresql_existing_claim": "mine", "postgresql_dump_claim": "", "postgresql_namespace_is_managed": False},
        "to_a_bucket": {"postgresql_dump_bucket": "s3://dumps/x", "postgresql_dump_s3_credentials": KEYS, "__postgresql_job": {**JOB, "bucket": "put"}},
        "from_a_bucket": {"postgresql_dump_claim": "", "postgresql_dump_bucket": "s3://dumps", "__postgresql_job": {**JOB, "bucket": "get"}},
        "pulling": {**PULLING, "postgresql_client_labels": {}},
    },
    "mlflow_job": {
        "defaults": {},
        "sweep": {"mlflow_job_sweep": [{"depth": 1}, {"depth": 2}], "mlflow_job_parameters": {"evals": 4}},
        "everything": {
            "mlflow_job_gpus": 1,
            "mlflow_job_runtime_class": "nvidia",
            "mlflow_job_claims": [{"claim": "airline", "path": "/data", "read_only": True}],
            "mlflow_job_secrets": KEYS,
            "mlflow_job_environment": {"OMP_NUM_THREADS": 4},
            "mlflow_job_credentials_secret": "login",
            **PULLING,
        },
        "for_mlflow_run": {"__mlflow_job_is_template": True},
    },
}
TEMPLATES = {
    "mlflow": ["state.yaml.j2", "schema.yaml.j2", "mlflow.yaml.j2", "verify.yaml.j2"],
    "postgresql": ["postgresql.yaml.j2", "job.yaml.j2"],
    "mlflow_job": ["job.yaml.j2"],
}
# What tasks register or set.
GIVEN: dict[str, dict[str, Any]] = {
    "mlflow": {"__mlflow_readiness": {"fingerprints": {"mlflow": "0123456789abcdef"}}},
    "postgresql": {"__postgresql_server": {"configuration": "port = 5432\n"}, "__postgresql_job": JOB},
    "mlflow_job": {"__mlflow_job_is_template": False},
}
ALL = [(role, variant) for role, variants in VARIANTS.items() for variant in variants]


def environments(values: dict[str, Any]) -> dict[str, Any]:
    """What mlflow_server_info answers."""
    uri, destination = values.get("mlflow_database_uri", "postgresql+psycopg2://"), values.get("mlflow_artifacts_destination", "s3://mlflow/artifacts")
    settings = Settings("mlflow", "mlflow", "3.17.2", 2, uri, destination, authentication=bool(values.get("mlflow_authentication_is_enabled")))
    keys = values.get("mlflow_database_secret_keys", {"PGPASSWORD": "password"})
    database = environment.Database("postgresql", 5432, "mlflow", "mlflow", "postgresql", keys)
    store = environment.Store("http://s3", credentials=values.get("mlflow_artifacts_credentials", ()))
    return {
        "database_environment": environment.database(settings, database),
        "store_environment": environment.store(settings, store),
        "server_environment": environment.server(settings, database, store, environment.Server(keys_secret="mlflow-keys", admin_secret="mlflow-admin")),
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """(role, variant) -> Kind/name -> object. Every variant is a host and every role a play, so Ansible starts once."""
    folder = tmp_path_factory.mktemp("roles")
    (folder / "files").mkdir()
    (folder / "group_vars").mkdir()
    groups, plays = {}, []
    for role in ROLES:
        source = ROOT / "roles" / role
        for file in (source / "files").iterdir():
            if not (folder / "files" / file.name).exists():
                (folder / "files" / file.name).symlink_to(file)
        hosts = {f"{role}__{name}": values for name, values in VARIANTS[role].items()}
        if role == "mlflow":
            hosts = {name: {**values, "__mlflow_server": environments(values)} for name, values in hosts.items()}
        groups[f"of_{role}"] = {"hosts": hosts}
        defaults = yaml.safe_load((source / "defaults" / "main.yml").read_text(encoding="utf-8"))
        (folder / "group_vars" / f"of_{role}.yml").write_text(yaml.safe_dump({**defaults, **GIVEN[role]}))
        # `---` in some templates, none in others.
        text = "\n---\n".join(f"{{{{ lookup('ansible.builtin.template', '{source}/templates/{name}') }}}}" for name in TEMPLATES[role])
        tasks = [{"ansible.builtin.debug": {"msg": text}}]
        plays.append({"hosts": f"of_{role}", "connection": "local", "gather_facts": False, "vars_files": [str(source / "vars" / "main.yml")], "tasks": tasks})
    (folder / "inventory.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "inventory.yml"), str(folder / "play.yml"), "-f", "2"]
    environ = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    shown = dict(re.findall(r"^ok: \[(\w+)\] => (\{.*?^\})", done.stdout, re.MULTILINE | re.DOTALL))
    return {(role, variant): read(json.loads(shown[f"{role}__{variant}"])["msg"]) for role, variant in ALL}


def read(text: str) -> dict[str, Any]:
    items = [item for item in yaml.safe_load_all(text) if item]
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in items}


def pod(item: dict[str, Any]) -> dict[str, Any]:
    spec = item["spec"].get("jobTemplate", item)["spec"]
    return dict(spec["template"]["spec"])


def claims(item: dict[str, Any]) -> list[str]:
    return [volume["persistentVolumeClaim"]["claimName"] for volume in pod(item)["volumes"] if "persistentVolumeClaim" in volume]


@pytest.mark.parametrize("version", ["1.34", pytest.param("1.29", marks=pytest.mark.long)])
@pytest.mark.parametrize(("role", "variant"), ALL)
def test_what_is_declared_is_valid_kubernetes(rendered: dict[tuple[str, str], dict[str, Any]], role: str, variant: str, version: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pkg_resources
        import kubernetes_validate
    for name, item in rendered[role, variant].items():
        assert item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "slipway", name
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize(("role", "variant"), ALL)
def test_no_pod_has_rights_or_mounts_what_it_does_not_have(rendered: dict[tuple[str, str], dict[str, Any]], role: str, variant: str) -> None:
    for item in rendered[role, variant].values():
        if item["kind"] not in ("Deployment", "StatefulSet", "Job", "CronJob"):
            continue
        spec = pod(item)
        assert spec["automountServiceAccountToken"] is False and spec["securityContext"]["runAsNonRoot"] is True
        for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
            rights = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
            assert {**container["securityContext"], **rights} == container["securityContext"]
            assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in spec["volumes"]}
            names = [entry["name"] for entry in container.get("env") or []]
            assert len(names) == len(set(names)), names


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        ("defaults", "RollingUpdate"),
        ("one_replica", "RollingUpdate"),
        ("shared_claim", "RollingUpdate"),
        ("claim", "Recreate"),
        ("claim_of_one_pod", "Recreate"),
        ("sqlite", "Recreate"),
    ],
)
def test_a_claim_for_one_pod_is_let_go_before_the_next_wants_it(rendered: dict[tuple[str, str], dict[str, Any]], variant: str, kind: str) -> None:
    assert rendered["mlflow", variant]["Deployment/mlflow"]["spec"]["strategy"]["type"] == kind


@pytest.mark.parametrize("variant", ["claim", "claim_of_one_pod", "gc_beside_a_claim", "sqlite"])
def test_nothing_but_the_server_holds_the_claim_of_the_artifacts(rendered: dict[tuple[str, str], dict[str, Any]], variant: str) -> None:
    found = rendered["mlflow", variant]
    holders = [name for name, item in found.items() if item["kind"] in ("Job", "CronJob", "Deployment") and set(claims(item)) & {"mlflow-artifacts", "mine"}]
    assert holders == ["Deployment/mlflow"]


def test_an_sqlite_file_is_migrated_by_the_pod_that_has_it(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    found = rendered["mlflow", "sqlite"]
    (step,) = pod(found["Deployment/mlflow"])["initContainers"]
    assert step["command"][-1].endswith("/migrate.py") and {"name": "artifacts", "mountPath": "/artifacts"} in step["volumeMounts"]
    assert "Job/mlflow-migrate" not in found and "initContainers" not in pod(rendered["mlflow", "claim"]["Deployment/mlflow"])


def test_a_dump_comes_before_a_migration_where_we_know_the_database(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert claims(rendered["mlflow", "defaults"]["Job/mlflow-migrate"]) == ["postgresql-dumps"]
    assert claims(rendered["mlflow", "uri_from_a_secret"]["Job/mlflow-migrate"]) == []


def test_another_generation_sees_to_bucket_and_schema_again(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    for name in ("Job/mlflow-migrate", "Job/mlflow-bucket"):
        assert rendered["mlflow", "defaults"][name]["metadata"]["annotations"] == {"slipway.mlops/apply": "once"}
        assert rendered["mlflow", "again"][name]["metadata"]["annotations"] == {"slipway.mlops/apply": "once", "slipway.mlops/generation": "2"}


def test_users_have_a_database_of_their_own(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    found = rendered["mlflow", "users"]
    uri = "postgresql+psycopg2:///mlflow_auth?sslmode=require"
    assert f"database_uri = {uri}\n" in found["ConfigMap/mlflow"]["data"]["basic_auth.ini"]
    (container,) = pod(found["Job/mlflow-migrate"])["containers"]
    assert {"name": "AUTH_DATABASE_URI", "value": uri} in container["env"]


def test_the_nightly_removal_logs_in_and_asks_the_server_for_artifacts(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    (container,) = pod(rendered["mlflow", "users"]["CronJob/mlflow-gc"])["containers"]
    assert container["command"][:2] == ["python3", "-c"] and container["command"][2].startswith("import os, mlflow.cli; mlflow.cli.gc([")
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert env["OLDER_THAN"] == "30d" and env["MLFLOW_TRACKING_URI"] == "http://mlflow:5000" and {"MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "HOME"} <= set(env)
    assert "CronJob/mlflow-gc" not in rendered["mlflow", "defaults"]


def test_a_policy_lets_in_our_clients_our_trainings_and_who_is_named(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    (rule,) = rendered["mlflow", "open"]["NetworkPolicy/mlflow"]["spec"]["ingress"]
    names = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for peer in rule["from"] if "podSelector" in peer]
    assert names == ["mlflow-client", "mlflow-job"] and len(rule["from"]) == 3
    training = rendered["mlflow_job", "defaults"]["Job/training"]["spec"]["template"]["metadata"]["labels"]
    assert training["app.kubernetes.io/name"] == "mlflow-job"
    assert "NetworkPolicy/mlflow" not in rendered["mlflow", "defaults"]


def test_what_the_data_is_of_is_noted(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert rendered["mlflow", "defaults"]["ConfigMap/mlflow-state"]["data"] == {"version": "3.17.2", "artifacts_destination": "s3://mlflow/artifacts"}


@pytest.mark.parametrize(("variant", "claim", "made"), [("defaults", "postgresql-data", True), ("moved", "postgresql-17", True), ("there", "mine", False)])
def test_the_database_is_on_the_claim_that_is_named(rendered: dict[tuple[str, str], dict[str, Any]], variant: str, claim: str, made: bool) -> None:
    found = rendered["postgresql", variant]
    assert claims(found["StatefulSet/postgresql"]) == [claim] and (f"PersistentVolumeClaim/{claim}" in found) is made
    assert ("PersistentVolumeClaim/postgresql-dumps" in found) is (variant != "there"), "dumps stay where they are when the data moves"


def test_a_bucket_comes_after_a_dump_and_before_a_restore(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    def order(variant: str) -> list[str]:
        spec = pod(rendered["postgresql", variant]["Job/j"])
        return [container["name"] for container in [*spec["initContainers"], *spec["containers"]]]

    assert order("to_a_bucket") == ["client", "s3"] and order("from_a_bucket") == ["s3", "client"] and order("defaults") == ["client"]


def test_a_sweep_is_an_indexed_job(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    spec = rendered["mlflow_job", "sweep"]["Job/training"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["backoffLimitPerIndex"]) == ("Indexed", 2, 0) and "backoffLimit" not in spec


def test_mlflow_run_gets_a_job_without_our_wrapper(rendered: dict[tuple[str, str], dict[str, Any]]) -> None:
    spec = pod(rendered["mlflow_job", "for_mlflow_run"]["Job/training"])
    assert "run.py" not in str(spec) and "/etc/slipway/job/run.py" in pod(rendered["mlflow_job", "defaults"]["Job/training"])["containers"][0]["command"]


def test_both_roles_dump_in_the_same_way() -> None:
    """A role cannot see the files of another one."""
    assert (ROOT / "roles/mlflow/files/dump.sh").read_bytes() == (ROOT / "roles/postgresql/files/dump.sh").read_bytes()
