# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What host modules ask of a value before they use it, and how they say no. Pure, standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_INTEGER = re.compile(r"-?[0-9]+")


class Refused(Exception):
    """The input, or what the host offers, forbids to begin: every problem at once, a sentence each. Nothing was touched.

    `result`: what is known of the host all the same, for the result of the module.
    """

    def __init__(self, problems: Sequence[str], result: Mapping[str, Any] | None = None) -> None:
        self.problems, self.result = list(problems), dict(result or {})
        listed = "".join("\n- " + line for line in self.problems)
        super().__init__("{} problem{}; nothing was touched on this host:{}".format(len(self.problems), "" if len(self.problems) == 1 else "s", listed))


class Failed(Exception):
    """An effect did not come about; the message says what, why, and what was put back. `result`: what was done, for the result of the module."""

    def __init__(self, message: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = dict(result or {})


def integer(value: Any) -> int | None:
    """The value as an integer; None for anything that is not plainly one (a boolean, 9000.5, "on", "", "9000 ")."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return None


def not_ours(path: str, content: bytes | None, header: str) -> str:
    """Why a file that we write whole may not be touched, "" where it may: it is there, and does not begin as ours do."""
    if not content or content.startswith(header.encode()):
        return ""
    return f"{path} is there and was not written by this module; give another path, or move that file away"


def out_of_place(text: str, forbidden: str = "#\"';\\") -> str:
    """Why the text may not stand in a line of a configuration file, "" where it may: control characters (a newline above all) and `forbidden`."""
    for letter in text:
        if not letter.isprintable():
            return f"it holds the character {letter!r}"
        if letter in forbidden:
            return f"it holds {letter}, which has a meaning of its own in the file"
    return ""
