# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the machine must have; as root missing Debian packages are installed, else they are named in one line."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path

from slipway_lab import pins
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab
from slipway_lab.progress import step
from slipway_lab.shell import run

_PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/podman")


def missing_packages(commands: dict[str, str]) -> list[str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_PLACES])
    return sorted({package for command, package in commands.items() if not shutil.which(command, path=path)})


def ensure(lab: Lab, commands: dict[str, str] | None = None) -> None:
    """Returns on a machine that can carry the lab; `commands` are those of pins.HOST_COMMANDS unless said otherwise."""
    commands = pins.HOST_COMMANDS if commands is None else commands
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *_PLACES])
    problems = []
    if platform.machine() != "x86_64":
        problems.append(f"the lab is built for x86_64, this machine is {platform.machine()}")
    if os.geteuid() != 0:
        problems.append("the lab makes loop devices and privileged containers: run it as root")
    missing = missing_packages(commands)
    apt = shutil.which("apt-get")
    if missing and (os.geteuid() != 0 or not apt):
        problems.append(f"missing programs; on Debian: apt-get install --no-install-recommends {' '.join(missing)}")
    if not Path("/dev/loop-control").exists():
        problems.append("no /dev/loop-control: the kernel has no loop devices")
    problems += _too_little_space(lab)
    if problems:
        raise LabError("this machine cannot carry the lab:\n" + "\n".join(f"- {p}" for p in problems))
    if missing:
        with step(f"Debian packages {' '.join(missing)}", lab.logs, "apt-get"):
            run(["apt-get", "update", "--quiet"])
            run(["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *missing], env={"DEBIAN_FRONTEND": "noninteractive"})
            if "docker-registry" in missing and shutil.which("systemctl"):
                # Debian starts a registry of its own on all addresses; we came for the program.
                run(["systemctl", "disable", "--now", "docker-registry"], check=False)


def _too_little_space(lab: Lab) -> list[str]:
    """A lab whose caches are warm needs little; building them from nothing takes some 15 GB."""
    cold = not (lab.cache / "images").is_dir()
    disks: dict[int, tuple[list[str], int]] = {}  # what is on one disk shares its space
    for path, least in ((lab.state, 3 * 10**9), (lab.cache, 12 * 10**9 if cold else 2 * 10**9)):
        place = _there(path)
        places, needed = disks.get(place.stat().st_dev, ([], 0))
        disks[place.stat().st_dev] = ([*places, str(place)], needed + least)
    return [
        f"the disk of {' and '.join(dict.fromkeys(places))} has {free / 1e9:.1f} GB free and the lab needs {needed / 1e9:.0f} GB there: "
        "free some, or set XDG_CACHE_HOME for the caches"
        for places, needed in disks.values()
        if (free := shutil.disk_usage(places[0]).free) < needed
    ]


def _there(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def space_hint(lab: Lab) -> str:
    """What to add to a failure on a full disk, where programs tend to name anything but that."""
    for path in (lab.state, lab.cache, Path("/var/lib/containers"), Path(tempfile.gettempdir())):
        place = _there(path)
        if shutil.disk_usage(place).free < 200 << 20:
            return f"\nno space is left on the disk of {place}, which is the likely cause: free some and run the same command again"
    return ""
