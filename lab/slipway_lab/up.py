# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's life: up, down, status. Every step looks first at what is there and does only what is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from slipway_lab import cluster, disks, fleet, guest, hosts, images, kernel, node_image, nodes, ownership, pins, programs, registry, requirements
from slipway_lab.cache import locked
from slipway_lab.containers import podman, podman_ok
from slipway_lab.errors import LabError
from slipway_lab.layout import PROCESSES, Lab, Node
from slipway_lab.processes import Process
from slipway_lab.progress import say, step
from slipway_lab.shell import run


def up(lab: Lab) -> None:
    """Brings the lab to its complete state from whatever is there: nothing, a half-made lab, a stopped one, a running one."""
    requirements.ensure(lab)
    with locked(lab.lock):
        _become_owner(lab)
        ownership.refuse_if_taken(lab)
        image = node_image.node_image(lab)
        archives = node_image.cluster_archives(lab)
        nodes.make_keys(lab)
        kernel.prepare(lab)
        nodes.ensure_network(lab)
        removed = _run_nodes(lab, image)
        if registry.ensure(lab):
            say("ok", f"registry at {lab.registry}")
        _form_cluster(lab, image, archives)
        cluster.forget(lab, removed)
    # Outside of the lock: the first build takes minutes, and the cluster is of use without it.
    images.publish_all(lab)


def _become_owner(lab: Lab) -> None:
    other = ownership.other_owner(lab)
    if other is None:
        return
    if other.exists() and os.environ.get("LAB_TAKE_OVER") != "1":
        raise LabError(f"the lab {lab.name} belongs to {other.parent}: end it there with `lab/lab down`, or take its place with LAB_TAKE_OVER=1")
    say("", f"taking over the lab of {other}")
    clear(lab, other)


def _refuse_another_owner(lab: Lab) -> None:
    other = ownership.other_owner(lab)
    if other is not None:
        raise LabError(f"the lab {lab.name} belongs to {other.parent}: run this there")


def _run_nodes(lab: Lab, image: str) -> list[str]:
    """Makes the planned machines run; the names of workers that were removed since the plan has no place for them."""
    surplus = _unplanned(lab)
    with step("Nodes", lab.logs, "podman and sshd"):
        for node in surplus:
            nodes.remove(lab, node)
            disks.detach(lab, node.name)
        done = nodes.in_parallel(lambda n: nodes.ensure(lab, n, image), lab.nodes)
        nodes.wait_for_ssh(lab.nodes)
    made = [f"{n.name} {what}" for n, what in zip(lab.nodes, done) if what not in ("kept", "older")]
    if made:
        say("", ", ".join(made))
    if "older" in done:
        say("", "the nodes were made from other sources than this clone has now; they stay as they are until `lab/lab reset`")
    return [n.name for n in surplus]


def _unplanned(lab: Lab) -> list[Node]:
    """Workers of an earlier, larger plan."""
    planned = {lab.container(n) for n in lab.nodes}
    found = []
    for name, c in nodes.containers(lab).items():
        if name not in planned and c["Labels"].get(nodes.LABEL_KIND) == "worker":
            found.append(Node(name.removeprefix(f"{lab.name}-"), "", 0, "worker"))
    return found


def _form_cluster(lab: Lab, image: str, archives: dict[str, Path]) -> None:
    identity = cluster.joined(lab, lab.control_plane)
    half_made = [n for n in lab.nodes if cluster.half_made(lab, n, identity)]
    if half_made:
        with step(f"New start of {' '.join(n.name for n in half_made)}, left half-made", lab.logs, "podman"):
            nodes.in_parallel(lambda n: nodes.renew(lab, n, image), half_made)
            nodes.wait_for_ssh(half_made)
    with step("Images of the cluster in its nodes", lab.logs, "containerd"):
        nodes.in_parallel(lambda n: cluster.prepare(lab, n), lab.nodes)
        nodes.in_parallel(lambda n: cluster.load_images(lab, n, archives[n.role]), lab.nodes, width=2)
    if not identity:
        with step("Control plane", lab.logs, "kubeadm init"):
            identity = cluster.init(lab)
            cluster.apply_addons(lab)
            cluster.mark_joined(lab, lab.control_plane, identity)
    cluster.fetch_kubeconfig(lab)
    _link_kubectl(lab)
    missing = [n for n in lab.worker_nodes if cluster.joined(lab, n) != identity]
    if missing:
        with step(f"Workers {' '.join(n.name for n in missing)}", lab.logs, "kubeadm join"):
            cluster.forget(lab, [n.name for n in missing])
            cluster.join(lab, missing, identity)
    with step("Cluster ready", lab.logs, "nodes, DNS and storage"):
        cluster.wait_until_ready(lab)
        cluster.set_pod_cidrs(lab)


def _link_kubectl(lab: Lab) -> None:
    link = lab.state / "bin" / "kubectl"
    link.parent.mkdir(exist_ok=True)
    target = programs.build(lab, "kubernetes") / "kubernetes"
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def down(lab: Lab) -> None:
    """Ends the lab and leaves nothing of it behind; the caches stay."""
    with locked(lab.lock):
        other = ownership.other_owner(lab)
        if other is not None and other.exists() and os.environ.get("LAB_TAKE_OVER") != "1":
            raise LabError(f"the lab {lab.name} belongs to {other.parent}: end it there")
        clear(lab, other or lab.state)


def clear(lab: Lab, state: Path) -> None:
    """Removes containers, volumes, network, loop devices and processes that carry this lab's name, and the state folder."""
    owner = Lab(name=lab.name, subnet=lab.subnet, workers=lab.workers, clone=state.parent if state.name == ".lab" else state.parent.parent, cache=lab.cache)
    with step("Down", lab.logs, "podman"):
        for name in PROCESSES:
            Process(lab, name).end()
        names = list(nodes.containers(lab))
        if names:
            podman(lab, "kill", *names, check=False)
        # Side by side: what takes long is the deletion of many small files.
        nodes.in_parallel(lambda name: podman(lab, "rm", "--force", "--time", "0", "--volumes", "--ignore", name), names)
        volumes = nodes.volumes(lab)
        nodes.in_parallel(lambda name: _remove_volume(lab, name), volumes)
        disks.detach(owner)
        if podman_ok(lab, "network", "exists", lab.name):
            podman(lab, "network", "rm", "--force", lab.name)
        kernel.put_back(lab)
    _remove_state(owner)
    with contextlib.suppress(OSError):
        shutil.rmtree(lab.runtime)


def _remove_volume(lab: Lab, name: str) -> None:
    """By rm, which is quicker than podman with the many small files of unpacked images; podman then removes the name."""
    run(["rm", "-rf", "--one-file-system", podman(lab, "volume", "inspect", "--format", "{{.Mountpoint}}", name)], quiet=True)
    podman(lab, "volume", "rm", "--force", name)


def _remove_state(owner: Lab) -> None:
    """The state folder's own entries, never another lab's below it; logs stay for those who look for what went wrong."""
    for name in ("kubeconfig", "ssh", "disks", "registry", registry.AUTH_FILE, "guest", "bin", "hosts.yml"):
        path = owner.state / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # the rest must go, too
        else:
            path.unlink(missing_ok=True)


def resize_hosts(lab: Lab, count: int) -> None:
    """Exactly `count` plain hosts, beside the cluster or without one."""
    requirements.ensure(lab)
    with locked(lab.lock):
        _become_owner(lab)
        ownership.refuse_if_taken(lab)
        image = node_image.node_image(lab)
        nodes.make_keys(lab)
        kernel.prepare(lab)
        nodes.ensure_network(lab)
        with step(f"Hosts: {count}", lab.logs, "podman and sshd"):
            hosts.resize(lab, count, image)
    if count:
        say("ok", f"inventory: {hosts.inventory_path(lab)}")


def resize_fleet(lab: Lab, count: int) -> None:
    """Exactly `count` nodes of kwok."""
    with locked(lab.lock):
        _refuse_another_owner(lab)
        if not cluster.api_healthy(lab):
            raise LabError("the cluster does not answer: run `lab/lab up` first")
        with step(f"Fleet: {count}", lab.logs, "kwok"):
            fleet.resize(lab, count)


def guest_up(lab: Lab) -> None:
    """The virtual machine, beside the cluster or without one."""
    requirements.ensure(lab, {**pins.HOST_COMMANDS, **pins.GUEST_COMMANDS})
    with locked(lab.lock):
        _become_owner(lab)
        guest.up(lab)


def guest_down(lab: Lab) -> None:
    with locked(lab.lock):
        _refuse_another_owner(lab)
        guest.down(lab)


def status(lab: Lab) -> bool:
    """Prints what runs; True when everything is as it should be."""
    other = ownership.other_owner(lab)
    if other is not None:
        print(f"the lab {lab.name} belongs to {other.parent}")
        return False
    found = nodes.containers(lab)
    if not found:
        print(f"the lab {lab.name} is down; `lab/lab up` brings it up")
        return False
    machines = {name.removeprefix(f"{lab.name}-"): c for name, c in found.items()}
    for name, c in sorted(machines.items()):
        if c["Labels"].get(nodes.LABEL_KIND) != "host":
            print(f"{name:10s} {c['Labels'].get(nodes.LABEL_KIND)}, {c['State']}")
    states = [c["State"] for c in machines.values() if c["Labels"].get(nodes.LABEL_KIND) == "host"]
    if states:
        print(f"hosts      {len(states)} plain hosts, {states.count('running')} running; inventory {hosts.inventory_path(lab)}")
    missing = cluster.what_is_missing(lab)
    answers = registry.answers(lab)
    if not answers:
        missing.append(f"the registry does not answer at {lab.registry}")
    else:
        print(f"registry   {lab.registry}, as {registry.REGISTRY_NAME}/<name>:<tag>: {', '.join(registry.published(lab)) or 'no images yet'}")
    print(f"kubeconfig {lab.kubeconfig}")
    print(f"ssh        ssh -F {lab.ssh / 'config'} <machine>")
    print("state      ready" if not missing else "state      " + "; ".join(missing))
    return not missing
