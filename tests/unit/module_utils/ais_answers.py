# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers of AIStore's daemons in the form of aisnode v1.5.0, cut down to what is read."""

from __future__ import annotations

from typing import Any

UUID = "bBBK3sz2d"
HEALTHY = 6  # cluster started, node started


def status(
    identity: str, role: str, flags: int = HEALTHY, uuid: str = UUID, version: int = 10, primary: str = "p1", snap: dict[str, Any] | None = None
) -> dict[str, Any]:
    """node_status of one daemon."""
    found: dict[str, Any] = {
        "status": "",
        "ais_version": "5.0.v1.5.0",
        "snode": {"daemon_type": role, "daemon_id": identity, "flags": 0},
        "capacity": {"mountpaths": None, "cs_err": "", "total_used": "0", "total_avail": "0", "pct_max": 0},
        "cluster": {
            "smap": {"Primary": {"pub_url": "http://p:51080", "control_url": "http://p:51082", "id": primary}, "uuid": uuid, "version": str(version)},
            "bmd": {"uuid": uuid, "version": "1"},
            "config": {"version": "3" if identity == primary else "4"},
            "flags": flags,
        },
        "smap_version": str(version),
    }
    if role == "target":
        disk = {"mountpath_label": "", "fs": {"Fs": "/dev/loop2", "FsType": "xfs"}, "disks": ["loop2"], "used": "1000", "avail": "9000", "pct_used": 10}
        found["capacity"] = {"mountpaths": {"/ais/disk0": disk}, "cs_err": "", "total_used": "1000", "total_avail": "9000", "pct_max": 10}
    if snap:
        found["rebalance_snap"] = snap
    return found


def running(identity: str = "g3", sent: int = 5) -> dict[str, Any]:
    """A rebalance that goes on."""
    return {"id": identity, "kind": "rebalance", "end-time": "0001-01-01T00:00:00Z", "aborted": False, "stats": {"out-objs": str(sent), "in-objs": "0"}}


def smap(proxies: dict[str, int], targets: dict[str, int]) -> dict[str, Any]:
    """A cluster map: ID -> flags."""
    return {
        "pmap": {name: {"daemon_id": name, "daemon_type": "proxy", "flags": flags} for name, flags in proxies.items()},
        "tmap": {name: {"daemon_id": name, "daemon_type": "target", "flags": flags} for name, flags in targets.items()},
        "uuid": UUID,
    }
