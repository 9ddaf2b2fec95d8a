# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a host's kernel settings and files, and carries out a plan for them. No process is spawned. `root` is "/" except in tests."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _sysctl_text
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed
from ansible_collections.slipway.mlops.plugins.module_utils._sysctl_plan import Machine, Plan, Setting, State, Wanted

# Visible only in the network namespace of the machine itself (net/core/sysctl_net_core.c registers it for init_net alone).
_MACHINE_ONLY = "net.core.netdev_max_backlog"


def machine(root: str = "/") -> Machine:
    """Memory, page size, fastest link, and whether this is a container."""
    return Machine(
        memory_bytes=_memory_bytes(_files.text(root, "proc/meminfo")),
        page_bytes=os.sysconf("SC_PAGE_SIZE"),
        link_bits_per_second=_fastest_link(root),
        container=container(root),
        network_is_own=not os.path.exists(_key(root, _MACHINE_ONLY)),
    )


def container(root: str = "/") -> str:
    """What kind of container this is, "" where it is none. systemd and podman leave these marks for exactly this question."""
    name = _files.text(root, "run/systemd/container").strip()
    if name:
        return name
    for mark, kind in (("run/.containerenv", "podman"), (".dockerenv", "docker")):
        if os.path.exists(os.path.join(root, mark)):
            return kind
    return ""


def state(wanted: Sequence[Wanted], file: str, root: str = "/") -> State:
    """The kernel's values of the wanted names, and every assignment of every sysctl file in the order of the boot."""
    live: dict[str, str | None] = {}
    read_only = set()
    for item in wanted:
        if not _sysctl_text.NAME.fullmatch(item.name) or ".." in item.name:
            continue
        path = _key(root, item.name)
        try:
            with open(path, encoding="ascii", errors="replace") as key:
                live[item.name] = key.read()
        except PermissionError:  # write-only keys (net.ipv4.route.flush) are triggers, not settings
            live[item.name] = None
        except OSError:
            live[item.name] = None
        if live[item.name] is not None and not os.access(path, os.W_OK):
            read_only.add(item.name)
    content = _files.read(_files.under(root, file))
    return State(live, frozenset(read_only), _assignments(file, content, root), content, _files.read(_files.under(root, _sysctl_text.modules_file(file))))


def apply(plan: Plan, file: str, state: State, remove: Sequence[str] = (), root: str = "/") -> list[str]:
    """Set the kernel, prove it, then write our files and put away the removed ones. Returns where the copies of these are.

    Whatever fails, what was set before is put back and the file stays as it is.
    """
    done: list[Setting] = []
    try:
        for setting in plan.live_changes:
            done.append(setting)
            _write_key(root, setting.name, setting.after)
            now = _sysctl_text.plain(_files.text(root, os.path.join("proc/sys", _sysctl_text.path(setting.name))))
            if now != setting.after:
                raise Failed(f"{setting.name}: the kernel took {setting.after!r} and now says {now!r}")
        # The modules first: should the second file fail, a module too many does no harm, and the next run goes on.
        _files.replace(_files.under(root, _sysctl_text.modules_file(file)), plan.modules, state.modules)
        _files.replace(_files.under(root, file), plan.content, state.content)
    except (OSError, Failed) as error:
        raise Failed(_explained(error, done) + _put_back(root, done)) from error
    return [_put_away(_files.under(root, name)) for name in remove if os.path.exists(_files.under(root, name))]


def _put_away(path: str) -> str:
    copy = _files.back_up(path)
    _files.remove(path)
    return copy


def _explained(error: Exception, done: Sequence[Setting]) -> str:
    if isinstance(error, OSError) and error.filename and str(error.filename).find("proc/sys") >= 0 and done:
        last = done[-1]
        return f"{last.name}: the kernel does not take {last.after!r}: {error.strerror} (it has {last.before!r})"
    if isinstance(error, OSError):
        return "{}: {}".format(error.filename or "file", error.strerror)
    return str(error)


def _put_back(root: str, done: Sequence[Setting]) -> str:
    stuck = []
    for setting in reversed(done):
        try:
            if _sysctl_text.plain(_files.text(root, os.path.join("proc/sys", _sysctl_text.path(setting.name)))) != setting.before:
                _write_key(root, setting.name, setting.before)
        except OSError as error:
            stuck.append(f"{setting.name} (was {setting.before}): {error.strerror}")
    if stuck:
        return ". The file was not changed. Not put back: " + "; ".join(stuck)
    return ". The file was not changed, and every value is what it was."


def _write_key(root: str, name: str, value: str) -> None:
    path = _key(root, name)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(handle, (value + "\n").encode())
        finally:
            os.close(handle)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _assignments(ours: str, content: bytes | None, root: str) -> list[_sysctl_text.Assignment]:
    files = {_files.unrooted(root, path) for folder in _sysctl_text.FOLDERS for path in glob.glob(_files.under(root, folder) + "/*.conf")}
    found = []
    for file in _sysctl_text.boot_order(files | {ours}):
        # A marker keeps the place of our file in the order where it has no line yet.
        lines = _sysctl_text.parse(file, (content if file == ours else _files.read(_files.under(root, file))) or b"")
        found += lines or ([_sysctl_text.Assignment(ours, 0, "", "")] if file == ours else [])
    return found + _firewall(root)


def _firewall(root: str) -> list[_sysctl_text.Assignment]:
    """ufw sets its own file when it starts, after systemd-sysctl."""
    if "ENABLED=yes" not in _files.text(root, "etc/ufw/ufw.conf").split():
        return []
    return _sysctl_text.parse("/etc/ufw/sysctl.conf", _files.read(_files.under(root, "/etc/ufw/sysctl.conf")) or b"")


def _fastest_link(root: str) -> int:
    """Bits per second of the fastest network card that has a carrier, 0 where none tells."""
    speeds = [0]
    for path in glob.glob(os.path.join(root, "sys/class/net/*/device")):
        try:
            with open(os.path.join(os.path.dirname(path), "speed"), encoding="ascii") as file:
                speeds.append(int(file.read()) * 1_000_000)
        except (OSError, ValueError):  # no carrier, or a virtual card
            continue
    return max(speeds)


def _memory_bytes(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _key(root: str, name: str) -> str:
    return os.path.join(root, "proc/sys", _sysctl_text.path(name))
