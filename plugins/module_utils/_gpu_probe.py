# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host knows of its NVIDIA GPUs, from the bus up to the container engine. Reads alone; nvidia-smi is not needed.

Formats: /proc/driver/nvidia/{version,gpus}, /dev/nvidia* of the driver's README ("The /proc interface", "Device nodes").
"""

from __future__ import annotations

import glob
import os
import re
from typing import Any

from . import _files, _runtime_probe
from ._host_input import Refused

ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "default": "/usr/bin/nvidia-container-runtime"},
    "engine": {"type": "str", "choices": ["auto", "containerd", "docker", "crio"], "default": "auto"},
}
_VERSION = re.compile(rb"Kernel Module[^\n]*?\s([0-9]+\.[0-9.]+)\s")
_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/run/nvidia/driver/usr/lib/x86_64-linux-gnu")


def info(path: str, engine: str = "auto", root: str = "/") -> dict[str, Any]:
    """The facts that the links of the chain are judged by."""
    version = _VERSION.search(_files.read(_files.under(root, "/proc/driver/nvidia/version")) or b"")
    facts: dict[str, Any] = {
        "gpus": _runtime_probe.gpus(root),
        "bound": _bound(root),
        "driver": version.group(1).decode() if version else "",
        "driver_gpus": len(glob.glob(_files.under(root, "/proc/driver/nvidia/gpus/*"))),
        "library": _library(root),
        "devices": sorted(name for name in _names(root, "/dev/nvidia*") if re.fullmatch(r"nvidia([0-9]+|ctl|-uvm)", name)),
        "toolkit": path,
        "toolkit_is_executable": os.access(_files.under(root, path), os.X_OK),
        "engine": "",
        "engine_problem": "",
        "handlers": [],
        "node": "",
        "machine_id": "",
    }
    try:
        runtime = _runtime_probe.probe(engine, root)
    except Refused as refused:
        return {**facts, "engine_problem": " ".join(refused.problems)}
    facts.update(engine=runtime.engine, node=runtime.node, machine_id=runtime.machine_id)
    if runtime.status:
        facts.update(handlers=sorted(runtime.status.handlers), engine_problem=runtime.status.problem)
    elif runtime.socket:
        facts["engine_problem"] = f"nobody answers at {runtime.socket}"
    return facts


def _bound(root: str) -> dict[str, str]:
    """GPU -> the kernel driver that holds it."""
    return {
        gpu: os.path.basename(os.readlink(link))
        for gpu in _runtime_probe.gpus(root)
        for link in [_files.under(root, f"/sys/bus/pci/devices/{gpu}/driver")]
        if os.path.islink(link)
    }


def _library(root: str) -> str:
    """Version of the driver's user-space library, by its file's name; "" where it is not found."""
    for folder in _LIBRARIES:
        for name in _names(root, folder + "/libnvidia-ml.so.*"):
            version = name[len("libnvidia-ml.so.") :]
            if "." in version:
                return version
    return ""


def _names(root: str, pattern: str) -> list[str]:
    return sorted(os.path.basename(path) for path in glob.glob(_files.under(root, pattern)))
