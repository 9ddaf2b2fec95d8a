# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images of the cluster's own pods are plain archives; publishing to the registry shares blobs and nothing else."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from slipway_lab import cluster, registry
from slipway_lab.archive import StaticImage, tags, write_archive
from slipway_lab.layout import from_environment


def test_an_archive_holds_tags_files_and_links_and_is_reproducible(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"code")
    image = StaticImage(["a.example/one:1", "a.example/two:1"], {"/bin/program": program}, {"/bin/other": "program"}, ["program"])
    for name in ("first.tar", "second.tar"):
        write_archive(tmp_path / name, [image])
        program.touch()
    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()
    assert tags(tmp_path / "first.tar") == {"a.example/one:1", "a.example/two:1"}
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


@pytest.mark.parametrize(("known", "imports"), [("a:1 b:1 other:1", 0), ("a:1", 1), ("", 1)])
def test_an_import_that_was_killed_half_way_is_made_again(known: str, imports: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def execute(_lab: object, _container: str, argv: list[str], **_more: object) -> str:
        ran.append(argv)
        return known

    monkeypatch.setattr(cluster, "execute", execute)
    lab = from_environment(tmp_path, {})
    (tmp_path / "program").write_bytes(b"code")
    write_archive(tmp_path / "images.tar", [StaticImage([name], {"/bin/program": tmp_path / "program"}) for name in ("a:1", "b:1")])
    cluster.load_images(lab, lab.control_plane, tmp_path / "images.tar")
    assert sum("import" in argv for argv in ran) == imports
