# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On a host where nothing is to change, a module reads files and is done: it starts no program, and takes milliseconds."""

from __future__ import annotations

import statistics
import time

import pytest

# Python's own audit events of everything that starts a program end the run; AnsiballZ itself needs none.
COUNTER = """import sys
def hook(event, args):
    if event in ('subprocess.Popen', 'os.fork', 'os.forkpty', 'os.exec', 'os.posix_spawn', 'os.system'):
        raise RuntimeError('spawned: ' + event)
sys.addaudithook(hook)
"""


@pytest.mark.long
def test_unchanged_hosts_spawn_nothing(hosts, tmp_path):
    name = hosts.names[0]
    disk = f"/dev/disk/by-id/slipway-lab-{name}-disk0"
    tasks = [
        {"slipway.mlops.sysctl_values": {"values": [{"name": "net.core.somaxconn", "value": 4096, "match": "floor"}]}},
        {"slipway.mlops.block_queues": {"devices": [disk], "rotational": {"read_ahead_kb": 512}, "ssd": {"read_ahead_kb": 512}}},
        {"slipway.mlops.link_mtu": {"links": [{"name": "eth0", "mtu": 1500}], "is_persistent": False}},
    ]
    files = "/etc/sysctl.d/99-zz-slipway.conf /etc/udev/rules.d/99-slipway-block-queues.rules"
    hosts.ssh(name, f"mkdir -p /run/slipway-test && cat > /run/slipway-test/sitecustomize.py <<'EOF'\n{COUNTER}EOF")
    try:
        assert hosts.run(tasks, hosts=[name], folder=tmp_path).rc == 0
        proof = {"ansible.builtin.command": "true", "ignore_errors": True}
        again = hosts.run([*tasks, proof], hosts=[name], folder=tmp_path, environment={"PYTHONPATH": "/run/slipway-test"})
        assert again.rc == 0, again.output
        assert again.changed() == {name: 0}
        assert "spawned: subprocess.Popen" in again.output, "the hook does not count"
    finally:
        hosts.ssh(name, f"rm -rf /run/slipway-test {files}")


@pytest.mark.parametrize("module", ["sysctl_values", "block_queues", "link_mtu"])
def test_an_unchanged_host_costs_less_than_50_milliseconds(module, tmp_path, loops):
    """Here, on this machine: CPU time of another run of the whole module, from options to result."""
    from ansible_collections.slipway.mlops.plugins.module_utils import _run_block_queues, _run_link_mtu, _run_sysctl_values

    def sysctl():
        defaults = {"memory_percent": None, "link_seconds": None, "unit": "bytes", "minimum": None, "maximum": None, "optional": True, "reason": ""}
        names = [f"net.ipv4.tcp_{name}" for name in ("sack", "timestamps", "fin_timeout", "keepalive_time", "syn_retries", "retries1", "retries2", "fack")]
        values = [{**defaults, "name": name, "value": 0, "match": "floor"} for name in names]
        params = {"values": values, "file": str(tmp_path / "x.conf"), "former_files": [], "remove_files": [], "open_files": 0}
        return _run_sysctl_values.run(params, True, True)

    def queues():
        settings = {"read_ahead_kb": 128}
        params = {"devices": loops, "rotational": settings, "ssd": settings, "nvme": None, "device_settings": [], "rule_file": str(tmp_path / "x.rules")}
        return _run_block_queues.run(params, False, True)

    def mtu():
        params = {"step": "change", "links": [], "is_persistent": True, "confirm_within": 60, "addresses": [], "cni_mtu": None, "cni_encapsulation": "none"}
        return _run_link_mtu.run(params, False, True)

    call = {"sysctl_values": sysctl, "block_queues": queues, "link_mtu": mtu}[module]
    call()
    spent = []
    for _round in range(7):
        start = time.process_time()
        result = call()
        spent.append(time.process_time() - start)
    assert module == "sysctl_values" or result["changed"] is False
    assert statistics.median(spent) < 0.05, spent
