# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets whose values never stand in a manifest: made once by chance, or copied from a file or a variable."""

from __future__ import annotations

import base64
import os
import secrets
import string
from collections.abc import Mapping, Sequence
from typing import Any

from ._checks import problems_of
from ._manifest import CREATE_ONLY, POLICY, SET, Declared, Documents, declare, secret_values
from ._model import Object, Ref, Refused
from ._syntax import path_shown

ALPHABET = string.ascii_letters + string.digits  # nothing that a URI, a shell or an INI file would have to escape
SHORTEST = 8


def declared_secrets(options: Sequence[Mapping[str, Any]], namespace: str, environ: Mapping[str, str]) -> tuple[list[Declared], set[str]]:
    """The Secrets that the option `secrets` asks for, and every value in them. Refused with all problems.

    One with a generated key is made only where it is absent (`create_only`); others follow their source.
    """
    problems: list[str] = []
    items: dict[Ref, Declared] = {}
    values: set[str] = set()
    for index, option in enumerate(options):
        place = f"secrets[{index}]"
        data: dict[str, str] = {}
        problems += _problems(option, place)
        for entry in option.get("generate") or []:
            length = 32 if entry.get("length") is None else entry["length"]
            if length < SHORTEST:
                problems.append(f"{place}: {entry['key']} has length {length}; a secret of less than {SHORTEST} characters can be guessed.")
            data[entry["key"]] = "".join(secrets.choice(ALPHABET) for _character in range(length))
        for entry in option.get("copy") or []:
            value = _copied(entry, f"{place}.copy {entry['key']}", environ, problems)
            data[entry["key"]] = value
        body = _body(option, data)
        values |= secret_values(Documents([(place, body)], []))
        found = problems_of(body)
        problems += [f"{place}: {problem}" for problem in found]
        if not found:
            item = declare(body, place, namespace)
            first = items.setdefault(item.ref, item)
            if first is not item:
                problems.append(f"{place}: {item.ref} is also in {first.place}; give one entry all its keys.")
    if problems:
        raise Refused(problems)
    return list(items.values()), values


def _problems(option: Mapping[str, Any], place: str) -> list[str]:
    found = []
    keys = [entry["key"] for part in ("generate", "copy") for entry in option.get(part) or []]
    if not keys:
        found.append(f"{place}: nothing to generate and nothing to copy.")
    found += [f"{place}: key {key} is given twice." for key in sorted({key for key in keys if keys.count(key) > 1})]
    return found


def _copied(entry: Mapping[str, Any], place: str, environ: Mapping[str, str], problems: list[str]) -> str:
    """The value as text; latin-1 keeps the bytes of a binary file."""
    path, variable = entry.get("file"), entry.get("env")
    if bool(path) == bool(variable):
        problems.append(f"{place}: give either `file` or `env`.")
    elif variable:
        if not environ.get(variable):
            problems.append(f"{place}: the environment has no variable {variable}, or it is empty.")
        return os.fsencode(environ.get(variable, "")).decode("latin-1")
    else:
        try:
            with open(os.path.expanduser(str(path)), "rb") as file:
                return file.read().decode("latin-1")
        except OSError as error:
            problems.append(f"{place}: cannot read {path_shown(path)}: {error.strerror}.")
        except ValueError:  # a NUL in it
            problems.append(f"{place}: cannot read {path_shown(path)}.")
    return ""


def _body(option: Mapping[str, Any], data: Mapping[str, str]) -> Object:
    policy = CREATE_ONLY if option.get("generate") else SET
    metadata: Object = {"name": option["name"], "annotations": {POLICY: policy}}
    for key in ("namespace", "labels"):
        if option.get(key):
            metadata[key] = option[key]
    encoded = {key: base64.b64encode(value.encode("latin-1")).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": option.get("type") or "Opaque", "data": encoded}
