# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One declared object -> what was done about it. In check mode the same requests as dry runs, and predictions where no server can be asked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ._health import judge
from ._kinds import CUSTOM
from ._manifest import CREATE_ONLY, ONCE, Declared
from ._model import CREATED, FAILED, UNCHANGED, UPDATED, Change, Clock, Cluster, ClusterError, Conflict, Forbidden, NotFound, Object, Ref
from ._plan import DIGEST, KUBECTL, after_migration, changed, in_place, made_by, migration
from ._survey import Survey

MOVES = 3  # times that kubectl's ownership is made ours while others write to the object
SERVED_WITHIN = 10.0  # seconds from an established definition to an API server that serves it


class Apply:
    """Applies the objects of one set; `one` may be called from several threads."""

    def __init__(self, cluster: Cluster, clock: Clock, manager: str, items: Sequence[Declared], seen: Survey, check_mode: bool, force: bool) -> None:
        self._cluster, self._clock, self._manager = cluster, clock, manager
        self._seen, self._check_mode, self._force = seen, check_mode, force
        self.total = len(items)
        self._new_namespaces = {item.ref.name for item in items if item.ref.kind == "Namespace" and item.ref not in seen.live}

    def one(self, item: Declared) -> Change:
        live = self._seen.live.get(item.ref)
        if item.policy == ONCE:
            if item.ref.name in self._seen.record.done:
                return Change(item.ref, UNCHANGED, live, live)
            if live is not None and judge(live).state == FAILED:
                # What it needed may be there by now: it is made again.
                self._cluster.delete(item.ref, live["metadata"]["uid"], dry_run=self._check_mode)
                if self._check_mode:
                    return Change(item.ref, CREATED, None, item.body, assumed=True)
                live = None
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

    def _create(self, item: Declared) -> Change:
        try:
            return Change(item.ref, CREATED, None, self._cluster.create(item.body, self._manager, dry_run=self._check_mode))
        except Conflict:
            live = None if item.ref in self._seen.unseen else self._cluster.get(item.ref)
        if live is not None and made_by(live, self._manager) and live["metadata"].get("annotations", {}).get(DIGEST) == item.digest:
            return Change(item.ref, CREATED, None, live)  # it is ours: the answer to the first request was lost
        return Change(item.ref, UNCHANGED, live, live)  # somebody was quicker, or it could not be looked at; either way it is there

    def _migrated(self, ref: Ref, live: Object) -> Object:
        """The object with what kubectl owned as ours; tried again where it changed meanwhile, or where only the answer was lost."""
        for _attempt in range(MOVES):
            operations = migration(live, self._manager)
            if not operations:
                break
            try:
                return self._cluster.patch(ref, operations, self._manager)
            except Conflict:
                found = self._cluster.get(ref)
                if found is None:
                    raise
                live = found
        return live

    def _apply(self, item: Declared, live: Object | None) -> Change:
        moved = migration(live, self._manager) if live is not None else []
        if live is not None and moved and not self._check_mode:
            live, moved = self._migrated(item.ref, live), []
        try:
            after, new = self._send(item, self._force)
        except Forbidden:
            if item.ref.kind == "Namespace" and live is not None:
                return Change(item.ref, UNCHANGED, live, live, assumed=True)
            raise
        except Conflict as conflict:
            # In check mode kubectl still holds the fields that the run makes ours first.
            if live is None or not ((moved and _is_with_kubectl(conflict)) or self._is_harmless(item, live, moved)):
                raise
            after, new = self._send(item, True)
        if live is None:
            # 200 says that it was there: by somebody else, since long (if it could not be looked at), or by this request, whose first answer was lost.
            new = new or (item.ref not in self._seen.unseen and made_by(after, self._manager))
            return Change(item.ref, CREATED if new else UPDATED, None, after, assumed=not new)
        live, after = self._foreseen(live, after, moved)
        return Change(item.ref, UPDATED if changed(live, after, self._manager) else UNCHANGED, live, after)

    def _is_harmless(self, item: Declared, live: Object, moved: list[Object]) -> bool:
        """Whether a conflict is about ownership alone: a list without its defaults differs from the same list with them."""
        after, _new = self._cluster.apply(item.body, self._manager, force=True, dry_run=True)
        live, after = self._foreseen(live, after, moved)
        return not changed(live, after, self._manager)

    def _foreseen(self, live: Object, after: Object, moved: list[Object]) -> tuple[Object, Object]:
        """Both as the run would meet them, once kubectl's fields are ours; `moved` is empty where they are, or where there are none."""
        if not moved:
            return live, after
        return {**live, "metadata": {**live["metadata"], "managedFields": moved[0]["value"]}}, after_migration(live, after, self._manager)

    def _send(self, item: Declared, force: bool) -> tuple[Object, bool]:
        begun = self._clock.now()
        while True:
            try:
                return self._cluster.apply(item.body, self._manager, force, dry_run=self._check_mode)
            except NotFound:
                # A definition may be established a moment before its kind is served.
                if item.level != CUSTOM or self._check_mode or self._clock.now() - begun > SERVED_WITHIN:
                    raise
                self._cluster.forget(item.ref.api_version)
                self._clock.sleep(0.3)
            except ClusterError as error:
                if not (self._check_mode and "does not support dry run" in str(error)):
                    raise
                return item.body, True


def _is_with_kubectl(conflict: Conflict) -> bool:
    """Whether nobody else holds what is declared."""
    managers = set(re.findall(r'conflict with "([^"]*)"', str(conflict)))
    return bool(managers) and managers <= set(KUBECTL)
