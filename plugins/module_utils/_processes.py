# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The daemons that run on this host, read from /proc: no process is spawned. `root` is "/" except in tests."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

_UNIT = re.compile(rb"^(?:0:|[0-9]+:name=systemd):.*?/([^/\n]+\.service)(?:/|$)", re.MULTILINE)


@dataclass(frozen=True)
class Process:
    pid: int
    argv: tuple[str, ...]
    unit: str  # the systemd service that it belongs to, "" where there is none
    started: float = 0.0  # seconds since the epoch

    def flag(self, *names: str) -> str | None:
        """The value of `--name=value` or `--name value` (last one wins), None where it is not given."""
        found = None
        for at, word in enumerate(self.argv[1:], 1):
            bare, equals, value = word.lstrip("-").partition("=")
            if not word.startswith("-") or bare not in names:
                continue
            if equals:
                found = value
            elif at + 1 < len(self.argv):
                found = self.argv[at + 1]
        return found


def find(names: Sequence[str], root: str = "/") -> list[Process]:
    """Processes whose program has one of these names, of this host alone: not those of containers on it."""
    proc = os.path.join(root, "proc")
    ours = _link(os.path.join(proc, "self", "ns", "pid"))
    found = []
    for name in sorted(filter(str.isdigit, _folder(proc)), key=int):
        argv = _read(os.path.join(proc, name, "cmdline")).decode("utf-8", "replace").rstrip("\0").split("\0")
        # k3s renames itself "k3s server"; everything else keeps one word.
        if os.path.basename(argv[0].split(" ")[0]) not in names:
            continue
        theirs = _link(os.path.join(proc, name, "ns", "pid"))
        if ours and theirs and theirs != ours:
            continue
        unit = _UNIT.search(_read(os.path.join(proc, name, "cgroup")))
        found.append(Process(int(name), tuple(argv), unit.group(1).decode() if unit else "", _started(proc, name)))
    return found


def _started(proc: str, name: str) -> float:
    boot = re.search(rb"^btime ([0-9]+)$", _read(os.path.join(proc, "stat")), re.MULTILINE)
    # Field 22 of proc(5) stat, counted after the program's name, which may hold spaces and parentheses.
    fields = _read(os.path.join(proc, name, "stat")).rpartition(b")")[2].split()
    return float(boot.group(1)) + int(fields[19]) / os.sysconf("SC_CLK_TCK") if boot and len(fields) > 19 else 0.0


def _folder(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # it ended meanwhile
        return b""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
