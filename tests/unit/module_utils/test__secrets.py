# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that are made or copied: bytes as they are, and every form of a value known, so that none is ever shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._secrets import declared_secrets


def copied(environ: dict[str, str] | None = None, **source: str) -> tuple[bytes, set[str]]:
    [item], values = declared_secrets([{"name": "s", "copy": [{"key": "k", **source}]}], "team", environ or {})
    return base64.b64decode(item.body["data"]["k"]), values


@pytest.mark.parametrize("content", [b"canary\n", b"caf\xc3\xa9", b"caf\xe9", b"\x00\xff"])
def test_a_copy_has_the_bytes_of_its_source(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    assert copied(file=str(tmp_path / "f"))[0] == content
    # Python reads the environment so: a byte that is not UTF-8 becomes a surrogate.
    assert copied({"X": content.decode("utf-8", "surrogateescape")}, env="X")[0] == content


def test_a_value_is_known_as_text_as_base64_and_without_its_line_break(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes("canaré\n".encode())
    assert copied(file=str(tmp_path / "f"))[1] == {"canaré\n", "canaré", base64.b64encode("canaré\n".encode()).decode()}


@pytest.mark.parametrize("length", [0, 7, -1])
def test_a_short_length_is_refused(length: int) -> None:
    option: dict[str, Any] = {"name": "s", "generate": [{"key": "k", "length": length}]}
    with pytest.raises(Refused, match="can be guessed"):
        declared_secrets([option], "team", {})
