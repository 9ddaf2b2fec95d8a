# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures over the running lab of this clone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lab_under_test import RunningLab, is_ready, wait_until


@pytest.fixture(scope="session")
def lab() -> RunningLab:
    running = RunningLab()
    if not running.kubeconfig.exists():
        pytest.skip("the lab is not up (make lab)")
    return running


@pytest.fixture(scope="module")
def namespace(lab: RunningLab) -> Iterator[str]:
    name = f"lab-{uuid.uuid4().hex[:8]}"
    lab.kubectl("create", "namespace", name)
    wait_until("the default service account", lambda: lab.kubectl("-n", name, "get", "serviceaccount", "default", "-o", "name", check=False))
    yield name
    lab.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def pods_ready(lab: RunningLab) -> Callable[..., list[dict[str, Any]]]:
    def ready(namespace: str, *names: str, seconds: float = 180) -> list[dict[str, Any]]:
        def look() -> list[dict[str, Any]] | None:
            records = [lab.get("pod", name, "-n", namespace) for name in names]
            return records if all(map(is_ready, records)) else None

        return wait_until(f"pods {', '.join(names)} are ready", look, seconds)

    return ready
