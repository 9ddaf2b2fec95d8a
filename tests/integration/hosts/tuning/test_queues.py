# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Request queues of real disks: loop devices of our own, and those of a lab host over ssh."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _run_block_queues
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed, Refused

RULES = "/etc/udev/rules.d/99-slipway-block-queues.rules"


def queue(device, attribute):
    return Path("/sys/block", os.path.basename(device), "queue", attribute).read_text().strip()


def run(tmp_path, devices, check=False, **settings):
    params = {"devices": devices, "rotational": settings, "ssd": settings, "nvme": None, "device_settings": [], "rule_file": str(tmp_path / "99.rules")}
    return _run_block_queues.run(params, check, True)


@pytest.mark.parametrize("scheduler", ["mq-deadline", "kyber", "bfq", "none"])
def test_every_scheduler_that_the_kernel_offers_can_be_set(loops, tmp_path, scheduler):
    if scheduler not in queue(loops[0], "scheduler"):
        pytest.skip(f"this kernel has no {scheduler}")
    result = run(tmp_path, loops, scheduler=scheduler, nr_requests=64, read_ahead_kb=512, rq_affinity=2)
    assert result["changed"] is True
    for device in loops:
        assert f"[{scheduler}]" in queue(device, "scheduler")
        # The new scheduler has brought its own number of requests; ours was set after it.
        assert [queue(device, name) for name in ("nr_requests", "read_ahead_kb", "rq_affinity")] == ["64", "512", "2"]
    again = run(tmp_path, loops, scheduler=scheduler, nr_requests=64, read_ahead_kb=512, rq_affinity=2)
    assert (again["changed"], again["diff"]) == (False, [])


def test_the_limits_that_we_state_are_those_of_the_kernel(loops, tmp_path):
    for scheduler, most in (("mq-deadline", 2048), ("none", int(Path("/sys/block", os.path.basename(loops[0]), "mq/0/nr_tags").read_text()))):
        run(tmp_path, loops, scheduler=scheduler, nr_requests=most)
        assert queue(loops[0], "nr_requests") == str(most)
        run(tmp_path, loops, scheduler=scheduler, nr_requests=4)
        assert queue(loops[0], "nr_requests") == "4"
        with pytest.raises(Refused, match=f"outside 4-{most}"):
            run(tmp_path, loops, scheduler=scheduler, nr_requests=most + 1)
        with pytest.raises(OSError, match="Invalid argument"):
            Path("/sys/block", os.path.basename(loops[0]), "queue/nr_requests").write_text(str(most + 1))
    hardware = int(queue(loops[0], "max_hw_sectors_kb"))
    with pytest.raises(Refused, match=f"outside 4-{hardware}"):
        run(tmp_path, loops, max_sectors_kb=hardware + 1)


def test_check_mode_touches_nothing_and_says_the_same(loops, tmp_path):
    before = queue(loops[0], "scheduler")
    told = run(tmp_path, loops, check=True, scheduler="bfq")
    assert queue(loops[0], "scheduler") == before
    assert not (tmp_path / "99.rules").exists()
    assert run(tmp_path, loops, scheduler="bfq") == told


def test_a_rule_file_that_cannot_be_written_leaves_the_queues_as_they_were(loops, tmp_path):
    before = [queue(device, "scheduler") for device in loops]
    (tmp_path / "folder").symlink_to(tmp_path / "nowhere" / "at" / "all")
    params = {"devices": loops, "rotational": {"scheduler": "bfq"}, "ssd": {"scheduler": "bfq"}, "nvme": None, "device_settings": []}
    with pytest.raises(Failed, match="Every queue is as it was"):
        _run_block_queues.run({**params, "rule_file": str(tmp_path / "folder" / "99.rules")}, False, False)
    assert [queue(device, "scheduler") for device in loops] == before


@pytest.mark.long
def test_on_hosts_twice_and_read_back_by_cat(hosts, role):
    """Loop queues are shared with this machine, so the role touches the lab's disks of these hosts alone."""
    settings = {"scheduler": "mq-deadline", "read_ahead_kb": 768, "nr_requests": 96}
    variables = {"host_io_scheduler_devices": ["/dev/disk/by-id/slipway-lab-{{ inventory_hostname }}-disk0"], "host_io_scheduler_ssd": settings}
    try:
        first = role("host_io_scheduler", host_io_scheduler_rotational=settings, **variables)
        assert first.rc == 0, first.output
        assert first.changed() == dict.fromkeys(hosts.names, 1)
        for name in hosts.names:
            disk = hosts.ssh(name, f"basename $(readlink -f /dev/disk/by-id/slipway-lab-{name}-disk0)")
            assert hosts.ssh(name, f"cd /sys/block/{disk}/queue && cat read_ahead_kb nr_requests") == "768\n96"
            assert "[mq-deadline]" in hosts.ssh(name, f"cat /sys/block/{disk}/queue/scheduler")
            # udev's own parser takes the rule and sets the same again.
            hosts.ssh(name, f"cd /sys/block/{disk}/queue && echo none > scheduler && echo 128 > read_ahead_kb")
            # The links that other rules make go to folders that end with the command; the lab's own stay.
            private = "mount -t tmpfs tmpfs /dev/disk && mount -t tmpfs tmpfs /run/udev"
            hosts.ssh(name, f"unshare --mount sh -c '{private} && udevadm test --action=add /sys/block/{disk}'")
            assert hosts.ssh(name, f"cd /sys/block/{disk}/queue && cat read_ahead_kb nr_requests scheduler").split()[:2] == ["768", "96"]
            assert "[mq-deadline]" in hosts.ssh(name, f"cat /sys/block/{disk}/queue/scheduler")
        again = role("host_io_scheduler", host_io_scheduler_rotational=settings, **variables)
        assert again.changed() == dict.fromkeys(hosts.names, 0)
        gone = role("host_io_scheduler", host_io_scheduler_state="absent", host_io_scheduler_rotational=settings, **variables)
        assert gone.changed() == dict.fromkeys(hosts.names, 1)
        for name in hosts.names:
            assert hosts.ssh(name, f"test -e {RULES} || echo gone") == "gone"
        assert role("host_io_scheduler", host_io_scheduler_state="absent", **variables).changed() == dict.fromkeys(hosts.names, 0)
        refused = role("host_io_scheduler", host_io_scheduler_rotational={"scheduler": "cfq"}, **{**variables, "host_io_scheduler_ssd": {"scheduler": "cfq"}})
        assert refused.failed() == set(hosts.names)
        assert 'scheduler "cfq" is not offered (none mq-deadline kyber bfq)' in refused.output
    finally:
        for name in hosts.names:
            hosts.ssh(name, f"rm -f {RULES}; cd /sys/block/$(basename $(readlink -f /dev/disk/by-id/slipway-lab-{name}-disk0))/queue && echo none > scheduler")
