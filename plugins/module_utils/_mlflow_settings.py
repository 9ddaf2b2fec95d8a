# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to hold between the settings of an MLflow server, and what follows from them. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

ADMIN_PASSWORD_LENGTH = 12  # MLflow refuses to start below it (mlflow/server/auth/__init__.py, 3.17)
_PUBLISHED_PASSWORDS = ("password1234",)  # shipped in basic_auth.ini of old versions, refused by MLflow
_PATTERNS_PER_NETWORK = 512  # MLflow compares each request with all of them
_HOST = re.compile(r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:([0-9]{1,5}|\*))?$", re.IGNORECASE)
_ORIGIN = re.compile(r"^https?://[^/\s,]+$", re.IGNORECASE)
# Names of variables whose values nobody may read; not MAX_TOKENS, not AWS_ACCESS_KEY_ID.
_SECRET = re.compile(r"(PASSWORD|PASSWD|PASSPHRASE|(^|_)(SECRET|TOKEN)|SECRET_ACCESS_KEY|API_KEY|PRIVATE_KEY)$", re.IGNORECASE)
# Databases whose bare scheme makes SQLAlchemy guess a driver; the guess changed with SQLAlchemy 2.1 (psycopg2 -> psycopg).
_DRIVERS = {"postgresql": "postgresql+psycopg2", "postgres": "postgresql+psycopg2", "mysql": "mysql+pymysql", "mssql": "mssql+pymssql"}


@dataclass(frozen=True)
class Settings:
    """The variables of one MLflow server as far as they depend on each other."""

    name: str
    namespace: str
    version: str
    replicas: int
    database_uri: str
    artifacts_destination: str
    database_uri_is_secret: bool = False  # the whole of it comes from a Secret
    artifacts_access_mode: str = ""  # of the claim; "" where there is none
    artifacts_moved_from: str = ""
    endpoint_url: str = ""
    cluster_domain: str = "cluster.local"
    static_prefix: str = ""
    hosts: Sequence[str] = ()
    networks: Sequence[str] = ()
    origins: Sequence[str] = ()
    job_execution: bool = False
    authentication: bool = False
    admin_password: str | None = field(default=None, repr=False)  # None: generated, or not readable for us
    gc_is_scheduled: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)  # that the user adds


@dataclass(frozen=True)
class Running:
    """What the data is of: noted before each migration, and kept as long as the data when the server goes."""

    version: str
    artifacts_destination: str
    has_data: bool | None  # runs, or experiments beside the default one; None: the server did not say


def problems(settings: Settings) -> list[str]:
    """Everything that forbids to deploy these settings, each a sentence with the way out."""
    return [
        *_database_problems(settings),
        *_artifact_problems(settings),
        *_replica_problems(settings),
        *_host_problems(settings),
        *_authentication_problems(settings),
        *_environment_problems(settings),
        *([] if _version(settings.version) else ["mlflow_version '" + settings.version + "' is not a release such as 3.17.2."]),
    ]


def upgrade_problems(settings: Settings, running: Running | None) -> list[str]:
    """Everything that forbids to go from what runs to these settings."""
    if running is None:
        return []
    found, state = [], f"{settings.namespace}/{settings.name}-state"
    if _version(settings.version) < _version(running.version):
        found.append(
            f"The database was, or was about to be, brought to MLflow {running.version}, and {settings.version} is wanted: with that schema, which is too new "
            f"for the older server, it refuses to start. Set mlflow_version back to {running.version}. Or go back: restore the dump taken before the upgrade "
            f"(playbooks/postgresql_restore.yml) and then remove the ConfigMap {state}, which notes the version. If the migration never began (the "
            f"container migrate of the Job {settings.name}-migrate-... did not start, as with a version that has no image), the database is as it was: "
            "remove that Job and the ConfigMap."
        )
    old, new = running.artifacts_destination.rstrip("/"), settings.artifacts_destination.rstrip("/")
    if old and old != new and settings.artifacts_moved_from.rstrip("/") != old and running.has_data is not False:
        why = "there are runs or experiments" if running.has_data else "the server did not say whether there are experiments"
        found.append(
            f"mlflow_artifacts_destination would change from {old} to {new}, and {why}: their artifacts would answer 404. "
            f"Copy the tree below {old} to {new}, then set mlflow_artifacts_moved_from: {old}"
        )
    return found


def allowed_hosts(settings: Settings) -> list[str]:
    """Values of the Host header that the server shall accept (MLFLOW_SERVER_ALLOWED_HOSTS), without the pod's own address.

    MLflow compares the header with its port, by fnmatch where an entry contains `*` and exactly elsewhere, and a list of ours
    replaces its own. So each name comes with and without `:*`. Networks become patterns that only addresses match: its own
    `10.*` also lets `10.evil.example` through, which is the DNS rebinding that the check exists to stop.
    """
    service, namespace = settings.name, settings.namespace
    names = [
        service,
        service + "." + namespace,
        service + "." + namespace + ".svc",
        service + "." + namespace + ".svc." + settings.cluster_domain,
        "localhost",  # kubectl port-forward
        "127.0.0.1",  # probes
        *(["0.0.0.0"] if settings.job_execution else []),  # noqa: S104 - the job workers call the server by the address it binds
    ]
    result: list[str] = []
    for name in [*names, *settings.hosts]:
        result += [name] if ":" in name else [name, name + ":*"]
    for network in settings.networks:
        result += network_patterns(network)
    return list(dict.fromkeys(result))


def allowed_origins(hosts: Iterable[str], extra: Iterable[str] = ()) -> list[str]:
    """Origins that may POST: pages of the server itself under each of its names, and `extra`."""
    own = [scheme + "://" + host for host in hosts for scheme in ("http", "https")]
    return list(dict.fromkeys([*own, *extra]))


def network_patterns(network: str) -> list[str]:
    """fnmatch patterns that match `<address>:<port>` for every IPv4 address of a network and for nothing else.

    Raises ValueError for what is not an IPv4 network, has host bits, or would need too many patterns.
    """
    parsed = ipaddress.IPv4Network(network)
    octets = str(parsed.network_address).split(".")
    whole, bits = divmod(parsed.prefixlen, 8)
    anything = ["[0-9]", "[1-9][0-9]", "[12][0-9][0-9]"]
    parts: list[list[str]] = []
    for index in range(4):
        if index < whole:
            parts.append([octets[index]])
        elif index == whole and bits:
            first = int(octets[index])
            parts.append([str(value) for value in range(first, first + 2 ** (8 - bits))])
        else:
            parts.append(anything)
    count = len(parts[0]) * len(parts[1]) * len(parts[2]) * len(parts[3])
    if count > _PATTERNS_PER_NETWORK:
        raise ValueError(f"{network} needs {count} patterns, more than {_PATTERNS_PER_NETWORK}; name smaller networks")
    return [".".join((a, b, c, d)) + ":*" for a in parts[0] for b in parts[1] for c in parts[2] for d in parts[3]]


def password_problems(password: str) -> list[str]:
    """Why this admin password cannot be used."""
    found = []
    typed = password.rstrip("\r\n")
    if typed != password:
        found.append("the file ends with a line break, which would be part of the password: who types it gets 401. Write it by printf %s instead of echo.")
    if len(typed) < ADMIN_PASSWORD_LENGTH:
        found.append(f"the admin password has fewer than {ADMIN_PASSWORD_LENGTH} characters, and MLflow would refuse to start.")
    if typed in _PUBLISHED_PASSWORDS:
        found.append("the admin password is one that MLflow published, and MLflow refuses it.")
    return found


def plain_secrets(environment: Mapping[str, object]) -> list[str]:
    """Variables with a value that belongs into a Secret, by their name or as a URI with a password."""
    return [name for name, value in environment.items() if value and (_SECRET.search(name) or ("://" in str(value) and hides_password(str(value))))]


def hides_password(uri: str) -> bool:
    """Whether a URI carries a password."""
    try:
        return bool(urlsplit(uri).password)
    except ValueError:  # an unquoted special character, which only a password would bring in
        return "@" in uri


def _database_problems(settings: Settings) -> list[str]:
    found = []
    scheme = settings.database_uri.partition(":")[0]
    if hides_password(settings.database_uri) or re.search(r"[?&](password|passwd|pwd)=", settings.database_uri):
        found.append(
            "mlflow_database_uri carries a password, which would be readable in the inventory, the Deployment and every log. Put it into a Secret: "
            "mlflow_database_secret_name with mlflow_database_secret_keys, and mlflow_database_uri: " + _DRIVERS.get(scheme, scheme) + "://"
        )
    if scheme in _DRIVERS:
        found.append("mlflow_database_uri names no driver, and which one is loaded depends on the version of SQLAlchemy: write " + _DRIVERS[scheme] + "://")
    elif scheme == "sqlite" and settings.artifacts_access_mode and not settings.database_uri.startswith("sqlite:////artifacts/"):
        found.append("An SQLite database must lie on the claim to outlive the pod: mlflow_database_uri: sqlite:////artifacts/mlflow.db")
    elif scheme == "sqlite" and not settings.artifacts_access_mode:
        found.append("An SQLite database needs a claim: set mlflow_artifacts_destination: file:///artifacts, or use PostgreSQL.")
    elif scheme == "sqlite" and settings.gc_is_scheduled:
        found.append("mlflow_gc_older_than needs PostgreSQL: an SQLite file is on the claim that the server holds. `mlflow gc` can be run in its pod.")
    elif scheme.startswith("postgresql+") and settings.database_uri.partition("://")[2].partition("?")[0]:
        found.append(
            "mlflow_database_uri names a host or a database, of which the dump before a migration and the database of the users would know nothing. Write "
            f"{scheme}:// and give them by mlflow_database_host, mlflow_database_port, mlflow_database_user and mlflow_database_name."
        )
    elif "+" not in scheme and scheme != "sqlite":
        found.append("mlflow_database_uri '" + scheme + ":...' is no database that MLflow knows; the default is postgresql+psycopg2://")
    return found


def _artifact_problems(settings: Settings) -> list[str]:
    destination = settings.artifacts_destination
    if hides_password(settings.endpoint_url):
        return ["mlflow_s3_endpoint_url carries a password, which would be readable in the Deployment; give credentials by mlflow_artifacts_credentials."]
    if hides_password(destination):
        return ["mlflow_artifacts_destination carries a password; give credentials by mlflow_artifacts_credentials."]
    scheme, _separator, rest = destination.partition("://")
    if not rest:
        return ["mlflow_artifacts_destination '" + destination + "' is neither file:///artifacts nor a URI such as s3://bucket/path."]
    if scheme == "file" and not (destination + "/").startswith("file:///artifacts/"):
        return ["mlflow_artifacts_destination '" + destination + "' is not on the claim, which is mounted at /artifacts: artifacts would die with the pod."]
    return []


def _replica_problems(settings: Settings) -> list[str]:
    found = []
    if settings.replicas < 1:
        found.append("mlflow_replicas must be at least 1.")
    if settings.replicas > 1 and settings.database_uri.startswith("sqlite"):
        found.append(f"mlflow_replicas is {settings.replicas}, but SQLite is one file for one server: set 1, or use PostgreSQL.")
    if settings.replicas > 1 and settings.artifacts_access_mode in ("ReadWriteOnce", "ReadWriteOncePod"):
        found.append(
            f"mlflow_replicas is {settings.replicas}, but a claim with {settings.artifacts_access_mode} serves one node only: set 1, "
            "use mlflow_artifacts_claim_access_mode: ReadWriteMany, or keep artifacts in S3."
        )
    return found


def _host_problems(settings: Settings) -> list[str]:
    found = []
    for host in settings.hosts:
        if host in ("*", "*:*"):
            found.append("mlflow_hosts contains '" + host + "', which switches the check of the Host header off; name the hosts.")
        elif not _HOST.match(host):
            found.append("mlflow_hosts: '" + host + "' is no host name (no scheme, no path; a port may follow).")
    for network in settings.networks:
        try:
            network_patterns(network)
        except ValueError as error:
            found.append(f"mlflow_networks: {error}.")
    for origin in settings.origins:
        if origin == "*":
            found.append("mlflow_origins contains '*', which lets every page on the web write; name the origins.")
        elif not _ORIGIN.match(origin):
            found.append("mlflow_origins: '" + origin + "' is no origin such as https://notebooks.example.org.")
    if settings.static_prefix and not re.match(r"^(/[A-Za-z0-9._~-]+)+$", settings.static_prefix):
        found.append("mlflow_static_prefix '" + settings.static_prefix + "' must begin with / and not end with one.")
    return found


def _authentication_problems(settings: Settings) -> list[str]:
    if not settings.authentication:
        return []
    found = []
    if settings.database_uri_is_secret or not settings.database_uri.startswith("postgresql"):
        found.append(
            "mlflow_authentication_is_enabled needs a PostgreSQL that is given by mlflow_database_uri: postgresql+psycopg2:// and the variables after it: "
            "MLflow takes the place of its users from a plain file, which can hold no password."
        )
    if settings.admin_password is not None:
        found += ["mlflow_admin: " + problem for problem in password_problems(settings.admin_password)]
    return found


def _environment_problems(settings: Settings) -> list[str]:
    return [
        f"mlflow_environment: {name} is a secret, which would be readable in the inventory and the Deployment. Put it into a Secret and name that in "
        "mlflow_artifacts_credentials or mlflow_database_secret_keys."
        for name in plain_secrets(settings.environment)
    ]


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"^(\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in match.groups()) if match else ()
