# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""gpu_runtime on a real node without a GPU: NVIDIA's own runtime, built from source, and a device plugin that only pretends.

What is not proved here, since it takes a GPU: driver, device nodes, and what NVIDIA's runtime puts into a container.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes_lab import BUSYBOX, ROOT, built, finished, image, kubectl, live, play, pod, put, ssh, until

pytestmark = [pytest.mark.lab, pytest.mark.disturb]
NODE = "w2"
CONFIG = "/etc/containerd/config.toml"
RUNTIME = "/usr/local/bin/nvidia-container-runtime"
PLUGIN = "localhost/fake-device-plugin:1"
BREAKS = "/etc/systemd/system/containerd.service.d/99-test.conf"
LABEL = "slipway.test/gpu"


def settings(**variables: Any) -> dict[str, Any]:
    """What these tests give to the role, with `variables` (without their prefix) over it."""
    return {
        "gpu_runtime_detection": "present",
        "gpu_runtime_path": RUNTIME,
        "gpu_runtime_handler": "nvidia-test",
        "gpu_runtime_class": "nvidia-test",
        "gpu_runtime_namespace": "nodes-gpu",
        "gpu_runtime_node_selector": {LABEL: "true"},
        "gpu_runtime_device_plugin_is_managed": True,
        "gpu_runtime_device_plugin_image": PLUGIN,
        "gpu_runtime_registry_auth_file": "",
        "gpu_runtime_proof_image": BUSYBOX,
        "gpu_runtime_proof_command": ["sh", "-c", "echo $FAKE_VISIBLE_DEVICES"],
        "gpu_runtime_expected_count": 2,
        "gpu_runtime_timeout_seconds": 240,
        **{f"gpu_runtime_{key}": value for key, value in variables.items()},
    }


def gpu(folder: Path, *options: str, register: str = "__gpu_runtime_result", entry: str = "main", hosts: str = NODE, **variables: Any) -> Any:
    return play(folder, hosts, "gpu_runtime", settings(**variables), register, *options, entry=entry)


@pytest.fixture(scope="module")
def toolkit(folder: Path) -> Iterator[None]:
    """NVIDIA's container runtime on the node, and the node as it was afterwards."""
    program = built("nvidia", "github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-container-runtime", "nvidia-container-runtime", cgo=True)
    put(NODE, RUNTIME, program.read_bytes(), "0755")
    yield
    ssh(NODE, f"rm -f {BREAKS}; systemctl daemon-reload")
    outcome = gpu(folder, state="absent")
    ssh(NODE, f"rm -f {RUNTIME}")
    assert outcome.returncode == 0, outcome.output
    assert LABEL not in live("node", NODE)["metadata"]["labels"]


@pytest.fixture(scope="module")
def witnesses(folder: Path) -> Iterator[str]:
    """Pods whose containers must not notice anything: the namespace that holds them."""
    name = f"nodes-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    for number in range(3):
        kubectl("-n", name, "apply", "-f", "-", text=json.dumps(pod(f"witness-{number}", NODE, "sleep 3600")))
    for number in range(3):
        finished(name, f"witness-{number}", "Running")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def configured(folder: Path, toolkit: None, witnesses: str) -> dict[str, Any]:
    before = _pods(witnesses)
    config = ssh(NODE, f"cat {CONFIG}")
    predicted = gpu(folder, "--check", "--diff")
    assert ssh(NODE, f"cat {CONFIG}") == config
    outcome = gpu(folder)
    assert outcome.returncode == 0, outcome.output
    return {"pods": before, "config": config, "predicted": predicted, "result": outcome.results[NODE]}


def _pods(namespace: str) -> dict[str, tuple[str, str]]:
    """Pods of the namespace: name -> id of the container and the time at which it began."""
    found = {}
    for item in live("pods", "-n", namespace)["items"]:
        (status,) = item["status"]["containerStatuses"]
        found[item["metadata"]["name"]] = (status["containerID"], status["state"]["running"]["startedAt"])
    return found


def test_a_host_without_a_gpu_is_skipped_with_the_reason(folder: Path) -> None:
    outcome = gpu(folder, detection="auto")
    assert outcome.returncode == 0, outcome.output
    assert outcome.results[NODE]["skip_reason"] == "no NVIDIA GPU on this host's PCI bus"
    assert LABEL not in live("node", NODE)["metadata"]["labels"]


@pytest.mark.long
def test_the_engine_gets_the_handler_and_keeps_every_other_byte_and_every_container(folder: Path, configured: dict[str, Any], witnesses: str) -> None:
    text = ssh(NODE, f"cat {CONFIG}")
    begin, end = text.index("# BEGIN slipway gpu_runtime"), text.index("# END slipway gpu_runtime\n") + len("# END slipway gpu_runtime\n")
    assert text[:begin] + text[end:] == configured["config"]
    assert configured["result"]["actions"] == configured["predicted"].results[NODE]["actions"]
    assert "nvidia-test" in configured["result"]["handlers"]
    assert len(configured["pods"]) == 3
    assert _pods(witnesses) == configured["pods"]
    again = gpu(folder)
    assert again.returncode == 0
    assert not again.changed


@pytest.fixture(scope="module")
def cluster(folder: Path, configured: dict[str, Any]) -> Iterator[None]:
    """RuntimeClass and device plugin."""
    program = built("device-plugin", ".", "fake-device-plugin")
    ssh(NODE, "ctr -n k8s.io images import -", image(program, PLUGIN))
    assert live("node", NODE)["metadata"]["labels"][LABEL] == "true"  # the role's own work
    outcome = gpu(folder, register="__gpu_runtime_cluster_result", entry="cluster", hosts="localhost")
    assert outcome.returncode == 0, outcome.output
    yield
    kubectl("delete", "namespace", "nodes-gpu", "--wait=false", check=False)
    kubectl("delete", "runtimeclass", "nvidia-test", check=False)


@pytest.mark.long
def test_a_pod_of_the_class_runs_through_nvidias_runtime_built_from_source(cluster: None, namespace: str) -> None:
    body = pod("plain", NODE, "sleep 600", runtimeClassName="nvidia-test")
    kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(body))
    uid = finished(namespace, "plain", "Running")["metadata"]["uid"]
    # The shim was told to run it with this very program.
    options = ssh(NODE, f"for t in /run/containerd/io.containerd.runtime.v2.task/k8s.io/*; do grep -ql {uid} $t/config.json && cat $t/options.json; done; true")
    assert RUNTIME in options


@pytest.mark.long
def test_every_link_holds_and_a_pod_gets_one_device_of_the_pretended_plugin(folder: Path, cluster: None) -> None:
    outcome = gpu(folder, register="__gpu_runtime_verified", entry="verify")
    assert outcome.returncode == 0, outcome.output
    proof = outcome.results[NODE]
    assert proof["ready"], proof
    assert [link["name"] for link in proof["links"]] == [
        "gpu", "driver", "devices", "toolkit", "handler", "runtime_class", "device_plugin", "allocatable", "pod",
    ]  # fmt: skip
    assert len(proof["visible"]) == 1
    assert proof["visible"][0].startswith("GPU-0000000")
    assert live("pods", "-n", "nodes-gpu", "-l", "app.kubernetes.io/name=gpu-proof")["items"] == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "link", "says"),
    [
        ({"expected_count": 3}, "allocatable", "the node offers 2 nvidia.com/gpu, expected 3"),
        ({"proof_command": ["sh", "-c", "echo no driver; exit 3"]}, "pod", "no driver"),
        ({"class": "nvidia-nowhere"}, "runtime_class", "there is no RuntimeClass nvidia-nowhere"),
        ({"path": "/usr/local/bin/nowhere"}, "toolkit", "/usr/local/bin/nowhere is missing"),
        ({"handler": "elsewhere"}, "handler", "containerd runs without the handler elsewhere"),
        ({"detection": "auto"}, "", ""),
        ({"proof_command": ["sh", "-c", "echo GPU-1 GPU-2"]}, "pod", "sees 2 GPUs"),
    ],
)
def test_the_broken_link_is_named(folder: Path, cluster: None, change: dict[str, Any], link: str, says: str) -> None:
    outcome = gpu(folder, register="__gpu_runtime_verified", entry="verify", **change)
    assert outcome.returncode == 0, outcome.output
    proof = outcome.results[NODE]
    if not link:
        assert proof["skipped"]
        return
    assert (proof["ready"], proof["broken_link"]) == (False, link)
    assert says in proof["reason"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "state", "says"),
    [
        ({}, "ready", "a pod that asked for 1 nvidia.com/gpu saw GPU-0000000"),
        ({"expected_count": 3}, "failed", "allocatable: the node offers 2 nvidia.com/gpu, expected 3"),
    ],
)
def test_the_report_of_verify_says_it(tmp_path: Path, cluster: None, change: dict[str, Any], state: str, says: str) -> None:
    variables = {**settings(**change), "slipway_workloads": [], "slipway_report_directory": str(tmp_path / "report")}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventories" / "lab"), "playbooks/verify.yml", "-e", json.dumps(variables)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert (tmp_path / "report" / "report.json").exists(), done.stdout + done.stderr
    items = json.loads((tmp_path / "report" / "report.json").read_text())["items"]
    (item,) = [item for item in items if item["area"] == "proofs"]
    assert item["where"] == f"gpu {NODE}"
    assert item["state"] == state, item
    assert says in item["reason"]


@pytest.mark.long
def test_the_plugin_comes_back_after_the_kubelet_was_restarted(folder: Path, cluster: None) -> None:
    ssh(NODE, "systemctl restart kubelet")
    until(lambda: live("node", NODE)["status"]["allocatable"].get("nvidia.com/gpu") == "2", 90)


@pytest.mark.long
def test_an_engine_that_does_not_come_up_gets_its_old_file_back(folder: Path, configured: dict[str, Any], witnesses: str) -> None:
    before = ssh(NODE, f"cat {CONFIG}")
    pods = _pods(witnesses)
    unit = f"[Service]\nExecStartPre=/bin/sh -c '! grep -q default_runtime_name.*nvidia-test {CONFIG}'\n"
    ssh(NODE, f"mkdir -p $(dirname {BREAKS}) && cat > {BREAKS} && systemctl daemon-reload", unit.encode())
    failed = gpu(folder, is_default=True, timeout_seconds=20)
    ssh(NODE, f"rm -f {BREAKS} && systemctl daemon-reload")
    assert failed.returncode != 0
    assert "The old content was put back" in failed.output
    assert ssh(NODE, f"cat {CONFIG}") == before
    assert ssh(NODE, "systemctl is-active containerd").strip() == "active"
    assert _pods(witnesses) == pods
