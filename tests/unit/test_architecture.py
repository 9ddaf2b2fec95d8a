# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The layers of the Kubernetes side, read from the imports: each file knows only those before it, and one file each knows the outer world."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"

# What each file may import of ours, itself excluded. A new file of these layers is added here, or the test says so.
LAYERS = [
    ["_model", "_syntax", "_yaml_subset"],
    ["_kinds", "_clock", "_parallel", "_yaml"],
    ["_checks"],
    ["_manifest"],
    ["_plan", "_health"],
    ["_applyset", "_secrets", "_diff"],
    ["_survey", "_wait", "_last_words"],
    ["_resolve", "_apply"],
    ["_reconcile"],
]
# HTTP, files, Ansible; nothing of LAYERS may import these
WORLD = [["_connection"], ["_kubeconfig"], ["_connect"], ["_http"], ["_tunnel"], ["_cluster"], ["_module"]]
PURE = {"_model", "_syntax", "_yaml_subset", "_kinds", "_checks", "_manifest", "_plan", "_health", "_applyset", "_diff"}
EFFECTS = {"os", "sys", "socket", "ssl", "http", "subprocess", "time", "threading", "urllib", "tempfile", "shutil", "pathlib"}
ONLY = {"ansible": {"_module"}, "ssl": {"_http", "_cluster", "_tunnel"}, "http": {"_http", "_cluster", "_tunnel"}, "subprocess": {"_connect"}}

PACKAGE = "ansible_collections.slipway.mlops.plugins.module_utils"
OURS = [name for layer in LAYERS + WORLD for name in layer]


def imports(name):
    """(modules of ours, other top-level packages) that a file imports, wherever in the file."""
    tree = ast.parse((UTILS / f"{name}.py").read_text())
    own, other = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            own |= {node.module} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE):
            module = str(node.module)[len(PACKAGE) :].lstrip(".")
            own |= {module} if module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            other.add(str(node.module).partition(".")[0])
        elif isinstance(node, ast.Import):
            other |= {alias.name.partition(".")[0] for alias in node.names}
    return own, other


@pytest.mark.parametrize("name", OURS)
def test_a_file_imports_only_what_is_below_it(name):
    own, _other = imports(name)
    if any(name in layer for layer in WORLD):
        world = [one for layer in WORLD for one in layer]
        allowed = {one for layer in LAYERS[:2] for one in layer} | set(world[: world.index(name)])
    else:
        index = next(index for index, layer in enumerate(LAYERS) if name in layer)
        allowed = {one for layer in LAYERS[: index + 1] for one in layer} - {name}
    assert own <= allowed, f"{name} imports {sorted(own - allowed)}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_deciding_and_judging_have_no_effects(name):
    _own, other = imports(name)
    assert not other & EFFECTS


@pytest.mark.parametrize("package", sorted(ONLY))
def test_the_outer_world_has_one_door(package):
    users = {name for name in OURS if package in imports(name)[1]}
    assert users <= ONLY[package]


@pytest.mark.parametrize("path", sorted(UTILS.glob("_run_*.py")), ids=lambda path: path.stem)
def test_what_a_module_does_knows_neither_ansible_nor_http(path):
    own, other = imports(path.stem)
    # Those of hosts, which know nothing of a cluster, may run programs of the host.
    assert not other & ({"ansible", "http", "ssl", "kubernetes"} | ({"subprocess"} if "_module" in own else set()))


def test_imports_are_seen_whichever_way_they_are_written():
    own, other = imports("_run_site_report")
    assert {"_health", "_report", "_model", "_module"} <= own
    assert "ansible_collections" not in other


@pytest.mark.parametrize("name", [name for name in OURS if name != "_module"])
def test_only_the_standard_library_and_pyyaml_are_needed(name):
    _own, other = imports(name)
    assert other <= set(sys.stdlib_module_names) | {"yaml"}
