# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole module on a /sys made of plain files; real queues are set in tests/integration/hosts/tuning."""

from __future__ import annotations

import errno
import os

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _files, _queue_apply, _run_block_queues
from ansible_collections.slipway.mlops.plugins.module_utils._block_probe import Host
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed, Refused


def disk(sys, name, number, **files):
    folder = sys / "class/block" / name
    for path, text in {
        "dev": number,
        "size": "2048",
        "queue/rotational": "1",
        "queue/scheduler": "none",
        "queue/nr_requests": "64",
        "queue/read_ahead_kb": "128",
        "mq/0/nr_tags": "1023",
        **{path.replace("__", "/"): text for path, text in files.items()},
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text + "\n")
    return folder


@pytest.fixture
def host(tmp_path):
    disk(tmp_path, "sda", "8:0", device__wwid="naa.5000aaaa")
    disk(tmp_path, "sdb", "8:16", device__wwid="naa.5000bbbb")
    disk(tmp_path, "nvme0n1", "259:0", wwid="eui.0025", queue__rotational="0")
    disk(tmp_path, "md0", "9:0", md__uuid="cafe")
    for name in ("sda", "sdb"):
        (tmp_path / "class/block/md0/slaves" / name).mkdir(parents=True)
    return Host(sys=str(tmp_path), proc=str(tmp_path / "proc"), dev=str(tmp_path / "dev"), run=str(tmp_path / "run"))


def run(host, tmp_path, devices=(), check=False, **options):
    params = {
        "devices": list(devices), "rotational": None, "ssd": None, "nvme": None, "device_settings": [],
        "rule_file": str(tmp_path / "99-slipway.rules"), **options,
    }  # fmt: skip
    return _run_block_queues.run(params, check, True, host)


def tree(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ROTATIONAL = {"read_ahead_kb": 4096, "nr_requests": 32}


def test_check_mode_tells_the_same_and_touches_nothing(host, tmp_path):
    before = tree(tmp_path)
    told = run(host, tmp_path, ["sda"], check=True, rotational=ROTATIONAL)
    assert tree(tmp_path) == before
    assert run(host, tmp_path, ["sda"], rotational=ROTATIONAL) == told
    assert told["changed"] is True


def test_second_run_changes_nothing_and_spawns_nothing(host, tmp_path, monkeypatch):
    run(host, tmp_path, ["sda"], rotational=ROTATIONAL)
    for name in ("fork", "posix_spawn", "system", "execv"):
        monkeypatch.setattr(os, name, None)
    again = run(host, tmp_path, ["sda"], rotational=ROTATIONAL)
    assert (again["changed"], again["diff"]) == (False, [])


def test_a_namespace_of_native_multipath_gets_what_it_has_of_its_class(host, tmp_path):
    """Linux 6.1 shows a scheduler there, Linux 6.18 does not."""
    for name in ("scheduler", "nr_requests"):
        (tmp_path / "class/block/nvme0n1/queue" / name).unlink()
    (tmp_path / "class/block/nvme0n1/mq/0/nr_tags").unlink()
    for folder in ("mq/0", "mq"):
        (tmp_path / "class/block/nvme0n1" / folder).rmdir()
    settings = {"scheduler": "none", "read_ahead_kb": 64, "rq_affinity": 2}
    result = run(host, tmp_path, ["sda", "nvme0n1"], rotational=ROTATIONAL, nvme=settings)
    assert result["disks"][1]["after"] == {"read_ahead_kb": "64"}
    assert [line for line in result["warnings_found"] if line.startswith("nvme0n1: no requests of its own")]
    with pytest.raises(Refused, match="nvme0n1: this kernel has no queue/scheduler for it"):
        run(host, tmp_path, ["nvme0n1"], nvme=settings, device_settings=[{"device": "nvme0n1", "scheduler": "none"}])


def test_only_named_disks_are_touched_each_by_its_class(host, tmp_path):
    result = run(host, tmp_path, ["sda", "nvme0n1"], rotational=ROTATIONAL, nvme={"read_ahead_kb": 64})
    assert {disk["name"]: disk["after"] for disk in result["disks"]} == {
        "sda": {"nr_requests": "32", "read_ahead_kb": "4096"},
        "nvme0n1": {"read_ahead_kb": "64"},
    }
    assert (tmp_path / "class/block/sdb/queue/read_ahead_kb").read_text() == "128\n"
    rules = (tmp_path / "99-slipway.rules").read_text()
    assert 'ATTRS{wwid}=="naa.5000aaaa"' in rules
    assert 'ATTRS{wwid}=="eui.0025"' in rules
    assert "bbbb" not in rules


def test_of_an_array_the_disks_below_are_set_and_its_own_read_ahead(host, tmp_path):
    result = run(host, tmp_path, ["md0"], rotational=ROTATIONAL)
    assert {disk["name"]: set(disk["after"]) for disk in result["disks"]} == {
        "md0": {"read_ahead_kb"},
        "sda": {"nr_requests", "read_ahead_kb"},
        "sdb": {"nr_requests", "read_ahead_kb"},
    }


def test_a_disk_named_twice_is_one_disk(host, tmp_path):
    assert len(run(host, tmp_path, ["sda", "WWN=naa.5000aaaa"], rotational=ROTATIONAL)["disks"]) == 1


def test_two_settings_for_one_disk_and_unknown_devices_are_refused_together(host, tmp_path):
    before = tree(tmp_path)
    settings = [{"device": "sda", "read_ahead_kb": 4}, {"device": "naa.5000aaaa", "read_ahead_kb": 8}]
    with pytest.raises(Refused) as caught:
        run(host, tmp_path, ["sdz", "../x"], device_settings=settings, rule_file="/etc/../x.rules")
    assert [line.split(":")[0] for line in caught.value.problems] == ["rule_file", "devices[0]", "devices[1]", "device_settings[1]"]
    assert tree(tmp_path) == before


def test_no_disks_any_more_removes_the_rule_file(host, tmp_path):
    run(host, tmp_path, ["sda"], rotational=ROTATIONAL)
    assert run(host, tmp_path)["changed"] is True
    assert not (tmp_path / "99-slipway.rules").exists()
    assert run(host, tmp_path)["changed"] is False


def test_a_value_that_the_kernel_refuses_undoes_the_others_and_leaves_the_file(host, tmp_path, monkeypatch):
    real = os.open

    def refusing(path, flags, *rest):
        if str(path).endswith("nvme0n1/queue/read_ahead_kb") and flags & os.O_WRONLY:
            raise OSError(errno.EINVAL, "Invalid argument", path)
        return real(path, flags, *rest)

    monkeypatch.setattr(_queue_apply.os, "open", refusing)
    before = tree(tmp_path)
    with pytest.raises(Failed, match=r"nvme0n1: the kernel does not take read_ahead_kb 64: Invalid argument \(it has 128\)"):
        run(host, tmp_path, ["sda", "nvme0n1"], rotational=ROTATIONAL, nvme={"read_ahead_kb": 64})
    assert {path: text.strip() for path, text in tree(tmp_path).items()} == {path: text.strip() for path, text in before.items()}


def test_a_full_disk_undoes_the_queues(host, tmp_path, monkeypatch):
    def full(path, *rest, **named):
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(_files, "write_atomic", full)
    with pytest.raises(Failed, match=r"No space left on device.*Every queue is as it was"):
        run(host, tmp_path, ["sda"], rotational=ROTATIONAL)
    assert (tmp_path / "class/block/sda/queue/read_ahead_kb").read_text().strip() == "128"


def test_later_rules_that_set_queues_are_named(tmp_path):
    folder = tmp_path / "etc/udev/rules.d"
    folder.mkdir(parents=True)
    (folder / "99-zz.rules").write_text('# ATTR{queue/scheduler}="x"\nKERNEL=="sda", ATTR{queue/scheduler}=="none", ATTR{queue/scheduler}="bfq"\n')
    (folder / "99-zy.rules").write_text('KERNEL=="sda", ATTR{queue/scheduler}=="none"\n')
    (folder / "10-early.rules").write_text('ATTR{queue/scheduler}="bfq"\n')
    assert _queue_apply.later_rules("/etc/udev/rules.d/99-slipway.rules", str(tmp_path)) == [f"{folder}/99-zz.rules line 2"]


@pytest.mark.parametrize("disks", [["sda"], []])  # to be written, to be removed
def test_a_rule_file_of_the_administrator_is_left_alone(host, tmp_path, disks):
    (tmp_path / "99-slipway.rules").write_text('KERNEL=="sdz", OWNER="me"\n')
    before = tree(tmp_path)
    with pytest.raises(Refused, match=r"rule_file: .*99-slipway\.rules is there and was not written by this module"):
        run(host, tmp_path, disks, rotational=ROTATIONAL)
    assert tree(tmp_path) == before
