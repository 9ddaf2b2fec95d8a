# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _queue_plan
from ansible_collections.slipway.mlops.plugins.module_utils._queue_plan import NVME, ROTATIONAL, Queue

SDA = Queue(
    name="sda",
    kind=ROTATIONAL,
    attributes={"scheduler": "[none] mq-deadline kyber", "nr_requests": "64", "read_ahead_kb": "128", "rq_affinity": "1", "max_sectors_kb": "1280"},
    match='ATTRS{wwid}=="naa.5000"',
    max_hw_sectors_kb=4096,
    tags=64,
)
NVME0 = Queue("nvme0n1", NVME, {"scheduler": "[none] mq-deadline", "read_ahead_kb": "128"}, 'ATTRS{wwid}=="eui.1"')


def decide(queue=SDA, own=None, **by_kind):
    return _queue_plan.plan([queue], by_kind, {queue.name: own} if own else {})


def test_settings_of_the_class_apply_and_those_of_the_device_win_one_by_one():
    plan = decide(own={"read_ahead_kb": 512}, rotational={"scheduler": "mq-deadline", "read_ahead_kb": 4096})
    assert plan.disks[0].wanted == {"scheduler": "mq-deadline", "read_ahead_kb": "512"}
    assert plan.disks[0].before == {"scheduler": "none", "read_ahead_kb": "128"}


def test_another_class_does_not_apply():
    plan = decide(NVME0, rotational={"read_ahead_kb": 4096})
    assert (plan.disks, plan.rules, plan.problems) == ([], b"", [])


def test_what_is_so_already_is_no_change_but_stays_in_the_rules():
    plan = decide(rotational={"read_ahead_kb": "128"})
    assert plan.disks[0].changes == {}
    assert b'ATTR{queue/read_ahead_kb}="128"' in plan.rules


def test_the_scheduler_has_a_line_of_its_own_before_nr_requests():
    lines = decide(rotational={"nr_requests": 2048, "scheduler": "kyber"}).rules.decode().splitlines()[-2:]
    head = 'ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ATTRS{wwid}=="naa.5000", '
    assert lines == [head + 'ATTR{queue/scheduler}="kyber"', head + 'ATTR{queue/nr_requests}="2048"']


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scheduler": "cfq"}, 'scheduler "cfq" is not offered (none mq-deadline kyber)'),
        ({"scheduler": 'none"\n'}, "not offered"),
        ({"read_ahead_kb": -1}, "read_ahead_kb -1 is outside 0-"),
        ({"read_ahead_kb": 4097}, "read_ahead_kb 4097 is not a multiple of 4, the size of a page"),
        ({"read_ahead_kb": True}, "must be an integer, got True"),
        ({"read_ahead_kb": "4096 "}, "must be an integer, got '4096 '"),
        ({"read_ahead_kb": "4k"}, "must be an integer, got '4k'"),
        ({"nr_requests": 3, "scheduler": "kyber"}, "outside 4-2048"),
        ({"nr_requests": 4096, "scheduler": "kyber"}, "outside 4-2048"),
        ({"nr_requests": 128}, "outside 4-64, the hardware's own queue"),
        ({"nr_requests": 128, "scheduler": "none"}, "outside 4-64"),
        ({"max_sectors_kb": 16383}, "outside 4-4096, the most that the hardware takes"),
        ({"rq_affinity": 3}, "outside 0-2"),
    ],
)
def test_what_the_kernel_would_not_take_is_said_before_it_is_asked(settings, words):
    plan = decide(rotational=settings)
    assert len(plan.problems) == 1
    assert plan.problems[0].startswith("sda: ")
    assert words in plan.problems[0]
    assert plan.disks == []


def test_all_problems_come_at_once():
    assert len(decide(rotational={"scheduler": "cfq", "read_ahead_kb": -1, "rq_affinity": 9}).problems) == 3


def test_an_attribute_that_the_kernel_lacks_is_named():
    assert decide(NVME0, nvme={"rq_affinity": 2}).problems == ["nvme0n1: this kernel has no queue/rq_affinity for it"]


def test_a_queue_without_requests_leaves_out_what_its_class_says_of_them():
    """One that older kernels still show with a scheduler, which has no others."""
    bio = Queue("nvme1n1", NVME, {"scheduler": "none", "nr_requests": "128", "read_ahead_kb": "128"}, 'ATTRS{wwid}=="eui.2"', bio_based=True)
    plan = _queue_plan.plan([bio, NVME0], {NVME: {"scheduler": "mq-deadline", "read_ahead_kb": 64}}, {})
    assert [disk.wanted for disk in plan.disks] == [{"read_ahead_kb": "64"}, {"scheduler": "mq-deadline", "read_ahead_kb": "64"}]
    assert (len(plan.warnings), plan.problems) == (1, [])
    assert _queue_plan.plan([bio], {NVME: {"read_ahead_kb": 64}}, {}).warnings == []
    assert decide(bio, own={"nr_requests": 64}, nvme={}).problems == ["nvme1n1: this kernel has no queue/nr_requests for it"]


def test_of_a_device_on_other_disks_only_the_read_ahead_is_set():
    md = Queue("md0", ROTATIONAL, {"read_ahead_kb": "128"}, 'ATTR{md/uuid}=="x"', stacked=True)
    assert decide(md, rotational={"scheduler": "kyber", "read_ahead_kb": 4096}).disks[0].wanted == {"read_ahead_kb": "4096"}


def test_a_disk_without_identity_is_set_with_a_warning():
    plan = decide(Queue("vdb", ROTATIONAL, {"read_ahead_kb": "128"}, 'KERNEL=="vdb"', stable=False), rotational={"read_ahead_kb": 4})
    assert "vdb has neither WWN nor serial" in plan.warnings[0]


@pytest.mark.parametrize(
    ("words", "safe"),
    [("naa.5000", "naa.5000"), ('a"b*c?[d]|e\\f', "a?b?c??d??e?f"), ("caf\xe9\n", "caf??"), ("t10.ATA     X Y", "t10.ATA     X Y")],
)
def test_what_a_device_says_of_itself_cannot_leave_its_quotes(words, safe):
    assert _queue_plan.glob_safe(words) == safe


@pytest.mark.parametrize(("text", "name"), [("none [mq-deadline] bfq", "mq-deadline"), ("[none] kyber", "none"), ("none", "none")])
def test_the_scheduler_in_brackets_is_the_chosen_one(text, name):
    assert _queue_plan.chosen(text) == name
