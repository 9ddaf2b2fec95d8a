# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From declared experiments and those of the server to the calls that make them agree. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ._mlflow_api import Json

ACTIVE, DELETED = "active", "deleted"
CREATE, RESTORE, DELETE, UPDATE, KEEP = "created", "restored", "deleted", "updated", "unchanged"
DEFAULT_ID = "0"  # MLflow makes it and uses it for runs that name no experiment


@dataclass(frozen=True)
class Wanted:
    """One declared experiment. `location` "" leaves the choice to the server; tags not named are left alone unless `purge`."""

    name: str
    location: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    purge: bool = False
    present: bool = True


@dataclass(frozen=True)
class Live:
    """One experiment of the server, deleted ones included."""

    id: str
    name: str
    location: str
    stage: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """What to do for one experiment: calls in this order, as (endpoint, body)."""

    wanted: Wanted
    live: Live | None
    action: str
    calls: tuple[tuple[str, Json], ...] = ()


def live(experiment: Json) -> Live:
    """An experiment as MLflow's REST API gives it."""
    return Live(
        id=str(experiment["experiment_id"]),
        name=experiment["name"],
        location=experiment.get("artifact_location", ""),
        stage=experiment.get("lifecycle_stage", ACTIVE),
        tags={tag["key"]: tag["value"] for tag in experiment.get("tags", [])},
    )


def declared(items: Sequence[Json]) -> list[Wanted]:
    """The `experiments` option as Wanted."""
    return [
        Wanted(
            name=item["name"],
            location=item.get("artifact_location") or "",
            tags={str(key): _text(value) for key, value in (item.get("tags") or {}).items()},
            purge=bool(item.get("purge_tags")),
            present=item.get("state") != "absent",
        )
        for item in items
    ]


def refusals(wanted: Sequence[Wanted], existing: Mapping[str, Live]) -> list[str]:
    """Everything that cannot be done, each a sentence."""
    found = []
    names = [item.name for item in wanted]
    found += [f"Experiment '{name}' is declared {names.count(name)} times." for name in dict.fromkeys(names) if names.count(name) > 1]
    for item in wanted:
        there = existing.get(item.name)
        if not item.name.strip():
            found.append("An experiment needs a name.")
        if item.present and item.location and not _is_location(item.location):
            found.append(f"Experiment '{item.name}': artifact_location '{item.location}' is no URI such as s3://bucket/path or mlflow-artifacts:/path.")
        if item.present and there and item.location and item.location.rstrip("/") != there.location.rstrip("/"):
            found.append(
                f"Experiment '{item.name}' keeps its artifacts in {there.location} and MLflow cannot change that "
                f"(wanted: {item.location}): old runs would lose theirs. Take a new name, "
                "or remove the experiment for good with `mlflow gc` after deleting it."
            )
        if not item.present and there and there.id == DEFAULT_ID:
            found.append(f"Experiment '{item.name}' is the server's default one (id 0), which runs without an experiment need; it is not deleted.")
    return found


def plan(wanted: Sequence[Wanted], existing: Mapping[str, Live]) -> list[Step]:
    """One Step for each declared experiment, in the declared order."""
    return [_step(item, existing.get(item.name)) for item in wanted]


def state(wanted: Wanted, there: Live | None) -> Json | None:
    """What of an experiment is compared, for the diff."""
    if there is None:
        return None
    shown = {key: value for key, value in there.tags.items() if key in wanted.tags or (wanted.purge and not key.startswith("mlflow."))}
    return {"artifact_location": there.location, "lifecycle_stage": there.stage, "tags": dict(sorted(shown.items()))}


def outcome(step: Step) -> Json | None:
    """The same after the step, as predicted."""
    if not step.wanted.present:
        return None if step.live is None else {**(state(step.wanted, step.live) or {}), "lifecycle_stage": DELETED}
    location = step.wanted.location or (step.live.location if step.live else "(chosen by the server)")
    return {"artifact_location": location, "lifecycle_stage": ACTIVE, "tags": dict(sorted(step.wanted.tags.items()))}


def _step(wanted: Wanted, there: Live | None) -> Step:
    if not wanted.present:
        if there is None or there.stage == DELETED:
            return Step(wanted, there, KEEP)
        return Step(wanted, there, DELETE, (("experiments/delete", {"experiment_id": there.id}),))
    if there is None:
        body: Json = {"name": wanted.name, "tags": [{"key": key, "value": value} for key, value in wanted.tags.items()]}
        if wanted.location:
            body["artifact_location"] = wanted.location
        return Step(wanted, there, CREATE, (("experiments/create", body),))
    put = {key: value for key, value in wanted.tags.items() if there.tags.get(key) != value}
    # Tags of MLflow itself (mlflow.note.content, ...) belong to the people who write them in the UI.
    drop = [key for key in there.tags if wanted.purge and key not in wanted.tags and not key.startswith("mlflow.")]
    calls: list[tuple[str, Json]] = []
    if there.stage == DELETED:
        calls.append(("experiments/restore", {"experiment_id": there.id}))
    calls += [("experiments/set-experiment-tag", {"experiment_id": there.id, "key": key, "value": value}) for key, value in put.items()]
    calls += [("experiments/delete-experiment-tag", {"experiment_id": there.id, "key": key}) for key in drop]
    action = RESTORE if there.stage == DELETED else UPDATE if calls else KEEP
    return Step(wanted, there, action, tuple(calls))


def _is_location(location: str) -> bool:
    scheme, separator, rest = location.partition(":")
    return bool(scheme and separator and rest.startswith("/"))


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
