# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A client of Aim in another pod: `prove` logs a run and reads every value back; `close` ends runs whose writer is dead."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

UI = os.environ["AIM_UI_URL"].rstrip("/")
TRACKING = os.environ["AIM_TRACKING_URL"]
EXPERIMENT = "slipway-verify"
POINTS = int(os.environ.get("AIM_POINTS", "100"))
SECONDS = float(os.environ.get("AIM_SECONDS", "60"))


def ask(path: str, body: Any = None, method: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(UI + path, data, {"Content-Type": "application/json"}, method=method or ("POST" if data else "GET"))
    with urllib.request.urlopen(request, timeout=15) as answer:
        return json.loads(answer.read() or "null")


def until(what: str, look: Any) -> Any:
    """The first good answer; the last bad one is the reason otherwise."""
    end, last = time.monotonic() + SECONDS, ""
    while time.monotonic() < end:
        try:
            found, last = look()
            if found:
                return last
        except (OSError, ValueError, KeyError, IndexError) as error:
            last = f"{type(error).__name__}: {error}"
        time.sleep(1)
    sys.exit(f"{what} did not come true in {SECONDS:.0f} s: {last}")


def prove() -> None:
    """Exactly the values that were logged, by the UI's own API, and the run closed."""
    from aim import Run

    values = [math.sin(step / 10) for step in range(POINTS)]
    run = Run(repo=TRACKING, experiment=EXPERIMENT, system_tracking_interval=None, log_system_params=False, capture_terminal_logs=False)
    for step, value in enumerate(values):
        run.track(value, name="proof", step=step)
    run.close()
    hash_ = run.hash

    def read() -> tuple[bool, Any]:
        about = ask(f"/api/runs/{hash_}/info")["props"]
        got = ask(f"/api/runs/{hash_}/metric/get-batch", [{"name": "proof", "context": {}}])[0]["values"]
        return (got == values and not about["active"]), f"{len(got)} of {POINTS} values, active: {about['active']}"

    until("what was logged", read)
    ask(f"/api/runs/{hash_}", method="DELETE")
    print(f"{POINTS} values of run {hash_} logged through {TRACKING} and read back from {UI}")


def close() -> None:
    """Ends the named runs, and those that began long enough ago; says which others are open. Ending a live run does not stop its writer."""
    from aim.sdk.repo import Repo

    names, hours = os.environ.get("AIM_CLOSE", "").split(), float(os.environ.get("AIM_CLOSE_AFTER_HOURS", "0"))
    repository = Repo.from_path(TRACKING)
    begun = {}
    for hash_ in repository.list_active_runs():
        try:
            about = ask(f"/api/runs/{hash_}/info")["props"]
        except urllib.error.HTTPError:
            continue
        if about["active"]:
            begun[hash_] = about
    unknown = [name for name in names if name not in begun]
    if unknown:
        sys.exit(f"Not open, or not there: {', '.join(unknown)}. Open are: {', '.join(begun) or 'none'}.")
    old = [hash_ for hash_, about in begun.items() if hours and time.time() - about["creation_time"] > hours * 3600]
    for hash_ in dict.fromkeys(names + old):
        repository._remote_repo_proxy._close_run(hash_)
        until(f"the end of run {hash_}", lambda hash_=hash_: (not ask(f"/api/runs/{hash_}/info")["props"]["active"], "still active"))
        print(f"closed {hash_}")
    for hash_, about in begun.items():
        if hash_ not in names + old:
            print(f"open: {hash_} ({about['experiment']['name']}, begun {time.strftime('%Y-%m-%dT%H:%MZ', time.gmtime(about['creation_time']))})")


if __name__ == "__main__":
    {"prove": prove, "close": close}[sys.argv[1]]()
