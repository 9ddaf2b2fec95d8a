# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server's refusals in our words, and how long a server that does not answer is asked again."""

from __future__ import annotations

import json

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._cluster import HttpCluster, _error
from ansible_collections.slipway.mlops.plugins.module_utils._connect import Endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._http import Pool
from ansible_collections.slipway.mlops.plugins.module_utils._model import ClusterError, Refused, Response, Source, Unreachable
from fakes import FakeClock

# As servers of 1.33 say it.
STAYS = [
    "StatefulSet.apps \"db\" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    'Deployment.apps "web" is invalid: spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable',
    'Pod "p" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`',
    'StorageClass.storage.k8s.io "s" is invalid: parameters: Forbidden: updates to parameters are forbidden.',
    'RoleBinding.rbac.authorization.k8s.io "r" is invalid: roleRef: Invalid value: {"kind":"Role"}: cannot change roleRef',
]


def refusal(text: str) -> str:
    body = json.dumps({"kind": "Status", "message": text, "reason": "Invalid", "code": 422}).encode()
    return str(_error(Response(422, {}, body), "apply it"))


@pytest.mark.parametrize("text", STAYS, ids=lambda text: text.split()[0])
def test_a_field_that_stays_as_it_was_made_comes_with_the_way_out(text: str) -> None:
    assert "delete the object yourself" in refusal(text)


@pytest.mark.parametrize("details", ["no entry", ["no"], {"causes": "no"}, {"causes": ["no"]}])
def test_a_refusal_of_a_proxy_with_details_of_its_own_is_told(details: object) -> None:
    body = json.dumps({"message": "not today", "details": details}).encode()
    assert str(_error(Response(403, {}, body), "list Pod")) == "Cannot list Pod: not today"


def test_another_mistake_comes_without() -> None:
    assert "delete" not in refusal('Service "s" is invalid: spec.ports: Required value')


@pytest.mark.parametrize(("patience", "answered", "seconds"), [(60, True, 60), (60, False, 10), (5, True, 5), (5, False, 5)])
def test_a_server_that_does_not_answer_is_asked_for_as_long_as_the_task_allows(patience: float, answered: bool, seconds: float) -> None:
    clock = FakeClock()
    cluster = HttpCluster(lambda: Endpoint("http://127.0.0.1:1"), clock, patience)
    cluster._answered = answered
    with pytest.raises(Unreachable, match="attempts"):
        cluster.kinds("v1")
    assert seconds - 5 <= clock.now() <= seconds


def test_credentials_that_cannot_be_read_again_are_an_error_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = iter([Endpoint("http://h")])

    def resolve() -> Endpoint:
        for found in endpoints:
            return found
        raise Refused(["tokenFile: a token is one word of ASCII characters."])

    monkeypatch.setattr(Pool, "send", lambda *_args, **_options: Response(401, {}, b"{}"))
    with pytest.raises(ClusterError, match="cannot be read again: tokenFile"):
        HttpCluster(resolve, FakeClock()).kinds("v1")


class Ticking(FakeClock):
    """Each look at the clock takes a while."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds or 0.25)


class Watched:
    """A watch of a proxy that answers with something else."""

    status = 200

    def __init__(self, line: bytes) -> None:
        self.line = line

    def lines(self) -> list[bytes]:
        return [self.line]

    def stop(self) -> None:
        pass


@pytest.mark.parametrize("line", [b"{}", b"[]", b"5", b"not JSON", b'{"type": "ADDED"}'])
def test_a_watch_that_says_something_else_ends_at_once(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(Pool, "stream", lambda *_given: Watched(line))
    clock = Ticking()
    assert list(HttpCluster(lambda: Endpoint("https://h"), clock).follow({Source("v1", "Pod", "team"): "1"}, 5.0)) == []
    assert clock.now() < 4


def test_a_group_version_of_any_text_is_part_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """http.client takes ASCII alone."""
    asked = []
    monkeypatch.setattr(Pool, "send", lambda _self, _method, path, *_given, **_more: asked.append(path) or Response(404, {}, b"{}"))
    assert HttpCluster(lambda: Endpoint("https://h"), FakeClock()).resource("é x/v1", "Thing") is None
    assert asked == ["/apis/%C3%A9%20x/v1"]
