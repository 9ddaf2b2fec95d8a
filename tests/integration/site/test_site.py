# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole site on the lab, as a reader of the README would run it: each command is taken from there, word for word.

The order of the tests is the order in which a user comes by: look ahead on a fresh lab, make it, make it again, look ahead again, verify.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
REPORT = ROOT / "report"
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"^```shell\n(.*?)^```", README, re.MULTILINE | re.DOTALL) for line in block.splitlines() if line and not line.startswith("#")
]
ACTIVATE = "source .venv/bin/activate"
# A newcomer's has no virtual environment before the README says so.
OURS = {(ROOT / ".venv" / "bin").resolve(), Path(sys.executable).parent.resolve()}
PATH = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if Path(part).resolve() not in OURS)

pytestmark = pytest.mark.lab
seen: dict[str, set[str]] = {}
# What the proofs leave, and what the workloads need to begin, is no object of a look ahead: nobody knows their names before.
OF_A_RUN = re.compile(r" Job | Lease ")


def run(command: str, timeout: float = 900, code: int = 0) -> tuple[str, float]:
    """Run a command of the README in the checkout, as in a reader's shell; its output and wall seconds."""
    began = time.monotonic()
    done = subprocess.run(
        command if command in COMMANDS[: COMMANDS.index(ACTIVATE)] else f"{ACTIVATE} && {command}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        env={**os.environ, "PATH": PATH, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    log = ROOT / ".ci-artifacts" / f"site-{len(list((ROOT / '.ci-artifacts').glob('site-*'))):02d}.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"$ {command}\n{done.stdout}", encoding="utf-8")
    assert done.returncode == code, f"`{command}` ended with {done.returncode}; the end of {log}:\n{done.stdout[-4000:]}"
    return done.stdout, time.monotonic() - began


def recap(output: str) -> dict[str, dict[str, int]]:
    """host -> counts of Ansible's own recap."""
    lines = re.findall(r"^(\S+)\s+: (ok=.*)$", output.split("PLAY RECAP")[-1], re.MULTILINE)
    return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)} for host, counts in lines}


def foreseen(output: str) -> set[str]:
    """The objects below `What would change`."""
    part = output.split("What would change:")[-1] if "What would change:" in output else ""
    return objects(line.strip() for line in part.split("\n\n")[0].splitlines() if line.startswith("    "))


def objects(lines: Iterable[str]) -> set[str]:
    """Those of `lines` that tell of an object, without how sure it is."""
    return {line.removesuffix(" (assumed: the server could not be asked)") for line in lines if re.match(r"(created|updated|deleted) [A-Z]", line)}


def kubectl(*arguments: str) -> str:
    argv = [str(ROOT / ".lab/bin/kubectl"), "--kubeconfig", str(ROOT / ".lab/kubeconfig"), *arguments]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[tuple[str, Callable[[], dict]]]:
    """Option for a report that is not the demo's, which other tests read; and what is in it."""
    yield f"-e slipway_report_directory={tmp_path}", lambda: json.loads((tmp_path / "report.json").read_text())


@pytest.fixture(scope="module", autouse=True)
def _no_copy_of_the_example_is_left():
    copy = ROOT / "inventories/mine"
    shutil.rmtree(copy, ignore_errors=True)
    yield
    shutil.rmtree(copy, ignore_errors=True)


def test_the_readme_starts_with_the_demo() -> None:
    assert COMMANDS[:2] == ["make demo", ACTIVATE]


def test_a_look_ahead_on_a_fresh_lab_touches_nothing() -> None:
    output, _seconds = run("ansible-playbook playbooks/plan.yml -i inventories/lab")
    seen["fresh"] = foreseen(output)
    # Only a fresh lab shows whether the first run is foreseen; on another one nothing can be compared.
    seen["is fresh"] = {"yes"} if any(line.startswith("created Deployment") for line in seen["fresh"]) else set()
    assert "nothing was touched" in output


def test_the_demo_makes_and_proves_the_whole() -> None:
    output, seconds = run("make demo")
    assert "READY: everything" in output
    report = json.loads((REPORT / "report.json").read_text())
    assert report["ready"] is True
    # The run itself says first what it will do.
    assert foreseen(output.split("SLIPWAY PLAN")[1].split("\nPLAY [")[0]) == seen["fresh"]
    assert {proof["name"].split()[0] for proof in report["proofs"]} == {"aim", "mlflow", "aistore", "postgresql"}
    # What the look ahead named is what was done, object by object.
    seen["done"] = objects(line for step in report["run"]["steps"] if not step["check"] and step["outcome"] == "changed" for line in step["lines"])
    assert seconds < 360, f"the first run took {seconds:.0f} s"


def test_what_the_look_ahead_named_is_what_was_done_object_by_object() -> None:
    if not seen.get("is fresh"):
        pytest.skip("the lab was not fresh: its site stood already")
    promised, done = ({line for line in seen[name] if not OF_A_RUN.search(line)} for name in ("fresh", "done"))
    assert promised - done == set(), "foreseen, but not done"
    assert done - promised == set(), "done, but not foreseen"


def test_a_second_run_changes_nothing_and_is_quick() -> None:
    # Of two runs, for a machine that does something else at times.
    runs = [run("ansible-playbook site.yml -i inventories/lab")]
    if runs[0][1] >= 30:
        runs.append(run("ansible-playbook site.yml -i inventories/lab"))
    output, seconds = min(runs, key=lambda one: one[1])
    assert {host: counts["changed"] for host, counts in recap(output).items() if counts["changed"]} == {}
    assert "READY: everything" in output
    assert seconds < 30, f"an unchanged run took {seconds:.1f} s"


def test_a_look_ahead_on_a_finished_site_foresees_nothing() -> None:
    output, _seconds = run("ansible-playbook playbooks/plan.yml -i inventories/lab")
    assert "Nothing would change." in output


def test_a_label_that_somebody_removed_makes_the_site_not_ready(elsewhere) -> None:
    option, report = elsewhere
    kubectl("label", "node", "w1", "nvidia.com/ais-initial-primary-proxy-")
    try:
        output, _seconds = run(f"ansible-playbook playbooks/verify.yml -i inventories/lab {option}", code=2)
        (bad,) = [item for item in report()["items"] if item["state"] != "ready"]
        assert (bad["area"], bad["what"], bad["state"]) == ("cluster", "node_labels", "differs")
        assert "node w1" in bad["reason"] and "nvidia.com/ais-initial-primary-proxy" in bad["reason"]
        assert report()["ready"] is False and "NOT READY" in output
        output, _seconds = run(f"ansible-playbook site.yml -i inventories/lab --check {option}")
        assert "What would change:" in output and "nothing was touched" in output and "node w1" in output
    finally:
        run("ansible-playbook playbooks/labels.yml -i inventories/lab")
    assert kubectl("get", "node", "w1", "-o", "jsonpath={.metadata.labels.nvidia\\.com/ais-initial-primary-proxy}") == "ais"


def test_a_host_that_is_gone_makes_the_site_not_ready_and_the_look_ahead_fail(elsewhere, tmp_path: Path) -> None:
    option, report = elsewhere
    gone = tmp_path / "gone.yml"
    gone.write_text("all: {hosts: {w2: {ansible_port: 1}}}\n")
    output, _seconds = run(f"ansible-playbook playbooks/verify.yml -i inventories/lab -i {gone} {option}", code=2)
    bad = [item for item in report()["items"] if item["state"] != "ready"]
    assert {(item["where"], item["state"]) for item in bad} == {("w2", "failed")}
    assert {item["what"] for item in bad} == {"ais_datafs", "host_io_scheduler", "host_sysctl", "host_mtu", "kubelet_sysctls", "gpu_runtime"}
    assert all("unreachable" in item["reason"] for item in bad)
    assert len(report()["proofs"]) == 4 and "NOT READY" in output
    output, _seconds = run(f"ansible-playbook playbooks/plan.yml -i inventories/lab -i {gone}", code=2)
    assert "Nothing would change, as far as it could be looked at." in output and "NOT ALL WAS SEEN" in output


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_the_commands_of_the_readme_work(command: str) -> None:
    run(command)
