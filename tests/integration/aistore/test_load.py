# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""playbooks/aisloader.yml as a user runs it: load from the client nodes, a table, a plot, and nothing left behind."""

from __future__ import annotations

import json
import xml.dom.minidom

import pytest
from ais_lab import good, playbook

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.long]


def load(tmp_path, **over):
    sized = {"aistore_loader_seconds": 6, "aistore_loader_fill_seconds": 3, "aistore_loader_total_size": "512MiB"}
    return playbook("playbooks/aisloader.yml", **{"aistore_loader_report_directory": str(tmp_path), **sized, **over})


def test_load_is_measured_shown_and_gone(tmp_path, ask, api):
    before, pods = ask()["smap_version"], api.list("v1", "Pod", "ais", labels="app.kubernetes.io/name=aistore").items
    # What else is declared, and is not there yet, is no business of the load's.
    played = good(load(tmp_path, aistore_loader_nodes=["w2", "w3"], aistore_config={"memsys": {"min_free": "3GiB"}}))
    assert ask()["smap_version"] == before
    after = api.list("v1", "Pod", "ais", labels="app.kubernetes.io/name=aistore").items
    assert [pod["metadata"]["uid"] for pod in after] == [pod["metadata"]["uid"] for pod in pods]
    found = json.loads((tmp_path / "aistore-load.json").read_text(encoding="utf-8"))
    for kind in ("get", "put"):
        row = found["summary"][kind]
        assert row["requests"] > 0 and row["errors"] == 0 and row["mib_per_second"] > 0
        assert 0 < row["latency_min_ms"] <= row["interval_mean_p50_ms"] <= row["interval_mean_p95_ms"] <= row["interval_mean_p99_ms"] <= row["latency_max_ms"]
    assert found["about"]["loaders"] == "w2, w3"
    table = (tmp_path / "aistore-load.md").read_text(encoding="utf-8")
    assert "p99" in table and "| GET |" in table and "| PUT |" in table
    assert played.result("What the load generators measured")["msg"] == table.splitlines()
    plot = xml.dom.minidom.parse(str(tmp_path / "aistore-load.svg"))
    assert len(plot.getElementsByTagName("polyline")) == 2
    assert api.list("batch/v1", "Job", "ais", labels="app.kubernetes.io/name=aistore-load").items == []
    assert "slipway-load" not in ask()["buckets"]


def test_check_mode_foresees_and_sends_nothing(tmp_path, ask):
    played = playbook("playbooks/aisloader.yml", "--check", aistore_loader_report_directory=str(tmp_path))
    assert played.code == 0, played.failure
    assert "no load is sent in check mode" in played.result("What the load generators measured")["msg"]
    assert list(tmp_path.iterdir()) == []
    assert "slipway-load" not in ask()["buckets"]


def test_a_bucket_of_somebody_elses_is_neither_written_nor_destroyed(tmp_path, bucket, ask):
    played = load(tmp_path, aistore_loader_bucket=bucket)
    assert played.code != 0
    assert f"the bucket {bucket} exists" in played.failure
    assert bucket in ask()["buckets"]
    assert list(tmp_path.iterdir()) == []
