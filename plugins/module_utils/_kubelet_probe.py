# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the kubelet of this host is configured. Reads files and /proc, changes nothing, spawns nothing."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import _files, _processes
from . import _kubelet_yaml as kubelet_yaml
from ._config_text import Unreadable, decode
from ._host_input import Refused

PROGRAMS = ("kubelet", "kubelite", "k3s", "rke2")
SYSCTL_FLAG = "allowed-unsafe-sysctls"

# Where a flag may come from: what kubeadm, kubespray and the distributions' packages give to the unit as EnvironmentFile.
ENVIRONMENT_FILES = (
    "/etc/kubernetes/kubelet.env",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
)
MICROK8S_FLAGS = "/var/snap/microk8s/current/args/kubelet"
# Distribution -> (its kubelet drop-ins, its own configuration, the units that may carry it).
RANCHER = {
    "k3s": ("/var/lib/rancher/k3s/agent/etc/kubelet.conf.d", "/etc/rancher/k3s/config.yaml"),
    "rke2": ("/var/lib/rancher/rke2/agent/etc/kubelet.conf.d", "/etc/rancher/rke2/config.yaml"),
}


@dataclass(frozen=True)
class Kubelet:
    """What decides this kubelet's configuration. Paths are as on the host; `files` holds what they contain (None: absent)."""

    flavor: str  # kubelet, microk8s, k3s, rke2 or k0s
    pid: int
    unit: str
    node: str  # the name it registers, as far as the host can tell
    machine_id: str
    config: str | None  # --config
    config_dir: str | None  # --config-dir
    flag: str | None  # --allowed-unsafe-sysctls of the running process
    endpoint: str | None  # --container-runtime-endpoint
    healthz: str | None
    files: dict[str, bytes | None] = field(default_factory=dict)
    unread: tuple[str, ...] = ()  # files that were changed after this kubelet started, so that it has never run with them


def probe(root: str = "/") -> Kubelet:
    """The one kubelet of this host; Refused where there is none, or more than one."""
    found = _processes.find(PROGRAMS, root)
    # k3s and rke2 run their helpers under the same name.
    found = [process for process in found if os.path.basename(process.argv[0]) in ("kubelet", "kubelite") or _is_rancher(process)]
    # RKE2's kubelet is a child of its supervisor: the child has the flags, the supervisor's name tells the flavor.
    children = [process for process in found if os.path.basename(process.argv[0]) == "kubelet"]
    if children:
        found = children
    if not found:
        raise Refused(["no kubelet runs on this host: start it first, since a change that no kubelet reads cannot be proved."])
    if len(found) > 1:
        raise Refused(["{} kubelets run on this host (pids {}): which one is meant?".format(len(found), ", ".join(str(p.pid) for p in found))])
    process = found[0]
    flavor = _flavor(process)
    config, folder = process.flag("config"), process.flag("config-dir")
    paths = list(ENVIRONMENT_FILES)
    if flavor == "microk8s":
        config, folder, paths = None, None, [MICROK8S_FLAGS]
    elif flavor in RANCHER:
        its_folder, own = RANCHER[flavor]
        # k3s gives its in-process kubelet this folder since 1.32; before, there is none.
        folder = folder or (its_folder if os.path.isdir(_files.under(root, its_folder)) else None)
        paths = [own] + _listed(root, own + ".d", ".yaml")
    if config:
        paths.append(config)
    drop_ins = _listed(root, folder, ".conf") if folder else []
    paths += drop_ins
    files = {path: _files.read(_files.under(root, path)) for path in paths}
    return Kubelet(
        flavor=flavor,
        pid=process.pid,
        unit=process.unit,
        node=process.flag("hostname-override") or _text(root, "/proc/sys/kernel/hostname").lower() or socket.gethostname().lower(),
        machine_id=_text(root, "/etc/machine-id"),
        config=config,
        config_dir=folder,
        flag=_microk8s_flag(root) if flavor == "microk8s" else process.flag(SYSCTL_FLAG),
        endpoint=process.flag("container-runtime-endpoint"),
        healthz=_healthz(process, [files[path] for path in ([config] if config else []) + drop_ins]),
        files=files,
        unread=tuple(path for path in paths if process.started and changed_at(_files.under(root, path)) > process.started + 2),
    )


def _healthz(process: _processes.Process, documents: Sequence[bytes | None]) -> str | None:
    """Where this kubelet answers whether it is well, by its files (the last one that says it counts) and flags; None where that is switched off."""
    address, port = "127.0.0.1", "10248"
    for document in documents:
        with contextlib.suppress(Unreadable):  # the plan tells
            text = decode(document or b"")
            address = kubelet_yaml.read_scalar(text, "healthzBindAddress") or address
            port = kubelet_yaml.read_scalar(text, "healthzPort") or port
    address = process.flag("healthz-bind-address") or address
    port = process.flag("healthz-port") or port
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - read, not bound
    return None if port == "0" else "http://{}:{}/healthz".format("[" + address + "]" if ":" in address else address, port)


def changed_at(path: str) -> float:
    """When a file was last written, seconds since the epoch; 0 for an absent one."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0


def _flavor(process: _processes.Process) -> str:
    program, line = os.path.basename(process.argv[0].split(" ")[0]), " ".join(process.argv)
    if program == "kubelite":
        return "microk8s"
    for name in ("rke2", "k3s"):
        if program == name or f"/rancher/{name}/" in line:
            return name
    return "k0s" if "/k0s/" in line else "kubelet"


def _is_rancher(process: _processes.Process) -> bool:
    words = " ".join(process.argv[:2]).split(" ")
    return len(words) > 1 and words[1] in ("server", "agent")


def _microk8s_flag(root: str) -> str | None:
    for line in _text(root, MICROK8S_FLAGS).splitlines():
        name, equals, value = line.strip().partition("=")
        if name == "--" + SYSCTL_FLAG and equals:
            return value
    return None


def _listed(root: str, folder: str, ending: str) -> list[str]:
    """Files below a folder in the lexical order of whole paths, as the kubelet's WalkDir gives them."""
    top, found = _files.under(root, folder), []
    for base, _folders, names in os.walk(top):
        found += [os.path.join(folder, os.path.relpath(os.path.join(base, name), top)) for name in names if name.endswith(ending)]
    return sorted(found, key=lambda path: path.split("/"))


def _text(root: str, path: str) -> str:
    return (_files.read(_files.under(root, path)) or b"").decode("utf-8", "replace").strip()
