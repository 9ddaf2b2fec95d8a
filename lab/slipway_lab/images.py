# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The workload images: built from `images/`, kept in the cache as finished registry storage, published by hard links."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from slipway_lab import pins, programs, registry
from slipway_lab.cache import cached, digest
from slipway_lab.containers import podman
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab
from slipway_lab.node_image import debian
from slipway_lab.progress import say, step

_PROGRAMS = {"aisnode": "aistore", "aisloader": "aisloader"}  # image -> the Go programs it holds
_SOURCES = {"training": "examples/training"}  # image -> its folder, where that is not images/<image>
_BASES = {"training": "client"}  # image -> the image that it adds to
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def publish_all(lab: Lab) -> None:
    """Every image of the plan in the registry, made where the cache lacks it."""
    for name in lab.images:
        if registry.publish(lab, _storage(lab, name)):
            say("", f"image {registry.REGISTRY_NAME}/{name}:{pins.IMAGES[name]}")


def _storage(lab: Lab, name: str) -> Path:
    """A registry's storage folder that holds one image."""
    source = lab.sources.parent / _SOURCES.get(name, f"images/{name}")
    built = programs.build(lab, _PROGRAMS[name]) if name in _PROGRAMS else None
    base = _storage(lab, _BASES[name]).parent.name if name in _BASES else debian(lab, "workload-base", pins.WORKLOAD_PACKAGES)

    def make(work: Path) -> None:
        with step(f"Image {name}:{pins.IMAGES[name]}", lab.logs, "podman build"):
            context = work / "context"
            shutil.copytree(source, context, ignore=shutil.ignore_patterns("__pycache__"))
            for file in sorted(built.iterdir()) if built else ():
                os.link(file, context / file.name)
            image = _load(lab, _BASES[name]) if name in _BASES else base
            options = ["--isolation=chroot", "--pull-never", "--network=host", "--tag", _local(name), "--build-arg", f"BASE_IMAGE={image}"]
            podman(lab, "build", *options, *_mounts(lab, work), context)
            shutil.rmtree(context)
            _push(lab, name, work / "storage")
            podman(lab, "rmi", "--force", _local(name))

    return cached(lab.cache / "images" / name, digest(source, base, built.name if built else "", pins.IMAGES[name]), make) / "storage"


def _local(name: str) -> str:
    """The image's name in podman's store, where it is only while it is built or built upon."""
    return f"localhost/slipway-lab/{name}:{pins.IMAGES[name]}"


def _mounts(lab: Lab, work: Path) -> list[str]:
    """What pip and apt need of this machine while an image is built; none of it stays in the image."""
    pip_conf = work / "pip.conf"
    pip_conf.write_text(f"[global]\ncert = {_CA_BUNDLE}\nretries = 10\ntimeout = 120\ncache-dir = /root/.cache/pip\n")
    wheels = lab.cache / "pip"
    wheels.mkdir(parents=True, exist_ok=True)
    mounts = ["--volume", f"{wheels}:/root/.cache/pip"]
    if _CA_BUNDLE.exists():  # with the certificate of a company's proxy, where there is one
        mounts += ["--volume", f"{_CA_BUNDLE}:{_CA_BUNDLE}:ro", "--volume", f"{pip_conf}:/etc/pip.conf:ro"]
    return mounts


def _push(lab: Lab, name: str, storage: Path) -> None:
    """Writes an image as registry storage."""
    storage.mkdir()
    with _registry_of(storage) as address:
        options = ["--quiet", "--tls-verify=false", "--format", "oci", "--compression-format", "zstd"]
        podman(lab, "push", *options, _local(name), f"{address}/{name}:{pins.IMAGES[name]}")
    shutil.rmtree(storage / "docker/registry/v2/repositories" / name / "_uploads", ignore_errors=True)  # scratch, and not always there


def _load(lab: Lab, name: str) -> str:
    """Brings an image of the cache back into podman's store; its name there."""
    with _registry_of(_storage(lab, name)) as address:
        there = f"{address}/{name}:{pins.IMAGES[name]}"
        podman(lab, "pull", "--quiet", "--tls-verify=false", there)
        podman(lab, "tag", there, _local(name))
        podman(lab, "rmi", there)
    return _local(name)


@contextlib.contextmanager
def _registry_of(storage: Path) -> Iterator[str]:
    """A registry over a storage folder, on the loopback address, for the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    config = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": address, "secret": "unused"},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump(config, file)
        file.flush()
        # Ends with this program, even when it is killed.
        argv = ["setpriv", "--pdeathsig", "TERM", "docker-registry", "serve", file.name]
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not _open(address):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise LabError(f"the registry over {storage} did not start at {address}")
                time.sleep(0.05)
            yield address
        finally:
            server.terminate()
            server.wait()


def _open(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0
