# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A merged kubeconfig in the hands of kubectl: every context reaches what it reached in its own file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]


def kubectl(config: Path, *arguments: str) -> str:
    command = [str(ROOT / ".lab" / "bin" / "kubectl"), "--kubeconfig", str(config), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def merge(path: Path, *arguments: str) -> dict[str, Any]:
    """Through Ansible, as users do; nothing secret in its most talkative output."""
    ansible = str(Path(sys.executable).with_name("ansible"))
    command = [ansible, "localhost", "-m", "slipway.mlops.kubeconfig", "-a", " ".join([f"path={path}", *arguments]), "--diff", "-vvvv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for secret in secrets(path):
        assert secret not in done.stdout + done.stderr
    return {"output": done.stdout}


def secrets(path: Path) -> list[str]:
    users = yaml.safe_load(path.read_text())["users"]
    return [str(value) for user in users for key, value in user["user"].items() if key in ("token", "client-key-data", "password")]


def reached(config: Path, context: str) -> tuple[str, dict[str, Any]]:
    shown = json.loads(kubectl(config, "config", "view", "--raw", "--minify", "--flatten", "--context", context, "-o", "json"))
    user = {key: value for key, value in shown["users"][0]["user"].items() if key != "extensions"}
    return shown["clusters"][0]["cluster"]["server"], user


def test_two_clusters_of_the_same_names_stay_two(kubeconfig: str, tmp_path: Path) -> None:
    lab = yaml.safe_load(Path(kubeconfig).read_text())
    (context,) = [entry["name"] for entry in lab["contexts"]]
    other = json.loads(json.dumps(lab))
    other["clusters"][0]["cluster"]["server"] = "https://192.0.2.1:6443"
    other["users"][0]["user"] = {"token": "canary-token-of-the-other"}
    sources = {}
    for name, content in (("lab", lab), ("other", other)):
        sources[name] = tmp_path / f"{name}.conf"
        sources[name].write_text(yaml.safe_dump(content))
        sources[name].chmod(0o600)
    merged = tmp_path / "config"
    for _unused in range(2):
        merge(merged, "name=lab", f"source={sources['lab']}")
        merge(merged, "name=other", f"source={sources['other']}")
    assert reached(merged, context) == reached(sources["lab"], context)
    assert reached(merged, f"{context}-other") == reached(sources["other"], context)
    assert "Ready" in kubectl(merged, "--context", context, "get", "nodes")

    # kubectl rewrites the file; what it keeps is enough to find and remove the merge
    kubectl(merged, "config", "set-context", "mine", f"--cluster={lab['clusters'][0]['name']}", f"--user={lab['users'][0]['name']}")
    merge(merged, "name=other", "state=absent")
    assert kubectl(merged, "config", "get-contexts", "-o", "name").split() == sorted([context, "mine"])
    assert "Ready" in kubectl(merged, "--context", "mine", "get", "nodes")
