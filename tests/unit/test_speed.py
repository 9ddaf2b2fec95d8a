# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tests of pure layers are worth having because they take no time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from test_architecture import OURS

HERE = Path(__file__).resolve().parent
KUBERNETES = ("_cluster", "_kubeconfig", "_node_labels", "_run_k8s")  # beginnings of what is none of the layers, but speaks of the same


def test_the_kubernetes_layers_take_less_than_five_seconds(tmp_path: Path) -> None:
    """Of a processor, the whole of pytest with it. On a busy machine the same work takes more of one, so it may try again."""
    names = {path.stem[len("test_") :]: str(path) for path in sorted((HERE / "module_utils").glob("test_*.py"))}
    files = {name: path for name, path in names.items() if (name in OURS or name.startswith(KUBERNETES)) and name != "_module"}  # that one is Ansible's
    assert {"_cluster", "_last_words", "_reconcile"} <= set(files)
    first = seconds_of(list(files.values()), tmp_path / "output")
    assert first < 5 or seconds_of(list(files.values()), tmp_path / "output") < 5


def seconds_of(files: list[str], path: Path) -> float:
    with path.open("w+") as output:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", *files]
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=HERE.parent.parent)
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        assert process.returncode == 0, output.read()[-3000:]
    return usage.ru_utime + usage.ru_stime
