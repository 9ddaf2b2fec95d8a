# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waiting for objects to be ready, or gone: by watch, one deadline for all, one line for each change."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import replace

from ._health import WORKLOADS, explain, judge
from ._model import (
    ABSENT,
    FAILED,
    PROGRESSING,
    READY,
    Clock,
    Cluster,
    ClusterError,
    Event,
    Forbidden,
    NotFound,
    Object,
    Progress,
    Ref,
    Source,
    Unreachable,
    Verdict,
    ref_of,
)

LONGEST = 30.0  # seconds of one watch before all is listed anew: no lost event is missed for longer
HANDOVER = 5.0  # seconds in which a controller may still hold the failed pods of the template before ours
RECOVERED = 10.0  # seconds without a failure after which an earlier one is forgotten
EXPLAINED = WORKLOADS | {"Pod", "PersistentVolumeClaim", "CronJob"}


class Wait:
    """Follows `wanted` (with what is known of each) until ready and `gone` until absent."""

    def __init__(self, cluster: Cluster, clock: Clock, progress: Progress, wanted: Mapping[Ref, Object | None], gone: Collection[Ref] = ()) -> None:
        self._cluster, self._clock, self._progress = cluster, clock, progress
        self.state: dict[Ref, Object | None] = dict(wanted)
        self.pods: dict[Ref, Object] = {}
        self._events: dict[Ref, Object] = {}
        self._gone = set(gone)
        self._told: dict[Ref, set[str]] = {}
        self._failed_since: dict[Ref, float] = {}
        self._better_since: dict[Ref, float] = {}
        self._blind = False  # pods and events may not be looked at
        self.verdicts: dict[Ref, Verdict] = {ref: judge(live) for ref, live in self.state.items()}
        self.verdicts.update({ref: Verdict(PROGRESSING, "is being deleted") for ref in self._gone})

    def run(self, seconds: float) -> dict[Ref, Verdict]:
        """The verdicts when all is well, when something has failed for good, or after `seconds`."""
        deadline = self._clock.now() + seconds
        while self._pending() and self._clock.now() < deadline:
            try:
                versions = self._look()
            except Unreachable as error:  # says nothing about the objects
                self._progress(f"waiting for the API server: {error}")
                self._clock.sleep(min(1.0, max(0.0, deadline - self._clock.now())))
                continue
            if self._settled():
                break
            for event in self._cluster.follow(versions, self._patience(deadline)):
                self._absorb(event)
                if self._settled():
                    break
        return self.verdicts

    def _pending(self) -> list[Ref]:
        return [ref for ref, verdict in self.verdicts.items() if verdict.state != (ABSENT if ref in self._gone else READY)]

    def _patience(self, deadline: float) -> float:
        """Until the deadline, or until a failure that stands now would be final."""
        now = self._clock.now()
        graces = [since + self.verdicts[ref].grace - now for ref, since in self._failed_since.items()]
        return max(0.1, min([LONGEST, deadline - now, *(grace + 0.1 for grace in graces if grace > 0)]))

    def _look(self) -> dict[Source, str]:
        """Lists what is waited for and gives the versions to follow it from."""
        versions: dict[Source, str] = {}
        pending = self._pending()
        for source in sorted({Source(ref.api_version, ref.kind, ref.namespace) for ref in pending}):
            refs = [ref for ref in pending if Source(ref.api_version, ref.kind, ref.namespace) == source]
            versions.update(self._look_at(source, refs))
        if not self._blind:
            for namespace in sorted({ref.namespace for ref in pending if ref.kind in EXPLAINED and ref not in self._gone}):
                versions.update(self._look_around(namespace))
        return versions

    def _look_at(self, source: Source, refs: list[Ref]) -> dict[Source, str]:
        try:
            listing = self._cluster.list(*source, fields="metadata.name=" + refs[0].name if len(refs) == 1 else "")
        except Unreachable:
            raise
        except NotFound:  # the kind is gone, and all objects with it
            self.state.update(dict.fromkeys(refs))
            return {}
        except ClusterError:  # no right to list
            for ref in refs:
                with contextlib.suppress(Forbidden):  # nor to look at one: the answer to the write is all that is known
                    self.state[ref] = self._cluster.get(ref)
            return {}
        found = {ref_of(item): item for item in listing.items}
        self.state.update({ref: found.get(ref) for ref in refs})
        return {source: listing.version}

    def _look_around(self, namespace: str) -> dict[Source, str]:
        """Pods and events tell why a workload is not ready."""
        pods, events = Source("v1", "Pod", namespace), Source("v1", "Event", namespace)
        try:
            seen, told = self._cluster.list(*pods), self._cluster.list(*events)
        except Unreachable:
            raise
        except ClusterError:
            self._blind = True
            return {}
        for known, listing in ((self.pods, seen), (self._events, told)):
            for ref in [ref for ref in known if ref.namespace == namespace]:
                del known[ref]
            known.update({ref_of(item): item for item in listing.items})
        return {pods: seen.version, events: told.version}

    def _absorb(self, event: Event) -> None:
        ref, live = ref_of(event.object), None if event.type == "DELETED" else event.object
        if ref in self.verdicts:
            self.state[ref] = live
        for kind, known in (("Pod", self.pods), ("Event", self._events)):
            if ref.kind == kind:
                known.pop(ref, None)
                if live is not None:
                    known[ref] = live

    def _settled(self) -> bool:
        """Judges anew, tells what changed, and says whether there is nothing left to wait for."""
        over = False
        for ref in self._pending():
            verdict = self.verdicts[ref] = self._verdict(ref)
            if ref not in self._gone:
                over |= self._has_failed(ref, verdict)
            self._tell(ref, verdict)
        return over or not self._pending()

    def _has_failed(self, ref: Ref, verdict: Verdict) -> bool:
        """Whether a failure has stood for its grace. A short try in between (an image is pulled again) is no recovery."""
        now = self._clock.now()
        if verdict.state == FAILED:
            self._better_since.pop(ref, None)
            return now - self._failed_since.setdefault(ref, now) >= verdict.grace
        if ref in self._failed_since and now - self._better_since.setdefault(ref, now) >= RECOVERED:
            del self._failed_since[ref], self._better_since[ref]
        return False

    def _verdict(self, ref: Ref) -> Verdict:
        live = self.state.get(ref)
        if ref in self._gone:
            # Another object of the same name has another UID; the one that was deleted is gone then, too.
            return judge(live) if live is not None and live["metadata"].get("deletionTimestamp") else Verdict(ABSENT, "deleted")
        if ref.kind not in EXPLAINED:
            return judge(live)
        verdict = explain(live, self.pods.values(), self._events.values())
        if ref.kind in WORKLOADS and ref.kind != "Job" and verdict.grace < HANDOVER:
            verdict = replace(verdict, grace=HANDOVER)
        return verdict

    def _tell(self, ref: Ref, verdict: Verdict) -> None:
        """One line for what is new; what was well from the start, and what was told before, is not news."""
        words = verdict.reason or verdict.state
        told = self._told.setdefault(ref, set())
        if words not in told and (told or verdict.state not in (READY, ABSENT)):
            told.add(words)
            self._progress(f"{ref.namespace + '/' if ref.namespace else ''}{ref.kind} {ref.name}: {words}")
