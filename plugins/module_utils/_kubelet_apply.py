# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries out a plan for the kubelet of this host: files, restart, proof, and the way back."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

from . import _host_change as host_change
from . import _kubelet_probe, _processes
from ._kubelet_plan import Plan
from ._kubelet_probe import Kubelet

# A kubelet that cannot live with its configuration ends within a second; one that stays this long has read it.
_SETTLED_SECONDS = 3.0


def apply(kubelet: Kubelet, plan: Plan, journal: host_change.Journal, seconds: float) -> None:
    """Write, restart, and see the kubelet healthy; host_change.Failed, with the old files back, where it is not within `seconds`."""
    unit, began = kubelet.unit or "kubelet.service", time.time()
    host_change.change(
        journal,
        plan.edits,
        {"unit": unit, "healthz": kubelet.healthz or "", "node": kubelet.node, "machine_id": kubelet.machine_id},
        restart=lambda: host_change.restart_unit(unit),
        prove=lambda: _healthy(unit, kubelet.healthz, seconds),
        log=lambda: host_change.unit_log(unit, began),
    )


def put_back(journal: host_change.Journal, seconds: float) -> str:
    """Take an unconfirmed change back; a sentence on how that went."""
    about = journal.about()
    if not about:
        return "Nothing was left to put back."
    return host_change.take_back(
        journal,
        restart=lambda: host_change.restart_unit(about["unit"]),
        prove=lambda: _healthy(about["unit"], about["healthz"] or None, seconds),
    )


def _healthy(unit: str, healthz: str | None, seconds: float) -> str:
    """Empty once the restarted kubelet answers and is still the same process a moment later."""
    end = time.monotonic() + seconds
    while True:
        why = host_change.until(lambda: _answer(healthz) or ("" if _pids(unit) else "it does not run"), end - time.monotonic())
        if why:
            return f"{unit} did not become healthy within {seconds:.0f} seconds: {why}."
        pids = _pids(unit)
        time.sleep(_SETTLED_SECONDS)
        if _pids(unit) == pids and not _answer(healthz):
            return ""
        if time.monotonic() > end:
            return f"{unit} starts again and again."


def _pids(unit: str) -> set[int]:
    return {process.pid for process in _processes.find(_kubelet_probe.PROGRAMS) if process.unit in (unit, "")}


def _answer(healthz: str | None) -> str:
    """Why the kubelet's own health check is not content, "" where it is, or where the check is switched off."""
    if healthz is None:
        return ""
    try:
        # A proxy has no part in a request to this host itself.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(healthz, timeout=5) as answer:
            return "" if answer.status == 200 else f"{healthz} answers {answer.status}"
    except (OSError, urllib.error.URLError) as error:
        return "{}: {}".format(healthz, getattr(error, "reason", error))
