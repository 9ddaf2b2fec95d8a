# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What to write into Docker's daemon.json so that it has a runtime. Pure; members that are not ours keep their bytes.

dockerd takes `runtimes` and `default-runtime` over on SIGHUP, without a restart and so without an end of any container
(docs.docker.com/reference/cli/dockerd, "Configuration reload behavior").
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._containerd_plan import Handler
from ._host_change import Edit
from ._host_input import Refused

# A key that stands in daemon.json and on the command line keeps dockerd from starting.
_FLAGS = {"runtimes": "--add-runtime", "default-runtime": "--default-runtime"}


@dataclass(frozen=True)
class _Member:
    value: Any
    start: int  # of the key
    value_start: int
    end: int


def plan(path: str, content: bytes | None, argv: Sequence[str], handler: Handler, present: bool = True) -> tuple[Edit, ...]:
    """The edit of daemon.json; Refused, with the place, where it is no JSON object or a flag of dockerd says the same."""
    text = _decoded(path, content)
    now = _members(path, text, "")
    for key in ("runtimes", "features"):
        if key in now and not isinstance(now[key].value, dict):
            raise Refused([f"{path}: {key} is no object. The file was left alone."])
    runtimes = now["runtimes"].value if "runtimes" in now else {}
    if not isinstance(runtimes.get(handler.name, {}), dict):
        raise Refused([f"{path}: runtimes.{handler.name} is no object. The file was left alone."])
    entry = {"path": handler.path, "args": (runtimes.get(handler.name) or {}).get("args") or []}
    if present:
        text = _with(path, text, ("runtimes", handler.name), entry)
        if handler.cdi is not None:
            text = _with(path, text, ("features", "cdi"), handler.cdi)
    elif handler.name in runtimes:
        text = _without(path, text, ("runtimes", handler.name) if len(runtimes) > 1 else ("runtimes",))
    default = now["default-runtime"].value if "default-runtime" in now else None
    if present and handler.is_default:
        text = _with(path, text, ("default-runtime",), handler.name)
    elif default == handler.name:  # dockerd keeps an old default for ever unless it is told another
        text = _with(path, text, ("default-runtime",), "runc")
    changed = [key for key in _FLAGS if _value(path, text, key) != (now[key].value if key in now else None)]
    clash = [_FLAGS[key] for key in changed if any(word.split("=")[0] == _FLAGS[key] for word in argv)]
    if clash:
        raise Refused([f"dockerd is started with {' and '.join(clash)}; the same in {path} would keep it from starting. Take the flag out of its unit first."])
    after = text.encode()
    return () if after == (content or b"{}") else (Edit(path, content, after),)


def owed(info: Mapping[str, Any], handler: Handler) -> bool:
    """Whether dockerd, by its GET /info, does not run with what the file says: nobody has told it to read the file.

    A runtime that left the file is nobody's debt: where it was the only one, dockerd keeps it until it is started again.
    """
    known = info.get("Runtimes") or {}
    runs_other = (known.get(handler.name) or {}).get("path", handler.path) != handler.path
    return handler.name not in known or runs_other or (handler.is_default and info.get("DefaultRuntime", handler.name) != handler.name)


def needs_restart(edits: Sequence[Edit]) -> bool:
    """Whether SIGHUP is not enough: dockerd makes its CDI driver only when it starts (RegisterCDIDriver in moby's cmd/dockerd)."""
    return any(_cdi(edit.path, edit.before) != _cdi(edit.path, edit.after) for edit in edits)


def _cdi(path: str, content: bytes | None) -> Any:
    return (json.loads(_decoded(path, content)).get("features") or {}).get("cdi")


def _decoded(path: str, content: bytes | None) -> str:
    try:
        text = (content or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused([f"{path}: byte {error.start}: not UTF-8. The file was left alone."]) from None
    return text if text.strip(" \t\r\n") else "{}"  # dockerd refuses an empty file; we take it as what was meant


def _value(path: str, text: str, key: str) -> Any:
    found = _members(path, text, "")
    return found[key].value if key in found else None


def _with(path: str, text: str, keys: tuple[str, ...], value: Any) -> str:
    """The text with one member set: its value replaced, or a member added after the last one, in the object's own layout."""
    members = _members(path, text, *keys[:-1]) if len(keys) > 1 else _members(path, text, "")
    if members is None:
        return _with(path, text, keys[:-1], {keys[-1]: value})
    key = keys[-1]
    if key in members:
        member = members[key]
        return text if member.value == value else text[: member.value_start] + _shown(value, text, member.start) + text[member.end :]
    if members:
        last = max(members.values(), key=lambda member: member.end)
        lead = text[_before(text, last.start) : last.start]
        shown = _shown(value, text, last.start)
        return text[: last.end] + "," + lead + json.dumps(key) + ": " + shown + text[last.end :]
    start, end = _object(path, text, keys[:-1])
    indent = "\n" + " " * (4 * len(keys))
    inner = json.dumps(value, indent=4).replace("\n", indent)
    return text[: start + 1] + indent + json.dumps(key) + ": " + inner + "\n" + " " * (4 * (len(keys) - 1)) + text[end - 1 :]


def _without(path: str, text: str, keys: tuple[str, ...]) -> str:
    members = _members(path, text, *keys[:-1]) if len(keys) > 1 else _members(path, text, "")
    member = (members or {})[keys[-1]]
    others = sorted(other.end for other in (members or {}).values() if other.end <= member.start)
    if others:  # with the comma before it
        return text[: others[-1]] + text[member.end :]
    rest = text[member.end :]
    cut = rest.lstrip()
    if cut.startswith(","):
        return text[: member.start] + cut[1:].lstrip()
    return text[: _before(text, member.start)] + rest


def _shown(value: Any, text: str, at: int) -> str:
    """A value laid out as its neighbours are: over lines with their indent, or on one."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    if "\n" not in text[:at] or line.strip():
        return json.dumps(value)
    step = line if line.startswith("\t") else " " * min(len(line), 4)
    return json.dumps(value, indent="\t" if line.startswith("\t") else len(step)).replace("\n", "\n" + line)


def _before(text: str, at: int) -> int:
    """Where the white space before an offset begins."""
    return len(text[:at].rstrip())


def _object(path: str, text: str, keys: tuple[str, ...]) -> tuple[int, int]:
    """Where the object under the keys begins and ends."""
    if not keys:
        return len(text) - len(text.lstrip()), len(text.rstrip())
    member = _scan(path, text, *_object(path, text, keys[:-1]))[keys[-1]]
    return member.value_start, member.end


def _members(path: str, text: str, *keys: str) -> Any:
    """The members of the object under `keys` ("" for the whole), None where there is no such object."""
    where = tuple(key for key in keys if key)
    if where and where[-1] not in _members(path, text, *where[:-1]):
        return None
    return _scan(path, text, *_object(path, text, where))


def _scan(path: str, text: str, start: int, end: int) -> dict[str, _Member]:
    decoder = json.JSONDecoder()
    members: dict[str, _Member] = {}
    try:
        json.loads(text)
        if text[start] != "{":
            raise json.JSONDecodeError("expected an object", text, start)
        at = start + 1
        while True:
            at += len(text[at:]) - len(text[at:].lstrip())
            if text[at] == "}":
                return members
            if text[at] == ",":
                at += 1
                continue
            key, colon = decoder.raw_decode(text, at)
            value_start = text.index(":", colon) + 1
            value_start += len(text[value_start:]) - len(text[value_start:].lstrip())
            value, after = decoder.raw_decode(text, value_start)
            if key in members:
                raise json.JSONDecodeError(f"the key {key} is there twice", text, at)
            members[key] = _Member(value, at, value_start, after)
            at = after
    except json.JSONDecodeError as error:
        raise Refused([f"{path}: line {error.lineno}, column {error.colno}: {error.msg}. The file was left alone."]) from None
