# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What follows from the settings of an MLflow server, or why they cannot be deployed. Reads only."""

from __future__ import annotations

import os
from typing import Any

from . import _mlflow_environment as environment
from ._mlflow_api import Credentials, MlflowError, by_service, closing
from ._mlflow_connect import read_secret
from ._mlflow_environment import Database, Server, Store
from ._mlflow_experiments import DEFAULT_ID
from ._mlflow_settings import Running, Settings, problems, upgrade_problems
from ._model import ClusterError, Forbidden, Object, Ref, Refused
from ._module import Call

VERSION = "app.kubernetes.io/version"  # label of the Deployment
ADMIN, PREFIX = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_STATIC_PREFIX"  # variables of a server that decide how it is asked

_TEXT: dict[str, Any] = {"type": "str", "default": ""}
_LIST: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
ARGUMENTS: dict[str, Any] = {
    "namespace": {"type": "str", "required": True},
    "name": {"type": "str", "default": "mlflow"},
    "version": {"type": "str", "required": True},
    "replicas": {"type": "int", "default": 1},
    "workers": {"type": "int", "default": 2},
    "database": {
        "type": "dict",
        "required": True,
        "options": {
            "uri": {"type": "str", "required": True},
            "host": _TEXT,
            "port": {"type": "int", "default": 5432},
            "user": _TEXT,
            "name": _TEXT,
            "secret_name": _TEXT,
            "secret_keys": {"type": "dict", "default": {}, "no_log": False},
        },
    },
    "artifacts": {
        "type": "dict",
        "required": True,
        "options": {
            "destination": {"type": "str", "required": True},
            "moved_from": _TEXT,
            "claim_access_mode": _TEXT,
            "are_proxied": {"type": "bool", "default": True},
            "are_anonymous": {"type": "bool", "default": False},
            "credentials": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {name: {"type": "str", "required": True, "no_log": False} for name in ("env", "secret", "key")},
            },
            "endpoint_url": _TEXT,
            "region": {"type": "str", "default": "us-east-1"},
            "addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"], "default": "auto"},
            "signature_version": {"type": "str", "default": "s3v4"},
            "checksums": {"type": "str", "choices": ["when_supported", "when_required"], "default": "when_supported"},
        },
    },
    "hosts": _LIST,
    "networks": _LIST,
    "origins": _LIST,
    "cluster_domain": {"type": "str", "default": "cluster.local"},
    "static_prefix": _TEXT,
    "authentication": {
        "type": "dict",
        "default": {},
        "options": {
            "is_enabled": {"type": "bool", "default": False},
            "username": {"type": "str", "default": "admin"},
            "password_file": {"type": "path", "no_log": False},
            "secret_name": {"type": "str", "default": "mlflow-admin"},
        },
    },
    "keys_secret_name": {"type": "str", "default": "mlflow-keys", "no_log": False},
    "metrics_are_exposed": {"type": "bool", "default": True},
    "job_execution_is_enabled": {"type": "bool", "default": False},
    "gc_is_scheduled": {"type": "bool", "default": False},
    "extra_environment": {"type": "dict", "default": {}},
}


def run(call: Call) -> dict[str, Any]:
    """Look at what runs, refuse all that cannot be at once, give the containers' environments."""
    params = call.params
    given, artifacts, login = params["database"], params["artifacts"], params["authentication"]
    settings = Settings(
        name=params["name"],
        namespace=params["namespace"],
        version=params["version"],
        replicas=params["replicas"],
        database_uri=given["uri"],
        database_uri_is_secret="MLFLOW_BACKEND_STORE_URI" in (given["secret_keys"] or {}),
        artifacts_destination=artifacts["destination"],
        artifacts_access_mode=artifacts["claim_access_mode"],
        artifacts_moved_from=artifacts["moved_from"],
        endpoint_url=artifacts["endpoint_url"],
        cluster_domain=params["cluster_domain"],
        static_prefix=params["static_prefix"],
        hosts=params["hosts"],
        networks=params["networks"],
        origins=params["origins"],
        job_execution=params["job_execution_is_enabled"],
        authentication=bool(login.get("is_enabled")),
        admin_password=_admin_password(call, login),
        gc_is_scheduled=params["gc_is_scheduled"],
        environment=params["extra_environment"] or {},
    )
    live = call.cluster.get(Ref("apps/v1", "Deployment", settings.namespace, settings.name))
    found = problems(settings) + upgrade_problems(settings, _running(call, settings, login, live))
    if found:
        raise Refused(found)
    database = Database(given["host"], given["port"], given["user"], given["name"], given["secret_name"], given["secret_keys"] or {})
    store = Store(
        artifacts["endpoint_url"],
        artifacts["region"],
        artifacts["addressing_style"],
        artifacts["signature_version"],
        artifacts["checksums"],
        artifacts["are_anonymous"],
        artifacts["credentials"],
    )
    server = Server(
        workers=params["workers"],
        proxied=artifacts["are_proxied"],
        metrics=params["metrics_are_exposed"],
        keys_secret=params["keys_secret_name"],
        admin_secret=login.get("secret_name") or "",
        admin_username=login.get("username") or "",
        extra=params["extra_environment"] or {},
    )
    wanted = environment.server(settings, database, store, server)
    return {
        "changed": False,
        "answers_as_declared": live is not None and _access(_environment(live)) == _access(wanted),
        "running_version": (live["metadata"].get("labels") or {}).get(VERSION, "") if live else "",
        "database_environment": environment.database(settings, database),
        "store_environment": environment.store(settings, store),
        "server_environment": wanted,
    }


def _environment(live: Object) -> list[environment.Entry]:
    return [entry for container in live["spec"]["template"]["spec"]["containers"] for entry in container.get("env") or []]


def _access(entries: list[environment.Entry]) -> dict[str, str]:
    """How a server with these variables is asked: its path, and who logs in."""
    return {entry["name"]: entry.get("value", "") for entry in entries if entry["name"] in (ADMIN, PREFIX)}


def _admin_password(call: Call, login: dict[str, Any]) -> str | None:
    """The password that MLflow would get, None where it is generated."""
    if not login.get("is_enabled"):
        return None
    path = login.get("password_file")
    if path:
        try:
            with open(os.path.expanduser(path), encoding="utf-8") as file:
                password = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused([f"mlflow_admin_password_file: cannot read {path}: {error}"]) from None
    else:
        try:
            # What stands there is in use already, whatever its end.
            password = (read_secret(call.cluster, call.params["namespace"], login["secret_name"], "password") or "").rstrip("\n")
        except Forbidden:  # MLflow itself still refuses a bad one
            return None
        if not password:
            return None
    call.secrets |= {password, password.strip()}
    return password


def _running(call: Call, settings: Settings, login: dict[str, Any], live: Object | None) -> Running | None:
    """What the data is of, as the role noted before it touched it; None where it never did. `live` is the server that is deployed."""
    noted = call.cluster.get(Ref("v1", "ConfigMap", settings.namespace, settings.name + "-state"))
    if noted is None:
        return None
    data = noted.get("data") or {}
    destination = data.get("artifacts_destination", "")
    moves = bool(destination) and destination.rstrip("/") != settings.artifacts_destination.rstrip("/")
    return Running(
        version=data.get("version", ""),
        artifacts_destination=destination,
        has_data=_has_data(call, settings, live, login) if moves and live else None,
    )


def _has_data(call: Call, settings: Settings, live: Object, login: dict[str, Any]) -> bool | None:
    """Whether there are runs or experiments whose artifacts a new destination would lose; None where the server does not say."""
    access = _access(_environment(live))
    try:
        password = read_secret(call.cluster, settings.namespace, login.get("secret_name") or "mlflow-admin", "password") if ADMIN in access else None
        credentials = Credentials(access[ADMIN], password) if password else Credentials()
        with closing(by_service(call.cluster, settings.namespace, settings.name, credentials, access.get(PREFIX, ""))) as server:
            experiments = server.post("experiments/search", {"max_results": 1000, "view_type": "ALL"}).get("experiments", [])
            ids = [str(experiment["experiment_id"]) for experiment in experiments]
            if any(identity != DEFAULT_ID for identity in ids):
                return True
            return bool(ids) and bool(server.post("runs/search", {"experiment_ids": ids, "max_results": 1, "run_view_type": "ALL"}).get("runs"))
    except (ClusterError, MlflowError):
        return None
