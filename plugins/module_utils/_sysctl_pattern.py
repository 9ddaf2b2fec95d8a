# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which entries a kubelet takes in `allowedUnsafeSysctls`: a wrong one keeps it from starting. Pure.

The rules are Kubernetes' own: NewAllowlist in pkg/kubelet/sysctl/allowlist.go, IsValidSysctlPattern in
pkg/apis/policy/validation, GetNamespace and NormalizeName in component-helpers/node/util/sysctl (all v1.35.4).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Go's $ is the very end of the text; Python's also matches before a final newline, so fullmatch.
_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_PATTERN = re.compile("(" + _SEGMENT + r"[./])*([a-z0-9][-_a-z0-9]*)?[a-z0-9*]")
_LONGEST = 253
_NAMES = frozenset(
    ["kernel.sem", "kernel.shm", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"]
    + ["kernel.msg", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni"]
)
_PREFIXES = ("net.", "fs.mqueue.")
_KNOWN = "net.*, fs.mqueue.*, kernel.sem, kernel.shm{,all,max,mni,_rmid_forced}, kernel.msg{,max,mnb,mni}"


def normalised(name: str) -> str:
    """`net/core/somaxconn` as `net.core.somaxconn`; a name whose first separator is a dot is left as it is."""
    first = next((letter for letter in name if letter in "./"), ".")
    return name if first == "." else name.translate({ord("."): "/", ord("/"): "."})


def problem(entry: str) -> str:
    """Why a kubelet would refuse to start with this entry, as a sentence; "" where it would not."""
    if len(entry) > _LONGEST or not _PATTERN.fullmatch(entry):
        return f'"{entry}" is no sysctl name or pattern: lower case words joined by dots, at most {_LONGEST} characters, * only at the end.'
    stem = normalised(entry).split("*", 1)[0]
    if stem not in _NAMES and not stem.startswith(_PREFIXES):
        return f'"{entry}" is not known to be namespaced, so the kubelet would not start; known are {_KNOWN}.'
    return ""


def problems(entries: Sequence[str], wildcards: bool) -> list[str]:
    """All that is wrong with a list that somebody wants, one sentence each."""
    found = []
    for index, entry in enumerate(entries):
        why = problem(entry)
        if not why and "*" in entry and not wildcards:
            why = f'"{entry}" would let every pod set all of them: name each sysctl, or set allow_wildcards.'
        if not why and entry in entries[:index]:
            why = f'"{entry}" is there twice.'
        if why:
            found.append(f"sysctls[{index}]: {why}")
    return found


def covers(entries: Sequence[str], name: str) -> bool:
    """True where a kubelet with these entries admits a pod that sets `name`, or where `name`, a pattern, adds nothing to them."""
    wanted = normalised(name)
    return any(entry == wanted or ("*" in entry and wanted.startswith(entry.split("*", 1)[0])) for entry in map(normalised, entries))
