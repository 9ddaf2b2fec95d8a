# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What benches make of their samples, and that nothing that was asked for is passed over in silence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))
import contenders
import hosts
import labels
import objects
import results
import summary
from contenders import CORE, EMPTY, KUBECTL, SLIPWAY, Sample

AT = {"empty": (1.0, 1.2, 1.1), "ours": (1.5, 1.7, 1.6), "core": (6.0, 6.2, 6.1), "kubectl": (2.4, 2.4, 2.4)}


@pytest.fixture
def bench() -> results.Bench:
    return results.Bench("x", "X", "bench/x")


def found(case: str) -> contenders.Found:
    """Ours takes half a second above the empty play of the same round, kubernetes.core five, and kubectl is a program of its own."""
    names = {EMPTY: "empty", SLIPWAY: "ours", CORE: "core", KUBECTL: "kubectl"}
    return {(case, name): [Sample(wall, wall, 50.0) for wall in AT[key]] for name, key in names.items()}


def test_above_is_less_the_empty_play_of_the_same_round_and_whole_is_whole(bench: results.Bench) -> None:
    contenders.compare(bench, "200 objects", found(objects.SAME), objects.SAME)
    ratios = {ratio.name: ratio.measured for ratio in bench.ratios}
    assert ratios[f"above an empty play, {CORE} / ours, 200 objects, no change"] == pytest.approx(10.0)
    assert ratios[f"above an empty play, {KUBECTL} / ours, 200 objects, no change"] == pytest.approx(2.4 / 0.5)
    assert ratios[f"whole process, {CORE} / ours, 200 objects, no change"] == pytest.approx(6.1 / 1.6)
    assert ratios[f"whole process, {KUBECTL} / ours, 200 objects, no change"] == pytest.approx(2.4 / 1.6)


def test_every_ratio_that_is_asked_for_is_one_that_a_bench_gives(bench: results.Bench) -> None:
    for case in (objects.CREATE, objects.SAME):
        contenders.compare(bench, "200 objects", found(case), case)
    contenders.compare(bench, "1000 nodes", found(labels.SAME), labels.SAME)
    for width in (2, 10):
        sides = ("slipway.mlops", "peers")
        hosts.report(bench, f"10 hosts, {width} disks each", 10, dict.fromkeys(sides, 9.0), {side: [(9.0, 1.0)] for side in sides})
    text = (ROOT / "bench/aistore.py").read_text()
    assert 'f"AIStore, deployed / bare, {case}"' in text and 'CASES = {"reads": 0, "writes": 100}' in text
    given = {ratio.name for ratio in bench.ratios} | {"AIStore, deployed / bare, reads", "AIStore, deployed / bare, writes"}
    assert results.missing(given) == []
    assert {ratio.name for ratio in bench.ratios if ratio.wanted is not None} <= set(results.ASKED)
    assert {f"{count}x{width}" for count, width in ((10, 2), (10, 10))} <= set(hosts.CASES.split(","))


@pytest.mark.parametrize(("theirs", "holds"), [(8.0, True), (7.9, False)])
def test_what_falls_short_says_so(bench: results.Bench, theirs: float, holds: bool) -> None:
    ratio = bench.ratio("nothing to change, 10 hosts, 10 disks each", 1.0, theirs)
    assert (ratio.wanted, ratio.holds) == (8.0, holds)
    assert ("**falls short**" in bench.markdown()) is not holds
    assert bench.ratio("anything else", 1.0, 0.1).holds


def test_the_summary_names_what_nobody_has_measured(bench: results.Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.ratio("nothing to change, 10 hosts, 10 disks each", 1.0, 9.0)
    bench.add("a", "b", [1.0])
    bench.write(tmp_path)
    monkeypatch.setattr(summary, "FOLDER", tmp_path)
    summary.main()
    page = (tmp_path / "README.md").read_text()
    assert "- nothing to change, 10 hosts, 2 disks each: not measured, asked for 8.0; `bench/run hosts`" in page
    assert "10 disks each: not measured" not in page


def test_the_readme_has_a_line_for_everything_that_was_asked_for() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = {ratio["name"] for path in results.FOLDER.glob("*.json") for ratio in json.loads(path.read_text())["ratios"]}
    for name in results.ASKED:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert ("**not measured**" in line) is (name not in measured)
