# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One place for versions: what is written elsewhere says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils._ais_config import BACKENDS
from slipway_lab import pins, programs

ROOT = Path(__file__).resolve().parents[3]
MODULES = {
    "kubernetes": ("k8s.io/kubernetes", pins.KUBERNETES),
    "coredns": ("github.com/coredns/coredns", pins.COREDNS),
    "local-path-provisioner": ("github.com/rancher/local-path-provisioner", pins.LOCAL_PATH_PROVISIONER),
    "kwok": ("sigs.k8s.io/kwok", pins.KWOK),
    "aistore": ("github.com/NVIDIA/aistore", pins.AISTORE),
    "aisloader": ("github.com/NVIDIA/aistore", pins.AISTORE),
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_go_modules_hold_the_pinned_versions(name: str) -> None:
    (module, version), folder = MODULES[name], ROOT / programs.PROGRAMS[name].source
    assert re.search(rf"{re.escape(module)} v{re.escape(version)}\b", (folder / "go.mod").read_text())
    assert f"{module} v{version} h1:" in (folder / "go.sum").read_text()


def test_images_of_users_are_built_as_the_labs_are() -> None:
    """playbooks/images.yml compiles the same packages with the same stamp."""
    (play,) = yaml.safe_load((ROOT / "playbooks" / "images.yml").read_text())
    variables = play["vars"]
    assert variables["images_aistore_ldflags"] == f"-s -w {programs.PROGRAMS['aistore'].stamp}"
    for name in ("aistore", "aisloader"):
        folder = Path(programs.PROGRAMS[name].source).parent.name
        packages = [package.replace("{{ images_aistore }}", variables["images_aistore"]) for package in variables["images_all"][folder]["go_packages"]]
        assert packages == list(programs.PROGRAMS[name].packages.values())
        assert variables["images_all"][folder].get("go_tags", []) == list(programs.PROGRAMS[name].tags)


def test_aisnode_has_every_backend_that_the_role_allows() -> None:
    assert programs.PROGRAMS["aistore"].tags == BACKENDS


def test_kubernetes_and_etcd_belong_together() -> None:
    text = (ROOT / "lab" / "go" / "kubernetes" / "go.mod").read_text()
    assert f"go.etcd.io/etcd/server/v3 v{pins.ETCD}" in text
    staging = set(re.findall(r"=> k8s\.io/\S+ (v\S+)", text))
    assert staging == {"v0." + pins.KUBERNETES.split(".", 1)[1]}


def test_every_program_has_its_folder() -> None:
    assert all((ROOT / program.source / "go.mod").is_file() for program in programs.PROGRAMS.values())
    assert {p.name for p in (ROOT / "lab" / "go").iterdir()} <= set(programs.PROGRAMS)


@pytest.mark.parametrize(("image", "package", "version"), [("mlflow", "mlflow", pins.IMAGES["mlflow"]), ("aim", "aim", pins.IMAGES["aim"])])
def test_python_images_hold_the_version_of_their_tag_with_hashes(image: str, package: str, version: str) -> None:
    lines = (ROOT / "images" / image / "requirements.txt").read_text()
    assert re.search(rf"^{package}=={re.escape(version)} \\$", lines, re.MULTILINE)
    packages = re.findall(r"^[a-z0-9._-]+==\S+", lines, re.MULTILINE | re.IGNORECASE)
    assert len(re.findall(r"^[a-z0-9._-]+==\S+ \\\n    --hash=", lines, re.MULTILINE | re.IGNORECASE)) == len(packages) > 20


@pytest.mark.parametrize("path", sorted(ROOT.glob("images/*/Containerfile")), ids=lambda p: p.parent.name)
def test_images_take_any_base_and_do_not_run_as_root(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"^ARG BASE_IMAGE=\S+:\S+$", text, re.MULTILINE)
    users = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert users and users[-1] != ("0", "0")


def test_the_node_files_name_the_pinned_images() -> None:
    assert f'"registry.k8s.io/pause:{pins.PAUSE}"' in (ROOT / "lab/node/files/etc/containerd/config.toml").read_text()
    assert f"local-path-provisioner:v{pins.LOCAL_PATH_PROVISIONER}" in (ROOT / "lab/manifests/local-path-storage.manifests").read_text()
