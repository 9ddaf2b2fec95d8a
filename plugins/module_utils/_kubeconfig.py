# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What everybody asks of a kubeconfig before believing it: its form, whose file it is, and which of its values are secret."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_TEXTS = frozenset(
    [
        "server",
        "certificate-authority",
        "certificate-authority-data",
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
        "token",
        "tokenFile",
        "username",
        "password",
        "proxy-url",
        "tls-server-name",
        "cluster",
        "user",
        "namespace",
        "as",
    ]
)
_SECRETS = ("token", "password", "client-key-data")


def misshapen(place: str, content: Mapping[str, Any]) -> list[str]:
    """What is not of the form of a kubeconfig, without the values."""
    problems = []
    for section, part in SECTIONS.items():
        items = [] if content.get(section) is None else content[section]
        if not isinstance(items, list):
            problems.append(f"{place}: `{section}` is not a list.")
            continue
        for number, item in enumerate(items):
            where = f"{place}: {section}[{number}]"
            body = item.get(part) if isinstance(item, Mapping) else None
            if not (isinstance(item, Mapping) and isinstance(item.get("name"), str) and isinstance(body or {}, Mapping)):
                problems.append(f"{where} is not a name with a mapping `{part}`.")
                continue
            for key, value in (body or {}).items():
                if key in _TEXTS and not isinstance(value, (str, type(None))):
                    problems.append(f"{where}.{part}.{key} is not text.")
                if key in ("exec", "auth-provider") and not isinstance(value, (Mapping, type(None))):
                    problems.append(f"{where}.{part}.{key} is not a mapping.")
                elif key == "exec" and value:
                    problems += [f"{where}.{part}.exec.{problem}" for problem in _of_program(value)]
                if key == "insecure-skip-tls-verify" and not isinstance(value, (bool, type(None))):
                    problems.append(f"{where}.{part}.{key} is neither true nor false.")
                if key == "extensions" and not isinstance(value, (list, type(None))):
                    problems.append(f"{where}.{part}.{key} is not a list.")
                if key == "as-groups" and not _is_list_of_texts(value):
                    problems.append(f"{where}.{part}.{key} is not a list of texts.")
    return problems


def _of_program(program: Mapping[str, Any]) -> list[str]:
    problems = []
    if not isinstance(program.get("command"), str) or not program["command"]:
        problems.append("command is not the name of a program.")
    if not _is_list_of_texts(program.get("args")):
        problems.append("args is not a list of texts.")
    entries = program.get("env") or []
    texts = [entry.get(key) for entry in entries for key in ("name", "value")] if _is_list_of_mappings(entries) else [None]
    if not all(isinstance(text, str) for text in texts):
        problems.append("env is not a list of names with values.")
    return problems


def _is_list_of_texts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def untrusted(path: str) -> str:
    """Why programs that this file names must not be run, "" where they may: who can write the file would choose them."""
    info = os.stat(path)
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or info.st_uid not in (0, os.geteuid()):
        return f"can be written by others (owner {info.st_uid}, mode {stat.S_IMODE(info.st_mode):04o})"
    return ""


def secrets(content: Any) -> set[str]:
    """Credentials in a kubeconfig, whatever its form."""
    users = content.get("users") if isinstance(content, Mapping) else None
    bodies = [item.get("user") for item in users if isinstance(item, Mapping)] if isinstance(users, list) else []
    return {str(body[key]) for body in bodies if isinstance(body, Mapping) for key in _SECRETS if body.get(key)}
