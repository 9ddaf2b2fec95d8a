# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which kernel settings a host shall have now and after the next boot: wanted values and the host's state in, a plan out. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils import _sysctl_text
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import integer, out_of_place
from ansible_collections.slipway.mlops.plugins.module_utils._sysctl_text import Assignment, Entry, plain

EXACT, FLOOR, CEILING = "exact", "floor", "ceiling"
UNITS = {"bytes": 1, "KiB": 1024, "pages": 0}  # pages: the machine says how large one is
SIZES = ("value", "memory_percent", "link_seconds")

# Outside of net.*, what a container has for itself: ipc and uts namespaces (namespaces(7), ipc/ipc_sysctl.c of Linux 6.x).
_OWN = re.compile(r"kernel\.(shm.*|msg.*|sem|hostname|domainname)|fs\.mqueue\..*")


@dataclass(frozen=True)
class Wanted:
    """One setting as the inventory gives it. Exactly one of `value`, `memory_percent` and `link_seconds` is not None.

    memory_percent: each field of the value is this share of the machine's memory, in `unit`.
    link_seconds: the bytes that the fastest network link carries in this time; `minimum` where no link tells its speed.
    minimum, maximum: bounds of a computed field, in `unit`.
    """

    name: str
    value: Any = None
    match: str = EXACT
    memory_percent: Sequence[float] | None = None
    link_seconds: float | None = None
    unit: str = "bytes"
    minimum: int | None = None
    maximum: int | None = None
    optional: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Machine:
    """What values are sized by, and whose kernel it is. `container` is "" on a machine of its own."""

    memory_bytes: int
    page_bytes: int
    link_bits_per_second: int  # 0: no link tells
    container: str = ""
    network_is_own: bool = True  # False: a container in the network namespace of the machine below


@dataclass(frozen=True)
class State:
    """`live`: value by name, None where the kernel has no such key here. `read_only`: names that the kernel shows but does not let us write.

    `at_boot`: all assignments of all files in the order in which they are applied; those of `file` are ours.
    """

    live: Mapping[str, str | None]
    read_only: frozenset[str]
    at_boot: Sequence[Assignment]
    content: bytes | None
    modules: bytes | None = None  # of our file that names kernel modules


@dataclass(frozen=True)
class Setting:
    """One setting decided: the kernel's value now, the value it shall have, and the line of the file ("" for none)."""

    name: str
    match: str
    before: str
    after: str
    at_boot: str


@dataclass(frozen=True)
class Plan:
    settings: list[Setting] = field(default_factory=list)
    content: bytes = b""  # of our file; empty: no file
    modules: bytes = b""  # of our file that names kernel modules, so that the keys are there when the boot sets them
    absent: list[str] = field(default_factory=list)  # optional keys that the kernel does not have here
    left_behind: list[str] = field(default_factory=list)  # live until reboot, although no file sets it any more
    problems: list[str] = field(default_factory=list)

    @property
    def live_changes(self) -> list[Setting]:
        return [setting for setting in self.settings if setting.before != setting.after]


def _input_problems(index: int, item: Wanted, is_repeated: bool) -> list[str]:
    """What is wrong with an entry of the list by itself, one sentence each."""
    if not _sysctl_text.NAME.fullmatch(item.name) or ".." in item.name or "//" in item.name:
        return [f'values[{index}]: "{item.name}" is not a sysctl name; write it with dots, as in net.core.somaxconn']
    found = []
    where = f"values[{index}] {item.name}: "
    if is_repeated:
        found.append(where + "is in the list twice")
    given = [size for size in SIZES if getattr(item, size) is not None]
    if len(given) != 1:
        found.append("{}give exactly one of {}, got {}".format(where, ", ".join(SIZES), " and ".join(given) or "none"))
    if isinstance(item.value, bool) or not isinstance(item.value, (str, int, type(None))):
        found.append(f"{where}value {item.value!r} is neither a number nor text; a YAML word such as on or yes must be written as the number it means")
    elif item.value is not None and not plain(str(item.value)):
        found.append(where + "the value is empty")
    for what, text, forbidden in (("value", item.value, "#\"';\\"), ("reason", item.reason, "")):
        why = "" if text is None else out_of_place(str(text), forbidden)
        if why:
            found.append(f"{where}{what} {text!r} cannot stand in a sysctl file: {why}")
    if item.match != EXACT and item.value is not None and not isinstance(item.value, bool) and _numbers(str(item.value)) is None:
        found.append(f'{where}match {item.match} compares numbers, but the value is "{item.value}"')
    if item.memory_percent is not None and (not item.memory_percent or any(not 0 < share <= 100 for share in item.memory_percent)):
        found.append(f"{where}memory_percent {list(item.memory_percent)} must be shares above 0 and up to 100")
    if item.link_seconds is not None and (not 0 < item.link_seconds <= 60 or item.minimum is None):
        found.append(where + "link_seconds needs a time above 0 and up to 60, and a minimum for links that do not tell their speed")
    if item.minimum is not None and item.maximum is not None and item.minimum > item.maximum:
        found.append(f"{where}minimum {item.minimum} is above maximum {item.maximum}")
    return found


def sized(item: Wanted, machine: Machine) -> str:
    """The value in the kernel's words: as given, or computed from the machine."""
    if item.value is not None:
        return plain(str(item.value))
    unit = UNITS[item.unit] or machine.page_bytes
    if item.memory_percent is not None:
        fields = [machine.memory_bytes * share / 100 / unit for share in item.memory_percent]
    else:
        fields = [machine.link_bits_per_second / 8 * (item.link_seconds or 0) / unit]
    return " ".join(str(_bounded(math.floor(number), item.minimum, item.maximum)) for number in fields)


def shared_with_machine(name: str, machine: Machine) -> bool:
    """True where a container would change the kernel of the machine below it, and of every other container there."""
    if not machine.container or _OWN.fullmatch(name):
        return False
    return not (name.startswith("net.") and machine.network_is_own)


def plan(wanted: Sequence[Wanted], machine: Machine, state: State, file: str, removed: Sequence[str] = ()) -> Plan:
    """Decide all settings. `file` is ours; `removed` are files whose lines shall not count, for they go."""
    problems: list[str] = []
    settings: list[Setting] = []
    entries: list[Entry] = []
    absent: list[str] = []
    at_boot = [line for line in state.at_boot if line.file not in removed]
    for index, item in enumerate(wanted):
        wrong = _input_problems(index, item, any(other.name == item.name for other in wanted[:index]))
        if wrong:
            problems += wrong
            continue
        live = state.live.get(item.name)
        goal = sized(item, machine)
        if shared_with_machine(item.name, machine):
            why = f"belongs to the machine below this {machine.container} container, not to the container"
        elif live is None:
            why = _no_such_key(item.name, machine)
        elif item.name in state.read_only:
            why = "is read-only here{}".format(f" (in this {machine.container} container)" if machine.container else "")
        else:
            why = _misfit(item, goal, live)
            if why:
                problems.append(f"{item.name}: {why}")
                continue
        if why:
            if item.optional:
                absent.append(item.name)
            else:
                problems.append(f"{item.name} {why}; leave it out, or mark it optional: true")
            continue
        now = plain(live or "")
        ours, others, later = _boot_values(item.name, at_boot, file)
        kept = _written(item.match, goal, now, ours, others)
        for line in later:
            if not _satisfies(item.match, line.value, goal):
                problems.append(
                    f"{item.name}: {line.file} line {line.line} is applied after {file} and sets {line.value} ({item.match} {goal} is wanted), "
                    "so the next boot would undo it; "
                    "remove that line, or name the file in remove_files"
                )
        settings.append(Setting(item.name, item.match, now, now if _satisfies(item.match, now, goal) else kept, kept))
        comment = f"{item.match}: {item.reason}" if item.reason else ""
        entries.append(Entry(item.name, kept, comment))
    # A container loads no modules.
    modules = b"" if machine.container else _sysctl_text.modules(entries)
    return Plan(settings, _sysctl_text.render(entries), modules, absent, _left_behind(wanted, state, at_boot, file), problems)


def _boot_values(name: str, at_boot: Sequence[Assignment], file: str) -> tuple[str | None, list[str], list[Assignment]]:
    """Our own file's value, the values of all other files, and the assignments that come after our file."""
    mine = [line.value for line in at_boot if line.name == name and line.file == file]
    others = [line for line in at_boot if line.name == name and line.file != file]
    order = list(dict.fromkeys(line.file for line in at_boot))
    later = set(order[order.index(file) + 1 :]) if file in order else set()
    last = {line.file: line for line in others if line.file in later}
    winner = [last[path] for path in order if path in last][-1:]
    return (mine[-1] if mine else None), [line.value for line in others], winner


def _written(match: str, goal: str, live: str, ours: str | None, others: Sequence[str]) -> str:
    """The value for our file. A floor never becomes lower than what the host has, or would have at boot, without us."""
    if match == EXACT:
        return goal
    known = ours if ours is not None and _satisfies(match, ours, goal) else live
    return _extreme(match, [goal, known, *others])


def _extreme(match: str, values: Sequence[str]) -> str:
    """Field by field the largest (floor) or the smallest (ceiling); values with another number of fields do not count."""
    rows = [_numbers(value) for value in values]
    width = len(rows[0] or [])
    choose = max if match == FLOOR else min
    return " ".join(str(choose(column)) for column in zip(*[row for row in rows if row and len(row) == width]))


def _satisfies(match: str, value: str, goal: str) -> bool:
    if match == EXACT:
        return plain(value) == goal
    have, want = _numbers(value), _numbers(goal)
    if have is None or want is None or len(have) != len(want):
        return False
    return all(a >= b if match == FLOOR else a <= b for a, b in zip(have, want))


def _misfit(item: Wanted, goal: str, live: str) -> str:
    """Why the kernel cannot mean this value, judged by the one it has; "" where it can."""
    have, want = _numbers(live), _numbers(goal)
    if have is None:
        return f"match {item.match} compares numbers, but the kernel's value is not a number: {plain(live)}" if item.match != EXACT else ""
    if want is None:
        return 'value "{}" is not {}, as the kernel\'s own is ({})'.format(goal, "an integer" if len(have) == 1 else "a list of integers", plain(live))
    if len(have) != len(want):
        return f'value "{goal}" has {len(want)} field(s), the kernel\'s own has {len(have)} ({plain(live)})'
    return ""


def _no_such_key(name: str, machine: Machine) -> str:
    if machine.container and name.startswith("net."):
        return f"does not exist in the network namespace of this {machine.container} container: it belongs to the machine below"
    if name.startswith("net.netfilter.nf_conntrack"):
        return "does not exist under /proc/sys: the kernel module nf_conntrack is not loaded"
    return "does not exist under /proc/sys: the name is wrong, or its kernel module is not loaded"


def _left_behind(wanted: Sequence[Wanted], state: State, at_boot: Sequence[Assignment], file: str) -> list[str]:
    """Settings of our file, or of a removed one, that nothing sets any more; the kernel keeps them until it is restarted."""
    still = {item.name for item in wanted} | {line.name for line in at_boot if line.file != file}
    return sorted({f"{line.name} = {line.value}" for line in state.at_boot if line.name and line.name not in still})


def _numbers(value: str) -> list[int] | None:
    found = [integer(text) for text in value.split()]
    return None if not found or None in found else [number for number in found if number is not None]


def _bounded(number: int, minimum: int | None, maximum: int | None) -> int:
    if minimum is not None:
        number = max(number, minimum)
    return number if maximum is None else min(number, maximum)
