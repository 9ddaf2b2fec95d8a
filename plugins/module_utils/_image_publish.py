# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds images from folders and pushes those that the registry does not hold yet. An image carries the hash of what it was built from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

LABEL = "org.slipway-mlops.content"


@dataclass(frozen=True)
class Image:
    """`name` is registry/repository:tag; `context` the folder with a Containerfile; `build_args` its arguments.

    `go_packages` (import paths) are compiled by the go.mod in `context`/go, and lie beside the Containerfile while the image is built.
    """

    name: str
    context: str
    build_args: Mapping[str, str] = field(default_factory=dict)
    go_packages: Sequence[str] = ()
    go_ldflags: str = ""
    go_tags: Sequence[str] = ()

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
        for package in self.go_packages:
            digest.update(f"{' '.join([package, self.go_ldflags, *self.go_tags])}\n".encode())
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
    """Build and push one image. The folder that it is built from is left as it is."""
    is_podman = os.path.basename(engine) == "podman"
    # Podman asks the registry while it builds, too: a base may come from there.
    access = [*(["--authfile", auth_file] if auth_file else []), f"--tls-verify={str(verify).lower()}"] if is_podman else []
    config = ["--config", os.path.dirname(auth_file)] if auth_file and not is_podman else []
    arguments = [part for key, value in sorted(image.build_args.items()) for part in ("--build-arg", f"{key}={value}")]
    with tempfile.TemporaryDirectory() as work:
        context = os.path.join(work, "context")
        shutil.copytree(image.context, context, ignore=shutil.ignore_patterns("__pycache__"))
        for package in image.go_packages:
            _compile(package, image, context, run)
        containerfile = os.path.join(context, "Containerfile")
        run([engine, *config, "build", "--tag", image.name, "--label", f"{LABEL}={content}", "--file", containerfile, *access, *extra, *arguments, context])
    run([engine, *config, "push", *access, image.name])


def _compile(package: str, image: Image, context: str, run: Callable[[list[str]], str]) -> None:
    """A static program that is the same wherever it is compiled."""
    go = shutil.which("go")
    if not go:
        raise BuildFailed(f"go is needed to compile {package} and is not installed here")
    settings = ["env", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off"]
    flags = ["-trimpath", "-mod=readonly", "-buildvcs=false", f"-tags={','.join(image.go_tags)}", f"-ldflags={image.go_ldflags}", "-o", context]
    run([*settings, go, "build", "-C", os.path.join(context, "go"), *flags, package])


def run_logged(argv: list[str]) -> str:
    """Run a command without a shell; its output, or BuildFailed with the last lines."""
    done = subprocess.run(  # pylint: disable=ansible-bad-function
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-30:])
        raise BuildFailed(f"`{' '.join(argv)}` ended with exit code {done.returncode}:\n{end}")
    return done.stdout
