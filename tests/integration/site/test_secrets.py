# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No secret of the running site is found outside of Secrets: not in output at -vvvv with diffs, reports, logs, journals, process lists, other objects."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets as secretlib
import subprocess
import threading
from collections.abc import Iterator
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


@pytest.fixture
def processes() -> Iterator[set[str]]:
    """The command lines of all processes of this machine while a test runs. The lab's nodes are containers on it, so theirs are among them."""
    seen: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield seen
    ended.set()
    thread.join()


def test_the_loudest_look_ahead_says_nothing_and_no_process_is_given_one(secrets: dict[str, str], processes: set[str], tmp_path: Path) -> None:
    """Also of a password that is new, and goes from a file on the controller to a Secret."""
    password = tmp_path / "password"
    password.write_text(secretlib.token_urlsafe(24))
    new = {"mlflow_authentication_is_enabled": True, "mlflow_admin_password_file": str(password)}
    text = output(*playbook_command("site.yml", "--check", "--diff", "-vvvv", **new)[0], check=False)
    planted = {**secrets, "planted": password.read_text(), "planted as base64": base64.b64encode(password.read_bytes()).decode()}
    assert "PLAY RECAP" in text and "mlflow-admin" in text, "the Secret of the new password was not looked ahead at"
    assert leaks(planted, text) == []
    assert any("site.yml" in line for line in processes), "nothing was watched"
    assert [(name, line[:200]) for line in processes for name in leaks(planted, line)] == []


def test_a_run_says_nothing_and_gives_no_process_a_secret(secrets: dict[str, str], processes: set[str], tmp_path: Path) -> None:
    text = output(*playbook_command("site.yml", "--diff", "-vvvv", slipway_report_directory=str(tmp_path))[0])
    assert "READY: everything" in text
    assert leaks(secrets, text) == []
    assert leaks(secrets, (tmp_path / "report.json").read_text()) == []
    # What runs on nodes was seen, too.
    assert any("ansible-playbook" in line for line in processes) and any("ansiballz" in line.lower() or "python3" in line for line in processes)
    assert [(name, line[:200]) for line in processes for name in leaks(secrets, line)] == []


def test_reports_and_logs_hold_none(secrets: dict[str, str]) -> None:
    files = [path for folder in (ROOT / "report", ROOT / ".ci-artifacts", STATE / "logs") for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "report.json" for path in files)
    assert {str(path): found for path in files if (found := leaks(secrets, path.read_text(errors="replace")))} == {}


@pytest.mark.parametrize("node", NODES)
def test_journals_and_process_lists_of_hosts_hold_none(node: str, secrets: dict[str, str]) -> None:
    ssh = ["ssh", "-F", str(STATE / "ssh" / "config"), node]
    journal, processes = output(*ssh, "journalctl --no-pager -o cat -n 200000"), output(*ssh, "ps axww -o args=")
    assert len(journal.splitlines()) > 10 and "kubelet" in processes, "nothing was looked into"
    assert leaks(secrets, journal) == [] and leaks(secrets, processes) == []


def test_objects_other_than_secrets_hold_none(secrets: dict[str, str]) -> None:
    kinds = "configmaps,deployments,statefulsets,jobs,pods,services,events"
    for namespace in NAMESPACES:
        assert leaks(secrets, output(*KUBECTL, "-n", namespace, "get", kinds, "-o", "yaml")) == []
