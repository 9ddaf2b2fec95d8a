# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the lab under test is, and how tests look at it. Two variables name another one, such as a second lab beside the first:
SLIPWAY_TEST_INVENTORY (a folder) and SLIPWAY_TEST_KUBECONFIG."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = os.environ.get("SLIPWAY_TEST_INVENTORY") or str(ROOT / "inventories" / "lab")
KUBECONFIG = os.environ.get("SLIPWAY_TEST_KUBECONFIG") or str(ROOT / ".lab" / "kubeconfig")
STATE = Path(KUBECONFIG).parent  # what `lab/lab up` keeps of this lab
REGISTRY_AUTH = str(STATE / "registry-auth.json")
ANSIBLE_PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
KUBECTL = [str(STATE / "bin" / "kubectl"), "--kubeconfig", KUBECONFIG]


def kubectl(*arguments: str, check: bool = True, text: str | None = None, timeout: float = 300) -> str:
    done = subprocess.run([*KUBECTL, *arguments], input=text, capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)[:300]}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
    return done.stdout


def playbook_command(book: str | Path, *arguments: str, **variables: Any) -> tuple[list[str], dict[str, str]]:
    """How a playbook, named from the repository's root, is run on the lab with these variables: arguments and environment."""
    command = [ANSIBLE_PLAYBOOK, "-i", INVENTORY, str(book), *arguments, *(["-e", json.dumps(variables)] if variables else [])]
    return command, {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}


def playbook(book: str | Path, *arguments: str, fails: bool = False, timeout: float = 1800, **variables: Any) -> str:
    """Run it; its output."""
    command, environ = playbook_command(book, *arguments, **variables)
    done = subprocess.run(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)
    output = done.stdout + done.stderr
    assert (done.returncode != 0) is fails, f"{book}: rc {done.returncode}\n{output[-6000:]}"
    return output


def until(what: str, look: Callable[[], Any], seconds: float = 120) -> Any:
    """The first true answer; pytest's failure carries the last one."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = look()
            if last:
                return last
        except (AssertionError, ClusterError, OSError, ValueError, KeyError, IndexError) as error:
            last = error
        time.sleep(0.5)
    raise AssertionError(f"{what} did not come true in {seconds:.0f} s; last seen: {last}")


def changed(output: str) -> int:
    """The `changed` of a play's only host."""
    return int(output.split("PLAY RECAP")[1].split("changed=")[1].split()[0])
