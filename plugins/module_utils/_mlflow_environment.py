# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The environment of MLflow's containers, as `env` of a pod: a later entry may use an earlier one by $(NAME). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._mlflow_settings import Settings, allowed_hosts, allowed_origins

Entry = dict[str, Any]
PORT = 5000  # of the container


@dataclass(frozen=True)
class Database:
    """Where runs are kept. `keys`: environment variable -> key of the Secret; these win over the plain values."""

    host: str = ""
    port: int = 5432
    user: str = ""
    name: str = ""
    secret: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """How S3 is spoken to. `credentials`: {env, secret, key} each."""

    endpoint_url: str = ""
    region: str = "us-east-1"
    addressing_style: str = "auto"
    signature_version: str = "s3v4"
    checksums: str = "when_supported"
    anonymous: bool = False
    credentials: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class Server:
    """The rest of what a server's container is told. `files` is the folder of our scripts in it."""

    workers: int = 2
    proxied: bool = True
    metrics: bool = True
    keys_secret: str = ""
    admin_secret: str = ""
    admin_username: str = "admin"
    files: str = "/etc/slipway/mlflow"
    extra: Mapping[str, str] = field(default_factory=dict)


def database(settings: Settings, given: Database) -> list[Entry]:
    """For whatever opens the database: migration and server."""
    plain: dict[str, object] = {"MLFLOW_BACKEND_STORE_URI": settings.database_uri}
    if settings.database_uri.startswith("postgresql"):
        # libpq takes these; so no password needs URL quoting, and a server that is gone is told in 5 s instead of minutes.
        plain |= {"PGHOST": given.host, "PGPORT": given.port, "PGUSER": given.user, "PGDATABASE": given.name, "PGCONNECT_TIMEOUT": 5}
    keys = {} if settings.database_uri.startswith("sqlite") else given.keys
    entries = [_plain(name, value) for name, value in plain.items() if name not in keys]
    return entries + [_secret(name, given.secret, key) for name, key in keys.items()]


def store(settings: Settings, given: Store) -> list[Entry]:
    """For whatever reads or writes artifacts itself: the server, and the Job that makes the bucket."""
    plain: dict[str, object] = {"MLFLOW_ARTIFACTS_DESTINATION": settings.artifacts_destination}
    if settings.artifacts_destination.startswith("s3://"):
        plain |= {"MLFLOW_S3_ENDPOINT_URL": given.endpoint_url} if given.endpoint_url else {}
        plain |= {
            "AWS_DEFAULT_REGION": given.region,
            "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": given.addressing_style,
            "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION": given.signature_version,
            "AWS_REQUEST_CHECKSUM_CALCULATION": given.checksums,
            "AWS_RESPONSE_CHECKSUM_VALIDATION": given.checksums,
        }
        if given.anonymous:  # boto3 signs with something or refuses to send
            plain |= {"AWS_ACCESS_KEY_ID": "anonymous", "AWS_SECRET_ACCESS_KEY": "anonymous"}
    taken = {item["env"] for item in given.credentials}
    entries = [_plain(name, value) for name, value in plain.items() if name not in taken]
    return entries + [_secret(item["env"], item["secret"], item["key"]) for item in given.credentials]


def server(settings: Settings, database_given: Database, store_given: Store, given: Server) -> list[Entry]:
    """For the server's container. What the user adds replaces an entry of ours with the same name."""
    hosts = allowed_hosts(settings)
    plain: dict[str, object] = {
        # The kubelet fills in the pod's address, by which Prometheus and the API server's proxy come.
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join([*hosts, f"$(POD_IP):{PORT}", f"[$(POD_IP)]:{PORT}"]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(allowed_origins(hosts, settings.origins)),
        "MLFLOW_WORKERS": given.workers,
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true" if settings.job_execution else "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": "/tmp",  # noqa: S108 - the one writable place
    }
    if settings.static_prefix:
        plain["MLFLOW_STATIC_PREFIX"] = settings.static_prefix
    if given.metrics:
        plain["MLFLOW_EXPOSE_PROMETHEUS"] = "/tmp/metrics"  # noqa: S108
    if given.proxied and settings.artifacts_destination.startswith("s3://"):
        plain["PYTHONPATH"] = given.files
    secrets = [
        _secret("MLFLOW_CRYPTO_KEK_PASSPHRASE", given.keys_secret, "crypto_passphrase"),
        _secret("WEBHOOK_KEY", given.keys_secret, "webhook_key"),
        # A Fernet key is base64 of 32 bytes: 43 letters and digits, and the padding.
        _plain("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "$(WEBHOOK_KEY)="),
    ]
    if settings.authentication:
        plain |= {"MLFLOW_AUTH_CONFIG_PATH": given.files + "/basic_auth.ini", "MLFLOW_AUTH_ADMIN_USERNAME": given.admin_username}
        secrets += [
            _secret("MLFLOW_AUTH_ADMIN_PASSWORD", given.admin_secret, "password"),
            _secret("MLFLOW_FLASK_SERVER_SECRET_KEY", given.admin_secret, "flask_secret_key"),
        ]
    pod_ip: Entry = {"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}
    ours = [pod_ip, *database(settings, database_given), *store(settings, store_given), *(_plain(*item) for item in plain.items()), *secrets]
    return [entry for entry in ours if entry["name"] not in given.extra] + [_plain(name, value) for name, value in given.extra.items()]


def _plain(name: str, value: object) -> Entry:
    return {"name": name, "value": ("true" if value else "false") if isinstance(value, bool) else str(value)}


def _secret(name: str, secret: str, key: str) -> Entry:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
