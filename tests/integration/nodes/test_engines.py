# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The golden files of containerd, read by the containerds that they are for: 1.6 is the lab's own, the others are built from source."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _toml as toml
from ansible_collections.slipway.mlops.plugins.module_utils._containerd_plan import differences, plan
from nodes_lab import ROOT, built, ssh

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from golden import CONFIG, containerd_case, containerd_cases

HOST = "w3"
PACKAGES = {
    "1.7": "github.com/containerd/containerd/cmd/containerd",
    "2.1": "github.com/containerd/containerd/v2/cmd/containerd",
    "2.3": "github.com/containerd/containerd/v2/cmd/containerd",
}
# 2.2 reads its files as 2.1 does; what is new in it is the default for a missing file.
BUILT = {"1.7": "1.7", "2.1": "2.1", "2.2": "2.1", "2.3": "2.3"}


def dump(version: str, files: dict[str, bytes], folder: Path) -> dict[str, object]:
    """`containerd config dump` of a tree of files, whose paths are moved below a folder."""
    if version == "1.6":
        where = "/tmp/slipway-golden"
        moved = {path.replace("/etc/containerd", where): content.replace(b"/etc/containerd", where.encode()) for path, content in files.items()}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, content in moved.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        text = ssh(HOST, f"rm -rf {where} && tar -C / -xf - && containerd --config {where}/config.toml config dump; rm -rf {where}", packed.getvalue())
        return toml.parse(text).data
    shutil.rmtree(folder, ignore_errors=True)
    program = built(f"containerd/{BUILT[version]}", PACKAGES[BUILT[version]], "containerd")
    for path, content in files.items():
        target = folder / path.removeprefix("/etc/containerd/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.replace(b"/etc/containerd", str(folder).encode()))
    done = subprocess.run([program, "--config", folder / "config.toml", "config", "dump"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return toml.parse(done.stdout).data


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.lab] if name.startswith("1.6") else [pytest.mark.long]) for name in containerd_cases()])
def test_the_containerd_it_is_for_reads_it_and_nothing_else_changes(name: str, tmp_path: Path) -> None:
    containerd, handler = containerd_case(name)
    version = ".".join(containerd.version.split(".")[:2])
    before = {path: content for path, content in containerd.files.items() if content is not None}
    after = {**before, **{edit.path: edit.after for edit in plan(containerd, handler).edits if edit.after is not None}}
    old = dump(version, before, tmp_path / "etc") if CONFIG in before else {}
    new = dump(version, after, tmp_path / "etc")
    assert differences(old, {**new, "imports": []}, handler) == []
    text = str(new)
    assert ("'default_runtime_name': 'nvidia'" in text) == handler.is_default
