# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""storage_info tells what xfs_datafs would see, and changes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .conftest import Sandbox


def test_devices_and_what_they_hold(host: Sandbox) -> None:
    blank, taken, mounted = host.disk("a"), host.disk("b"), host.disk("c")
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "home", host.file("b")], check=True)
    host.datafs({"device": mounted, "path": "/srv/disk0"})
    before = host.state()
    result = host.invoke("storage_info", {"devices": [blank, Path(taken).name, mounted], "content": True})
    assert host.state() == before and result["changed"] is False
    first, second, third = result["devices"]
    assert (first["identity"], first["size_bytes"], first["blank"], first["content"]) == (host.identity("a"), 512 << 20, True, "nothing")
    assert second["blank"] is False and 'label "home"' in second["content"] and second["fingerprint"].startswith("ext234-")
    assert third["mounts"] == ["/srv/disk0"] and third["uses"] == ['backs mounted "/srv/disk0"'] and third["blank"] is None


def test_all_disks_and_unknown_ones(host: Sandbox) -> None:
    name = Path(host.disk("a")).name
    assert name in [device["name"] for device in host.invoke("storage_info", {})["devices"]]
    result = host.invoke("storage_info", {"devices": ["nosuch", "sd*"]})
    assert result["failed"] and result["msg"] == (
        "nosuch matches no device of this host; "
        "sd* is not a device name; give a path below /dev (best /dev/disk/by-id/...), a kernel name, UUID=, SERIAL= or WWN="
    )
