# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What xfs_datafs refuses on real loop devices, in which words, and that nothing is touched; and the erasure that the refusal allows."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from .conftest import FSTAB, Sandbox

GIB = 1 << 30
LINE = re.compile(r'erase: \{device: "(?P<device>[^"]+)", content: "(?P<content>[^"]+)"\}')


def put(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as handle:
        handle.seek(offset if offset >= 0 else file.stat().st_size + offset)
        handle.write(data)


def gpt(file: Path) -> None:
    """A GPT with two partitions, as partitioning tools write it, for a kernel that does not scan loop devices."""
    entry = struct.pack("<16s16sQQQ72s", uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le, uuid.uuid4().bytes_le, 2048, 99999, 0, b"")
    last = file.stat().st_size // 512 - 1
    header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, last, 34, last - 34, uuid.uuid4().bytes_le, 2, 128, 128, 0)
    put(file, 446, b"\0\0\2\0\xee\xff\xff\xff\1\0\0\0\xff\xff\xff\xff")
    put(file, 510, b"\x55\xaa")
    put(file, 512, header)
    put(file, 1024, entry * 2)


def tool(*argv: str):  # type: ignore[no-untyped-def]
    def make(file: Path) -> None:
        if not shutil.which(argv[0]):
            pytest.skip(f"needs {argv[0]}")
        subprocess.run([*argv, str(file)], check=True, capture_output=True)

    return make


def luks(version: str, *options: str):  # type: ignore[no-untyped-def]
    return tool("cryptsetup", "luksFormat", "-q", "--type", version, *options, "--pbkdf-force-iterations", "1000", "--key-file", "/etc/hostname")


def at(offset: int, data: bytes):  # type: ignore[no-untyped-def]
    return lambda file: put(file, offset, data)


CONTENT = {
    "ext4": (tool("mkfs.ext4", "-q", "-F"), r"holds ext2/3/4 \(UUID [0-9a-f-]{36}\) at byte 1080"),
    "btrfs": (tool("mkfs.btrfs", "-q"), r"holds btrfs \(UUID [0-9a-f-]{36}\)"),
    "vfat": (tool("mkfs.vfat"), r"holds FAT(16)? \(serial [0-9a-f]{8}\)"),
    "swap": (tool("mkswap"), r"holds swap \(UUID"),
    "F2FS": (tool("mkfs.f2fs", "-q"), r"holds F2FS"),
    "NTFS": (tool("mkfs.ntfs", "-F", "-Q", "-q"), r"NTFS \(serial [0-9a-f]{16}\) at byte 3"),
    "LUKS2": (luks("luks2", "--pbkdf", "pbkdf2"), r"LUKS \(version 2"),
    "LUKS1": (luks("luks1"), r"LUKS \(version 1"),
    "GPT": (gpt, r"holds GPT \(2 partitions, disk GUID"),
    "a GPT's backup alone": (at(-512, b"EFI PART"), r"GPT backup at byte 1073741312"),
    "MBR": (at(446, b"\x80\0\0\0\x83\0\0\0\0\x08\0\0\0\x10\0\0" + bytes(48) + b"\x55\xaa"), r"MBR \(1 partition\)"),
    "a second LUKS header": (at(0x4000, b"SKUL\xba\xbe\0\2"), r"LUKS second header at byte 16384"),
    "Ceph's second label": (at(0x40000000 - 4096, b"bluestore block device\n"), r"data of an unknown kind, first seen at byte 1069547520"),
    "one byte at the end": (at(-1, b"x"), r"data of an unknown kind"),
    "one byte in the middle": (at(512 << 20, b"x"), r"data of an unknown kind, first seen at byte 5368\d+"),
    "a quarter of the way": (at(256 << 20, b"XFSB"), r"data of an unknown kind"),
    "BlueStore": (at(0, b"bluestore block device\n" + b"8e5c6a0e"), r"Ceph BlueStore"),
    "ISO 9660": (at(32769, b"CD001"), r"ISO 9660"),
    "a boot sector": (at(510, b"\x55\xaa"), r"boot sector"),
    "Oracle ASM": (at(32, b"ORCLDISKVOL1"), r"Oracle ASM"),
}

# Their other parts may live on: no line of the inventory erases them.
MEMBERS = {
    "LVM2": (at(512, b"LABELONE" + struct.pack("<QII", 1, 0, 32) + b"LVM2 001" + b"x" * 32), "pvremove"),
    "md 0.90": (at((GIB & -65536) - 65536, b"\xfc\x4e\x2b\xa9"), "mdadm --zero-superblock"),
    "md 1.0": (at(GIB - 8192, b"\xfc\x4e\x2b\xa9\1\0\0\0"), "mdadm --zero-superblock"),
    "md 1.1": (at(0, b"\xfc\x4e\x2b\xa9\1\0\0\0"), "mdadm --zero-superblock"),
    "md 1.2": (at(4096, b"\xfc\x4e\x2b\xa9\1\0\0\0"), "mdadm --zero-superblock"),
    "DDF": (at(-512, b"\xde\x11\xde\x11"), "mdadm --zero-superblock"),
    "bcache": (at(4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")), "wipefs"),
    "ZFS at the end": (at(GIB - (256 << 10) + (128 << 10) + 1024, struct.pack("<Q", 0x00BAB10C)), "zpool labelclear"),
    "ZFS in front": (at((128 << 10) + 4096, struct.pack(">Q", 0x00BAB10C)), "zpool labelclear"),
    "VMFS": (at(1 << 20, b"\x0d\xd0\x01\xc0"), "hypervisor"),
    "DRBD": (at(GIB - 4096 + 60, b"\x83\x74\x02\x6b"), "drbdadm wipe-md"),
}


def some(table: dict[str, Any], *always: str) -> list[Any]:
    """All cases of a table; those not named run only with the long tests."""
    return [kind if kind in always else pytest.param(kind, marks=pytest.mark.long) for kind in table]


@pytest.mark.parametrize("kind", some(CONTENT, "ext4", "GPT", "one byte in the middle"))
def test_content_is_refused_and_erased_only_by_its_line(host: Sandbox, kind: str) -> None:
    fill, words = CONTENT[kind]
    device, blank = host.disk("a", "1G"), host.disk("b", "1G")
    fill(host.file("a"))
    disk, other = {"device": device, "path": "/srv/disk0"}, {"device": blank, "path": "/srv/disk1"}
    message = host.refused(disk, other)  # the blank disk beside it is not touched either
    assert message.startswith("1 problem; nothing was touched on this host:\n- disks[0] ")
    assert re.search(words, message), message
    line = LINE.search(message)
    assert line and line["device"] == host.identity("a")

    wrong = dict(line.groupdict())
    assert "holds" in host.refused({**disk, "erase": {**wrong, "content": wrong["content"][:-1] + "x"}})
    assert "holds" in host.refused({**disk, "erase": {**wrong, "device": "S5XX"}})
    assert "must name the disk and its content" in host.refused({**disk, "erase": True})

    done = host.datafs({**disk, "erase": line.groupdict()}, other)
    assert done["disks"][0]["actions"] == ["erase", "format", "fstab", "guard", "mount"], done
    assert done["erased"] == [Path(device).name]
    # The line is spent: what it names is gone.
    assert not host.datafs({**disk, "erase": line.groupdict()}, other)["changed"]


@pytest.mark.parametrize("kind", some(MEMBERS, "LVM2"))
def test_members_of_something_larger_are_never_erased(host: Sandbox, kind: str) -> None:
    fill, words = MEMBERS[kind]
    disk = {"device": host.disk("a", "1G"), "path": "/srv/disk0"}
    fill(host.file("a"))
    message = host.refused(disk)
    assert words in message and "never erased from here" in message
    assert not LINE.search(message)


def test_two_signatures_are_ambiguous(host: Sandbox) -> None:
    disk = {"device": host.disk("a", "1G"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.xfs", "-q", host.file("a")], check=True)
    put(host.file("a"), 1080, b"\x53\xef")
    message = host.refused(disk)
    assert "cannot be classified (2 signatures: XFS" in message and "ext2/3/4" in message


def test_an_image_copied_to_two_disks_needs_both_serials(host: Sandbox) -> None:
    """Imaged fleets share UUIDs: the content alone must not name more than one disk (and here there are two)."""
    disks = [{"device": host.disk(name, "1G"), "path": f"/srv/{name}"} for name in ("a", "b")]
    tool("mkfs.ext4", "-q", "-F")(host.file("a"))
    shutil.copyfile(host.file("a"), host.file("b"))
    lines = LINE.findall(host.refused(*disks))
    assert lines[0][1] == lines[1][1] and lines[0][0] != lines[1][0]
    message = host.refused(*({**disk, "erase": dict(zip(("device", "content"), lines[0]))} for disk in disks))
    assert message.startswith("1 problem;") and "disks[1]" in message
    both = [{**disk, "erase": dict(zip(("device", "content"), line))} for disk, line in zip(disks, lines)]
    assert "2 disks of this host would be erased" in host.refused(*both)
    assert host.datafs(*both, erasures_max=2)["erased"] == [Path(disk["device"]).name for disk in disks]


def test_a_strangers_xfs_is_kept_only_when_adopted(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.xfs", "-q", "-L", "theirs", "-m", "uuid=0c7d7c1e-98b0-4a4a-9e0a-2f6d6f1b7f00", host.file("a")], check=True)
    host.run("mount", disk["device"], "/media")
    host.run("sh", "-c", "mkdir /media/d; echo theirs > /media/d/data; chmod 700 /media")
    assert 'backs mounted "/media"' in host.refused(disk)
    host.run("umount", "/media")
    message = host.refused(disk, mode="0777")
    assert "adopt: 0c7d7c1e-98b0-4a4a-9e0a-2f6d6f1b7f00" in message and 'label "theirs"' in message and LINE.search(message)
    assert "adopt names 11111111-" in host.refused({**disk, "adopt": "11111111-2222-3333-4444-555555555555"})
    assert host.datafs({**disk, "adopt": "0c7d7c1e-98b0-4a4a-9e0a-2f6d6f1b7f00"})["disks"][0]["actions"] == ["fstab", "guard", "mount"]
    assert host.read("/srv/disk0/d/data") == "theirs\n"
    assert not host.datafs(disk)["changed"], "once adopted it is in the journal"


def test_a_strangers_mounted_xfs_is_not_taken_over(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.xfs", "-q", host.file("a")], check=True)
    host.run("mkdir", "/srv/disk0")
    host.run("mount", disk["device"], "/srv/disk0")
    host.run("touch", "/srv/disk0/x")
    assert "it stays mounted as it is" in host.refused(disk, owner="nobody")


def test_a_bind_mount_of_an_empty_folder_does_not_make_the_filesystem_ours(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.xfs", "-q", host.file("a")], check=True)
    host.run("sh", "-c", f"mkdir /srv/data /srv/disk0; mount {disk['device']} /srv/data; mkdir /srv/data/ais0; touch /srv/data/theirs")
    host.run("mount", "--bind", "/srv/data/ais0", "/srv/disk0")
    message = host.refused(disk, owner="nobody")
    assert "only the folder /ais0 of this device (a bind mount)" in message


def test_a_loop_device_over_the_disk_is_a_use(host: Sandbox) -> None:
    """Neither a holder in /sys nor a claim in the kernel: without a look at the loop devices a line would erase under a live mount."""
    disk = {"device": host.disk("a", "1G"), "path": "/srv/disk0"}
    tool("mkfs.ext4", "-q", "-F")(host.file("a"))
    line = LINE.search(host.refused(disk))
    assert line
    over = subprocess.run(["losetup", "--find", "--show", disk["device"]], check=True, capture_output=True, text=True).stdout.strip()
    try:
        host.run("mount", over, "/media")
        message = host.refused({**disk, "erase": line.groupdict()})
        assert f'backs mounted "/media" (via {Path(over).name})' in message and f"is part of the loop device {Path(over).name}" in message
        host.run("umount", "/media")
        assert f"is part of the loop device {Path(over).name}" in host.refused({**disk, "erase": line.groupdict()})
    finally:
        host.run("umount", "/media", check=False)
        subprocess.run(["losetup", "--detach", over], check=True)


def test_an_empty_xfs_and_one_with_our_label_are_kept(host: Sandbox) -> None:
    disks = [{"device": host.disk(name), "path": f"/srv/{name}"} for name in ("a", "b")]
    subprocess.run(["mkfs.xfs", "-q", host.file("a")], check=True)
    subprocess.run(["mkfs.xfs", "-q", "-L", "lab1", host.file("b")], check=True)
    host.run("mount", disks[1]["device"], "/media")
    host.run("touch", "/media/data")
    host.run("umount", "/media")
    done = host.datafs(*disks, label="lab1")
    assert [disk["actions"] for disk in done["disks"]] == [["fstab", "guard", "mount"]] * 2
    assert host.run("ls", "/srv/b").strip() == "data"


def test_a_dirty_log_is_not_taken_for_empty(host: Sandbox) -> None:
    """A file that is only in the log: the directory on the disk looks empty. Nothing of it changes hands, however often we run."""
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.xfs", "-q", host.file("a")], check=True)
    host.run("mount", disk["device"], "/media")
    host.run("sh", "-c", "echo data > /media/file; sync /media/file; xfs_io -x -c 'shutdown -f' /media; umount /media")
    for _run in range(2):  # the second finds nothing of the first that would make the filesystem ours
        result = host.datafs(disk, mode="0777")
        assert result["failed"], result
        uuid_line = re.search(r"adopt: ([0-9a-f-]{36})", result["msg"])
        assert uuid_line and not host.mounts()
        assert host.read("/etc/fstab") == FSTAB
        assert uuid_line[1] not in host.run("cat", "/var/lib/slipway/xfs_datafs.json", check=False)
        assert host.run("stat", "-c", "%a", "/srv/disk0", check=False).strip() in ("", "755")
    assert host.datafs({**disk, "adopt": uuid_line[1]})["disks"][0]["mounted"]
    assert host.read("/srv/disk0/file") == "data\n"
    assert host.run("stat", "-c", "%a", "/srv/disk0").strip() == "755"


def test_the_system_disk_and_other_impossible_devices(host: Sandbox) -> None:
    root = host.run("findmnt", "-n", "-o", "SOURCE", "/").strip()
    read_only, tiny = host.disk("ro", "512M", "--read-only"), host.disk("tiny", "100M")
    names = [
        *([(root, 'backs mounted "/"')] if root.startswith("/dev/") else []),
        ("/dev/null", r"is not a block device \(char 1:3\)"),
        ("/dev", "is not a path below /dev"),
        ("/dev/disk/../null", "is not a path below /dev"),
        ("/dev/nosuch", "does not exist"),
        ("nvme*", "is not a device name"),
        ("../sda", "is not a device name"),
        ("sdb; rm -rf /", "is not a device name"),
        ("UUID=11111111-2222-3333-4444-555555555555", "matches no device of this host"),
        ("S5XXNOSUCH", "matches no device of this host"),
        (read_only, "is read-only; holds nothing"),
        (tiny, "mkfs.xfs makes nothing below 300 MiB"),
    ]
    message = host.refused(*({"device": device, "path": f"/srv/{number}"} for number, (device, _words) in enumerate(names)))
    assert message.startswith(f"{len(names)} problems; nothing was touched on this host:")
    for number, (_device, words) in enumerate(names):
        assert re.search(rf"- disks\[{number}\] .*{words}", message), (words, message)


def test_one_disk_twice_and_by_two_names(host: Sandbox) -> None:
    device = host.disk("a")
    message = host.refused({"device": device, "path": "/srv/a"}, {"device": Path(device).name, "path": "/srv/b"})
    assert "disks[1]" in message and "resolves to the same device" in message


def test_all_that_is_wrong_with_the_arguments_comes_at_once(host: Sandbox) -> None:
    disk = {"device": host.disk("a")}
    message = host.refused(
        {**disk, "path": "/"},
        {**disk, "path": "relative/x"},
        {**disk, "path": "/ais/../etc"},
        {**disk, "path": "/srv/a b"},
        {**disk, "path": "/srv/d1"},
        {**disk, "path": "/srv/d1/x", "adopt": "mine", "expected_size": "7.6 big", "erase": "S5XX"},
        {**disk, "path": "/srv/d1", "options": ["noatime", "", "logbsize=3k", "foo", "nobarrier", "noatime\n/dev/sda", "a#b"]},
        mode="rwx",
        label="much-too-long-a-label",
        owner="nobody-of-this-name",
        oldest_kernel="new",
    )
    for words in (
        "disks[0].path '/': belongs to the system",
        "disks[1].path 'relative/x': is not absolute",
        "disks[2].path '/ais/../etc': is not normalised",
        "disks[3].path '/srv/a b': blanks, quotes",
        'disks[5].path "/srv/d1/x" lies inside disks[4] "/srv/d1"',
        "disks[5].adopt: 'mine' is not the UUID",
        "disks[5].expected_size: '7.6 big' is not a size",
        "disks[5].erase must name the disk and its content",
        'disks[6].path "/srv/d1" is already used by disks[4]',
        "disks[6].options: item 2 is empty",
        "disks[6].options: logbsize=3k: logbsize must be one of 32k, 64k, 128k, 256k",
        'disks[6].options: unknown XFS option "foo"',
        "disks[6].options: nobarrier: removed in Linux 4.19",
        r"'noatime\n/dev/sda': blanks, quotes",
        "'a#b': blanks, quotes",
        "mode: 'rwx' is not an octal mode",
        "label: 'much-too-long-a-label'",
        "there is no user 'nobody-of-this-name'",
        "oldest_kernel: 'new'",
    ):
        assert words in message, (words, message)


@pytest.mark.parametrize("mode", ["504", "0o770", "755"])
def test_a_mode_that_yaml_may_have_read_as_a_number(host: Sandbox, mode: str) -> None:
    """mode: 0770 without quotes arrives as 504, which is octal digits by chance."""
    assert f"mode: {mode!r} is not an octal mode; put it in quotes, like '0755'" in host.refused({"device": host.disk("a"), "path": "/srv/disk0"}, mode=mode)


def test_size_that_was_not_expected(host: Sandbox) -> None:
    disk = {"device": host.disk("a", "1G"), "path": "/srv/disk0"}
    assert "differs from the expected 7.68 TB by more than 2%" in host.refused({**disk, "expected_size": "7.68T"})
    assert host.datafs({**disk, "expected_size": "1Gi"})["changed"]


def test_foreign_lines_of_fstab(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    for line, words in (
        ("/dev/sdz1 /srv/disk0 xfs defaults 0 0", "is another device's and was not made here"),
        ("UUID=11111111-2222-3333-4444-555555555555 /srv/disk0/ ext4 defaults", "is another device's and was not made here"),
        (f"{disk['device']} /old xfs noauto 0 0", "declares this device for another path"),
        (f"{disk['device']} /srv/disk0 xfs defaults 0 0\nLABEL=x /srv//disk0 xfs defaults 0 0", "declares /srv/disk0 2 times"),
    ):
        host.write("/etc/fstab", FSTAB + "\n" + line + "\n")
        assert words in host.refused(disk)
    host.write("/etc/fstab", f"{FSTAB}\n{disk['device']}\t/srv/disk0/\txfs\tdefaults\t1 2 # by hand\n")
    uuid_made = host.datafs(disk, options=["noatime"])["disks"][0]["uuid"]
    assert host.read("/etc/fstab") == f"{FSTAB}\nUUID={uuid_made}\t/srv/disk0\txfs\tnoatime\t1 2 # by hand\n"


def test_a_mount_point_with_files_or_behind_a_link(host: Sandbox) -> None:
    device = host.disk("a")
    host.run("sh", "-c", "mkdir /srv/full; touch /srv/full/x; ln -s /srv/full /srv/link; touch /srv/file")
    assert "is not empty ('x')" in host.refused({"device": device, "path": "/srv/full"})
    assert "leads to /srv/full by a symbolic link" in host.refused({"device": device, "path": "/srv/link"})
    assert "is not a directory" in host.refused({"device": device, "path": "/srv/file"})


def test_a_mount_in_another_namespace(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    subprocess.run(["mkfs.xfs", "-q", host.file("a")], check=True)
    script = f"mount {disk['device']} /media && echo there && exec sleep 60"
    with subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"there\n"
        message = host.refused(disk)
        assert f"is mounted in the mount namespace of process {other.pid} (sleep) at /media" in message
        assert "O_EXCL" in message
        other.kill()


def test_a_disk_that_somebody_writes_to(host: Sandbox) -> None:
    """A virtual machine with the raw disk holds no claim in the kernel, and its disk may still be blank."""
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    with open(disk["device"], "r+b"):
        assert f"is open for writing in process {os.getpid()}" in host.refused(disk)
    with open(disk["device"], "rb"):  # monitors only read
        assert host.datafs(disk)["changed"]


def test_a_copy_of_our_filesystem(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0"}
    host.datafs(disk)
    host.run("umount", "/srv/disk0")
    copy = host.disk("b")
    shutil.copyfile(host.file("a"), host.file("b"))
    assert f"{Path(copy).name} bears the same filesystem UUID" in host.refused(disk)


def test_a_filesystem_larger_than_its_device(host: Sandbox) -> None:
    disk = {"device": host.disk("a", "1G"), "path": "/srv/disk0"}
    host.datafs(disk)
    host.run("umount", "/srv/disk0")
    subprocess.run(["truncate", "-s", "600M", host.file("a")], check=True)
    subprocess.run(["losetup", "--set-capacity", disk["device"]], check=True)
    assert "is larger than the device" in host.refused(disk)


def test_adopt_on_a_blank_disk_is_a_contradiction(host: Sandbox) -> None:
    disk = {"device": host.disk("a"), "path": "/srv/disk0", "adopt": "0c7d7c1e-98b0-4a4a-9e0a-2f6d6f1b7f00"}
    assert "but the device holds nothing; without adopt a new filesystem would be made" in host.refused(disk)
