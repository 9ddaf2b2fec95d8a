# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which edits give a host's engine the runtime, whichever engine and distribution it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from . import _containerd_plan, _crio_plan, _docker_plan
from ._containerd_plan import Containerd, Handler
from ._host_change import Edit
from ._host_input import Refused
from ._runtime_probe import Runtime


@dataclass(frozen=True)
class Plan:
    """`owed`: the files are as wanted, but the running engine does not know the handler (or still does). `reload`: SIGHUP is enough."""

    edits: tuple[Edit, ...]
    owed: bool = False
    reload: bool = False
    notes: tuple[str, ...] = ()


def plan(runtime: Runtime, handler: Handler, present: bool) -> Plan:
    """The plan; Refused where a file cannot be read, or where the distribution must be told in its own way."""
    if runtime.engine == "docker":
        content = runtime.files.get(runtime.config)
        edits = _docker_plan.plan(runtime.config, content, runtime.process.argv, handler, present)
        owed = present and runtime.docker is not None and _docker_plan.owed(runtime.docker, handler)
        return Plan(edits, owed=owed, reload=not _docker_plan.needs_restart(edits))
    if runtime.engine == "crio":
        return Plan(_crio_plan.plan(runtime.files, handler, present), _owed(runtime, handler, present), notes=_crio_plan.notes(handler))
    if runtime.flavor in ("k3s", "rke2"):
        return _rancher(runtime, handler, present)
    if runtime.flavor == "k0s":
        raise Refused(["k0s merges /etc/k0s/containerd.d/*.toml itself and stops with files of another version: put the runtime there, as its manual says."])
    if not runtime.version:
        raise Refused([f"the containerd at {runtime.socket} does not answer as a container runtime: its CRI part is off or broken. Mend that first."])
    wanted = _containerd_plan.plan(Containerd(runtime.version, runtime.config, runtime.drop_ins, runtime.files, runtime.flavor == "microk8s"), handler, present)
    return Plan(wanted.edits, owed=_owed(runtime, handler, present), notes=wanted.notes)


def _rancher(runtime: Runtime, handler: Handler, present: bool) -> Plan:
    """k3s and RKE2 look for NVIDIA's runtime when they start and write the handler `nvidia` themselves."""
    if handler.name != "nvidia" or handler.is_default or handler.cdi is not None:
        option = "default-runtime: nvidia" if handler.is_default else "config-v3.toml.d"
        raise Refused([f"{runtime.flavor} writes its containerd's configuration itself and calls the handler nvidia; other wishes go into its own {option}."])
    return Plan((), owed=present and _owed(runtime, handler, present))


def _owed(runtime: Runtime, handler: Handler, present: bool) -> bool:
    if runtime.status is None or not runtime.status.handlers:
        return False
    return (handler.name in runtime.status.handlers) != present
