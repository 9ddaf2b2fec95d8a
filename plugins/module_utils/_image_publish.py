# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds images from folders and pushes those that the registry does not hold yet. An image carries the hash of what it was built from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LABEL = "org.slipway-mlops.content"


@dataclass(frozen=True)
class Image:
    """`name` is registry/repository:tag; `context` the folder with a Containerfile; `build_args` its arguments."""

    name: str
    context: str
    build_args: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> str:
        """SHA-256 over everything the build is made from: paths, execute bits, bytes and arguments."""
        digest = hashlib.sha256()
        for folder, folders, files in os.walk(self.context):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            for name in sorted(files):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    body = file.read()
                for part in (os.path.relpath(path, self.context).encode(), b"x" if os.access(path, os.X_OK) else b"-", body):
                    digest.update(len(part).to_bytes(8, "big") + part)
        for key, value in sorted(self.build_args.items()):
            digest.update(f"{key}={value}\n".encode())
        return digest.hexdigest()


class BuildFailed(Exception):
    """Building or pushing ended with an error; the message holds the end of its output."""


def engine_of(wanted: str) -> str:
    """Path of podman or docker; `wanted` is one of them or `auto`."""
    for name in ("podman", "docker") if wanted == "auto" else (wanted,):
        path = shutil.which(name)
        if path:
            return path
    raise BuildFailed(f"{'podman or docker' if wanted == 'auto' else wanted} is needed to build images and is not installed here")


def publish(image: Image, content: str, engine: str, auth_file: str, verify: bool, extra: list[str], run: Callable[[list[str]], str]) -> None:
    """Build and push one image."""
    arguments = [part for key, value in sorted(image.build_args.items()) for part in ("--build-arg", f"{key}={value}")]
    containerfile = os.path.join(image.context, "Containerfile")
    run([engine, "build", "--tag", image.name, "--label", f"{LABEL}={content}", "--file", containerfile, *extra, *arguments, image.context])
    if os.path.basename(engine) == "podman":
        run([engine, "push", *(["--authfile", auth_file] if auth_file else []), f"--tls-verify={str(verify).lower()}", image.name])
    else:
        run([engine, *(["--config", os.path.dirname(auth_file)] if auth_file else []), "push", image.name])


def run_logged(argv: list[str]) -> str:
    """Run a command without a shell; its output, or BuildFailed with the last lines."""
    done = subprocess.run(  # pylint: disable=ansible-bad-function
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-30:])
        raise BuildFailed(f"`{' '.join(argv[:2])}` for {argv[-1]} ended with exit code {done.returncode}:\n{end}")
    return done.stdout
