# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What playbooks, roles, packaging and the Makefile say of each other."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.filter.failed_results import failed_results
from ansible_collections.slipway.mlops.plugins.module_utils._inventory import ON_CONTROLLER

ROOT = Path(__file__).resolve().parents[2]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def defaults() -> dict[str, Any]:
    return {name: value for path in sorted(ROOT.glob("roles/*/defaults/main.yml")) for name, value in (load(str(path)) or {}).items()}


def test_names_of_workloads_are_those_of_the_roles() -> None:
    """`name | default(x)` in the playbooks' variables and the role's default `name: x` are the same."""
    known, seen = defaults(), 0
    for path in (ROOT / "playbooks/vars/workloads.yml", ROOT / "playbooks/uninstall.yml"):
        text = path.read_text(encoding="utf-8")
        for name, value in re.findall(r"(\w+) \| default\(('[^']*'|\d+)\)", text):
            if not name.startswith("slipway_"):
                seen += 1
                assert str(known[name]) == value.strip("'"), name
        for name, value in re.findall(r"(\w+) \| default\(workloads_prefix ~ '([^']*)'\)", text):
            seen += 1
            assert known[name] == "{{ slipway_namespace_prefix | default('') }}" + value, name
    assert seen > 10


def test_every_image_that_a_role_takes_from_the_registry_is_built() -> None:
    (play,) = load("playbooks/images.yml")
    values, known = play["vars"], defaults()
    built = {image["name"].replace("{{ images_client }}", values["images_client"]).partition("/")[2] for image in values["images_all"].values()}
    prefix = "{{ slipway_image_registry | default('') ~ '/' if slipway_image_registry | default('') else '' }}"
    taken = {name: value.removeprefix(prefix) for name, value in known.items() if str(value).startswith(prefix)}
    plain = {name: re.sub(r"\{\{ (\w+) \}\}", lambda found: str(known[found[1]]), value) for name, value in taken.items()}
    assert len(plain) > 6 and {name: image for name, image in plain.items() if image not in built} == {}
    options = load("playbooks/vars/shared.yml")["argument_specs"]["main"]["options"]["slipway_images"]
    assert options["choices"] == options["default"] == list(values["images_all"])
    assert all((ROOT / "images" / name / "Containerfile").exists() for name in values["images_all"] if name != "training")


@pytest.mark.parametrize(
    ("inventory", "given", "deployed"),
    [
        ("ais_targets: {hosts: {w1: {}}}", {}, ["aistore", "postgresql", "mlflow", "aim"]),
        ("ais_targets: {hosts: {w1: {}}}", {"postgresql_is_external": True}, ["aistore", "mlflow", "aim"]),
        ("ais_targets: {hosts: {}}", {"postgresql_is_external": "false"}, ["postgresql", "mlflow", "aim"]),
        ("k8s_cluster: {hosts: {w1: {}}}", {"slipway_workloads": ["aistore", "aim"]}, ["aim"]),
    ],
    ids=["all", "a PostgreSQL of somebody else's", "no host for AIStore", "no group for it"],
)
def test_only_what_is_deployed_is_looked_for(tmp_path: Path, inventory: str, given: dict[str, Any], deployed: list[str]) -> None:
    """verify.yml asks for these sets and tells of these services; one that nobody made is never ready."""
    (tmp_path / "hosts.yml").write_text("all: {children: {%s}}\n" % inventory)
    values = {**load("playbooks/vars/aistore.yml"), **load("playbooks/vars/workloads.yml"), **given}
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "-i", str(tmp_path / "hosts.yml"), "-m", "debug", "-a", "msg={{ workloads_deployed }}"]
    environ = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    said = subprocess.run([*argv, "-e", json.dumps(values)], cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout
    assert json.loads("{" + said.partition(" => {")[2])["msg"] == deployed
    (asked,) = [task for play in load("playbooks/verify.yml") for task in play.get("tasks") or () if "slipway.mlops.k8s_readiness_info" in task]
    assert asked["slipway.mlops.k8s_readiness_info"]["sets"] == "{{ workloads_deployed | map('extract', workloads_set_of) }}"


def test_verify_forgets_the_results_of_every_role_that_it_judges() -> None:
    """What a role registered in an earlier stage would be taken for what was read back."""
    plays = load("playbooks/verify.yml")
    tasks = [task for play in plays for task in play.get("tasks") or ()]
    (forgotten,) = [set(task["ansible.builtin.set_fact"]) for task in tasks if "ansible.builtin.set_fact" in task]
    (judged,) = [task["slipway.mlops.site_report"]["host_roles"] for task in tasks if "slipway.mlops.site_report" in task]
    assert forgotten == {f"__{role}_result" for role in judged}
    registered = {match for path in ROOT.glob("roles/*/tasks/*.yml") for match in re.findall(r"register: (__\w+_result)$", path.read_text(), re.MULTILINE)}
    assert forgotten <= registered


def tasks_of(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [task for entry in entries for task in (tasks_of(entry["block"]) if "block" in entry else [entry])]


def test_a_look_ahead_finds_every_failure() -> None:
    """plan.yml goes on past what fails and judges by what was registered; a task that registers nothing would fail unseen."""
    looked_at = [path for path in ROOT.glob("roles/*/tasks/*.yml") if path.stem in ("main", "apply", "toolkit", "cluster", "calico")]
    passive = ("ansible.builtin.assert", "ansible.builtin.include_tasks", "ansible.builtin.import_tasks")
    tasks = [task for path in looked_at if path.parts[-3] != "mlflow_job" for task in tasks_of(load(str(path)))]
    assert len(tasks) > 30 and [task["name"] for task in tasks if "register" not in task and not set(passive) & set(task)] == []


def test_a_loop_that_failed_in_a_look_ahead_is_told_with_its_reason() -> None:
    loop = {"failed": True, "msg": "One or more items failed", "results": [{"failed": True, "msg": "no such file"}, {"changed": True}]}
    assert failed_results({"w1": {"__gpu_runtime_packages": loop, "x": loop}}, ["w1"]) == ["w1: no such file"]


def test_uninstall_takes_away_the_labels_of_every_cluster_that_the_stage_labels_makes() -> None:
    (variables,) = [
        task["vars"] for play in load("playbooks/uninstall.yml") for task in play.get("tasks", ()) if "uninstall_label_sets" in task.get("vars", {})
    ]
    given = {"node_labels_ais_clusters": {"second": {}}, "node_labels_sets": [{"name": "racks"}]}
    assert said("uninstall_label_sets", {**variables, **given}) == ["ais-ais", "ais-second", "racks"]


def test_uninstall_unmounts_a_disk_that_has_a_state_of_its_own() -> None:
    (variables,) = [role["vars"] for play in load("playbooks/uninstall.yml") for role in play.get("roles", ()) if role["role"].endswith("ais_datafs")]
    disks = [{"device": "/dev/x", "path": "/ais/x", "state": "mounted"}, {"device": "/dev/y", "path": "/ais/y"}]
    found = said("found", {"found": variables["ais_datafs_disks"], "ais_datafs_disks": disks})
    assert [(disk["path"], disk["state"]) for disk in found] == [("/ais/x", "unmounted"), ("/ais/y", "unmounted")]


@pytest.mark.parametrize(
    ("given", "environ", "command"),
    [
        ({"slipway_kubeconfig": "/k", "slipway_context": "c"}, {"K8S_AUTH_KUBECONFIG": "/other"}, "kubectl --kubeconfig /k --context c"),
        ({"slipway_kubeconfig": ""}, {"K8S_AUTH_KUBECONFIG": "/k", "K8S_AUTH_CONTEXT": "c"}, "kubectl --kubeconfig /k --context c"),
        ({}, {}, "kubectl"),
    ],
)
def test_the_commands_of_the_report_speak_to_the_cluster_of_the_run(given: dict[str, Any], environ: dict[str, str], command: str) -> None:
    empty = {"K8S_AUTH_KUBECONFIG": "", "K8S_AUTH_CONTEXT": ""}
    assert said("workloads_kubectl", {**load("playbooks/vars/workloads.yml"), **given}, **{**empty, **environ}).strip() == command


def said(name: str, values: dict[str, Any], **environ: str) -> Any:
    """What Ansible makes of the variable."""
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "-m", "debug", "-a", "msg={{ %s }}" % name, "-e", json.dumps(values)]
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, **settings, **environ}, capture_output=True, text=True, check=True)
    return json.loads("{" + done.stdout.partition(" => {")[2])["msg"]


@pytest.mark.parametrize("book", ["plan", "verify"])
@pytest.mark.parametrize("chosen", [["--limit", "w1"], ["--limit", "w1", "--tags", "ais_datafs"], ["--tags", "ais_datafs"]], ids=" ".join)
def test_what_a_part_could_not_see_ends_the_run_with_an_error(tmp_path: Path, book: str, chosen: list[str]) -> None:
    """Also with a --limit that leaves out localhost, where the plays of the controller do not run."""
    nodes = ", ".join(f"{group}: {{hosts: {{w1: {{}}}}}}" for group in ("k8s_cluster", "ais_targets", "ais_proxies", "ais_initial_primary"))
    (tmp_path / "hosts.yml").write_text("all: {vars: {ansible_ssh_executable: /bin/false, slipway_kubeconfig: /dev/null}, children: {%s}}\n" % nodes)
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), f"playbooks/{book}.yml", "-i", str(tmp_path / "hosts.yml"), *chosen]
    environ = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode and re.search(r"This could not be (looked at|read back):\n +w1: ", done.stdout), done.stdout
    assert done.stdout.strip().splitlines()[-1].startswith({"plan": "NOT ALL WAS SEEN", "verify": "NOT VERIFIED: only a part was read back"}[book])


def test_every_play_on_the_controller_runs_as_the_user_who_started_it() -> None:
    plays = [play for path in ROOT.glob("playbooks/*.yml") for play in load(str(path)) if play.get("hosts") == "localhost"]
    assert len(plays) > 10 and [play["name"] for play in plays if "vars/controller.yml" not in play.get("vars_files", ())] == []


def test_roles_on_the_controller_are_known_as_such() -> None:
    """Their variables are of no use in other groups than `all`."""
    plays = [play for path in ROOT.glob("playbooks/*.yml") for play in load(str(path)) if play.get("hosts") == "localhost"]
    roles = {role["role"].rpartition(".")[2] for play in plays for role in play.get("roles", ())}
    assert roles | {"slipway"} == set(ON_CONTROLLER)


def test_the_archive_holds_nothing_that_git_ignores() -> None:
    """A user's inventory may hold secrets."""
    ignored = load("galaxy.yml")["build_ignore"]
    paths = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines() if line and not line.startswith(("#", "!", "/collections"))]
    assert "inventories/mine" in paths
    for path in paths:
        parents = ["/".join(path.split("/")[: count + 1]) for count in range(len(path.split("/")))]
        assert any(fnmatch.fnmatch(part, pattern) or fnmatch.fnmatch("x/" + part, pattern) for part in parents for pattern in ignored), path


@pytest.mark.parametrize(
    ("arguments", "environ", "does", "not_"),
    [
        ([], {}, ["lab/lab up", "site.yml -i inventories/lab"], ["slipway_kubeconfig"]),
        # An admin's shell has one, and it is not the lab's.
        ([], {"KUBECONFIG": "/admin"}, ["lab/lab up", "site.yml -i inventories/lab"], ["/admin"]),
        (["KUBECONFIG=/k"], {}, ["name your hosts, too", "exit 1"], ["lab/lab", "ansible-playbook site.yml"]),
        (["INVENTORY=inv"], {}, ['test -n ""'], ["lab/lab"]),
        (["KUBECONFIG=/k", "INVENTORY=inv"], {}, ["site.yml -i inv -e slipway_kubeconfig=/k"], ["lab/lab"]),
        ([], {"KUBECONFIG": "/k", "INVENTORY": "inv"}, ["site.yml -i inv -e slipway_kubeconfig=/k"], ["lab/lab"]),
    ],
)
def test_the_demo_goes_to_a_cluster_only_when_it_is_meant(arguments: list[str], environ: dict[str, str], does: list[str], not_: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "INVENTORY", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    argv = ["make", "-n", "--no-print-directory", "-o", "venv", "demo", *arguments]
    said = subprocess.run(argv, cwd=ROOT, env={**clean, **environ}, capture_output=True, text=True, check=True).stdout
    assert all(text in said for text in does), said
    assert not any(text in said for text in not_), said


@pytest.mark.parametrize("python", ["", "false"], ids=["none", "one that is too old"])
def test_a_machine_without_python_is_told_what_is_missing(python: str) -> None:
    done = subprocess.run(["make", f"PYTHON={python}", "-W", "requirements-dev.txt", ".venv/.stamp"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode and "Python 3.11 or newer is missing" in done.stdout
