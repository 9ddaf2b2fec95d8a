# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils import _mtu_files

KEYFILE = "[connection]\nid=x\nuuid=1\ntype=ethernet\n\n[ethernet]\n# keep me\ncloned-mac-address=preserve\n\n[ipv4]\nmethod=auto\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (KEYFILE, KEYFILE.replace("=preserve\n", "=preserve\nmtu=9000\n")),
        (KEYFILE.replace("# keep me\n", "mtu = 1500\r\n"), KEYFILE.replace("# keep me\n", "mtu=9000\r\n")),
        ("[connection]\nid=x\n", "[connection]\nid=x\n\n[ethernet]\nmtu=9000\n"),
        ("[802-3-ethernet]\nmtu=1\n[wifi]\nmtu=2", "[802-3-ethernet]\nmtu=9000\n[wifi]\nmtu=2"),
        ("[wifi]\nmtu=2", "[wifi]\nmtu=2\n\n[ethernet]\nmtu=9000\n"),
        ("[ethernet]", "[ethernet]\nmtu=9000\n"),
        ("", "[ethernet]\nmtu=9000\n"),
    ],
)
def test_keyfile_changes_one_line_of_the_ethernet_section(before, after):
    assert _mtu_files.keyfile(before, 9000) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("DEVICE=eth0\nMTU=1500\n# end\n", "DEVICE=eth0\nMTU=9000\n# end\n"),
        ('MTU="1500"\nMTU=1400\n', 'MTU="1500"\nMTU=9000\n'),
        ("DEVICE=eth0", "DEVICE=eth0\nMTU=9000\n"),
        ("# MTU=1500\n", "# MTU=1500\nMTU=9000\n"),
        ("IPV6_MTU=1280\n", "IPV6_MTU=1280\nMTU=9000\n"),
    ],
)
def test_ifcfg_changes_the_line_that_wins(before, after):
    assert _mtu_files.ifcfg(before, 9000) == after


INTERFACES = (
    "# mine\nauto lo\niface lo inet loopback\n\nauto ens3\niface ens3 inet static\n    address 10.0.0.1/24\n    # note\n"
    "\niface ens3 inet6 auto\n\niface ens30 inet dhcp\n"
)


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        (INTERFACES, "ens3", INTERFACES.replace("10.0.0.1/24\n", "10.0.0.1/24\n    mtu 9000\n")),
        (INTERFACES.replace("    # note\n", "    mtu 1500\n"), "ens3", INTERFACES.replace("    # note\n", "    mtu 9000\n")),
        (INTERFACES, "ens30", INTERFACES + "    post-up ip link set dev $IFACE mtu 9000\n"),
        (
            "iface ens30 inet dhcp\n\tup /sbin/ip link set dev ens30 mtu 1400\n",
            "ens30",
            "iface ens30 inet dhcp\n\tpost-up ip link set dev $IFACE mtu 9000\n",
        ),
        (
            "iface ens30 inet dhcp\n  post-up ip link set dev other mtu 9\n",
            "ens30",
            "iface ens30 inet dhcp\n  post-up ip link set dev other mtu 9\n    post-up ip link set dev $IFACE mtu 9000\n",
        ),
        ("iface a inet manual", "a", "iface a inet manual\n    mtu 9000\n"),
        (INTERFACES, "ens4", None),
    ],
)
def test_ifupdown_changes_the_first_stanza_of_the_link(before, name, after):
    result = _mtu_files.ifupdown(before, name, 9000)
    assert result == after


@pytest.mark.parametrize("text", [KEYFILE, "[a]\nb=c", ""])
def test_editing_twice_is_editing_once(text):
    once = _mtu_files.keyfile(text, 9000)
    assert _mtu_files.keyfile(once, 9000) == once
    once = _mtu_files.ifcfg(text, 9000)
    assert _mtu_files.ifcfg(once, 9000) == once


@pytest.mark.parametrize("name", ["ens3", "ens30"])
def test_editing_interfaces_twice_is_editing_once(name):
    once = _mtu_files.ifupdown(INTERFACES, name, 9000)
    assert _mtu_files.ifupdown(once, name, 9000) == once


def test_netplan_file_names_each_link_in_its_section():
    text = _mtu_files.netplan_file([("", 'odd"name', 9000), ("bond", "bond0", 9000), ("vlan", "v100", 8000), ("bridge", "br0", 7000), ("veth", "e", 1)])
    assert yaml.safe_load(text) == {
        "network": {
            "version": 2,
            "ethernets": {'odd"name': {"mtu": 9000}, "e": {"mtu": 1}},
            "bonds": {"bond0": {"mtu": 9000}},
            "vlans": {"v100": {"mtu": 8000}},
            "bridges": {"br0": {"mtu": 7000}},
        }
    }


def test_values_of_state_files():
    assert dict(_mtu_files.values("# x\n[S]\nA=1\nB = 'two'\nC=a=b\nnope\n")) == {"A": "1", "B": "two", "C": "a=b"}
