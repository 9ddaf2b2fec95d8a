# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text of sysctl.d files: read as systemd-sysctl reads them, written as people like to find them. Pure.

Format: sysctl.d(5), systemd 252. A key that is set by name wins over every glob, so globs (and keys without a value, which only
exclude from globs) never concern us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[A-Za-z0-9_@:/-]+)+")
HEADER = "# Written by slipway.mlops.sysctl_values, whole: edit the inventory, not this file."
# Keys that are there only while a module is loaded: beginning of the name -> that module.
_MODULES = {"net.netfilter.nf_conntrack_": "nf_conntrack", "net.nf_conntrack_max": "nf_conntrack", "net.bridge.bridge-nf-": "br_netfilter"}


@dataclass(frozen=True)
class Assignment:
    """One line `name = value` of a file; `line` counts from 1."""

    file: str
    line: int
    name: str
    value: str


@dataclass(frozen=True)
class Entry:
    """One line to be written, with the reason that goes above it."""

    name: str
    value: str
    comment: str = ""


def plain(value: str) -> str:
    """A value as the kernel prints it, with one space between its fields."""
    return " ".join(value.split())


def dotted(key: str) -> str:
    """The name with dots. `net/ipv4/conf/eth0.100/rp_filter` is `net.ipv4.conf.eth0/100.rp_filter`; dots-first names stay as they are."""
    first = next((letter for letter in key if letter in "./"), ".")
    return key if first == "." else key.translate({ord("."): "/", ord("/"): "."})


def path(name: str) -> str:
    """Where the kernel shows a dotted name, below /proc/sys."""
    return name.translate({ord("."): "/", ord("/"): "."})


def parse(file: str, content: bytes) -> list[Assignment]:
    """The assignments of one file, in order. Lines that systemd-sysctl would not take are passed over, as it does."""
    found = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        key, equals, value = text.partition("=")
        key = key.strip().lstrip("-").strip()
        if equals and key and not any(letter in key for letter in "*?["):
            found.append(Assignment(file, number, dotted(key), plain(value)))
    return found


def render(entries: Sequence[Entry]) -> bytes:
    """The whole file; empty where there is nothing to set."""
    if not entries:
        return b""
    lines = [HEADER]
    for entry in entries:
        lines += ["", "# " + entry.comment] if entry.comment else []
        lines.append(f"{entry.name} = {entry.value}")
    return ("\n".join(lines) + "\n").encode()


def modules(entries: Sequence[Entry]) -> bytes:
    """A file of modules-load.d(5) with the modules that the settings need; empty where they need none. It is read before sysctl.d."""
    names = sorted({module for entry in entries for key, module in _MODULES.items() if entry.name.startswith(key)})
    return "".join(line + "\n" for line in (HEADER, *names)).encode() if names else b""


def modules_file(file: str) -> str:
    """Where the modules behind the settings of `file` are named: another file of ours has another one."""
    return "/etc/modules-load.d/slipway-" + file.rpartition("/")[2]


def boot_order(files: Iterable[str]) -> list[str]:
    """Full paths in the order in which they are applied at boot: by file name; of equal names only the one in the folder listed first.

    Folders in the order of sysctl.d(5): /etc, /run, /usr/local/lib, /usr/lib, /lib.
    """
    rank = {folder: place for place, folder in enumerate(FOLDERS)}
    chosen: dict[str, str] = {}
    for file in sorted(files, key=lambda file: rank.get(file.rpartition("/")[0], len(rank))):
        chosen.setdefault(file.rpartition("/")[2], file)
    return [chosen[name] for name in sorted(chosen)]


FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
