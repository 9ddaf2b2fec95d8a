# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters of a PostgreSQL server from its memory limit, and what forbids a change. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import _syntax

_NAME = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")
_PARAMETER = re.compile(r"^[a-z_][a-z0-9_.]*$")
_MIB = 2**20
# Set by the role, or names of files that must stay where they are.
_RESERVED = ("listen_addresses", "port", "unix_socket_directories", "data_directory", "hba_file", "ident_file", "config_file")


@dataclass(frozen=True)
class Settings:
    """The variables of one server as far as they depend on each other."""

    major: int
    user: str
    databases: Sequence[str]
    memory_limit: str
    max_connections: int
    extra: Mapping[str, str] = field(default_factory=dict)
    external: bool = False


def problems(settings: Settings, data_major: int | None) -> list[str]:
    """Everything that forbids to deploy these settings, each a sentence with the way out. `data_major`: version of what is on the wanted claim, if known."""
    found = []
    for what, names in (("postgresql_user", [settings.user]), ("postgresql_databases", list(settings.databases))):
        found += [f"{what}: '{name}' is no plain name (lower case letters, digits and _, at most 63)." for name in names if not _NAME.match(name)]
    if settings.user == "postgres":
        found.append("postgresql_user is 'postgres', the superuser, which does not log in from other pods; take another name.")
    if not settings.databases:
        found.append("postgresql_databases is empty; MLflow needs one.")
    if settings.external:
        return found
    if settings.major < 15:
        found.append(f"postgresql_major_version is {settings.major}; 15 is the oldest that this role starts.")
    if data_major is not None and data_major != settings.major:
        found.append(
            f"PostgreSQL {data_major} runs and {settings.major} is wanted: another major version cannot read its data. Dump (tag postgresql_dump) with "
            f"{data_major}, set postgresql_claim to a new name, deploy, and restore with playbooks/postgresql_restore.yml: docs/mlflow.md, 'Major upgrades'."
        )
    limit = quantity(settings.memory_limit)
    if limit is None:
        found.append(f"postgresql_memory_limit '{settings.memory_limit}' is no quantity such as 512Mi.")
    elif limit < 128 * _MIB:
        found.append(f"postgresql_memory_limit {settings.memory_limit} is below 128Mi, with which the server does not start reliably.")
    if not 10 <= settings.max_connections <= 5000:
        found.append(f"postgresql_max_connections is {settings.max_connections}; it must be between 10 and 5000.")
    for name, value in settings.extra.items():
        if not _PARAMETER.match(name) or "\n" in str(value) or "\r" in str(value):
            found.append(f"postgresql_parameters: '{name}' is no parameter name, or its value has a line break.")
        elif name in _RESERVED:
            found.append(f"postgresql_parameters: {name} is set by the role.")
    return found


def configuration(settings: Settings) -> str:
    """postgresql.conf: sized from the memory limit, then what the user adds."""
    limit = (quantity(settings.memory_limit) or 0) // _MIB
    values: dict[str, object] = {
        "listen_addresses": "*",
        "unix_socket_directories": "/run/postgresql",
        "max_connections": settings.max_connections,
        # The manual's starting points (PostgreSQL 15, "Resource Consumption"); a limit of a container counts the page cache, too.
        "shared_buffers": f"{max(16, limit // 4)}MB",
        "effective_cache_size": f"{max(32, limit * 5 // 8)}MB",
        "maintenance_work_mem": f"{max(16, min(1024, limit // 16))}MB",
        # All connections sorting at once stay within another quarter.
        "work_mem": f"{max(256, limit * 1024 // 4 // settings.max_connections)}kB",
        "max_wal_size": "1GB",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "password_encryption": "scram-sha-256",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        # A client that vanished with its node must not hold locks for two hours.
        "tcp_keepalives_idle": 60,
        "tcp_keepalives_interval": 10,
        "tcp_keepalives_count": 6,
        **settings.extra,
    }
    lines = ["{} = '{}'".format(name, _text(value).replace("'", "''")) for name, value in values.items()]
    return "\n".join([f"# Written by the role postgresql: sized from a limit of {settings.memory_limit}.", *lines, ""])


def quantity(text: str) -> int | None:
    """Bytes of a Kubernetes quantity, None for what is none or below 0."""
    number = _syntax.quantity(text.strip())
    return int(number) if number is not None and number >= 0 else None


def _text(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
