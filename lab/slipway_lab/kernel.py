# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kernel settings of the machine: the few that the lab needs are recorded before they are changed, and put back at its end."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from slipway_lab.layout import Lab

# Set by podman's network when it makes the bridge.
_CHANGED_BY_PODMAN = ("net/ipv4/ip_forward",)
# Each systemd, kubelet and containerd watches files: the default of 128 per user ends with the third node.
_AT_LEAST = {"fs/inotify/max_user_instances": 4096, "fs/inotify/max_user_watches": 524288}


def _record(lab: Lab) -> Path:
    return lab.runtime / "kernel.json"


def prepare(lab: Lab) -> bool:
    """Records what is there, then raises what is too small; True when something changed."""
    if not _record(lab).exists():
        lab.runtime.mkdir(parents=True, exist_ok=True)
        before = {name: _read(name) for name in (*_CHANGED_BY_PODMAN, *_AT_LEAST)}
        new = _record(lab).with_suffix(".new")
        new.write_text(json.dumps(before))
        new.replace(_record(lab))
    changed = False
    for name, least in _AT_LEAST.items():
        if int(_read(name)) < least:
            Path("/proc/sys", name).write_text(str(least))
            changed = True
    return changed


def put_back(lab: Lab) -> None:
    """Restores what was recorded, unless another lab still needs it; that one has then inherited the record."""
    try:
        before = json.loads(_record(lab).read_text())
    except (OSError, ValueError):
        return
    heirs = [p for p in lab.runtime.parent.glob("*/kernel.json") if p != _record(lab)]
    if heirs:
        for heir in heirs:
            with contextlib.suppress(OSError, ValueError):
                heir.write_text(json.dumps({**json.loads(heir.read_text()), **before}))
    else:
        for name, value in before.items():
            if _read(name) != value:
                Path("/proc/sys", name).write_text(value)
    _record(lab).unlink()


def _read(name: str) -> str:
    return Path("/proc/sys", name).read_text().strip()
