# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _sysctl_text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vm.swappiness=10", ("vm.swappiness", "10")),
        ("  net/ipv4/conf/eth0.100/rp_filter =  1 ", ("net.ipv4.conf.eth0/100.rp_filter", "1")),
        ("-net.ipv4.x = 1\t2", ("net.ipv4.x", "1 2")),
        ("net.ipv4.conf.eth0/100.rp_filter = 1", ("net.ipv4.conf.eth0/100.rp_filter", "1")),
        ("# vm.swappiness = 1", None),
        ("; vm.swappiness = 1", None),
        ("net.ipv4.conf.*.rp_filter = 1", None),
        ("-net.ipv4.conf.all.rp_filter", None),
        ("nonsense", None),
        ("= 3", None),
    ],
)
def test_lines_are_read_as_systemd_does(line, expected):
    found = _sysctl_text.parse("/f", b"\n" + line.encode() + b"\n")
    assert [(item.name, item.value, item.line) for item in found] == ([(*expected, 2)] if expected else [])


def test_bytes_that_are_no_text_do_not_stop_the_reading():
    assert [line.name for line in _sysctl_text.parse("/f", b"# caf\xe9\nvm.x = 1")] == ["vm.x"]


def test_path_and_name_are_each_others_inverse():
    assert _sysctl_text.path("net.ipv4.conf.eth0/100.rp_filter") == "net/ipv4/conf/eth0.100/rp_filter"
    assert _sysctl_text.dotted("net/ipv4/conf/eth0.100/rp_filter") == "net.ipv4.conf.eth0/100.rp_filter"


def test_files_are_ordered_by_name_and_masked_by_folder():
    files = ["/usr/lib/sysctl.d/50-a.conf", "/etc/sysctl.d/99-z.conf", "/run/sysctl.d/10-b.conf", "/etc/sysctl.d/50-a.conf", "/lib/sysctl.d/50-a.conf"]
    assert _sysctl_text.boot_order(files) == ["/run/sysctl.d/10-b.conf", "/etc/sysctl.d/50-a.conf", "/etc/sysctl.d/99-z.conf"]


def test_nothing_to_set_is_no_file():
    assert _sysctl_text.render([]) == b""
