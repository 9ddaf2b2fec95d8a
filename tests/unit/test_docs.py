# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the pages say is there: files, commands, tags, variables, messages; and the examples of modules are what the modules take."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", ROOT / "lab/README.md", *sorted(ROOT.glob("docs/*.md"))]
FOLDERS = "bench|docs|examples|images|inventories|lab|molecule|playbooks|plugins|roles|tests"

page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def options() -> set[str]:
    """The variables of all roles, and those that they share."""
    files = [*ROOT.glob("roles/*/meta/argument_specs.yml"), ROOT / "playbooks/vars/shared.yml"]
    entries = [entry for file in files for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"].values()]
    return {name for entry in entries for name in entry.get("options") or {}}


def tags() -> set[str]:
    files = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]
    return {tag for file in files for tag in re.findall(r"^ *tags: (\w+)$", file.read_text(encoding="utf-8"), re.MULTILINE)}


@page
def test_files_that_a_page_names_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [path.parent / link.partition("#")[0] for link in re.findall(r"\]\(([^)\s:]+)\)", text)]
    assert [str(link) for link in links if not link.exists()] == []
    named = re.findall(rf"(?<![\w./-])((?:{FOLDERS})/[\w.*<>/-]*[\w*>])", text) + re.findall(r"`(group_vars/[^`]*)`", text)
    patterns = {re.sub("<[a-z]+>", "*", name) for name in named if not name.startswith("inventories/mine")}
    ignored = ("lab/lab", "docs/build")  # followed by a command; made by one
    assert [name for name in sorted(patterns) if not name.startswith(ignored) and not [*ROOT.glob(name), *ROOT.glob("inventories/example/" + name)]] == []


@page
def test_commands_that_a_page_names_can_be_typed(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    typed = re.findall(r"(?:`|^)make ((?:[a-z-]+ ?)+)", text, re.MULTILINE)
    assert {word for words in typed for word in words.split()} <= targets
    assert {tag for words in re.findall(r"--(?:skip-)?tags ([\w,]+)", text) for tag in words.split(",")} <= tags()
    # `ansible.cfg` names no inventory.
    assert [line for line in text.splitlines() if re.search(r"ansible-playbook \S*\.yml", line) and " -i " not in line] == []


@page
def test_variables_that_a_page_names_are_read(path: Path) -> None:
    roles = [role.name for role in ROOT.glob("roles/*")]
    names = set(re.findall(rf"\b((?:{'|'.join(roles)}|slipway)_\w+?)\b(?![.(/])", path.read_text(encoding="utf-8")))
    others = {file.stem for pattern in ("roles/*", "plugins/modules/*.py", "playbooks/*.yml") for file in ROOT.glob(pattern)} | tags()
    known = options()
    assert {name for name in names - known - others if not (name.endswith("_") and any(option.startswith(name) for option in known))} == set()


def messages(path: Path) -> Iterator[str]:
    """The first cells of the tables whose first column is the message."""
    for table in re.findall(r"^\| [Mm]essage \|.*\n\|[-|]+\n((?:\|.*\n)+)", path.read_text(encoding="utf-8"), re.MULTILINE):
        yield from re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def test_messages_that_pages_explain_are_still_said() -> None:
    """Each part between dots, in our own code; the words of Kubernetes are Kubernetes'."""
    said = "\n".join(
        file.read_text(encoding="utf-8") for part in ("plugins", "roles") for file in ROOT.joinpath(part).rglob("*") if file.suffix in (".py", ".yml")
    )
    theirs = {"forbidden: ", "cannot list resource", "401"}
    explained = [message for path in PAGES for message in messages(path)]
    assert len(explained) > 15
    parts = {part.strip() for message in explained for part in message.split("...")} - {part.strip() for part in theirs} - {""}
    assert [part for part in sorted(parts) if part not in said] == []


@cache
def documentation() -> dict[str, Any]:
    names = [f"slipway.mlops.{path.stem}" for path in sorted(ROOT.glob("plugins/modules/*.py")) if path.stem != "__init__"]
    argv = [str(Path(sys.executable).with_name("ansible-doc")), "--type", "module", "--json", *names]
    environ = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    found = json.loads(subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout)
    assert sorted(found) == names
    return dict(found)


def arguments(documented: dict[str, Any]) -> dict[str, Any]:
    """Documented options as an argument specification."""
    keys = ("type", "elements", "choices", "aliases", "required")
    return {
        name: {**{key: option[key] for key in keys if key in option}, **({"options": arguments(option["suboptions"])} if option.get("suboptions") else {})}
        for name, option in documented.items()
    }


def calls(tasks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for task in tasks:
        yield from calls([*task.get("tasks", []), *task.get("block", [])])
        yield from ((name, given or {}) for name, given in task.items() if name.startswith("slipway.mlops."))


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.glob("plugins/modules/*.py") if path.stem != "__init__"))
def test_examples_of_a_module_are_what_modules_take(name: str) -> None:
    shown = list(calls(yaml.safe_load(documentation()[f"slipway.mlops.{name}"]["examples"])))
    assert name in {module.rpartition(".")[2] for module, _given in shown}
    for module, given in shown:
        # What a template would become is not known here; that it is given is.
        specification = {
            key: {**option, "required": option.get("required", False) and key not in given}
            for key, option in arguments(documentation()[module]["doc"]["options"]).items()
        }
        assert set(given) <= set(specification), module
        plain = {key: value for key, value in given.items() if "{{" not in str(value)}
        assert ArgumentSpecValidator(specification).validate(plain).error_messages == [], module


def test_the_changelog_of_a_release_lists_what_is_in_it() -> None:
    """`antsibull-changelog release --update-existing --reload-plugins` writes it, and takes the fragments in, too."""
    listed: dict[str, set[str]] = {}
    for version, release in yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text(encoding="utf-8"))["releases"].items():
        new = [*release.get("modules", []), *release.get("objects", {}).get("role", []), *release.get("plugins", {}).get("filter", [])]
        listed[version] = {entry["name"] for entry in new}
    files = [file for part in ("plugins/modules/*.py", "plugins/filter/*.py", "roles/*/meta/argument_specs.yml") for file in ROOT.glob(part)]
    for file in files:
        since = re.search(r'^ *version_added: "?([\d.]+)', file.read_text(encoding="utf-8"), re.MULTILINE)
        name = file.stem if file.suffix == ".py" else file.parent.parent.name
        assert since and (since[1] not in listed or name in listed[since[1]]), name
