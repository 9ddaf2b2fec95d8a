# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many files pods may open: they inherit the limit of the container runtime's service, not that of any login. A floor, never lowered.

A process is raised while it runs (prlimit(2)), so nothing is restarted; a drop-in of its systemd unit keeps that for its next start.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _processes
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed

RUNTIMES = ("containerd", "dockerd", "crio", "containerd-shim-runc-v2", "conmon")
DROP_IN = "90-slipway-open-files.conf"
_CAP_SYS_RESOURCE = 1 << 24
_CAPABILITIES = re.compile(r"^CapEff:\s*([0-9a-f]+)", re.MULTILINE)
_HARD = re.compile(r"^Max open files +\S+ +(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Daemon:
    """A process of a container runtime. `hard` is its limit of open files, None for no limit."""

    pid: int
    unit: str
    hard: int | None


@dataclass(frozen=True)
class State:
    daemons: Sequence[Daemon]
    drop_ins: Mapping[str, bytes | None]  # unit -> our drop-in now
    nr_open: int  # the most that the kernel lets a process have
    may_raise: bool = True  # this process has CAP_SYS_RESOURCE; root in a container often has not


@dataclass(frozen=True)
class Plan:
    raise_to: int = 0
    daemons: list[Daemon] = field(default_factory=list)  # those that are raised
    drop_ins: dict[str, bytes | None] = field(default_factory=dict)  # unit -> our drop-in to be; only those that change
    problems: list[str] = field(default_factory=list)


def probe(root: str = "/") -> State:
    """The runtimes that run as systemd services here, and our drop-ins for them."""
    daemons = []
    for process in _processes.find(RUNTIMES, root):
        found = _HARD.search(_files.text(root, f"proc/{process.pid}/limits"))
        if process.unit and found:
            daemons.append(Daemon(process.pid, process.unit, None if found.group(1) == "unlimited" else int(found.group(1))))
    units = sorted({daemon.unit for daemon in daemons})
    rights = _CAPABILITIES.search(_files.text(root, "proc/self/status"))
    may_raise = rights is None or bool(int(rights.group(1), 16) & _CAP_SYS_RESOURCE)
    return State(daemons, {unit: _files.read(drop_in(unit, root)) for unit in units}, int(_files.text(root, "proc/sys/fs/nr_open") or 0), may_raise)


def plan(minimum: int, state: State, nr_open: int) -> Plan:
    """What to raise. `nr_open` is what fs.nr_open will be; a minimum of 0 takes our drop-ins away and changes no process."""
    if minimum and minimum > nr_open:
        return Plan(problems=[f"open_files {minimum} is above fs.nr_open ({nr_open}), the most that the kernel gives a process; raise that, too"])
    low = [daemon for daemon in state.daemons if minimum and daemon.hard is not None and daemon.hard < minimum]
    if low and not state.may_raise:
        names = ", ".join(sorted({f"{daemon.unit} ({daemon.hard})" for daemon in low}))
        return Plan(problems=[f"open_files {minimum} is more than {names} may have, and this host lacks the right to raise it (CAP_SYS_RESOURCE); give 0"])
    drop_ins: dict[str, bytes | None] = {}
    for unit, now in state.drop_ins.items():
        wanted = _content(minimum) if minimum and (now is not None or any(daemon.unit == unit for daemon in low)) else None
        if wanted != now:
            drop_ins[unit] = wanted
    return Plan(minimum, low, drop_ins)


def apply(decided: Plan, root: str = "/") -> None:
    """Write the drop-ins, let systemd read them, then raise the processes.

    In this order, because a process that is raised asks for nothing more: a run that is cut short leaves it low, so that the next one goes on. For the same
    reason systemd reads its files whenever there is a process to raise, also where the drop-in is there from a run that came no further.
    """
    for unit, content in decided.drop_ins.items():
        path = drop_in(unit, root)
        if content is None:
            _files.remove(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _files.write_atomic(path, content)
    if decided.drop_ins or decided.daemons:
        _reload()
    for daemon in decided.daemons:
        try:
            soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
            wanted = decided.raise_to if hard != resource.RLIM_INFINITY and hard < decided.raise_to else hard
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, wanted))
        except ProcessLookupError:
            continue
        except OSError as error:
            raise Failed(f"process {daemon.pid} of {daemon.unit}: its limit of open files stays {daemon.hard}: {error.strerror}") from error


def _reload() -> None:
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            ["systemctl", "daemon-reload"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"systemctl daemon-reload: {error}") from error
    if done.returncode:
        raise Failed(f"systemctl daemon-reload failed ({done.returncode}): {done.stdout.decode('utf-8', 'replace').strip()}")


def drop_in(unit: str, root: str = "/") -> str:
    """Path of our drop-in of a unit."""
    return os.path.join(root, f"etc/systemd/system/{unit}.d", DROP_IN)


def _content(minimum: int) -> bytes:
    return f"# Written by slipway.mlops.sysctl_values: pods inherit this limit.\n[Service]\nLimitNOFILE={minimum}\n".encode()
