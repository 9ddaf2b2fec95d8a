# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who takes part in the benches of Kubernetes objects, and how one of their processes is measured."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results import ABOVE, WHOLE, Bench

ROOT = Path(__file__).resolve().parent.parent
OURS = Path(sys.executable).parent / "ansible-playbook"
PEERS = ROOT / "bench" / ".venv" / "bin" / "ansible-playbook"
HELM_PROGRAM = ROOT / "bench" / ".cache" / "helm"  # built by bench/run
EMPTY, SLIPWAY, CORE, KUBECTL, HELM = "empty play", "slipway.mlops", "kubernetes.core", "kubectl, server-side", "helm"


@dataclass
class Sample:
    """One process: wall seconds, CPU seconds and the largest resident set in MB of it and all that it started."""

    wall: float
    cpu: float
    memory: float


def measure(argv: Sequence[str], environ: dict[str, str] | None = None, well: Collection[int] = (0,)) -> Sample:
    """Runs a process; an exit status that is not in `well` ends the bench, with what it said."""
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in well:
            output.seek(0)
            raise SystemExit(f"{' '.join(argv)}: exit status {process.returncode}\n{output.read()[-3000:].decode()}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def play(folder: Path, tasks: list[dict[str, Any]], *arguments: str, program: Path = OURS, **keywords: Any) -> Sample:
    """One ansible-playbook on localhost with these tasks."""
    book = folder / "play.json"
    book.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks, **keywords}]))
    return measure([str(program), str(book), *arguments], {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LOCALHOST_WARNING": "false"})


def in_turns(names: Sequence[str], number: int) -> list[str]:
    """Another one begins in each round: nobody always runs in the wake of the same other."""
    start = number % len(names)
    return [*names[start:], *names[:start]]


Found = dict[tuple[str, str], list[Sample]]  # (case, contender) -> a sample of each round


def compare(bench: Bench, label: str, found: Found, case: str) -> None:
    """Rows and ratios of one case."""
    samples = {name: of for (one, name), of in found.items() if one == case}
    for name, of in samples.items():
        bench.add(f"{label}, {case}", name, [sample.wall for sample in of])
    for name, of in samples.items():
        bench.add(f"{label}, {case}, CPU", name, [sample.cpu for sample in of])
    for name, of in samples.items():
        bench.add(f"{label}, {case}, largest process", name, [sample.memory for sample in of], "MB")
    in_ansible = [name for name in samples if name in (SLIPWAY, CORE)]
    less = {(what, name): _less(samples[name], samples[EMPTY], what) for what in ("wall", "cpu") for name in in_ansible}
    for name in in_ansible:
        bench.add(f"{label}, {case}, above an empty play", name, less[("wall", name)])
    own = {what: statistics.median(less[(what, SLIPWAY)]) for what in ("wall", "cpu")}
    for name, of in samples.items():
        if name in (EMPTY, SLIPWAY):
            continue
        walls = less[("wall", name)] if name in in_ansible else [sample.wall for sample in of]
        bench.ratio(f"{ABOVE}, {name} / ours, {label}, {case}", own["wall"], statistics.median(walls))
        if name in in_ansible:
            bench.ratio(f"CPU above an empty play, {name} / ours, {label}, {case}", own["cpu"], statistics.median(less[("cpu", name)]))
        bench.ratio(f"{WHOLE}, {name} / ours, {label}, {case}", _median(samples[SLIPWAY]), _median(of))
    if KUBECTL in samples:
        bench.ratio(f"{WHOLE}, {KUBECTL} / an empty play alone, {label}, {case}", _median(samples[EMPTY]), _median(samples[KUBECTL]))


def _less(samples: list[Sample], empty: list[Sample], what: str) -> list[float]:
    return [getattr(sample, what) - getattr(base, what) for sample, base in zip(samples, empty)]


def _median(samples: list[Sample]) -> float:
    return statistics.median(sample.wall for sample in samples)
