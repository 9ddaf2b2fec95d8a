# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A Lease that one holder at a time has while it does what nobody else may do meanwhile. Sees the protocols of `_model` alone."""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ._model import Clock, Cluster, ClusterError, Conflict, NotFound, Object, Progress, Ref, Stopped

DURATION = 40  # seconds without a renewal after which a Lease is free again; a controller that died blocks no longer than this
_RENEW = 10.0
_POLL = 2.0


class Busy(Exception):
    """Somebody else held the Lease for as long as was waited."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


@dataclass(frozen=True)
class Claim:
    """Who wants which Lease. `look` may refuse after a look at it; `if_failed` are annotations that it gets where the holder's work failed."""

    ref: Ref
    holder: str
    manager: str
    look: Callable[[Object], None] = lambda _lease: None
    if_failed: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def held(cluster: Cluster, clock: Clock, claim: Claim, seconds: float, waits: Progress) -> Iterator[None]:
    """Hold the Lease while the body runs, renewing it. Busy after `seconds`; `waits` is told each other holder once."""
    _take(cluster, clock, claim, seconds, waits)
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(cluster, claim, ended), daemon=True)
    renewal.start()
    failed = True
    try:
        yield
        failed = False
    finally:
        ended.set()
        renewal.join()
        with contextlib.suppress(ClusterError):  # it ends by itself then
            _release(cluster, claim, failed)


def _take(cluster: Cluster, clock: Clock, claim: Claim, seconds: float, waits: Progress) -> None:
    end, seen, since, told = clock.now() + seconds, "", clock.now(), ""
    while True:
        lease = cluster.get(claim.ref)
        try:
            if lease is None:
                cluster.create(_lease(claim), claim.manager)
                return
            claim.look(lease)
            holder = lease["spec"].get("holderIdentity") or ""
            if lease["metadata"]["resourceVersion"] != seen:
                seen, since = lease["metadata"]["resourceVersion"], clock.now()
            stale = clock.now() - since > (lease["spec"].get("leaseDurationSeconds") or DURATION)
            if holder in ("", claim.holder) or stale:
                _write(cluster, claim, lease, claim.holder, {})
                return
        except Conflict:  # somebody was faster
            continue
        if holder != told:
            told = holder
            waits(holder)
        if clock.now() >= end:
            raise Busy(holder)
        clock.sleep(_POLL)


def _renew(cluster: Cluster, claim: Claim, ended: threading.Event) -> None:
    while not ended.wait(_RENEW):
        try:
            cluster.patch(
                claim.ref,
                [{"op": "test", "path": "/spec/holderIdentity", "value": claim.holder}, {"op": "replace", "path": "/spec/renewTime", "value": _now()}],
                claim.manager,
            )
        except ClusterError:
            continue
        except Stopped:  # the task's own threads tell it; a traceback of this one would only hide that
            return


def _release(cluster: Cluster, claim: Claim, failed: bool) -> None:
    lease = cluster.get(claim.ref)
    if lease is None or lease["spec"].get("holderIdentity") != claim.holder:
        return
    with contextlib.suppress(Conflict, NotFound):
        _write(cluster, claim, lease, "", claim.if_failed if failed else {})


def _write(cluster: Cluster, claim: Claim, lease: Object, holder: str, notes: Mapping[str, str]) -> None:
    cluster.patch(
        claim.ref,
        [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": lease["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/metadata/annotations", "value": dict(notes)},
            {"op": "add", "path": "/spec", "value": _spec(holder)},
        ],
        claim.manager,
    )


def _lease(claim: Claim) -> Object:
    return {
        "apiVersion": claim.ref.api_version,
        "kind": claim.ref.kind,
        "metadata": {"name": claim.ref.name, "namespace": claim.ref.namespace, "labels": {"app.kubernetes.io/part-of": "slipway"}},
        "spec": _spec(claim.holder),
    }


def _spec(holder: str) -> Object:
    return {"holderIdentity": holder, "leaseDurationSeconds": DURATION, "renewTime": _now()}


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
