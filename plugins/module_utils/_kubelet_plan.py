# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which file of a kubelet has to change so that it admits these sysctls, and how it then reads. Pure.

The file that decides is the one that is edited: a flag masks every file, a later drop-in replaces the list of an earlier one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from . import _kubelet_yaml as kubelet_yaml
from . import _sysctl_pattern as sysctl_pattern
from ._config_text import Unreadable, decode
from ._host_change import Edit
from ._host_input import Refused
from ._kubelet_probe import MICROK8S_FLAGS, RANCHER, SYSCTL_FLAG, Kubelet

KEY = "allowedUnsafeSysctls"
DROP_IN = "90-slipway-sysctls.conf"
_FLAG = re.compile(r"--" + SYSCTL_FLAG + r"(=|[ \t]+)([\"']?)([^\s\"'\\]*)\2")
_COMMENT = "Written by slipway.mlops.kubelet_config; the kubelet takes the list of the last file that has one, so this one repeats those before it."


@dataclass(frozen=True)
class Plan:
    """`before` and `after` are the effective lists; `source` is the file that decides."""

    before: list[str]
    after: list[str]
    source: str
    edits: tuple[Edit, ...] = ()


def plan(kubelet: Kubelet, sysctls: Sequence[str], present: bool = True) -> Plan:
    """What to edit; Refused, with file, line and column, where the files cannot be read or the flag's origin cannot be found."""
    try:
        if kubelet.flavor == "k0s":
            raise Refused(["k0s writes its kubelet's configuration itself: set workerProfiles[].values.allowedUnsafeSysctls in the cluster's k0s.yaml."])
        if kubelet.flavor == "microk8s":
            return _flag_lines(kubelet, sysctls, present)
        if kubelet.flag is not None:
            return _flag(kubelet, sysctls, present)
        if kubelet.config_dir:
            return _drop_in(kubelet, sysctls, present)
        if kubelet.flavor in RANCHER:
            return _rancher(kubelet, sysctls, present)
        if kubelet.config:
            return _file(kubelet, kubelet.config, sysctls, present)
    except _At as error:
        raise Refused([f"{error.path}: {error.problem}. The file was left alone."]) from None
    raise Refused([f"the kubelet (pid {kubelet.pid}) has neither --config nor --config-dir: give it a KubeletConfiguration file first."])


def edited_document(text: str, sysctls: Sequence[str], present: bool = True) -> tuple[str, list[str], list[str]]:
    """A KubeletConfiguration with the sysctls in (or out of) its list, the list before and after. Unreadable where it cannot be read."""
    kubelet_yaml.check(text)
    before = kubelet_yaml.read_list(text, KEY) or []
    after = _changed(before, sysctls, present)
    if present:
        return kubelet_yaml.add_to_list(text, KEY, after[len(before) :]), before, after
    return kubelet_yaml.remove_from_list(text, KEY, [name for name in before if name not in after]), before, after


class _At(Exception):
    def __init__(self, path: str, problem: object) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem


def _changed(before: Sequence[str], sysctls: Sequence[str], present: bool) -> list[str]:
    if present:
        return list(before) + [name for name in sysctls if not sysctl_pattern.covers(before, name)]
    gone = {sysctl_pattern.normalised(name) for name in sysctls}
    return [name for name in before if sysctl_pattern.normalised(name) not in gone]


def _file(kubelet: Kubelet, path: str, sysctls: Sequence[str], present: bool) -> Plan:
    content = kubelet.files.get(path)
    if content is None:
        raise _At(path, "the kubelet was started with this file, and it is not there")
    try:
        text, before, after = edited_document(decode(content), sysctls, present)
    except Unreadable as error:
        raise _At(path, error) from None
    return Plan(before, after, path, _edit(path, content, text.encode()))


def _drop_in(kubelet: Kubelet, sysctls: Sequence[str], present: bool) -> Plan:
    """Union of what stands before into our drop-in; a foreign drop-in that comes later and has the list is edited itself."""
    ours = "{}/{}".format(str(kubelet.config_dir).rstrip("/"), DROP_IN)
    earlier: list[str] = []
    deciding = kubelet.config or ours
    for path in ([kubelet.config] if kubelet.config else []) + _drop_ins(kubelet):
        if path == ours:
            continue
        content = kubelet.files.get(path)
        try:
            text = decode(content or b"")
            kubelet_yaml.check(text)
            found = kubelet_yaml.read_list(text, KEY)
        except Unreadable as error:
            raise _At(path, error) from None
        if found is not None:
            earlier, deciding = found, path
    if deciding.split("/") > ours.split("/") and deciding in _drop_ins(kubelet):
        return _file(kubelet, deciding, sysctls, present)
    content = kubelet.files.get(ours)
    try:
        own = kubelet_yaml.read_list(decode(content), KEY) or [] if content is not None else None
    except Unreadable as error:
        raise _At(ours, error) from None
    extra = [name for name in (own or []) if not sysctl_pattern.covers(earlier, name)]
    before = earlier if own is None else own
    after = _changed(earlier + extra, sysctls, present)
    rest: tuple[Edit, ...] = ()
    if not present and deciding != ours:
        below = _file(kubelet, deciding, sysctls, present)
        earlier, rest = below.after, below.edits
    if set(after) <= set(earlier):  # nothing is left for our file to say
        return Plan(before, after, deciding, rest + _edit(ours, content, None))
    return Plan(before, after, ours, rest + _edit(ours, content, kubelet_yaml.new_document(KEY, after, _COMMENT).encode()))


def _drop_ins(kubelet: Kubelet) -> list[str]:
    folder = str(kubelet.config_dir).rstrip("/") + "/"
    return sorted((path for path in kubelet.files if path.startswith(folder) and path.endswith(".conf")), key=lambda path: path.split("/"))


def _flag(kubelet: Kubelet, sysctls: Sequence[str], present: bool) -> Plan:
    """The flag masks the files, so its origin is edited: the one environment file that has it."""
    before = _split(kubelet.flag)
    after = _changed(before, sysctls, present)
    places = []
    for path, content in kubelet.files.items():
        text = (content or b"").decode("utf-8", "surrogateescape")
        for found in _FLAG.finditer(text):
            if not text[text.rfind("\n", 0, found.start()) + 1 :].lstrip().startswith("#"):
                places.append((path, text, found))
    if after == before:
        return Plan(before, after, places[0][0] if len(places) == 1 else "--" + SYSCTL_FLAG)
    if len(places) != 1:
        where = ", ".join(place[0] for place in places) or "none of " + ", ".join(sorted(kubelet.files))
        raise Refused(
            [
                f"the kubelet runs with --{SYSCTL_FLAG}={kubelet.flag}, which masks its configuration files, and its origin is not clear (found in {where}). "
                f"Remove the flag from the unit {kubelet.unit}, or give it in one environment file."
            ]
        )
    path, text, found = places[0]
    if _split(found.group(3)) != before:
        raise _At(path, f"--{SYSCTL_FLAG}={found.group(3)} here, but the kubelet runs with {kubelet.flag}: restart it first")
    new = text[: found.start(3)] + ",".join(after) + text[found.end(3) :]
    return Plan(before, after, path, _edit(path, kubelet.files[path], new.encode("utf-8", "surrogateescape")))


def _flag_lines(kubelet: Kubelet, sysctls: Sequence[str], present: bool) -> Plan:
    """microk8s: one flag a line in a file of its own."""
    content = kubelet.files.get(MICROK8S_FLAGS)
    if content is None:
        raise _At(MICROK8S_FLAGS, "there is no such file")
    before = _split(kubelet.flag)
    after = _changed(before, sysctls, present)
    lines = content.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    head = f"--{SYSCTL_FLAG}="
    kept = [line for line in lines if not line.strip().startswith(head)]
    if after != before:
        at = next((index for index, line in enumerate(lines) if line.strip().startswith(head)), len(kept))
        if kept and at == len(kept) and not kept[-1].endswith("\n"):
            kept[-1] += "\n"
        lines = kept[:at] + ([head + ",".join(after) + "\n"] if after else []) + kept[at:]
    return Plan(before, after, MICROK8S_FLAGS, _edit(MICROK8S_FLAGS, content, "".join(lines).encode("utf-8", "surrogateescape")))


def _rancher(kubelet: Kubelet, sysctls: Sequence[str], present: bool) -> Plan:
    """k3s or RKE2 without kubelet drop-ins: a file of ours beside their configuration; `kubelet-arg+` appends to what is there."""
    own = RANCHER[kubelet.flavor][1]
    ours = own + ".d/90-slipway-kubelet.yaml"
    for path, content in kubelet.files.items():
        if path != ours and SYSCTL_FLAG.encode() in (content or b""):
            raise _At(path, f"sets {SYSCTL_FLAG} already; add the sysctls there, since the last one alone would count")
    content = kubelet.files.get(ours)
    found = re.search(SYSCTL_FLAG + r"=([^\s\"']*)", (content or b"").decode("utf-8", "replace"))
    before = _split(found.group(1) if found else None)
    after = _changed(before, sysctls, present)
    text = '# Written by slipway.mlops.kubelet_config.\nkubelet-arg+:\n- "{}={}"\n'.format(SYSCTL_FLAG, ",".join(after))
    return Plan(before, after, ours, _edit(ours, content, text.encode() if after else None))


def _edit(path: str, before: bytes | None, after: bytes | None) -> tuple[Edit, ...]:
    return () if before == after else (Edit(path, before, after),)


def _split(value: str | None) -> list[str]:
    return [name for name in (value or "").split(",") if name]
