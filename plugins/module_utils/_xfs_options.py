# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Mount options of XFS: what may be declared, what the kernel in front of us knows, and how the live mount differs. Pure.

Options, ranges and the releases that dropped some: the kernel's Documentation/admin-guide/xfs.rst and fs/xfs/xfs_super.c;
options of every filesystem and of user space: mount(8), systemd.mount(5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Options of user space, which the kernel never sees.
_FSTAB_ONLY = {"defaults", "nofail", "auto", "noauto", "_netdev", "nouser"}
_FSTAB_PREFIXES = ("x-", "comment=")

# Flags of the mount itself, changed at any time by a remount.
_FLAGS = {"noatime", "strictatime", "nodiratime", "nosuid", "nodev", "noexec", "ro", "sync", "dirsync", "lazytime", "nosymfollow"}
# One of these holds always. The kernel reports nothing for strictatime, and a remount that names none of them keeps what is there.
_ATIME = {"relatime", "noatime", "strictatime"}
_FLAG_DEFAULTS = {"relatime", "rw", "suid", "dev", "exec", "diratime", "async", "nolazytime", "symfollow"}

_LOGBSIZES = {"16k", "32k", "64k", "128k", "256k"}
_SWITCHES = {
    "attr2", "discard", "filestreams", "grpid", "bsdgroups", "ikeep", "inode32", "inode64", "largeio", "noalign", "noattr2", "nodiscard", "nogrpid",
    "sysvgroups", "noikeep", "nolargeio", "noquota", "norecovery", "nouuid", "quota", "uquota", "usrquota", "uqnoenforce", "qnoenforce", "gquota",
    "grpquota", "gqnoenforce", "pquota", "prjquota", "pqnoenforce", "swalloc", "wsync", "dax",
}  # fmt: skip
_VALUED = {"allocsize", "logbsize", "logbufs", "sunit", "swidth", "dax", "context", "fscontext", "defcontext", "rootcontext"}
_SPELLINGS = {  # another spelling -> as the kernel reports it; "" where its effect is the default, which is not reported
    "uquota": "usrquota", "quota": "usrquota", "qnoenforce": "uqnoenforce", "gquota": "grpquota", "pquota": "prjquota", "bsdgroups": "grpid",
    "nogrpid": "", "sysvgroups": "", "nodiscard": "", "noikeep": "", "nolargeio": "", "noattr2": "", "dax": "dax=always",
}  # fmt: skip
# What the kernel reports of itself or by default, declared or not.
_REPORTED_ANYWAY = re.compile(r"(rw|ro|attr2|inode64|noquota|seclabel|sunit=.*|swidth=.*|logbufs=.*|logbsize=.*|relatime)$")
# Changed by a remount; XFS ignores every other option of its own until the next mount (xfs_fs_reconfigure).
_LIVE = {"inode32", "inode64"}

# Option -> (first release without it, what to do instead).
_REMOVED = {
    "barrier": ((4, 19), "write barriers are always on"),
    "nobarrier": ((4, 19), "write barriers are always on; a device with a protected cache reports that to the kernel by itself"),
    "delaylog": ((4, 0), "it is the only way of logging since 2.6.39"),
    "nodelaylog": ((4, 0), "delayed logging is the only way since 2.6.39"),
    "ihashsize": ((4, 0), "the inode hash sizes itself"),
    "irixsgid": ((4, 0), "use grpid or a set-group-id directory"),
    "osyncisdsync": ((4, 0), "it had no effect any more"),
    "osyncisosync": ((4, 0), "it had no effect any more"),
    "attr2": ((6, 18), "it is the only layout of attributes"),
    "noattr2": ((6, 18), "attr2 is the only layout of attributes"),
    "ikeep": ((6, 18), "empty inode chunks are always freed"),
    "noikeep": ((6, 18), "empty inode chunks are always freed"),
}
_NOT_HERE = {
    "logdev": "an external log is another device, which this module does not manage",
    "rtdev": "a realtime section is another device, which this module does not manage",
    "user": "data disks are mounted by root alone",
    "users": "data disks are mounted by root alone",
    "owner": "data disks are mounted by root alone",
    "loop": "give the loop device itself as the device",
    "remount": "it is an action, not an option",
    "bind": "it is an action, not an option",
}
_AUTOMOUNT = "until somebody opens the path, autofs is mounted there and not the disk, so nobody could tell whether the disk is there; leave it out"
_ITEM = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(=[A-Za-z0-9_./:@%+-]+)?\Z")


def problems(options: Sequence[str], kernel: tuple[int, int]) -> list[str]:
    """What is wrong with `options` for a host that runs `kernel`, all of it, as sentences without their place."""
    found = []
    seen: dict[str, str] = {}
    for number, option in enumerate(options, 1):
        name, _equals, value = option.partition("=")
        if not option:
            found.append(f"item {number} is empty")
        elif re.search(r"[\s\"'#\\,]", option):
            found.append(f"{option!r}: blanks, quotes, backslashes and # would damage fstab")
        elif not _ITEM.match(option):
            found.append(f"{option!r} is not a mount option")
        elif name in _REMOVED and kernel >= _REMOVED[name][0]:
            release, instead = _REMOVED[name]
            found.append("{}: removed in Linux {}.{}, this host runs {}.{}: {}".format(name, *release, *kernel, instead))
        elif name == "x-systemd.automount" or option == "comment=systemd.automount":
            found.append(f"{option}: {_AUTOMOUNT}")
        elif name in _NOT_HERE:
            found.append(f"{name}: {_NOT_HERE[name]}")
        elif not _known(option):
            found.append(_complaint(option, name, value))
        elif seen.setdefault(name, option) != option:
            found.append(f"{option} contradicts {seen[name]}")
    words = {option.partition("=")[0] for option in options}
    for one, other in (
        ("inode32", "inode64"), ("noatime", "relatime"), ("noatime", "strictatime"), ("ro", "rw"), ("largeio", "nolargeio"),
        ("discard", "nodiscard"), ("noalign", "sunit"), ("noalign", "swidth"), ("auto", "noauto"), ("barrier", "nobarrier"),
    ):  # fmt: skip
        if one in words and other in words:
            found.append(f"{one} contradicts {other}")
    if ("sunit" in words) != ("swidth" in words):
        found.append("sunit and swidth go together")
    if "norecovery" in words and "ro" not in words:
        found.append("norecovery needs ro")
    return found


def for_mount(options: Sequence[str]) -> tuple[str, ...]:
    """The options that mount(8) needs, in their order: without those for fstab's readers."""
    return tuple(option for option in options if option not in _FSTAB_ONLY and not option.startswith(_FSTAB_PREFIXES))


def differences(declared: Sequence[str], live: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(options for one remount, or none; sentences about what takes effect only at the next mount).

    `live` is what the kernel reports for the mount and its superblock. A remount replaces all flags at once, so it names all of them.
    """
    wanted = [_normal(option) for option in for_mount(declared)]
    there = {_normal(option) for option in live}
    flags = [option for option in wanted if option in _FLAGS or option in _FLAG_DEFAULTS]
    live_flags = {option for option in there if option in _FLAGS} | (set() if _ATIME & there else {"strictatime"})
    own = [option for option in wanted if option and option not in flags]
    missing = [option for option in own if option not in there and not option.startswith(("noalign",))]
    surplus = sorted(
        option for option in there if option not in own and option not in _FLAGS and option not in _FLAG_DEFAULTS and not _REPORTED_ANYWAY.match(option)
    )
    remount: list[str] = []
    change_now = [option for option in missing if option in _LIVE] + [option for option in surplus if option in _LIVE]
    if {option for option in flags if option in _FLAGS} != live_flags or change_now:
        remount = flags + ([] if _ATIME & set(flags) else ["relatime"]) + ([] if "ro" in flags or "rw" in flags else ["rw"])
        remount += [option for option in missing if option in _LIVE] or (["inode64"] if "inode32" in surplus else [])
    pending = [option + " is declared but not in effect" for option in missing if option not in _LIVE]
    # `logbufs=4` in effect where 8 is declared shows up twice; the declared one says enough.
    names = {option.partition("=")[0] for option in missing}
    pending += [option + " is in effect but not declared" for option in surplus if option not in _LIVE and option.partition("=")[0] not in names]
    return tuple(remount), tuple(pending)


def _known(option: str) -> bool:
    name, equals, value = option.partition("=")
    if option in _FSTAB_ONLY or option.startswith(_FSTAB_PREFIXES) or option in _FLAGS or option in _FLAG_DEFAULTS or option in _REMOVED:
        return True
    if not equals:
        return name in _SWITCHES
    if name == "logbsize":
        return value in _LOGBSIZES or value in {str(_bytes(size)) for size in _LOGBSIZES}
    if name == "logbufs":
        return value.isdigit() and 2 <= int(value) <= 8
    if name == "allocsize":
        size = _bytes(value)
        return 4096 <= size <= 1 << 30 and not size & (size - 1)
    if name in ("sunit", "swidth"):
        return value.isdigit()
    if name == "dax":
        return value in ("inode", "always", "never")
    return name in _VALUED


def _complaint(option: str, name: str, value: str) -> str:
    expected = {
        "logbsize": "one of 32k, 64k, 128k, 256k",
        "logbufs": "a number from 2 to 8",
        "allocsize": "a power of two from 4k to 1g",
        "sunit": "a number of 512-byte blocks",
        "swidth": "a number of 512-byte blocks",
        "dax": "one of inode, always, never",
    }.get(name)
    if expected and (value or name != "dax"):
        return f"{option}: {name} must be {expected}"
    if name in _VALUED:
        return f"{option}: a value is missing"
    if name in _SWITCHES or name in _FLAGS:
        return f"{option}: {name} takes no value"
    return f'unknown XFS option "{option}"'


def _normal(option: str) -> str:
    """One spelling for each meaning, so that what is declared compares with what the kernel reports."""
    name, equals, value = option.replace('"', "").partition("=")
    if name.endswith("context") and equals:
        return f"{name}={value}"
    if name in ("allocsize", "logbsize") and equals:
        return f"{name}={_bytes(value)}"
    return _SPELLINGS.get(option, option)


def _bytes(size: str) -> int:
    found = re.fullmatch(r"(\d{1,12})([kKmMgG]?)", size)
    if not found:
        return 0
    return int(found.group(1)) << {"": 0, "k": 10, "m": 20, "g": 30}[found.group(2).lower()]
