# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import itertools

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _mtu_plan
from ansible_collections.slipway.mlops.plugins.module_utils._netlink import Link


def card(index, name, mtu=1500, **more):
    return Link(index, name, mtu, min_mtu=68, max_mtu=9978, **more)


# bond0 of two cards, a VLAN and a bridge with the VLAN as its port; a card apart.
BOND = [
    card(2, "ens5", master=4),
    card(3, "ens6", master=4),
    Link(4, "bond0", 1500, kind="bond", min_mtu=68, max_mtu=65535),
    Link(5, "bond0.100", 1500, kind="vlan", below=4, master=6, max_mtu=65535),
    Link(6, "br0", 1500, kind="bridge", min_mtu=68, max_mtu=65535),
    card(7, "ens9"),
    Link(1, "lo", 65536),
]


def decide(asked, links=None, ipv6=()):
    links = BOND if links is None else links
    return _mtu_plan.plan([{"name": name, "mtu": mtu} for name, mtu in asked], links, frozenset(ipv6))


def order(plan):
    assert plan.problems == []
    return [(step.name, step.before, step.after) for step in plan.steps]


def test_links_grow_from_the_bottom_in_whatever_order_they_are_asked_for():
    for asked in itertools.permutations([("br0", 9000), ("bond0.100", 9000), ("bond0", 9000)]):
        assert order(decide(asked)) == [("bond0", 1500, 9000), ("bond0.100", 1500, 9000), ("br0", 1500, 9000)]


def test_links_shrink_from_the_top():
    large = [Link(**{**vars(link), "mtu": 9000}) for link in BOND]
    asked = [("bond0", 1500), ("bond0.100", 1500), ("br0", 1500)]
    assert [step.name for step in decide(asked, large).steps] == ["br0", "bond0.100", "bond0"]


def test_what_has_its_mtu_already_is_no_step():
    plan = decide([("ens9", "1500")])
    assert (plan.steps, plan.wanted) == ([], {"ens9": 1500})


@pytest.mark.parametrize(
    ("name", "mtu", "words"),
    [
        ("eth9", 9000, "no such link here (have: bond0, bond0.100, br0, ens5, ens6, ens9)"),
        ("lo", 9000, "loopback"),
        ("ens9", 9000.5, "must be an integer 68-65535, got 9000.5"),
        ("ens9", True, "must be an integer"),
        ("ens9", "9k", "must be an integer"),
        ("ens9", 0, "outside of what the driver supports, 68-9978"),
        ("ens9", 70000, "68-9978"),
        ("ens9", 1279, "too small while IPv6 is on"),
        ("bond0.100", 9000, "exceeds bond0 below it (1500)"),
        ("ens5", 9000, "is part of bond0 (1500) and always has its MTU"),
        ("bond0", 20000, "its card ens5 supports at most 9978"),
        ("br0", 9000, "exceeds its port bond0.100 (1500)"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_no_step(name, mtu, words):
    plan = decide([(name, mtu)], ipv6=["ens9"])
    assert words in plan.problems[0]
    assert name in plan.problems[0]
    assert plan.steps == []


def test_lowering_what_a_vlan_stands_on_needs_the_vlan_in_the_list():
    large = [Link(**{**vars(link), "mtu": 9000}) for link in BOND]
    assert "bond0.100: 9000 exceeds bond0 below it (1500)" in decide([("bond0", 1500)], large).problems[0]


def test_all_problems_come_at_once():
    assert len(decide([("eth9", 1), ("ens9", "x"), ("lo", 1)]).problems) == 3
    assert "twice" in decide([("ens9", 9000), ("ens9", 1500)]).problems[0]


def test_a_bridge_that_follows_its_port_is_told():
    links = [card(7, "ens9", master=8), Link(8, "br1", 1500, kind="bridge")]
    plan = decide([("ens9", 9000)], links)
    assert order(plan) == [("ens9", 1500, 9000)]
    assert "br1" in plan.warnings[0]
    assert decide([("ens9", 9000), ("br1", 9000)], links).warnings == [], "it is set itself"


def test_a_small_mtu_is_fine_where_ipv6_is_off():
    assert order(decide([("ens9", 1279)])) == [("ens9", 1500, 1279)]


@pytest.mark.parametrize(
    ("mtu", "encapsulation", "fits"),
    [
        (1500, "none", True),
        (1480, "ipip", True),
        (1481, "ipip", False),
        (1450, "vxlan", True),
        (1451, "vxlan", False),
        (1440, "wireguard", True),
        (1441, "wireguard", False),
    ],
)
def test_a_pods_packet_fits_with_its_encapsulation(mtu, encapsulation, fits):
    problems = _mtu_plan.cni_problems({"ens9": 1500, "ens5": 9000}, mtu, encapsulation)
    assert (problems == []) is fits
    if not fits:
        assert f"at most {1500 - _mtu_plan.ENCAPSULATION[encapsulation]}" in problems[0]


@pytest.mark.parametrize("mtu", ["big", 0, 67, 10**6])
def test_a_cni_mtu_that_cannot_be_is_said(mtu):
    assert "must be an integer" in _mtu_plan.cni_problems({}, mtu, "none")[0]


OWN = [{"name": "ens9", "mtu": 9000, "addresses": ["10.0.0.1/24", "fd00::1/64"]}, {"name": "mgmt", "mtu": 1500, "addresses": ["192.168.0.1/24"]}]
OTHERS = {
    "w2": [{"name": "eth0", "mtu": 9000, "addresses": ["10.0.0.2/24", "fd00::2/64"]}, {"name": "mgmt", "mtu": 1500, "addresses": ["192.168.0.2/24"]}],
    "w3": [{"name": "eth0", "mtu": 4000, "addresses": ["10.0.0.3/24"]}, {"name": "docker0", "mtu": 1500, "addresses": ["172.17.0.1/16"]}],
}


def test_paths_go_from_changed_links_to_addresses_of_the_same_network_with_the_smaller_mtu():
    found = [(path.link, path.host, path.address, path.size) for path in _mtu_plan.paths(OWN, OTHERS, ["ens9"])]
    assert found == [("ens9", "w2", "10.0.0.2", 9000), ("ens9", "w3", "10.0.0.3", 4000), ("ens9", "w2", "fd00::2", 9000)]


def test_an_address_that_all_hosts_have_is_no_path():
    docker = [{"name": "docker0", "mtu": 1500, "addresses": ["172.17.0.1/16"]}]
    assert _mtu_plan.paths(docker, {"w2": docker}, ["docker0"]) == []


def test_an_address_that_we_have_on_another_link_is_no_path():
    """Of a service on kube-ipvs0, or of a load balancer that answers through its servers."""
    virtual = {"name": "kube-ipvs0", "mtu": 1500, "addresses": ["10.0.0.100/32", "fd00::100/128"]}
    with_it = {host: [*links, virtual] for host, links in OTHERS.items()}
    assert _mtu_plan.paths([*OWN, virtual], with_it, ["ens9"]) == _mtu_plan.paths(OWN, OTHERS, ["ens9"])
    assert "10.0.0.100" in [path.address for path in _mtu_plan.paths(OWN, with_it, ["ens9"])], "another host has it alone"


def path(carried, size=9000):
    return {"link": "ens9", "host": "w2", "address": "10.0.0.2", "size": size, "carried": carried}


PENDING = {"pending": {"token": "x"}}


def test_all_paths_good_means_no_reason_to_go_back():
    changes = {"w1": PENDING, "w2": {"changed": False, "links": []}}  # w2 had its MTU already
    assert _mtu_plan.verdict(changes, {"w1": {"paths": [path(9000)], "unproved": []}}) == []


@pytest.mark.parametrize(
    ("changes", "probes", "words"),
    [
        ({"w1": PENDING}, {"w1": {"paths": [path(1500)]}}, "w1 ens9 to w2 (10.0.0.2) carries 1500 bytes, not 9000"),
        ({"w1": PENDING}, {"w1": {"paths": [path(0)]}}, "no answer to an echo of any size"),
        ({"w1": PENDING}, {}, "w1 did not answer over a new connection"),
        ({"w1": PENDING}, {"w1": {"unreachable": True, "msg": "timed out"}}, "timed out"),
        ({"w1": PENDING, "w2": {"failed": True}}, {"w1": {"paths": []}}, "w2 could not be changed"),
        ({"w1": PENDING, "w2": {}}, {"w1": {"paths": [path(9000)]}}, "w2 has no result: it failed earlier or was left out"),
        ({"w1": PENDING}, {"w1": {"paths": [], "unproved": ["ens9"]}}, "w1 ens9: nothing proves its MTU"),
        ({"w1": PENDING, "w2": {"unreachable": True}}, {"w1": {"paths": []}}, "w2 could not be changed"),
    ],
)
def test_one_bad_path_or_host_turns_the_group_back(changes, probes, words):
    reasons = _mtu_plan.verdict(changes, probes)
    assert len(reasons) == 1
    assert words in reasons[0]


ADDRESSED = [Link(**{**vars(link), "addresses": {"br0": ("10.1.0.1/31",), "ens9": ("10.0.0.1/24", "fd00::1/64")}.get(link.name, ())}) for link in BOND]


def test_a_changed_link_is_proved_by_a_path_of_its_own_or_of_what_stands_on_it():
    stack = ["bond0", "bond0.100", "br0"]
    assert _mtu_plan.unproved(ADDRESSED, [*stack, "ens9"], {"br0"}) == ["ens9"]
    assert _mtu_plan.unproved(ADDRESSED, stack, {"ens9"}) == stack
    # An untagged network of its own on the bond: the VLAN's packets do not prove that.
    own = [Link(**{**vars(link), "addresses": ("10.2.0.1/24",)}) if link.name == "bond0" else link for link in ADDRESSED]
    assert _mtu_plan.unproved(own, stack, {"br0"}) == ["bond0"]


def test_hosts_that_share_no_network_prove_nothing_to_each_other():
    """Links of /31 to a leaf switch."""
    others = {"w2": [{"name": "ens9", "mtu": 9000, "addresses": ["10.1.0.3/31"]}]}
    assert _mtu_plan.paths([{"name": "br0", "mtu": 9000, "addresses": ["10.1.0.1/31"]}], others, ["br0"]) == []


def test_addresses_outside_are_reached_from_the_link_that_is_named_or_from_all_that_speak_so():
    asked = [{"address": "10.9.0.1", "mtu": 8000}, {"address": "fd09::1"}, {"address": "10.9.0.2", "link": "br0"}, {"address": "10.9.0.3", "link": "ens5"}]
    asked.append({"address": "10.9.0.4", "mtu": 1400, "link": "br0"})
    found = [(path.link, path.address, path.size) for path in _mtu_plan.asked_addresses(ADDRESSED, asked, ["bond0", "br0", "ens9"])]
    assert found == [("br0", "10.9.0.1", 1500), ("ens9", "10.9.0.1", 1500), ("ens9", "fd09::1", 1500), ("br0", "10.9.0.2", 1500), ("br0", "10.9.0.4", 1400)]


def test_one_host_that_cannot_keep_it_turns_the_group_back():
    changes = {"w1": PENDING, "w2": PENDING, "w3": {"changed": False}}
    assert _mtu_plan.not_kept(changes, {"w1": {"kept": True}, "w2": {"kept": True}, "w3": {"skipped": True}}) == []
    assert _mtu_plan.not_kept(changes, {"w1": {"kept": True}, "w2": {"failed": True}}) == ["w2 could not keep its MTU over a boot"]
    assert _mtu_plan.not_kept(changes, {"w1": {"kept": True}}) == ["w2 could not keep its MTU over a boot"]
