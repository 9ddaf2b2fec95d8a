# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""site.yml on the lab, unchanged: where the time goes. The run's own report has the timeline; the first run is timed by `make demo`'s test."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import time
from pathlib import Path

from results import Bench

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    walls: list[float] = []
    cpu: list[float] = []
    tasks: dict[str, list[float]] = {}
    for _number in range(options.runs):
        before, began = children(), time.monotonic()
        run("site.yml")
        walls.append(time.monotonic() - began)
        cpu.append(children() - before)
        for name, seconds in steps().items():
            tasks.setdefault(name, []).append(seconds)
    bench = Bench("site", "site.yml on the lab, everything already in place", "python bench/site.py")
    bench.add("whole process", "wall", walls)
    bench.add("whole process", "controller CPU", cpu)
    slowest = sorted(tasks.items(), key=lambda entry: -sorted(entry[1])[len(entry[1]) // 2])[:12]
    for name, samples in slowest:
        bench.add("slowest tasks (wall over all hosts)", name, samples)
    bench.write()


def run(playbook: str) -> None:
    done = subprocess.run(
        ["ansible-playbook", playbook, "-i", "inventories/lab"], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=900
    )
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-1000:])


def children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def steps() -> dict[str, float]:
    """Task -> wall seconds from its first host's begin to its last one's end, from the report of the run."""
    spans: dict[str, tuple[float, float]] = {}
    for step in json.loads((ROOT / "report/report.json").read_text())["run"]["steps"]:
        key = f"{step['stage']}: {step['task']}"
        begin, end = spans.get(key, (step["at"], step["at"]))
        spans[key] = (min(begin, step["at"]), max(end, step["at"] + step["seconds"]))
    return {key: end - begin for key, (begin, end) in spans.items()}


if __name__ == "__main__":
    main()
