# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The thread that renews a Lease: what the server refuses now may succeed later, and a task that is told to stop ends it without a word."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _lease as lease
from ansible_collections.slipway.mlops.plugins.module_utils._model import Conflict, Ref, Stopped
from fakes import FakeCluster

CLAIM = lease.Claim(Ref("coordination.k8s.io/v1", "Lease", "kube-system", "turn"), "me", "m")


class Refusing(FakeCluster):
    """Refuses twice, then the task is told to stop."""

    asked = 0

    def patch(self, *_unused, **_more):
        self.asked += 1
        if self.asked < 3:
            raise Conflict("the object has been modified", 409)
        raise Stopped


def test_it_goes_on_after_a_refusal_and_ends_when_the_task_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_RENEW", 0.001)
    cluster, told = Refusing(), []
    monkeypatch.setattr(threading, "excepthook", told.append)
    thread = threading.Thread(target=lease._renew, args=(cluster, CLAIM, threading.Event()))
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and cluster.asked == 3 and told == []
