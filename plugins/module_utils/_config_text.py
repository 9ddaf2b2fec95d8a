# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text of a configuration file, and the place where it cannot be read. Pure."""

from __future__ import annotations


class Unreadable(ValueError):
    """The text is not what its reader understands. `line` and `column` count from 1."""

    def __init__(self, text: str, offset: int, reason: str) -> None:
        self.line = text.count("\n", 0, offset) + 1
        self.column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        super().__init__(f"line {self.line}, column {self.column}: {reason}")


def decode(content: bytes) -> str:
    """The text of a file; Unreadable where it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(content[: error.start].decode("utf-8", "replace"), error.start, "not UTF-8") from None
