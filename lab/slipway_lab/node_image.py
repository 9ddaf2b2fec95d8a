# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the nodes are made of: the Debian base, the node image, and the images of the cluster's own pods."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from slipway_lab import pins, programs
from slipway_lab.archive import StaticImage, write_archive
from slipway_lab.cache import cached, digest
from slipway_lab.containers import podman, podman_ok
from slipway_lab.layout import Lab
from slipway_lab.progress import step
from slipway_lab.shell import run


def debian(lab: Lab, name: str, packages: Sequence[str]) -> str:
    """A minimal Debian with these packages, as an image in podman's store; its name."""
    key = digest(pins.DEBIAN, *sorted(packages))

    def make(work: Path) -> None:
        with step(f"Debian base {name}", lab.logs, "Debian's package servers"):
            run(
                ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}"]
                + [f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")]
                + [pins.DEBIAN, work / "root.tar"],
                env={"TMPDIR": str(work)},
            )

    tar = cached(lab.cache / "debian" / name, key, make) / "root.tar"
    image = f"localhost/slipway-lab/{name}:{key}"
    if not podman_ok(lab, "image", "exists", image):
        with step(f"Import of the Debian base {name}", lab.logs, "podman"):
            podman(lab, "import", "--quiet", tar, image)
    return image


def node_image(lab: Lab) -> str:
    """The image of a lab machine; its name in podman's store."""
    base = debian(lab, "node-base", pins.NODE_PACKAGES)
    kubernetes = programs.build(lab, "kubernetes") / "kubernetes"
    source = lab.sources / "node"
    image = f"localhost/slipway-lab/node:{digest(base, kubernetes.parent.name, source)}"
    if not podman_ok(lab, "image", "exists", image):
        with step("Node image", lab.logs, "podman build"):
            context = lab.cache / "tmp" / f"node-{os.getpid()}"
            try:
                shutil.copytree(source, context, symlinks=True)
                os.link(kubernetes, context / "kubernetes")
                podman(lab, "build", "--isolation=chroot", "--quiet", "--pull-never", "--build-arg", f"BASE_IMAGE={base}", "--tag", image, context)
            finally:
                shutil.rmtree(context, ignore_errors=True)  # never hides why the build failed
    return image


def cluster_archives(lab: Lab) -> dict[str, Path]:
    """docker-archives of the images that a node of each role starts its pods from."""
    built = {name: programs.build(lab, name) for name in programs.CLUSTER_PROGRAMS}
    shell = _busybox(lab)
    pause = StaticImage([f"registry.k8s.io/pause:{pins.PAUSE}"], {"/pause": built["pause"] / "pause"}, entrypoint=["/pause"])
    common = [
        pause,
        StaticImage([f"registry.k8s.io/coredns/coredns:v{pins.COREDNS}"], {"/coredns": built["coredns"] / "coredns"}, entrypoint=["/coredns"]),
        StaticImage(
            [f"docker.io/rancher/local-path-provisioner:v{pins.LOCAL_PATH_PROVISIONER}"],
            {"/usr/local/bin/local-path-provisioner": built["local-path-provisioner"] / "local-path-provisioner"},
            entrypoint=["local-path-provisioner"],
        ),
        StaticImage(
            ["docker.io/library/busybox:stable"],
            {"/bin/busybox": shell},
            {
                f"/bin/{name}": "busybox"
                for name in ("sh", "mkdir", "rm", "chmod", "cat", "ls", "sleep", "wget", "nslookup", "nc", "httpd", "echo", "id", "sync")
            },
            entrypoint=["sh"],
        ),
    ]
    control_plane = StaticImage(
        [f"registry.k8s.io/{name}:v{pins.KUBERNETES}" for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")]
        + [f"registry.k8s.io/etcd:{pins.ETCD}-0"],
        {"/usr/local/bin/kubernetes": built["kubernetes"] / "kubernetes"},
        {f"/usr/local/bin/{name}": "kubernetes" for name in programs.KUBERNETES_NAMES},
    )

    def make(work: Path) -> None:
        with step("Images of the cluster's own pods", lab.logs, "the disk"):
            write_archive(work / "worker.tar", common)
            write_archive(work / "control-plane.tar", [control_plane, *common])

    key = digest(
        repr(sorted(path.name for path in built.values())),
        shell.parent.name,
        lab.sources / "slipway_lab" / "node_image.py",
        lab.sources / "slipway_lab" / "archive.py",
    )
    folder = cached(lab.cache / "cluster-images", key, make)
    return {role: folder / f"{role}.tar" for role in ("worker", "control-plane")}


def _busybox(lab: Lab) -> Path:
    def make(work: Path) -> None:
        with step("busybox from Debian", lab.logs, "Debian's package servers"):
            run(["mmdebstrap", "--variant=extract", "--include=busybox-static", pins.DEBIAN, work / "root.tar"], env={"TMPDIR": str(work)})
            run(["tar", "-C", work, "-xf", work / "root.tar", "--strip-components=2", "./bin/busybox"])
            (work / "root.tar").unlink()

    return cached(lab.cache / "debian" / "busybox", digest(pins.DEBIAN, "busybox-static"), make) / "busybox"
