# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reader against Python's own, and against what TOML forbids."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _toml_edit as toml_edit
from ansible_collections.slipway.mlops.plugins.module_utils._config_text import Unreadable
from ansible_collections.slipway.mlops.plugins.module_utils._toml import parse
from golden import GOLDEN, containerd_cases

if sys.version_info >= (3, 11):
    import tomllib
else:
    pytest.skip("tomllib, the judge, is there from Python 3.11 on", allow_module_level=True)

VALID = [
    "", "a=1", "a.b.c=1\na.b.d=2", "[a.b]\n[a]\nc=1", "[[a]]\nb=1\n[a.c]\nd=1\n[[a]]\n[a.c]\nd=2", "a=[1,2,\n# x\n3,]", "a={b={c=1}, d=[{e=1}]}",
    "'a b'=1\n\"c.d\".e=2", 'a="""\nx\n\\\n  y"""',
    "a='''q''''", "a=1_000\nb=0xff\nc=1e3\nd=-inf\ne=1.5", "[a]\n[a.b]\n[a.b.c]\n", 'a="\\u00e9\\t"', "a=1\r\n[b]\r\n",
    "[a]\nb.c=1\nb.d=2", "a=+1\nb=-0\nc=0.5", "a = true # x\nb=false", "a=''", '"" = 1', "a = { }", "[a]#x",
]  # fmt: skip
INVALID = [
    "a=1\na=2", "[a]\n[a]", "a.b=1\n[a]\n", "a={b=1}\n[a.c]", "[[a]]\n[a]", "a=[1\n", "a='x", "a=01", "a=1__0",
    "a=_1", "a=1_", "[a.b]\n[a]\nb=1", "[a.b]\n[a]\nb.c=1",
    "a=[]\n[[a]]", "a={b=1,}",
    "a = 1 b=2", "=1", "a", "[a", 'a="\\q"', "[a]\nb.c=1\n[a.b]", "a=1.", "a=+0x1", "a=\x01", "a=1\rb=2", '"\x00"=1', "a=[1 2]", "a={b=1 c=2}",
    "a={b=1\n}", "a=\"x\ny\"", "[a]x", "a=tru", "a=1 # \x1f", "\ufeffa=1 \ufeff",
]  # fmt: skip


@pytest.mark.parametrize("text", VALID + [(GOLDEN / "containerd" / name / "after_config.toml").read_text() for name in containerd_cases()
                                          if (GOLDEN / "containerd" / name / "after_config.toml").exists()])  # fmt: skip
def test_it_reads_what_pythons_reader_reads(text: str) -> None:
    assert parse(text).data == tomllib.loads(text)


@pytest.mark.parametrize("text", INVALID)
def test_it_refuses_what_pythons_reader_refuses(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    with pytest.raises(Unreadable, match=r"^line [0-9]+, column [0-9]+: "):
        parse(text)


def test_a_date_is_kept_as_text() -> None:
    assert parse("a = 1979-05-27T07:32:00Z").data == {"a": "1979-05-27T07:32:00Z"}


def test_it_says_where_things_stand() -> None:
    text = 'x = 1\n\n[a."b.c"]  # here\n  key = "value"  # note\n'
    document = parse(text)
    assert document.get(("a", "b.c", "key")) == "value"
    assert document.line(document.headers[("a", "b.c")]) == 3
    assert text[document.first_header :].startswith("[a.")
    entry = document.entries[("a", "b.c", "key")]
    assert text[entry.value_start : entry.value_end] == '"value"'
    assert toml_edit.with_value(text, entry, "other") == text.replace('"value"', '"other"')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[t]\n", "[t]\n  k = true  # ours\n"),
        ("[t]\na = 1\n", "[t]\n  k = true  # ours\na = 1\n"),
        ("  [t]", "  [t]\n    k = true  # ours\n"),
        ("[t]\nk = false # why\n", "[t]\nk = true # why\n"),
        ("[t]\nk = true\n", "[t]\nk = true\n"),
    ],
)
def test_a_key_is_set_in_its_table(before: str, after: str) -> None:
    assert toml_edit.with_key(parse(before), ("t",), "k", True, "ours") == after
    assert parse(after).data == {"t": {**parse(before).data["t"], "k": True}}


@pytest.mark.parametrize("value", ['a\\b"c', "é\t", 1, True, ["a", "b"], {"k": "v", "a b": 1}])
def test_a_value_is_written_as_it_is_read(value: Any) -> None:
    assert tomllib.loads("a = " + toml_edit.literal(value)) == {"a": value}


@pytest.mark.parametrize("text", ["# BEGIN m\n", "# END m\n", "# END m\n# BEGIN m\n", "# BEGIN m\n# BEGIN m\n# END m\n"])
def test_a_damaged_block_is_not_guessed_at(text: str) -> None:
    with pytest.raises(Unreadable, match="expected one"):
        toml_edit.block(text, "m")


@pytest.mark.parametrize("text", ["", "a = 1\n", "a = 1", "a = 1\r\n", "[t]\nb = 1"])
def test_a_block_comes_and_goes(text: str) -> None:
    with_block = toml_edit.with_block(text, "m", "[x]\ny = 1\n")
    assert parse(with_block).data["x"] == {"y": 1}
    assert toml_edit.with_block(with_block, "m", "[x]\ny = 1\n") == with_block
    assert toml_edit.without_block(with_block, "m") in (text, text + "\n")
