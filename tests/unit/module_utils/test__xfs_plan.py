# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The decisions of xfs_datafs as a table: what was seen in, steps or refusals out."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _xfs_plan as xfs
from ansible_collections.slipway.mlops.plugins.module_utils._block_probe import Device, Mount
from ansible_collections.slipway.mlops.plugins.module_utils._block_signatures import EDGE_BYTES, Content, Signature
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_journal import MADE, MAKING, Journal, Made
from ansible_collections.slipway.mlops.plugins.module_utils._xfs_superblock import Superblock

SIZE = 10 << 30
OURS, THEIRS = "0a0a0a0a-1111-5222-8333-444444444444", "0b0b0b0b-1111-4222-8333-444444444444"
OPTIONS = ("noatime", "nofail")
SDB = Device("sdb", "8:16", "/dev/sdb", SIZE, serial="S5XX", wwn="naa.5000c500a1b2c3d4", identity="S5XX")
NO_DISK = Content((), None, None, b"", "d" * 64, None)
EXT4 = Content((Signature("ext2/3/4", 1080),), 0, 0, b"", "e" * 64, None)
GPT = Content((Signature("GPT", 512),), 0, 0, b"", "b" * 64, None)
LVM = Content((Signature("LVM2", 512),), 0, 0, b"", "c" * 64, None)
UNKNOWN = Content((), 4096, 4096, b"", "f" * 64, None)


def xfs_block(name: str, **changes: Any) -> Superblock:
    block = Superblock(name, "", SIZE, False, "", 4096, 655360, 128, 512, 20, 3)
    return replace(block, **changes)


def holding(block: Superblock, **changes: Any) -> Content:
    return replace(Content((Signature("XFS", 0, block.describe()),), 0, 0, b"", "a" * 64, block), **changes)


def disk(**changes: Any) -> xfs.Disk:
    return replace(xfs.Disk(0, "/dev/disk/by-id/x", "/ais/disk0", xfs.MOUNTED, OPTIONS), **changes)


def unmounted(**changes: Any) -> xfs.Seen:
    return replace(xfs.Seen(SDB, content=NO_DISK), **changes)


def mounted(**changes: Any) -> xfs.Seen:
    mount = Mount("8:16", "/", "/ais/disk0", ("rw", "noatime", "inode64"), "xfs", "/dev/sdb")
    point = xfs.Point(exists=True, directory=True, real="/ais/disk0", immutable=True)
    return replace(xfs.Seen(SDB, on_path=mount, point=point, root=xfs.Root(0, 0, 0o755, "", False), geometry=xfs.Geometry(OURS, "", SIZE)), **changes)


def facts(fstab: str = "", journal: Journal | None = None, **changes: Any) -> xfs.Facts:
    return replace(xfs.Facts((6, 1), "machine", fstab.encode(), journal or Journal(), mkfs=(6, 1)), **changes)


KNOWN = Journal((Made(OURS, "S5XX", "/ais/disk0", MADE),))
BEGUN = Journal((Made(OURS, "S5XX", "/ais/disk0", MAKING),))
LINE = f"UUID={OURS} /ais/disk0 xfs noatime,nofail 0 0\n"


def plan(declared: xfs.Disk, seen: xfs.Seen, known: xfs.Facts, **settings: Any) -> xfs.Plan:
    return xfs.plan([declared], [seen], known, xfs.Settings(**settings))


def actions(result: xfs.Plan) -> list[str]:
    assert result.problems == (), result.problems
    return result.steps[0].actions


def test_settled_is_unchanged() -> None:
    result = plan(disk(), mounted(), facts(LINE, KNOWN))
    assert actions(result) == [] and not result.changed


def test_blank_is_made_and_journalled_before() -> None:
    result = plan(disk(), unmounted(), facts())
    assert actions(result) == ["format", "fstab", "guard", "mount"]
    step = result.steps[0]
    assert "-f" not in step.mkfs and step.mkfs[-1] == "/dev/sdb" and f"uuid={step.uuid}," in " ".join(step.mkfs)
    assert result.begun.filesystems == (Made(step.uuid, "S5XX", "/ais/disk0", MAKING),)
    assert result.journal.filesystems == (Made(step.uuid, "S5XX", "/ais/disk0", MADE),)
    assert result.fstab.decode() == f"UUID={step.uuid} /ais/disk0 xfs noatime,nofail 0 0\n"
    assert plan(disk(), unmounted(), facts()).steps[0].uuid == step.uuid, "check mode and run agree"


def test_a_uuid_is_never_used_twice() -> None:
    first = xfs.new_uuid("m", SDB, "blank-1", Journal())
    others = {
        xfs.new_uuid("n", SDB, "blank-1", Journal()),
        xfs.new_uuid("m", replace(SDB, identity="S6"), "blank-1", Journal()),
        xfs.new_uuid("m", SDB, "blank-2", Journal()),
        xfs.new_uuid("m", SDB, "blank-1", KNOWN),
    }
    assert len(others | {first}) == 5


@pytest.mark.parametrize(
    ("seen", "changes", "known", "words"),
    [
        (unmounted(content=EXT4), {}, facts(), 'erase: {device: "S5XX", content: "ext234-eeeeeeeeeeeeeeee"}'),
        (unmounted(content=UNKNOWN), {}, facts(), "data of an unknown kind, first seen at byte 4096"),
        (unmounted(content=EXT4), {"erase": ("S5XX", "ext234-0000000000000000")}, facts(), "holds ext2/3/4"),
        (unmounted(content=EXT4), {"erase": ("S6XX", "ext234-eeeeeeeeeeeeeeee")}, facts(), "holds ext2/3/4"),
        (
            unmounted(device=replace(SDB, serial="", wwn="", identity=""), content=EXT4),
            {"erase": ("", "ext234-eeeeeeeeeeeeeeee")},
            facts(),
            "no serial, WWN or other",
        ),
        (unmounted(content=replace(EXT4, signatures=(Signature("LVM2", 512),))), {"erase": ("S5XX", "lvm2-eeeeeeeeeeeeeeee")}, facts(), "pvremove"),
        (  # a member in a partition of it
            unmounted(content=GPT, parts=(("sdb1", LVM), ("sdb9", NO_DISK))),
            {"erase": ("S5XX", GPT.fingerprint)},
            facts(),
            "[sdb1: LVM2 at byte 512; sdb9: nothing]: a member of something larger, whose other parts may live on; never erased from here, end the "
            "membership with pvremove",
        ),
        (unmounted(content=GPT, parts=(("sdb1", replace(NO_DISK, error="EIO")),)), {"erase": ("S5XX", GPT.fingerprint)}, facts(), "sdb1 cannot be read"),
        (unmounted(content=replace(NO_DISK, error="cannot be read: EIO")), {}, facts(), "cannot be classified: cannot be read: EIO"),
        (unmounted(uses=("is part of the LVM volume vg-x (via dm-0)",)), {}, facts(), "is part of the LVM volume"),
        (unmounted(uses=("is swap",)), {"erase": ("S5XX", "swap-eeeeeeeeeeeeeeee")}, facts(), "is swap"),
        (unmounted(claim="is held by something"), {}, facts(), "is held by something"),
        (unmounted(elsewhere=("the mount namespace of process 7 (x) at /y",)), {}, facts(), "is mounted in the mount namespace of process 7"),
        (unmounted(device=replace(SDB, read_only=True)), {}, facts(), "is read-only"),
        (unmounted(device=replace(SDB, size=0)), {}, facts(), "no medium"),
        (unmounted(device=replace(SDB, zoned="host-managed")), {}, facts(), "zoned"),
        (unmounted(sharing=("sdc",)), {}, facts(), "two paths to one disk"),
        (unmounted(device=replace(SDB, size=200 << 20)), {}, facts(), "below 300 MiB"),
        (unmounted(), {}, facts(mkfs=None), "package xfsprogs"),
        (unmounted(), {"adopt": THEIRS}, facts(), "without adopt a new filesystem would be made"),
        (unmounted(), {"expected_size": SIZE * 2}, facts(), "differs from the expected"),
        (unmounted(), {}, facts(fstab_problem="/etc/fstab cannot be written"), "/etc/fstab cannot be written"),
        (unmounted(point=xfs.Point(True, True, "/ais/disk0", ("lost",))), {}, facts(), "is not empty ('lost')"),
        (unmounted(point=xfs.Point(True, True, "/data/disk0")), {}, facts(), "leads to /data/disk0"),
        (unmounted(point=xfs.Point(True, False, "/ais/disk0")), {}, facts(), "is not a directory"),
        (xfs.Seen(None, trouble="does not exist"), {}, facts(), "does not exist"),
        (mounted(device=replace(SDB, number="8:32")), {}, facts(LINE, KNOWN), "on /ais/disk0 is mounted /dev/sdb (xfs, 8:16), not this device"),
        (  # mount /dev/sdb /data; mount --bind /data/ais0 /ais/disk0
            mounted(on_path=Mount("8:16", "/ais0", "/ais/disk0", ("rw",), "xfs", "/dev/sdb"), root=xfs.Root(0, 0, 0o755, "", True)),
            {},
            facts(),
            "is mounted only the folder /ais0 of this device",
        ),
        (  # the declared disk is gone, and its path holds somebody's else
            mounted(device=None, trouble="does not exist", geometry=xfs.Geometry(THEIRS, "", SIZE)),
            {"state": xfs.ABSENT},
            facts(LINE, KNOWN),
            "not this device; unmount that first",
        ),
        (mounted(geometry=None), {}, facts(LINE, KNOWN), "input/output error, or shut down"),
        (mounted(), {}, facts(LINE), "it stays mounted as it is"),
        (mounted(), {"adopt": THEIRS}, facts(LINE, KNOWN), f"adopt names {THEIRS}"),
        (mounted(), {}, facts(LINE + f"UUID={OURS} /other xfs noauto 0 0\n", KNOWN), "fstab line 2"),
        (mounted(), {}, facts(LINE + LINE, KNOWN), "declares /ais/disk0 2 times"),
        (mounted(), {}, facts("LABEL=x /ais/disk0 ext4\n", KNOWN), "was not made here"),
        (mounted(), {}, facts(f"UUID={THEIRS} /ais/disk0 xfs\n", KNOWN, holders={THEIRS: ("sdc",)}), "have disks changed places"),
        (unmounted(content=holding(xfs_block(THEIRS))), {}, facts(), f"adopt: {THEIRS}"),
        (unmounted(content=holding(xfs_block(OURS, size=SIZE * 2))), {}, facts("", KNOWN), "larger than the device"),
        (unmounted(content=holding(xfs_block(OURS)), twins=("sdc",)), {}, facts("", KNOWN), "sdc bears the same filesystem UUID"),
        (unmounted(content=holding(xfs_block(OURS, problem="damaged superblock"))), {}, facts("", KNOWN), "holds XFS"),
        (unmounted(content=holding(xfs_block(THEIRS, in_progress=True))), {}, facts("", BEGUN), "mkfs did not finish"),
        (
            unmounted(content=holding(xfs_block(OURS), signatures=(Signature("XFS", 0), Signature("ext2/3/4", 1080)))),
            {},
            facts("", KNOWN),
            "cannot be classified (2 signatures",
        ),
    ],
)
def test_refusals(seen: xfs.Seen, changes: dict[str, Any], known: xfs.Facts, words: str) -> None:
    result = plan(disk(**changes), seen, known)
    assert len(result.problems) == 1 and words in result.problems[0], result.problems


@pytest.mark.parametrize(
    ("seen", "changes", "known", "settings", "expected"),
    [
        (unmounted(content=holding(xfs_block(OURS))), {}, facts(LINE, KNOWN), {}, ["guard", "mount"]),
        (unmounted(content=holding(xfs_block(THEIRS))), {"adopt": THEIRS}, facts(), {}, ["fstab", "guard", "mount"]),
        (unmounted(content=holding(xfs_block(THEIRS)), empty=True), {}, facts(), {}, ["fstab", "guard", "mount"]),
        (unmounted(content=holding(xfs_block(THEIRS, label="lab"))), {}, facts(), {"label": "lab"}, ["fstab", "guard", "mount"]),
        (unmounted(content=EXT4), {"erase": ("S5XX", "ext234-eeeeeeeeeeeeeeee")}, facts(), {}, ["erase", "format", "fstab", "guard", "mount"]),
        (unmounted(content=EXT4), {"erase": ("0x5000C500A1B2C3D4", "ext234-eeeeeeeeeeeeeeee")}, facts(), {}, ["erase", "format", "fstab", "guard", "mount"]),
        (unmounted(content=holding(xfs_block(OURS, size=SIZE // 2))), {}, facts(LINE, KNOWN), {"grow": True}, ["guard", "mount", "grow"]),
        (mounted(geometry=xfs.Geometry(OURS, "", SIZE - (33 << 20))), {}, facts(LINE, KNOWN), {"grow": True}, ["grow"]),
        (mounted(geometry=xfs.Geometry(OURS, "", SIZE - (31 << 20))), {}, facts(LINE, KNOWN), {"grow": True}, []),
        (mounted(), {}, facts(LINE, KNOWN), {"owner": 5}, ["owner and mode"]),
        (mounted(), {}, facts(LINE, KNOWN), {"owner": 0, "group": 0, "mode": 0o755}, []),
        (mounted(), {"options": ("noatime", "nodev")}, facts(LINE, KNOWN), {}, ["fstab", "remount"]),
        (mounted(), {}, facts("# only\n", KNOWN), {}, ["fstab"]),
        (mounted(point=xfs.Point(True, True, "/ais/disk0", (), False)), {}, facts(LINE, KNOWN), {}, ["guard"]),
        (mounted(point=xfs.Point(True, True, "/ais/disk0", (), None)), {}, facts(LINE, KNOWN), {}, []),
        (mounted(), {"state": xfs.UNMOUNTED}, facts(LINE, KNOWN), {}, ["unmount"]),
        (mounted(), {"state": xfs.ABSENT}, facts(LINE, KNOWN), {}, ["unmount", "fstab", "remove mount point"]),
        (unmounted(content=None), {"state": xfs.UNMOUNTED}, facts(LINE, KNOWN), {}, []),
        (unmounted(content=None), {"state": xfs.ABSENT}, facts("", KNOWN), {}, []),
        # The disk is gone; its mount and its line are known to be ours by the journal.
        (mounted(device=None, trouble="does not exist"), {"state": xfs.ABSENT}, facts(LINE, KNOWN), {}, ["unmount", "fstab", "remove mount point"]),
    ],
)
def test_steps(seen: xfs.Seen, changes: dict[str, Any], known: xfs.Facts, settings: dict[str, Any], expected: list[str]) -> None:
    assert actions(plan(disk(**changes), seen, known, **settings)) == expected


@pytest.mark.parametrize(
    ("changes", "known", "settings", "block", "must_be_empty"),
    [
        ({}, facts(), {}, xfs_block(THEIRS), True),
        ({}, facts("", KNOWN), {}, xfs_block(OURS), False),
        ({"adopt": THEIRS}, facts(), {}, xfs_block(THEIRS), False),
        ({}, facts(), {"label": "lab"}, xfs_block(THEIRS, label="lab"), False),
        ({}, facts(), {"label": "lab"}, xfs_block(THEIRS, label="other"), True),
    ],
)
def test_a_filesystem_that_nobody_vouches_for_is_looked_at_once_more_when_it_is_mounted(
    changes: dict[str, Any], known: xfs.Facts, settings: dict[str, Any], block: Superblock, must_be_empty: bool
) -> None:
    result = plan(disk(**changes), unmounted(content=holding(block), empty=True), known, **settings)
    assert "mount" in actions(result) and result.steps[0].must_be_empty is must_be_empty


@pytest.mark.parametrize("settings", [{"owner": 0}, {"group": 0}, {"mode": 0}, {"selinux_context": "system_u:object_r:x_t:s0"}, {}])
def test_a_new_filesystem_gets_each_property_of_its_root_that_is_named(settings: dict[str, Any]) -> None:
    assert ("owner and mode" in actions(plan(disk(), unmounted(), facts(), **settings))) is bool(settings)


def test_a_filesystem_grows_only_where_that_is_asked_for() -> None:
    for seen in (unmounted(content=holding(xfs_block(OURS, size=SIZE // 2))), mounted(geometry=xfs.Geometry(OURS, "", SIZE // 2))):
        result = plan(disk(), seen, facts(LINE, KNOWN))
        assert "grow" not in actions(result)
        assert "grow: true would use them" in " ".join(result.steps[0].pending)


MARK = uuid.UUID(OURS).bytes


@pytest.mark.parametrize(
    ("content", "again"),
    [
        (holding(xfs_block(OURS, in_progress=True), foreign_at=None), True),
        (replace(UNKNOWN, foreign_at=None), True),  # only blocks that bear our UUID
        (holding(xfs_block(OURS, in_progress=True)), False),  # the disk was blank, so what bears no mark of ours came since
        (replace(UNKNOWN, clearing=MARK), False),
        (UNKNOWN, False),
        (replace(UNKNOWN, clearing=b"x" * 16), False),
        (replace(EXT4, clearing=MARK), False),  # somebody made an ext4 since
        (holding(xfs_block(THEIRS, in_progress=True)), False),
        (holding(xfs_block(THEIRS), clearing=MARK), False),
    ],
)
def test_an_interrupted_mkfs_is_redone_only_where_all_is_ours(content: Content, again: bool) -> None:
    result = plan(disk(), unmounted(content=content), facts("", BEGUN))
    assert (result.problems == ()) is again
    if again:
        step = result.steps[0]
        assert step.uuid == OURS and step.mkfs and step.clear[0] == (0, EDGE_BYTES) and step.digest == content.digest
    # Without the journal, or with another disk's entry, nothing is ours.
    other = Journal((Made(OURS, "S6XX", "/ais/disk0", MAKING),))
    assert plan(disk(), unmounted(content=content), facts("", other)).problems
    # Once made, what is on the disk is not the rest of an mkfs.
    assert plan(disk(), unmounted(content=content), facts("", KNOWN)).problems


LATER = Made(THEIRS, "S5XX", "/ais/disk1", MAKING)


@pytest.mark.parametrize(
    ("identity", "after"),
    [
        ("S5XX", (LATER,)),  # another namespace of the same NVMe controller was begun later
        ("S5XX", (replace(LATER, state=MADE),)),
        ("", ()),  # a virtual disk without a serial
        ("", (replace(LATER, device=""),)),
    ],
)
def test_an_interrupted_mkfs_is_redone_where_the_identity_is_not_of_one_disk(identity: str, after: tuple[Made, ...]) -> None:
    half = holding(xfs_block(OURS, in_progress=True), foreign_at=None)
    there = unmounted(device=replace(SDB, serial=identity, wwn="", identity=identity), content=half)
    journal = Journal((Made(OURS, identity, "/ais/disk0", MAKING), *after))
    result = plan(disk(), there, facts("", journal))
    assert "format" in actions(result) and result.steps[0].uuid == OURS
    # What does not bear our UUID is somebody's, the more so where nothing tells the disks apart; nor is what was begun for another path.
    assert plan(disk(), replace(there, content=replace(half, foreign_at=4096)), facts("", journal)).problems
    assert plan(disk(path="/ais/disk2"), there, facts("", journal)).problems


def test_an_erasure_is_not_resumed_where_nothing_names_the_disk() -> None:
    begun = Journal((Made(OURS, "", "/ais/disk0", MAKING, "ext234-1"),))
    there = unmounted(device=replace(SDB, serial="", wwn="", identity=""), content=replace(UNKNOWN, clearing=MARK))
    assert plan(disk(), there, facts("", begun)).problems


@pytest.mark.parametrize(
    ("content", "again"),
    [
        (replace(EXT4, clearing=MARK), True),  # marked, not cleared yet
        (replace(UNKNOWN, clearing=MARK), True),  # cleared in part, the old content still behind it
        (holding(xfs_block(OURS, in_progress=True)), True),  # mkfs had begun
        (replace(holding(xfs_block(THEIRS)), clearing=MARK), True),
        (EXT4, False),  # no mark
        (replace(EXT4, clearing=MARK, signatures=(Signature("ext2/3/4", 1080, "UUID another"),)), False),  # formatted by somebody since
    ],
)
def test_an_erasure_cut_off_before_it_cleared(content: Content, again: bool) -> None:
    held = ("ext2/3/4 at byte 1080", str(holding(xfs_block(THEIRS)).signatures[0]))
    begun = Journal((Made(OURS, "S5XX", "/ais/disk0", MAKING, "ext234-1", held),))
    result = plan(disk(erase=("S5XX", "ext234-1")), unmounted(content=content), facts("", begun))
    assert (result.problems == ()) is again, result.problems
    if again:
        assert actions(result) == ["erase", "format", "fstab", "guard", "mount"] and result.steps[0].uuid == OURS
    # The inventory no longer gives it up.
    if content.signatures and content.xfs != xfs_block(OURS, in_progress=True):
        assert plan(disk(), unmounted(content=content), facts("", begun)).problems


def test_the_line_of_a_replaced_disk_is_taken_over() -> None:
    known = Journal((Made(THEIRS, "S1", "/ais/disk0", MADE),))
    result = plan(disk(), unmounted(), facts(f"# x\nUUID={THEIRS}\t/ais/disk0 xfs noatime 0 0\n", known))
    assert result.fstab.decode() == f"# x\nUUID={result.steps[0].uuid}\t/ais/disk0 xfs noatime,nofail 0 0\n"


def test_erasures_beyond_the_stated_number() -> None:
    disks = [disk(index=n, path=f"/ais/{n}", erase=(f"S{n}", EXT4.fingerprint)) for n in range(3)]
    seen = [unmounted(device=replace(SDB, name=f"sd{n}", number=f"8:{n}", serial=f"S{n}", identity=f"S{n}"), content=EXT4) for n in range(3)]
    assert (
        "3 disks of this host would be erased (sd0, sd1, sd2), more than erasures_max: 2"
        in xfs.plan(disks, seen, facts(), xfs.Settings(erasures_max=2)).problems[0]
    )
    assert xfs.plan(disks, seen, facts(), xfs.Settings(erasures_max=3)).problems == ()


def test_one_device_twice_and_a_disk_with_its_partition() -> None:
    disks = [disk(index=n, path=f"/ais/{n}") for n in range(3)]
    part = replace(SDB, name="sdb1", number="8:17", parent="sdb")
    problems = xfs.plan(disks, [unmounted(), unmounted(), unmounted(device=part)], facts(), xfs.Settings()).problems
    assert "resolves to the same device (sdb, 8:16) as disks[0]" in problems[0]
    assert "is a partition of disks[1]" in problems[1]


def test_lines_of_failed_disks_stay() -> None:
    disks = [disk(index=n, path=f"/ais/{n}") for n in range(2)]
    seen = [unmounted(device=replace(SDB, name=f"sd{n}", number=f"8:{n}", identity=f"S{n}")) for n in range(2)]
    result = xfs.plan(disks, seen, facts("# x\n"), xfs.Settings())
    kept = result.fstab_without({0}).decode()
    assert "/ais/0" not in kept and "/ais/1" in kept and kept.startswith("# x\n")


@pytest.mark.parametrize(
    ("minimum", "optimal", "physical", "expected"),
    [
        (512, 0, 512, "noalign"),
        (4096, 4096, 4096, "noalign"),
        (512, 33553920, 512, "noalign"),  # what some USB bridges report
        (65536, 65536 * 6, 4096, "su=65536,sw=6"),
        (65536, 65536, 4096, "su=65536,sw=1"),
        (65536, 100000, 4096, "noalign"),
    ],
)
def test_the_stripe_comes_from_the_device(minimum: int, optimal: int, physical: int, expected: str) -> None:
    assert xfs.stripe(replace(SDB, minimum_io=minimum, optimal_io=optimal, physical_sector=physical)) == expected


@pytest.mark.parametrize(
    ("kernel", "tool", "present", "absent"),
    [
        ((5, 14), (6, 1), ["bigtime=1", "inobtcount=1", "reflink=1", "rmapbt=0", "nrext64=0"], ["exchange", "parent"]),
        ((4, 19), (6, 1), ["bigtime=0", "inobtcount=0", "reflink=0", "rmapbt=0"], ["exchange"]),
        ((6, 12), (6, 12), ["rmapbt=1", "nrext64=1", "exchange=1", "parent=1"], []),
        ((6, 12), (5, 13), ["bigtime=1"], ["nrext64", "exchange", "parent"]),
    ],
)
def test_features_fit_the_oldest_kernel_and_the_tool(kernel: tuple[int, int], tool: tuple[int, int], present: list[str], absent: list[str]) -> None:
    command = " ".join(xfs.mkfs_command(SDB, OURS, xfs.Settings(oldest_kernel=kernel), tool))
    assert all(word in command for word in present) and not any(word in command for word in absent)


def test_the_tool_of_the_host_decides_what_a_new_filesystem_is_given() -> None:
    assert "bigtime=1" in " ".join(plan(disk(), unmounted(), facts(mkfs=(6, 1))).steps[0].mkfs)
    assert "bigtime" not in " ".join(plan(disk(), unmounted(), facts(mkfs=(5, 9))).steps[0].mkfs)


def test_nothing_is_discarded_for_not_all_of_a_blank_disk_was_read() -> None:
    assert "-K" in plan(disk(), unmounted(), facts()).steps[0].mkfs


@pytest.mark.parametrize(
    ("text", "size"),
    [("7.68T", 7_680_000_000_000), ("7Ti", 7 << 40), ("1 GiB", 1 << 30), ("960GB", 960_000_000_000), ("4096", 4096), ("x", None), ("7.68 To", None)],
)
def test_sizes(text: str, size: int | None) -> None:
    disks, problems = xfs.declared([{"device": "sdb", "path": "/ais/0", "expected_size": text}], (), xfs.MOUNTED, (6, 1))
    assert disks[0].expected_size == size and bool(problems) is (size is None)


@pytest.mark.parametrize(
    "erase",
    [
        True,
        "yes",
        "ext234-eeeeeeeeeeeeeeee",
        [],
        {},
        {"device": "S5XX"},
        {"content": "ext234-eeeeeeeeeeeeeeee"},
        {"device": "", "content": "ext234-eeeeeeeeeeeeeeee"},
        {"device": "S5XX", "content": ""},
        {"device": 5, "content": "ext234-eeeeeeeeeeeeeeee"},
        {"device": "S5XX", "content": True},
        {"device": "S5XX", "content": "ext234-eeeeeeeeeeeeeeee", "force": True},
    ],
)
def test_nothing_but_a_disk_and_its_content_gives_anything_up(erase: object) -> None:
    (given,), problems = xfs.declared([{"device": "sdb", "path": "/ais/0", "erase": erase}], (), xfs.MOUNTED, (6, 1))
    assert given.erase is None
    assert len(problems) == 1 and "erase must name the disk and its content" in problems[0]


def test_a_disk_has_the_state_of_all_or_one_of_its_own() -> None:
    items = [{"device": "sdb", "path": "/ais/0"}, {"device": "sdc", "path": "/ais/1", "state": xfs.ABSENT}]
    disks, problems = xfs.declared(items, (), xfs.UNMOUNTED, (6, 1))
    assert ([one.state for one in disks], problems) == ([xfs.UNMOUNTED, xfs.ABSENT], [])


@pytest.mark.parametrize(
    "path", ["/", "/var/lib", "/etc/x", "/dev/x", "x", "/a//b", "/a/../b", "/a/", "/a b", "/a\n", "/a#", "/ä", "/run/x", "/var/lib/kubelet/pods"]
)
def test_paths_that_are_refused(path: str) -> None:
    assert xfs.declared([{"device": "sdb", "path": path}], (), xfs.MOUNTED, (6, 1))[1]


@pytest.mark.parametrize("path", ["/ais", "/ais/disk0", "/srv/data", "/mnt/x", "/var/lib/ais"])
def test_paths_that_are_fine(path: str) -> None:
    assert xfs.declared([{"device": "sdb", "path": path}], (), xfs.MOUNTED, (6, 1))[1] == []
