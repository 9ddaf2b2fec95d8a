# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A strict reader of TOML 1.0 that remembers where everything stands, so that a value can be replaced and the rest keeps its bytes. Pure.

Python has a reader of its own from 3.11 on; hosts may be older, and that one forgets the places. Dates and times are kept as text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ._config_text import Unreadable

Path = tuple[str, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_COMMENT = re.compile(r"#[^\r\n]*")
_NUMBER = re.compile(r"[+-]?(?:0x[0-9A-Fa-f_]+|0o[0-7_]+|0b[01_]+|(?:inf|nan)|[0-9][0-9_]*(?:\.[0-9_]+)?(?:[eE][+-]?[0-9_]+)?)")
_TIME = re.compile(
    r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})?)?|[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?)"
)
_FLOAT = re.compile(r"[.eE]|inf|nan")
_UNDERSCORES = re.compile(r"^[+-]?_|__|_$|_[.eE]|[.eE+-]_|0[xob]_")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9_]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]|\r(?!\n)")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class Entry:
    """`key = value`: offsets of its line's first letter and of the value."""

    start: int
    value_start: int
    value_end: int


@dataclass(frozen=True)
class Document:
    """`data` as Python values; `headers`: [table] -> offset of its line; `entries`: full path of a key -> where it stands."""

    text: str
    data: dict[str, Any]
    headers: dict[Path, int]
    entries: dict[Path, Entry]
    first_header: int  # offset of the first line with a header, the length of the text where there is none

    def get(self, path: Path) -> Any:
        """The value under a path, None where there is none."""
        value: Any = self.data
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def line(self, offset: int) -> int:
        return self.text.count("\n", 0, offset) + 1


@dataclass
class _State:
    """What TOML forbids to define again."""

    defined: set[Path] = field(default_factory=set)  # by a header
    dotted: set[Path] = field(default_factory=set)  # by a dotted key: closed to headers
    closed: set[Path] = field(default_factory=set)  # inline tables and arrays: closed to everything
    arrays: set[Path] = field(default_factory=set)  # [[arrays of tables]]


def parse(text: str) -> Document:
    """The document; Unreadable, with the place, for anything that TOML 1.0 does not allow."""
    bad = _CONTROL.search(text)
    if bad:
        raise Unreadable(text, bad.start(), f"the character {bad.group()!r} has no place here")
    return _Reader(text).document()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.data: dict[str, Any] = {}
        self.headers: dict[Path, int] = {}
        self.entries: dict[Path, Entry] = {}
        self.state = _State()

    def document(self) -> Document:
        table, prefix, first_header = self.data, (), -1  # type: tuple[dict[str, Any], Path, int]
        while True:
            self._lines()
            if self.at >= len(self.text):
                return Document(self.text, self.data, self.headers, self.entries, len(self.text) if first_header < 0 else first_header)
            if self.text[self.at] == "[":
                line = self.text.rfind("\n", 0, self.at) + 1
                first_header = line if first_header < 0 else first_header
                table, prefix = self._header(line)
            else:
                self._pair(table, prefix)
            self._line_end()

    def _header(self, line: int) -> tuple[dict[str, Any], Path]:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        path = self._key()
        self._expect("]]" if array else "]")
        table = self._open(self.data, path[:-1], (), start)
        name, state = path[-1], self.state
        if array:
            if path in state.defined or path in state.dotted or path in state.closed or (name in table and path not in state.arrays):
                raise Unreadable(self.text, start, f"{'.'.join(path)} is defined already")
            state.arrays.add(path)
            table.setdefault(name, []).append({})
            # A new element: what was defined below the last one may come again.
            for known in (state.defined, state.dotted, state.closed):
                known -= {other for other in known if other[: len(path)] == path}
            state.arrays -= {other for other in state.arrays if other[: len(path)] == path and other != path}
            return table[name][-1], path
        if path in state.defined or path in state.dotted or path in state.closed or path in state.arrays or not isinstance(table.get(name, {}), dict):
            raise Unreadable(self.text, start, f"{'.'.join(path)} is defined already")
        state.defined.add(path)
        self.headers[path] = line
        return table.setdefault(name, {}), path

    def _open(self, table: dict[str, Any], keys: Path, prefix: Path, start: int) -> dict[str, Any]:
        """The table under `keys`, made where it is missing; for an array of tables its last element."""
        for key in keys:
            prefix += (key,)
            inner = table.setdefault(key, {})
            if isinstance(inner, list) and prefix in self.state.arrays:
                inner = inner[-1]
            if not isinstance(inner, dict) or prefix in self.state.closed:
                raise Unreadable(self.text, start, f"{'.'.join(prefix)} is no table that can be extended")
            table = inner
        return table

    def _pair(self, table: dict[str, Any], prefix: Path, inline: bool = False) -> None:
        start = self.at
        keys = self._key()
        for depth in range(1, len(keys)):
            inner = prefix + keys[:depth]
            if not inline and (inner in self.state.defined or inner in self.state.arrays):
                raise Unreadable(self.text, start, f"{'.'.join(inner)} is defined already")
            self.state.dotted.add(inner)
        table = self._open(table, keys[:-1], prefix, start)
        path = prefix + keys
        if keys[-1] in table:
            raise Unreadable(self.text, start, f"{'.'.join(path)} is defined already")
        self._expect("=")
        self._blank()
        value_start = self.at
        table[keys[-1]] = self._value(path)
        if isinstance(table[keys[-1]], (dict, list)):
            self.state.closed.add(path)
        self.entries[path] = Entry(start, value_start, self.at)

    def _key(self) -> Path:
        keys = []
        while True:
            self._blank()
            letter = self.text[self.at : self.at + 1]
            if letter in ('"', "'") and letter:
                if self.text.startswith(letter * 3, self.at):
                    raise Unreadable(self.text, self.at, "a key cannot go over lines")
                keys.append(self._string())
            else:
                bare = _BARE.match(self.text, self.at)
                if not bare:
                    raise Unreadable(self.text, self.at, "expected a key")
                keys.append(bare.group())
                self.at = bare.end()
            self._blank()
            if self.text[self.at : self.at + 1] != ".":
                return tuple(keys)
            self.at += 1

    def _value(self, path: Path) -> Any:
        letter = self.text[self.at : self.at + 1]
        if letter in ('"', "'") and letter:
            return self._string()
        if letter == "[":
            return self._array(path)
        if letter == "{":
            return self._inline(path)
        for word, value in (("true", True), ("false", False)):
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return value
        time = _TIME.match(self.text, self.at)
        if time:
            self.at = time.end()
            return time.group()
        number = _NUMBER.match(self.text, self.at)
        if not number:
            raise Unreadable(self.text, self.at, "expected a value")
        return self._number(number)

    def _number(self, found: re.Match[str]) -> int | float:
        word = found.group()
        digits = word.lstrip("+-")
        based = digits[:2] in ("0x", "0o", "0b")
        if _UNDERSCORES.search(word if not based else digits[2:]) or (based and word != digits) or (not based and _LEADING_ZERO.match(word)):
            raise Unreadable(self.text, found.start(), f"{word} is no number of TOML")
        self.at = found.end()
        if based:
            return int(digits.replace("_", ""), 0)
        return float(word.replace("_", "")) if _FLOAT.search(word) else int(word.replace("_", ""))

    def _array(self, path: Path) -> list[Any]:
        items: list[Any] = []
        start = self.at
        self.at += 1
        while True:
            self._lines()
            if self.text[self.at : self.at + 1] == "]":
                self.at += 1
                return items
            if self.at >= len(self.text):
                raise Unreadable(self.text, start, "this array has no end")
            items.append(self._value((*path, str(len(items)))))
            self._lines()
            if self.text[self.at : self.at + 1] == ",":
                self.at += 1
            elif self.text[self.at : self.at + 1] != "]":
                raise Unreadable(self.text, min(self.at, len(self.text)), "expected , or ]")

    def _inline(self, path: Path) -> dict[str, Any]:
        table: dict[str, Any] = {}
        self.at += 1
        self._blank()
        if self.text[self.at : self.at + 1] == "}":
            self.at += 1
            return table
        while True:
            self._blank()
            self._pair(table, path, inline=True)
            self._blank()
            if self.text[self.at : self.at + 1] == "}":
                self.at += 1
                return table
            self._expect(",")

    def _string(self) -> str:
        start, quote = self.at, self.text[self.at]
        long = self.text.startswith(quote * 3, self.at)
        self.at += 3 if long else 1
        if long:  # a line end right after the quotes does not count
            self.at += 2 if self.text.startswith("\r\n", self.at) else 1 if self.text.startswith("\n", self.at) else 0
        letters: list[str] = []
        while True:
            letter = self.text[self.at : self.at + 1]
            if not letter or (letter in "\r\n" and not long):
                raise Unreadable(self.text, start, "this string has no end")
            if letter == quote and (not long or self.text.startswith(quote * 3, self.at)):
                break
            if letter == "\\" and quote == '"':
                letters.append(self._escape(long))
                continue
            letters.append(letter)
            self.at += 1
        if not long:
            self.at += 1
            return "".join(letters)
        # Up to two quotes may stand before the closing three.
        end = self.at
        while self.text.startswith(quote, end) and end < self.at + 5:
            end += 1
        letters.append(quote * (end - self.at - 3))
        self.at = end
        return "".join(letters)

    def _escape(self, long: bool) -> str:
        start = self.at
        letter = self.text[start + 1 : start + 2]
        if letter in _ESCAPES and letter:
            self.at += 2
            return _ESCAPES[letter]
        if letter in ("u", "U") and letter:
            length = 4 if letter == "u" else 8
            digits = self.text[start + 2 : start + 2 + length]
            if re.fullmatch(r"[0-9A-Fa-f]+", digits) and len(digits) == length:
                code = int(digits, 16)
                if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                    self.at += 2 + length
                    return chr(code)
        gap = re.compile(r"\\[ \t]*\r?\n[ \t\r\n]*").match(self.text, start) if long else None
        if not gap:
            raise Unreadable(self.text, start, "unknown escape in a string")
        self.at = gap.end()
        return ""

    def _expect(self, word: str) -> None:
        self._blank()
        if not self.text.startswith(word, self.at):
            raise Unreadable(self.text, self.at, f"expected {word}")
        self.at += len(word)

    def _blank(self) -> None:
        self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches always

    def _lines(self) -> None:
        """Past blanks, comments and line ends."""
        while self.at < len(self.text):
            self._blank()
            comment = _COMMENT.match(self.text, self.at)
            if comment:
                self.at = comment.end()
            if self.text[self.at : self.at + 1] not in ("\r", "\n") or self.at >= len(self.text):
                return
            self.at += 1

    def _line_end(self) -> None:
        self._blank()
        comment = _COMMENT.match(self.text, self.at)
        if comment:
            self.at = comment.end()
        if self.at < len(self.text) and self.text[self.at] not in "\r\n":
            raise Unreadable(self.text, self.at, "expected the end of the line")
