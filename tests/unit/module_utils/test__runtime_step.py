# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of container_runtime for dockerd and CRI-O, whose programs and signals are stood in for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _host_change, _runtime_apply, _runtime_probe, _runtime_step
from ansible_collections.slipway.mlops.plugins.module_utils._containerd_plan import Handler
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._processes import Process
from ansible_collections.slipway.mlops.plugins.module_utils._runtime_plan import plan
from ansible_collections.slipway.mlops.plugins.module_utils._runtime_probe import Runtime
from golden import GOLDEN

RUN = "/bin/sh"  # any program
DEFAULTS = {name: option.get("default") for name, option in _runtime_step.ARGUMENTS.items()}


class Docker:
    """A dockerd: reads its file when it starts and on SIGHUP, its CDI driver only when it starts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = folder / "daemon.json"
        self.file.write_text("{}")
        self.argv: tuple[str, ...] = ("/usr/bin/dockerd", "--config-file", str(self.file), "-H", "fd://")
        self.restarts = self.reloads = 0
        self.newer = False  # whether the file was written after the start
        self.tried: list[list[str]] = []
        self.loaded: dict[str, Any] = {}
        monkeypatch.setattr(_runtime_step, "Journal", lambda name: _host_change.Journal(name, str(folder)))
        monkeypatch.setattr(_runtime_apply, "_TAKEN", str(folder / "taken"))
        monkeypatch.setattr(_runtime_probe, "probe", lambda _engine: self.probed())
        monkeypatch.setattr(_runtime_probe, "gpus", list)
        monkeypatch.setattr(_runtime_apply._docker_info, "info", self.info)
        monkeypatch.setattr(_runtime_apply, "_restart", self.restart)
        monkeypatch.setattr(_runtime_apply, "_program", lambda _runtime: "dockerd")
        monkeypatch.setattr(_runtime_apply, "_output", self.output)
        monkeypatch.setattr(_host_change, "unit_log", lambda _unit, _since: "")

    def info(self) -> dict[str, Any]:
        return {"Runtimes": {"runc": {"path": "runc"}, **self.loaded.get("runtimes", {})}, "DefaultRuntime": "runc", "ContainersRunning": 0}

    def probed(self) -> Runtime:
        path, process = str(self.file), Process(1, self.argv, "docker.service", 1.0)
        files: dict[str, bytes | None] = {path: self.file.read_bytes()}
        return Runtime("docker", "", "docker.service", process, "", path, "", files, unread=(path,) if self.newer else (), docker=self.info())

    def restart(self, _unit: str, _engine: str, reload: bool) -> None:
        self.loaded, self.newer = json.loads(self.file.read_text()), reload
        self.reloads += reload
        self.restarts += not reload

    def output(self, argv: list[str]) -> str:
        self.tried.append(list(argv))
        return "--validate"

    def edited(self, content: Mapping[str, Any]) -> None:
        self.file.write_text(json.dumps(content))
        self.newer = True

    def step(self, check_mode: bool = False, **params: Any) -> dict[str, Any]:
        return _runtime_step.step({**DEFAULTS, "path": RUN, "detection": "present", "engine": "docker", **params}, check_mode, False)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    return Docker(tmp_path, monkeypatch)


def test_cdi_can_be_enabled_after_a_run_that_only_reloaded_dockerd(docker: Docker) -> None:
    assert docker.step()["changed"]
    assert (docker.reloads, docker.restarts) == (1, 0)
    assert not docker.step()["changed"]
    assert docker.step(cdi=True)["restarted"]
    assert (docker.reloads, docker.restarts) == (1, 1)


def test_dockerd_is_not_restarted_with_what_somebody_else_wrote_after_its_start(docker: Docker) -> None:
    docker.step()
    docker.edited({**docker.loaded, "storage-driver": "nonsense"})
    with pytest.raises(Refused, match="has never run with it as it is now"):
        docker.step(cdi=True)
    # Nor is it after a reload, which takes over a part of the file alone.
    docker.step(handler="other")
    with pytest.raises(Refused, match="has never run with it as it is now"):
        docker.step(handler="other", cdi=True)


def test_a_right_file_that_nobody_told_dockerd_of_is_reloaded(docker: Docker) -> None:
    docker.edited({"runtimes": {"nvidia": {"path": RUN, "args": []}}})
    assert docker.step(check_mode=True)["actions"] == ["reload docker.service"]
    assert docker.step()["changed"]
    assert docker.reloads == 1
    assert not docker.step()["changed"]


def test_check_mode_takes_a_program_as_there_that_the_play_installs_first(docker: Docker) -> None:
    assert docker.step(check_mode=True, path="/usr/bin/nowhere", path_is_installed_first=True)["changed"]
    for check_mode, installed_first in ((True, False), (False, True)):
        with pytest.raises(Refused, match="/usr/bin/nowhere is missing or cannot be executed"):
            docker.step(check_mode=check_mode, path="/usr/bin/nowhere", path_is_installed_first=installed_first)


@pytest.mark.parametrize("given", [("--config-file", "/etc/docker/daemon.json"), ("--config-file=/etc/docker/daemon.json",)])
def test_dockerd_tries_the_new_file_with_its_other_flags(docker: Docker, given: tuple[str, ...]) -> None:
    docker.argv = ("/usr/bin/dockerd", "-H", "fd://", *given, "--debug")
    docker.step()
    tried = docker.tried[-1]
    assert tried[:5] == ["dockerd", "-H", "fd://", "--debug", "--config-file"]
    assert tried[6:] == ["--validate"]


def test_crio_tries_the_new_files_also_where_it_has_no_crio_conf(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_ins, seen = "/etc/crio/crio.conf.d", {}
    files: dict[str, bytes | None] = {"/etc/crio/crio.conf": None, f"{drop_ins}/10-crio.conf": (GOLDEN / "crio" / "crun.conf").read_bytes()}
    runtime = Runtime("crio", "", "crio.service", Process(1, ("/usr/bin/crio",), "crio.service"), "", "/etc/crio/crio.conf", drop_ins, files)

    def crio(argv: list[str]) -> str:
        # As CRI-O does: a file that is named must be there.
        seen["root"] = Path(argv[argv.index("--config") + 1]).read_bytes()
        seen["drop-ins"] = sorted(os.listdir(argv[argv.index("--config-dir") + 1]))
        return ""

    monkeypatch.setattr(_runtime_apply, "_program", lambda _runtime: "crio")
    monkeypatch.setattr(_runtime_apply, "_output", crio)
    handler = Handler("nvidia", RUN)
    _runtime_apply._try(runtime, plan(runtime, handler, True), handler, True)
    assert seen == {"root": b"", "drop-ins": ["10-crio.conf", "99-slipway-gpu-runtime.conf"]}
