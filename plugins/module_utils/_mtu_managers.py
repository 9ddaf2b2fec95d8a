# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which network manager owns a link, and which file edits make it keep an MTU. Reads the managers' own state files; spawns nothing.

systemd-networkd leaves /run/systemd/netif/links/<index>, NetworkManager /run/NetworkManager/devices/<index>; netplan writes the files of both;
ifupdown has no state worth reading, so its configuration is searched.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _mtu_files
from ansible_collections.slipway.mlops.plugins.module_utils._netlink import Link

NETPLAN_FILE = "/etc/netplan/99-slipway-mtu.yaml"
DROP_IN = "90-slipway-mtu.conf"


@dataclass(frozen=True)
class Edit:
    """One file as it is and as it shall be. `load`: the command that tells the manager, none where it looks by itself at the next boot."""

    path: str
    before: bytes | None
    after: bytes
    new_mode: int = 0o644
    load: tuple[str, ...] = ()


@dataclass(frozen=True)
class Persistence:
    managers: dict[str, str] = field(default_factory=dict)  # link name -> manager
    edits: list[Edit] = field(default_factory=list)  # only of files that change
    problems: list[str] = field(default_factory=list)


def persistence(wanted: Mapping[str, int], links: Sequence[Link], root: str = "/") -> Persistence:
    """How the wanted MTUs are kept over a boot."""
    result = Persistence()
    netplan: set[tuple[str, str, int]] = set()  # several links may be of one id
    texts: dict[str, str] = {}  # a file may have several links in it
    edits: dict[str, Edit] = {}
    for link in links:
        if link.name not in wanted:
            continue
        mtu = wanted[link.name]
        manager, where = _owner(link, root)
        result.managers[link.name] = manager
        result.problems.extend(_shared(link, manager, where, wanted, links, root))
        if manager == "netplan":
            netplan.add((link.kind, where, mtu))
        elif manager == "networkd":
            path = f"/etc/systemd/network/{os.path.basename(where)}.d/{DROP_IN}"
            edits[path] = Edit(path, _read(root, path), _mtu_files.networkd_drop_in(mtu).encode())
            result.problems.extend(_later_drop_in(link.name, where, mtu, root))
        elif manager in ("NetworkManager", "ifcfg", "ifupdown"):
            content = _read(root, where) or b""
            text = texts.get(where, content.decode("utf-8", "surrogateescape"))
            texts[where] = _edited(manager, text, link.name, mtu)
            load = ("nmcli", "connection", "load", where) if manager == "NetworkManager" else ()
            edits[where] = Edit(where, content, texts[where].encode("utf-8", "surrogateescape"), 0o600, load)
        else:
            result.problems.append(
                f"{link.name}: neither systemd-networkd, NetworkManager, netplan nor ifupdown configures it, so its MTU would be lost at the next boot; "
                "say is_persistent: false to have it so"
            )
    if netplan:
        edits[NETPLAN_FILE] = Edit(NETPLAN_FILE, _read(root, NETPLAN_FILE), _mtu_files.netplan_file(sorted(netplan)).encode(), 0o600, ("netplan", "generate"))
    result.edits.extend(edit for edit in edits.values() if edit.before != edit.after)
    return result


def _owner(link: Link, root: str) -> tuple[str, str]:
    """(manager, its file or netplan's id); ("", "") where nobody owns the link."""
    networkd = _mtu_files.values(_text(root, f"/run/systemd/netif/links/{link.index}"))
    file = networkd.get("NETWORK_FILE", "")
    if file and networkd.get("ADMIN_STATE") not in ("unmanaged", "linger", None):
        name = re.fullmatch(r"10-netplan-(.+)\.network", os.path.basename(file))
        return ("netplan", name.group(1)) if name else ("networkd", file)
    manager = _mtu_files.values(_text(root, f"/run/NetworkManager/devices/{link.index}"))
    if manager.get("managed", "true") == "true" and manager.get("connection-uuid"):
        return _connection(manager["connection-uuid"], link, root)
    for path in _interfaces_files(root):
        if _mtu_files.ifupdown(_text(root, path), link.name, 1500) is not None:
            return "ifupdown", path
    return "", ""


def _connection(uuid: str, link: Link, root: str) -> tuple[str, str]:
    for folder in ("/etc/NetworkManager/system-connections", "/run/NetworkManager/system-connections"):
        for path in sorted(glob.glob(root.rstrip("/") + folder + "/*")):
            if re.search(rf"^uuid={re.escape(uuid)}\s*$", _text("/", path), re.MULTILINE):
                name = re.fullmatch(r"netplan-(.+?)(\.nmconnection)?", os.path.basename(path))
                # What netplan made is made anew at every boot; what only lies in /run is nobody's file.
                return ("netplan", name.group(1)) if name else ("NetworkManager", _files.unrooted(root, path)) if folder.startswith("/etc") else ("", "")
    for path in sorted(glob.glob(root.rstrip("/") + "/etc/sysconfig/network-scripts/ifcfg-*")):
        values = _mtu_files.values(_text("/", path))
        if values.get("UUID") == uuid or ("UUID" not in values and values.get("DEVICE") == link.name):
            return "ifcfg", _files.unrooted(root, path)
    return "", ""


def _interfaces_files(root: str, path: str = "/etc/network/interfaces") -> Iterator[str]:
    """interfaces(5) and the files that it draws in, in order."""
    text = _text(root, path)
    if not text:
        return
    yield path
    for line in text.splitlines():
        words = line.split()
        if len(words) != 2 or words[0] not in ("source", "source-directory"):
            continue
        pattern = os.path.join(os.path.dirname(path), words[1]) + ("/*" if words[0] == "source-directory" else "")
        for found in sorted(glob.glob(root.rstrip("/") + pattern)):
            # ifupdown passes over backups and the like in a source-directory.
            if os.path.isfile(found) and (words[0] == "source" or re.fullmatch(r"[A-Za-z0-9_-]+", os.path.basename(found))):
                yield from _interfaces_files(root, _files.unrooted(root, found))


def _shared(link: Link, manager: str, where: str, wanted: Mapping[str, int], links: Sequence[Link], root: str) -> list[str]:
    """A .network file, or an id of netplan, with a pattern configures several links; what we write would reach all of them."""
    if manager not in ("networkd", "netplan"):
        return []
    others = [other for other in links if other.index != link.index and wanted.get(other.name) != wanted[link.name]]
    also = [other.name for other in others if _owner(other, root) == (manager, where)]
    if not also:
        return []
    file, own = (where, "a .network file") if manager == "networkd" else (f'netplan\'s "{where}"', "a definition in netplan")
    return [f"{link.name}: {file} also configures {', '.join(also)}, which shall not have the same MTU; give {link.name} {own} of its own first"]


def _later_drop_in(name: str, file: str, mtu: int, root: str) -> list[str]:
    """Another drop-in that sorts after ours and says something else."""
    found = []
    for folder in ("/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network"):
        for path in sorted(glob.glob(f"{root.rstrip('/')}{folder}/{os.path.basename(file)}.d/*.conf")):
            value = _mtu_files.values(_text("/", path)).get("MTUBytes")
            if os.path.basename(path) > DROP_IN and value not in (None, str(mtu)):
                found.append(f"{name}: {_files.unrooted(root, path)} sets MTUBytes={value} after our {DROP_IN}; remove that line")
    return found


def _edited(manager: str, text: str, name: str, mtu: int) -> str:
    if manager == "NetworkManager":
        return _mtu_files.keyfile(text, mtu)
    if manager == "ifcfg":
        return _mtu_files.ifcfg(text, mtu)
    return _mtu_files.ifupdown(text, name, mtu) or text


def _read(root: str, path: str) -> bytes | None:
    return _files.read(_files.under(root, path))


def _text(root: str, path: str) -> str:
    try:
        return (_read(root, path) or b"").decode("utf-8", "surrogateescape")
    except OSError:
        return ""
