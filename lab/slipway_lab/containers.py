# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""podman, with settings of the lab's own: nothing of the user's configuration is changed or relied upon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slipway_lab.layout import Lab
from slipway_lab.shell import run

# crun refuses machines with both cgroup versions mounted ("cgroups in hybrid mode not supported"); runc works on all.
_CONF = """[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[network]
network_backend = "netavark"
"""
ULIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000")  # podman's own defaults fail where they exceed the hard limit


def environment(lab: Lab) -> dict[str, str]:
    conf = lab.cache / "containers.conf"
    if not conf.exists() or conf.read_text() != _CONF:
        conf.parent.mkdir(parents=True, exist_ok=True)
        conf.write_text(_CONF)
    return {"CONTAINERS_CONF": str(conf)}


def podman(lab: Lab, *args: str | Path, **kwargs: Any) -> str:
    """Standard output of a podman command that must succeed."""
    return run(["podman", *args], env=environment(lab), **kwargs).stdout.strip()


def podman_ok(lab: Lab, *args: str | Path) -> bool:
    return run(["podman", *args], env=environment(lab), check=False, quiet=True).returncode == 0


def inspect(lab: Lab, kind: str, name: str) -> dict[str, Any] | None:
    """`podman <kind> inspect` of one thing, or None where there is none."""
    p = run(["podman", kind, "inspect", name], env=environment(lab), check=False, quiet=True)
    found = json.loads(p.stdout) if p.returncode == 0 and p.stdout.strip() else []
    return found[0] if found else None


def execute(lab: Lab, container: str, argv: Sequence[str], **kwargs: Any) -> str:
    """Runs a program in a running container, as root."""
    stdin = ["-i"] if kwargs.get("stdin") is not None else []
    return podman(lab, "exec", *stdin, container, *argv, **kwargs)
