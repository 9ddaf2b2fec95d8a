# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes -> the two texts that Ansible compares for `--diff`: declared fields only, Secret values as marks that show whether they changed."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from ._model import CREATED, DELETED, UPDATED, Change, Object, ref_of
from ._plan import essence
from ._yaml_subset import dump

# Marks are keyed anew in each run: equal marks mean equal values, and nothing can be guessed from one.
_KEY = secrets.token_bytes(16)


def diff(changes: Sequence[Change], manager: str) -> list[dict[str, str]]:
    """One entry for each object that was created, updated or deleted."""
    result = []
    for change in changes:
        if change.action not in (CREATED, UPDATED, DELETED):
            continue
        before, after = change.before, change.after
        shown = str(change.ref) + (" (assumed)" if change.assumed else "")
        result.append(
            {
                "before_header": shown if before else shown + " (absent)",
                "after_header": shown if after else shown + " (absent)",
                "before": dump(_visible(before, after, manager)) if before and change.action != DELETED else _gone(before),
                "after": dump(_visible(after, before, manager)) if after else "",
            }
        )
    return result


def _gone(before: Object | None) -> str:
    return f"{ref_of(before)}\n" if before else ""


def _visible(obj: Object, other: Object | None, manager: str) -> Object:
    part = essence(obj, other or {}, manager)
    if not obj["metadata"].get("managedFields"):  # predicted: no server has seen it
        part = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    if obj.get("kind") == "Secret":
        part = {**part, **{name: _marked(part[name]) for name in ("data", "stringData") if part.get(name)}}
    return part


def _marked(entries: Any) -> Any:
    if not isinstance(entries, dict):
        return "(hidden)"
    return {key: f"(hidden, {hashlib.blake2b(str(value).encode(), key=_KEY, digest_size=4).hexdigest()})" for key, value in entries.items()}
