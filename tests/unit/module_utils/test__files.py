# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _files

SECRET = b"//nas/x /x cifs password=hunter2 0 0"


@pytest.mark.parametrize(
    ("before", "after", "gone", "come"),
    [
        (b"a\n" + SECRET + b"\nb\n", b"a\n" + SECRET + b"\nB\n", "b\n", "B\n"),
        (SECRET, SECRET + b"\nnew\n", "", "new\n"),  # the last line gets its end
        (SECRET + b"\n" + SECRET + b"\nold\n", SECRET + b"\n" + SECRET + b"\n", "old\n", ""),
        (None, b"new\n", "", "new\n"),
        (b"old\n", None, "old\n", ""),
    ],
)
def test_a_diff_of_lines_shows_nothing_of_the_lines_around(before: bytes | None, after: bytes | None, gone: str, come: str) -> None:
    found = _files.diff_lines("/etc/fstab", before, after)
    assert (found["before"], found["after"]) == (gone, come)
    assert found["before_header"].startswith("/etc/fstab")
