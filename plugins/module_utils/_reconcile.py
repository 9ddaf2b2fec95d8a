# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes the cluster hold a set: present, absent, prune, wait. Sees a Cluster and a Clock, and nothing else of the world."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ._apply import Apply
from ._applyset import Record, SetName, is_data, record_object, record_of, stamp, superset
from ._health import judge
from ._kinds import LEVELS, level
from ._last_words import last_words
from ._manifest import ONCE, Declared
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
    Report,
    Unfinished,
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
        self._errors: list[str] = []

    def present(self, declared: Sequence[Declared], prune: bool = True, wait: float = 300.0) -> Report:
        """All of `declared` as declared, nothing else in the set (with `prune`), all ready within `wait` seconds (0: not waited for)."""
        deadline = self._clock.now() + wait
        items = [stamp(item, self._owner) for item in resolve(self._cluster, declared, self._owner.namespace)]
        seen = survey(self._cluster, self._owner, items)
        check_live(items, seen, self._owner.id)
        apply = Apply(self._cluster, self._clock, self._owner.manager, items, seen, self._check_mode, self._force)
        self._do(apply, [item for item in items if item.ref.kind == "Namespace"])
        members = [item for item in items if item.ref.kind != "Namespace"]
        once = {item.ref.name for item in items if item.policy == ONCE}
        done = seen.record.done & once
        target = record_of([item.ref for item in members], done, self._owner.namespace)
        known = self._write_record(superset(seen.record, target), seen.record if seen.recorded else None)
        for number in LEVELS:
            self._do(apply, [item for item in members if item.level == number])
            if number == 0:
                self._wait_for_definitions(deadline)
        doomed = self._doomed(seen, items)
        if prune:
            kept = self._delete(doomed)
            target = superset(target, record_of(kept, (), self._owner.namespace)) if not seen.blind else superset(target, known)
            known = self._write_record(target, known)
        else:
            target = known
        verdicts = self._settle(deadline if wait else 0.0)
        done |= {ref.name for ref, verdict in verdicts.items() if ref.kind == "Job" and ref.name in once and verdict.state == READY}
        self._write_record(Record(target.kinds, target.namespaces, done), known)
        return self._finished(verdicts, bool(wait))

    def absent(self, declared: Sequence[Declared], wait: float = 300.0) -> Report:
        """Nothing of the set is left but data that nobody named."""
        deadline = self._clock.now() + wait
        seen = survey(self._cluster, self._owner, [stamp(item, self._owner) for item in declared])
        self._add_named(seen)
        kept = self._delete(self._doomed(seen, []))
        if seen.recorded and not self._check_mode:
            self._drop_record(kept)
        verdicts = self._settle(deadline if wait else 0.0)
        return self._finished(verdicts, bool(wait))

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
            raise Unfinished("\n".join([*self._errors, count]), Report(self._changes))

    def _note(self, change: Change) -> None:
        self._changes.append(change)
        if change.action in ("created", "updated", DELETED):
            mode = " (check mode)" if self._check_mode else ""
            self._progress(f"{change.ref.namespace + '/' if change.ref.namespace else ''}{change.ref.kind} {change.ref.name}: {change.action}{mode}")

    def _write_record(self, record: Record, known: Record | None) -> Record:
        if record != known and not self._check_mode:
            self._cluster.apply(record_object(self._owner, record), self._owner.manager, force=True)
        return record

    def _drop_record(self, kept: list[Ref]) -> None:
        if kept:
            self._write_record(record_of(kept, (), self._owner.namespace), None)
            return
        live = self._cluster.get(self._owner.record)
        if live is not None:
            self._cluster.delete(self._owner.record, live["metadata"]["uid"])

    # Deleting

    def _doomed(self, seen: Survey, declared: Sequence[Declared]) -> list[Object]:
        """Members that are no longer declared. What bears our label but was never written by us (mirrored Endpoints) is not ours."""
        wanted = {_key(item.ref) for item in declared}
        members = [live for ref, live in seen.members.items() if _key(ref) not in wanted]
        owned = [live for live in members if written_by(live, self._owner.manager)]
        return [live for live in owned if not any(owner.get("controller") for owner in live["metadata"].get("ownerReferences") or [])]

    def _delete(self, doomed: Sequence[Object]) -> list[Ref]:
        """Deletes, workloads first; gives what is kept because it is data and nobody named it."""
        kept = [live for live in doomed if is_data(live) and not self._is_named(ref_of(live))]
        for live in kept:
            self._changes.append(Change(ref_of(live), KEPT, live, live))
        going = [live for live in doomed if live not in kept]
        for number in reversed(LEVELS):
            batch = [live for live in going if level(live["apiVersion"], live["kind"]) == number]
            self._delete_batch(batch)
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
            raise Unfinished("\n".join(self._errors), Report(self._changes))

    def _is_named(self, ref: Ref) -> bool:
        return bool(self._delete_data & {f"{ref.kind}/{ref.name}", f"{ref.kind}/{ref.namespace}/{ref.name}"})

    def _add_named(self, seen: Survey) -> None:
        """Data that is named is looked for, even where the set's record is gone."""
        for entry in self._delete_data:
            kind, _slash, name = entry.partition("/")
            namespace, _slash, last = name.rpartition("/")
            ref = Ref("v1", kind, "" if kind in ("Namespace", "PersistentVolume") else namespace or self._owner.namespace, last)
            live = self._cluster.get(ref)
            if live is not None and (written_by(live, self._owner.manager)):
                seen.members[ref] = live

    # Waiting

    def _wait_for_definitions(self, deadline: float) -> None:
        """New kinds are served only after their definition is established."""
        definitions = {change.ref: change.after for change in self._changes if change.ref.kind == "CustomResourceDefinition"}
        if not definitions or self._check_mode:
            return
        verdicts = Wait(self._cluster, self._clock, self._progress, definitions).run(max(30.0, deadline - self._clock.now()))
        late = [f"{ref}: {verdict.reason}" for ref, verdict in verdicts.items() if verdict.state != READY]
        if late:
            raise Unfinished("A definition is not established: " + "; ".join(late), Report(self._changes, verdicts))
        for live in definitions.values():
            for version in ((live or {}).get("spec") or {}).get("versions") or []:
                self._cluster.forget(f"{(live or {})['spec']['group']}/{version['name']}")

    def _settle(self, deadline: float) -> dict[Ref, Verdict]:
        """Health of all that is declared; waits for it until the deadline, 0 for not at all."""
        if self._check_mode:
            return {}
        # Unchanged without a live object: a Job that succeeded earlier and is gone by now, or what we may not look at.
        wanted = {change.ref: change.after for change in self._changes if change.action not in (DELETED, KEPT) and change.after is not None}
        gone = [change.ref for change in self._changes if change.action == DELETED]
        if not deadline:
            return {ref: judge(live) for ref, live in wanted.items()}
        wait = Wait(self._cluster, self._clock, self._progress, wanted, gone)
        verdicts = wait.run(deadline - self._clock.now())
        self._wait = wait
        return verdicts

    def _finished(self, verdicts: dict[Ref, Verdict], waited: bool) -> Report:
        report = Report(self._changes, verdicts)
        gone = {change.ref for change in self._changes if change.action == DELETED}
        late = [ref for ref, verdict in verdicts.items() if verdict.state != (ABSENT if ref in gone else READY)]
        if waited and late:
            lines = [f"{ref}: {verdicts[ref].state}, {verdicts[ref].reason}" for ref in late]
            words = last_words(self._cluster, late, self._wait.state, self._wait.pods)
            raise Unfinished("\n".join([f"{len(late)} of {len(verdicts)} objects are not ready:", *lines, *words]), report)
        return report


def _key(ref: Ref) -> tuple[str, str, str, str]:
    """An object is the same whatever version it is declared in."""
    return (ref.group, ref.kind, ref.namespace, ref.name)
