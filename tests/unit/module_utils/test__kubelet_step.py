# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of kubelet_config, with a kubelet that is a file's reader: it does not live with what it does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _host_change, _kubelet_apply, _kubelet_probe, _kubelet_step
from ansible_collections.slipway.mlops.plugins.module_utils._host_change import Edit, Journal
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed, Refused
from ansible_collections.slipway.mlops.plugins.module_utils._kubelet_probe import Kubelet

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
BAD = HEAD + "allowedUnsafeSysctls:\n- kernel.msgmax\n"
GOOD = HEAD + "allowedUnsafeSysctls:\n- net.core.somaxconn\n"
DEFAULTS = {name: option.get("default") for name, option in _kubelet_step.ARGUMENTS.items()}


class Machine:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file, self.folder = folder / "config.yaml", folder
        self.file.write_text(HEAD)
        self.lives, self.unread = True, False
        self.restarts = 0
        monkeypatch.setattr(_kubelet_step, "Journal", lambda name: Journal(name, str(folder)))
        monkeypatch.setattr(_kubelet_probe, "probe", self.probe)
        monkeypatch.setattr(_kubelet_apply, "_healthy", lambda *_: "" if self.lives else "it does not run")
        monkeypatch.setattr(_host_change, "restart_unit", self.restart)
        monkeypatch.setattr(_host_change, "unit_log", lambda *_: "")

    def probe(self) -> Kubelet:
        if not self.lives:
            raise Refused(["no kubelet runs on this host"])
        path = str(self.file)
        files: dict[str, bytes | None] = {path: self.file.read_bytes()}
        return Kubelet("kubelet", 1, "kubelet.service", "w1", "id", path, None, None, None, None, files, (path,) if self.unread else ())

    def restart(self, _unit: str) -> None:
        self.restarts += 1
        self.lives, self.unread = "kernel.msgmax" not in self.file.read_text(), False

    def step(self, name: str = "all", sysctl: str = "net.core.somaxconn") -> dict[str, Any]:
        return _kubelet_step.step({**DEFAULTS, "step": name, "sysctls": [sysctl]}, False, False)

    def killed(self) -> None:
        """A run that wrote BAD, and was killed while the kubelet did not come up with it."""
        journal = Journal("kubelet_config", str(self.folder))
        edit = Edit(str(self.file), HEAD.encode(), BAD.encode())
        journal.begin([edit], {"unit": "kubelet.service", "healthz": "", "node": "w1", "machine_id": "id"})
        _host_change.write(edit)
        self.lives = False


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_a_list_is_written_once(machine: Machine) -> None:
    assert machine.step()["changed"]
    assert (machine.file.read_text(), machine.restarts) == (GOOD, 1)
    assert not machine.step()["changed"]
    assert machine.restarts == 1


def test_after_a_killed_run_that_left_the_kubelet_dead_the_way_back_comes_first(machine: Machine) -> None:
    machine.killed()
    looked = machine.step("plan")
    assert (looked["pending"], looked["node"], looked["machine_id"]) == (True, "w1", "id")
    assert looked["actions"] == ["put back what an interrupted run left behind, and restart"]
    assert (machine.file.read_text(), machine.restarts) == (BAD, 0)
    machine.step("apply")
    assert (machine.file.read_text(), machine.restarts, machine.lives) == (GOOD, 2, True)
    machine.step("confirm")
    assert not machine.step("plan")["pending"]


def test_the_same_wish_after_a_killed_run_fails_and_leaves_the_kubelet_well(machine: Machine) -> None:
    machine.killed()
    with pytest.raises(Failed, match="The old content was put back"):
        machine.step("apply", "kernel.msgmax")
    assert (machine.file.read_text(), machine.lives) == (HEAD, True)


def test_a_file_that_no_kubelet_has_read_is_not_the_one_to_restart_with(machine: Machine) -> None:
    machine.unread = True
    with pytest.raises(Refused, match="no kubelet has run with it as it is now"):
        machine.step()
    assert (machine.file.read_text(), machine.restarts) == (HEAD, 0)
