# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Links, path probes, the undo timer and the role on real links: two hosts and a switch as network namespaces of our own. Needs root, not the lab."""

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
    assert python(A, "_mtu_apply", f"_mtu_apply.confirm({token!r}, {str(tmp_path)!r})") is False
    assert python(A, "_mtu_apply", f"_mtu_apply.pending({str(tmp_path)!r})") == ""


def test_a_confirmed_change_stays(network, tmp_path):
    token = python(A, "_mtu_apply, _mtu_plan", f"_mtu_apply.change([_mtu_plan.Step('eth0', 9000, 7000)], 8, {str(tmp_path)!r})")
    try:
        edit = f"_mtu_managers.Edit({str(tmp_path / 'new' / 'file')!r}, None, b'x')"
        assert python(A, "_mtu_apply, _mtu_managers", f"_mtu_apply.keep({token!r}, [{edit}], {str(tmp_path)!r})") is True
        assert python(A, "_mtu_apply", f"_mtu_apply.confirm({token!r}, {str(tmp_path)!r})") is True
        time.sleep(9)
        assert "mtu 7000" in ip("link", "show", "eth0", namespace=A)
        assert (tmp_path / "new" / "file").read_bytes() == b"x"
        assert {path.name for path in tmp_path.iterdir()} == {"new", "undo.py"}
    finally:
        ip("link", "set", "eth0", "mtu", "9000", namespace=A)


def test_files_that_cannot_be_written_undo_the_change_at_once(network, tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "not" / "there")
    token = python(A, "_mtu_apply, _mtu_plan", f"_mtu_apply.change([_mtu_plan.Step('eth0', 9000, 7000)], 60, {str(tmp_path)!r})")
    good, bad = (f"_mtu_managers.Edit({str(tmp_path / path)!r}, None, b'x')" for path in ("good", "nowhere/file"))
    code = f"{PRELUDE}_mtu_apply, _mtu_managers\n_mtu_apply.keep({token!r}, [{good}, {bad}], {str(tmp_path)!r})"
    done = subprocess.run(["ip", "netns", "exec", A, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "The old MTU is back." in done.stderr
    assert "mtu 9000" in ip("link", "show", "eth0", namespace=A)
    assert not (tmp_path / "good").exists()


@pytest.mark.parametrize("by", ["the timer", "another host's failure"])
def test_what_is_kept_but_never_confirmed_goes_back_with_its_files(network, tmp_path, by):
    interfaces, drop_in, foreign = tmp_path / "interfaces", tmp_path / "d" / "mtu.conf", tmp_path / "foreign"
    for file, text in ((interfaces, "wpa-psk secret\n"), (foreign, "before")):
        file.write_text(text)
        file.chmod(0o640)
    seconds = 8 if by == "the timer" else 60
    token = python(A, "_mtu_apply, _mtu_plan", f"_mtu_apply.change([_mtu_plan.Step('eth0', 9000, 7000)], {seconds}, {str(tmp_path)!r})")
    edits = ", ".join(
        f"_mtu_managers.Edit({str(file)!r}, {before!r}, {after!r})"
        for file, before, after in ((interfaces, b"wpa-psk secret\n", b"mtu"), (drop_in, None, b"new"), (foreign, b"before", b"ours"))
    )
    assert python(A, "_mtu_apply, _mtu_managers", f"_mtu_apply.keep({token!r}, [{edits}], {str(tmp_path)!r})") is True
    assert (interfaces.read_text(), drop_in.read_text(), foreign.read_text()) == ("mtu", "new", "ours")
    foreign.write_text("theirs by now")
    if seconds > 8:
        assert python(A, "_mtu_apply", f"_mtu_apply.undo_now({token!r}, {str(tmp_path)!r})") == "The old MTU is back."
    end = time.monotonic() + 30
    while "mtu 9000" not in ip("link", "show", "eth0", namespace=A) or list(tmp_path.glob("undone-*")):
        assert time.monotonic() < end
        time.sleep(0.2)
    assert (interfaces.read_text(), interfaces.stat().st_mode & 0o777, foreign.read_text()) == ("wpa-psk secret\n", 0o640, "theirs by now")
    assert not drop_in.exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("armed", "files", "undone"))]
    assert python(A, "_mtu_apply", f"_mtu_apply.confirm({token!r}, {str(tmp_path)!r})") is False


def test_a_step_that_the_kernel_refuses_undoes_the_ones_before(network, tmp_path):
    steps = "[_mtu_plan.Step('eth0', 9000, 7000), _mtu_plan.Step('eth7', 1500, 9000)]"
    code = f"{PRELUDE}_mtu_apply, _mtu_plan\n_mtu_apply.change({steps}, 60, {str(tmp_path)!r})"
    done = subprocess.run(["ip", "netns", "exec", A, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "eth7: No such device" in done.stderr
    assert "mtu 9000" in ip("link", "show", "eth0", namespace=A)


class Group:
    """The namespaces as two hosts of a play, each with an /etc/network and a /run/slipway of its own."""

    def __init__(self, folder):
        self.folder, self.names, self.holders = folder, {"a": A, "b": B}, {}
        for name, namespace in self.names.items():
            own = folder / name
            (own / "etc").mkdir(parents=True)
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SETUP.format(own)]
            self.holders[name] = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            assert self.holders[name].stdout.readline() == "ready\n"
            self.inside(name, f"printf '{INTERFACES}' > /etc/network/interfaces".replace("\n", "\\n"))
            python = own / "python"
            pid = self.holders[name].pid
            python.write_text(f'#!/bin/sh\nexec nsenter --mount=/proc/{pid}/ns/mnt --net=/run/netns/{namespace} --wd=/ {sys.executable} "$@"\n')
            python.chmod(0o755)

    def inside(self, name, script):
        argv = ["nsenter", f"--mount=/proc/{self.holders[name].pid}/ns/mnt", "--wd=/", "sh", "-c", script]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def close(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()

    def play(self, *options, first=(), hosts="all", **variables):
        inventory = {"all": {"hosts": {name: {"ansible_python_interpreter": str(self.folder / name / "python")} for name in self.names}}}
        inventory["all"]["vars"] = {"ansible_connection": "local"}
        (self.folder / "hosts.json").write_text(json.dumps(inventory))
        tasks = [*first, {"ansible.builtin.include_role": {"name": "slipway.mlops.host_mtu"}}]
        variables = {"host_mtu_links": [{"name": "eth0", "mtu": 8000}], "host_mtu_confirm_within_seconds": 300, **variables}
        (self.folder / "play.yml").write_text(json.dumps([{"hosts": hosts, "gather_facts": False, "tasks": tasks, "vars": variables}]))
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.folder / "hosts.json"), str(self.folder / "play.yml"), *options]
        env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr

    def state(self):
        """MTU, the text of the interfaces file, and what waits, of each host."""
        found = {}
        for name, namespace in self.names.items():
            mtu = json.loads(ip("-j", "link", "show", "eth0", namespace=namespace))[0]["mtu"]
            waiting = self.inside(name, "ls /run/slipway/link_mtu 2>/dev/null | grep -v '^undo.py$' || true")
            found[name] = (mtu, self.inside(name, "cat /etc/network/interfaces"), waiting)
        return found


INTERFACES = "iface eth0 inet manual\n    wpa-psk secret\n"
BEFORE = (9000, INTERFACES, "")
AFTER = (8000, INTERFACES + "    mtu 8000\n", "")
# /etc is an overlay with a folder for ifupdown's file; /run/slipway is empty.
SETUP = """set -e
mount -t tmpfs -o size=8m tmpfs {0}/etc && mkdir {0}/etc/upper {0}/etc/work {0}/etc/run
mount -t overlay overlay -o lowerdir=/etc,upperdir={0}/etc/upper,workdir={0}/etc/work /etc
mkdir -p /etc/network /run/slipway
mount --bind {0}/etc/run /run/slipway
echo ready
exec sleep infinity
"""


@pytest.fixture
def group(network, tmp_path):
    found = Group(tmp_path)
    yield found
    found.close()
    for name in (A, B):
        ip("link", "set", "eth0", "mtu", "9000", namespace=name)


@pytest.mark.long
def test_a_group_is_confirmed_together_and_shows_no_secrets(group):
    code, output = group.play("--diff")
    assert code == 0, output
    assert group.state() == {"a": AFTER, "b": AFTER}
    assert "+    mtu 8000" in output and "wpa-psk" not in output
    code, output = group.play("--diff")
    assert code == 0 and "changed=0" in output and "changed=1" not in output


@pytest.mark.long
def test_a_host_that_failed_before_turns_the_others_back(group):
    down = {"ansible.builtin.fail": {"msg": "an earlier task"}, "when": "inventory_hostname == 'a'"}
    code, output = group.play(first=[down])
    assert code and "a has no result: it failed earlier or was left out" in output and "The old MTU is back." in output
    assert group.state() == {"a": BEFORE, "b": BEFORE}


@pytest.mark.long
def test_one_host_alone_proves_nothing_and_goes_back_unless_that_is_waived_or_an_address_is_named(group):
    code, output = group.play(hosts="a")
    assert code and "a eth0: nothing proves its MTU" in output
    assert group.state() == {"a": BEFORE, "b": BEFORE}
    code, output = group.play(hosts="a", host_mtu_links=[{"name": "eth0", "mtu": 8000, "may_be_unproved": True}])
    assert code == 0, output
    assert group.state() == {"a": AFTER, "b": BEFORE}
    code, output = group.play(hosts="b", host_mtu_addresses=[{"address": "10.98.0.1", "link": "eth0"}])
    assert code == 0, output
    assert group.state() == {"a": AFTER, "b": AFTER}


def test_one_host_that_cannot_write_its_files_turns_the_others_back(group):
    """There is no room for another file in its /etc/network."""
    group.inside("a", "cp /etc/network/interfaces /etc/x; mount -t tmpfs -o size=4k tmpfs /etc/network; cp /etc/x /etc/network/interfaces")
    code, output = group.play()
    assert code and "No space left on device" in output and "a could not keep its MTU over a boot" in output, output
    assert group.state() == {"a": BEFORE, "b": BEFORE}
    assert group.inside("a", "ls -A /etc/network") == "interfaces\n"
