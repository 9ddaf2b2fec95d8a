# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a failed container wrote is told without the values of the Secrets that its pod uses, wherever the pod names them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._health import judge
from ansible_collections.slipway.mlops.plugins.module_utils._last_words import last_words
from ansible_collections.slipway.mlops.plugins.module_utils._model import Ref
from fakes import FakeCluster

POD = Ref("v1", "Pod", "team", "p")
KEY = "-----BEGIN KEY-----\ncanary-one\n  canary-two\n-----END KEY-----\n"


def cluster_with(**spec: Any) -> FakeCluster:
    made = FakeCluster()
    data = {"key": base64.b64encode(KEY.encode()).decode()}
    made.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "team"}, "data": data})
    status = {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 1}}}]}
    made.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team"}, "spec": spec, "status": status})
    made.logs_of["p"] = "cannot use\n  canary-two\n-----END KEY-----\nnor this: canary-one."
    return made


def told(cluster: FakeCluster) -> list[str]:
    pods = {POD: cluster.objects[POD]}
    return last_words(cluster, [POD], pods, pods)


WAYS = {
    "variable": {"containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}}]}]},
    "variables": {"containers": [{"envFrom": [{"secretRef": {"name": "s"}}]}]},
    "volume": {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
    "projected": {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]},
}


@pytest.mark.parametrize("way", WAYS)
def test_no_line_of_a_secret_is_told(way: str) -> None:
    assert told(cluster_with(**WAYS[way])) == ["last lines of p, container c:", "  cannot use", "  ***", "  ***", "  nor this: ***."]


@pytest.mark.parametrize(("way", "shown"), [("variable", False), ("volume", False), (None, True)])
def test_a_message_that_may_be_the_log_is_not_the_reason_where_the_pod_has_secrets(way: str | None, shown: bool) -> None:
    policy = {"name": "c", "terminationMessagePolicy": "FallbackToLogsOnError"}
    spec = WAYS[way] if way else {}
    cluster = cluster_with(**{**spec, "containers": [{**(spec.get("containers") or [{}])[0], **policy}]})
    [ended] = cluster.objects[POD]["status"]["containerStatuses"]
    ended["state"]["terminated"]["message"] = "cannot use canary-one"
    reason = judge(cluster.objects[POD]).reason
    assert "exit code 1" in reason and ("canary-one" in reason) is shown
    assert "canary" not in "".join(told(cluster)) or shown


def test_nothing_is_told_where_the_secrets_may_not_be_read() -> None:
    cluster = cluster_with(**WAYS["volume"])
    cluster.forbidden.add(("get", "Secret"))
    words = told(cluster)
    assert len(words) == 1 and "not shown" in words[0] and "Secrets" in words[0]


def test_a_secret_that_is_not_there_hides_nothing() -> None:
    cluster = cluster_with(**WAYS["volume"])
    cluster.drop(Ref("v1", "Secret", "team", "s"))
    assert len(told(cluster)) == 5


@pytest.mark.parametrize("gone", [False, True])
def test_a_log_that_the_kubelet_has_just_removed_is_no_word_of_the_container(monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    """It answers 200, and with an error of its own as the text, while a container is being restarted."""
    cluster = cluster_with()
    asked = []

    def logs(namespace: str, pod: str, container: str, lines: int, previous: bool) -> str:
        asked.append(previous)
        lost = f'failed to try resolving symlinks in path "/var/log/pods/{namespace}_{pod}/c/1.log": no such file or directory'
        return lost if gone or len(asked) == 1 else "no database"

    monkeypatch.setattr(cluster, "logs", logs)
    assert told(cluster) == ([] if gone else ["last lines of p, container c:", "  no database"])
    assert asked == [False, True]
