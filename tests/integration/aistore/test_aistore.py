# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""AIStore on the lab: formed, proved, unchanged by a second run, and what it does when its parts go away."""

from __future__ import annotations

import time

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.long]


def test_three_proxies_and_three_targets_are_one_cluster_on_xfs(ask):
    found = ask()
    assert found["problems"] == []
    assert (found["facts"]["proxies"], found["facts"]["targets"], found["facts"]["mountpaths"]) == (3, 3, 6)
    assert {facts["uuid"] for facts in found["daemons"]} == {found["uuid"]}
    assert len({facts["smap_version"] for facts in found["daemons"]}) == 1
    assert {disk["file_system_type"] for facts in found["daemons"] for disk in facts.get("mountpaths", [])} == {"xfs"}


def test_a_second_run_changes_nothing(act):
    result = act(buckets=[{"name": "mlflow"}])
    assert (result["changed"], result["actions"], result["ready"]) == (False, [], True)


def test_what_cannot_be_is_refused_before_anything_is_sent(act):
    with pytest.raises(Refused) as refused:
        act(state="planned", targets=["w1", "w2", "w4"], mountpaths=["/ais/disk0", "/ais/disk0/x"], config={"cloud": {}}, version="4.9")
    text = "\n".join(refused.value.problems)
    for words in ("no node w4", "on node w3 is no longer declared", "lies inside /ais/disk0", "aistore_config.cloud", "no way back"):
        assert words in text


def test_configuration_and_buckets_follow_the_declaration_through_the_api(act, bucket):
    changed = {"memsys": {"min_free": "1GiB"}, "lru": {"dont_evict_time": "3h"}}
    assert [item["name"] for item in act(check_mode=True, config=changed)["config"]] == ["lru.dont_evict_time"]
    assert act(config=changed)["changed"] is True
    assert act(config=changed)["changed"] is False
    back = act(config={"memsys": {"min_free": "1GiB"}, "lru": {"dont_evict_time": "2h"}})
    assert [(item["before"], item["after"]) for item in back["config"]] == [("3h0m", "2h")]
    mirrored = [{"name": bucket, "mirror": {"enabled": True, "copies": 2}}]
    assert act(buckets=mirrored)["buckets"] == [{"name": bucket, "action": "updated"}]
    assert act(buckets=mirrored)["changed"] is False


def test_deleting_the_primary_loses_nothing(traffic, ask, delete_pod):
    delete_pod(ask(60)["primary"])
    time.sleep(5)
    assert ask(180)["problems"] == []
    found = traffic()
    assert found["acknowledged"] > 0
    assert (found["corrupt"], found["lost"]) == (0, 0)


def test_while_a_target_is_away_the_report_is_red_and_names_it(traffic, ask, delete_pod):
    ask(60)
    delete_pod("ais-ais-target-w2-0")
    red = ask()
    assert red["ready"] is False
    assert any("ais-ais-target-w2-0 (node w2)" in problem for problem in red["problems"])
    time.sleep(5)
    ask(240)
    found = traffic()
    assert (found["corrupt"], found["lost"]) == (0, 0)


def test_deleting_all_pods_at_once_loses_nothing(traffic, ask, act, delete_pod):
    before = ask(60)
    for facts in before["daemons"]:
        delete_pod(facts["pod"])
    time.sleep(5)
    act()  # waits until it is formed, and ends a rebalance that was interrupted
    after = ask(60)
    assert after["problems"] == []
    assert after["uuid"] == before["uuid"]
    found = traffic()
    assert (found["corrupt"], found["lost"]) == (0, 0)
