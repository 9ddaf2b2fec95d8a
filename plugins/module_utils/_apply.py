# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One declared object -> what was done about it. In check mode the same requests as dry runs, and predictions where no server can be asked."""

from __future__ import annotations

from collections.abc import Sequence

from ._health import judge
from ._manifest import CREATE_ONLY, ONCE, Declared
from ._model import CREATED, FAILED, UNCHANGED, UPDATED, Change, Clock, Cluster, ClusterError, Conflict, Forbidden, NotFound, Object, Ref
from ._plan import after_migration, changed, in_place, migration
from ._survey import Survey

SERVED_WITHIN = 10.0  # seconds from an established definition to an API server that serves it


class Apply:
    """Applies the objects of one set; `one` may be called from several threads."""

    def __init__(
        self, cluster: Cluster, clock: Clock, manager: str, items: Sequence[Declared], seen: Survey, check_mode: bool, force: bool
    ) -> None:
        self._cluster, self._clock, self._manager = cluster, clock, manager
        self._seen, self._check_mode, self._force = seen, check_mode, force
        self.total = len(items)
        self._new_namespaces = {item.ref.name for item in items if item.ref.kind == "Namespace" and item.ref not in seen.live}

    def one(self, item: Declared) -> Change:
        live = self._seen.live.get(item.ref)
        if item.policy == ONCE:
            if item.ref.name in self._seen.record.done:
                return Change(item.ref, UNCHANGED, live, live)
            live = self._without_failed(item.ref, live)
        if live is not None and (item.policy in (CREATE_ONLY, ONCE) or in_place(item, live, self._manager)):
            return Change(item.ref, UNCHANGED, live, live)
        if item.ref.kind == "Namespace" and item.ref in self._seen.unseen:
            return Change(item.ref, UNCHANGED, assumed=True)  # an account of one namespace may not look at it
        if self._check_mode and live is None and self._is_premature(item.ref):
            return Change(item.ref, CREATED, None, item.body, assumed=True)
        try:
            return self._create(item) if item.policy == CREATE_ONLY else self._apply(item, live)
        except NotFound as error:
            # An earlier task of the run that this one foresees may make the namespace.
            if not (self._check_mode and live is None and f'namespaces "{item.ref.namespace}" not found' in str(error)):
                raise
            return Change(item.ref, CREATED, None, item.body, assumed=True)

    def _is_premature(self, ref: Ref) -> bool:
        """Whether its namespace or kind would only come with this very call."""
        return ref.namespace in self._new_namespaces or self._cluster.resource(ref.api_version, ref.kind) is None

    def _without_failed(self, ref: Ref, live: Object | None) -> Object | None:
        """A Job that failed in an earlier run is run again: what it needed may be there by now."""
        if live is None or judge(live).state != FAILED:
            return live
        self._cluster.delete(ref, live["metadata"]["uid"], dry_run=self._check_mode)
        return None

    def _create(self, item: Declared) -> Change:
        try:
            return Change(item.ref, CREATED, None, self._cluster.create(item.body, self._manager, dry_run=self._check_mode))
        except Conflict:  # somebody was quicker, or it could not be looked at; either way it is there
            return Change(item.ref, UNCHANGED)

    def _apply(self, item: Declared, live: Object | None) -> Change:
        force, moved = self._force, migration(live, self._manager) if live is not None else []
        if moved:
            force = True  # against kubectl only: the patch below, or the real run's, makes its fields ours
            if not self._check_mode:
                live = self._cluster.patch(item.ref, moved, self._manager)
                force = self._force
        try:
            after, new = self._send(item, force)
        except Forbidden:
            if item.ref.kind == "Namespace" and live is not None:
                return Change(item.ref, UNCHANGED, live, live, assumed=True)
            raise
        except Conflict:
            if live is None or not self._is_harmless(item, live):
                raise
            after, new = self._send(item, True)
        if live is None:
            # Without a look before, 201 and 200 alone tell created from already there.
            return Change(item.ref, CREATED if new else UPDATED, None, after, assumed=not new)
        if moved and self._check_mode:
            after = after_migration(live, after, self._manager)
            live = {**live, "metadata": {**live["metadata"], "managedFields": moved[0]["value"]}}
        return Change(item.ref, UPDATED if changed(live, after, self._manager) else UNCHANGED, live, after)

    def _is_harmless(self, item: Declared, live: Object) -> bool:
        """Whether a conflict is about ownership alone: a list without its defaults differs from the same list with them."""
        after, _new = self._cluster.apply(item.body, self._manager, force=True, dry_run=True)
        return not changed(live, after, self._manager)

    def _send(self, item: Declared, force: bool) -> tuple[Object, bool]:
        begun = self._clock.now()
        while True:
            try:
                return self._cluster.apply(item.body, self._manager, force, dry_run=self._check_mode)
            except NotFound:
                # A definition may be established a moment before its kind is served.
                if item.level != 3 or self._check_mode or self._clock.now() - begun > SERVED_WITHIN:
                    raise
                self._cluster.forget(item.ref.api_version)
                self._clock.sleep(0.3)
            except ClusterError as error:
                if not (self._check_mode and "does not support dry run" in str(error)):
                    raise
                return item.body, True
