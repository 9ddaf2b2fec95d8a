# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab changes on the machine itself: a few kernel settings and podman's firewall chains. Recorded before, put back after."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from slipway_lab.containers import podman
from slipway_lab.layout import Lab
from slipway_lab.shell import output, run, succeeds

# Set by podman's network when it makes the bridge; the two that follow forwarding are written back before and after it.
_CHANGED_BY_PODMAN = ("net/ipv4/ip_forward", "net/ipv4/conf/all/accept_redirects", "net/ipv4/conf/default/accept_redirects")
# Each systemd, kubelet and containerd watches files: the default of 128 per user ends with the third node.
_AT_LEAST = {"fs/inotify/max_user_instances": 4096, "fs/inotify/max_user_watches": 524288}
_TABLES = ("nat", "filter")


def _record(lab: Lab) -> Path:
    return lab.runtime / "machine.json"


def prepare(lab: Lab) -> None:
    """Records what is there, then raises what is too small."""
    if not _record(lab).exists():
        inherited = next((p for p in lab.runtime.parent.glob("*/machine.json")), None)
        before = json.loads(inherited.read_text()) if inherited else _look()
        lab.runtime.mkdir(parents=True, exist_ok=True)
        new = _record(lab).with_suffix(".new")
        new.write_text(json.dumps(before))
        new.replace(_record(lab))
    for name, least in _AT_LEAST.items():
        if int(_read(name)) < least:
            _write(name, str(least))


def _look() -> dict[str, Any]:
    settings = {name: _read(name) for name in (*_CHANGED_BY_PODMAN, *_AT_LEAST)}
    return {"settings": settings, "tables": [t for t in _TABLES if _table_exists(t)], "chains": sorted(_podman_chains())}


def put_back(lab: Lab) -> None:
    """Restores what was recorded, unless another lab or another container still stands on it."""
    try:
        before = json.loads(_record(lab).read_text())
    except (OSError, ValueError):
        return
    _record(lab).unlink()
    if any(lab.runtime.parent.glob("*/machine.json")):
        return  # that lab has inherited the record
    others = bool(podman(lab, "ps", "--quiet", quiet=True))
    for name, value in before["settings"].items():
        if _read(name) != value and not (others and name in _CHANGED_BY_PODMAN):
            _write(name, value)
    if not others and not before["chains"]:
        _remove_podman_chains()
        for table in _TABLES:
            if table not in before["tables"] and _is_empty(table):
                run(["nft", "delete", "table", "ip", table], check=False)


def _podman_chains() -> set[str]:
    """<table>/<chain> of podman's network in the machine's firewall."""
    return {f"{t}/{c}" for t in _TABLES if _table_exists(t) for c in re.findall(r"^-N (NETAVARK\S*)", _rules(t), re.MULTILINE)}


def _remove_podman_chains() -> None:
    for table in _TABLES:
        if not _table_exists(table):
            continue
        for rule in re.findall(r"^-A (.*-j NETAVARK\S*)$", _rules(table), re.MULTILINE):
            run(["sh", "-c", f"iptables -w -t {table} -D {rule}"], check=False)  # iptables' own quoting, given back to it
        chains = re.findall(r"^-N (NETAVARK\S*)", _rules(table), re.MULTILINE)
        for action in ("-F", "-X"):
            for chain in chains:
                run(["iptables", "-w", "-t", table, action, chain], check=False)


def _table_exists(table: str) -> bool:
    """Asked without making it: iptables creates the table that it is asked to list."""
    return succeeds(["nft", "list", "table", "ip", table])


def _is_empty(table: str) -> bool:
    return _table_exists(table) and all(line.startswith("-P") for line in _rules(table).splitlines())


def _rules(table: str) -> str:
    return output(["iptables", "-w", "-t", table, "-S"], quiet=True)


def _read(name: str) -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys", name).read_text().strip()
    return "0"


def _write(name: str, value: str) -> None:
    Path("/proc/sys", name).write_text(value)
