# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What comes back by itself: a stopped worker, a restarted kubelet, a restarted containerd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lab_under_test import RunningLab, is_ready, pod, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.disturb]


@pytest.fixture
def worker(lab: RunningLab) -> str:
    return lab.layout.worker_nodes[-1].name


def container_of(lab: RunningLab, namespace: str, name: str) -> tuple[str, int]:
    status = lab.get("pod", name, "-n", namespace)["status"]["containerStatuses"][0]
    return status["containerID"], status["restartCount"]


def test_pods_outlive_a_restart_of_kubelet_and_of_containerd(lab: RunningLab, namespace: str, worker: str, pods_ready: Callable[..., Any]) -> None:
    lab.apply(pod("stays", namespace, worker, "exec sleep 100000"))
    pods_ready(namespace, "stays")
    before = container_of(lab, namespace, "stays")
    for service in ("kubelet", "containerd"):
        lab.on(worker, f"systemctl restart {service}")
        wait_until(f"{service} is back", lambda service=service: lab.on(worker, f"systemctl is-active {service} || true").strip() == "active")
        # The pod answers through kubelet and containerd again, and it is the very same container.
        wait_until("exec works", lambda: lab.kubectl("-n", namespace, "exec", "stays", "--", "echo", "here", check=False).strip() == "here")
        wait_until("the node is Ready", lambda: is_ready(lab.get("node", worker)))
        assert container_of(lab, namespace, "stays") == before


@pytest.mark.long
def test_a_worker_that_was_stopped_returns_with_its_pods_and_disks(lab: RunningLab, namespace: str, worker: str, pods_ready: Callable[..., Any]) -> None:
    lab.apply(pod("returns", namespace, worker, "exec sleep 100000"))
    pods_ready(namespace, "returns")
    links = "ls /dev/disk/by-id"
    disks = lab.on(worker, links)
    lab.podman("stop", "--time", "20", lab.container(worker))
    try:
        wait_until("the node is seen as not ready", lambda: not is_ready(lab.get("node", worker)))
    finally:
        lab.podman("start", lab.container(worker))
    wait_until("the node is Ready again", lambda: is_ready(lab.get("node", worker)))
    pods_ready(namespace, "returns", seconds=300)
    wait_until("exec works", lambda: lab.kubectl("-n", namespace, "exec", "returns", "--", "echo", "here", check=False).strip() == "here")
    assert lab.on(worker, links) == disks
