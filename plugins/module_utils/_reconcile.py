# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the cluster hold a set: present, absent, prune, wait. Sees a Cluster and a Clock, and nothing else of the world."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence

from ._apply import Apply
from ._applyset import Record, SetName, is_data, record_object, record_of, stamp, stays, superset
from ._health import ended
from ._kinds import BUILT_IN, CUSTOM, LEVELS, home, level
from ._last_words import last_words
from ._manifest import CREATE_ONLY, ONCE, Declared
from ._model import (
    ABSENT,
    DELETED,
    KEPT,
    READY,
    Change,
    Clock,
    Cluster,
    ClusterError,
    Object,
    Progress,
    Ref,
    Refused,
    Report,
    Verdict,
    ref_of,
)
from ._parallel import each
from ._plan import written_by
from ._resolve import check_live, resolve
from ._survey import Survey, survey
from ._wait import Wait


class Reconciler:
    """One call for one set. With `check_mode` every write is a dry run."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        progress: Progress,
        owner: SetName,
        check_mode: bool = False,
        force: bool = False,
        delete_data: Collection[str] = (),
    ) -> None:
        self._cluster, self._clock, self._progress = cluster, clock, progress
        self._owner, self._check_mode, self._force = owner, check_mode, force
        self._delete_data = set(delete_data)
        self._changes: list[Change] = []
        self._verdicts: dict[Ref, Verdict] = {}
        self._errors: list[str] = []

    @property
    def report(self) -> Report:
        """How far it came, also where an error ended it."""
        return Report(self._changes, self._verdicts)

    def present(self, declared: Sequence[Declared], prune: bool = True, wait: float = 300.0) -> None:
        """All of `declared` as declared, nothing else in the set (with `prune`), all ready within `wait` seconds (0: not waited for)."""
        deadline = self._clock.now() + wait
        items = [stamp(item, self._owner) for item in resolve(self._cluster, declared, self._owner.namespace)]
        seen = survey(self._cluster, self._owner, items)
        check_live(items, seen, self._owner.id)
        apply = Apply(self._cluster, self._clock, self._owner.manager, items, seen, self._check_mode, self._force)
        self._do(apply, [item for item in items if item.ref.kind == "Namespace"])
        members = [item for item in items if item.ref.kind != "Namespace"]
        once = {item.ref.name for item in items if item.policy == ONCE}
        done = {name: at for name, at in seen.record.done.items() if name in once}
        doomed = self._doomed(seen, items)
        left = [live for live in doomed if not prune or self._is_kept(live)]
        count = sum(self._will_bear_label(item, seen) for item in members) + sum(stays(live["kind"]) for live in left)
        target = record_of([item.ref for item in members], done, self._owner.namespace, count)
        known = self._write_record(superset(seen.record, target), seen.record if seen.recorded else None)
        for number in LEVELS:
            self._do(apply, [item for item in members if item.level == number])
            if number == 0:
                self._wait_for_definitions(deadline)
        if prune:
            kept = self._delete(doomed, deadline)
            target = superset(record_of(kept, {}, self._owner.namespace), target) if not seen.blind else superset(known, target)
            known = self._write_record(target, known)
        else:
            target = known
        state = self._settle(deadline if wait else 0.0, done)
        for ref, live in state.items():
            if ref.kind == "Job" and ref.name in once and self._verdicts[ref].state == READY:
                done[ref.name] = str(((live or {}).get("status") or {}).get("completionTime") or done.get(ref.name, ""))
        self._write_record(dataclasses.replace(target, done=done), known)
        if wait:
            self._finish()

    def absent(self, declared: Sequence[Declared], wait: float = 300.0) -> None:
        """Nothing of the set is left but data that nobody named."""
        deadline = self._clock.now() + wait
        seen = survey(self._cluster, self._owner, [stamp(item, self._owner) for item in declared])
        self._add_named(seen)
        doomed = self._doomed(seen, [])
        namespaces = {live["metadata"]["name"] for live in doomed if live["kind"] == "Namespace" and self._is_named(ref_of(live))}
        self._refuse_loss(doomed, namespaces)
        kept = self._delete(doomed, deadline)
        if seen.recorded and not self._check_mode:
            self._drop_record(kept, seen.record, namespaces)
        self._settle(deadline if wait else 0.0, {})
        if wait:
            self._finish()

    # Writing

    def _do(self, apply: Apply, items: Iterable[Declared]) -> None:
        """Applies what does not depend on each other; after a failure nothing of a later level is begun."""
        batch = list(items)
        for result, item in zip(each(apply.one, batch), batch):
            if isinstance(result, ClusterError):
                self._errors.append(f"{result} ({item.place})")
            else:
                self._note(result)
        if self._errors:
            left = apply.total - len(self._changes) - len(self._errors)
            count = f"{len(self._changes)} of {apply.total} objects are in place, {len(self._errors)} failed, {left} were not begun."
            raise ClusterError("\n".join([*self._errors, count]))

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        if change.action in ("created", "updated", DELETED):
            mode = " (check mode)" if self._check_mode else ""
            self._progress(f"{change.ref.namespace + '/' if change.ref.namespace else ''}{change.ref.kind} {change.ref.name}: {change.action}{mode}")

    def _write_record(self, record: Record, known: Record | None) -> Record:
        if record != known and not self._check_mode:
            self._cluster.apply(record_object(self._owner, record), self._owner.manager, force=True)
        return record

    def _drop_record(self, kept: list[Ref], known: Record, namespaces: Collection[str]) -> None:
        if kept:
            if self._owner.namespace not in namespaces:  # one that is going takes nothing new
                self._write_record(record_of(kept, {}, self._owner.namespace), known)
            return
        live = self._cluster.get(self._owner.record)
        if live is not None:
            self._cluster.delete(self._owner.record, live["metadata"]["uid"])

    @staticmethod
    def _will_bear_label(item: Declared, seen: Survey) -> bool:
        """Whether a reader will find it in the set, for as long as nobody deletes it; what is made only if absent may have been there before the set."""
        is_foreign = item.policy == CREATE_ONLY and item.ref not in seen.members and (item.ref in seen.live or item.ref in seen.unseen)
        return stays(item.ref.kind) and not is_foreign

    # Deleting

    def _doomed(self, seen: Survey, declared: Sequence[Declared]) -> list[Object]:
        """Members that are no longer declared. What bears our label but was never written by us (mirrored Endpoints) is not ours."""
        wanted = {_key(item.ref) for item in declared}
        members = [live for ref, live in seen.members.items() if _key(ref) not in wanted]
        owned = [live for live in members if written_by(live, self._owner.manager)]
        return [live for live in owned if not any(owner.get("controller") for owner in live["metadata"].get("ownerReferences") or [])]

    def _refuse_loss(self, doomed: Sequence[Object], namespaces: Collection[str]) -> None:
        """A namespace takes all with it that is in it: each claim there, whoever made it, and what is kept of this set, has to be named as well."""
        held = {ref_of(live) for live in doomed if is_data(live)}
        for namespace in namespaces:
            claims = self._cluster.list("v1", "PersistentVolumeClaim", namespace, metadata_only=True).items
            held |= {ref_of(live) for live in claims if not live["metadata"].get("deletionTimestamp")}
        lost = [ref for ref in sorted(held) if ref.namespace in namespaces and not self._is_named(ref)]
        if lost:
            told = [f"delete_data: Namespace/{ref.namespace} would take {ref.kind}/{ref.namespace}/{ref.name} with it, which is not named." for ref in lost]
            raise Refused([*told, "Nothing was deleted. Name them too, or leave the namespace out."])

    def _delete(self, doomed: Sequence[Object], deadline: float) -> list[Ref]:
        """Deletes, in the reverse order of applying; gives what is kept because it is data and nobody named it."""
        kept = [live for live in doomed if self._is_kept(live)]
        for live in kept:
            self._changes.append(Change(ref_of(live), KEPT, live, live))
        going = [live for live in doomed if live not in kept]
        for number in reversed(LEVELS):
            batch = [live for live in going if level(live["apiVersion"], live["kind"]) == number]
            self._delete_batch(batch)
            if number == CUSTOM and any(level(live["apiVersion"], live["kind"]) < CUSTOM for live in going):
                self._wait_for_finalizers(batch, deadline)
        return [ref_of(live) for live in kept]

    def _delete_batch(self, batch: Sequence[Object]) -> None:
        def one(live: Object) -> Change:
            ref = ref_of(live)
            self._cluster.delete(ref, live["metadata"]["uid"], dry_run=self._check_mode)
            return Change(ref, DELETED, live, None)

        for result, live in zip(each(one, batch), batch):
            if isinstance(result, ClusterError):
                self._errors.append(f"{result} (no longer declared: {ref_of(live)})")
            else:
                self._note(result)
        if self._errors:
            raise ClusterError("\n".join(self._errors))

    def _is_kept(self, live: Object) -> bool:
        return is_data(live) and not self._is_named(ref_of(live))

    def _is_named(self, ref: Ref) -> bool:
        """The short form names what is at home: the claims of two namespaces often have one name."""
        short = ref.namespace in ("", self._owner.namespace) and f"{ref.kind}/{ref.name}" in self._delete_data
        return short or f"{ref.kind}/{ref.namespace}/{ref.name}" in self._delete_data

    def _add_named(self, seen: Survey) -> None:
        """Data that is named is looked for, even where the set's record is gone. Custom resources are found by the record alone, which knows their version."""
        known = {_key(ref) for ref in seen.members}
        for entry in self._delete_data:
            kind, _slash, name = entry.partition("/")
            namespace, _slash, last = name.rpartition("/")
            version = home(kind)
            if version is None:
                continue
            ref = Ref(version, kind, (namespace or self._owner.namespace) if BUILT_IN[(version, kind)].namespaced else "", last)
            live = self._cluster.get(ref) if _key(ref) not in known else None
            if live is not None and written_by(live, self._owner.manager):
                seen.members[ref] = live

    # Waiting

    def _wait_for_finalizers(self, batch: Sequence[Object], deadline: float) -> None:
        """What takes the finalizers off custom resources may be a workload of this very set, and must not go before they are gone."""
        held = [ref_of(live) for live in batch if live["metadata"].get("finalizers")]
        if not held or self._check_mode:
            return
        verdicts = Wait(self._cluster, self._clock, self._progress, {}, held).run(max(30.0, deadline - self._clock.now()))
        late = [f"{ref} {verdict.reason}" for ref, verdict in verdicts.items() if verdict.state != ABSENT]
        if late:
            raise ClusterError("; ".join(late) + ". What may have to take that off is not deleted before: see what its controller says, and run again.")

    def _wait_for_definitions(self, deadline: float) -> None:
        """New kinds are served only after their definition is established."""
        definitions = {change.ref: change.after for change in self._changes if change.ref.kind == "CustomResourceDefinition"}
        if not definitions or self._check_mode:
            return
        verdicts = Wait(self._cluster, self._clock, self._progress, definitions).run(max(30.0, deadline - self._clock.now()))
        late = [f"{ref}: {verdict.reason}" for ref, verdict in verdicts.items() if verdict.state != READY]
        if late:
            raise ClusterError("A definition is not established: " + "; ".join(late))
        for live in definitions.values():
            for version in ((live or {}).get("spec") or {}).get("versions") or []:
                self._cluster.forget(f"{(live or {})['spec']['group']}/{version['name']}")

    def _settle(self, deadline: float, done: Mapping[str, str]) -> Mapping[Ref, Object | None]:
        """Judges all that is declared, as it then is; waits for it until the deadline, 0 for not at all. `done` are Jobs that ran to their end before."""
        if self._check_mode:
            return {}
        # Without a live object: a Job that ran to its end and is gone by now, or what we may not look at.
        wanted = {change.ref: change.after for change in self._changes if change.action not in (DELETED, KEPT) and change.after is not None}
        gone = [change.ref for change in self._changes if change.action == DELETED]
        self._wait = Wait(self._cluster, self._clock, self._progress, wanted, gone if deadline else ())
        self._verdicts = self._wait.run(deadline - self._clock.now()) if deadline else self._wait.verdicts
        for change in self._changes:
            if change.ref.kind == "Job" and change.ref.name in done and change.ref not in wanted:
                self._verdicts[change.ref] = ended(done[change.ref.name])
        return self._wait.state

    def _finish(self) -> None:
        """Told with the last words of what is not ready."""
        gone = {change.ref for change in self._changes if change.action == DELETED}
        late = [ref for ref, verdict in self._verdicts.items() if verdict.state != (ABSENT if ref in gone else READY)]
        if late:
            lines = [f"{ref}: {self._verdicts[ref].state}, {self._verdicts[ref].reason}" for ref in late]
            words = last_words(self._cluster, late, self._wait.state, self._wait.pods)
            raise ClusterError("\n".join([f"{len(late)} of {len(self._verdicts)} objects are not ready:", *lines, *words]))


def _key(ref: Ref) -> tuple[str, str, str, str]:
    """An object is the same whatever version it is declared in."""
    return (ref.group, ref.kind, ref.namespace, ref.name)
