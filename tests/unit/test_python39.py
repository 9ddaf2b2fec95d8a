# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs on hosts must run on Python 3.9 (RHEL 9) with the standard library alone."""

from __future__ import annotations

import ast
import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
HOST_MODULES = ("block_queues", "container_runtime", "gpu_info", "kubelet_config", "link_mtu", "storage_info", "sysctl_values", "xfs_datafs")
OURS = "ansible_collections.slipway.mlops.plugins.module_utils"


def imports(path: Path) -> tuple[set[str], set[str]]:
    """(our files, foreign packages) that a file imports, at its top or inside a function."""
    ours, foreign = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level == 1 or module.startswith(OURS):
                stem = module.removeprefix(OURS).strip(".")
                ours |= {stem} if stem else {alias.name for alias in node.names}
            elif node.level == 0:
                foreign.add(module.split(".")[0])
    return ours, foreign


def host_files() -> dict[Path, set[str]]:
    """Every file that a host module needs, with the foreign packages that it imports."""
    found: dict[Path, set[str]] = {}
    waiting = [PLUGINS / "modules" / f"{name}.py" for name in HOST_MODULES]
    assert all(path.exists() for path in waiting)
    while waiting:
        path = waiting.pop()
        if path in found or not path.exists():
            continue
        ours, found[path] = imports(path)
        waiting += [PLUGINS / "module_utils" / f"{name}.py" for name in ours]
    return found


def test_host_modules_import_the_standard_library_alone() -> None:
    files = host_files()
    assert len(files) > 10
    for path, foreign in files.items():
        outside = foreign - set(sys.stdlib_module_names) - {"ansible", "__future__"}
        assert not outside, f"{path.name} imports {sorted(outside)}"


def python39() -> str | None:
    candidates = [shutil.which("python3.9"), *sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.9.*/bin/python")))]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


@pytest.mark.skipif(python39() is None, reason="Python 3.9 is not at hand; ruff's target version still covers the syntax")
def test_host_files_load_on_python_39() -> None:
    stems = sorted(path.stem for path in host_files() if path.parent.name == "module_utils" and "ansible" not in imports(path)[1])
    code = "import importlib, sys; sys.path.insert(0, sys.argv[1]); [importlib.import_module(name) for name in sys.argv[2:]]"
    names = [f"{OURS}.{stem}" for stem in stems]
    done = subprocess.run([python39(), "-B", "-c", code, str(ROOT / "collections"), *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
