# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _xfs_options as options

GUIDE = ["noatime", "nodiratime", "logbufs=8", "logbsize=256k", "largeio", "inode64", "swalloc", "allocsize=131072k", "nofail"]
# As Linux 6.1 and 6.18 report a mount with the options of the guide.
REPORTED = ["rw", "noatime", "nodiratime", "attr2", "swalloc", "largeio", "inode64", "allocsize=131072k", "logbufs=8", "logbsize=256k", "noquota"]


@pytest.mark.parametrize("kernel", [(5, 14), (6, 18), (7, 2)])
def test_the_guides_options_are_known_to_every_supported_kernel(kernel: tuple[int, int]) -> None:
    assert options.problems(GUIDE, kernel) == []


@pytest.mark.parametrize(
    ("declared", "kernel", "words"),
    [
        (["nobarrier"], (5, 14), "nobarrier: removed in Linux 4.19, this host runs 5.14"),
        (["attr2"], (6, 18), "attr2: removed in Linux 6.18"),
        (["noatime", ""], (6, 1), "item 2 is empty"),
        (["logbsize=3k"], (6, 1), "logbsize must be one of 32k"),
        (["logbsize"], (6, 1), "logbsize must be one of 32k"),
        (["context"], (6, 1), "a value is missing"),
        (["logbufs=9"], (6, 1), "logbufs must be a number from 2 to 8"),
        (["allocsize=100k"], (6, 1), "allocsize must be a power of two from 4k to 1g"),
        (["allocsize=2g"], (6, 1), "allocsize must be a power of two from 4k to 1g"),
        (["largeio=1"], (6, 1), "largeio takes no value"),
        (["foo"], (6, 1), 'unknown XFS option "foo"'),
        (["a b"], (6, 1), "blanks, quotes"),
        (["noatime\n/dev/sda / ext4"], (6, 1), "blanks, quotes"),
        (['context="x"'], (6, 1), "blanks, quotes"),
        (["x-systemd.mount-timeout=5#"], (6, 1), "blanks, quotes"),
        (["x-systemd.automount"], (6, 1), "x-systemd.automount: until somebody opens the path"),
        (["logdev=/dev/sdb1"], (6, 1), "which this module does not manage"),
        (["remount"], (6, 1), "an action"),
        (["inode32", "inode64"], (6, 1), "inode32 contradicts inode64"),
        (["logbsize=32k", "logbsize=64k"], (6, 1), "logbsize=64k contradicts logbsize=32k"),
        (["sunit=8"], (6, 1), "sunit and swidth go together"),
        (["norecovery"], (6, 1), "norecovery needs ro"),
    ],
)
def test_what_is_wrong_is_said(declared: list[str], kernel: tuple[int, int], words: str) -> None:
    found = options.problems(declared, kernel)
    assert any(words in problem for problem in found), found


def test_old_kernels_still_know_old_options() -> None:
    assert options.problems(["nobarrier"], (4, 18)) == []
    assert options.problems(["attr2", "ikeep"], (6, 17)) == []


def test_options_of_user_space_are_for_fstab_alone() -> None:
    assert options.for_mount(["noatime", "nofail", "x-systemd.device-timeout=9s", "defaults", "rw"]) == ("noatime", "rw")


@pytest.mark.parametrize(
    ("declared", "live", "remount", "pending"),
    [
        (GUIDE, REPORTED, (), ()),
        (["allocsize=128m", "logbsize=262144", "swalloc", "largeio", "noatime", "nodiratime"], REPORTED, (), ()),
        # Flags are replaced as a whole; what is not named in a remount is lost.
        ([*GUIDE, "nodev"], REPORTED, ("noatime", "nodiratime", "nodev", "rw"), ()),
        (["logbufs=8", "logbsize=256k", "largeio", "swalloc", "allocsize=131072k"], REPORTED, ("relatime", "rw"), ()),
        ([*GUIDE, "ro"], REPORTED, ("noatime", "nodiratime", "ro"), ()),
        ([*GUIDE[:4], "largeio", "inode32", "swalloc", "allocsize=131072k"], REPORTED, ("noatime", "nodiratime", "rw", "inode32"), ()),
        (["noatime", "nodiratime", "swalloc", "allocsize=131072k"], REPORTED, (), ("largeio is in effect but not declared",)),
        ([*GUIDE, "discard"], REPORTED, (), ("discard is declared but not in effect",)),
        ([*GUIDE[:3], "logbsize=64k", *GUIDE[4:]], REPORTED, (), ("logbsize=65536 is declared but not in effect",)),
        ([], ["rw", "relatime", "attr2", "inode64", "logbufs=8", "logbsize=32k", "noquota"], (), ()),
        ([], ["rw", "relatime", "inode32", "noquota"], ("relatime", "rw", "inode64"), ()),
        # The kernel reports nothing for strictatime.
        (["strictatime"], ["rw", "inode64", "noquota"], (), ()),
        (["strictatime"], ["rw", "relatime", "inode64", "noquota"], ("strictatime", "rw"), ()),
        (["strictatime", "nodiratime"], ["rw", "nodiratime", "inode64", "noquota"], (), ()),
        ([], ["rw", "inode64", "noquota"], ("relatime", "rw"), ()),
        (["uquota", "nodiscard", "relatime"], ["rw", "relatime", "inode64", "usrquota"], (), ()),
    ],
)
def test_what_is_live_is_compared_by_meaning(declared: list[str], live: list[str], remount: tuple[str, ...], pending: tuple[str, ...]) -> None:
    assert options.differences(declared, live) == (remount, pending)
