# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What to write so that CRI-O has a runtime handler: a drop-in of ours, never crio.conf. Pure.

CRI-O takes `runtimes` of all its files together (crio.conf(5), crio.conf.d(5)); a handler without monitor_path fails with "conmon not in PATH"
where conmon lies in libexec.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _toml as toml
from . import _toml_edit as toml_edit
from ._config_text import Unreadable, decode
from ._containerd_plan import Handler
from ._host_change import Edit
from ._host_input import Refused

CONFIG, DROP_INS = "/etc/crio/crio.conf", "/etc/crio/crio.conf.d"
DROP_IN = f"{DROP_INS}/99-slipway-gpu-runtime.conf"


def plan(files: Mapping[str, bytes | None], handler: Handler, present: bool = True) -> tuple[Edit, ...]:
    """The edit of our drop-in; Refused where another file defines the same handler or cannot be read, and where CRI-O cannot do what is wanted."""
    before = files.get(DROP_IN)
    if present and handler.cdi is False:
        raise Refused(["CRI-O injects devices by CDI whenever a container asks for one, and has no setting against that: leave `cdi` out."])
    if not present:
        return () if before is None else (Edit(DROP_IN, before, None),)
    default = ""
    runtimes: dict[str, dict[str, Any]] = {}
    for path in [CONFIG, *sorted(path for path in files if path.startswith(DROP_INS + "/"))]:
        content = files.get(path)
        if content is None or path == DROP_IN:
            continue
        try:
            document = toml.parse(decode(content))
        except Unreadable as error:
            raise Refused([f"{path}: {error}. The file was left alone."]) from None
        runtime = document.get(("crio", "runtime")) or {}
        default = runtime.get("default_runtime") or default
        if handler.name in (runtime.get("runtimes") or {}):
            raise Refused([f"{path}: the runtime {handler.name} is defined there by somebody else. Remove it, or give `handler` another name."])
        runtimes.update(runtime.get("runtimes") or {})
    base: dict[str, Any] = runtimes.get(default) or next(iter(runtimes.values()), {})
    table = {"runtime_path": handler.path, "runtime_type": "oci"}
    table.update({key: base[key] for key in ("monitor_path", "runtime_root", "monitor_cgroup", "monitor_env") if base.get(key)})
    text = "# Written by slipway.mlops.container_runtime.\n"
    if handler.is_default:
        text += toml_edit.table(("crio", "runtime"), {"default_runtime": handler.name})
    text += toml_edit.table(("crio", "runtime", "runtimes", handler.name), table)
    return () if before == text.encode() else (Edit(DROP_IN, before, text.encode()),)


def notes(handler: Handler) -> tuple[str, ...]:
    """What was asked for and takes no edit."""
    return ("CRI-O injects devices by CDI without being told: nothing was written for `cdi`.",) if handler.cdi else ()
