# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What `aisloader -json` wrote, as a table and a plot. Pure.

aisloader tells, for each interval and at the end for the whole run, count, bytes, errors and the mean, least and largest latency (nanoseconds)
of GET and PUT. It keeps no distribution; percentiles here are those of the intervals' means, and are called so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

KINDS = ("get", "put")
MIB = 1 << 20
# Each failed request has such a line on stderr, which a pod's log holds among those of the statistics.
FAILURE = re.compile(r"[A-Za-z ]+ failed: ")


@dataclass(frozen=True)
class Run:
    """One loader's run: `intervals` in order, `total` of the whole, as aisloader wrote them, and its lines on requests that failed."""

    node: str
    intervals: Sequence[Mapping[str, Any]]
    total: Mapping[str, Any]
    failures: Sequence[str] = ()


def parse(node: str, text: str) -> Run:
    """The JSON list in a loader's output, wherever it stands. ValueError where there is none."""
    failures = [line for line in text.splitlines() if FAILURE.match(line)]
    text = "\n".join(line for line in text.splitlines() if not FAILURE.match(line))
    start, end = text.find("[\n{"), text.rfind("\n]")
    if start < 0 or end < start:
        raise ValueError("no statistics in the output of aisloader" + (f", whose last request that failed was: {failures[-1]}" if failures else ""))
    try:
        found = json.loads(text[start : end + 2])
    except json.JSONDecodeError as error:
        raise ValueError(f"the statistics in the output of aisloader have a gap (is the disk of node {node} full?): {error}") from None
    if len(found) < 2:
        raise ValueError("aisloader ended before its first interval was over")
    return Run(node, found[:-1], found[-1], failures)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; 0 for no values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def summary(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """By kind of request, over all loaders: throughput in MiB/s and requests/s, latencies in milliseconds."""
    return {kind: _one(runs, kind) for kind in KINDS}


def _one(runs: Sequence[Run], kind: str) -> dict[str, Any]:
    totals = [run.total[kind] for run in runs]
    means = [int(item[kind]["latency"]) / 1e6 for run in runs for item in run.intervals if int(item[kind]["count"])]
    busy = [total for total in totals if int(total["count"])]
    count = sum(int(total["count"]) for total in totals)
    weighted = sum(int(total["latency"]) * int(total["count"]) for total in busy)
    return {
        "requests": count,
        "errors": sum(int(total["errors"]) for total in totals),
        "mib_per_second": round(sum(int(total["bytes"]) / MIB / _seconds(total) for total in busy), 1),
        "requests_per_second": round(sum(int(total["count"]) / _seconds(total) for total in busy), 1),
        "latency_mean_ms": round(weighted / count / 1e6, 2) if count else 0.0,
        "latency_min_ms": round(min((int(total["min_latency"]) for total in busy), default=0) / 1e6, 2),
        "latency_max_ms": round(max((int(total["max_latency"]) for total in busy), default=0) / 1e6, 2),
        "interval_mean_p50_ms": round(percentile(means, 0.5), 2),
        "interval_mean_p95_ms": round(percentile(means, 0.95), 2),
        "interval_mean_p99_ms": round(percentile(means, 0.99), 2),
    }


def _seconds(total: Mapping[str, Any]) -> float:
    return max(int(total["duration"]) / 1e9, 1e-9)


def series(runs: Sequence[Run], kind: str) -> list[float]:
    """MiB/s of all loaders together, interval by interval."""
    length = max((len(run.intervals) for run in runs), default=0)
    rows = [[int(item[kind]["bytes"]) / MIB / _seconds(item[kind]) for item in run.intervals] for run in runs]
    return [sum(row[index] for row in rows if index < len(row)) for index in range(length)]


def table(found: Mapping[str, Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = ["# Load on AIStore", ""]
    lines += [f"- {key}: {value}" for key, value in about.items()]
    lines += [
        "",
        "| | requests | errors | MiB/s | requests/s | mean ms | p50 of 1 s means | p95 | p99 | slowest ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    names = (
        "requests", "errors", "mib_per_second", "requests_per_second", "latency_mean_ms",
        "interval_mean_p50_ms", "interval_mean_p95_ms", "interval_mean_p99_ms", "latency_max_ms",
    )  # fmt: skip
    lines += [f"| {kind.upper()} | " + " | ".join(str(row[name]) for name in names) + " |" for kind, row in found.items() if row["requests"]]
    return "\n".join(lines) + "\n"


def plot(runs: Sequence[Run], title: str) -> str:
    """SVG: MiB/s over time, a line each for GET and PUT. Readable on light and dark ground, without any external asset."""
    width, height, left, bottom, top = 720, 300, 56, 36, 40
    lines = {kind: series(runs, kind) for kind in KINDS}
    lines = {kind: values for kind, values in lines.items() if any(values)}
    peak = _nice(max((value for values in lines.values() for value in values), default=1.0))
    length = max((len(values) for values in lines.values()), default=1)

    def x(index: int) -> float:
        return left + (width - left - 16) * (index + 0.5) / length

    def y(value: float) -> float:
        return height - bottom - (height - bottom - top) * value / peak

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-family="system-ui, sans-serif" font-size="12">',
        "<style>text{fill:#333}.g{stroke:#8886}.get{stroke:#2563c9;fill:none}.put{stroke:#c2410c;fill:none}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.get{stroke:#7db0ff}.put{stroke:#ff9b6a}}</style>",
        f"<title>{escape(title)}</title>",
        f'<text x="{left}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for step in range(5):
        value = peak * step / 4
        parts.append(f'<line class="g" x1="{left}" x2="{width - 16}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    every = max(1, length // 10)
    parts += [f'<text x="{x(index):.1f}" y="{height - 16}" text-anchor="middle">{index + 1}</text>' for index in range(0, length, every)]
    parts.append(f'<text x="{width - 16}" y="{height - 2}" text-anchor="end">seconds</text><text x="{left}" y="34">MiB/s</text>')
    for number, (kind, values) in enumerate(lines.items()):
        points = " ".join(f"{x(index):.1f},{y(value):.1f}" for index, value in enumerate(values))
        parts.append(f'<polyline class="{kind}" stroke-width="2" points="{points}"/>')
        mean = sum(values) / len(values)
        parts.append(f'<line class="{kind}" stroke-width="3" x1="{width - 230}" x2="{width - 208}" y1="{16 + 16 * number}" y2="{16 + 16 * number}"/>')
        parts.append(f'<text x="{width - 200}" y="{20 + 16 * number}">{kind.upper()} {mean:.1f} MiB/s on average</text>')
    return "\n".join([*parts, "</svg>", ""])


def _nice(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten: round labels on a quartered axis."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 4, 5, 10) if value <= step * power)
