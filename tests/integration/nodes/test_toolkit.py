# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The packages of the toolkit, from the controller and from a repository: a package with NVIDIA's name that holds a stand-in."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes_lab import play, put, ssh

pytestmark = [pytest.mark.lab, pytest.mark.long]
NODE = "w2"
PROGRAM = "/usr/bin/nvidia-container-runtime"
REPOSITORY = "/srv/slipway-test-repository"
CONTROL = "Package: nvidia-container-toolkit\nVersion: 1.2.3-1\nArchitecture: amd64\nMaintainer: A test <test@example.org>\nDescription: A stand-in\n"
LEFT = f"""
dpkg --purge nvidia-container-toolkit >/dev/null 2>&1
rm -rf {REPOSITORY} /var/cache/slipway /etc/apt/sources.list.d/nvidia-container-toolkit.sources /usr/share/keyrings/nvidia-container-toolkit.asc
"""


def toolkit(folder: Path, *options: str, **variables: Any) -> Any:
    given = {f"gpu_runtime_toolkit_{key}": value for key, value in variables.items()}
    return play(folder, NODE, "gpu_runtime", given, "ansible_play_hosts", *options, entry="toolkit")


def changed(output: str) -> int:
    """Tasks of the role that changed something; one more is the test's own, which keeps a result."""
    return int(re.findall(rf"^{NODE} .* changed=([0-9]+)", output, re.MULTILINE)[-1]) - 1


def installed() -> str:
    return ssh(NODE, f"dpkg-query -W -f '${{Version}}' nvidia-container-toolkit 2>/dev/null; test -x {PROGRAM} || echo ' no program'", check=False).strip()


@pytest.fixture(scope="module")
def package(folder: Path) -> Path:
    tree = folder / "nvidia-container-toolkit"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(CONTROL)
    program = tree / PROGRAM.lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nexec runc "$@"\n')
    program.chmod(0o755)
    made = folder / "nvidia-container-toolkit_1.2.3-1_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(made)], check=True, capture_output=True, timeout=60)
    return made


@pytest.fixture
def host(folder: Path) -> Iterator[None]:
    """The node with what Ansible's `apt` needs and most hosts have, and without the repositories that no node of the lab reaches."""
    names = ["python3-apt", "python-apt-common", "distro-info-data"]
    files = folder / "python3-apt"
    files.mkdir(exist_ok=True)
    subprocess.run(["apt-get", "download", *names], cwd=files, check=True, capture_output=True, timeout=120, env={**os.environ, "LC_ALL": "C"})
    for path in files.glob("*.deb"):
        put(NODE, f"/root/{path.name}", path.read_bytes())
    debs = " ".join(f"/root/{path.name}" for path in files.glob("*.deb"))
    ssh(NODE, f"{LEFT} dpkg --install {debs}; rm -f {debs}; mv /etc/apt/sources.list /etc/apt/sources.list.kept")
    yield
    ssh(NODE, f"{LEFT} mv /etc/apt/sources.list.kept /etc/apt/sources.list; dpkg --purge {' '.join(names)}; rm -rf /var/lib/apt/lists/_srv*", check=False)


def settles(folder: Path, **variables: Any) -> None:
    """Check mode says what comes and touches nothing; then it comes; then nothing is left to do."""
    looked = toolkit(folder, "--check", **variables)
    assert looked.returncode == 0, looked.output
    assert changed(looked.output) > 0
    assert installed() == "no program"
    done = toolkit(folder, **variables)
    assert done.returncode == 0, done.output
    assert installed() == "1.2.3-1"
    for options in (("--check",), ()):
        again = toolkit(folder, *options, **variables)
        assert again.returncode == 0, again.output
        assert changed(again.output) == 0, again.output


def test_the_packages_of_the_controller(folder: Path, host: None, package: Path) -> None:
    settles(folder, source="files", files=[str(package)])


@pytest.mark.parametrize("version", ["", "1.2.3-1"])
def test_the_packages_of_a_repository(folder: Path, host: None, package: Path, version: str) -> None:
    home, content, below = folder / "gnupg", package.read_bytes(), f"{REPOSITORY}/deb/amd64"
    home.mkdir(mode=0o700, exist_ok=True)

    def gpg(*words: str, text: str = "") -> bytes:
        head = ["gpg", "--homedir", str(home), "--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"]
        return subprocess.run([*head, *words], input=text.encode(), check=True, capture_output=True, timeout=60).stdout

    if not version:
        gpg("--quick-generate-key", "test@example.org", "rsa2048", "sign", "never")
    packages = f"{CONTROL}Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
    digest = hashlib.sha256(packages.encode()).hexdigest()
    release = f"Date: Sun, 01 Jan 2023 00:00:00 UTC\nSHA256:\n {digest} {len(packages.encode())} Packages\n"
    ssh(NODE, f"mkdir -p {below}")
    files = {f"{REPOSITORY}/gpgkey": gpg("--armor", "--export"), f"{below}/Packages": packages.encode(), f"{below}/{package.name}": content}
    for path, data in {**files, f"{below}/InRelease": gpg("--clearsign", text=release)}.items():
        put(NODE, path, data)
    # A fresh list of packages that knows nothing of the repository.
    ssh(NODE, "apt-get update")
    settles(folder, source="repository", repository=f"file://{REPOSITORY}", repository_key=f"file://{REPOSITORY}/gpgkey", version=version)
