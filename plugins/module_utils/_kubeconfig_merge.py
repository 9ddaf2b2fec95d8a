# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One kubeconfig merged into another, and taken out again. Pure.

`KUBECONFIG=a:b kubectl config view --merge` lets the first file win by name: two clusters that are both called "kubernetes" become one, and
the second context then reaches the first cluster. Here an entry whose name is taken by another one is renamed. Each merged entry bears an extension (a
field that client-go keeps) with the name of the merge, so that it is found again.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ._kubeconfig import SECTIONS, misshapen

EXTENSION = "slipway.mlops/kubeconfig"
FILES = {"clusters": ("certificate-authority",), "users": ("client-certificate", "client-key", "tokenFile"), "contexts": ()}
PROGRAMS = ("exec", "auth-provider")
Config = dict[str, Any]


@dataclass
class Merged:
    """The new kubeconfig; new names by section and name in the source; what is refused; what a person should know."""

    config: Config
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def empty() -> Config:
    return {"apiVersion": "v1", "kind": "Config", "preferences": {}, "clusters": [], "contexts": [], "users": [], "current-context": ""}


def check(config: Any, what: str) -> list[str]:
    """Problems of the structure. `what` names the file in messages; no value is repeated."""
    if not isinstance(config, Mapping):
        return [f"{what}: is not a mapping, so not a kubeconfig."]
    problems = []
    if config.get("kind", "Config") != "Config" or config.get("apiVersion", "v1") != "v1":
        problems.append(f"{what}: is not of kind Config, version v1.")
    problems += misshapen(what, config)
    for section in SECTIONS:
        entries = config.get(section)
        names = [entry.get("name") for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
        twice = sorted({name for name in names if isinstance(name, str) and names.count(name) > 1})
        problems += [f"{what}: {section} has {names.count(name)} entries {name}." for name in twice]
    return problems


def absolute(config: Config, folder: str | None) -> tuple[Config, list[str]]:
    """The same with absolute paths: kubectl reads relative ones from the folder of the file they stand in. None: there is no folder."""
    result, problems = copy.deepcopy(config), []
    for section, part in SECTIONS.items():
        for entry in result.get(section) or []:
            body = entry.get(part) or {}
            for key in FILES[section]:
                path = body.get(key)
                if path and not os.path.isabs(path):
                    if folder is None:
                        problems.append(f'{section[:-1]} {entry["name"]}: {key} "{path}" is relative, and text has no folder; give the file as `source`.')
                    else:
                        body[key] = os.path.normpath(os.path.join(folder, path))
            program = (body.get("exec") or {}).get("command") if isinstance(body.get("exec"), Mapping) else None
            if program and "/" in program and not os.path.isabs(program):
                if folder is None:
                    problems.append(f'user {entry["name"]}: the program "{program}" is relative, and text has no folder; give the file as `source`.')
                else:
                    body["exec"]["command"] = os.path.normpath(os.path.join(folder, program))
    return result, problems


def programs(config: Config) -> list[str]:
    """Users whose credentials come from a program that the client runs."""
    return [f"user {entry['name']} ({kind})" for entry in config.get("users") or [] for kind in PROGRAMS if (entry.get("user") or {}).get(kind)]


def files(config: Config) -> list[tuple[str, str]]:
    """Files that entries name: (where, path)."""
    return [
        (f"{section[:-1]} {entry['name']}: {key}", (entry.get(part) or {})[key])
        for section, part in SECTIONS.items()
        for entry in config.get(section) or []
        for key in FILES[section]
        if (entry.get(part) or {}).get(key)
    ]


def select(source: Config, contexts: Sequence[str] | None) -> tuple[Config, list[str]]:
    """The named contexts (None: all) with the clusters and users that they join."""
    have = {entry["name"]: entry for entry in source.get("contexts") or []}
    wanted = list(have) if contexts is None else list(dict.fromkeys(contexts))
    problems = [f"the source has no context {name}; it has {', '.join(have) or 'none'}." for name in wanted if name not in have]
    if not have:
        problems.append("the source has no context.")
    elif not wanted:
        problems.append("`contexts` names none, which would take out what was merged before; leave it out for all, or say `state: absent`.")
    chosen = [have[name] for name in wanted if name in have]
    result = {**empty(), "contexts": chosen, "current-context": source.get("current-context") or ""}
    for section, part in (("clusters", "cluster"), ("users", "user")):
        entries = {entry["name"]: entry for entry in source.get(section) or []}
        names = list(dict.fromkeys((context.get("context") or {}).get(part) or "" for context in chosen))
        for context in chosen:
            name = (context.get("context") or {}).get(part)
            if name not in entries:
                problems.append(f'context {context["name"]}: its {part} "{name or ""}" is not in the source.')
        result[section] = [entries[name] for name in names if name in entries]
    return result, problems


def merge(target: Config, source: Config, name: str, folder: str, current: str | None = None) -> Merged:
    """`source` (with absolute paths) in `target`, whose file lies in `folder`. `current`: name of a context, as the source or the result has it."""
    done = Merged(copy.deepcopy(target))
    for section in ("clusters", "users", "contexts"):
        done.names[section] = {}
        for entry in source.get(section) or []:
            body = dict(entry.get(SECTIONS[section]) or {})
            if section == "contexts":
                body["cluster"] = done.names["clusters"].get(body.get("cluster", ""), body.get("cluster"))
                body["user"] = done.names["users"].get(body.get("user", ""), body.get("user"))
            done.names[section][entry["name"]] = _put(done.config, section, entry["name"], body, name, folder)
    _drop_former(done, name)
    _prove(done, source)
    _set_current(done, target, source, current)
    return done


def remove(target: Config, name: str) -> Merged:
    """Without the entries of this merge; one that somebody else's context uses stays."""
    done = Merged(copy.deepcopy(target))
    _drop_former(done, name)
    _forget_current(done)
    return done


def _put(config: Config, section: str, wanted: str, body: Config, owner: str, folder: str) -> str:
    """Put one entry in, and give the name under which it is found."""
    entries: list[Config] = config.setdefault(section, None) or []
    config[section] = entries
    part = SECTIONS[section]
    mine = next((entry for entry in entries if _owner(entry, section) == owner and _origin(entry, section) == wanted), None)
    if mine is not None:
        mine[part] = _marked(body, owner, wanted)
        return str(mine["name"])
    taken = {entry["name"]: entry for entry in entries}
    if wanted in taken and _same(taken[wanted], section, body, folder):
        return wanted
    name = wanted
    for number in range(1, len(taken) + 3):
        if name not in taken:
            break
        name = f"{wanted}-{owner}" if number == 1 else f"{wanted}-{owner}-{number}"
    entries.append({"name": name, part: _marked(body, owner, wanted)})
    return name


def _marked(body: Config, owner: str, origin: str) -> Config:
    others = [item for item in body.get("extensions") or [] if isinstance(item, Mapping) and item.get("name") != EXTENSION]
    return {**body, "extensions": [*others, {"name": EXTENSION, "extension": {"merge": owner, "name": origin}}]}


def _mark(entry: Config, section: str) -> Mapping[str, Any]:
    for item in (entry.get(SECTIONS[section]) or {}).get("extensions") or []:
        if isinstance(item, Mapping) and item.get("name") == EXTENSION and isinstance(item.get("extension"), Mapping):
            return dict(item["extension"])
    return {}


def _owner(entry: Config, section: str) -> str | None:
    return _mark(entry, section).get("merge")


def _origin(entry: Config, section: str) -> str | None:
    return _mark(entry, section).get("name")


def _same(entry: Config, section: str, body: Config, folder: str) -> bool:
    """Whether an entry says the same already. What another merge owns is never shared: it may go with it."""
    if _mark(entry, section):
        return False
    there = absolute({section: [entry]}, folder)[0][section][0].get(SECTIONS[section]) or {}
    return _plain(there) == _plain(body)


def _plain(body: Mapping[str, Any]) -> Config:
    return {key: value for key, value in body.items() if key != "extensions" and value not in (None, "", {}, [])}


def _drop_former(done: Merged, owner: str) -> None:
    """Take out what this merge brought once and brings no longer; what somebody else's context uses stays."""
    for section in ("contexts", "users", "clusters"):
        kept = set(done.names.get(section, {}).values())
        part, entries = SECTIONS[section], done.config.get(section) or []
        users = {} if section == "contexts" else {(item.get("context") or {}).get(part): item["name"] for item in done.config.get("contexts") or []}
        gone = [entry["name"] for entry in entries if _owner(entry, section) == owner and entry["name"] not in kept]
        done.warnings += [f"{part} {name} stays, because context {users[name]} uses it." for name in gone if name in users]
        done.config[section] = [entry for entry in entries if entry["name"] not in gone or entry["name"] in users]


def _prove(done: Merged, source: Config) -> None:
    """Every merged context reaches the cluster and the user that it did in its own file."""
    for context in source.get("contexts") or []:
        before, after = resolve(source, context["name"]), resolve(done.config, done.names["contexts"][context["name"]])
        if before != after:
            done.problems.append(f"context {context['name']} would not reach the same cluster and user after the merge; nothing was written.")


def resolve(config: Config, context: str) -> tuple[Config, Config, str]:
    """Cluster, user and namespace of a context."""
    body = _body(config, "contexts", context)
    return _plain(_body(config, "clusters", body.get("cluster"))), _plain(_body(config, "users", body.get("user"))), str(body.get("namespace") or "")


def _body(config: Config, section: str, name: Any) -> Config:
    return next((dict(entry.get(SECTIONS[section]) or {}) for entry in config.get(section) or [] if entry["name"] == name), {})


def _set_current(done: Merged, target: Config, source: Config, wanted: str | None) -> None:
    have = [entry["name"] for entry in done.config.get("contexts") or []]
    if wanted:
        name = done.names["contexts"].get(wanted, wanted)
        if name not in have:
            done.problems.append(f"current_context: there is no context {wanted}; there are {', '.join(have)}.")
        done.config["current-context"] = name
    elif not target.get("current-context"):
        ours = source.get("current-context") or ""
        done.config["current-context"] = done.names["contexts"].get(ours) or next(iter(done.names["contexts"].values()), "")
    _forget_current(done)


def _forget_current(done: Merged) -> None:
    current = done.config.get("current-context")
    if current and current not in [entry["name"] for entry in done.config.get("contexts") or []]:
        done.config["current-context"] = ""
        done.warnings.append(f"the current context {current} is gone; choose another one with `kubectl config use-context`.")


_SHOWN = {
    "clusters": ("server", "certificate-authority", "insecure-skip-tls-verify", "tls-server-name"),
    "users": ("client-certificate", "client-key", "tokenFile"),
    "contexts": ("cluster", "user", "namespace"),
}


def view(config: Config, against: Config | None = None) -> Config:
    """What --diff shows: names, addresses and paths. Of everything else only that it is there, and whether it is another one than in `against`."""
    shown: Config = {"current-context": config.get("current-context") or ""}
    for section, part in SECTIONS.items():
        shown[section] = {
            str(entry["name"]): {
                key: _address(value) if key in _SHOWN[section] else _hidden(value, _body(against or {}, section, entry["name"]).get(key))
                for key, value in (entry.get(part) or {}).items()
                if key != "extensions"
            }
            for entry in config.get(section) or []
        }
    return shown


def public(config: Config) -> set[str]:
    """Every text of a kubeconfig that a result may show."""
    return {str(config.get("apiVersion")), str(config.get("kind")), *_texts(view(config))}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _hidden(value: Any, before: Any) -> str:
    return "(hidden)" if before is None or before == value else "(hidden, another one)"


def _address(value: Any) -> Any:
    """A URL without a user in it."""
    return re.sub(r"://[^/]*@", "://***@", value) if isinstance(value, str) else value
