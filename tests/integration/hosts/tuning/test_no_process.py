# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On a host where nothing is to change, a module reads files and is done: it starts no program, and takes milliseconds."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]

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


def defaults(role):
    return yaml.safe_load((ROOT / "roles" / role / "defaults/main.yml").read_text())


@pytest.fixture
def machine(tmp_path):
    """A host of plain files with what this machine's kernel says of the role's default settings: the machine itself must stay as it is."""
    root = tmp_path / "root"
    values = defaults("host_sysctl")["host_sysctl_values"]
    for key in ["meminfo", *("sys/" + value["name"].replace(".", "/") for value in values)]:
        (root / "proc" / key).parent.mkdir(parents=True, exist_ok=True)
        real = Path("/proc", key)
        (root / "proc" / key).write_text(real.read_text() if real.exists() else "0\n")
    for folder in ("etc/sysctl.d", "usr/lib/sysctl.d"):
        if Path("/", folder).is_dir():
            shutil.copytree(Path("/", folder), root / folder, ignore_dangling_symlinks=True)
    return root


@pytest.mark.parametrize("module", ["sysctl_values", "block_queues", "link_mtu"])
def test_an_unchanged_host_costs_less_than_50_milliseconds(module, tmp_path, loops, machine):
    """CPU time of another run of the whole module, from options to result, with the roles' own defaults."""
    from ansible_collections.slipway.mlops.plugins.module_utils import _netlink, _open_files, _run_block_queues, _run_link_mtu, _run_sysctl_values

    def sysctl():
        options = _run_sysctl_values.ARGUMENTS["values"]["options"]
        values = [{**{name: option.get("default") for name, option in options.items()}, **value} for value in defaults_of_sysctl["host_sysctl_values"]]
        params = {"values": values, "file": "/etc/sysctl.d/99-zz-slipway.conf", "former_files": [], "remove_files": [], "open_files": 262144}
        _open_files.probe()  # of this machine's processes: the host of plain files has none
        return _run_sysctl_values.run(params, False, True, f"{machine}/")

    def queues():
        settings = {kind: defaults_of_queues[f"host_io_scheduler_{kind}"] for kind in ("rotational", "ssd", "nvme")}
        params = {"devices": loops, **settings, "device_settings": [], "rule_file": str(tmp_path / "x.rules")}
        return _run_block_queues.run(params, False, True)

    def mtu():
        links = [{"name": link.name, "mtu": link.mtu, "may_be_unproved": True} for link in _netlink.links() if not link.kind and link.name != "lo"]
        params = {"step": "change", "links": links, "is_persistent": False, "confirm_within": 60, "addresses": []}
        return _run_link_mtu.run({**params, "cni_mtu": None, "cni_encapsulation": "none"}, False, True)

    defaults_of_sysctl, defaults_of_queues = defaults("host_sysctl"), defaults("host_io_scheduler")
    call = {"sysctl_values": sysctl, "block_queues": queues, "link_mtu": mtu}[module]
    assert call()["changed"] is (module != "link_mtu")
    spent = []
    for _round in range(7):
        start = time.process_time()
        result = call()
        spent.append(time.process_time() - start)
    assert result["changed"] is False
    assert statistics.median(spent) < 0.05, spent
