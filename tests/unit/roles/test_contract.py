# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every role promises: defaults and specification agree, names carry the role's prefix, and nothing on the list of forbidden means is used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(path.parent.parent.name for path in (ROOT / "roles").glob("*/meta/main.yml"))
# Group names belong to playbooks and inventories (AGENTS.md).
GROUPS = re.compile(r"groups\s*[\[.]|group_names")
FORBIDDEN_KEYS = {"ansible.builtin.set_fact", "set_fact", "ansible.builtin.shell", "shell", "ansible.builtin.pause", "vars_prompt", "ignore_errors"}


def load(role: str, *parts: str) -> Any:
    path = ROOT.joinpath("roles", role, *parts)
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def options(role: str) -> dict[str, Any]:
    specs = load(role, "meta", "argument_specs.yml")["argument_specs"]
    return {name: spec for entry in specs.values() for name, spec in (entry.get("options") or {}).items()}


def is_computed(value: Any) -> bool:
    return "{{" in str(value)


def test_there_are_roles_to_check() -> None:
    assert len(ROLES) >= 5


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_specification_agree(role: str) -> None:
    defaults, specified = load(role, "defaults", "main.yml") or {}, options(role)
    assert set(defaults) <= set(specified), f"not in argument_specs.yml: {sorted(set(defaults) - set(specified))}"
    without = {name for name, spec in specified.items() if name not in defaults and not spec.get("required")}
    assert not without, f"neither required nor with a default: {sorted(without)}"
    for name, spec in specified.items():
        if name in defaults and ("default" in spec or not is_computed(defaults[name])):
            assert "default" in spec and spec["default"] == defaults[name], f"{name}: the specification tells users another default, or none"
        assert spec.get("description"), f"{name}: no description"
        assert spec.get("type"), f"{name}: no type"


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_says_what_it_is_and_since_when(role: str) -> None:
    """The changelog lists the new roles by it."""
    for name, entry in load(role, "meta", "argument_specs.yml")["argument_specs"].items():
        assert entry.get("short_description") and entry.get("version_added") and entry.get("author"), name


@pytest.mark.parametrize("role", ROLES)
def test_public_variables_carry_the_prefix(role: str) -> None:
    for name in options(role):
        assert name.startswith((role + "_", "slipway_")), name


@pytest.mark.parametrize("role", ROLES)
def test_roles_stay_declarative(role: str) -> None:
    for path in (ROOT / "roles" / role).rglob("*.y*ml"):
        if path.parent.name not in ("tasks", "handlers"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not GROUPS.search(text), f"{path.name}: group names belong to playbooks"
        keys = {key for task in _tasks(yaml.safe_load(text) or []) for key in task}
        assert not keys & FORBIDDEN_KEYS, f"{path.name}: {sorted(keys & FORBIDDEN_KEYS)}"
        for task in _tasks(yaml.safe_load(text) or []):
            if "assert" in " ".join(task):
                that = next((task[key].get("that") for key in task if key.endswith("assert")), None)
                assert str(that).lower() not in ("true", "['true']"), "an assertion that cannot fail"
            assert task.get("name"), f"{path.name}: a task without a name: {task}"


def _tasks(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    flat = []
    for entry in entries:
        flat.append(entry)
        for part in ("block", "rescue", "always"):
            flat += _tasks(entry.get(part) or [])
    return flat


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_no_dependencies_and_names_its_author(role: str) -> None:
    meta = load(role, "meta", "main.yml")
    assert not meta.get("dependencies")
    assert meta["galaxy_info"]["license"] == "GPL-3.0-or-later"


def test_shared_variables_have_the_same_default_everywhere() -> None:
    """Roles take them as `slipway_name | default(value)`."""
    seen: dict[str, set[str]] = {}
    for role in ROLES:
        text = (ROOT / "roles" / role / "defaults/main.yml").read_text(encoding="utf-8")
        for name, value in re.findall(r"(slipway_\w+) \| default\(([^()]*)\)", text):
            seen.setdefault(name, set()).add(value)
    assert {"slipway_namespace_prefix", "slipway_image_registry", "slipway_registry_auth_file"} <= set(seen)
    assert {name: values for name, values in seen.items() if len(values) > 1} == {}
