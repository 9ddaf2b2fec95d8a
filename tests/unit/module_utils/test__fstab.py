# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import re

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _fstab
from ansible_collections.slipway.mlops.plugins.module_utils._fstab import Entry
from hypothesis import given
from hypothesis import strategies as st

OURS = Entry("UUID=1-2", "/ais/disk0", "xfs", ("noatime", "nofail"))
OURS_LINE = b"UUID=1-2 /ais/disk0 xfs noatime,nofail 0 0\n"


def test_lines_are_read_as_mount_reads_them() -> None:
    content = b'# c\n\n  /dev/sda1\t/a\\040b//c/ ext4 rw,noatime 0 1 \nUUID="x-y" /z\n#UUID=1 /ais/disk0 xfs\nlonely\n\xff\xfe /odd x'
    assert [(line.number, line.entry) for line in _fstab.lines(content)] == [
        (3, Entry("/dev/sda1", "/a b/c", "ext4", ("rw", "noatime"))),
        (4, Entry("UUID=x-y", "/z", "", ())),
        (7, Entry("\udcff\udcfe", "/odd", "x", ())),
    ]
    assert str(_fstab.lines(content)[2]).isascii(), "a line of any bytes can be told in JSON"


@pytest.mark.parametrize(("before", "after"), [(b"", OURS_LINE), (b"a b c\n", b"a b c\n" + OURS_LINE), (b"a b c", b"a b c\n" + OURS_LINE)])
def test_a_new_line_goes_to_the_end(before: bytes, after: bytes) -> None:
    assert _fstab.declare(before, OURS) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"LABEL=x   /ais/disk0/\txfs  defaults\t0  2\n", b"UUID=1-2   /ais/disk0\txfs  noatime,nofail\t0  2\n"),
        (b"\tUUID=1-2 /ais/disk0 xfs nofail,noatime 0 0", b"\tUUID=1-2 /ais/disk0 xfs nofail,noatime 0 0"),
        (b"UUID=1-2 /ais/disk0\n", b"UUID=1-2 /ais/disk0 xfs noatime,nofail\n"),
        (b"UUID=1-2 /ais/disk0 xfs defaults 0 0 # mine \r\n", b"UUID=1-2 /ais/disk0 xfs noatime,nofail 0 0 # mine \r\n"),
    ],
)
def test_an_old_line_changes_only_in_fields_that_differ(before: bytes, after: bytes) -> None:
    assert _fstab.declare(b"first\n" + before, OURS, 2) == b"first\n" + after


def test_lines_go_by_number() -> None:
    assert _fstab.without(b"a\nb\nc", [2]) == b"a\nc"
    assert _fstab.without(b"a\nb\nc", []) == b"a\nb\nc"


# Anything may be in a line, also what str.splitlines() would take for its end.
junk = st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"\x0b")), max_size=6).map(b"\n".join)


@given(before=junk, after=junk)
def test_foreign_bytes_stay(before: bytes, after: bytes) -> None:
    content = before + b"\n" + b"UUID=0-0 /ais/disk0 xfs defaults 0 0\n" + after
    number = content[: content.index(b"UUID=0-0")].count(b"\n") + 1
    assert _fstab.declare(content, OURS, number) == before + b"\n" + OURS_LINE + after
    assert _fstab.without(content, [number]) == before + b"\n" + after


@given(content=junk)
def test_what_was_added_is_found_and_goes_without_trace(content: bytes) -> None:
    added = _fstab.declare(content, OURS)
    mine = [line for line in _fstab.lines(added) if line.entry == OURS]
    assert mine
    assert re.sub(rb"\n\Z", b"", _fstab.without(added, [mine[-1].number])) == re.sub(rb"\n\Z", b"", content)


@given(path=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map(lambda text: "/" + text.replace("/", " #\t\\")))
def test_any_path_survives_its_escapes(path: str) -> None:
    entry = Entry("/dev/x", path, "xfs", ("rw",))
    assert [line.entry for line in _fstab.lines(_fstab.declare(b"", entry))] == [entry]
