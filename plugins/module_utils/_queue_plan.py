# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the request queues of disks shall be set, now and whenever udev sees them again. Pure.

Limits are those of the kernel's block/blk-mq.c and block/blk-sysfs.c (Linux 6.x): at least 4 requests, at most 2048 with a scheduler,
at most the hardware's tags without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.slipway.mlops.plugins.module_utils._host_input import integer

# In the order in which they are written: a new scheduler brings its own nr_requests.
ATTRIBUTES = ("scheduler", "nr_requests", "max_sectors_kb", "read_ahead_kb", "rq_affinity")
# What belongs to requests: a queue that passes bios on has none of these, and newer kernels do not show them there.
_OF_REQUESTS = ("scheduler", "nr_requests", "rq_affinity")
ROTATIONAL, SSD, NVME = "rotational", "ssd", "nvme"
MIN_REQUESTS, MAX_REQUESTS = 4, 2048
HEADER = "# Written by slipway.mlops.block_queues, whole: edit the inventory, not this file.\n"


@dataclass(frozen=True)
class Queue:
    """One disk as the kernel shows it.

    attributes: what /sys/block/<name>/queue holds, for those of ATTRIBUTES that the kernel has; the scheduler as "[none] mq-deadline".
    match: udev match that finds this disk again (`ATTRS{wwid}=="..."`); `stable` is False where only the kernel's name could be used.
    stacked: it stands on other disks (md, dm): only its read-ahead matters.
    bio_based: it makes no requests of its own, as a namespace of NVMe's native multipath.
    """

    name: str
    kind: str
    attributes: Mapping[str, str]
    match: str
    stable: bool = True
    stacked: bool = False
    bio_based: bool = False
    max_hw_sectors_kb: int = 0
    tags: int = 0
    page_kb: int = 4  # the kernel keeps the read-ahead in pages


@dataclass(frozen=True)
class Disk:
    """One disk decided. `wanted` in the order of writing."""

    name: str
    kind: str
    wanted: dict[str, str]
    before: dict[str, str]

    @property
    def changes(self) -> dict[str, str]:
        return {attribute: value for attribute, value in self.wanted.items() if self.before[attribute] != value}


@dataclass(frozen=True)
class Plan:
    disks: list[Disk] = field(default_factory=list)
    rules: bytes = b""  # of the udev file; empty: no file
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def plan(queues: Sequence[Queue], by_kind: Mapping[str, Mapping[str, Any]], by_device: Mapping[str, Mapping[str, Any]]) -> Plan:
    """Decide all disks. `by_kind` has settings for ROTATIONAL, SSD and NVME; those in `by_device`, by kernel name, win one by one."""
    disks, problems, warnings, blocks, passing = [], [], [], [], []
    for queue in queues:
        of_kind, own = by_kind.get(queue.kind, {}), by_device.get(queue.name, {})
        given = {name: value for name, value in {**of_kind, **own}.items() if value is not None}
        if queue.stacked:
            given = {name: value for name, value in given.items() if name == "read_ahead_kb"}
        elif queue.bio_based and any(name in given and name not in own for name in _OF_REQUESTS):
            given = {name: value for name, value in given.items() if name in own or name not in _OF_REQUESTS}
            passing.append(queue.name)
        wanted, wrong = _checked(queue, given)
        problems += wrong
        if wrong or not wanted:
            continue
        before = {name: chosen(queue.attributes[name]) if name == "scheduler" else queue.attributes[name] for name in wanted}
        disks.append(Disk(queue.name, queue.kind, wanted, before))
        blocks.append(_rule(queue, wanted))
        if not queue.stable:
            warnings.append(f"{queue.name} has neither WWN nor serial: its udev rule goes by that name, which another disk may bear after a boot")
    if passing:
        left_out = ", ".join(_OF_REQUESTS)
        warnings.append(f"{', '.join(passing)}: no requests of its own (as with NVMe's native multipath), so {left_out} of its class are left out")
    return Plan(disks, (HEADER + "\n" + "\n".join(blocks)).encode() if blocks else b"", problems, warnings)


def chosen(scheduler: str) -> str:
    """The scheduler in brackets: `none` of "[none] mq-deadline"."""
    found = re.search(r"\[([^]]+)\]", scheduler)
    return found.group(1) if found else scheduler.strip()


def offered(scheduler: str) -> list[str]:
    """All schedulers that the kernel lists."""
    return scheduler.replace("[", "").replace("]", "").split()


def glob_safe(value: str) -> str:
    """A device's own words inside of a udev match: what would be a quote or a pattern there matches any one character instead."""
    return re.sub(r'["\\*?\[\]|]|[^\x20-\x7e]', "?", value)


def _checked(queue: Queue, given: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The settings in the kernel's words, and what is wrong with them."""
    wanted, wrong = {}, []
    for name in ATTRIBUTES:
        if name not in given:
            continue
        value = given[name]
        why = _problem(queue, name, value, given.get("scheduler"))
        if why:
            wrong.append(f"{queue.name}: {why}")
        else:
            wanted[name] = value if name == "scheduler" else str(integer(value))
    return wanted, wrong


def _problem(queue: Queue, name: str, value: Any, scheduler: Any) -> str:
    """Why the kernel would not take the value, "" where it would."""
    if name not in queue.attributes or (queue.bio_based and name in _OF_REQUESTS):
        return f"this kernel has no queue/{name} for it"
    if name == "scheduler":
        choices = offered(queue.attributes["scheduler"])
        return "" if value in choices else f'scheduler "{value}" is not offered ({" ".join(choices)})'
    number = integer(value)
    if number is None:
        return f"{name} must be an integer, got {value!r}"
    low, high, because = _range(queue, name, scheduler)
    if number < low or (high and number > high):
        return f"{name} {number} is outside {low}-{high or ''}{because}"
    if name == "read_ahead_kb" and number % queue.page_kb:
        return f"read_ahead_kb {number} is not a multiple of {queue.page_kb}, the size of a page; the kernel would round it down"
    return ""


def _range(queue: Queue, name: str, scheduler: Any) -> tuple[int, int, str]:
    """Smallest and largest value (0: the kernel states none), and why."""
    if name == "rq_affinity":
        return 0, 2, ""
    if name == "max_sectors_kb":
        return 4, queue.max_hw_sectors_kb, ", the most that the hardware takes"
    if name == "read_ahead_kb":
        return 0, 0, ""
    if (scheduler or chosen(queue.attributes.get("scheduler", "none"))) == "none":
        return MIN_REQUESTS, queue.tags or MAX_REQUESTS, ", the hardware's own queue, for without a scheduler there is no other"
    return MIN_REQUESTS, MAX_REQUESTS, ", the kernel's limits"


def _rule(queue: Queue, wanted: Mapping[str, str]) -> str:
    """One line for the scheduler, one for the rest, so that the first is sure to come first."""
    head = f'ACTION=="add|change", SUBSYSTEM=="block", ENV{{DEVTYPE}}=="disk", {queue.match}'
    groups = [[name for name in wanted if name == "scheduler"], [name for name in wanted if name != "scheduler"]]
    lines = [", ".join([head, *(f'ATTR{{queue/{name}}}="{wanted[name]}"' for name in group)]) for group in groups if group]
    return f"# {queue.kind}\n" + "\n".join(lines) + "\n"
