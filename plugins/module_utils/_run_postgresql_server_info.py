# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration that follows from a PostgreSQL server's settings, or why they cannot be deployed. Reads only."""

from __future__ import annotations

from typing import Any

from ._model import Object, Ref, Refused
from ._module import Call
from ._postgresql_settings import Settings, configuration, problems

MAJOR = "slipway.mlops/postgresql-major"  # annotation of the StatefulSet

ARGUMENTS: dict[str, Any] = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "default": "postgresql"},
    "major_version": {"type": "int", "default": 15},
    "user": {"type": "str", "default": "mlflow"},
    "databases": {"type": "list", "elements": "str", "default": ["mlflow"]},
    "memory_limit": {"type": "str", "default": "512Mi"},
    "max_connections": {"type": "int", "default": 120},
    "parameters": {"type": "dict", "default": {}},
    "is_external": {"type": "bool", "default": False},
    "claim": {"type": "str", "default": "postgresql-data"},
}


def run(call: Call) -> dict[str, Any]:
    """Look at what runs, refuse what cannot be, give what follows."""
    params = call.params
    settings = Settings(
        major=params["major_version"],
        user=params["user"],
        databases=params["databases"],
        memory_limit=params["memory_limit"],
        max_connections=params["max_connections"],
        extra=params["parameters"] or {},
        external=params["is_external"],
    )
    running, moves = None, False
    if not settings.external:
        live = call.cluster.get(Ref("apps/v1", "StatefulSet", params["namespace"], params["name"]))
        noted = ((live or {}).get("metadata", {}).get("annotations") or {}).get(MAJOR, "")
        running = int(noted) if noted.isdigit() else None
        moves = _claim(live) != params["claim"]
    found = problems(settings, None if moves else running)
    if found:
        raise Refused(found)
    return {"changed": False, "running_major_version": running, "configuration": "" if settings.external else configuration(settings)}


def _claim(live: Object | None) -> str:
    """The claim on which a StatefulSet's data is, "" where there is none."""
    volumes = live["spec"]["template"]["spec"].get("volumes") or [] if live else []
    return next((volume["persistentVolumeClaim"]["claimName"] for volume in volumes if volume["name"] == "data"), "")
