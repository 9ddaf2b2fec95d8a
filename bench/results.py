# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How every bench keeps its figures: samples of contenders per case, ratios against what is asked for; written as JSON, Markdown and SVG."""

from __future__ import annotations

import datetime
import html
import json
import os
import platform
import statistics
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "results"
# What the project asks of itself: ratio -> the least, and the command that measures it. One that nobody has measured is said to be missing.
ABOVE, WHOLE = "above an empty play", "whole process"
ASKED = {
    "AIStore, deployed / bare, reads": (0.9, "bench/run aistore"),
    "AIStore, deployed / bare, writes": (0.9, "bench/run aistore"),
    "nothing to change, 10 hosts, 2 disks each": (8.0, "bench/run hosts"),
    "nothing to change, 10 hosts, 10 disks each": (8.0, "bench/run hosts"),
    f"{ABOVE}, kubernetes.core / ours, 1000 nodes, in place": (10.0, "bench/run short"),
    f"{ABOVE}, kubectl, server-side / ours, 1000 nodes, in place": (5.0, "bench/run short"),
    f"{ABOVE}, kubernetes.core / ours, 200 objects, first apply": (3.0, "bench/run short"),
    f"{WHOLE}, kubectl, server-side / ours, 200 objects, first apply": (1.0, "bench/run short"),
    f"{ABOVE}, kubernetes.core / ours, 200 objects, no change": (8.0, "bench/run short"),
    f"{WHOLE}, kubectl, server-side / ours, 200 objects, no change": (1.0, "bench/run short"),
}


@dataclass
class Row:
    """Samples of one contender in one case, all in `unit`."""

    case: str
    contender: str
    samples: list[float]
    unit: str = "s"
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@dataclass
class Ratio:
    """`measured` = theirs over ours, of medians taken in the same run. `wanted` is the least that is asked for (ASKED), None where nothing is."""

    name: str
    measured: float
    wanted: float | None = None

    @property
    def holds(self) -> bool:
        return self.wanted is None or self.measured >= self.wanted


@dataclass
class Bench:
    """One bench: `bench.add(...)` samples, `bench.ratio(...)`, then `bench.write()`."""

    name: str
    title: str
    command: str
    rows: list[Row] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, case: str, contender: str, samples: list[float], unit: str = "s", note: str = "") -> Row:
        self.rows.append(Row(case, contender, [float(sample) for sample in samples], unit, note))
        return self.rows[-1]

    def ratio(self, name: str, ours: float, theirs: float) -> Ratio:
        self.ratios.append(Ratio(name, theirs / ours if ours else float("inf"), ASKED.get(name, (None, ""))[0]))
        return self.ratios[-1]

    def write(self, folder: Path = FOLDER) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        data = {"name": self.name, "title": self.title, "command": self.command, "date": _now(), "machine": machine(), "notes": self.notes}
        data["rows"] = [asdict(row) for row in self.rows]
        data["ratios"] = [{**asdict(ratio), "holds": ratio.holds} for ratio in self.ratios]
        (folder / f"{self.name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        (folder / f"{self.name}.svg").write_text(plot(self.title, self.rows), encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", f"`{self.command}`, {_now()}, {machine()}.", ""]
        lines += ["| case | contender | min | median | max | unit | runs | |", "|---|---|---|---|---|---|---|---|"]
        for row in self.rows:
            low, middle, high = (_figure(value, row.unit) for value in (min(row.samples), row.median, max(row.samples)))
            lines.append(f"| {row.case} | {row.contender} | {low} | **{middle}** | {high} | {row.unit} | {len(row.samples)} | {row.note} |")
        if self.ratios:
            lines += ["", "| ratio (theirs / ours, medians of this run) | measured | asked for | |", "|---|---|---|---|"]
            for ratio in self.ratios:
                wanted = ("", "") if ratio.wanted is None else (f"at least {_figure(ratio.wanted)}", "holds" if ratio.holds else "**falls short**")
                lines.append(f"| {ratio.name} | {_figure(ratio.measured)} | {wanted[0]} | {wanted[1]} |")
        lines += ["", *self.notes, ""]
        return "\n".join(lines)


def missing(measured: Collection[str]) -> list[tuple[str, float, str]]:
    """What is asked for and not among these names of ratios: the name, the least, and the command."""
    return [(name, least, command) for name, (least, command) in ASKED.items() if name not in measured]


def machine() -> str:
    """The machine in a phrase."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def plot(title: str, rows: list[Row]) -> str:
    """Medians as bars with the range from minimum to maximum, one group per case; a scale per unit."""
    highest = {unit: max((max(row.samples) for row in rows if row.unit == unit), default=1) or 1 for unit in {row.unit for row in rows}}
    parts, y, case = [], 40, ""
    for row in rows:
        if row.case != case:
            case, y = row.case, y + 14
            parts.append(f'<text x="10" y="{y + 12}" font-weight="600">{html.escape(case)}</text>')
            y += 20
        scale = 420 / highest[row.unit]
        parts.append(f'<text x="250" y="{y + 13}" text-anchor="end">{html.escape(row.contender[:38])}</text>')
        parts.append(f'<rect x="260" y="{y + 2}" width="{max(1, row.median * scale):.1f}" height="14" fill="#2962a8" rx="2"/>')
        parts.append(f'<path d="M{260 + min(row.samples) * scale:.1f} {y + 9}H{260 + max(row.samples) * scale:.1f}" stroke="#e08a00" stroke-width="2"/>')
        parts.append(f'<text x="{266 + max(row.samples) * scale:.1f}" y="{y + 13}">{_figure(row.median, row.unit)} {html.escape(row.unit)}</text>')
        y += 20
    return svg(title, 800, y + 16, parts)


def svg(title: str, width: int, height: int, parts: list[str]) -> str:
    """A picture with its title, for light and dark pages."""
    style = "<style>text{fill:#1d2430}svg{background:#fff}@media(prefers-color-scheme:dark){text{fill:#e4e8ed}svg{background:#14181d}}</style>"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">{style}'
    return head + f'<text x="10" y="24" font-size="15" font-weight="600">{html.escape(title)}</text>' + "".join(parts) + "</svg>\n"


def _figure(value: float, unit: str = "") -> str:
    if unit == "requests":
        return f"{value:.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
