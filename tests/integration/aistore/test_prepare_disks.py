# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The check before a target starts, on real file systems: a loop device with XFS, its unmounted mount point, disks of others.

Needs root and loop devices; volumes are bind mounts in a mount namespace of their own, as a container runtime makes them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles" / "aistore" / "files" / "prepare_disks.py"
OWNER = {"namespace": "ais", "cluster": "ais", "node": "w1"}
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.xfs"), reason="needs root and mkfs.xfs")


@pytest.fixture
def disk(tmp_path):
    """An XFS on a loop device, to be mounted by the test's own namespace."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
    return image


def prepare(tmp_path, image, mount=True, owner=None, before="", after="", owned=True, twice=False, open_files_min=64):
    """Mounts (or not) the disk on the node's path, binds that path into a container's place, and runs the check as user 10002."""
    # Volumes lie where user 10002 can reach them, in a file system that this namespace alone sees.
    owner = OWNER if owner is None else owner
    node, volumes = tmp_path / "node", "/mnt/volumes"
    node.mkdir(exist_ok=True)
    disks = [{"path": "/ais/disk0", "volume": "disk0"}] + ([{"path": "/ais/disk1", "volume": "disk1"}] if twice else [])
    steps = [
        "set -e",
        f"mount -t tmpfs none /mnt && mkdir -p {volumes}/disk0 {volumes}/disk1 && cp {SCRIPT} /mnt/",
        f"mount -o loop {image} {node}" if mount else f"chmod 777 {node}",
        f"chown 10002:10002 {node}" if owned else ":",
        before.format(node=node),
        f"mount --bind {node} {volumes}/disk0",
        f"mount --bind {node} {volumes}/disk1" if twice else ":",
        f"setpriv --reuid 10002 --regid 10002 --clear-groups {shutil.which('python3', path='/usr/bin:/bin')} /mnt/prepare_disks.py && code=0 || code=$?",
        after.format(node=node, volume=f"{volumes}/disk0"),
        "exit $code",
    ]
    environment = {
        "PATH": os.environ["PATH"], "VOLUMES": volumes, "DISKS": json.dumps(disks), "OWNER": json.dumps(owner), "DATA_DIRECTORY": "ais.ais",
        "MARKER": ".slipway-aistore.json", "OPEN_FILES_MIN": str(open_files_min),
    }  # fmt: skip
    script = "\n".join(step for step in steps if step)
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, env=environment, check=False, timeout=60)


def test_a_mounted_disk_gets_marker_and_directory_and_is_accepted_again(tmp_path, disk):
    first = prepare(tmp_path, disk, after="cat {volume}/.slipway-aistore.json; stat -c '%u %a' {volume}/ais.ais")
    assert first.returncode == 0, first.stderr
    assert json.dumps(OWNER, sort_keys=True)[1:-1].replace(" ", "") in first.stdout.replace(" ", "")
    assert "10002 750" in first.stdout
    assert prepare(tmp_path, disk).returncode == 0


def test_an_unmounted_path_is_refused_and_nothing_is_written_there(tmp_path, disk):
    # The worst case: the empty mount point may be written by everyone.
    done = prepare(tmp_path, disk, mount=False)
    assert done.returncode == 1
    assert "/ais/disk0 is not a mounted disk: it is the directory" in done.stderr
    assert list((tmp_path / "node").iterdir()) == []


def test_a_disk_of_another_cluster_or_node_is_refused(tmp_path, disk):
    assert prepare(tmp_path, disk).returncode == 0
    for other in ({**OWNER, "cluster": "b"}, {**OWNER, "node": "w2"}, {**OWNER, "namespace": "x"}):
        done = prepare(tmp_path, disk, owner=other)
        assert done.returncode == 1
        assert "belongs to AIStore cluster ais in namespace ais, node w1" in done.stderr


def test_files_of_a_foreign_aistore_are_refused(tmp_path, disk):
    done = prepare(tmp_path, disk, before="touch {node}/.ais.vmd")
    assert done.returncode == 1
    assert ".ais.vmd in its root" in done.stderr


def test_a_disk_that_the_daemon_cannot_write_is_refused_with_what_to_set(tmp_path, disk):
    done = prepare(tmp_path, disk, owned=False)
    assert done.returncode == 1
    assert "ais_datafs_owner: 10002" in done.stderr


def test_two_paths_on_one_file_system_are_refused(tmp_path, disk):
    done = prepare(tmp_path, disk, twice=True)
    assert done.returncode == 1
    assert "shares its file system" in done.stderr


def test_a_runtime_that_allows_too_few_open_files_is_refused_with_what_to_set(tmp_path, disk):
    assert prepare(tmp_path, disk, before="ulimit -n 1024", open_files_min=1024).returncode == 0
    done = prepare(tmp_path, disk, before="ulimit -n 1024", open_files_min=1025)
    assert done.returncode == 1
    assert "may open 1024 files, aistore_open_files_min asks for 1025: raise LimitNOFILE" in done.stderr
