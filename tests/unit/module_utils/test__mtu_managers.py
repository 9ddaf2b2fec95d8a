# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _mtu_managers
from ansible_collections.slipway.mlops.plugins.module_utils._netlink import Link

ENS3 = Link(2, "ens3", 1500)
ENS4 = Link(3, "ens4", 1500)


@pytest.fixture
def host(tmp_path):
    def write(path, text):
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write.root = str(tmp_path) + "/"
    return write


def networkd(host, index, file, state="configured"):
    host(f"/run/systemd/netif/links/{index}", f"# private\nADMIN_STATE={state}\nOPER_STATE=routable\nNETWORK_FILE={file}\n")


def keep(host, wanted=None, links=(ENS3, ENS4)):
    return _mtu_managers.persistence(wanted or {"ens3": 9000}, links, host.root)


def test_networkd_gets_a_drop_in_beside_the_file_that_it_uses(host):
    networkd(host, 2, "/usr/lib/systemd/network/50-wired.network")
    kept = keep(host)
    assert kept.managers == {"ens3": "networkd"}
    (edit,) = kept.edits
    assert (edit.path, edit.before) == ("/etc/systemd/network/50-wired.network.d/90-slipway-mtu.conf", None)
    assert b"[Link]\nMTUBytes=9000\n" in edit.after


def test_what_is_written_already_is_no_edit(host):
    networkd(host, 2, "/etc/systemd/network/a.network")
    (edit,) = keep(host).edits
    host(edit.path, edit.after.decode())
    assert keep(host).edits == []


def test_a_file_that_configures_another_link_too_is_refused(host):
    networkd(host, 2, "/etc/systemd/network/all.network")
    networkd(host, 3, "/etc/systemd/network/all.network")
    assert "also configures ens4" in keep(host).problems[0]
    assert keep(host, {"ens3": 9000, "ens4": 9000}).problems == []
    assert len(keep(host, {"ens3": 9000, "ens4": 9000}).edits) == 1


def test_an_id_of_netplan_that_configures_another_link_too_is_refused(host):
    """match: {name: "en*"}"""
    for index in (2, 3):
        networkd(host, index, "/run/systemd/network/10-netplan-all.network")
    assert keep(host).problems == [
        'ens3: netplan\'s "all" also configures ens4, which shall not have the same MTU; give ens3 a definition in netplan of its own first'
    ]
    assert len(keep(host, {"ens3": 9000, "ens4": 4000}).problems) == 2
    same = keep(host, {"ens3": 9000, "ens4": 9000})
    assert same.problems == []
    assert same.edits[0].after.count(b'"all":') == 1


def test_a_drop_in_that_wins_over_ours_is_named(host):
    networkd(host, 2, "/etc/systemd/network/a.network")
    host("/etc/systemd/network/a.network.d/95-x.conf", "[Link]\nMTUBytes=1400\n")
    assert "/etc/systemd/network/a.network.d/95-x.conf sets MTUBytes=1400" in keep(host).problems[0]


def test_netplan_gets_one_file_for_all_links_by_its_own_ids(host):
    networkd(host, 2, "/run/systemd/network/10-netplan-id0.network")
    networkd(host, 3, "/run/systemd/network/10-netplan-bond0.network")
    kept = keep(host, {"ens3": 9000, "bond0": 9000}, [ENS3, Link(3, "bond0", 1500, kind="bond")])
    (edit,) = kept.edits
    assert (edit.path, edit.new_mode, edit.load) == ("/etc/netplan/99-slipway-mtu.yaml", 0o600, ("netplan", "generate"))
    assert b'"id0"' in edit.after
    assert b"bonds:" in edit.after
    assert set(kept.managers.values()) == {"netplan"}


def nm(host, index, uuid, managed="true"):
    host(f"/run/NetworkManager/devices/{index}", f"[device]\nmanaged={managed}\nconnection-uuid={uuid}\n")


def test_networkmanager_keyfile_is_edited_and_loaded_and_stays_private(host):
    nm(host, 2, "aaaa-1")
    host("/etc/NetworkManager/system-connections/other.nmconnection", "[connection]\nuuid=aaaa-12\n")
    host("/etc/NetworkManager/system-connections/My LAN.nmconnection", "[connection]\nuuid=aaaa-1\n")
    (edit,) = keep(host).edits
    assert edit.path == "/etc/NetworkManager/system-connections/My LAN.nmconnection"
    assert edit.load == ("nmcli", "connection", "load", edit.path)
    assert edit.after == b"[connection]\nuuid=aaaa-1\n\n[ethernet]\nmtu=9000\n"


def test_networkmanager_connection_that_netplan_made_goes_to_netplan(host):
    nm(host, 2, "aaaa-1")
    host("/run/NetworkManager/system-connections/netplan-lan0.nmconnection", "[connection]\nuuid=aaaa-1\n")
    assert keep(host).managers == {"ens3": "netplan"}
    assert b'"lan0"' in keep(host).edits[0].after


def test_networkmanager_connection_in_an_ifcfg_file(host):
    nm(host, 2, "aaaa-1")
    host("/etc/sysconfig/network-scripts/ifcfg-lan", 'DEVICE=ens3\nUUID="aaaa-1"\n')
    assert keep(host).managers == {"ens3": "ifcfg"}
    assert keep(host).edits[0].after == b'DEVICE=ens3\nUUID="aaaa-1"\nMTU=9000\n'


@pytest.mark.parametrize("state", ["unmanaged", "linger"])
def test_what_a_daemon_leaves_alone_is_looked_for_elsewhere(host, state):
    networkd(host, 2, "/etc/systemd/network/a.network", state)
    nm(host, 2, "aaaa-1", managed="false")
    host("/etc/network/interfaces", "source interfaces.d/*\n")
    host("/etc/network/interfaces.d/lan", "iface ens3 inet static\n  address 10.0.0.1/24\n")
    host("/etc/network/interfaces.d/lan.dpkg-old", "iface ens3 inet static\n  mtu 1\n")
    kept = keep(host)
    assert kept.managers == {"ens3": "ifupdown"}
    assert kept.edits[0].path == "/etc/network/interfaces.d/lan"
    assert b"    mtu 9000\n" in kept.edits[0].after


def test_two_links_of_one_interfaces_file_are_one_edit(host):
    host("/etc/network/interfaces", "iface ens3 inet manual\niface ens4 inet dhcp\n")
    (edit,) = keep(host, {"ens3": 9000, "ens4": 4000}).edits
    assert edit.after == b"iface ens3 inet manual\n    mtu 9000\niface ens4 inet dhcp\n    post-up ip link set dev $IFACE mtu 4000\n"


def test_a_link_that_nobody_configures_is_a_problem(host):
    kept = keep(host)
    assert "would be lost at the next boot" in kept.problems[0]
    assert kept.edits == []


def test_bytes_that_are_no_text_survive_an_edit(host, tmp_path):
    (tmp_path / "etc/network").mkdir(parents=True)
    (tmp_path / "etc/network/interfaces").write_bytes(b"# caf\xe9\niface ens3 inet manual\n")
    assert keep(host).edits[0].after == b"# caf\xe9\niface ens3 inet manual\n    mtu 9000\n"
