# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host to break: real loop devices, real mkfs and mounts, in a mount namespace with an /etc and a journal of its own.

Nothing of the machine's own fstab, mounts or disks is touched. Needs root and loop devices, not the lab.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ansible
import pytest

ROOT = Path(__file__).resolve().parents[4]
MODULES = ROOT / "plugins" / "modules"
FSTAB = "# a comment of the administrator\nproc\t/proc   proc defaults 0 0\nLABEL=elsewhere /data/x ext4 noauto 0 2"

# /etc is an overlay, so that the rename of fstab is the real one; the journal's folder is empty; /srv holds the mount points.
_SETUP = """set -e
mkdir -p {0}/etc {0}/journal {0}/srv /var/lib/slipway
mount -t tmpfs -o size=8m tmpfs {0}/etc && mkdir {0}/etc/upper {0}/etc/work
mount -t overlay overlay -o lowerdir=/etc,upperdir={0}/etc/upper,workdir={0}/etc/work /etc
mount --bind {0}/journal /var/lib/slipway
mount --bind {0}/srv /srv
echo ready
exec sleep infinity
"""


class Sandbox:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loops: dict[str, str] = {}
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SETUP.format(folder)]
        self._holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"
        self.write("/etc/fstab", FSTAB)

    # -- inside ----

    def command(self, *argv: str) -> list[str]:
        return ["nsenter", "--mount", f"--target={self._holder.pid}", "--wd=/", *argv]

    def run(self, *argv: str, check: bool = True) -> str:
        answer = subprocess.run(self.command(*argv), capture_output=True, text=True, check=False)
        assert not check or answer.returncode == 0, f"{argv}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def write(self, path: str, content: str) -> None:
        subprocess.run(self.command("sh", "-c", 'cat > "$0"', path), input=content, text=True, check=True)

    def read(self, path: str) -> str:
        return self.run("cat", path)

    def mounts(self) -> dict[str, str]:
        """Mount point below /srv -> device."""
        return {line.split()[1]: line.split()[0] for line in self.read("/proc/mounts").splitlines() if line.split()[1].startswith("/srv/")}

    # -- disks ----

    def disk(self, name: str, size: str = "512M", *losetup: str) -> str:
        """A blank loop device over a sparse file; its path."""
        file = self.folder / f"{name}.img"
        subprocess.run(["truncate", "-s", size, file], check=True)
        self.loops[name] = subprocess.run(["losetup", "--find", "--show", *losetup, file], capture_output=True, text=True, check=True).stdout.strip()
        return self.loops[name]

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.img"

    def identity(self, name: str) -> str:
        return f"loop:{self.file(name)}"

    # -- the modules ----

    def invoke(self, module: str, arguments: dict[str, Any], prefix: Sequence[str] = (), python: str = sys.executable, **environment: str) -> dict[str, Any]:
        """Run the module to its end; its JSON, or {} where it was killed."""
        file = self.folder / "arguments.json"
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        paths = os.pathsep.join((str(ROOT / "collections"), str(Path(ansible.__file__).parents[1])))
        env = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        answer = subprocess.run(self.command(*prefix, python, str(MODULES / f"{module}.py"), str(file)), capture_output=True, text=True, env=env, check=False)
        found = re.search(r"^\{.*\}$", answer.stdout, re.M)
        assert found or answer.returncode not in (0, 1), answer.stdout + answer.stderr
        result = json.loads(found.group()) if found else {}
        assert "Traceback" not in answer.stderr, answer.stderr
        return result

    def datafs(self, *disks: dict[str, Any], check: bool = False, diff: bool = True, prefix: Sequence[str] = (), **options: Any) -> dict[str, Any]:
        arguments = {"disks": list(disks), **options, "_ansible_check_mode": check, "_ansible_diff": diff}
        return self.invoke("xfs_datafs", arguments, prefix)

    def refused(self, *disks: dict[str, Any], **options: Any) -> str:
        """The refusal, which touches nothing: neither a byte of a disk nor fstab, journal and mounts."""
        before = self.state()
        result = self.datafs(*disks, **options)
        assert result.get("failed"), result
        assert self.state() == before
        return str(result["msg"])

    def state(self) -> dict[str, Any]:
        for loop in self.loops.values():
            subprocess.run(["blockdev", "--flushbufs", loop], check=True)
        # A loop device writes its backing file like anybody else: every write shows in the time.
        files = {name: (self.file(name).stat().st_mtime_ns, self.file(name).stat().st_blocks) for name in self.loops}
        if self.mounts():
            files = {}  # a mounted filesystem writes by itself
        texts = self.run("sh", "-c", "cat /etc/fstab /var/lib/slipway/xfs_datafs.json 2>/dev/null; ls -lR /srv", check=False)
        return {"disks": files, "texts": texts, "mounts": self.mounts()}

    def close(self) -> None:
        for path in sorted(self.mounts(), reverse=True):
            self.run("umount", "--recursive", path, check=False)
        for point in (self.folder / "srv").rglob("*"):
            subprocess.run(["chattr", "-i", point], capture_output=True, check=False)
        self._holder.kill()
        self._holder.wait()
        for loop in self.loops.values():
            subprocess.run(["losetup", "--detach", loop], capture_output=True, check=False)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Sandbox]:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not shutil.which("mkfs.xfs"):
        pytest.skip("needs root, loop devices and xfsprogs")
    sandbox = Sandbox(tmp_path)
    try:
        yield sandbox
    finally:
        sandbox.close()
