# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which test proves that each kind of hostile input is refused. A test that is renamed or deleted is missed here, and so is one of its cases:
in brackets stand words out of the names of those that matter, with `|` between them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
UNIT, DISKS, TUNING = "unit/module_utils/test__", "integration/hosts/storage/test_", "integration/hosts/tuning/test_"
ROWS = {
    "1 a disk that backs a mounted filesystem": DISKS + "refusals.py::test_the_system_disk_and_other_impossible_devices",
    "2 one disk under two names": DISKS + "refusals.py::test_one_disk_twice_and_by_two_names",
    "3 a device that is a pattern, a path out, no block device or a command": DISKS + "refusals.py::test_the_system_disk_and_other_impossible_devices",
    "4 a disk with a partition table, nothing said about it": DISKS
    + "refusals.py::test_content_is_refused_and_erased_only_by_its_line[GPT|MBR|one byte in the middle",
    "5 content that is ambiguous": DISKS + "refusals.py::test_two_signatures_are_ambiguous",
    "5 content that cannot be read": DISKS + "faults.py::test_a_disk_that_cannot_be_read_does_not_look_blank",
    "6 erase as a boolean, or with another disk's serial": DISKS + "refusals.py::test_content_is_refused_and_erased_only_by_its_line",
    "7 a disk of another size": DISKS + "refusals.py::test_size_that_was_not_expected",
    "8 mount options": UNIT + "xfs_options.py::test_what_is_wrong_is_said[blanks, quotes|unknown XFS option|an action",
    "9 mount paths": UNIT + "xfs_plan.py::test_paths_that_are_refused[/etc/x|/a/../b|/a b",
    "10 blanks, quotes and line breaks in options": DISKS + "refusals.py::test_all_that_is_wrong_with_the_arguments_comes_at_once",
    "11 an MTU that is none": UNIT + "mtu_plan.py::test_what_cannot_be_is_one_sentence_and_no_step[ens9-9k|ens9-70000|ens9-9000.5",
    "12 an MTU over the parent's": UNIT + "mtu_plan.py::test_what_cannot_be_is_one_sentence_and_no_step[exceeds bond0 below it",
    "13 a link that is not there": UNIT + "mtu_plan.py::test_what_cannot_be_is_one_sentence_and_no_step[eth9-9000-no such link here",
    "14 sysctl values": UNIT + "sysctl_plan.py::test_bad_input_is_one_sentence_and_no_plan[not an integer|neither a number nor text|holds #",
    "14 a value that only the kernel refuses": TUNING + "sysctl.py::test_a_number_that_the_kernel_refuses_leaves_all_as_it_was",
    "15 a key of a module that is not loaded": UNIT + "sysctl_plan.py::test_bad_input_is_one_sentence_and_no_plan[nf_conntrack is not loaded",
    "16 patterns of unsafe sysctls": UNIT + "sysctl_pattern.py::test_a_malformed_entry_is_named[net.*.x|net.core.]|**]",
    "17 queue settings": UNIT + "queue_plan.py::test_what_the_kernel_would_not_take_is_said_before_it_is_asked[cfq|outside 4-2048",
    "18 labels": UNIT + "node_labels_plan.py::test_bad_input_is_told_with_its_place_and_all_at_once",
    "19 taints": UNIT + "node_labels_plan.py::test_bad_input_is_told_with_its_place_and_all_at_once",
    "20 YAML that says one thing twice, tabs, unknown kinds, missing names": UNIT
    + "manifest.py::test_one_problem[is given twice|found a tab character|Deploymnt|metadata.name is missing",
    "21 objects that are too large, data that is not base64": UNIT + "manifest.py::test_one_problem[is 1.6 MB|is not base64",
    "22 quantities, requests over limits": UNIT + "manifest.py::test_one_problem[resources.limits.memory|requests.cpu 4",
    "23 address ranges": UNIT + "inventory.py::test_what_is_wrong_is_said[range]|host bits|ranges overlap",
    "24 ports": UNIT + "manifest.py::test_one_problem[port 0 is outside|containerPort 7000",
    "25 durations": UNIT + "ais_config.py::test_what_is_no_duration_is_refused[5 s|5d",
    "25 kubeconfigs": UNIT + "connect.py::test_one_sentence_says_what_is_wrong[auth-provider|no context",
    "nodes by other names than the inventory's": UNIT + "node_labels_plan.py::test_all_unknown_nodes_are_told_in_one_sentence_with_the_nearest_name",
    "an fstab without a last line break": UNIT + "fstab.py::test_a_new_line_goes_to_the_end",
    "what a device says of itself": UNIT + "queue_plan.py::test_what_a_device_says_of_itself_cannot_leave_its_quotes",
    "two runs at once on a host": DISKS + "faults.py::test_two_runs_at_once_do_the_work_once",
    "a run that is ended in the middle": DISKS + "faults.py::test_terminated_in_the_middle",
    "anything at all": "fuzz/test_hostile_input.py::test_lists_of_anything_are_read_or_refused",
}


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Every test, with its cases, of the files above."""
    files = sorted({value.partition("::")[0] for value in ROWS.values()})
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", *files]
    done = subprocess.run(argv, cwd=TESTS, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return {line.removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line}


@pytest.mark.parametrize("row", ROWS)
def test_the_row_has_its_test(row: str, collected: set[str]) -> None:
    test, _bracket, cases = ROWS[row].partition("[")
    found = [name for name in collected if name == test or name.startswith(test + "[")]
    assert found, test
    for case in cases.split("|") if cases else ():
        assert any(case in name for name in found), f"{test} has no case with {case!r} any more"
