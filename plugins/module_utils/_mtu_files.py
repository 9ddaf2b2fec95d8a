# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an MTU is written for each network manager: text in, text out, every other line kept byte for byte. Pure.

systemd.network(5), netplan's YAML reference, nm-settings-keyfile(5), sysconfig/network-scripts of initscripts, interfaces(5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

NOTE = "# Written by slipway.mlops.link_mtu, whole: edit the inventory, not this file.\n"
_SECTIONS = {"bond": "bonds", "bridge": "bridges", "vlan": "vlans"}


def networkd_drop_in(mtu: int) -> str:
    """A drop-in beside the .network file that configures the link."""
    return f"{NOTE}[Link]\nMTUBytes={mtu}\n"


def netplan_file(links: Sequence[tuple[str, str, int]]) -> str:
    """One file that netplan merges into the definitions of others, from (kind, netplan's id, mtu). Ids are quoted as JSON, which is YAML."""
    sections: dict[str, list[str]] = {}
    for kind, name, mtu in links:
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        sections.setdefault(_SECTIONS.get(kind, "ethernets"), []).append(f"    {quoted}:\n      mtu: {mtu}\n")
    body = "".join(f"  {section}:\n" + "".join(entries) for section, entries in sorted(sections.items()))
    return f"{NOTE}network:\n  version: 2\n{body}"


def keyfile(text: str, mtu: int) -> str:
    """A NetworkManager connection with `mtu` in [ethernet], which is where it stands for cards, bonds, bridges and VLANs alike."""
    lines = text.splitlines(keepends=True)
    inside, last = False, None
    for number, line in enumerate(lines):
        bare = line.strip()
        if bare.startswith("["):
            inside = bare in ("[ethernet]", "[802-3-ethernet]")
            last = number if inside else last
        elif inside and re.match(r"mtu\s*=", bare):
            lines[number] = _keep_end(line, f"mtu={mtu}")
            return "".join(lines)
        elif inside and bare:
            last = number
    if last is not None:
        return "".join([*lines[:last], _ended(lines[last]), f"mtu={mtu}\n", *lines[last + 1 :]])
    return _with_end(text) + ("\n" if text else "") + f"[ethernet]\nmtu={mtu}\n"


def ifcfg(text: str, mtu: int) -> str:
    """A file of sysconfig/network-scripts with MTU=; the last such line wins there, so it is the one that is changed."""
    lines = text.splitlines(keepends=True)
    for number in reversed(range(len(lines))):
        if re.match(r"\s*MTU=", lines[number]):
            lines[number] = _keep_end(lines[number], f"MTU={mtu}")
            return "".join(lines)
    return _with_end(text) + f"MTU={mtu}\n"


def ifupdown(text: str, name: str, mtu: int) -> str | None:
    """An interfaces(5) file with the MTU in the link's first stanza, None where it has none here.

    `mtu` is an option of the methods static and manual of inet; for others (dhcp) a command sets it once the link is up.
    """
    lines = text.splitlines(keepends=True)
    head, method, last = None, "", 0
    for number, line in enumerate(lines):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] in ("iface", "mapping", "auto", "source", "source-directory", "no-auto-down", "no-scripts", "template") or words[0].startswith("allow-"):
            if head is not None:
                break
            if words[0] == "iface" and len(words) >= 2 and words[1] == name:
                head, last = number, number
                method = " ".join(words[2:4])
        elif head is not None:
            last = number
            if (words[0] == "mtu" and len(words) > 1) or _sets_mtu(words, name):
                indent = line[: len(line) - len(line.lstrip())]
                lines[number] = _keep_end(line, indent + _option(method, mtu))
                return "".join(lines)
    if head is None:
        return None
    return "".join([*lines[:last], _ended(lines[last]), "    " + _option(method, mtu) + "\n", *lines[last + 1 :]])


def values(text: str) -> Mapping[str, str]:
    """KEY=value lines of systemd's and sysconfig's files, without quotes; comments and sections are passed over."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", ";", "[")):
            found[key.strip()] = value.strip().strip("\"'")
    return found


def _option(method: str, mtu: int) -> str:
    has_option = method in ("inet static", "inet manual", "inet6 static", "inet6 manual", "inet6 auto")
    return f"mtu {mtu}" if has_option else f"post-up ip link set dev $IFACE mtu {mtu}"


def _sets_mtu(words: Sequence[str], name: str) -> bool:
    """`post-up ip link set dev ens3 mtu 9000`, as we and others write it."""
    link = rf"({re.escape(name)}|\$IFACE|\${{IFACE}})"
    return re.fullmatch(rf"(post-up|up|pre-up) (/sbin/|/usr/sbin/|/bin/)?ip link set (dev )?{link} mtu [0-9]+", " ".join(words)) is not None


def _keep_end(line: str, text: str) -> str:
    return text + line[len(line.rstrip("\r\n")) :]


def _ended(line: str) -> str:
    return line if line.endswith("\n") else line + "\n"


def _with_end(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
