# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real time, and the flag that ends a task: whoever waits or is about to send a request looks at it."""

from __future__ import annotations

import os
import threading
import time

from ._model import Stopped


class SystemClock:
    """The Clock of a running task. `stop`, or the end of the process that started this one, makes every thread that uses it raise Stopped."""

    def __init__(self, with_parent: bool = False) -> None:
        self._stopped = threading.Event()
        self._parent = os.getppid() if with_parent else 0

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if self._parent and os.getppid() != self._parent:
            self._stopped.set()
        if self._stopped.wait(max(0.0, seconds)):
            raise Stopped

    def stop(self) -> None:
        self._stopped.set()

    def stop_after(self, seconds: float) -> None:
        """Stops by itself: a module process outlives the task whose time is up, its writes must not."""
        timer = threading.Timer(seconds, self.stop)
        timer.daemon = True
        timer.start()
