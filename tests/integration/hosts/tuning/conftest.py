# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two plain ssh hosts of the lab, h9 and h10 (`lab/lab hosts 10`), or those that SLIPWAY_TEST_HOSTS names, for roles that tune a host.

What a test looks at, it reads with somebody else's tool: sysctl, ip, cat.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]
INVENTORY = ROOT / ".lab" / "hosts.yml"
NAMES = os.environ.get("SLIPWAY_TEST_HOSTS", "h9,h10").split(",")


def pytest_collection_modifyitems(items):
    for item in items:
        if "tuning" in str(item.path) and "guest" not in str(item.path):
            item.add_marker(pytest.mark.lab)


@dataclass(frozen=True)
class Run:
    """One ansible-playbook run: exit status, output, and per host the numbers of its recap."""

    rc: int
    output: str
    seconds: float

    def changed(self) -> dict[str, int]:
        return {name: int(number) for name, number in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", self.output, re.MULTILINE)}

    def failed(self) -> set[str]:
        return {name for name, bad in re.findall(r"^(\S+) +: ok=.* failed=(\d+)", self.output, re.MULTILINE) if bad != "0"}


@dataclass(frozen=True)
class Hosts:
    names: list[str]
    variables: dict[str, Any]
    control: Path  # folder of the sockets of open connections

    def run(self, tasks: list[dict[str, Any]], *options: str, hosts: list[str] | None = None, folder: Path, **play: Any) -> Run:
        """Run tasks on the hosts. `play` are further keys of the play, such as serial or vars."""
        book = folder / f"{time.monotonic_ns()}.yml"
        book.write_text(json.dumps([{"hosts": ",".join(hosts or self.names), "gather_facts": False, "tasks": tasks, **play}]))
        start = time.monotonic()
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(INVENTORY), str(book), *options],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Run(done.returncode, done.stdout + done.stderr, time.monotonic() - start)

    def ssh(self, name: str, command: str) -> str:
        """Standard output of a command on a host, by plain ssh; it must succeed."""
        every, one = self.variables, yaml.safe_load(INVENTORY.read_text())["all"]["hosts"][name]
        argv = ["ssh", "-n", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ControlMaster=auto", "-o", "ControlPersist=30"]
        argv += ["-o", f"ControlPath={self.control}/%C", *every["ansible_ssh_common_args"].split(), "-i", every["ansible_ssh_private_key_file"]]
        done = subprocess.run([*argv, f"{every['ansible_user']}@{one['ansible_host']}", command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command} on {name}: {done.stderr}"
        return done.stdout.strip()


@pytest.fixture(scope="session")
def hosts(tmp_path_factory) -> Hosts:
    inventory = yaml.safe_load(INVENTORY.read_text())["all"] if INVENTORY.exists() else {"hosts": {}}
    if not set(NAMES) <= set(inventory["hosts"]):
        pytest.skip(f"the lab has no hosts {' and '.join(NAMES)}; `lab/lab hosts 10` makes them")
    return Hosts(NAMES, inventory["vars"], tmp_path_factory.mktemp("ssh"))


@pytest.fixture
def role(hosts: Hosts, tmp_path: Path):
    """Run one of our roles with variables, as `role("host_sysctl", "--check", host_sysctl_values=[...])`."""

    def run(name: str, *options: str, on: list[str] | None = None, **variables: Any) -> Run:
        tasks = [{"ansible.builtin.include_role": {"name": f"slipway.mlops.{name}"}}]
        # Lab hosts may not raise limits of open files.
        return hosts.run(tasks, *options, hosts=on, folder=tmp_path, vars={"host_sysctl_open_files": 0, **variables})

    return run


@pytest.fixture
def loops(tmp_path: Path):
    """Two loop devices of our own, 16 MiB each; the machine's other ones are nobody's business here."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    devices = []
    for number in range(2):
        image = tmp_path / f"disk{number}.img"
        image.write_bytes(b"")
        os.truncate(image, 16 << 20)
        devices.append(subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True).stdout.strip())
    yield devices
    for device in devices:
        subprocess.run(["losetup", "--detach", device], check=True)
