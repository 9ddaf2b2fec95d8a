# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""/etc/fstab, edited so that every foreign line keeps its bytes. Pure; fields and escapes as in fstab(5)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Entry:
    """What a line declares; `path` without a slash at its end, `options` in their order."""

    source: str
    path: str
    filesystem: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """A line that declares a mount. `number` counts from 1."""

    number: int
    entry: Entry

    def __str__(self) -> str:
        words = f"line {self.number} ({self.entry.source} on {self.entry.path})"
        return words.encode("ascii", "backslashreplace").decode()  # fstab may hold any bytes; results are text


def lines(content: bytes) -> list[Line]:
    """The lines that declare something; comments, empty and hopeless lines are none of them."""
    found = []
    for number, raw in enumerate(_split(content), 1):
        fields = re.split("[ \t]+", raw.decode("utf-8", "surrogateescape").strip(" \t\r\n"))
        if len(fields) >= 2 and not fields[0].startswith("#"):
            source, path, kind, options = (fields + ["", ""])[:4]
            entry = Entry(_unescape(_unquote(source)), normal(_unescape(path)), kind, tuple(options.split(",")) if options else ())
            found.append(Line(number, entry))
    return found


def declare(content: bytes, entry: Entry, number: int | None = None) -> bytes:
    """`content` with `entry`: in the place of line `number`, of which only fields that differ change, or at the end."""
    if number is None:
        gap = b"" if not content or content.endswith(b"\n") else b"\n"
        return content + gap + " ".join((*_fields(entry), "0", "0")).encode() + b"\n"
    rows = _split(content)
    rows[number - 1] = _rewritten(rows[number - 1], entry)
    return b"".join(rows)


def without(content: bytes, numbers: Iterable[int]) -> bytes:
    """`content` without the lines of these numbers."""
    gone = set(numbers)
    return b"".join(raw for number, raw in enumerate(_split(content), 1) if number not in gone)


def normal(path: str) -> str:
    """A mount point as the kernel spells it."""
    return re.sub(r"/+", "/", path).rstrip("/") or "/"


def _split(content: bytes) -> list[bytes]:
    # splitlines() would also cut at \r, \v and others, which fstab takes as part of a line.
    return [part for part in re.split(rb"(?<=\n)", content) if part]


def _fields(entry: Entry) -> tuple[str, str, str, str]:
    return _escape(entry.source), _escape(entry.path), entry.filesystem, ",".join(entry.options)


def _rewritten(raw: bytes, entry: Entry) -> bytes:
    """The line with its own spacing, dump and pass fields, and the four fields of `entry`."""
    body = raw.rstrip(b"\r\n")
    parts = re.split(rb"([ \t]+)", body)  # fields at even places once a leading blank is taken off
    lead = parts.pop(0) + parts.pop(0) if parts[0] == b"" and len(parts) > 1 else b""
    for index, field in enumerate(_fields(entry)):
        place = 2 * index
        if place >= len(parts):
            parts += [b" ", field.encode()]
        elif set(parts[place].split(b",")) != set(field.encode().split(b",")):
            parts[place] = field.encode()
    return lead + b"".join(parts) + raw[len(body) :]


def _escape(field: str) -> str:
    return re.sub(r"[ \t\n\\#]", lambda found: f"\\{ord(found.group()):03o}", field)


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found.group(1), 8)), field)


def _unquote(source: str) -> str:
    """`UUID="1-2"` means UUID=1-2."""
    return re.sub(r'^([A-Z]+)="(.*)"$', r"\1=\2", source)
