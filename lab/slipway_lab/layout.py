# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names, addresses and places of one lab. Everything the lab touches on the machine is derived from here."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from slipway_lab import pins
from slipway_lab.errors import LabError

DEFAULT_NAME = "slipway-lab"
DEFAULT_SUBNET = "10.89.77.0/24"
REGISTRY_NAME = "registry.lab:5000"  # in image names; containerd's hosts.toml maps it to the real address
REGISTRY_PORT = 5000
POD_CIDR = "10.244.0.0/16"  # node k of the plan owns 10.244.k.0/24
SERVICE_CIDR = "10.96.0.0/12"
DISKS_PER_NODE = 2
MAX_WORKERS = 32
FIRST_NODE, FIRST_HOST = 11, 101  # last octets
PROCESSES = ("registry", "kwok", "guest")  # that run on the machine itself


@dataclass(frozen=True)
class Node:
    """One container that behaves like a machine: a Kubernetes node or a plain ssh host."""

    name: str
    address: str
    index: int
    role: str  # control-plane | worker | host
    disk_bytes: int = 0
    kubernetes: bool = True

    @property
    def pod_cidr(self) -> str:
        return f"10.244.{self.index}.0/24"


@dataclass(frozen=True)
class Lab:
    """Where a lab lives: its name, its subnet, its clone and the caches that it shares with other clones."""

    name: str
    subnet: str
    workers: int
    clone: Path
    cache: Path
    images: tuple[str, ...] = tuple(pins.IMAGES)

    @property
    def sources(self) -> Path:
        return Path(__file__).resolve().parent.parent

    @property
    def state(self) -> Path:
        return self.clone / ".lab" if self.name == DEFAULT_NAME else self.clone / ".lab" / self.name

    @property
    def runtime(self) -> Path:
        """Gone after a reboot, like the processes and kernel settings that are recorded there."""
        return Path("/run/slipway-lab") / self.name

    @property
    def lock(self) -> Path:
        """Held by the one command that changes this lab, from whatever clone."""
        return Path("/run/slipway-lab") / f"{self.name}.lock"

    @property
    def prefix(self) -> str:
        return self.subnet.rsplit(".", 1)[0]

    @property
    def gateway(self) -> str:
        return f"{self.prefix}.1"

    @property
    def registry(self) -> str:
        return f"{self.gateway}:{REGISTRY_PORT}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def ssh(self) -> Path:
        return self.state / "ssh"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def control_plane(self) -> Node:
        return Node("cp1", f"{self.prefix}.{FIRST_NODE}", 0, "control-plane")

    @property
    def worker_nodes(self) -> list[Node]:
        return [Node(f"w{i}", f"{self.prefix}.{FIRST_NODE + i}", i, "worker", disk_bytes=2 << 30) for i in range(1, self.workers + 1)]

    @property
    def nodes(self) -> list[Node]:
        return [self.control_plane, *self.worker_nodes]

    def hosts(self, count: int) -> list[Node]:
        return [Node(f"h{i}", f"{self.prefix}.{FIRST_HOST + i - 1}", 0, "host", disk_bytes=512 << 20, kubernetes=False) for i in range(1, count + 1)]

    def container(self, node: Node) -> str:
        return f"{self.name}-{node.name}"

    def disk_file(self, node: Node, disk: int) -> Path:
        return self.state / "disks" / f"{self.name}-{node.name}-disk{disk}.img"


def from_environment(clone: Path, environ: dict[str, str] | None = None) -> Lab:
    """The lab that LAB_NAME, LAB_SUBNET, LAB_WORKERS and LAB_IMAGES describe; all their mistakes at once."""
    env = dict(os.environ if environ is None else environ)
    problems = []
    name = env.get("LAB_NAME") or DEFAULT_NAME
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", name):
        problems.append(f"LAB_NAME={name!r}: must be a DNS label of 2 to 22 characters")
    subnet = env.get("LAB_SUBNET") or DEFAULT_SUBNET
    try:
        network = ipaddress.IPv4Network(subnet)
        if network.prefixlen != 24 or not network.is_private:
            problems.append(f"LAB_SUBNET={subnet!r}: must be a private /24 such as {DEFAULT_SUBNET}")
        elif network.overlaps(ipaddress.IPv4Network(POD_CIDR)) or network.overlaps(ipaddress.IPv4Network(SERVICE_CIDR)):
            problems.append(f"LAB_SUBNET={subnet!r}: overlaps the pods ({POD_CIDR}) or the services ({SERVICE_CIDR})")
    except ValueError as e:
        problems.append(f"LAB_SUBNET={subnet!r}: {e}")
    workers = env.get("LAB_WORKERS") or "3"
    if not workers.isdigit() or not 1 <= int(workers) <= MAX_WORKERS:
        problems.append(f"LAB_WORKERS={workers!r}: must be a number from 1 to {MAX_WORKERS}")
    wanted = env.get("LAB_IMAGES")
    images = tuple(pins.IMAGES) if wanted is None else tuple(n for n in re.split(r"[,\s]+", wanted) if n and n != "none")
    unknown = [n for n in images if n not in pins.IMAGES]
    if unknown:
        problems.append(f"LAB_IMAGES: no image named {', '.join(unknown)}; there are {', '.join(pins.IMAGES)} (or none)")
    if problems:
        raise LabError("\n".join(problems))
    cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or "/root") / ".cache") / "slipway-lab"
    return Lab(name=name, subnet=subnet, workers=int(workers), clone=clone.resolve(), cache=cache, images=images)
