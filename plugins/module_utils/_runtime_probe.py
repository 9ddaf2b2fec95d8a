# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which container engine the kubelet of this host uses and how that is configured, and which GPUs there are. Changes and spawns nothing."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from dataclasses import dataclass, field
from typing import Any

from . import _cri, _crio_plan, _docker_info, _files, _kubelet_probe, _processes
from . import _kubelet_yaml as kubelet_yaml
from . import _toml as toml
from ._config_text import Unreadable, decode
from ._host_input import Refused

DAEMON_JSON = "/etc/docker/daemon.json"
_NVIDIA, _DISPLAY_CLASSES = "0x10de", ("0x0300", "0x0302")
_DEFAULT_CONFIG, _DEFAULT_SOCKET = "/etc/containerd/config.toml", "/run/containerd/containerd.sock"
_MICROK8S = "/var/snap/microk8s"
_RANCHER = re.compile(r"/var/lib/rancher/(k3s|rke2)/")


@dataclass(frozen=True)
class Runtime:
    """`files`: what decides the engine's configuration, None for absent. `status` is None where nobody answers at the CRI socket."""

    engine: str  # containerd, docker or crio
    flavor: str  # microk8s, k3s, rke2, k0s; "" for a host's own engine
    unit: str
    process: _processes.Process
    socket: str  # CRI's, "" without a kubelet's
    config: str
    drop_ins: str
    files: dict[str, bytes | None] = field(default_factory=dict)
    status: _cri.Status | None = None
    node: str = ""
    machine_id: str = ""
    unread: tuple[str, ...] = ()  # files that were changed after the engine started
    docker: dict[str, Any] | None = None  # what dockerd says of itself; None for another engine, and where it gives no answer

    @property
    def version(self) -> str:
        return self.status.version if self.status else ""


def gpus(root: str = "/") -> list[str]:
    """PCI addresses of NVIDIA's display and 3D controllers, whether or not a driver is bound."""
    found = []
    for folder in sorted(glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))):
        vendor, kind = (_files.read(os.path.join(folder, name)) or b"" for name in ("vendor", "class"))
        if vendor.decode().strip() == _NVIDIA and kind.decode().strip()[:6] in _DISPLAY_CLASSES:
            found.append(os.path.basename(folder))
    return found


def probe(engine: str = "auto", root: str = "/") -> Runtime:
    """The engine that the kubelet speaks to, or the only one; Refused where that cannot be told."""
    kubelet = _kubelet(root)
    endpoint = _endpoint(kubelet, root)
    wanted = engine if engine != "auto" else _engine(endpoint, root)
    process = _process(wanted, endpoint, root)
    match = _RANCHER.search(" ".join(process.argv))
    flavor = match.group(1) if match else "microk8s" if "/snap/microk8s/" in process.argv[0] else "k0s" if "/k0s/" in " ".join(process.argv) else ""
    config, drop_ins = _places(wanted, flavor, process)
    files = _read(wanted, config, drop_ins, root)
    socket = endpoint or (_socket(process, root) if wanted == "containerd" else "/run/crio/crio.sock" if wanted == "crio" else "")
    return Runtime(
        engine=wanted,
        flavor=flavor,
        unit=process.unit or {"containerd": "containerd.service", "docker": "docker.service", "crio": "crio.service"}[wanted],
        process=process,
        socket=socket,
        config=config,
        drop_ins=drop_ins,
        files=files,
        status=_status(socket),
        node=kubelet.node if kubelet else "",
        machine_id=kubelet.machine_id if kubelet else "",
        unread=tuple(path for path in files if process.started and _kubelet_probe.changed_at(_files.under(root, path)) > process.started + 2),
        docker=_docker() if wanted == "docker" else None,
    )


def _kubelet(root: str) -> _kubelet_probe.Kubelet | None:
    """None on a host without a kubelet: containers may be wanted there all the same."""
    try:
        return _kubelet_probe.probe(root)
    except Refused:
        return None


def _endpoint(kubelet: _kubelet_probe.Kubelet | None, root: str) -> str:
    if kubelet is None:
        return ""
    if kubelet.flavor == "microk8s":
        return _MICROK8S + "/common/run/containerd.sock"
    if kubelet.flavor in ("k3s", "rke2"):
        return "/run/k3s/containerd/containerd.sock"
    found = kubelet.endpoint
    content = kubelet.files.get(kubelet.config) if kubelet.config else None
    if not found and content:
        with contextlib.suppress(Unreadable):
            found = kubelet_yaml.read_scalar(decode(content), "containerRuntimeEndpoint")
    path = (found or "").replace("unix://", "", 1)
    return _real(path, root) if path else ""


def _engine(endpoint: str, root: str) -> str:
    if endpoint:
        name = os.path.basename(endpoint)
        return "docker" if "docker" in name else "crio" if "crio" in name else "containerd"
    running = [name for name, program in (("docker", "dockerd"), ("crio", "crio"), ("containerd", "containerd")) if _processes.find((program,), root)]
    if running[:1] == ["docker"]:  # dockerd brings a containerd of its own
        running = [name for name in running if name != "containerd"]
    if len(running) != 1:
        raise Refused([f"no kubelet runs here to tell which container engine it uses, and of engines there run {', '.join(running) or 'none'}: set `engine`."])
    return running[0]


def _process(engine: str, endpoint: str, root: str) -> _processes.Process:
    found = _processes.find(({"docker": "dockerd"}.get(engine, engine),), root)
    if engine == "containerd" and len(found) > 1:
        found = [process for process in found if _socket(process, root) == (endpoint or _DEFAULT_SOCKET)]
    if len(found) != 1:
        where = f" at {endpoint}" if endpoint else ""
        raise Refused([f"{len(found)} processes of {engine}{where} run on this host, expected one: start it, or set `engine`."])
    return found[0]


def _places(engine: str, flavor: str, process: _processes.Process) -> tuple[str, str]:
    if engine == "docker":
        return process.flag("config-file") or DAEMON_JSON, ""
    if engine == "crio":
        return _crio_plan.CONFIG, _crio_plan.DROP_INS
    if flavor == "microk8s":  # the real file is written from this one at each start
        return _MICROK8S + "/current/args/containerd-template.toml", ""
    config = process.flag("c", "config") or _DEFAULT_CONFIG
    return config, os.path.join(os.path.dirname(config), "conf.d")


def _read(engine: str, config: str, drop_ins: str, root: str) -> dict[str, bytes | None]:
    paths = [config]
    patterns = [drop_ins + "/*"] if drop_ins else []
    content = _files.read(_files.under(root, config))
    if engine == "containerd" and content:
        with contextlib.suppress(Unreadable):  # the plan tells
            imports = toml.parse(decode(content)).data.get("imports") or []
            patterns += [os.path.join(os.path.dirname(config), str(pattern)) for pattern in imports]
    for pattern in patterns:
        paths += ["/" + os.path.relpath(path, root) for path in sorted(glob.glob(_files.under(root, pattern))) if os.path.isfile(path)]
    return {path: _files.read(_files.under(root, path)) for path in paths}


def _socket(process: _processes.Process, root: str) -> str:
    """The socket of a containerd: its flag, its file, or the default."""
    address = process.flag("a", "address")
    content = _files.read(_files.under(root, process.flag("c", "config") or _DEFAULT_CONFIG))
    if not address and content:
        with contextlib.suppress(Unreadable):
            address = toml.parse(decode(content)).get(("grpc", "address"))
    return _real(address or _DEFAULT_SOCKET, root)


def _status(socket: str) -> _cri.Status | None:
    try:
        return _cri.status(socket) if socket else None
    except _cri.NoAnswer:
        return None


def _docker() -> dict[str, Any] | None:
    try:
        return _docker_info.info()
    except _docker_info.NoAnswer:
        return None


def _real(path: str, root: str) -> str:
    """/var/run is /run on every host of today, and both spellings are in use."""
    return path.replace("/var/run/", "/run/", 1) if path.startswith("/var/run/") and root == "/" else path
