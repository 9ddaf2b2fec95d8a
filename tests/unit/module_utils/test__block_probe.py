# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Devices, identities and uses, from a /sys and /proc as kernels make them; what a laboratory without device-mapper or SCSI cannot show."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._block_probe import Host, NotFound, human, plain_wwn, printable


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("sys/class/block", "sys/dev/block", "proc/self/ns", "dev", "run/udev/data"):
            (root / folder).mkdir(parents=True)
        self.file("proc/self/mountinfo", "")
        self.file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")

    def file(self, path: str, content: str | bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def device(self, name: str, number: str, parent: str = "", **files: str | bytes) -> None:
        """A disk, or a partition of `parent`; files by their path below the device's folder, with __ for /."""
        base = f"sys/devices/pci/block/{parent + '/' if parent else ''}{name}"
        self.file(base + "/dev", number + "\n")
        self.file(base + "/size", str((100 << 30) // 512))
        if parent:
            self.file(base + "/partition", name.lstrip("abcdefghijklmnopqrstuvwxyz") or "1")
        for path, content in files.items():
            self.file(base + "/" + path.replace("__", "/"), content)
        for folder in ("holders", "slaves"):
            (self.root / base / folder).mkdir(exist_ok=True)
        (self.root / "sys/class/block" / name).symlink_to(self.root / base)
        (self.root / "sys/dev/block" / number).symlink_to(self.root / base)

    def holds(self, holder: str, held: str) -> None:
        (self.root / f"sys/class/block/{held}/holders/{holder}").write_text("")
        (self.root / f"sys/class/block/{holder}/slaves/{held}").write_text("")

    def mount(self, number: str, path: str, kind: str = "ext4", source: str = "/dev/x") -> None:
        info = self.root / "proc/self/mountinfo"
        info.write_text(info.read_text() + f"29 1 {number} / {path} rw,relatime shared:1 - {kind} {source} rw,errors=remount-ro\n")

    def host(self) -> Host:
        return Host(*(str(self.root / name) for name in ("sys", "proc", "dev", "run")))

    def uses(self, name: str) -> list[str]:
        host = self.host()
        return host.uses(host.device(name))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_identities(machine: Machine) -> None:
    machine.device("nvme0n1", "259:0", device__serial="S6CKNE0T100001      \n", wwid="eui.36434b30\n", device__model="SAMSUNG MZQL2\n")
    machine.device("sda", "8:0", device__vpd_pg80=b"\0\x80\0\x08ZA1ABCDE", device__wwid="naa.5000c500a1b2c3d4\n", device__model="ST8000\xff\x1b[31m")
    machine.device("vda", "254:0", serial="root-1\n")
    machine.device("sdb", "8:16", device__wwid="naa.5000c500a1b2c3d5\n")
    machine.device("loop3", "7:3", loop__backing_file="/images/d.img\n")
    machine.device("dm-0", "253:0", dm__uuid="LVM-abc", dm__name="vg-data")
    machine.device("xvdb", "202:16")
    machine.device("sdc", "8:32")
    machine.device("sda1", "8:1", parent="sda")
    machine.file("run/udev/data/b8:32", "S:disk/by-id/ata-x\nE:ID_SERIAL_SHORT=FROMUDEV\nE:ID_WWN=0x5000c500a1b2c3d6\n")
    (machine.root / "dev/disk/by-id").mkdir(parents=True)
    (machine.root / "dev/disk/by-id/cloud-vol-1").symlink_to("../../xvdb")
    host = machine.host()
    found = {name: host.device(name).identity for name in host.names()}
    assert found == {
        "nvme0n1": "S6CKNE0T100001",
        "sda": "ZA1ABCDE",
        "sda1": "ZA1ABCDE-part1",
        "vda": "root-1",
        "sdb": "naa.5000c500a1b2c3d5",
        "loop3": "loop:/images/d.img",
        "dm-0": "dm:LVM-abc",
        "xvdb": "cloud-vol-1",
        "sdc": "FROMUDEV",
    }
    assert host.device("sdc").wwn == "0x5000c500a1b2c3d6"
    assert host.device("sda").model.isprintable()
    assert str(host.device("nvme0n1")) == "nvme0n1, 107.4 GB, SAMSUNG MZQL2, serial S6CKNE0T100001, WWN eui.36434b30"


def test_names_that_resolve(machine: Machine) -> None:
    machine.device("sda", "8:0", device__vpd_pg80=b"\0\x80\0\x04S5XX", device__wwid="naa.5000c500a1b2c3d4")
    machine.device("sdaa", "65:160", device__vpd_pg80=b"\0\x80\0\x04S6XX")
    host = machine.host()
    for wanted in ("sda", "SERIAL=S5XX", "S5XX", "WWN=0x5000c500a1b2c3d4", "WWN=naa.5000c500a1b2c3d4", "wwn-0x5000c500A1B2C3D4"):
        assert host.resolve(wanted).name == "sda", wanted
    for wanted, words in (
        ("sdb", "matches no device"),
        ("sd*", "is not a device name"),
        ("SERIAL=NO", "matches no device"),
        ("/etc/passwd", "not a path below /dev"),
    ):
        with pytest.raises(NotFound, match=words):
            host.resolve(wanted)


def test_two_paths_to_one_disk_and_their_multipath_device(machine: Machine) -> None:
    for name, number in (("sda", "8:0"), ("sdb", "8:16")):
        machine.device(name, number, device__vpd_pg80=b"\0\x80\0\x04S5XX", device__wwid="naa.5")
    host = machine.host()
    with pytest.raises(NotFound, match="matches sda and sdb"):
        host.resolve("SERIAL=S5XX")
    assert [other.name for other in host.sharing(host.device("sda"))] == ["sdb"]
    machine.device("dm-0", "253:0", dm__uuid="mpath-3600", dm__name="mpatha")
    machine.holds("dm-0", "sda")
    assert machine.uses("sda") == ["is part of the multipath device /dev/mapper/mpatha; give that one"]


def test_the_root_disk_below_lvm(machine: Machine) -> None:
    machine.device("sda", "8:0")
    machine.device("sda3", "8:3", parent="sda")
    machine.device("dm-0", "253:0", dm__uuid="LVM-x", dm__name="vg-root")
    machine.holds("dm-0", "sda3")
    machine.mount("253:0", "/")
    assert machine.uses("sda") == ['backs mounted "/" (via dm-0 < sda3)', "is part of the LVM volume vg-root (via dm-0)"]
    assert machine.uses("sda3")[0] == 'backs mounted "/" (via dm-0)'


def test_a_partition_of_a_disk_with_two_paths(machine: Machine) -> None:
    """Nobody runs multipathd: what is mounted from sdb1 is sda1, too."""
    for name, number in (("sda", "8:0"), ("sdb", "8:16")):
        machine.device(name, number, device__vpd_pg80=b"\0\x80\0\x04S5XX", device__wwid="naa.5")
        machine.device(name + "1", number + "1", parent=name)
    host = machine.host()
    assert [other.name for other in host.sharing(host.device("sda1"))] == ["sdb"]


def test_other_uses(machine: Machine) -> None:
    machine.device("sda", "8:0")
    machine.device("sda2", "8:2", parent="sda")
    machine.device("sdb", "8:16")
    machine.device("md0", "9:0", md__uuid="x")
    machine.holds("md0", "sdb")
    machine.device("sdc", "8:32")
    machine.device("sdd", "8:48")
    machine.device("sde", "8:64")
    machine.mount("8:48", "/data\\040x", "xfs")
    machine.file("sys/fs/btrfs/6b2/devices/sdc", "")
    machine.file("proc/swaps", f"Filename\tType\tSize\tUsed\tPriority\n{machine.root}/dev/sda2 partition 1 0 -2\n")
    assert machine.uses("sda") == ["is swap (via sda2)"]
    assert machine.uses("sdb") == ["is part of the RAID array md0"]
    assert machine.uses("sdc") == ["is part of a mounted btrfs"]
    assert machine.uses("sdd") == ['backs mounted "/data x"']
    assert machine.uses("sde") == []


def test_mounts_of_other_namespaces(machine: Machine) -> None:
    for pid, namespace in (("self", "mnt:[1]"), ("10", "mnt:[1]"), ("20", "mnt:[2]"), ("21", "mnt:[2]")):
        (machine.root / f"proc/{pid}/ns").mkdir(parents=True, exist_ok=True)
        (machine.root / f"proc/{pid}/ns/mnt").symlink_to(namespace)
        machine.file(f"proc/{pid}/comm", f"name{pid}\n")
        machine.file(f"proc/{pid}/mountinfo", "5 1 8:16 /sub /inside rw - xfs /dev/sdb rw\n" if pid != "self" else "")
    assert [(pid, name, mount.path) for pid, name, mount in machine.host().mounts_elsewhere()] == [(20, "name20", "/inside")]


def test_words() -> None:
    assert [human(size) for size in (0, 999, 1000, 7_681_501_126_656)] == ["0 B", "999 B", "1 kB", "7.682 TB"]
    assert {plain_wwn(text) for text in ("naa.5000C5", "0x5000c5", "wwn-0x5000c5", " 5000c5\n")} == {"5000c5"}
    assert printable("  A\0\0B \x1b[0m ") == "A B [0m"
