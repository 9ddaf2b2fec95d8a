# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a user gets who installs the collection instead of cloning it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]


def run(*argv: str, **options) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL, check=False, timeout=300, **options)
    assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    run("ansible-galaxy", "collection", "build", "--output-path", str(folder), cwd=ROOT)
    return next(folder.glob("slipway-mlops-*.tar.gz"))


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory) -> dict:
    """The environment in which only the installed collection is found."""
    folder = tmp_path_factory.mktemp("elsewhere")
    # Nothing of the checkout's configuration: with it the collection would count as installed already.
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))}
    environ = {**clean, "ANSIBLE_COLLECTIONS_PATH": str(folder / "collections"), "ANSIBLE_NOCOLOR": "1"}
    run("ansible-galaxy", "collection", "install", str(archive), "-p", str(folder / "collections"), "--offline", cwd=folder, env=environ)
    return {"cwd": folder, "env": environ}


def test_the_archive_holds_what_users_need_and_nothing_else(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    tops = {name.split("/")[0] for name in names}
    assert {"plugins", "roles", "LICENSE", "README.md", "playbooks", "meta", "docs", "images", "examples", "inventories"} <= tops
    assert not tops & {"lab", "tests", "bench", "molecule", "collections", ".lab", ".venv", ".ci", ".git", "report"}, tops
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".tar.gz"))]
    assert not [name for name in names if name.startswith("inventories/lab")]


def test_galaxys_importer_takes_the_archive(archive: Path, tmp_path: Path) -> None:
    """As galaxy.ansible.com would read it. Its linter and sanity tests are steps of `make test` of their own."""
    settings = tmp_path / "importer.cfg"
    choices = {"CHECK_REQUIRED_TAGS": True, "RUN_ANSIBLE_DOC": True, "RUN_ANSIBLE_LINT": False, "RUN_FLAKE8": False, "RUN_ANSIBLE_TEST": False}
    settings.write_text("\n".join(["[galaxy-importer]", *(f"{name} = {value}" for name, value in choices.items())]))
    output = run(sys.executable, "-m", "galaxy_importer.main", str(archive), cwd=tmp_path, env={**os.environ, "GALAXY_IMPORTER_CONFIG": str(settings)})
    assert "Importer processing completed successfully" in output
    assert [line for line in output.splitlines() if line.startswith(("WARNING", "ERROR"))] == []


def test_the_installed_playbooks_run_by_their_full_names(installed: dict) -> None:
    inventory = installed["cwd"] / "collections/ansible_collections/slipway/mlops/inventories/example"
    output = run("ansible-playbook", "slipway.mlops.inventory", "-i", str(inventory), **installed)
    assert "failed=0" in output and "ok=1" in output


def test_every_module_role_and_the_callback_are_documented(installed: dict) -> None:
    modules = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
    docs = json.loads(run("ansible-doc", "--json", "-t", "module", *(f"slipway.mlops.{name}" for name in modules), **installed))
    assert sorted(docs) == [f"slipway.mlops.{name}" for name in modules]
    for name, doc in docs.items():
        assert doc["examples"] and doc["doc"]["description"] and doc["doc"]["version_added"], name
    roles = sorted(path.parent.parent.name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
    listed = json.loads(run("ansible-doc", "--json", "-t", "role", "-l", "slipway.mlops", **installed))
    assert sorted(listed) == [f"slipway.mlops.{name}" for name in roles]
    assert "slipway.mlops.summary" in run("ansible-doc", "-t", "callback", "slipway.mlops.summary", **installed)


def test_the_changelog_is_well_formed() -> None:
    run("antsibull-changelog", "lint", cwd=ROOT)


def test_the_pages_made_from_the_code_are_up_to_date() -> None:
    run("python", "docs/generate.py", "--check", cwd=ROOT)


def test_the_documentation_site_builds_without_network() -> None:
    # An address that answers nobody stands for the missing network.
    blocked = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    run("docs/build.sh", cwd=ROOT, env={**os.environ, **blocked})
    assert (ROOT / "docs/build/html/index.html").exists()


def test_the_action_group_names_exactly_the_modules_that_speak_to_the_cluster() -> None:
    group = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]["k8s"]
    modules = (ROOT / "plugins/modules").glob("*.py")
    speaking = {path.stem for path in modules if re.search(r"slipway\.mlops\.k8s[\],\n]", path.read_text(encoding="utf-8"))}
    assert set(group) == speaking
