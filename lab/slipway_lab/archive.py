# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Container images of a few static files, written as docker-archive without any container tool."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class StaticImage:
    """Files by their path in the image; links by path and target. All belong to root and are executable."""

    tags: Sequence[str]
    files: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()


def write_archive(target: Path, images: Sequence[StaticImage]) -> None:
    """Writes one docker-archive that `ctr images import` reads; equal input gives equal bytes."""
    manifest = []
    with tarfile.open(target, "w") as out:
        for image in images:
            layer = target.with_suffix(".layer")
            _write_layer(layer, image)
            digest = _sha256(layer)
            config = json.dumps(
                {
                    "architecture": "amd64",
                    "os": "linux",
                    "created": "1970-01-01T00:00:00Z",
                    "config": {"Env": ["PATH=/usr/local/bin:/bin"], "Entrypoint": list(image.entrypoint)},
                    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
                }
            ).encode()
            name = hashlib.sha256(config).hexdigest() + ".json"
            _add_bytes(out, name, config)
            out.add(layer, f"{digest}/layer.tar", filter=_plain)
            layer.unlink()
            manifest.append({"Config": name, "RepoTags": list(image.tags), "Layers": [f"{digest}/layer.tar"]})
        _add_bytes(out, "manifest.json", json.dumps(manifest).encode())


def tags(archive: Path) -> set[str]:
    """The names of all images in an archive."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile("manifest.json")
        return {tag for image in json.load(file) for tag in image["RepoTags"]} if file else set()


def _write_layer(layer: Path, image: StaticImage) -> None:
    with tarfile.open(layer, "w") as tar:
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(tmp)
        for path, source in sorted(image.files.items()):
            tar.add(source, path.lstrip("/"), filter=_plain)
        for path, to in sorted(image.links.items()):
            link = tarfile.TarInfo(path.lstrip("/"))
            link.type, link.linkname = tarfile.SYMTYPE, to
            tar.addfile(link)


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = "root"
    info.mode = 0o755
    return info


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _sha256(path: Path) -> str:
    h = hashlib.sha256()
    with path.open("rb") as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()
