# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Links, path probes and the undo timer on real links: two hosts and a switch as network namespaces of our own. Needs root, not the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
A, B, SWITCH = (f"slipway-{os.getpid()}-{end}" for end in ("a", "b", "s"))
PRELUDE = f"import json, sys; sys.path.insert(0, {str(ROOT / 'collections')!r})\nfrom ansible_collections.slipway.mlops.plugins.module_utils import "


def ip(*words, namespace=""):
    prefix = ["-n", namespace] if namespace else []
    return subprocess.run(["ip", *prefix, *words], check=True, capture_output=True, text=True).stdout


def python(namespace, module, expression):
    """The value of an expression about one of our modules, in a namespace."""
    code = f"{PRELUDE}{module}\nprint(json.dumps({expression}))"
    done = subprocess.run(["ip", "netns", "exec", namespace, sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def network():
    """a -- switch -- b, all ends at 9000; IPv4 and IPv6."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    for name in (A, B, SWITCH):
        ip("netns", "add", name)
    try:
        ip("link", "add", "br0", "type", "bridge", namespace=SWITCH)
        for number, name in ((1, A), (2, B)):
            end = f"to{number}"
            ip("link", "add", "eth0", "mtu", "9000", "type", "veth", "peer", "name", end, "mtu", "9000", "netns", SWITCH, namespace=name)
            ip("link", "set", end, "master", "br0", "up", namespace=SWITCH)
            ip("addr", "add", f"10.98.0.{number}/24", "dev", "eth0", namespace=name)
            ip("addr", "add", f"fd98::{number}/64", "dev", "eth0", "nodad", namespace=name)
            ip("link", "set", "eth0", "up", namespace=name)
        ip("link", "set", "br0", "up", namespace=SWITCH)
        time.sleep(1)
        yield
    finally:
        for name in (A, B, SWITCH):
            subprocess.run(["ip", "netns", "del", name], check=False)


def test_links_are_read_as_ip_shows_them(network):
    found = {link["name"]: link for link in python(A, "_netlink", "[vars(link) for link in _netlink.links()]")}
    shown = {link["ifname"]: link for link in json.loads(ip("-j", "-d", "addr", namespace=A))}
    assert set(found) == set(shown)
    eth0 = found["eth0"]
    assert (eth0["index"], eth0["mtu"], eth0["kind"]) == (shown["eth0"]["ifindex"], shown["eth0"]["mtu"], shown["eth0"]["linkinfo"]["info_kind"])
    assert (eth0["min_mtu"], eth0["max_mtu"]) == (shown["eth0"]["min_mtu"], shown["eth0"]["max_mtu"])
    assert eth0["addresses"] == ["10.98.0.1/24", "fd98::1/64"]
    ports = {link["name"]: link for link in python(SWITCH, "_netlink", "[vars(link) for link in _netlink.links()]")}
    assert ports["to1"]["master"] == ports["br0"]["index"]
    assert ports["br0"]["kind"] == "bridge"


# A veth lets four bytes more pass than its MTU, room for a VLAN tag; whether a packet meets that depends on its direction.
@pytest.mark.parametrize("carries", [9000, 4321, 1500])
def test_a_probe_finds_exactly_what_the_path_carries(network, carries):
    ip("link", "set", "to2", "mtu", str(carries), namespace=SWITCH)
    try:
        probes = [("eth0", "10.98.0.2", 9000), ("eth0", "fd98::2", 9000), ("eth0", "10.98.0.77", 9000)]
        four, six, nobody = python(A, "_path_probe", f"_path_probe.largest({probes!r}, patience=1.5)")
        assert min(carries, 9000) <= four <= min(carries + 4, 9000)
        assert min(carries, 9000) <= six <= min(carries + 4, 9000)
        assert nobody == 0
    finally:
        ip("link", "set", "to2", "mtu", "9000", namespace=SWITCH)


def test_without_systemd_a_process_of_its_own_puts_the_mtu_back(network, tmp_path):
    step = "_mtu_plan.Step('eth0', 9000, 7000)"
    code = "_mtu_apply, _mtu_plan"
    token = python(A, code, f"_mtu_apply.change([{step}], 3, {str(tmp_path)!r})")
    assert "mtu 7000" in ip("link", "show", "eth0", namespace=A)
    assert "not confirmed yet" in python(A, "_mtu_apply", f"_mtu_apply.pending({str(tmp_path)!r})")
    end = time.monotonic() + 30
    while "mtu 9000" not in ip("link", "show", "eth0", namespace=A):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert python(A, "_mtu_apply", f"_mtu_apply.confirm({token!r}, [], {str(tmp_path)!r})") is False
    assert python(A, "_mtu_apply", f"_mtu_apply.pending({str(tmp_path)!r})") == ""


def test_a_confirmed_change_stays(network, tmp_path):
    token = python(A, "_mtu_apply, _mtu_plan", f"_mtu_apply.change([_mtu_plan.Step('eth0', 9000, 7000)], 2, {str(tmp_path)!r})")
    try:
        edit = f"_mtu_managers.Edit({str(tmp_path / 'new' / 'file')!r}, None, b'x')"
        assert python(A, "_mtu_apply, _mtu_managers", f"_mtu_apply.confirm({token!r}, [{edit}], {str(tmp_path)!r})") is True
        time.sleep(4)
        assert "mtu 7000" in ip("link", "show", "eth0", namespace=A)
        assert (tmp_path / "new" / "file").read_bytes() == b"x"
    finally:
        ip("link", "set", "eth0", "mtu", "9000", namespace=A)


def test_files_that_cannot_be_written_undo_the_change_at_once(network, tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "not" / "there")
    token = python(A, "_mtu_apply, _mtu_plan", f"_mtu_apply.change([_mtu_plan.Step('eth0', 9000, 7000)], 60, {str(tmp_path)!r})")
    good, bad = (f"_mtu_managers.Edit({str(tmp_path / path)!r}, None, b'x')" for path in ("good", "nowhere/file"))
    code = f"{PRELUDE}_mtu_apply, _mtu_managers\n_mtu_apply.confirm({token!r}, [{good}, {bad}], {str(tmp_path)!r})"
    done = subprocess.run(["ip", "netns", "exec", A, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "The old MTU is back." in done.stderr
    assert "mtu 9000" in ip("link", "show", "eth0", namespace=A)
    assert not (tmp_path / "good").exists()


def test_a_step_that_the_kernel_refuses_undoes_the_ones_before(network, tmp_path):
    steps = "[_mtu_plan.Step('eth0', 9000, 7000), _mtu_plan.Step('eth7', 1500, 9000)]"
    code = f"{PRELUDE}_mtu_apply, _mtu_plan\n_mtu_apply.change({steps}, 60, {str(tmp_path)!r})"
    done = subprocess.run(["ip", "netns", "exec", A, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "eth7: No such device" in done.stderr
    assert "mtu 9000" in ip("link", "show", "eth0", namespace=A)
