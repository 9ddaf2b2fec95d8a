# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps in which a host module changes a daemon, whichever daemon it is: plan, apply, confirm, put_back, or all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ._host_change import Journal
from ._host_input import Refused

# Options that all such modules have; what they mean is in their documentation.
STEPS: dict[str, dict[str, Any]] = {
    "cluster": {"type": "bool", "default": True},
    "node": {"type": "str"},
    "timeout": {"type": "int", "default": 180},
    "turn_timeout": {"type": "int", "default": 3600},
    "max_nodes_out": {"type": "int", "default": 0},
    "step": {"type": "str", "choices": ["all", "plan", "apply", "confirm", "put_back"], "default": "all"},
}

Daemon = TypeVar("Daemon")


@dataclass(frozen=True)
class Stepper:
    """One call of such a module: its options, its journal, and how its daemon gets its old files back (a sentence on how that went)."""

    params: Mapping[str, Any]
    check_mode: bool
    journal: Journal
    put_back: Callable[[Journal, float], str]

    @property
    def seconds(self) -> float:
        return float(self.params["timeout"])

    @property
    def pending(self) -> bool:
        """Whether an earlier run was killed, or has not confirmed yet."""
        return bool(self.journal.pending())

    @property
    def only_looks(self) -> bool:
        return self.check_mode or self.params["step"] == "plan"

    def settled(self) -> dict[str, Any] | None:
        """The result of the steps that need no look at the daemon, None for the others."""
        if self.params["step"] == "confirm":
            self.journal.confirm()
            return {"changed": False}
        if self.params["step"] == "put_back":
            with self.journal.locked():
                began = time.time()
                return {"changed": True, "message": self.put_back(self.journal, self.seconds), "restarted_at": began}
        return None

    def probed(self, probe: Callable[[], Daemon]) -> Daemon | None:
        """The daemon as it runs. After a killed run that it cannot live with, the way back comes first; None where nothing may be done yet."""
        try:
            return probe()
        except Refused:
            if not self.pending:
                raise
            if self.only_looks:
                return None
        with self.journal.locked():
            self.put_back(self.journal, self.seconds)
        return probe()

    def owed(self) -> dict[str, Any]:
        """What a look says where `probed` gave None."""
        about = self.journal.about()
        return {
            "changed": True,
            "restarted": True,
            "pending": True,
            "actions": ["put back what an interrupted run left behind, and restart"],
            "node": self.params["node"] or about["node"],
            "machine_id": about["machine_id"],
        }

    def carried_out(self, apply: Callable[[], None]) -> dict[str, float]:
        """Do it, unless this only looks; `restarted_at` is the host's time before it."""
        if self.only_looks:
            return {}
        with self.journal.locked():
            began = time.time()
            apply()
            if self.params["step"] == "all":
                self.journal.confirm()
        return {"restarted_at": began}
