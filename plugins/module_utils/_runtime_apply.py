# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries out a plan for the container engine of this host: tried by the engine's own parser, then files, restart, proof, and the way back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from . import _containerd_plan, _cri, _docker_info, _files
from . import _host_change as host_change
from . import _toml as toml
from ._config_text import Unreadable, decode
from ._containerd_plan import Handler
from ._host_input import Failed, Refused
from ._runtime_plan import Plan
from ._runtime_probe import Runtime

# Digests of files that a reload gave to the engine: after it they are newer than the engine, and yet known to it.
_TAKEN = os.path.join(host_change.JOURNALS, "container_runtime.taken")
# A restart of the unit leaves the containers' shims alone with these.
_KILL_MODES = ("process", "none")


def apply(runtime: Runtime, plan: Plan, handler: Handler, present: bool, journal: host_change.Journal, seconds: float) -> None:
    """Try, write, restart or reload, and see the engine well; host_change's Failed, with the old files back, where it is not."""
    _try(runtime, plan, handler, present)
    if plan.reload and not never_read(runtime):
        taken = {edit.path: [host_change.digest(content) for content in (edit.before, edit.after)] for edit in plan.edits}
        _files.write_atomic(_TAKEN, json.dumps({**_taken(), **taken}).encode(), mode=0o600)
    began = time.time()
    about = {
        "unit": runtime.unit,
        "engine": runtime.engine,
        "socket": runtime.socket,
        "reload": str(plan.reload),
        "node": runtime.node,
        "machine_id": runtime.machine_id,
        "handler": handler.name,
    }
    host_change.change(
        journal,
        plan.edits,
        about,
        restart=lambda: _restart(runtime.unit, runtime.engine, plan.reload),
        prove=lambda: host_change.until(lambda: unwell(runtime.engine, runtime.socket, handler.name if present else ""), seconds),
        log=lambda: host_change.unit_log(runtime.unit, began),
    )


def never_read(runtime: Runtime) -> list[str]:
    """Files that were changed after the engine started and that no reload of ours has given to it."""
    return [path for path in runtime.unread if host_change.digest(runtime.files[path]) not in _taken().get(path, [])]


def _taken() -> dict[str, list[str]]:
    return dict(json.loads(_files.read(_TAKEN) or b"{}"))


def put_back(journal: host_change.Journal, seconds: float) -> str:
    """Take an unconfirmed change back; a sentence on how that went."""
    about = journal.about()
    if not about:
        return "Nothing was left to put back."
    return host_change.take_back(
        journal,
        restart=lambda: _restart(about["unit"], about["engine"], about["reload"] == "True"),
        prove=lambda: host_change.until(lambda: unwell(about["engine"], about["socket"], ""), seconds),
    )


def unwell(engine: str, path: str, handler: str) -> str:
    """Why the engine is not well, or lacks the handler (where one is named and the engine tells); "" where all is well."""
    try:
        if engine == "docker":
            found = set(_docker_info.info().get("Runtimes") or {})
        else:
            status = _cri.status(path)
            if status.problem:
                return f"{status.name} {status.version} is not ready: {status.problem}"
            found = set(status.handlers)
    except (_cri.NoAnswer, _docker_info.NoAnswer) as error:
        return f"{engine} gives no answer: {error}"
    if handler and found and handler not in found:
        return f"{engine} runs without the runtime {handler}; it knows {', '.join(sorted(found))}"
    return ""


def disturbs(runtime: Runtime, plan: Plan) -> str:
    """Which containers a restart would end, as a reason to refuse; "" where it ends none."""
    if plan.reload:
        return ""
    if runtime.engine == "containerd":
        mode = _property(runtime.unit, "KillMode")
        return "" if mode in _KILL_MODES else f"{runtime.unit} has KillMode={mode or 'unknown'}, so a restart would end all containers"
    if runtime.engine == "docker":
        if runtime.docker is None:
            return "dockerd gives no answer, so nobody knows which containers its restart would end"
        running = 0 if runtime.docker.get("LiveRestoreEnabled") else int(runtime.docker.get("ContainersRunning") or 0)
        return f"dockerd takes features.cdi over only by a restart, which without live-restore would end its {running} containers" if running else ""
    return ""


def _try(runtime: Runtime, plan: Plan, handler: Handler, present: bool) -> None:
    """Let the engine read the new configuration before anything is replaced; Refused with its own words."""
    if not plan.edits:
        return
    if runtime.engine == "containerd" and runtime.flavor == "":
        _try_containerd(runtime, plan, handler, present)
    if runtime.engine == "docker":
        _try_docker(runtime, plan)
    if runtime.engine == "crio":
        _try_crio(runtime, plan)


def _try_containerd(runtime: Runtime, plan: Plan, handler: Handler, present: bool) -> None:
    after = {**runtime.files, **{edit.path: edit.after for edit in plan.edits}}
    program = _program(runtime)
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        copies: dict[str, str] = {}
        for path, content in after.items():
            if content is not None and path != runtime.config:
                copies[path] = os.path.join(folder, f"{len(copies):02}-{os.path.basename(path)}")
                _put(copies[path], content)
        imported = {path: copies[path] for path in sorted(copies) if _imports(after[runtime.config] or b"", runtime.config, path)}
        root = os.path.join(folder, "config.toml")
        _put(root, _containerd_plan.rooted((after[runtime.config] or b"version = 2\n").decode(), imported).encode())
        new = _dump([program, "--config", root, "config", "dump"])
    old = _dump([program, "--config", runtime.config, "config", "dump"]) if runtime.files.get(runtime.config) is not None else {}
    problems = _containerd_plan.differences(old, new, handler, _containerd_plan.own_handlers(runtime.files)) if present else []
    if problems:
        raise Refused([f"`containerd config dump` of the new configuration: {problem}. Nothing was written." for problem in problems])


def _imports(root: bytes, config: str, path: str) -> bool:
    patterns = toml.parse(decode(root)).data.get("imports") or []
    return any(_containerd_plan.imports(config, str(pattern), path) for pattern in patterns)


def _dump(argv: Sequence[str]) -> dict[str, Any]:
    text = _output(argv)
    try:
        return toml.parse(text).data
    except Unreadable as error:
        raise Failed(f"{' '.join(argv)}: {error}") from None


def _try_docker(runtime: Runtime, plan: Plan) -> None:
    """`dockerd --validate` is there from Docker 23 on; it also sees flags of the unit that clash with the file."""
    program = _program(runtime)
    if "--validate" not in _output([program, "--help"]):
        return
    for edit in plan.edits:
        with tempfile.NamedTemporaryFile(prefix="slipway-", suffix=".json") as file:
            file.write(edit.after or b"{}")
            file.flush()
            _output([program, *_other_flags(runtime.process.argv[1:]), "--config-file", file.name, "--validate"])


def _other_flags(words: Sequence[str]) -> list[str]:
    """dockerd's flags without --config-file and its value, which may be a word of its own."""
    return [word for at, word in enumerate(words) if word.split("=")[0] != "--config-file" and (at == 0 or words[at - 1] != "--config-file")]


def _try_crio(runtime: Runtime, plan: Plan) -> None:
    after = {**runtime.files, **{edit.path: edit.after for edit in plan.edits}}
    with tempfile.TemporaryDirectory(prefix="slipway-") as folder:
        # An absent crio.conf is as good as an empty one, but CRI-O refuses to be pointed at it.
        root, drop_ins = os.path.join(folder, "crio.conf"), os.path.join(folder, "crio.conf.d")
        _put(root, after.get(runtime.config) or b"")
        os.mkdir(drop_ins)
        for path, content in after.items():
            if content is not None and path != runtime.config:
                _put(os.path.join(drop_ins, os.path.basename(path)), content)
        _output([_program(runtime), "--config", root, "--config-dir", drop_ins, "config"])


def _restart(unit: str, engine: str, reload: bool) -> None:
    if not reload:
        host_change.restart_unit(unit)
        return
    pid = int(_property(unit, "MainPID") or 0)
    if not pid:
        raise Failed(f"{unit} does not run")
    os.kill(pid, signal.SIGHUP)  # documented to reload dockerd; containerd would end


def _program(runtime: Runtime) -> str:
    """The very program that runs; its file may have been replaced by an upgrade since, then the one of that name."""
    path = os.readlink(f"/proc/{runtime.process.pid}/exe")
    found = path if os.path.exists(path) else shutil.which(os.path.basename(path.replace(" (deleted)", "")))
    if not found:
        raise Failed(f"the program {path} of {runtime.unit} is gone")
    return found


def _property(unit: str, name: str) -> str:
    return _output(["systemctl", "show", "--property", name, "--value", unit]).strip()


def _output(argv: Sequence[str]) -> str:
    done = subprocess.run(list(argv), capture_output=True, check=False, timeout=60)  # pylint: disable=ansible-bad-function
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-3:]
        raise Refused([f"`{' '.join(argv)}` ended with {done.returncode}: {' '.join(words)}. Nothing was written."])
    return done.stdout.decode("utf-8", "replace")


def _put(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
