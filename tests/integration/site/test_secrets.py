# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No secret of the running site is found outside of Secrets: not in output at -vvvv with diffs, reports, logs, journals, process lists, other objects."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from the_lab import KUBECTL, REGISTRY_AUTH, ROOT, STATE, playbook_command

NODES = ("cp1", "w1", "w2", "w3")
NAMESPACES = ("ais", "mlflow", "aim")

pytestmark = pytest.mark.lab


def output(*argv: str, check: bool = True) -> str:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(argv, cwd=ROOT, **pipes, text=True, errors="replace", timeout=600, check=False)
    assert not check or done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """name -> value of every secret there is, as text and as base64."""
    found: dict[str, str] = {}
    for namespace in NAMESPACES:
        for item in json.loads(output(*KUBECTL, "-n", namespace, "get", "secrets", "-o", "json"))["items"]:
            for key, value in (item.get("data") or {}).items():
                text = base64.b64decode(value).decode(errors="replace")
                # A user's or a host's name is no secret, and short words are found anywhere.
                if len(text) >= 12:
                    found[f"{namespace}/{item['metadata']['name']}.{key}"] = text
                    found[f"{namespace}/{item['metadata']['name']}.{key} as base64"] = value
    for server in json.loads(Path(REGISTRY_AUTH).read_text())["auths"].values():
        if server.get("auth"):
            found["password of the registry"] = base64.b64decode(server["auth"]).decode().split(":", 1)[1]
    assert any("postgresql" in name for name in found), "the site must run before this"
    return found


def leaks(secrets: dict[str, str], text: str) -> list[str]:
    return [name for name, value in secrets.items() if value in text]


def test_the_search_finds_what_is_there(secrets: dict[str, str]) -> None:
    assert leaks(secrets, "x" + next(iter(secrets.values())) + "y")


def test_the_loudest_look_ahead_says_nothing(secrets: dict[str, str]) -> None:
    text = output(*playbook_command("site.yml", "--check", "--diff", "-vvvv")[0], check=False)
    assert "PLAY RECAP" in text
    assert leaks(secrets, text) == []


def test_reports_and_logs_hold_none(secrets: dict[str, str]) -> None:
    files = [path for folder in (ROOT / "report", ROOT / ".ci-artifacts", STATE / "logs") for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "report.json" for path in files)
    assert {str(path): found for path in files if (found := leaks(secrets, path.read_text(errors="replace")))} == {}


@pytest.mark.parametrize("node", NODES)
def test_journals_and_process_lists_of_hosts_hold_none(node: str, secrets: dict[str, str]) -> None:
    ssh = ["ssh", "-F", str(STATE / "ssh" / "config"), node]
    assert leaks(secrets, output(*ssh, "journalctl --no-pager -o cat -n 200000")) == []
    assert leaks(secrets, output(*ssh, "ps axww -o args=")) == []


def test_objects_other_than_secrets_hold_none(secrets: dict[str, str]) -> None:
    kinds = "configmaps,deployments,statefulsets,jobs,pods,services,events"
    for namespace in NAMESPACES:
        assert leaks(secrets, output(*KUBECTL, "-n", namespace, "get", kinds, "-o", "yaml")) == []
