# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load generators of AIStore as the role declares them."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule
from ansible.plugins.filter.mathstuff import FilterModule as MathFilters
from role_script import ROLES


def jobs(**over: Any) -> list[dict[str, Any]]:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= FilterModule().filters() | MathFilters().filters()
    values = yaml.safe_load((ROLES / "aistore" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    values |= {"__aistore_before_load": {"url": "https://ais-ais-proxy.ais.svc.cluster.local:51080"}, "aistore_namespace": "ais", "aistore_cluster": "ais"}
    values |= {"aistore_image_pull_secrets": [], "aistore_registry_auth_file": "", "aistore_loader_image": "aisloader:5.0", **over}
    text = environment.from_string((ROLES / "aistore" / "templates" / "load.yaml.j2").read_text(encoding="utf-8")).render(values)
    return [item for item in yaml.safe_load_all(text) if item]


def processes(job: dict[str, Any]) -> list[dict[str, Any]]:
    spec = job["spec"]["template"]["spec"]
    return [*spec["initContainers"], *spec["containers"]]


@pytest.mark.parametrize(("size", "nodes", "share"), [("1GiB", 1, 1 << 29), ("1GiB", 4, 1 << 27), ("600MB", 3, 100 << 20), ("1.5GiB", 1, 3 << 28)])
def test_all_processes_together_write_the_declared_bytes(size: str, nodes: int, share: int) -> None:
    made = jobs(aistore_loader_nodes=[f"w{number}" for number in range(nodes)], aistore_loader_total_size=size)
    bounds = [word for job in made for process in processes(job) for word in process["args"] if word.startswith("-totalputsize=")]
    assert bounds == [f"-totalputsize={share}"] * (2 * nodes)
    fill, load = processes(made[0])
    assert "-statsinterval=0" in fill["args"]  # else it would look at what it has written every 10 s
    assert "-statsinterval=1" in load["args"]


def test_a_cluster_is_loaded_at_its_own_address_and_protocol() -> None:
    (job,) = jobs(aistore_loader_nodes=["w1"])
    for process in processes(job):
        assert {"name": "AIS_ENDPOINT", "value": "https://ais-ais-proxy.ais.svc.cluster.local:51080"} in process["env"]
        assert not [word for word in process["args"] if word.startswith(("-ip", "-port"))]  # they exclude AIS_ENDPOINT, and mean http


def test_the_bucket_is_there_before_the_loaders_and_nothing_else_is_changed_for_it() -> None:
    tasks = yaml.safe_load((ROLES / "aistore" / "tasks" / "load.yml").read_text(encoding="utf-8"))
    work = next(task for task in tasks if "block" in task)
    first, last = work["block"][0]["slipway.mlops.ais_cluster"], work["always"][-1]["slipway.mlops.ais_cluster"]
    assert (first["state"], first["buckets"]) == ("buckets", [{"name": "{{ aistore_loader_bucket }}"}])
    assert (last["state"], last["buckets_absent"]) == ("buckets", ["{{ aistore_loader_bucket }}"])


def test_what_a_killed_load_left_does_not_stand_for_the_next() -> None:
    tasks = yaml.safe_load((ROLES / "aistore" / "tasks" / "load.yml").read_text(encoding="utf-8"))
    number = next(number for number, task in enumerate(tasks) if "block" in task)
    before, sent = tasks[number - 1]["slipway.mlops.k8s_manifests"], tasks[number]["block"][1]["slipway.mlops.k8s_manifests"]
    assert before["state"] == "absent"
    assert [before[key] for key in ("name", "namespace", "manifests")] == [sent[key] for key in ("name", "namespace", "manifests")]


def test_a_load_whose_result_would_be_lost_is_refused_before_it_begins() -> None:
    tasks = yaml.safe_load((ROLES / "aistore" / "tasks" / "load.yml").read_text(encoding="utf-8"))
    assert tasks[0]["ansible.builtin.assert"]["that"] == "aistore_loader_seconds <= 3600"
    report = next(task for work in tasks for task in work.get("block", []) if "slipway.mlops.ais_load_report" in task)
    assert report["slipway.mlops.ais_load_report"]["seconds"] == "{{ aistore_loader_seconds }}"
