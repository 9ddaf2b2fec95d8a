# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""AIStore on the lab: formed, proved, unchanged by a second run, and what it does when its parts go away."""

from __future__ import annotations

import pytest
from ais_lab import nothing_lost, restart_node
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from the_lab import until

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.long]


@pytest.fixture
def healthy(ask):
    """Waits until the cluster has no problem; what it says then."""

    def look():
        found = ask()
        assert found["problems"] == []
        return found

    return lambda: until("the cluster is whole", look, 300)


def about_w2(found):
    return [text for text in found["problems"] if "ais-ais-target-w2-0 (node w2)" in text]


def test_three_proxies_and_three_targets_are_one_cluster_on_xfs(ask):
    found = ask()
    assert found["problems"] == []
    assert (found["facts"]["proxies"], found["facts"]["targets"], found["facts"]["mountpaths"]) == (3, 3, 6)
    assert {facts["uuid"] for facts in found["daemons"]} == {found["uuid"]}
    assert len({facts["smap_version"] for facts in found["daemons"]}) == 1
    assert {disk["file_system_type"] for facts in found["daemons"] for disk in facts.get("mountpaths", [])} == {"xfs"}


def test_a_second_run_changes_nothing_and_asks_little(act, requests):
    with requests() as sent:
        result = act(buckets=[{"name": "mlflow"}])
    assert (result["changed"], result["actions"], result["ready"]) == (False, [], True)
    lists = [path for method, path in sent if "/proxy/" not in path]
    # Its StatefulSets and pods; each daemon's status, each target's disks, the map, the configuration, the buckets.
    assert (len(lists), len(sent) - len(lists)) == (2, 6 + 3 + 3)
    assert {method for method, _path in sent} == {"GET"}


REFUSALS = {
    "no target": ({"targets": []}, "no target"),
    "fewer proxies than wanted": ({"proxies": ["w1", "w2"]}, "2 (w1, w2) where aistore_proxies_min asks for 3"),
    "a mount path missing on one node": (
        {"mountpaths_by_target": {"w1": ["/ais/disk0", "/ais/disk1"], "w2": ["/ais/disk0"], "w3": ["/ais/disk0", "/ais/disk1"]}},
        "target w2: lacks /ais/disk1",
    ),
    "the same path twice": ({"mountpaths": ["/ais/disk0", "/ais/disk1", "/ais/disk0"]}, "/ais/disk0 is named twice"),
    "a nested path": ({"mountpaths": ["/ais/disk0", "/ais/disk1", "/ais/disk1/x"]}, "/ais/disk1/x lies inside /ais/disk1"),
    "a name too long": ({"name": "a-name-that-has-30-characters-"[:29]}, "names of its objects leave room for 24"),
    "a label of another cluster": ({"name": "other", "namespace": "other"}, "node w1 carries nvidia.com/ais-target=ais, it belongs to AIStore cluster ais"),
    "a disk of another cluster": ({"namespace": "other"}, "/ais/disk0 on node w1 belongs to AIStore cluster ais (namespace ais)"),
    "a downgrade": ({"version": "4.9"}, "AIStore has no way back"),
    "a node that is not there": ({"targets": ["w1", "w2", "w3", "w4"]}, "Kubernetes has no node w4"),
    "a target that left": ({"targets": ["w1", "w2"]}, "on node w3 is no longer declared"),
    "most proxies at once": ({"proxies": ["w1"], "proxies_min": 1}, "w2, w3 are no longer declared, only 1 of 3 proxies would stay"),
    "https on a cluster that speaks http": ({"https_secret": "tls"}, "AIStore cluster ais in namespace ais speaks http, declared is https"),
    "an unknown backend": ({"backends": {"s3": {"secret": "x"}}}, "aistore_backends.s3: AIStore 5.0 has no such backend"),
    "a key of a former version": ({"config": {"cloud": {}}}, "aistore_config.cloud"),
    "an unknown key": ({"config": {"lru": {"enable": True}}}, "did you mean `lru.enabled`"),
    "an invalid timeout": ({"config": {"timeout": {"max_keepalive": "3s"}}}, "at least twice timeout.cplane_operation"),
    "a port": ({"config": {"net": {"l4": {"port": "8080"}}}}, "aistore_config.net.l4"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_refused_before_anything_is_sent(act, requests, name):
    over, words = REFUSALS[name]
    with requests() as sent, pytest.raises(Refused) as refused:
        act(state="planned", **over)
    assert words in "\n".join(refused.value.problems)
    assert {method for method, _path in sent} == {"GET"}


def test_all_that_is_wrong_is_told_at_once(act):
    with pytest.raises(Refused) as refused:
        act(state="planned", targets=["w1", "w2", "w4"], mountpaths=["/ais/disk0", "/ais/disk0/x"], config={"cloud": {}}, version="4.9")
    assert len(refused.value.problems) >= 5


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


@pytest.mark.disturb
def test_a_node_that_restarts_comes_back_with_its_disks_and_loses_nothing(traffic, ask, act, healthy):
    before = healthy()
    restart_node("w2")
    assert until("the report is red", lambda: about_w2(ask()), 120)
    until("the target answers again", lambda: not [text for text in about_w2(ask()) if "answer 404" in text], 300)
    act()
    assert healthy()["uuid"] == before["uuid"]
    nothing_lost(traffic())
