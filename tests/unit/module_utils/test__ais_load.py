# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Figures, table and plot from what aisloader writes."""

from __future__ import annotations

import os
import re
import xml.dom.minidom
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_load as load
from ansible_collections.slipway.mlops.plugins.module_utils import _run_ais_load_report as module
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call
from fakes import FakeCluster

# Two intervals and the total of a run of aisloader v1.5.0.
TEXT = (Path(__file__).parent / "recorded" / "aisloader.txt").read_text(encoding="utf-8")


def test_the_total_is_aisloaders_own() -> None:
    run = load.parse("w3", TEXT)
    assert len(run.intervals) == 2
    found = load.summary([run])
    assert found["get"]["requests"] == 3649
    assert found["get"]["mib_per_second"] == pytest.approx(147332901 / (1 << 20) / 4.041854437, abs=0.1)
    assert found["put"]["latency_mean_ms"] == 2.57
    assert found["put"]["latency_max_ms"] == 182.95
    assert found["get"]["interval_mean_p50_ms"] == 1.14
    assert found["get"]["interval_mean_p99_ms"] == 1.28


def test_loaders_add_up() -> None:
    one = load.summary([load.parse("w1", TEXT)])
    two = load.summary([load.parse("w1", TEXT), load.parse("w2", TEXT)])
    assert two["get"]["requests"] == 2 * one["get"]["requests"]
    assert two["get"]["mib_per_second"] == pytest.approx(2 * one["get"]["mib_per_second"], abs=0.1)
    assert two["get"]["latency_mean_ms"] == one["get"]["latency_mean_ms"]
    assert load.series([load.parse("w1", TEXT)] * 2, "put") == [2 * value for value in load.series([load.parse("w1", TEXT)], "put")]


@pytest.mark.parametrize("text", ["", "Failed to connect\n", "[\n{}\n]\n"])
def test_what_is_no_measurement_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="aisloader"):
        load.parse("w1", text)


def test_an_output_with_a_gap_names_node_and_likely_cause() -> None:
    with pytest.raises(ValueError, match=r"have a gap \(is the disk of node w1 full\?\)"):
        load.parse("w1", TEXT.replace("},\n{", "", 1))


FAILED = 'PUT failed: Put "http://target:51081/v1/objects/load/x": dial tcp: lookup target: no such host'


def test_requests_that_failed_stand_in_the_log_beside_the_statistics() -> None:
    text = TEXT.replace("},\n{", f"}},\n{FAILED}\n{FAILED}2\n{{", 1)
    assert text != TEXT
    assert load.parse("w1", text) == load.Run("w1", load.parse("w1", TEXT).intervals, load.parse("w1", TEXT).total, [FAILED, FAILED + "2"])
    with pytest.raises(ValueError, match="whose last request that failed was: PUT failed: Put"):
        load.parse("w1", f"{FAILED}\n")


def test_the_report_names_the_first_request_that_failed() -> None:
    cluster, params = FakeCluster(), {name: option.get("default") for name, option in module.ARGUMENTS.items()}
    labels = {"app.kubernetes.io/name": "aistore-load", "app.kubernetes.io/instance": "ais"}
    pod = {"metadata": {"name": "load-1", "namespace": "ais", "labels": labels}, "spec": {"nodeName": "w1"}}
    cluster.put({"apiVersion": "v1", "kind": "Pod", **pod})
    cluster.logs_of["load-1"] = f"{FAILED}\n{TEXT}"
    found = module.run(Call(params, cluster=cluster))
    assert found["failures"] == [f"w1: {FAILED}"]
    assert f"- first request that failed: w1: {FAILED}\n" in found["table"]
    assert re.search(r"^- measured: \d{4}-\d\d-\d\dT[\d:]+Z$", found["table"], re.MULTILINE), "later reports show it, too"


def test_the_folder_is_the_one_in_which_the_site_report_looks() -> None:
    validated = ArgumentSpecValidator(module.ARGUMENTS).validate({"directory": "~/report"}).validated_parameters
    assert validated["directory"] == os.path.expanduser("~/report")


def test_the_plot_is_sound_and_escaped() -> None:
    drawn = load.plot([load.parse("w1", TEXT)], "<script>&")
    xml.dom.minidom.parseString(drawn)
    assert "<script>" not in drawn
    assert drawn.count("<polyline") == 2
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_the_table_names_what_its_percentiles_are_of() -> None:
    text = load.table(load.summary([load.parse("w1", TEXT)]), {"cluster": "ais"})
    assert "p50 of 1 s means" in text
    assert text.count("\n| GET |") == 1
    assert "- cluster: ais" in text


def test_in_check_mode_nothing_is_measured_and_nothing_is_wrong() -> None:
    cluster = FakeCluster()
    params = {name: option.get("default") for name, option in module.ARGUMENTS.items()}
    found = module.run(Call(params, check_mode=True, cluster=cluster))
    assert (found["changed"], found["table"], found["title"]) == (False, "", "AIStore ais: no load is sent in check mode")
    with pytest.raises(Refused, match="There is no load generator of AIStore ais in namespace ais"):
        module.run(Call(params, cluster=cluster))


def test_a_load_of_an_hour_is_read_to_its_beginning() -> None:
    begin, interval, end = TEXT[: TEXT.index("{\n")], TEXT[TEXT.index("{\n") : TEXT.index("},\n{\n")], TEXT[TEXT.index("\n]") :]
    text = begin + "},\n".join([interval] * 3601) + "}" + end

    class Tail(FakeCluster):
        def logs(self, namespace: str, pod: str, container: str = "", lines: int = 20, previous: bool = False) -> str:
            return "\n".join(text.splitlines()[-lines:])

    cluster = Tail()
    labels = {"app.kubernetes.io/name": "aistore-load", "app.kubernetes.io/instance": "ais"}
    cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "load-1", "namespace": "ais", "labels": labels}, "spec": {"nodeName": "w3"}})
    params = {name: option.get("default") for name, option in module.ARGUMENTS.items()}
    assert module.run(Call({**params, "seconds": 3600}, cluster=cluster))["summary"]["get"]["requests"] > 0


def test_percentiles_are_by_nearest_rank() -> None:
    assert [load.percentile([4, 1, 3, 2], share) for share in (0.5, 0.75, 0.99)] == [2, 3, 4]
    assert load.percentile([], 0.5) == 0.0
