# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a run that changes nothing grows with hosts and with objects: measured, fitted by a straight line, and carried on to 1,000 hosts.

`lab/lab hosts 30` makes the hosts. The hosts are containers on the controller's own cores, so the wall time of a host here holds both sides' work; the
controller's CPU time is the controller's alone, and is what limits it once the hosts have cores of their own.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import statistics
import tempfile
from pathlib import Path

import contenders
import hosts
from results import FOLDER, Bench, svg

FAR = 1000  # hosts or objects to which the line is carried on
NAMESPACE = "bench-growth"


def host_samples(count: int, runs: int) -> list[tuple[float, float]]:
    """(wall, controller CPU) seconds of the four host roles on `count` converged hosts."""
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder, "ours.yml")
        book.write_text(json.dumps(hosts.ours(hosts.LAB_DISKS)))
        names = hosts.hosts(count)
        hosts.run(hosts.OURS, book, names, must_be_unchanged=False)
        return [hosts.run(hosts.OURS, book, names, must_be_unchanged=True) for _number in range(runs)]


def object_samples(count: int, runs: int) -> list[tuple[float, float]]:
    """(wall, CPU) seconds of one set of `count` ConfigMaps that are there already."""
    kubeconfig = os.environ.get("KUBECONFIG") or str(hosts.ROOT / ".lab" / "kubeconfig")
    connection = {"kubeconfig": kubeconfig, "name": "growth", "namespace": NAMESPACE}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    maps = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}, "data": {"key": "value"}} for number in range(count)]
    apply = {"slipway.mlops.k8s_manifests": {**connection, "manifests": [space, *maps]}}
    absent = {"slipway.mlops.k8s_manifests": {**connection, "state": "absent", "delete_data": [f"Namespace/{NAMESPACE}"]}}
    with tempfile.TemporaryDirectory() as folder:
        try:
            contenders.play(Path(folder), [apply])
            samples = [contenders.play(Path(folder), [apply]) for _number in range(runs)]
        finally:
            contenders.play(Path(folder), [absent])
    return [(sample.wall, sample.cpu) for sample in samples]


def fitted(points: dict[int, list[float]]) -> tuple[float, float]:
    """(seconds for none, seconds for each further one), least squares over the medians."""
    slope, intercept = statistics.linear_regression(list(points), [statistics.median(values) for values in points.values()])
    return intercept, slope


def picture(title: str, series: dict[str, dict[int, list[float]]]) -> str:
    """Samples as points, fits as lines; seconds over the number."""
    width, height, left, top = 640, 300, 60, 50
    right = max(max(points) for points in series.values())
    high = max(value for points in series.values() for values in points.values() for value in values) * 1.1
    parts = [f'<path d="M{left} {top}V{top + height}H{left + width}" stroke="#8a94a3" fill="none"/>']

    def at(number: float, value: float) -> tuple[float, float]:
        return left + number / right * width, top + height - value / high * height

    for (name, points), colour in zip(series.items(), ("#2962a8", "#e08a00")):
        nothing, each = fitted(points)
        (x1, y1), (x2, y2) = at(0, max(0.0, nothing)), at(right, nothing + each * right)
        parts.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{x2 - 4:.1f}" y="{y2 - 8:.1f}" text-anchor="end">{html.escape(name)}: {nothing:.2f} s + {each * 1000:.0f} ms each</text>')
        for number, values in points.items():
            parts += ['<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>'.format(*at(number, value), colour) for value in values]
    for number in next(iter(series.values())):
        parts.append(f'<text x="{at(number, 0)[0]:.1f}" y="{top + height + 18}" text-anchor="middle">{number}</text>')
    for step in range(5):
        value = high * step / 4
        parts.append(f'<text x="{left - 6}" y="{at(0, value)[1] + 4:.1f}" text-anchor="end">{value:.1f} s</text>')
    return svg(title, width + 130, height + 100, parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--hosts", default="1,5,10,20,30")
    parser.add_argument("--objects", default="10,100,400,1000")
    options = parser.parse_args()
    bench = Bench("growth", "Growth of a run that changes nothing", f"python bench/growth.py --runs {options.runs}")
    there = len(hosts.hosts(0))
    for what, measured, wanted in (("hosts", host_samples, options.hosts), ("objects", object_samples, options.objects)):
        counts = [int(count) for count in wanted.split(",") if what == "objects" or int(count) <= there]
        samples = {count: measured(count, options.runs) for count in counts}
        series = {name: {count: [pair[index] for pair in pairs] for count, pairs in samples.items()} for index, name in enumerate(("wall", "controller CPU"))}
        for name, points in series.items():
            for count, values in points.items():
                bench.add(f"{count} {what}", name, values)
            nothing, each = fitted(points)
            bench.notes.append(f"- {what}, {name}: {nothing:.2f} s + {each * 1000:.1f} ms for each; carried on to {FAR}: {nothing + FAR * each:.0f} s.")
            print(bench.notes[-1], flush=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"growth-{what}.svg").write_text(picture(f"Unchanged {what}: seconds over their number", series), encoding="utf-8")
        bench.notes.append(f"\n![{what}](growth-{what}.svg)\n")
    bench.write()


if __name__ == "__main__":
    main()
