# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images of the cluster's own pods are plain archives; publishing to the registry shares blobs and nothing else."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from slipway_lab import registry
from slipway_lab.archive import StaticImage, write_archive
from slipway_lab.layout import from_environment


def test_an_archive_holds_tags_files_and_links_and_is_reproducible(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"code")
    image = StaticImage(["a.example/one:1", "a.example/two:1"], {"/bin/program": program}, {"/bin/other": "program"}, ["program"])
    for name in ("first.tar", "second.tar"):
        write_archive(tmp_path / name, [image])
        program.touch()
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    with tarfile.open(tmp_path / "first.tar") as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        assert entry["RepoTags"] == ["a.example/one:1", "a.example/two:1"]
        assert json.load(tar.extractfile(entry["Config"]))["config"]["Entrypoint"] == ["program"]  # type: ignore[arg-type]
        with tarfile.open(fileobj=io.BytesIO(tar.extractfile(entry["Layers"][0]).read())) as layer:  # type: ignore[union-attr]
            members = {m.name: m for m in layer.getmembers()}
    assert members["bin/program"].mode == 0o755
    assert members["bin/other"].linkname == "program"
    assert members["tmp"].mode == 0o1777


def test_published_blobs_are_links_and_everything_else_is_a_copy(tmp_path: Path) -> None:
    lab = from_environment(tmp_path, {})
    seed = tmp_path / "seed"
    blob = seed / "docker/registry/v2/blobs/sha256/ab/abcd/data"
    tag = seed / "docker/registry/v2/repositories/thing/_manifests/tags/1/current/link"
    for path, text in ((blob, "blob"), (tag, "sha256:abcd")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert registry.publish(lab, seed) is True
    there = lab.state / "registry" / "storage"
    assert (there / blob.relative_to(seed)).samefile(blob)
    assert not (there / tag.relative_to(seed)).samefile(tag)
    assert registry.published(lab) == ["thing:1"]
    assert registry.publish(lab, seed) is False

    # A push that moves the tag writes in place; the cache must not see it.
    (there / tag.relative_to(seed)).write_text("sha256:other")
    assert tag.read_text() == "sha256:abcd"
