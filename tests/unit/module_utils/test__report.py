# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import jsonschema
import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_load, _report, _report_html

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = str(ROOT / "playbooks/templates/report.html.j2")
HOSTILE = "<script>alert('x')</script>\x1b[31m&\""
ABOUT = {
    "created": "2026-11-22T08:00:00Z",
    "collection_version": "0.1.0",
    "server": "https://10.0.0.1:6443",
    "context": HOSTILE,
    "versions": {"Kubernetes": "v1.35.4"},
}


def full_report() -> dict:
    items = [
        *_report.host_items({"w1": {"ais_datafs": {"changed": False}}}, {"ais_datafs": ["w1"]}),
        *_report.object_items([{"set": "aim", "kind": "Deployment", "name": HOSTILE, "state": "failed", "reason": HOSTILE}]),
        *_report.proof_items([{"name": "aim", "ready": True, "reason": "100 values read back"}]),
    ]
    nodes = [
        {
            "name": HOSTILE,
            "address": "10.0.0.2",
            "roles": ["ais_targets"],
            "ready": True,
            "version": "v1.35.4",
            "disks": [{"path": HOSTILE, "device": "/dev/x", "size_bytes": 2 << 30}],
            "pods": [{"namespace": "ais", "name": HOSTILE, "state": "failed"}],
        }
    ]
    report = _report.build(
        items=items,
        nodes=nodes,
        services=[{"name": "aim", "url": "http://aim.aim:43800", "how": "kubectl -n aim port-forward svc/aim 43800"}],
        proofs=[{"name": "aim", "ready": True, "reason": HOSTILE, "seconds": 1.0}],
        about=ABOUT,
    )
    step = {
        "stage": "Apps",
        "role": "aim",
        "task": HOSTILE,
        "host": "localhost",
        "at": 0.0,
        "seconds": 2.0,
        "outcome": "changed",
        "check": False,
        "lines": [HOSTILE],
        "reason": "",
    }
    report["run"] = {"seconds": 2.0, "playbook": "site.yml", "stages": ["Apps"], "steps": [step]}
    return report


@pytest.mark.parametrize(
    ("result", "state", "reason"),
    [
        ({"changed": False}, "ready", "as the inventory says"),
        ({"changed": True, "actions": ["mount /ais/disk0"]}, "differs", "is not as the inventory says: mount /ais/disk0"),
        (
            {"changed": True, "objects": [{"action": "updated", "kind": "DaemonSet", "namespace": "gpu", "name": "p"}]},
            "differs",
            "is not as the inventory says: updated DaemonSet gpu/p",
        ),
        ({"failed": True, "msg": "EIO"}, "failed", "EIO"),
        ({"unreachable": True, "msg": "Failed to connect"}, "failed", "the host was unreachable: Failed to connect"),
        ({"unreachable": True, "changed": False, "msg": "Failed to connect"}, "failed", "the host was unreachable: Failed to connect"),
        ({"skipped": True, "skip_reason": "no GPU"}, "ready", "nothing to do: no GPU"),
        (None, "absent", "was not read back: the host was unreachable, left out by --limit, or an earlier role failed there"),
    ],
)
def test_a_host_role_is_judged_by_its_dry_run(result, state, reason) -> None:
    (entry,) = _report.host_items({"w1": {"r": result}}, {"r": ["w1"]})
    assert (entry["state"], entry["reason"]) == (state, reason)


def test_what_the_controller_did_is_told_as_the_clusters() -> None:
    (entry,) = _report.host_items({"localhost": {"node_labels": {"changed": True, "actions": ["node w1: label a -> b"]}}}, {"node_labels": ["localhost"]})
    assert (entry["area"], entry["where"], entry["state"]) == ("cluster", "cluster", "differs")


@pytest.mark.parametrize(
    ("ready", "changed", "text"), [(True, False, "Nothing: everything was already"), (False, False, "<p>Nothing.</p>"), (False, True, "<br>")]
)
def test_the_page_does_not_call_good_what_is_not(ready, changed, text) -> None:
    report = {**full_report(), "ready": ready}
    if not changed:
        report["run"]["steps"][0]["outcome"] = "ok"
    assert text in _report_html.page(report, TEMPLATE)


@pytest.mark.parametrize(("ready", "shape"), [(True, 'class="node"'), (False, 'class="node bad"'), (None, 'class="node unknown"')])
def test_a_node_that_nobody_could_be_asked_about_is_not_red(ready, shape) -> None:
    assert shape in _report_html.topology([{"name": "w1", "ready": ready}])


def test_a_disk_that_is_not_as_declared_is_red() -> None:
    disks = [{"path": "/a", "ready": True}, {"path": "/b", "ready": False}]
    drawn = _report_html.topology([{"name": "w1", "ready": True, "disks": disks}])
    assert drawn.count('class="disk"') == drawn.count('class="disk bad"') == 1


def test_nothing_read_back_is_not_ready() -> None:
    assert _report.build(items=[], nodes=[], services=[], proofs=[], about=ABOUT)["ready"] is False


def test_one_thing_that_is_not_ready_makes_the_whole_not_ready() -> None:
    report = full_report()
    assert report["ready"] is False
    assert report["counts"] == {"ready": 2, "not_ready": 1}


def test_the_report_keeps_to_its_published_schema() -> None:
    schema = json.loads((ROOT / "docs/report.schema.json").read_text())
    jsonschema.validate(full_report(), schema, cls=jsonschema.Draft202012Validator)
    forbidden = full_report()
    forbidden["items"][0]["state"], forbidden["nodes"][0]["ready"] = "unknown", None
    jsonschema.validate(forbidden, schema, cls=jsonschema.Draft202012Validator)
    broken = full_report()
    broken["items"][0]["state"] = "splendid"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema, cls=jsonschema.Draft202012Validator)


def test_no_foreign_text_becomes_markup_and_nothing_is_loaded_from_outside() -> None:
    page = _report_html.page(full_report(), TEMPLATE)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert not re.search(r"""(src|href)\s*=|url\(|@import""", page)


def test_the_page_is_for_eyes_that_see_no_red_and_for_no_eyes() -> None:
    page = _report_html.page(full_report(), TEMPLATE)
    assert len(re.findall(r"<th\b", page)) == len(re.findall(r'<th scope="(?:col|row)">', page)) > 10
    assert re.search(r"svg \.disk\.bad, svg \.pod\.bad \{ fill: none;", page) and re.search(r"svg \.node\.bad \{[^}]*dasharray", page)
    assert "svg .bad {" not in page, "it would fill a whole machine"


def test_bytes_that_are_no_text_do_not_lose_the_report(tmp_path: Path) -> None:
    """Ansible gives such bytes of a module's output as surrogates."""
    report = full_report()
    report["items"][0]["reason"] = b"label \xff".decode("utf-8", "surrogateescape")
    assert "label ?" in Path(_report.write(report, str(tmp_path), TEMPLATE)["html"]).read_text(encoding="utf-8")


def test_the_files_are_for_the_owner_alone_and_the_run_is_added_later(tmp_path: Path) -> None:
    report = full_report()
    run, report["run"] = report["run"], None
    paths = _report.write(report, str(tmp_path / "report"), TEMPLATE)
    assert "Where the time went" not in Path(paths["html"]).read_text()
    _report.complete({**paths, "template": TEMPLATE}, run)
    assert "Where the time went" in Path(paths["html"]).read_text()
    assert json.loads(Path(paths["json"]).read_text())["run"] == run
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in paths.values()} == {0o600}


def test_the_page_shows_the_load_that_was_measured(tmp_path: Path) -> None:
    runs = [_ais_load.parse("w3", (Path(__file__).parent / "recorded" / "aisloader.txt").read_text(encoding="utf-8"))]
    figures = {"about": {"loaders": HOSTILE}, "summary": _ais_load.summary(runs)}
    (tmp_path / "aistore-load.json").write_text(json.dumps(figures))
    (tmp_path / "aistore-load.svg").write_text(_ais_load.plot(runs, HOSTILE))
    page = Path(_report.write(full_report(), str(tmp_path), TEMPLATE)["html"]).read_text()
    assert "Load on AIStore" in page and "GET" in page and "2.57" in page
    assert "<script" not in page
    # The plot is a picture in the page: nothing is loaded from outside, and no script in it would run.
    assert re.findall(r"""(?:src|href)\s*=\s*"([^,]+),""", page) == ["data:image/svg+xml;base64"]


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (2 << 30, "2.0 GiB"), (5 << 50, "5.0 PiB"), (5000 << 50, "5000.0 PiB")])
def test_sizes_are_written_as_people_read_them(count, text) -> None:
    assert _report_html.size(count) == text
