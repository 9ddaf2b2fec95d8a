# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the minor version before to this one, with data. The last of this folder: it begins with an empty namespace."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from mlflow_lab import LOG, NAMESPACE, OLD, Mlflow, check, kubectl, last, notebook
from the_lab import REGISTRY_AUTH, ROOT

sys.path.insert(0, str(ROOT / "lab"))
from slipway_lab import containers, images, layout

pytestmark = [pytest.mark.lab, pytest.mark.long]

# The image of today with the older release in place of this one.
CONTAINERFILE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
USER root
RUN /opt/mlflow/bin/pip install --disable-pip-version-check --quiet --only-binary=:all: 'mlflow[auth]==%s'
USER 10001:10001
"""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The older release in the lab's registry."""
    lab, work = layout.from_environment(ROOT), tmp_path_factory.mktemp("older")
    context = work / "context"
    context.mkdir()
    (context / "Containerfile").write_text(CONTAINERFILE % OLD)
    name = f"{lab.registry}/mlflow:{OLD}"
    base = images._load(lab, "mlflow")
    try:
        options = ["--isolation=chroot", "--pull-never", "--network=host", "--tag", name, "--build-arg", f"BASE_IMAGE={base}"]
        containers.podman(lab, "build", *options, *images._mounts(lab, work), context)
        containers.podman(lab, "push", "--quiet", "--tls-verify=false", "--authfile", REGISTRY_AUTH, name)
    finally:
        containers.podman(lab, "rmi", "--force", name, base, check=False)
    return OLD


@pytest.fixture(scope="module")
def upgraded(older: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mlflow, dict, str]]:
    """A server with data of the older release, then the role with today's; the run, and the schema's version before."""
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    mlflow = Mlflow(tmp_path_factory.mktemp("versions"), mlflow_replicas=2)
    mlflow.play(mlflow_version=older)
    notebook("notebook")
    logged = last(mlflow.python(LOG, "proofs", str(1024 * 1024), "doubles"))
    assert version_of(mlflow) == {older}
    schema = revision()
    mlflow.play()
    yield mlflow, logged, schema
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def version_of(mlflow: Mlflow) -> set[str]:
    """What the servers themselves say."""
    ask = "import sys, urllib.request as u\nprint(u.urlopen('http://' + sys.argv[1] + ':5000/version').read().decode())"
    return {mlflow.python(ask, pod["status"]["podIP"]).strip() for pod in mlflow.pods()}


def revision() -> str:
    query = "SELECT version_num FROM alembic_version"
    return kubectl("exec", "postgresql-0", "--", "psql", "-h", "/run/postgresql", "-U", "postgres", "-d", "mlflow", "-Atc", query).strip()


def test_data_of_the_older_version_is_there_after_the_upgrade(upgraded: tuple[Mlflow, dict, str]) -> None:
    mlflow, logged, schema = upgraded
    assert version_of(mlflow) == {"3.17.2"}
    assert revision() != schema, "nothing was migrated"
    check(mlflow, logged)


def test_the_schema_was_migrated_once_before_the_servers_and_after_a_dump(upgraded: tuple[Mlflow, dict, str]) -> None:
    mlflow, _logged, _schema = upgraded
    jobs = [job for job in json.loads(kubectl("get", "jobs", "-o", "json"))["items"] if job["metadata"]["name"].startswith("mlflow-migrate")]
    newest = max(jobs, key=lambda job: job["metadata"]["creationTimestamp"])
    assert newest["status"]["succeeded"] == 1 and not newest["status"].get("failed")
    assert all(pod["metadata"]["creationTimestamp"] >= newest["status"]["completionTime"] for pod in mlflow.pods())
    assert "-before-mlflow-3.17.2.dump" in kubectl("logs", f"job/{newest['metadata']['name']}", "-c", "dump")
    assert set(mlflow.restarts().values()) == {0}


def test_the_way_back_is_refused(upgraded: tuple[Mlflow, dict, str]) -> None:
    mlflow, _logged, _schema = upgraded
    assert "too new for the older server" in " ".join(mlflow.play("--tags", "mlflow", fails=True, mlflow_version=OLD).split())
    assert version_of(mlflow) == {"3.17.2"}
