# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _gpu_links as gpu_links
from ansible_collections.slipway.mlops.plugins.module_utils._gpu_links import broken, cluster_links, host_links, visible
from ansible_collections.slipway.mlops.plugins.module_utils._gpu_probe import info

HOST: dict[str, Any] = {
    "gpus": ["0000:01:00.0", "0000:02:00.0"],
    "bound": {"0000:01:00.0": "nvidia", "0000:02:00.0": "nvidia"},
    "driver": "575.57.08",
    "driver_gpus": 2,
    "library": "575.57.08",
    "devices": ["nvidia-uvm", "nvidia0", "nvidia1", "nvidiactl"],
    "toolkit": "/usr/bin/nvidia-container-runtime",
    "toolkit_is_executable": True,
    "engine": "containerd",
    "engine_problem": "",
    "handlers": ["nvidia", "runc"],
}
CLASS = {"metadata": {"name": "nvidia"}, "handler": "nvidia", "scheduling": {"nodeSelector": {"gpu": "yes"}}}
NODE: dict[str, Any] = {"metadata": {"name": "w1", "labels": {"gpu": "yes"}}, "status": {"allocatable": {"nvidia.com/gpu": "2"}}}
PLUGIN: dict[str, Any] = {"metadata": {"name": "plugin-x"}, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
UNREADY: dict[str, Any] = {
    "metadata": {"name": "plugin-x"},
    "status": {"phase": "Running", "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}}]},
}


def test_a_host_where_all_holds() -> None:
    links = host_links(HOST, "nvidia", is_stated=False)
    assert broken(links) is None
    assert [link.name for link in links] == ["gpu", "driver", "devices", "toolkit", "handler"]


@pytest.mark.parametrize(
    ("change", "link", "says"),
    [
        ({"gpus": []}, "gpu", "no NVIDIA GPU on the PCI bus"),
        ({"driver": "", "bound": {"0000:01:00.0": "nouveau"}}, "driver", "not loaded; nouveau holds the GPU"),
        ({"driver": "", "bound": {}}, "driver", "the kernel module nvidia is not loaded"),
        ({"library": "570.1"}, "driver", "the kernel module is 575.57.08, the library 570.1"),
        ({"driver_gpus": 1}, "driver", "the driver serves 1 of 2 GPUs"),
        ({"devices": ["nvidia0", "nvidiactl"]}, "devices", "/dev has nvidia0, nvidiactl for 2 GPUs"),
        ({"devices": ["nvidia0", "nvidia1"]}, "devices", "for 2 GPUs"),
        ({"toolkit_is_executable": False}, "toolkit", "is missing or cannot be executed"),
        ({"handlers": ["runc"]}, "handler", "containerd runs without the handler nvidia; it knows runc"),
        ({"engine_problem": "nobody answers at /run/x.sock"}, "handler", "nobody answers"),
    ],
)
def test_the_first_broken_link_of_a_host(change: dict[str, Any], link: str, says: str) -> None:
    found = broken(host_links({**HOST, **change}, "nvidia", is_stated=False))
    assert found is not None
    assert found.name == link
    assert says in found.problem


def test_a_stated_gpu_is_not_looked_for_and_the_rest_is() -> None:
    bare = {**HOST, "gpus": [], "driver": "", "devices": []}
    assert broken(host_links(bare, "nvidia", is_stated=True)) is None
    assert broken(host_links({**bare, "toolkit_is_executable": False}, "nvidia", is_stated=True)) is not None


@pytest.mark.parametrize(
    ("change", "link", "says"),
    [
        ({}, "", ""),
        ({"runtime_class": None}, "runtime_class", "there is no RuntimeClass nvidia"),
        ({"runtime_class": {**CLASS, "handler": "other"}}, "runtime_class", "asks for the handler other"),
        ({"node": {**NODE, "metadata": {"name": "w1"}}}, "runtime_class", "lacks the label gpu=yes"),
        ({"plugin_pods": []}, "device_plugin", "no device plugin runs on w1"),
        ({"plugin_pods": [UNREADY]}, "device_plugin", "plugin-x is not ready: CrashLoopBackOff back-off 40s"),
        ({"expected": 4}, "allocatable", "the node offers 2 nvidia.com/gpu, expected 4"),
        ({"node": {**NODE, "status": {"allocatable": {"nvidia.com/mig-1g.10gb": "7", "cpu": "4"}}}, "expected": 7}, "", ""),
    ],
)
def test_the_first_broken_link_of_the_cluster(change: dict[str, Any], link: str, says: str) -> None:
    given: dict[str, Any] = {"runtime_class": CLASS, "node": NODE, "plugin_pods": [PLUGIN], "expected": 2, **change}
    found = broken(cluster_links(class_name="nvidia", handler="nvidia", resource="nvidia.com/gpu", **given))
    assert (found.name if found else "") == link
    assert says in (found.problem if found else "")


def test_gpus_are_counted_by_their_uuids() -> None:
    log = "GPU 0: NVIDIA H200 (UUID: GPU-1a2b)\nGPU 1: NVIDIA H200 (UUID: GPU-3c4d)\n  MIG 1g.18gb Device 0: (UUID: MIG-5e)\n"
    assert visible(log) == ["GPU-1a2b", "GPU-3c4d", "MIG-5e"]
    assert visible("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver") == []
    assert gpu_links.visible("GPU-1,GPU-1") == ["GPU-1"]


def test_a_host_is_read_from_its_files(tmp_path: Path) -> None:
    def put(path: str, text: str = "") -> None:
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    for slot, vendor, kind in (("0000:01:00.0", "0x10de", "0x030200"), ("0000:01:00.1", "0x10de", "0x040300"), ("0000:02:00.0", "0x8086", "0x030000")):
        put(f"/sys/bus/pci/devices/{slot}/vendor", vendor + "\n")
        put(f"/sys/bus/pci/devices/{slot}/class", kind + "\n")
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0/driver").symlink_to("../../../../bus/pci/drivers/nvidia")
    put("/proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  575.57.08  Thu May 2025\nGCC version: 12\n")
    put("/proc/driver/nvidia/gpus/0000:01:00.0/information")
    put("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.575.57.08")
    put("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        put(f"/dev/{name}")
    found = info("/usr/bin/nvidia-container-runtime", root=str(tmp_path))
    assert found["gpus"] == ["0000:01:00.0"]
    assert found["bound"] == {"0000:01:00.0": "nvidia"}
    assert (found["driver"], found["driver_gpus"], found["library"]) == ("575.57.08", 1, "575.57.08")
    assert found["devices"] == ["nvidia-uvm", "nvidia0", "nvidiactl"]
    assert found["toolkit_is_executable"] is False
    assert "no kubelet runs here" in found["engine_problem"]
