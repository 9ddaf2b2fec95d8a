# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""YAML without PyYAML: reads what kubeadm and kubectl write (kubeconfigs), for hosts that lack it, and writes what people read in a diff.

Read are block mappings, block lists and one-line scalars; what is outside of that is refused, never guessed.
"""

from __future__ import annotations

import json
import re
from typing import Any

_ENTRY = re.compile(r"""(?P<key>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s#'"\[\]{},&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+(?P<value>.*))?$""")
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ =@+-]*(:[A-Za-z0-9_./@+-]+)*(?<! )")
_LITERAL = re.compile(r"[^\s][^\x00-\x08\x0b-\x1f\x7f]*(?<!\n)\n?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False, "{}": {}, "[]": []}


class SubsetError(ValueError):
    """Not in the subset; the message has the line."""


def load(text: str) -> Any:
    """The one document of `text`, which may also be JSON."""
    if text.lstrip().startswith("{"):
        return json.loads(text)
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare and not bare.startswith("#") and bare not in ("---", "..."):
            if "\t" in line[: len(line) - len(line.lstrip())]:
                raise SubsetError(f"line {number}: indented with a tab")
            lines.append((number, len(line) - len(line.lstrip(" ")), bare))
    if not lines:
        return None
    value, rest = _block(lines, 0, lines[0][1])
    if rest != len(lines):
        raise SubsetError(f"line {lines[rest][0]}: unexpected indentation")
    return value


def dump(value: Any) -> str:
    """Block style with sorted keys; a text of several lines stays one, so that a diff shows the line that changed."""
    return "".join(line + "\n" for line in _lines(value))


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key in sorted(value, key=str) for line in _under(_one_line(str(key)) + ":", value[key])]
    if isinstance(value, list) and value:
        blocks = [_lines(item) for item in value]
        return [("- " if index == 0 else "  ") + line for block in blocks for index, line in enumerate(block)]
    return [_one_line(value)]


def _under(head: str, value: Any) -> list[str]:
    if isinstance(value, str) and "\n" in value.strip("\n") and _LITERAL.fullmatch(value):
        return [head + (" |" if value.endswith("\n") else " |-"), *("  " + line for line in value.rstrip("\n").split("\n"))]
    below = _lines(value)
    if isinstance(value, dict) and value:
        return [head, *("  " + line for line in below)]
    return [head, *below] if isinstance(value, list) and value else [head + " " + below[0]]


def _one_line(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _WORDS and value.lower() not in ("yes", "no", "on", "off", "y", "n"):
        return value
    return json.dumps(value, ensure_ascii=False)


def _block(lines: list[tuple[int, int, str]], at: int, indent: int) -> tuple[Any, int]:
    if lines[at][2].startswith("- ") or lines[at][2] == "-":
        return _list(lines, at, indent)
    return _mapping(lines, at, indent)


def _mapping(lines: list[tuple[int, int, str]], at: int, indent: int) -> tuple[dict[str, Any], int]:
    result: dict[str, Any] = {}
    while at < len(lines) and lines[at][1] == indent and not lines[at][2].startswith("- "):
        number, _indent, text = lines[at]
        entry = _ENTRY.match(text)
        if not entry:
            raise SubsetError(f"line {number}: only `key: value` is understood here without PyYAML")
        key, value = str(_scalar(entry["key"], number)), re.sub(r"^#.*", "", (entry["value"] or "").strip())
        if key in result:
            raise SubsetError(f'line {number}: key "{key}" is given twice')
        at += 1
        below = at < len(lines) and (lines[at][1] > indent or (lines[at][1] == indent and lines[at][2].startswith("- ")))
        if value or not below:
            result[key] = _scalar(value, number)
        else:
            result[key], at = _block(lines, at, lines[at][1])
    return result, at


def _list(lines: list[tuple[int, int, str]], at: int, indent: int) -> tuple[list[Any], int]:
    result: list[Any] = []
    while at < len(lines) and lines[at][1] == indent and (lines[at][2].startswith("- ") or lines[at][2] == "-"):
        number, _indent, text = lines[at]
        inner = text[1:].lstrip()
        if not inner:
            at += 1
            value, at = _block(lines, at, lines[at][1]) if at < len(lines) and lines[at][1] > indent else (None, at)
        elif _ENTRY.match(inner):
            # "- key: value" opens a mapping whose keys stand where this one does
            lines[at] = (number, indent + len(text) - len(inner), inner)
            value, at = _block(lines, at, lines[at][1])
        else:
            value, at = _scalar(inner, number), at + 1
        result.append(value)
    return result, at


def _scalar(text: str, number: int) -> Any:
    if text[:1] == '"' and text[-1:] == '"' and len(text) > 1:
        return json.loads(text)
    if text[:1] == "'" and text[-1:] == "'" and len(text) > 1:
        return text[1:-1].replace("''", "'")
    if text in _WORDS:
        return _WORDS[text]
    if text[:1] in "#&*!|>%@`[{\"'" or re.match(r"[-?:](\s|$)", text):
        raise SubsetError(f"line {number}: {text[:1]} is not understood here without PyYAML")
    return re.split(r"\s+#", text)[0]
