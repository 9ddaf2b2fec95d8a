# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads and edits one list of a KubeletConfiguration without touching any other byte. Pure, and without PyYAML: hosts lack it.

Only the form that kubelets' files really have is read: one document, a block mapping at column 1, our list as a block or a flow
sequence of plain or quoted words. What is outside of that is refused with its place rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ._config_text import Unreadable

API_VERSION = "kubelet.config.k8s.io/v1beta1"
KIND = "KubeletConfiguration"

_KEY = re.compile(r"""(?:"([^"\\\r\n]*)"|'([^'\r\n]*)'|([A-Za-z0-9_][-A-Za-z0-9_./]*))[ ]*:(?=[ \r\n]|$)""")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u0085\u2028\u2029]|\r(?!\n)")
_PLAIN = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_./*]*")
_QUOTED = re.compile(r"\"([^\"\\\r\n]*)\"|'([^'\r\n]*)'")
_ITEM = re.compile(r"([ ]*)-(?:[ ]+|(?=\r?\n|$))")
_BLOCK_SCALAR = re.compile(r"[|>](?:[-+][1-9]?|[1-9][-+]?)?[ ]*(?:[ ]#[^\r\n]*)?(?:\r?\n|$)")
_LINE_END = re.compile(r"[ ]*(?:(?:(?<=[ \n])|(?<![\s\S]))#[^\r\n]*)?(?:\r?\n|$)")  # a comment stands behind a space, or first on its line
_DASH = re.compile(r"-(?:[ ]+|(?=\r?\n|$))")
_SCALAR = re.compile(r"\"(?:[^\"\\\r\n]|\\[\\\"/ntr0 ])*\"|'(?:[^'\r\n]|'')*'")
_PLAIN_LINE = re.compile(r"(?:[A-Za-z0-9_./+~]|-(?=[A-Za-z0-9_./]))(?:[^\s#]|#(?<![ ]#)|[ ]+(?![#\s]))*")
_FLOW_WORD = re.compile(r"(?:[A-Za-z0-9_./+~]|-(?=[A-Za-z0-9_./]))(?:[-A-Za-z0-9_./+~*%@]|:(?=[-A-Za-z0-9_./+]))*")
_SPACE = re.compile(r"[ ]*")
_REST = re.compile(r"[ ]*(?:[ ]#[^\r\n]*)?(?:\r?\n|$)")  # what may follow a value on its line


@dataclass(frozen=True)
class _Item:
    value: str
    start: int  # offsets of the word with its quotes
    end: int


@dataclass(frozen=True)
class _Entry:
    """A key at column 1: `start` of its line, `value` where the rest of the line begins, `end` where the next key's lines begin."""

    start: int
    value: int
    end: int


def check(text: str) -> None:
    """Unreadable unless the text is a KubeletConfiguration of the one API version that there is."""
    for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        found = read_scalar(text, key)
        if found != wanted:
            at = _entries(text).get(key)
            raise Unreadable(text, at.start if at else 0, "{} is {}, not {}".format(key, found or "missing", wanted))


def read_scalar(text: str, key: str) -> str | None:
    """The value of a key at column 1 when it is one word or quoted text on its line; None where the key is absent or empty."""
    entry = _entries(text).get(key)
    if entry is None:
        return None
    at = _skip(text, entry.value)
    found = _QUOTED.match(text, at) or re.compile(r"[^\s#&*!|>%@`\[{'\"][^\s#]*").match(text, at)
    if not found:
        return None
    if not _REST.match(text, found.end()):
        raise Unreadable(text, at, f"{key} is not a single word")
    return _word(found)


def read_list(text: str, key: str) -> list[str] | None:
    """The words of the list under `key`; None where the key is absent or null."""
    entry = _entries(text).get(key)
    if entry is None:
        return None
    items = _items(text, key, entry)[0]
    return None if items is None else [item.value for item in items]


def add_to_list(text: str, key: str, values: Sequence[str]) -> str:
    """The text with `values` at the end of the list, in the list's own style; the key is appended where it is absent."""
    if not values:
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    entries = _entries(text)
    if key not in entries:
        glue = "" if not text or text.endswith("\n") else newline
        return text + glue + newline.join([key + ":"] + ["- " + value for value in values]) + newline
    entry = entries[key]
    items, at = _items(text, key, entry)
    flow = text[at : at + 1] == "["
    if items and flow:
        end = items[-1].end
        return text[:end] + "".join(", " + value for value in values) + text[end:]
    if items:
        last = items[-1]
        line = text.rfind("\n", 0, last.start) + 1
        indent = text[line : last.start]
        end = text.find("\n", last.end)
        added = "".join(indent + value + newline for value in values)
        return text + newline + added[: -len(newline)] if end < 0 else text[: end + 1] + added + text[end + 1 :]
    if flow:
        return text[: at + 1] + ", ".join(values) + text[at + 1 :]
    # Null: the empty word, or one that says so.
    end = at + len(_null(text, at))
    gap = "" if text[at - 1] in " \t" else " "
    return text[:at] + gap + "[" + ", ".join(values) + "]" + text[end:]


def remove_from_list(text: str, key: str, values: Sequence[str]) -> str:
    """The text without these items; a key whose list becomes empty goes too, unless comments stand in its lines."""
    entry = _entries(text).get(key)
    if entry is None:
        return text
    items, at = _items(text, key, entry)
    gone = [item for item in items or [] if item.value in values]
    if not items or not gone:
        return text
    if len(gone) == len(items) and "#" not in text[entry.start : entry.end]:
        return text[: entry.start] + text[entry.end :]
    if text[at : at + 1] == "[":
        for item in reversed(gone):
            start, end = _with_comma(text, items, items.index(item))
            text = text[:start] + text[end:]
            items = [other for other in items if other is not item]
        return text
    for item in reversed(gone):
        start = text.rfind("\n", 0, item.start) + 1
        end = text.find("\n", item.end)
        text = text[:start] + ("" if end < 0 else text[end + 1 :])
    if len(gone) == len(items):
        text = text[: entry.value] + " []" + text[entry.value :]
    return text


def _with_comma(text: str, items: Sequence[_Item], index: int) -> tuple[int, int]:
    """What to cut out of a flow sequence for one item: with the comma before it on its line, else with the one after it."""
    item = items[index]
    if index:
        comma = _skip_lines(text, items[index - 1].end)
        if not text[comma + 1 : item.start].strip(" "):
            return comma, item.end
    after = _skip_lines(text, item.end)
    return item.start, _skip(text, after + 1) if text[after] == "," else item.end


def new_document(key: str, values: Sequence[str], comment: str) -> str:
    """A whole drop-in with this one list."""
    return "# {}\napiVersion: {}\nkind: {}\n{}:\n{}".format(comment, API_VERSION, KIND, key, "".join("- " + value + "\n" for value in values))


def _entries(text: str) -> dict[str, _Entry]:
    """The keys at column 1, with the whole document read: what no YAML reader would take must not be edited."""
    return _Reader(text).entries()


class _Reader:
    """Reads block mappings and sequences, flow collections, block scalars and one-line scalars. No anchors, tags, or scalars over lines."""

    def __init__(self, text: str) -> None:
        bad = _CONTROL.search(text)
        if bad:
            raise Unreadable(text, bad.start(), f"the character {bad.group()!r} has no place here")
        self.text, self.at = text, 0

    def entries(self) -> dict[str, _Entry]:
        text = self.text
        self._next()
        if re.match(r"---(?:[ \r\n]|$)", text[self.at :]) and self._indent() == 0:
            self.at += 3
            self._line_end()
            self._next()
        starts: list[tuple[str, int, int]] = []
        while self.at < len(text):
            start = self.at
            if self._indent():
                raise Unreadable(text, start, "no key stands above this line" if not starts else "this line is indented as no other above it")
            if re.match(r"---(?:[ \r\n]|$)", text[start:]):
                raise Unreadable(text, start, "more than one document, or content beside ---")
            key = self._key(0)
            if any(key == other[0] for other in starts):
                raise Unreadable(text, start, f"the key {key} is there twice")
            starts.append((key, start, self.at))
            self._value(0)
        ends = [start for _key, start, _value in starts[1:]] + [len(text)]
        return {key: _Entry(start, value, _own_end(text, start, end)) for (key, start, value), end in zip(starts, ends)}

    def _key(self, indent: int) -> str:
        found = _KEY.match(self.text, self.at)
        if not found:
            if indent == 0 and self.text.startswith("-", self.at):
                raise Unreadable(self.text, self.at, "no key stands above this line, or one with a value of its own")
            raise Unreadable(self.text, self.at, "expected 'key:' at the begin of a line")
        self.at = found.end()
        return _word(found)

    def _value(self, indent: int) -> None:
        """What follows `key:` or `-` of a block at column `indent`; leaves at the next line with content."""
        self.at = _skip(self.text, self.at)
        if _LINE_END.match(self.text, self.at):
            self._next()
            inner = self._indent()
            if self.at < len(self.text) and (inner > indent or (inner == indent and _DASH.match(self.text, self.at))):
                self._block(inner, indent)
            return
        if self.text[self.at - 1] != " ":
            raise Unreadable(self.text, self.at, "expected a space before the value")
        scalar = _BLOCK_SCALAR.match(self.text, self.at)
        if scalar:
            self.at = scalar.end()
            while self.at < len(self.text):
                line = self.text[self.at : _line_after(self.text, self.at)]
                if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
                    break
                if line.lstrip(" ").startswith("\t"):
                    raise Unreadable(self.text, self.at, "a tab indents this line; YAML allows spaces only")
                self.at += len(line)
        else:
            self.at = self._inline(self.at)
            self._line_end()
        self._next()
        if self.at < len(self.text) and (self._indent() > indent):
            raise Unreadable(self.text, self.at, "this line is deeper than the value above it")

    def _block(self, indent: int, parent: int) -> None:
        """A nested mapping or sequence at column `indent`."""
        keys: set[str] = set()
        sequence = bool(_DASH.match(self.text, self.at))
        if not sequence and indent == parent:
            return
        while self.at < len(self.text) and self._indent() == indent:
            if bool(_DASH.match(self.text, self.at)) != sequence:
                if indent == parent:
                    return  # the key after a list at its own column
                raise Unreadable(self.text, self.at, "a list and keys stand at the same column")
            if sequence:
                self._item(indent)
                continue
            start, key = self.at, self._key(indent)
            if key in keys:
                raise Unreadable(self.text, start, f"the key {key} is there twice")
            keys.add(key)
            self._value(indent)
        if self.at < len(self.text) and self._indent() > indent:
            raise Unreadable(self.text, self.at, "this line is indented as no other above it")

    def _item(self, indent: int) -> None:
        found = _DASH.match(self.text, self.at)
        content = found.end() if found else self.at
        if _LINE_END.match(self.text, content):
            self.at = content
            self._value_of_item(indent)
            return
        if _KEY.match(self.text, content) or _DASH.match(self.text, content):
            # `- key: value`: a mapping whose column is that of its first key.
            inner = indent + content - self.at
            self.at = content
            self._first(inner)
            return
        self.at = content
        self._value(indent)

    def _value_of_item(self, indent: int) -> None:
        self._next()
        if self.at < len(self.text) and self._indent() > indent:
            self._block(self._indent(), indent)

    def _first(self, indent: int) -> None:
        """The block that begins behind a dash on the same line, and its further lines."""
        if _DASH.match(self.text, self.at):
            self._item(indent)
        else:
            self._key(indent)
            self._value(indent)
        if self.at < len(self.text) and self._indent() == indent:
            self._block(indent, -1)

    def _inline(self, at: int) -> int:
        """The offset after a flow collection or a scalar of one line."""
        if self.text[at] in "[{":
            return _flow_end(self.text, at)
        found = _SCALAR.match(self.text, at) or _PLAIN_LINE.match(self.text, at)
        if not found or (not _SCALAR.match(self.text, at) and re.search(r":(?: |$)", found.group())):
            raise Unreadable(self.text, at, "expected a value: a word, quoted text on one line, [...] or {...}")
        return found.end()

    def _indent(self) -> int:
        """The column, from 0, of the place where we are."""
        return self.at - (self.text.rfind("\n", 0, self.at) + 1)

    def _next(self) -> None:
        """To the first letter of the next line with content, from the begin of a line or the end of one."""
        while self.at < len(self.text):
            end = _LINE_END.match(self.text, self.at)
            if not end:
                break
            self.at = end.end() if end.end() > self.at else self.at + 1
        else:
            return
        self.at = _skip(self.text, self.at)
        if self.text[self.at] == "\t":
            raise Unreadable(self.text, self.at, "a tab indents this line; YAML allows spaces only")

    def _line_end(self) -> None:
        if not _LINE_END.match(self.text, self.at):
            raise Unreadable(self.text, self.at, "unexpected text after the value")


def _own_end(text: str, start: int, end: int) -> int:
    """Where a key's own lines end: blank lines and comments at column 1 before the next key belong to that."""
    lines = text[start:end].splitlines(keepends=True)
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith("#")):
        lines.pop()
    return start + sum(map(len, lines))


def _flow_end(text: str, at: int) -> int:
    """The offset after the flow collection that begins at `at`, over lines."""
    start, closing = at, {"[": "]", "{": "}"}[text[at]]
    at += 1
    comma = True
    while True:
        at = _skip_lines(text, at)
        if at >= len(text):
            raise Unreadable(text, start, "what begins here has no end")
        if text[at] == closing:
            return at + 1
        if text[at] == ",":
            if comma:
                raise Unreadable(text, at, "a comma without a value before it")
            comma, at = True, at + 1
            continue
        if not comma:
            raise Unreadable(text, at, "expected a comma or the end of the list")
        at, comma = _flow_item(text, at, closing == "}"), False


def _flow_item(text: str, at: int, pair: bool) -> int:
    if pair:
        key = _SCALAR.match(text, at) or _FLOW_WORD.match(text, at)
        if not key or not re.match(r":[ ]+(?![,}#\r\n])", text[key.end() :]):
            raise Unreadable(text, at, "expected 'key: value'")
        at = _skip(text, key.end() + 1)
    if text[at] in "[{":
        return _flow_end(text, at)
    found = _SCALAR.match(text, at) or _FLOW_WORD.match(text, at)
    if not found:
        raise Unreadable(text, at, "expected a word, plain or in quotes")
    return found.end()


def _items(text: str, key: str, entry: _Entry) -> tuple[list[_Item] | None, int]:
    """The items under a key (None: null) and the offset where the value stands, or would stand."""
    at = _skip(text, entry.value)
    if text[at : at + 1] == "[":
        items = _flow_items(text, at)
        _block_items(text, _line_after(text, _flow_end(text, at)), entry.end, most=0)
        return items, at
    null = _null(text, at)
    if not _REST.match(text, at + len(null) if null else entry.value):
        raise Unreadable(text, at, f"{key} is not a list")
    below = _block_items(text, _line_after(text, at), entry.end, most=0 if null else None)
    return (below or None), (at if null else entry.value)


def _flow_items(text: str, at: int) -> list[_Item]:
    end = _flow_end(text, at) - 1
    if not _REST.match(text, end + 1):
        raise Unreadable(text, end + 1, "unexpected text after the list")
    items: list[_Item] = []
    comma = True
    at += 1
    while True:
        at = _skip_lines(text, at)
        if at == end:
            return items
        if text[at] == ",":
            if comma:
                raise Unreadable(text, at, "a comma without a value before it")
            comma, at = True, at + 1
            continue
        found = _QUOTED.match(text, at) or _PLAIN.match(text, at)
        if not found or not comma:
            raise Unreadable(text, at, "expected a word, plain or in quotes")
        items.append(_Item(_word(found), at, found.end()))
        comma, at = False, found.end()


def _block_items(text: str, at: int, end: int, most: int | None = None) -> list[_Item]:
    items: list[_Item] = []
    indent: str | None = None
    while at < end:
        blank = re.compile(r"[ \t]*(#[^\r\n]*)?(?:\r?\n|$)").match(text, at)
        if blank:
            at = max(blank.end(), at + 1)
            continue
        dash = _ITEM.match(text, at)
        if not dash or len(items) == most or (indent is not None and dash.group(1) != indent):
            raise Unreadable(text, at, "a line that does not belong to the list: expected a list item indented as the first")
        indent = dash.group(1)
        found = _QUOTED.match(text, dash.end()) or _PLAIN.match(text, dash.end())
        if not found or not _REST.match(text, found.end()):
            raise Unreadable(text, dash.end(), "expected one word, plain or in quotes")
        items.append(_Item(_word(found), found.start(), found.end()))
        at = _line_after(text, found.end())
    return items


def _null(text: str, at: int) -> str:
    found = re.compile(r"(?:null|Null|NULL|~)(?=[ \t\r\n]|$)").match(text, at)
    return found.group() if found else ""


def _word(found: re.Match[str]) -> str:
    return next((group for group in found.groups() if group is not None), found.group())


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _skip_lines(text: str, at: int) -> int:
    """Past white space, line ends and comments inside a flow collection."""
    while at < len(text) and (text[at] in " \r\n" or (text[at] == "#" and text[at - 1] in " \n")):
        at = _line_after(text, at) if text[at] == "#" else at + 1
    return at


def _line_after(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
