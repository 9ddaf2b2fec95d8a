# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _open_files
from ansible_collections.slipway.mlops.plugins.module_utils._open_files import Daemon, State

UNIT = "containerd.service"


def state(*limits, drop_in=None, unit=UNIT):
    return State([Daemon(number, unit, limit) for number, limit in enumerate(limits, 100)], {unit: drop_in}, 1048576)


def test_a_lower_runtime_is_raised_and_kept():
    plan = _open_files.plan(262144, state(20000, 524288, None), 1048576)
    assert [daemon.pid for daemon in plan.daemons] == [100]
    assert plan.drop_ins[UNIT].endswith(b"[Service]\nLimitNOFILE=262144\n")


@pytest.mark.parametrize("limits", [(262144,), (524288, None), (None,), ()])
def test_what_has_enough_is_left_alone(limits):
    plan = _open_files.plan(262144, state(*limits), 1048576)
    assert (plan.daemons, plan.drop_ins, plan.problems) == ([], {}, [])


def test_our_drop_in_stays_while_the_runtime_has_enough_because_of_it():
    written = _open_files.plan(262144, state(1024), 1048576).drop_ins[UNIT]
    assert _open_files.plan(262144, state(262144, drop_in=written), 1048576).drop_ins == {}


def test_zero_takes_our_drop_in_away_and_raises_nothing():
    plan = _open_files.plan(0, state(1024, drop_in=b"x"), 1048576)
    assert (plan.daemons, plan.drop_ins) == ([], {UNIT: None})
    assert _open_files.plan(0, state(1024), 1048576).drop_ins == {}


def test_more_than_the_kernel_gives_is_refused():
    assert "above fs.nr_open (1048576)" in _open_files.plan(2000000, state(1024), 1048576).problems[0]


def test_a_host_that_may_not_raise_limits_says_so_before_anything_is_touched(tmp_path):
    low = state(20000)
    plan = _open_files.plan(262144, State(low.daemons, low.drop_ins, low.nr_open, may_raise=False), 1048576)
    assert "containerd.service (20000)" in plan.problems[0]
    assert (plan.daemons, plan.drop_ins) == ([], {})
    (tmp_path / "proc/self").mkdir(parents=True)
    for mask, may in (("000001fffeffffff", False), ("000001ffffffffff", True)):
        (tmp_path / "proc/self/status").write_text(f"Name:\tx\nCapEff:\t{mask}\n")
        assert _open_files.probe(str(tmp_path)).may_raise is may


def test_only_runtimes_that_are_services_of_this_host_count(tmp_path):
    service = "0::/system.slice/containerd.service"
    for pid, argv, group in ((7, "/usr/bin/containerd", service), (8, "/usr/bin/containerd", "0::/user.slice"), (9, "/bin/sh", service)):
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "cmdline").write_text(argv + "\0")
        (folder / "cgroup").write_text(group + "\n")
        (folder / "limits").write_text("Limit           Soft Limit  Hard Limit  Units\nMax open files  1024        524288      files     \n")
    assert _open_files.probe(str(tmp_path)).daemons == [Daemon(7, UNIT, 524288)]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_a_running_process_is_raised_up_to_what_it_may(tmp_path, monkeypatch):
    """A child with a lower soft and hard limit: raising the hard one needs a right that a test may lack, so it is given up to the child's own."""
    monkeypatch.setattr(_open_files, "_reload", lambda: None)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (64, 512))
        plan = _open_files.Plan(raise_to=256, daemons=[Daemon(child.pid, UNIT, 128)])
        _open_files.apply(plan, str(tmp_path))
        assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 512), "never lowered"
        try:
            resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (64, 513))
        except OSError:
            with pytest.raises(_open_files.Failed, match="its limit of open files stays 512"):
                _open_files.apply(_open_files.Plan(raise_to=1024, daemons=[Daemon(child.pid, UNIT, 512)]), str(tmp_path))
        else:
            _open_files.apply(_open_files.Plan(raise_to=1024, daemons=[Daemon(child.pid, UNIT, 512)]), str(tmp_path))
            assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE) == (64, 1024)
    finally:
        child.communicate(b"\n")
    assert os.listdir(tmp_path) == []


@pytest.fixture
def order(tmp_path, monkeypatch):
    """What `apply` does, in order: systemctl with whether the drop-in was there, and each process."""
    done = []
    folder = tmp_path / f"etc/systemd/system/{UNIT}.d"

    def systemctl(argv, **_options):
        done.append((argv[1], (folder / _open_files.DROP_IN).exists()))
        return subprocess.CompletedProcess(argv, 0, b"")

    monkeypatch.setattr(_open_files.subprocess, "run", systemctl)
    monkeypatch.setattr(_open_files.resource, "prlimit", lambda pid, *_rest: done.append(("raise", pid)) or (64, 64))
    return done


def test_a_process_is_raised_last_so_that_a_run_cut_short_is_finished_by_the_next(order, tmp_path):
    plan = _open_files.plan(262144, state(1024), 1048576)
    _open_files.apply(plan, str(tmp_path))
    assert order == [("daemon-reload", True), ("raise", 100), ("raise", 100)]
    # The run before was killed after it wrote the drop-in: systemd has not read it yet.
    order.clear()
    _open_files.apply(_open_files.plan(262144, state(1024, drop_in=plan.drop_ins[UNIT]), 1048576), str(tmp_path))
    assert order[0] == ("daemon-reload", True)


@pytest.mark.parametrize("error", [subprocess.TimeoutExpired("systemctl", 60), FileNotFoundError(2, "No such file or directory", "systemctl")])
def test_a_systemd_that_does_not_answer_fails_in_words_and_raises_nothing(order, tmp_path, monkeypatch, error):
    def systemctl(*_arguments, **_options):
        raise error

    monkeypatch.setattr(_open_files.subprocess, "run", systemctl)
    with pytest.raises(_open_files.Failed, match="systemctl daemon-reload: "):
        _open_files.apply(_open_files.plan(262144, state(1024), 1048576), str(tmp_path))
    assert order == []
