# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the machine must have; as root missing Debian packages are installed, else they are named in one line."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from slipway_lab import pins
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab
from slipway_lab.progress import step
from slipway_lab.shell import run

_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/podman")


def missing_packages() -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_PLACES])
    return sorted({package for command, package in pins.HOST_COMMANDS.items() if not shutil.which(command, path=path)})


def ensure(lab: Lab) -> None:
    """Returns on a machine that can carry the lab."""
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *_PLACES])
    problems = []
    if platform.machine() != "x86_64":
        problems.append(f"the lab is built for x86_64, this machine is {platform.machine()}")
    if os.geteuid() != 0:
        problems.append("the lab makes loop devices and privileged containers: run it as root")
    missing = missing_packages()
    apt = shutil.which("apt-get")
    if missing and (os.geteuid() != 0 or not apt):
        problems.append(f"missing programs; on Debian: apt-get install --no-install-recommends {' '.join(missing)}")
    if not Path("/dev/loop-control").exists():
        problems.append("no /dev/loop-control: the kernel has no loop devices")
    if problems:
        raise LabError("this machine cannot carry the lab:\n" + "\n".join(f"- {p}" for p in problems))
    if missing:
        with step(f"Debian packages {' '.join(missing)}", lab.logs, "apt-get"):
            run(["apt-get", "update", "--quiet"])
            run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *missing], env={"DEBIAN_FRONTEND": "noninteractive"})
