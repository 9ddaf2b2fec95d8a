# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The life of a small AIStore cluster of its own, in order: made by plays that are killed, grown, restarted, broken; clients write and read meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ais_lab import Small, continuous_traffic, good, kill, nothing_lost, ssh
from ansible_collections.slipway.mlops.plugins.module_utils._ais_api import Ais
from ansible_collections.slipway.mlops.plugins.module_utils._ais_layout import Daemon
from the_lab import until

pytestmark = [pytest.mark.long, pytest.mark.disturb]
NODES = ["w1", "w2", "w3"]
SPACE = "ais-life"
# Settings that daemons read only when they start; a new cluster has 5s.
AT_START, LATER, TOGETHER, OUT = ({"memsys": {"min_free": "1GiB"}, "timeout": {"max_keepalive": text}} for text in ("6s", "7s", "8s", "9s"))


@pytest.fixture(scope="module")
def small(api):
    """Two targets; its disks are mounted by the tests."""
    cluster = Small(api, SPACE, 8, NODES[:2], NODES)
    yield cluster
    cluster.remove()


def whole(small, daemons, seconds=240):
    """The cluster's own account, once it is whole."""

    def look():
        found = small.ask()
        assert found["problems"] == []
        assert len(found["daemons"]) == daemons
        return found

    return until("the cluster is whole", look, seconds)


def three(small):
    """The cluster with its three targets, whole, whatever ran before; what it says of itself."""
    for node in NODES:
        small.mount(node)
    small.variables["aistore_targets"] = NODES
    good(small.play())
    return whole(small, 6)


def about_w2(small):
    return [text for text in small.ask()["problems"] if "ais-ais-target-w2-0 (node w2)" in text]


def test_a_path_that_is_not_mounted_is_refused_by_name_and_never_written(small):
    for node in small.variables["aistore_targets"]:
        ssh(node, f"mkdir -p {small.path} && chmod 777 {small.path}")  # the worst case: everybody may write there
    refused = small.play()
    assert refused.code != 0
    assert f"{small.path} is not a mounted disk: it is the directory" in refused.failure
    for node in small.variables["aistore_targets"]:
        assert ssh(node, f"find {small.path} -mindepth 1") == ""


def test_a_play_that_is_killed_at_any_point_is_finished_by_the_next(small):
    for node in small.variables["aistore_targets"]:
        small.mount(node)
    for seconds in (5, 8, 12, 18, 25):
        play = small.start()
        time.sleep(seconds)
        kill(play)
    small.settle()
    found = whole(small, 5)
    assert (found["facts"]["proxies"], found["facts"]["targets"]) == (3, 2)


def test_it_grows_from_two_to_three_targets_under_load(small):
    small.mount("w3")
    with continuous_traffic(SPACE, "traffic") as summary:
        good(small.play(aistore_targets=NODES))
        found = whole(small, 6)
        assert found["busy"] == []
        moved = int(ssh("w3", f"find {small.path} -type f -path '*traffic*' | wc -l"))
        nothing_lost(summary())
    assert moved > 0
    small.variables["aistore_targets"] = NODES


def test_a_target_that_leaves_the_inventory_is_refused_and_nothing_is_touched(small):
    pods, before = small.pods(), small.ask()
    refused = small.play(aistore_targets=NODES[:2])
    assert refused.code != 0
    for words in ("on node w3 is no longer declared", "aistore_maintenance: [w3]", "docs/aistore.md"):
        assert words in refused.failure
    assert small.pods() == pods
    assert small.ask()["smap_version"] == before["smap_version"]


def test_an_unchanged_play_asks_each_thing_a_few_times(small):
    three(small)
    good(small.play())
    again = good(small.play())
    assert again.changed == 0
    asked = [(entry["task"], entry["result"]["requests"]) for entry in again.entries if "requests" in entry.get("result", {})]
    print(asked)
    # By hand: three looks (planned, present, after the proof) of 12 requests each, and what each task needs besides.
    assert sum(count for _task, count in asked) <= 70, asked


def test_https_that_is_declared_later_is_refused_and_nothing_is_touched(small):
    three(small)
    pods = small.pods()
    refused = small.play(aistore_https_secret="ais-tls")
    assert refused.code != 0
    assert f"aistore_https_secret: AIStore cluster ais in namespace {SPACE} speaks http, declared is https" in refused.failure
    assert small.pods() == pods
    assert good(small.play()).changed == 0


def test_a_target_in_maintenance_is_given_nothing_and_nothing_restarts_until_it_is_taken_back(small):
    three(small)
    out = {"aistore_maintenance": ["w3"]}

    def stored():
        return int(ssh("w3", f"find {small.path} -type f -path '*traffic*' | wc -l"))

    with continuous_traffic(SPACE, "traffic") as summary:
        before = small.pods()
        played = good(small.play(**out)).result("The daemons form one cluster")
        assert [(item["node"], item["action"]) for item in played["maintenance"]] == [("w3", "started")]
        assert small.ask(maintenance=["w3"])["problems"] == []
        assert any("is in maintenance" in problem for problem in small.ask()["problems"])
        before_out = stored()  # AIStore keeps copies of what moved away until its cleanup
        assert good(small.play(**out)).changed == 0
        refused = small.play(**out, aistore_config=OUT)
        assert refused.code != 0 and "That must not happen while aistore_maintenance names w3" in refused.failure
        assert small.pods() == before
        assert stored() <= before_out
        small.variables["aistore_config"] = OUT
        back = good(small.play()).result("The daemons form one cluster")
        assert len(back["restarts"]) == 6 and back["restarts"][0]["node"] == "w3"
        nothing_lost(summary())
    assert stored() > before_out
    whole(small, 6)


def test_the_primary_leaves_only_when_another_proxy_is_the_primary(small):
    before, pods = three(small), small.pods()
    node = next(facts["node"] for facts in before["daemons"] if facts.get("is_primary"))
    stay = [facts for facts in before["daemons"] if facts["role"] == "proxy" and facts["node"] != node]
    over = {"aistore_proxies": [facts["node"] for facts in stay], "aistore_initial_primary": stay[0]["node"], "aistore_proxies_min": 2}
    refused = small.play(**over)
    assert refused.code != 0
    assert f"proxy {before['primary']} on node {node} is no longer declared, and it is the primary" in refused.failure
    refused = small.play(aistore_proxies=["cp1"], aistore_initial_primary="cp1", aistore_proxies_min=1, aistore_tolerations=[{"operator": "Exists"}])
    assert "only 0 of 3 proxies would stay" in refused.failure
    assert small.pods() == pods
    assert small.ask()["smap_version"] == before["smap_version"]
    with continuous_traffic(SPACE, "traffic") as summary:
        Ais(small.api, SPACE).tell(Daemon("proxy", node, before["primary"].removesuffix("-0"), "", ""), "PUT", f"/v1/cluster/proxy/{stay[0]['id']}", "")
        assert until("another is the primary", lambda: whole(small, 6)["primary"] == stay[0]["pod"], 60)
        good(small.play(**over))
        after = whole(small, 5)
        assert (after["uuid"], after["primary"]) == (before["uuid"], stay[0]["pod"])
        assert good(small.play(**over)).changed == 0
        nothing_lost(summary())
    good(small.play())
    assert whole(small, 6)["uuid"] == before["uuid"]


def test_of_two_plays_at_once_both_end_well_or_one_says_who_is_at_it(small):
    three(small)
    small.variables["aistore_config"] = TOGETHER
    pods = small.pods()
    with continuous_traffic(SPACE, "traffic") as summary, ThreadPoolExecutor() as pool:
        plays = [pool.submit(small.play) for _each in range(2)]
        played = [play.result() for play in plays]
        for one in played:
            assert one.code == 0 or "restarts daemons of this AIStore cluster (it holds Lease" in one.failure, one.failure
        assert 0 in [one.code for one in played]
        assert not set(small.pods().values()) & set(pods.values())
        restarted = [item["daemon"] for one in played if one.code == 0 for item in one.result("The daemons form one cluster")["restarts"]]
        assert sorted(restarted) == sorted(pods)  # each once
        small.settle()
        nothing_lost(summary())
    whole(small, 6)


def test_daemons_restart_one_at_a_time_under_load_the_primary_last(small):
    primary = three(small)["primary"]
    foreseen = good(small.play("--check", aistore_config=AT_START)).result("The daemons form one cluster")["restarts"]
    assert len(foreseen) == 6
    assert {item["reason"] for item in foreseen} == {"settings that are read at start"}
    with continuous_traffic(SPACE, "traffic") as summary:
        before = small.pods()
        played = good(small.play(aistore_config=AT_START))
        restarted = [item["daemon"] for item in played.result("The daemons form one cluster")["restarts"]]
        found = summary()
    assert len(restarted) == 6
    assert all("target" in name for name in restarted[:3])
    assert restarted[-1] == primary
    after = small.pods()
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())
    nothing_lost(found)
    assert found["missing"] == 0
    small.variables["aistore_config"] = AT_START
    assert good(small.play()).changed == 0
    assert small.pods() == after


def test_a_rolling_restart_that_is_killed_is_finished_by_the_next_play(small):
    three(small)
    small.variables["aistore_config"] = LATER
    with continuous_traffic(SPACE, "traffic") as summary:
        for seconds in (20, 45):
            play = small.start()
            time.sleep(seconds)
            kill(play)
        small.settle()
        found = summary()
    nothing_lost(found)
    whole(small, 6)


def test_deleting_the_primary_loses_nothing(small):
    before = three(small)
    with continuous_traffic(SPACE, "traffic") as summary:
        small.kubectl("delete", "pod", before["primary"])
        after = until("the map has changed", lambda: [found for found in [whole(small, 6)] if found["smap_version"] > before["smap_version"]], 180)[0]
        nothing_lost(summary())
    assert after["uuid"] == before["uuid"]


def test_while_a_target_is_away_the_report_is_red_and_names_it(small):
    before = three(small)
    with continuous_traffic(SPACE, "traffic") as summary:
        small.kubectl("delete", "pod", "ais-ais-target-w2-0", "--wait=false")
        red = until("the report is red", lambda: about_w2(small), 30)
        assert any("answer 404" in problem for problem in red), red
        small.settle()  # ends a rebalance that was interrupted
        assert whole(small, 6)["smap_version"] > before["smap_version"]
        nothing_lost(summary())


def test_deleting_all_pods_at_once_loses_nothing(small):
    before = three(small)
    with continuous_traffic(SPACE, "traffic") as summary:
        pods = set(small.pods().values())
        small.kubectl("delete", "pod", "-l", "app.kubernetes.io/name=aistore", "--wait=false")
        until("every pod is another", lambda: len(now := set(small.pods().values())) == 6 and not now & pods, 180)
        small.settle()
        assert whole(small, 6)["uuid"] == before["uuid"]
        nothing_lost(summary())


def test_a_disk_that_is_unmounted_under_a_running_target_is_red_and_its_mount_point_stays_empty(small):
    three(small)
    with continuous_traffic(SPACE, "traffic") as summary:
        ssh("w2", f"umount --lazy {small.path}")
        small.kubectl("exec", "ais-ais-target-w2-0", "-c", "aisnode", "--", "sh", "-c", "kill -9 -1 || kill 1", check=False)
        red = until("the report is red", lambda: about_w2(small), 120)
        assert red
        time.sleep(20)  # it tries to start again meanwhile
        # Of what the runtime makes for a mount that is not there, root's empty directory, and of nothing else.
        assert ssh("w2", f"find {small.path} -mindepth 1 -printf '%P %y %u\n'").splitlines() in ([], [f"{SPACE}.ais d root"])
        ssh("w2", f"find {small.path} -mindepth 1 -maxdepth 1 -type d -empty -delete")
        small.mount_again("w2")
        small.settle()
        found = summary()
    nothing_lost(found)


def test_a_full_disk_is_red_by_name_and_loses_nothing(small):
    three(small)
    with continuous_traffic(SPACE, "traffic", 262144) as summary:
        ssh("w2", f"fallocate -l $(( $(df --output=avail -B1 {small.path} | tail -1) - 8388608 )) {small.path}/filler")
        try:
            full = until("the report is red", lambda: [text for text in about_w2(small) if "space" in text], 180)
        finally:
            ssh("w2", f"rm {small.path}/filler")
        assert full
        whole(small, 6, seconds=300)
        nothing_lost(summary())
