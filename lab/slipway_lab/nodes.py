# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's machines: systemd containers on a network of their own, reached by ssh with a generated key."""

from __future__ import annotations

import concurrent.futures
import json
import re
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from slipway_lab import disks
from slipway_lab.containers import ULIMITS, execute, inspect, podman, podman_ok
from slipway_lab.errors import LabError
from slipway_lab.layout import MAX_WORKERS, Lab, Node
from slipway_lab.progress import current_log, logging_to
from slipway_lab.shell import run

LABEL_NAME, LABEL_STATE, LABEL_IMAGE, LABEL_KIND = (f"slipway.lab/{x}" for x in ("name", "state", "image", "kind"))


def in_parallel(work: Callable[[Any], Any], items: Iterable[Any], width: int = 4) -> list[Any]:
    """Results of `work` over all items, in order; the first error after all have ended."""
    log = current_log()

    def call(item: Any) -> Any:
        with logging_to(log):
            return work(item)

    with concurrent.futures.ThreadPoolExecutor(width) as pool:
        futures = [pool.submit(call, item) for item in items]
    return [f.result() for f in futures]


def make_keys(lab: Lab) -> None:
    """The user's key, the key that all machines show, and files that make `ssh -F` just work."""
    lab.ssh.mkdir(parents=True, exist_ok=True)
    lab.ssh.chmod(0o700)
    for name in ("id_ed25519", "host_ed25519"):
        if not (lab.ssh / name).exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", lab.name, "-f", lab.ssh / name])
    write_if_other(lab.ssh / "authorized_keys", (lab.ssh / "id_ed25519.pub").read_text(), 0o600)
    host_key = " ".join((lab.ssh / "host_ed25519.pub").read_text().split()[:2])
    write_if_other(lab.ssh / "known_hosts", f"{lab.prefix}.* {host_key}\n", 0o644)
    entries = "".join(f"Host {n.name}\n  HostName {n.address}\n" for n in [*lab.nodes, *lab.hosts(100)])
    write_if_other(
        lab.ssh / "config",
        f"{entries}Host *\n  User root\n  IdentityFile {lab.ssh}/id_ed25519\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {lab.ssh}/known_hosts\n  HostKeyAlgorithms ssh-ed25519\n",
        0o600,
    )


def write_if_other(path: Path, text: str, mode: int) -> bool:
    """Writes a small file atomically unless it says this already."""
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.touch(mode=mode)
    new.chmod(mode)
    new.write_text(text)
    new.replace(path)
    return True


def ensure_network(lab: Lab) -> bool:
    if podman_ok(lab, "network", "exists", lab.name):
        return False
    podman(
        lab, "network", "create", "--driver", "bridge", "--subnet", lab.subnet, "--gateway", lab.gateway, "--disable-dns",
        "--label", f"{LABEL_NAME}={lab.name}", "--label", f"{LABEL_STATE}={lab.state}", lab.name,
    )  # fmt: skip
    return True


def containers(lab: Lab) -> dict[str, dict[str, Any]]:
    """Name -> podman's record, of all containers that carry this lab's label."""
    out = podman(lab, "ps", "--all", "--filter", f"label={LABEL_NAME}={lab.name}", "--format", "json", quiet=True)
    return {c["Names"][0]: c for c in json.loads(out or "[]")}


def volumes(lab: Lab) -> list[str]:
    """The volumes of this lab's machines; a lab whose name merely begins like ours has others."""
    ours = re.compile(rf"{re.escape(lab.name)}-(cp|w|h)\d+-var")
    return [name for name in podman(lab, "volume", "ls", "--quiet", quiet=True).split() if ours.fullmatch(name)]


def ensure(lab: Lab, node: Node, image: str) -> str:
    """Makes the machine run: 'kept', 'started' or 'created', or 'older' for one that runs from an image of other sources and stays."""
    name = lab.container(node)
    disks_changed = disks.attach(lab, node)
    known = inspect(lab, "container", name)
    status = known["State"]["Status"] if known else ""
    if known and status == "running":
        if disks_changed:
            execute(lab, name, ["/usr/local/lib/slipway-lab/link-disks"])
        return "kept" if known["Config"]["Labels"].get(LABEL_IMAGE) == image else "older"
    if status in ("exited", "stopped"):
        podman(lab, "start", name)
        return "started"
    # A container that never came to run, or a volume of one that was being made: both may be half-filled.
    remove(lab, node)
    podman(lab, "run", "--detach", *_options(lab, node, image), image)
    return "created"


def renew(lab: Lab, node: Node, image: str) -> None:
    """The same machine, made anew; its data disks stay."""
    remove(lab, node)
    ensure(lab, node, image)


def remove(lab: Lab, node: Node) -> None:
    name = lab.container(node)
    podman(lab, "rm", "--force", "--time", "0", "--volumes", "--ignore", name)
    podman(lab, "volume", "rm", "--force", f"{name}-var")


def _options(lab: Lab, node: Node, image: str) -> list[str]:
    name = lab.container(node)
    labels = {LABEL_NAME: lab.name, LABEL_STATE: str(lab.state), LABEL_IMAGE: image, LABEL_KIND: node.role}
    env = {
        "SLIPWAY_LAB_NAME": lab.name,
        "SLIPWAY_LAB_NODE": node.name,
        "SLIPWAY_LAB_ROLE": node.role,
        "SLIPWAY_LAB_INDEX": str(node.index),
        "SLIPWAY_LAB_PREFIX": lab.prefix,
    }
    options = ["--name", name, "--hostname", node.name, "--network", lab.name, "--ip", node.address, "--pull", "never"]
    options += ["--http-proxy=false"]  # a node downloads nothing, and kubeadm would look for the API server behind the proxy
    # Without a private cgroup namespace runc finds no /sys/fs/kubepods inside the node.
    options += ["--privileged", "--systemd", "always", "--cgroupns", "private", *ULIMITS]
    # /var holds containerd's snapshots, etcd and the pods' volumes: a real file system, no overlay upon an overlay.
    options += ["--volume", f"{name}-var:/var:exec,dev,suid"]
    options += ["--volume", f"{lab.ssh}/authorized_keys:/root/.ssh/authorized_keys:ro"]
    options += ["--volume", f"{lab.ssh}/host_ed25519:/etc/ssh/ssh_host_ed25519_key:ro"]
    for other in replace(lab, workers=MAX_WORKERS).nodes if node.kubernetes else []:
        options += ["--add-host", f"{other.name}:{other.address}"]
    for key, value in labels.items():
        options += ["--label", f"{key}={value}"]
    for key, value in env.items():
        options += ["--env", f"{key}={value}"]
    return options


def wait_for_ssh(nodes: Iterable[Node], seconds: float = 120) -> None:
    """Returns when every machine's sshd greets."""
    deadline = time.monotonic() + seconds
    for node in nodes:
        while True:
            try:
                with socket.create_connection((node.address, 22), timeout=2) as s:
                    s.settimeout(5)
                    if s.recv(4) == b"SSH-":
                        break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise LabError(f"{node.name}: no ssh at {node.address}:22 after {seconds:.0f} s")
            time.sleep(0.2)
