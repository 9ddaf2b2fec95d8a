# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is there, with few requests: one LIST per kind and namespace, and a GET for each object that is to be adopted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ._applyset import Record, SetName, read_record
from ._kinds import BUILT_IN
from ._manifest import Declared
from ._model import Cluster, Forbidden, NotFound, Object, Ref, Source, ref_of
from ._parallel import all_of
from ._plan import PART_OF

FEW = 3  # objects of one kind that are asked for one by one; more are looked up in a list of names


@dataclass
class Survey:
    """The cluster as far as this set is concerned. Refs carry the declared group version."""

    record: Record = field(default_factory=Record)
    recorded: bool = False
    live: dict[Ref, Object] = field(default_factory=dict)  # declared objects that are there, whole
    members: dict[Ref, Object] = field(default_factory=dict)  # all that bear the set's label, some with metadata only
    unseen: set[Ref] = field(default_factory=set)  # declared objects that this account may not look at
    blind: set[Source] = field(default_factory=set)  # kinds that it may not list: nothing is pruned there


def survey(cluster: Cluster, owner: SetName, declared: Sequence[Declared]) -> Survey:
    """Looks at everything that is declared or was a member. Writes nothing."""
    record = cluster.get(owner.record)
    seen = Survey(read_record(record), record is not None)
    wanted = {item.ref for item in declared}
    alone = [ref for ref in wanted if ref.kind == "Namespace"]
    sources = _sources(cluster, owner, seen.record, wanted)
    found = all_of(lambda source: _members(cluster, owner, source, seen), sources)
    for items in found:
        for item in items:
            ref = ref_of(item)
            if (item["metadata"].get("labels") or {}).get(PART_OF) == owner.id:
                seen.members[ref] = item
                if seen.recorded and ref in wanted:
                    seen.live[ref] = item
    named = {ref_of(item) for items in found for item in items}
    for source in sources:
        missing = [ref for ref in wanted if ref not in seen.live and Source(ref.api_version, ref.kind, ref.namespace) == source]
        alone += _candidates(cluster, source, missing, named, seen)
    for ref, live in zip(alone, all_of(lambda ref: _get(cluster, ref, seen), alone)):
        if live is not None:
            seen.live[ref] = live
    return seen


def _sources(cluster: Cluster, owner: SetName, record: Record, wanted: Iterable[Ref]) -> list[Source]:
    """What to list: declared kinds where they are declared, and kinds that were members before wherever the set reached."""
    declared = {Source(ref.api_version, ref.kind, ref.namespace) for ref in wanted if ref.kind != "Namespace"}
    served = {(ref.group, ref.kind): ref.api_version for ref in wanted}
    reach = {owner.namespace} | record.namespaces
    former = set()
    for group, kind in record.kinds:
        found = served.get((group, kind)) or version(cluster, group, kind)
        resource = cluster.resource(found, kind) if found else None
        if resource is not None:  # else its definition is gone, and all its objects with it
            former |= {Source(found, kind, namespace) for namespace in (reach if resource.namespaced else {""})}
    return sorted(declared | former)


def version(cluster: Cluster, group: str, kind: str) -> str:
    """The group version of a kind that a record names by its group, "" where it is served no more."""
    known = [version for version, name in BUILT_IN if name == kind and version.rpartition("/")[0] == group]
    return known[-1] if known else cluster.version_of(group)


def _members(cluster: Cluster, owner: SetName, source: Source, seen: Survey) -> list[Object]:
    """The set's objects of one kind; before the first apply, the metadata of all of them, since any may be there to adopt."""
    labels = f"{PART_OF}={owner.id}" if seen.recorded else ""
    try:
        return cluster.list(*source[:3], labels=labels, metadata_only=not seen.recorded).items
    except Forbidden:
        seen.blind.add(source)
    except NotFound:
        pass  # the kind comes with a definition of this very set
    return []


def _candidates(cluster: Cluster, source: Source, missing: list[Ref], named: set[Ref], seen: Survey) -> list[Ref]:
    """Those of `missing` that may be there without our label, to be fetched one by one."""
    if source in seen.blind or (seen.recorded and len(missing) <= FEW):
        return missing
    if not seen.recorded or not missing:
        return [ref for ref in missing if ref in named]
    try:
        present = {ref_of(item) for item in cluster.list(*source[:3], metadata_only=True).items}
    except (Forbidden, NotFound):
        return missing
    return [ref for ref in missing if ref in present]


def _get(cluster: Cluster, ref: Ref, seen: Survey) -> Object | None:
    try:
        return cluster.get(ref)
    except Forbidden:
        seen.unseen.add(ref)
    except NotFound:
        pass
    return None
