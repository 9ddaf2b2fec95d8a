# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Edits of TOML text that leave every other byte as it is: a marked block, a value, a key in a table. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ._config_text import Unreadable
from ._toml import Document, Entry, Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def block(text: str, mark: str) -> tuple[int, int] | None:
    """Offsets of a marked block with its two lines, None where there is none; Unreadable where only one of them is left, or two are there."""
    begins, ends = _lines(text, f"# BEGIN {mark}"), _lines(text, f"# END {mark}")
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0][0] < begins[0][0]:
        raise Unreadable(text, (begins + ends)[-1][0], f"expected one '# BEGIN {mark}' and one '# END {mark}' after it")
    return begins[0][0], ends[0][1]


def with_block(text: str, mark: str, body: str, at: int | None = None) -> str:
    """The text with the block holding `body` (whole lines); a new one goes to offset `at`, or to the end."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = [f"# BEGIN {mark}", *body.splitlines(), f"# END {mark}"]
    whole = "".join(line + newline for line in lines)
    found = block(text, mark)
    if found:
        return text[: found[0]] + whole + text[found[1] :]
    at = len(text) if at is None else at
    glue = "" if at == 0 or text[at - 1] == "\n" else newline
    return text[:at] + glue + whole + text[at:]


def without_block(text: str, mark: str) -> str:
    found = block(text, mark)
    return text[: found[0]] + text[found[1] :] if found else text


def with_value(text: str, entry: Entry, value: Any) -> str:
    """The text with another value in the place of this one."""
    return text[: entry.value_start] + literal(value) + text[entry.value_end :]


def with_key(document: Document, table: Path, key: str, value: Any, mark: str) -> str:
    """A key set in a table that has a header: its value replaced, or a new line, marked as ours, below the header."""
    text, entry = document.text, document.entries.get((*table, key))
    if entry:
        return with_value(text, entry, value) if document.get((*table, key)) != value else text
    start = document.headers[table]
    header = text[start : _next_line(text, start)]
    indent = header[: len(header) - len(header.lstrip())] + "  "
    newline = "\r\n" if header.endswith("\r\n") else "\n"
    glue = "" if header.endswith("\n") else newline
    end = start + len(header)
    return f"{text[:end]}{glue}{indent}{key} = {literal(value)}  # {mark}{newline}{text[end:]}"


def without_marked_lines(text: str, mark: str) -> str:
    """Without the lines that `with_key` added."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(f"  # {mark}"))


def with_import(document: Document, pattern: str, mark: str) -> str:
    """The text with `pattern` among its `imports`, which must stand before the first table to count."""
    entry = document.entries.get(("imports",))
    text = document.text
    if entry is None:
        # Below the last key of the top level: what comments the first table stays with it.
        top = [found.value_end for found in document.entries.values() if found.start < document.first_header]
        return with_block(text, mark, f"imports = [{literal(pattern)}]", at=_next_line(text, max(top)) if top else 0)
    if text[entry.value_start] != "[":
        raise Unreadable(text, entry.value_start, "imports is no list")
    inner = text[entry.value_start + 1 : entry.value_end - 1]
    if not document.get(("imports",)):
        return text[: entry.value_start] + f"[{literal(pattern)}]" + text[entry.value_end :]
    # At the front: what follows the last item may be a comma, a comment, or both.
    return text[: entry.value_start + 1] + f"{literal(pattern)}, " + inner.lstrip(" ") + text[entry.value_end - 1 :]


def table(path: Path, values: Mapping[str, Any], indent: str = "") -> str:
    """A table with its header, nested tables below it, as lines."""
    lines = [f"{indent}[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{indent}  {_key(key)} = {literal(value)}" for key, value in values.items() if not isinstance(value, Mapping)]
    text = "\n".join(lines) + "\n"
    for key, value in values.items():
        if isinstance(value, Mapping):
            text += table((*path, key), value, indent + "  ")
    return text


def literal(value: Any) -> str:
    """A value as TOML. JSON's strings, numbers and booleans are TOML's, too."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {literal(item)}" for key, item in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _key(part: str) -> str:
    return part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)


def _lines(text: str, wanted: str) -> list[tuple[int, int]]:
    found, at = [], 0
    for line in text.splitlines(keepends=True):
        if line.strip() == wanted:
            found.append((at, at + len(line)))
        at += len(line)
    return found


def _next_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
