# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The report as one HTML page without any external asset. Pure but for reading its template.

Every text of the report may come from a log line or a label that somebody else wrote: Jinja's autoescape covers the page, `_text` the pictures.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NODE_WIDTH, LINE, PAD = 232, 22, 12


def page(report: Mapping[str, Any], template: str, load: Mapping[str, Any] | None = None) -> str:
    """The whole page; `template` is the path of the Jinja template, `load` what load generators measured."""
    import jinja2  # here: ansible-test imports every file without it

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = Path(template).read_text(encoding="utf-8")
    return environment.from_string(text).render(
        report=report, load=load, topology=topology(report["nodes"]), timeline=timeline(report["run"]["steps"]) if report["run"] else ""
    )


def size(count: float) -> str:
    """Bytes as people read them: `2.0 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if count < 1024 or unit == "PiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def topology(nodes: Sequence[Mapping[str, Any]]) -> str:
    """Nodes as boxes with their disks and pods, as many beside each other as a page holds."""
    columns = max(1, min(4, len(nodes)))
    boxes, heights = [], []
    for index, node in enumerate(nodes):
        lines = [("disk", f"{disk.get('path', '?')}  {size(float(disk.get('size_bytes') or 0))}", disk.get("ready", True)) for disk in node.get("disks", ())]
        lines += [("pod", f"{pod.get('name', '?')}", pod.get("state") == "ready") for pod in node.get("pods", ())]
        boxes.append((index, node, lines))
        heights.append(PAD * 2 + 40 + LINE * len(lines))
    rows = [max(heights[start : start + columns], default=0) for start in range(0, len(nodes), columns)]
    parts = []
    for index, node, lines in boxes:
        row, column = divmod(index, columns)
        left, top = column * (NODE_WIDTH + PAD) + 1, sum(rows[:row]) + row * PAD + 1
        state = {True: "", None: " unknown"}.get(node.get("ready"), " bad")
        parts.append(f'<g transform="translate({left},{top})"><rect class="node{state}" width="{NODE_WIDTH}" height="{rows[row]}" rx="8"/>')
        parts.append(f'<text class="name" x="{PAD}" y="24">{_text(node.get("name", "?"), 24)}</text>')
        parts.append(f'<text class="sub" x="{PAD}" y="42">{_text(", ".join(node.get("roles", ())) or node.get("address", ""), 34)}</text>')
        for number, (kind, label, good) in enumerate(lines):
            y = 52 + PAD // 2 + LINE * number
            shape = f'<rect x="{PAD}" y="{y + 2}" width="12" height="12" rx="2"' if kind == "disk" else f'<circle cx="{PAD + 6}" cy="{y + 8}" r="6"'
            parts.append(f'{shape} class="{kind}{"" if good else " bad"}"/><text x="{PAD + 20}" y="{y + 12}">{_text(label, 28)}</text>')
        parts.append("</g>")
    width = columns * (NODE_WIDTH + PAD)
    height = sum(rows) + PAD * len(rows)
    return f'<svg role="img" aria-label="Nodes with their disks and pods" viewBox="0 0 {width} {height}" style="max-width:{width}px">{"".join(parts)}</svg>'


def timeline(steps: Sequence[Mapping[str, Any]], most: int = 24) -> str:
    """The slowest tasks as bars over the run's time; hosts of one task are drawn as one bar."""
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for step in steps:
        entry = merged.setdefault((step["stage"], step["task"]), {"task": step["task"], "at": step["at"], "end": step["at"], "failed": False})
        entry["at"] = min(entry["at"], step["at"])
        entry["end"] = max(entry["end"], step["at"] + step["seconds"])
        entry["failed"] |= step["outcome"] in ("failed", "unreachable")
    chosen = sorted(sorted(merged.values(), key=lambda entry: entry["at"] - entry["end"])[:most], key=lambda entry: entry["at"])
    total = max((entry["end"] for entry in merged.values()), default=0) or 1.0
    parts = []
    for number, entry in enumerate(chosen):
        y = number * LINE
        x, width = 330 + 560 * entry["at"] / total, max(2.0, 560 * (entry["end"] - entry["at"]) / total)
        # The label goes left of a bar that ends at the right edge.
        outside, anchor = (x + width + 6, "start") if x + width < 840 else (x - 6, "end")
        parts.append(
            f'<text x="322" y="{y + 15}" text-anchor="end">{_text(entry["task"], 46)}</text>'
            f'<rect class="bar{" bad" if entry["failed"] else ""}" x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="14" rx="2"/>'
            f'<text class="sub" x="{outside:.1f}" y="{y + 15}" text-anchor="{anchor}">{entry["end"] - entry["at"]:.1f} s</text>'
        )
    return f'<svg role="img" aria-label="The slowest steps over time" viewBox="0 0 940 {max(1, len(chosen)) * LINE + 8}">{"".join(parts)}</svg>'


def _text(value: Any, most: int) -> str:
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return html.escape(text if len(text) <= most else text[: most - 1] + "\u2026")
