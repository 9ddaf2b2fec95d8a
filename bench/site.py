# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""site.yml on the lab, unchanged: where the time goes. The run's own report has the timeline; the first run is timed by `make demo`'s test."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time

import hosts
from results import Bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    walls: list[float] = []
    cpu: list[float] = []
    tasks: dict[str, list[float]] = {}
    run(must_be_unchanged=False)  # a fresh lab, or one that somebody used
    for _number in range(options.runs):
        wall, spent = run(must_be_unchanged=True)
        walls.append(wall)
        cpu.append(spent)
        for name, seconds in steps().items():
            tasks.setdefault(name, []).append(seconds)
    bench = Bench("site", "site.yml on the lab, everything already in place", "python bench/site.py")
    bench.add("whole process", "wall", walls)
    bench.add("whole process", "controller CPU", cpu)
    slowest = sorted(tasks.items(), key=lambda entry: -sorted(entry[1])[len(entry[1]) // 2])[:12]
    for name, samples in slowest:
        bench.add("slowest tasks (wall over all hosts)", name, samples)
    bench.write()


def run(must_be_unchanged: bool) -> tuple[float, float]:
    """Wall and controller CPU seconds of one whole run."""
    argv = [str(hosts.OURS), "site.yml", "-i", "inventories/lab"]
    before, began = hosts.children(), time.monotonic()
    done = subprocess.run(argv, cwd=hosts.ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=900)
    wall, spent = time.monotonic() - began, hosts.children() - before
    changed = re.findall(r"^(\S+) +: ok=\d+ +changed=[1-9]", done.stdout, re.MULTILINE)
    if done.returncode or (must_be_unchanged and changed):
        raise SystemExit(f"site.yml: rc {done.returncode}, changed on {changed}\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return wall, spent


def steps() -> dict[str, float]:
    """Task -> wall seconds from its first host's begin to its last one's end, from the report of the run."""
    spans: dict[str, tuple[float, float]] = {}
    for step in json.loads((hosts.ROOT / "report/report.json").read_text())["run"]["steps"]:
        key = f"{step['stage']}: {step['task']}"
        begin, end = spans.get(key, (step["at"], step["at"]))
        spans[key] = (min(begin, step["at"]), max(end, step["at"] + step["seconds"]))
    return {key: end - begin for key, (begin, end) in spans.items()}


if __name__ == "__main__":
    main()
