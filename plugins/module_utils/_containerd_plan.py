# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What to write so that containerd has a runtime handler. Pure.

containerd 1.x merges files plugin by plugin: a drop-in with one table of the CRI plugin replaces all of its others. So the tables go as a
marked block into config.toml itself. containerd 2.x merges deeply and gets a drop-in, of the version that the root file has: a higher one ends
the daemon, a lower one names another plugin. (github.com/containerd/containerd, services/server/config and cmd/containerd/server/config.)
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import _toml as toml
from . import _toml_edit as toml_edit
from ._config_text import Unreadable, decode
from ._host_change import Edit
from ._host_input import Refused
from ._toml import Path

MARK = "slipway gpu_runtime"
DROP_IN = "99-slipway-gpu-runtime.toml"
_CRI = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime", 4: "io.containerd.cri.v1.runtime"}
_CRI_NAMES = {"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"}
_TOOLKIT_OF_OPERATOR = "/usr/local/nvidia/toolkit"
# What a handler takes over from runc: how it lays out sandboxes, not which program it is.
_INHERITED = ("base_runtime_spec", "snapshotter", "sandboxer", "privileged_without_host_devices", "pod_annotations", "container_annotations")


@dataclass(frozen=True)
class Handler:
    """What is wanted. `is_default`: pods without a RuntimeClass get it, too. `cdi`: None leaves that as it is."""

    name: str
    path: str
    is_default: bool = False
    cdi: bool | None = None


@dataclass(frozen=True)
class Containerd:
    """What the host has. `files`: the root file and everything in its drop-in folders, None for an absent file."""

    version: str
    config: str
    drop_ins: str
    files: Mapping[str, bytes | None]
    is_template: bool = False  # the distribution writes the real file from this one: no drop-ins


@dataclass(frozen=True)
class Plan:
    edits: tuple[Edit, ...]
    options: dict[str, Any]  # of the handler, as they will be in effect
    cri: str  # plugin id that holds it
    notes: tuple[str, ...] = ()


def major(version: str) -> int:
    found = re.match(r"[0-9]+", version)
    return int(found.group()) if found else 0


def plan(containerd: Containerd, handler: Handler, present: bool = True) -> Plan:
    """The edits; Refused, with file and line, where a file cannot be read or says something that we must not decide."""
    root = _root(containerd)
    cri = _CRI[root.data["version"]]
    imported = _imported(containerd, root)
    in_root = containerd.is_template or major(containerd.version) < 2
    ours = containerd.config if in_root else f"{containerd.drop_ins}/{DROP_IN}"
    try:
        if present:
            _refuse_foreign(handler, cri, {containerd.config: root, **imported}, ours)
        table = _table(handler, cri, [root, *imported.values()], deep=not in_root)
        if in_root:
            edits = _edit(containerd, ours, _in_root(root.text, cri, handler, table, present, containerd))
        else:
            edits = _as_drop_in(containerd, root, imported, cri, handler, table, present, ours)
    except Unreadable as error:
        raise Refused([f"{containerd.config}: {error}. The file was left alone."]) from None
    return Plan(edits, table["options"], cri, _notes(containerd, root))


def differences(before: Mapping[str, Any], after: Mapping[str, Any], handler: Handler, former: Collection[str] = ()) -> list[str]:
    """What two outputs of `containerd config dump` say against a change, as containerd itself understands it: everything but the handler stays.

    `former`: handlers of ours, which may go, as where the handler gets another name.
    """
    found = []
    old, new = (_without_handlers(dump, {handler.name, *former}) for dump in (before, after))
    for name in sorted(set(old) | set(new)):
        if old.get(name) != new.get(name) and before:
            found.append(f"{name} would change from {old.get(name)!r} to {new.get(name)!r}")
    tables = _runtimes(after)
    options = (tables.get(handler.name) or {}).get("options") or {}
    binaries = [value for key, value in options.items() if key.lower() == "binaryname" and value]
    if binaries != [handler.path]:
        found.append(f"the runtime {handler.name} would run {binaries or 'nothing'}, not {handler.path}")
    if "runc" not in tables and (not before or "runc" in _runtimes(before)):
        found.append("the runtime runc would be gone")
    return found


def _runtimes(dump: Mapping[str, Any]) -> dict[str, Any]:
    # containerd 2 still has a plugin of the old name, without runtimes.
    parts = [(dump.get("plugins") or {}).get(name) or {} for name in _CRI.values()]
    tables: list[dict[str, Any]] = [(part.get("containerd") or {}).get("runtimes") or {} for part in parts]
    return next(filter(None, tables), {})


def own_handlers(files: Mapping[str, bytes | None]) -> set[str]:
    """Names of the handlers that stand in our block, or in our drop-in."""
    names: set[str] = set()
    for path, content in files.items():
        text = decode(content or b"")
        begin, end = toml_edit.block(text, MARK) or ((0, len(text)) if path.endswith("/" + DROP_IN) else (0, 0))
        names.update(_runtimes(toml.parse(text[begin:end]).data))
    return names - {"runc"}


def _without_handlers(dump: Mapping[str, Any], names: Collection[str]) -> dict[str, str]:
    """The dump as dotted path -> value, without what a handler may change, and without what is empty: a default that was written out says no more."""
    flat: dict[str, str] = {}

    def walk(value: Any, path: Path) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif value and not (path[:1] == ("imports",) or path[-1:] in (("default_runtime_name",), ("enable_cdi",)) or _is_of(names, path)):
            flat[".".join(path)] = repr(value)

    walk(dump, ())
    return flat


def _is_of(names: Collection[str], path: Path) -> bool:
    return any(table == "runtimes" and name in names for table, name in zip(path, path[1:]))


def rooted(text: str, files: Mapping[str, str]) -> str:
    """The root file's text with its imports replaced by these files: a copy that can be tried beside the real one."""
    document = toml.parse(text)
    entry = document.entries.get(("imports",))
    if entry is None:
        return text
    return toml_edit.with_value(text, entry, list(files.values()))


def _root(containerd: Containerd) -> toml.Document:
    content = containerd.files.get(containerd.config)
    root = _document(containerd.config, content if content is not None else f"version = {2 if major(containerd.version) < 2 else 3}\n".encode())
    version = root.data.get("version", 1)
    highest = 2 if major(containerd.version) < 2 else 4
    problems = []
    if version not in _CRI or version > highest:
        at = root.entries.get(("version",))
        found = f"line {root.line(at.start)}: version = {version}" if at else "no version line, which means version 1"
        wanted = "2" if highest == 2 else "2, 3 or 4"
        problems.append(f"{containerd.config}: {found}. containerd {containerd.version} is set up here with version {wanted}; see `containerd config migrate`.")
    off = [name for name in root.data.get("disabled_plugins") or [] if name in _CRI_NAMES]
    if off:
        place = f"{containerd.config}, line {root.line(root.entries[('disabled_plugins',)].start)}"
        problems.append(f"{place}: disabled_plugins switches off {', '.join(off)}, so no kubelet can use this containerd. Take it out first.")
    if problems:
        raise Refused(problems)
    return root


def _imported(containerd: Containerd, root: toml.Document) -> dict[str, toml.Document]:
    """The files that the root imports, in the order in which they count."""
    patterns = [_absolute(containerd.config, pattern) for pattern in root.data.get("imports") or []]
    found: dict[str, toml.Document] = {}
    for pattern in patterns:
        for path in sorted(path for path, content in containerd.files.items() if content is not None and path != containerd.config):
            if not _matches(path, pattern):
                continue
            document = _document(path, containerd.files[path] or b"")
            if document.data.get("imports"):
                raise Refused([f"{path} imports files itself; put those imports into {containerd.config}."])
            if document.data.get("version", root.data["version"]) > root.data["version"]:
                raise Refused([f"{path} has version {document.data['version']}, {containerd.config} has {root.data['version']}: containerd would not start."])
            found[path] = document
    return found


def _refuse_foreign(handler: Handler, cri: str, documents: Mapping[str, toml.Document], ours: str) -> None:
    """Somebody else's definition of the same handler: ours beside it would be a duplicate, ours in its place a theft."""
    path = ("plugins", cri, "containerd", "runtimes", handler.name)
    for file, document in documents.items():
        start, own = document.headers.get(path), toml_edit.block(document.text, MARK) or (0, 0)
        if document.get(path) is None or (file == ours and (file.endswith(DROP_IN) or (start is not None and own[0] <= start < own[1]))):
            continue
        line = f", line {document.line(start)}" if start is not None else ""
        who = "the NVIDIA GPU operator (its toolkit manages this node; leave one of the two)" if _TOOLKIT_OF_OPERATOR in document.text else "somebody else"
        raise Refused([f"{file}{line}: the runtime {handler.name} is defined there by {who}. Remove it, or give `handler` another name."])


def _table(handler: Handler, cri: str, documents: Sequence[toml.Document], deep: bool) -> dict[str, Any]:
    """The handler's table: how runc is run on this host, with another program."""
    plugin: dict[str, Any] = {}
    for document in documents:
        layer = document.get(("plugins", cri)) or {}
        plugin = _merged(plugin, layer) if deep else (layer or plugin)
    runtimes = (plugin.get("containerd") or {}).get("runtimes") or {}
    runc: dict[str, Any] | None = next((table for name, table in runtimes.items() if name == "runc"), None)
    if runc is None:
        runc = next((table for name, table in sorted(runtimes.items()) if _is_runc(table) and name != handler.name), {})
    # `containerd config default` writes out every option; what is empty there says nothing.
    given = {key: value for key, value in (runc.get("options") or {}).items() if key == "SystemdCgroup" or value}
    options = {key: value for key, value in given.items() if key.lower() != "binaryname"}
    inherited = {key: runc[key] for key in _INHERITED if key in runc}
    return {"runtime_type": "io.containerd.runc.v2", **inherited, "options": {"BinaryName": handler.path, **options}}


def _in_root(text: str, cri: str, handler: Handler, table: dict[str, Any], present: bool, containerd: Containerd) -> str:
    text = toml_edit.without_block(toml_edit.without_marked_lines(text, MARK), MARK)
    document = _parsed(containerd.config, text)
    settings: list[tuple[tuple[str, ...], str, Any]] = [(("plugins", cri, "containerd"), "default_runtime_name", _default(document, cri, handler, present))]
    if handler.cdi is not None and present:
        if containerd.version.startswith(("1.5", "1.6")):
            raise Refused([f"containerd {containerd.version} has no CDI; 1.7 is the first that has."])
        settings.append((("plugins", cri), "enable_cdi", handler.cdi))
    body = ""
    for table_path, key, value in settings:
        if value is None or document.get((*table_path, key)) == value:
            continue
        if (*table_path, key) in document.entries or table_path in document.headers:
            document = _parsed(containerd.config, toml_edit.with_key(document, table_path, key, value, MARK))
        else:
            body += toml_edit.table(table_path, {key: value})
    if present:
        runtimes = ("plugins", cri, "containerd", "runtimes")
        if not document.get(runtimes) and major(containerd.version) < 2:
            # The first runtime in the file replaces the one that is built in.
            body += toml_edit.table((*runtimes, "runc"), {"runtime_type": "io.containerd.runc.v2"})
        body += toml_edit.table((*runtimes, handler.name), table)
    text = toml_edit.with_block(document.text, MARK, body) if body else document.text
    _parsed(containerd.config, text)
    return text


def _as_drop_in(
    containerd: Containerd,
    root: toml.Document,
    imported: Mapping[str, toml.Document],
    cri: str,
    handler: Handler,
    table: dict[str, Any],
    present: bool,
    ours: str,
) -> tuple[Edit, ...]:
    if not present:
        text = root.text if set(imported) - {ours} else toml_edit.without_block(root.text, MARK + " imports")
        return (_edit(containerd, containerd.config, text) if containerd.files.get(containerd.config) is not None else ()) + _edit(containerd, ours, None)
    text = f"# Written by slipway.mlops.container_runtime; its version is that of {containerd.config}.\nversion = {root.data['version']}\n"
    if handler.cdi is not None:
        text += toml_edit.table(("plugins", cri), {"enable_cdi": handler.cdi})
    others = [document for path, document in imported.items() if path != ours]
    default = next(filter(None, (_default(document, cri, handler, present) for document in [*reversed(others), root])), None)
    if default:
        text += toml_edit.table(("plugins", cri, "containerd"), {"default_runtime_name": default})
    text += toml_edit.table(("plugins", cri, "containerd", "runtimes", handler.name), table)
    _parsed(ours, text)
    patterns = [_absolute(containerd.config, pattern) for pattern in root.data.get("imports") or []]
    main = root.text
    if not any(_matches(ours, pattern) for pattern in patterns):
        main = toml_edit.with_import(root, f"{containerd.drop_ins}/*.toml", MARK + " imports")
        _parsed(containerd.config, main)
    # The drop-in first: a root that imports a folder without it is well, too.
    return _edit(containerd, ours, text) + _edit(containerd, containerd.config, main)


def _default(document: toml.Document, cri: str, handler: Handler, present: bool) -> str | None:
    """The value that default_runtime_name must get, None where it may stay: another default than ours is not ours to change."""
    now = document.get(("plugins", cri, "containerd", "default_runtime_name"))
    if handler.is_default and present:
        return handler.name
    return "runc" if now == handler.name else None


def _notes(containerd: Containerd, root: toml.Document) -> tuple[str, ...]:
    """What a reader of the file would want to know, though it stops nothing."""
    lost = [path for path in root.entries if len(path) > 1 and path[-1] == "imports"]
    why = "is ignored; it counts before the first table"
    return tuple(
        f"{containerd.config}, line {root.line(root.entries[path].start)}: this `imports` belongs to [{'.'.join(path[:-1])}] and {why}." for path in lost
    )


def _edit(containerd: Containerd, path: str, text: str | None) -> tuple[Edit, ...]:
    before = containerd.files.get(path)
    after = None if text is None else text.encode()
    return () if before == after else (Edit(path, before, after),)


def _merged(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in layer.items():
        result[key] = _merged(result[key], value) if isinstance(value, Mapping) and isinstance(result.get(key), Mapping) else value
    return result


def _is_runc(table: Mapping[str, Any]) -> bool:
    return str(table.get("runtime_type", "")).startswith("io.containerd.runc.")


def _absolute(config: str, pattern: str) -> str:
    return pattern if pattern.startswith("/") else os.path.join(os.path.dirname(config), pattern)


def imports(config: str, pattern: str, path: str) -> bool:
    """Whether an entry of `imports` in `config` takes `path` in."""
    return _matches(path, _absolute(config, pattern))


def _matches(path: str, pattern: str) -> bool:
    """As Go's filepath.Glob: `*` does not cross a slash."""
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def _document(path: str, content: bytes) -> toml.Document:
    try:
        return toml.parse(decode(content))
    except Unreadable as error:
        raise Refused([f"{path}: {error}. The file was left alone."]) from None


def _parsed(path: str, text: str) -> toml.Document:
    try:
        return toml.parse(text)
    except Unreadable as error:
        raise Refused([f"{path}: with the runtime added it could not be read any more ({error}). The file was left alone."]) from None
