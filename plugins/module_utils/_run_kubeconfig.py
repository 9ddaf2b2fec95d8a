# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kubeconfig: reads both files, refuses or merges, writes one, 0600 and whole."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any

try:
    import yaml
except ImportError:  # a host; JSON is YAML, too
    yaml = None  # type: ignore[assignment]

from . import _files, _yaml
from ._kubeconfig import SECTIONS, untrusted
from ._kubeconfig_merge import Config, Merged, absolute, check, empty, files, merge, programs, remove, select, view
from ._model import Refused

LOCK_PATIENCE = 10.0  # seconds; kubectl holds the lock for milliseconds


def run(params: Mapping[str, Any], check_mode: bool, want_diff: bool) -> dict[str, Any]:
    path = os.path.abspath(params["path"])
    source = _source(params) if params["state"] == "present" else None
    with _locked(path, check_mode):
        before = _files.read(path)
        target = _parsed(_text(before, path), path) if before else empty()
        problems = check(target, path)
        if problems:
            raise Refused(problems)
        done = merge(target, source, params["name"], os.path.dirname(path), params["current_context"]) if source is not None else remove(target, params["name"])
        if done.problems:
            raise Refused(done.problems)
        loose = before is not None and stat.S_IMODE(os.stat(path).st_mode) != 0o600
        changed = done.config != target or (loose and source is not None)
        backup = ""
        if changed and not check_mode:
            backup = _write(path, before, done, params["backup"])
    return _result(path, target, done, changed, backup, want_diff)


def _source(params: Mapping[str, Any]) -> Config:
    """The kubeconfig to merge, as asked for, with absolute paths; Refused with all that is wrong with it."""
    path = params["source"]
    if path:
        content = _files.read(path)
        if content is None:
            raise Refused([f"{path}: there is no such file."])
        config, what, folder = _parsed(_text(content, path), path), path, os.path.dirname(os.path.abspath(path))
    else:
        given = params["content"]
        config, what, folder = (dict(given) if isinstance(given, Mapping) else _parsed(str(given), "content")), "content", None
    problems = check(config, what)
    if problems:
        raise Refused(problems)
    chosen, problems = select(dict(config), params["contexts"])
    chosen, relative = absolute(chosen, folder)
    problems += relative
    problems += [f'{where} "{file}" is not there.' for where, file in files(chosen) if os.path.isabs(file) and not os.path.exists(file)]
    problems += _trust(programs(chosen), path, params["allow_exec"])
    if problems:
        raise Refused([f"{what}: {problem}" for problem in problems])
    return chosen


def _trust(found: list[str], path: str | None, allowed: bool) -> list[str]:
    """A kubeconfig can name programs that every client then runs."""
    if not found:
        return []
    if not allowed:
        return [f"{', '.join(found)} runs a program for its credentials. If you trust where this comes from, say allow_exec: true."]
    doubt = untrusted(path) if path else ""
    return [f"{', '.join(found)} runs a program, and the file {doubt}."] if doubt else []


def _text(content: bytes, what: str) -> str:
    """A byte that was replaced would be written back as another one."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refused([f"{what}: byte {error.start + 1} is not UTF-8."]) from None


def _parsed(text: str, what: str) -> Config:
    try:
        loaded: Config = _yaml.load(text)
    except _yaml.YamlError as error:
        # the message of a parser may repeat the text, so only its beginning is told
        raise Refused([f"{what}: is not YAML: {str(error).partition(':')[0]}."]) from None
    return loaded if loaded is not None else empty()


@contextlib.contextmanager
def _locked(path: str, check_mode: bool) -> Iterator[None]:
    """kubectl's own lock, `<path>.lock`, so that neither loses what the other writes."""
    if check_mode:
        yield
        return
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    lock, end = path + ".lock", time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > end:
                raise Refused([f"{lock} is there: another program writes {path}, or was killed while it did. Remove it if none does."]) from None
            time.sleep(0.1)
    try:
        yield
    finally:
        _files.remove(lock)


def _write(path: str, before: bytes | None, done: Merged, asked: bool) -> str:
    """Write it; the name of the copy of the old one, if there is one. Comments would be lost without one."""
    backup = ""
    commented = any(line.lstrip().startswith(b"#") for line in (before or b"").splitlines())
    if before is not None and (asked or commented):
        backup = _files.back_up(path)
        os.chmod(backup, 0o600)
        if commented and not asked:
            done.warnings.append(f"{path} had comments, which a merged file cannot keep; {backup} has them.")
    _files.write_atomic(path, _dump(done.config), mode=0o600)
    return backup


def _dump(config: Config) -> bytes:
    if yaml is None:
        return (json.dumps(config, indent=2) + "\n").encode()
    return str(yaml.safe_dump(config, sort_keys=False, default_flow_style=False, allow_unicode=True)).encode()


def _result(path: str, target: Config, done: Merged, changed: bool, backup: str, want_diff: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "changed": changed,
        "path": path,
        "actions": _actions(path, target, done) if changed else [],
        "current_context": done.config.get("current-context") or "",
        "found_warnings": done.warnings,
        **{section: done.names.get(section, {}) for section in ("contexts", "clusters", "users")},
    }
    if backup:
        result["backup_file"] = backup
    if want_diff and changed:
        result["diff"] = {"before_header": path, "after_header": path, "before": view(target), "after": view(done.config, target)}
    return result


def _actions(path: str, before: Config, done: Merged) -> list[str]:
    """A sentence for each entry that comes, goes or becomes another one."""
    told = []
    for section, part in SECTIONS.items():
        old = {entry["name"]: entry for entry in before.get(section) or []}
        new = {entry["name"]: entry for entry in done.config.get(section) or []}
        told += [f"{path}: {part} {name} comes" for name in new if name not in old]
        told += [f"{path}: {part} {name} goes" for name in old if name not in new]
        told += [f"{path}: {part} {name} changes" for name in new if name in old and new[name] != old[name]]
    if before.get("current-context") != done.config.get("current-context"):
        told.append(f"{path}: current context {before.get('current-context') or '(none)'} -> {done.config.get('current-context') or '(none)'}")
    return told or [f"{path}: mode 0600"]
