# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plain ssh hosts h1 to hN without Kubernetes: for tests of host roles, and for those that break a host."""

from __future__ import annotations

from pathlib import Path

from slipway_lab import disks, nodes
from slipway_lab.layout import Lab, Node
from slipway_lab.nodes import write_if_other

MAX_HOSTS = 100


def present(lab: Lab) -> dict[str, str]:
    """Name of each host that exists -> its state."""
    return {name.removeprefix(f"{lab.name}-"): c["State"] for name, c in nodes.containers(lab).items() if c["Labels"].get(nodes.LABEL_KIND) == "host"}


def resize(lab: Lab, count: int, image: str) -> None:
    """Makes h1 to h<count> run and removes all others, disks included."""
    wanted = lab.hosts(count)
    surplus = set(present(lab)) - {n.name for n in wanted}
    nodes.in_parallel(lambda name: _remove(lab, name), sorted(surplus))
    nodes.in_parallel(lambda n: nodes.ensure(lab, n, image), wanted)
    nodes.wait_for_ssh(wanted)
    _write_inventory(lab, wanted)


def _remove(lab: Lab, name: str) -> None:
    nodes.remove(lab, Node(name, "", 0, "host"))
    disks.detach(lab, name)


def inventory_path(lab: Lab) -> Path:
    return lab.state / "hosts.yml"


def _write_inventory(lab: Lab, wanted: list[Node]) -> None:
    if not wanted:
        inventory_path(lab).unlink(missing_ok=True)
        return
    lines = ["# Made by `lab/lab hosts`.", "all:", "  vars:", "    ansible_user: root", f"    ansible_ssh_private_key_file: {lab.ssh}/id_ed25519"]
    lines += [f"    ansible_ssh_common_args: -o UserKnownHostsFile={lab.ssh}/known_hosts -o HostKeyAlgorithms=ssh-ed25519 -o IdentitiesOnly=yes"]
    lines += ["    ansible_python_interpreter: /usr/bin/python3", "  hosts:"]
    lines += [f"    {n.name}: {{ansible_host: {n.address}}}" for n in wanted]
    write_if_other(inventory_path(lab), "\n".join(lines) + "\n", 0o600)
