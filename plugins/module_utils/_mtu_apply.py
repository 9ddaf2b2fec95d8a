# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Changes MTUs so that they come back by themselves: arm a timer that needs nobody, change, and later confirm or undo."""

from __future__ import annotations

import base64
import contextlib
import glob
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence

from ansible_collections.slipway.mlops.plugins.module_utils import _files, _mtu_undo, _netlink
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Failed
from ansible_collections.slipway.mlops.plugins.module_utils._mtu_managers import Edit
from ansible_collections.slipway.mlops.plugins.module_utils._mtu_plan import Step

FOLDER = "/run/slipway/link_mtu"


def pending(folder: str = FOLDER) -> str:
    """What an earlier change waits for, as a sentence; "" where none does."""
    for path in glob.glob(os.path.join(folder, "armed-*.json")):
        with contextlib.suppress(FileNotFoundError):
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
            left = record["until"] - time.time()
            if left > -5:
                links = ", ".join(name for name, _mtu in record["undo"])
                return f"an earlier change ({links}) is not confirmed yet and will be undone in {max(0, left):.0f} s; run again after that"
            os.unlink(path)  # its timer died with an earlier boot, or was stopped
    return ""


def change(steps: Sequence[Step], seconds: int, folder: str = FOLDER) -> str:
    """Set the MTUs for `seconds`, after which they go back unless `confirm` comes first. Returns the token for that."""
    token = secrets.token_hex(8)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    undo = [[step.name, step.before] for step in reversed(steps)]
    record = {"token": token, "until": time.time() + seconds, "undo": undo}
    _files.write_atomic(_mtu_undo.armed_file(folder, token), json.dumps(record).encode(), mode=0o600)
    try:
        _arm(folder, token, seconds)
        for step in steps:
            _netlink.set_mtu(step.name, step.after)
        now = {link.name: link.mtu for link in _netlink.links()}
        for step in steps:
            if now.get(step.name) != step.after:
                raise Failed(f"{step.name}: was set to {step.after}, and the kernel says {now.get(step.name)}")
    except (OSError, subprocess.SubprocessError, Failed) as error:
        raise Failed(f"{_words(error)}. {undo_now(token, folder)}") from error
    return token


def keep(token: str, edits: Sequence[Edit], folder: str = FOLDER) -> bool:
    """Write the files that keep the change over a boot. Whoever undoes it now, the timer too, puts these back. False where it has been undone already."""
    files = [[edit.path, None if edit.before is None else _encoded(edit.before), _encoded(edit.after), edit.load] for edit in edits]
    _files.write_atomic(_mtu_undo.files_file(folder, token), json.dumps(files).encode(), mode=0o600)
    try:
        write(edits)
    except (OSError, subprocess.SubprocessError, Failed) as error:
        raise Failed(f"{_words(error)}. {undo_now(token, folder)}") from error
    if os.path.exists(_mtu_undo.armed_file(folder, token)):
        return True
    _mtu_undo.put_back({"undo": [], "files": files})  # the timer came between
    _disarm(folder, token, "undone")
    return False


def confirm(token: str, folder: str = FOLDER) -> bool:
    """The change stays: stop the timer. False where it has been undone already."""
    if _mtu_undo.claim(folder, token, "confirmed") is None:
        return False
    _disarm(folder, token, "confirmed")
    return True


def undo_now(token: str, folder: str = FOLDER) -> str:
    """Put the old MTUs back without waiting for the timer; a sentence on how that went."""
    record = _mtu_undo.claim(folder, token, "undone")
    if record is None:
        return "The old MTU is back: the timer has put it back."
    stuck = _mtu_undo.put_back(record)
    _disarm(folder, token, "undone")
    return _back(stuck)


def write(edits: Sequence[Edit]) -> None:
    """Write the managers' files and let them load these. Whatever fails, all files are what they were."""
    done: list[Edit] = []
    try:
        for edit in edits:
            os.makedirs(os.path.dirname(edit.path), exist_ok=True)
            done.append(edit)
            _files.write_atomic(edit.path, edit.after, new_mode=edit.new_mode)
        for edit in edits:
            if edit.load:
                _run(edit.load)
    except (OSError, subprocess.SubprocessError, Failed) as error:
        for edit in reversed(done):
            if edit.before is None:
                _files.remove(edit.path)
            else:
                _files.write_atomic(edit.path, edit.before)
        raise Failed(f"{_words(error)}; no file was changed") from error


def _arm(folder: str, token: str, seconds: int) -> None:
    script = os.path.join(folder, "undo.py")
    _files.write_atomic(script, _source().encode(), mode=0o600)
    argv = [sys.executable, "-I", script, folder, token]
    if os.path.isdir("/run/systemd/system"):
        # A unit of its own: it outlives the ssh session even where logind kills what a session leaves.
        timer = ["--on-active", f"{seconds}s", "--timer-property=AccuracySec=100ms", "--unit", _unit(token)]
        _run(["systemd-run", "--quiet", "--collect", *timer, *argv, "0"])
    else:
        null = subprocess.DEVNULL
        subprocess.Popen(  # pylint: disable=ansible-bad-function
            [*argv, str(seconds)], stdin=null, stdout=null, stderr=null, start_new_session=True, close_fds=True, cwd="/"
        )


def _disarm(folder: str, token: str, end: str) -> None:
    """The timer finds nothing any more; stopping it only tidies up."""
    for path in (os.path.join(folder, f"{end}-{token}.json"), _mtu_undo.files_file(folder, token)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    if os.path.isdir("/run/systemd/system"):
        with contextlib.suppress(OSError, subprocess.SubprocessError, Failed):
            _run(["systemctl", "stop", _unit(token) + ".timer"])


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _unit(token: str) -> str:
    return "slipway-link-mtu-" + token


def _source() -> str:
    """Text of the undo program. The module runs from a zip file, so the loader is asked, not the disk."""
    text = _mtu_undo.__loader__.get_source(_mtu_undo.__name__)  # type: ignore[union-attr]
    if not text:
        raise Failed("the source of the undo program is not at hand; nothing was changed")
    return str(text)


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=30)  # pylint: disable=ansible-bad-function
    if done.returncode:
        raise Failed(f"{' '.join(argv)} failed ({done.returncode}): {done.stdout.decode('utf-8', 'replace').strip()}")


def _back(stuck: Sequence[str]) -> str:
    return "Not put back: " + "; ".join(stuck) + "." if stuck else "The old MTU is back."


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else f"the kernel refused: {error.strerror}"
    return str(error)
