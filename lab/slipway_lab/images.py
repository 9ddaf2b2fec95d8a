# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The workload images: built from `images/`, kept in the cache as finished registry storage, published by hard links."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from slipway_lab import pins, programs, registry
from slipway_lab.cache import cached, digest
from slipway_lab.containers import podman
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab
from slipway_lab.node_image import debian
from slipway_lab.progress import say, step

# Which Go programs an image holds.
_PROGRAMS = {"aisnode": "aistore", "aisloader": "aisloader"}
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


def publish_all(lab: Lab) -> None:
    """Every image of `images/` in the registry, made where the cache lacks it."""
    for name in lab.images:
        tag = pins.IMAGES[name]
        if registry.publish(lab, _storage(lab, name, tag)):
            say("", f"image {registry.REGISTRY_NAME}/{name}:{tag}")


def _storage(lab: Lab, name: str, tag: str) -> Path:
    """A registry's storage folder that holds one image."""
    base = debian(lab, "workload-base", pins.WORKLOAD_PACKAGES)
    source = lab.sources.parent / "images" / name
    built = programs.build(lab, _PROGRAMS[name]) if name in _PROGRAMS else None

    def make(work: Path) -> None:
        with step(f"Image {name}:{tag}", lab.logs, "podman build"):
            local = f"localhost/slipway-lab/{name}:{tag}"
            context = work / "context"
            shutil.copytree(source, context)
            for file in sorted(built.iterdir()) if built else ():
                os.link(file, context / file.name)
            podman(
                lab,
                "build",
                "--isolation=chroot",
                "--pull-never",
                "--network=host",
                "--build-arg",
                f"BASE_IMAGE={base}",
                "--tag",
                local,
                *_mounts(lab, work),
                context,
            )
            shutil.rmtree(context)
            _push(lab, local, f"{name}:{tag}", work / "storage")
            podman(lab, "rmi", "--force", local)

    return cached(lab.cache / "images" / name, digest(source, base, built.name if built else "", tag), make) / "storage"


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


def _push(lab: Lab, local: str, name: str, storage: Path) -> None:
    """Writes an image as registry storage, by a registry that lives on the loopback address for the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    config = storage.with_name("registry.yml")
    storage.mkdir()
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "warn"},
                "storage": {"filesystem": {"rootdirectory": str(storage)}},
                "http": {"addr": address, "secret": "unused"},
            }
        )
    )
    server = subprocess.Popen(["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not _open(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the registry for one push did not start at {address}")
            time.sleep(0.05)
        podman(lab, "push", "--quiet", "--tls-verify=false", "--format", "oci", "--compression-format", "zstd", local, f"{address}/{name}")
    finally:
        server.terminate()
        server.wait()
    shutil.rmtree(storage / "docker/registry/v2/repositories" / name.split(":")[0] / "_uploads", ignore_errors=True)


def _open(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0
