# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration of AIStore: what is refused and in which words, what counts as a difference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _ais_config as configuration

# As `GET /v1/cluster?what=cluster_config` of aisnode v1.5.0 answered.
LIVE = json.loads((Path(__file__).parent / "recorded" / "ais_cluster_config.json").read_text(encoding="utf-8"))


def test_what_a_new_cluster_starts_with_is_valid() -> None:
    assert configuration.problems({}) == []
    assert configuration.problems(configuration.BASE) == []


def test_what_a_daemon_itself_says_is_what_can_be_declared() -> None:
    known = {name: value for name, value in configuration.flatten(LIVE) if name in configuration.CLUSTER_KEYS}
    assert len(known) > 120
    for name, value in known.items():
        configuration.CLUSTER_KEYS[name].read(value)  # ValueError where it is refused


@pytest.mark.parametrize(
    "config",
    [
        {"auth": {"required_claims": {"aud": ["ais"]}}},
        {"log": {"level": "4", "max_size": "4MiB", "max_total": "8MiB"}},
        {"timeout": {"cplane_operation": "2s", "max_keepalive": "4s", "startup_time": "1m", "join_startup_time": "2m"}},
        {"space": {"cleanupwm": 60, "lowwm": 70, "highwm": 90, "out_of_space": 95}},
        {"keepalivetracker": {"proxy": {"interval": "40s", "factor": 3}}},
        {"versioning": {"enabled": True, "validate_warm_get": True}},
        {"versioning": {"enabled": True, "validate_warm_get": False}},
        {"features": ["S3-Reverse-Proxy", "Fsync-PUT"]},
        {"timeout": {}, "net": {"http": {}}},
        {"timeout": {"ec_streams_time": "-1s", "object_md": "0s"}},
        {"auth": {"client_auth_required": True, "signature": {"method": "HS256"}}},
    ],
)
def test_what_can_be_has_no_problem(config: dict) -> None:
    assert configuration.problems(config) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"mirror": {"copies": True}}, ["mirror.copies"]),
        ({"log": {"level": "33"}}, ["log.level", "log level"]),
        ({"log": {"level": "0"}}, ["log.level", 'from "1" to "5"']),
        ({"log": {"level": 4}}, ["log.level", "in quotes"]),
        ({"lru": {"dont_evict_time": "0s"}}, ["lru.dont_evict_time", "at least 1h"]),
        ({"lso": {"walk_buffer": 8}}, ["lso.walk_buffer", "from 16 to 4096"]),
        ({"lso": {"idle_time": "5s"}}, ["lso.quiescent", "shorter than lso.idle_time"]),
        ({"chunks": {"objsize_limit": "4GiB", "max_monolithic_size": "1GiB"}}, ["chunks.objsize_limit", "chunks.max_monolithic_size"]),
        ({"timeout": {"ec_streams_time": "1m"}}, ["timeout.ec_streams_time", "at least 5m"]),
        ({"net": {"http": {"idle_conns": 64}}}, ["net.http.idle_conns_per_host", "net.http.idle_conns"]),
        ({"keepalivetracker": {"proxy": {"interval": "4s"}}}, ["keepalivetracker.proxy.interval", "at least timeout.max_keepalive"]),
        ({"auth": {"client_auth_required": True}}, ["auth", "signature.method or oidc.allowed_iss"]),
        ({"auth": {"required_claims": {"aud": "ais"}}}, ["auth.required_claims.aud", "a list of strings"]),
        ({"auth": {"required_claims": {"aud": [1]}}}, ["auth.required_claims.aud", "a list of strings"]),
        ({"net": {"http": {"server_crt": 5}}}, ["net.http.server_crt", "a string"]),
        ({"log": {"leve": "3"}}, ["log.leve", "no such setting", "`log.level`"]),
        ({"lru": {"lowwm": 75}}, ["lru.lowwm", "is now `space.lowwm`"]),
        ({"cloud": {"aws": {}}}, ["cloud.aws", "is now the section `backend`"]),
        ({"compression": {"block_size": 262144}}, ["compression.block_size", "is gone"]),
        ({"net": {"l4": {"port": "51080"}}}, ["net.l4.port", "set by this role"]),
        ({"fspaths": {"/ais/sda": ""}}, ["fspaths", "aistore_mountpaths"]),
        ({"auth": {"secret": "s3cret"}}, ["auth.secret", "ConfigMap"]),
        ({"log": {"max_size": 4194304}}, ["log.max_size", "a size with its unit"]),
        ({"memsys": {"min_free": "1100MiB"}}, ["memsys.min_free", 'AIStore would make "1GiB" of it']),
        ({"memsys": {"min_free": "1.5GiB"}}, ["memsys.min_free", 'AIStore would make "2GiB" of it']),
        ({"timeout": {"startup_time": 60}}, ["timeout.startup_time", "a duration with its unit", "got 60"]),
        ({"timeout": {"startup_time": "10s"}}, ["timeout.startup_time", "at least 30s"]),
        ({"timeout": {"max_keepalive": "3s"}}, ["timeout.max_keepalive", "twice timeout.cplane_operation"]),
        ({"timeout": {"join_startup_time": "90s"}}, ["timeout.join_startup_time", "twice timeout.startup_time"]),
        ({"checksum": {"type": "sha1"}}, ["checksum.type", "one of none, xxhash"]),
        ({"mirror": {"copies": 1}}, ["mirror.copies", "from 2 to 32"]),
        ({"rebalance": {"enabled": "yes"}}, ["rebalance.enabled", "true or false"]),
        ({"rebalance": "on"}, ["rebalance", "a mapping of settings"]),
        ({"space": {"lowwm": 70}}, ["space.lowwm", "together"]),
        ({"space": {"cleanupwm": 80, "lowwm": 70, "highwm": 90, "out_of_space": 95}}, ["must rise"]),
        ({"log": {"max_size": "1GiB"}}, ["log.max_total", "twice log.max_size"]),
        ({"features": ["S3-reverse-proxy"]}, ["features", "did you mean S3-Reverse-Proxy"]),
        ({"features": "8192"}, ["features", "a list of feature names"]),
        ({"features": ["Disable-Cold-GET", "Streaming-Cold-GET"]}, ["exclude each other"]),
        ({"keepalivetracker": {"proxy": {"interval": "1m", "factor": 3}}}, ["keepalivetracker.proxy", "2m"]),
        ({"versioning": {"enabled": False, "validate_warm_get": True}}, ["needs versioning.enabled"]),
    ],
)
def test_what_a_daemon_would_die_of_is_refused_with_the_way_out(config: dict, words: list[str]) -> None:
    found = configuration.problems(config)
    assert len(found) == 1, found
    for word in words:
        assert word in found[0]


def test_all_problems_come_at_once() -> None:
    found = configuration.problems({"log": {"leve": "3"}, "cloud": {}, "timeout": {"cplane_operation": "fast"}, "features": ["X"]})
    assert len(found) == 4


@pytest.mark.parametrize(("text", "expected"), [("2h", 7200), ("2h0m", 7200), ("1m30s", 90), ("100ms", 0.1), ("0", 0), ("-1s", -1), ("1.5h", 5400)])
def test_durations_are_those_of_go(text: str, expected: float) -> None:
    assert configuration.seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5d", 5, True, None])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        configuration.seconds(text)


@pytest.mark.parametrize(("text", "expected"), [("4mb", 4 << 20), ("4MiB", 4 << 20), ("64K", 65536), ("10GB", 10 << 30), ("0B", 0), ("0.5g", 1 << 29)])
def test_sizes_count_in_powers_of_1024(text: str, expected: int) -> None:
    assert configuration.size(text) == expected


def test_a_cluster_that_says_the_same_otherwise_is_unchanged() -> None:
    same = {"log": {"to_stderr": False}, "lru": {"dont_evict_time": "120m"}, "memsys": {"min_free": "1024mb", "default_buf": "0B", "hk_time": "0s"}}
    assert [item.name for item in configuration.differences(same, [], LIVE) if item.name not in ("features", "timeout.send_file_time")] == []


def test_what_a_daemon_leaves_out_of_its_answer_is_zero() -> None:
    nothing = {"timeout": {"object_md": "0s"}, "chunks": {"checkpoint_every": 0}, "tracing": {"enabled": False, "attributes": {}}}
    found = [item.name for item in configuration.differences(nothing, [], LIVE)]
    assert not [name for name in found if name.startswith(("timeout.object_md", "chunks", "tracing"))]


def test_what_a_new_cluster_starts_with_is_kept_where_nothing_else_is_declared() -> None:
    live = {**LIVE, "rebalance": {**LIVE["rebalance"], "enabled": False}, "lru": {**LIVE["lru"], "enabled": True}}
    found = [item.name for item in configuration.differences({}, [], live)]
    assert "rebalance.enabled" in found
    assert "lru.enabled" not in found


def test_a_feature_that_is_named_twice_is_one() -> None:
    assert configuration.feature_bits(["S3-API-via-Root", "S3-API-via-Root"]) == configuration.feature_bits(["S3-API-via-Root"])


def test_differences_name_setting_and_both_values() -> None:
    found = {item.name: (item.before, item.after) for item in configuration.differences({"lru": {"dont_evict_time": "3h"}}, [], LIVE)}
    assert found["lru.dont_evict_time"] == ("2h0m", "3h")
    assert found["features"] == ("8208", "8192")
    assert "versioning.enabled" not in found


def test_settings_that_only_a_start_reads_are_told_apart() -> None:
    assert configuration.needing_restart(["memsys.min_free", "lru.enabled", "net.http.idle_conns", "timeout.cplane_operation", "timeout.startup_time"]) == [
        "memsys.min_free",
        "net.http.idle_conns",
        "timeout.cplane_operation",
    ]


def test_only_what_a_start_reads_is_hashed_onto_the_pod() -> None:
    plain = configuration.at_start({})
    assert configuration.at_start({"lru": {"enabled": True}}) == plain
    assert configuration.at_start({"memsys": {"min_free": "2gb"}}) == plain  # 2GiB, written otherwise
    assert configuration.at_start({"memsys": {"min_free": "4GiB"}}) != plain


def test_the_first_file_has_what_a_daemon_needs() -> None:
    urls = {"primary_url": "http://p:51082", "original_url": "http://p:51082", "discovery_url": "http://d:51082"}
    made = configuration.initial({"features": ["Fsync-PUT"], "log": {"level": "4"}}, urls, ["aws"])
    assert made["proxy"] == urls
    assert made["features"] == "16"
    assert made["backend"] == {"aws": {}}
    assert made["net"]["l4"] == {"proto": "tcp", "sndrcv_buf_size": 131072}
    assert made["log"] == {"to_stderr": True, "level": "4"}
    json.dumps(made)


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"mirror": {"enabled": True, "copies": 3}}, "as many mount paths"),
        ({"ec": {"enabled": True}}, "need 5 targets; there are 3"),
        ({"mirrors": {"enabled": True}}, "no such setting"),
        ({"net": {"use_ipv6": True}}, "no such setting"),
        ({"lru": {"highwm": 90}}, "space.highwm"),
    ],
)
def test_buckets_that_cannot_be_are_refused(properties: dict, words: str) -> None:
    found = configuration.bucket_problems(properties, "aistore_buckets[0]", mountpaths=2, targets=3)
    assert len(found) == 1
    assert words in found[0]
    assert found[0].startswith("aistore_buckets[0].")


@pytest.mark.parametrize(
    "properties",
    [
        {"mirror": {"enabled": True, "copies": 2}},
        {"mirror": {"enabled": False, "copies": 3}},
        {"ec": {"enabled": True, "data_slices": 1, "parity_slices": 1}},
        {"ec": {"enabled": False, "data_slices": 9}},
        {"lru": {"enabled": True}, "checksum": {"type": "sha256"}},
    ],
)
def test_buckets_that_can_be_have_no_problem(properties: dict) -> None:
    assert configuration.bucket_problems(properties, "aistore_buckets[0]", mountpaths=2, targets=3) == []


def test_a_bucket_differs_only_in_what_is_declared() -> None:
    live = {"mirror": {"enabled": False, "copies": 2}, "lru": {"enabled": False, "dont_evict_time": "2h0m"}}
    assert configuration.bucket_differences({"mirror": {"copies": 2}, "lru": {"dont_evict_time": "2h"}}, live) == []
    assert [item.name for item in configuration.bucket_differences({"mirror": {"enabled": True}}, live)] == ["mirror.enabled"]


@pytest.mark.parametrize("section", [{"rebalance": {"compression": "never"}}, {"fshc": {"error_limit": 3}}, {"rebalance": {}}])
def test_a_part_of_a_section_turns_nothing_off(section: dict[str, Any]) -> None:
    made = configuration.initial(section, {}, [])
    assert (made["rebalance"]["enabled"], made["fshc"]["enabled"]) == (True, True)
    (name,) = section
    assert configuration.initial({name: {"enabled": False}}, {}, [])[name]["enabled"] is False


def test_a_new_cluster_takes_the_same_part_of_the_section_ec_as_one_that_runs() -> None:
    assert configuration.initial({"ec": {"enabled": True}}, {}, [])["ec"]["objsize_limit"] == LIVE["ec"]["objsize_limit"]
    assert configuration.initial({"ec": {"objsize_limit": 0}}, {}, [])["ec"]["objsize_limit"] == 0


def test_whether_objects_move_is_told_of_the_whole_configuration() -> None:
    assert [configuration.moves_data(config) for config in ({}, {"rebalance": {}}, {"rebalance": {"enabled": False}})] == [True, True, False]
