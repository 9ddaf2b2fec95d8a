# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the load generators of an AIStore cluster measured, from the logs of their Jobs."""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

from . import _ais_load as load
from . import _files
from ._model import Refused
from ._module import Call

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "default": "ais"},
    "namespace": {"type": "str", "default": "ais"},
    "seconds": {"type": "int", "default": 30},
    "directory": {"type": "path", "default": ""},
    "about": {"type": "dict", "default": {}},
}
LINES_PER_SECOND, LINES_BESIDES = 40, 2000  # of one loader's log; an interval of a second takes 35


def run(call: Call) -> dict[str, Any]:
    """Reads the logs of the finished loaders, one by node."""
    name, namespace = call.params["name"], call.params["namespace"]
    labels = f"app.kubernetes.io/name=aistore-load,app.kubernetes.io/instance={name}"
    pods = call.cluster.list("v1", "Pod", namespace, labels=labels).items
    if not pods and call.check_mode:
        return {"changed": False, "summary": {}, "table": "", "files": [], "failures": [], "title": f"AIStore {name}: no load is sent in check mode"}
    if not pods:
        raise Refused([f"There is no load generator of AIStore {name} in namespace {namespace}."])
    runs, problems = [], []
    lines = LINES_PER_SECOND * call.params["seconds"] + LINES_BESIDES
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName", "")
        text = call.cluster.logs(namespace, pod["metadata"]["name"], "load", lines=lines)
        try:
            runs.append(load.parse(node, text))
        except ValueError as error:
            problems.append(f"{pod['metadata']['name']} on node {node}: {error}")
    if problems:
        raise Refused(problems)
    failures = [f"{item.node}: {line}" for item in runs for line in item.failures[:1]]
    # The page of each later report shows the figures, too.
    measured = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    about = {"measured": measured, "cluster": name, "loaders": ", ".join(sorted(item.node for item in runs)), **call.params["about"]}
    if failures:
        about["first request that failed"] = failures[0]
    found = load.summary(runs)
    title = f"AIStore {name}: " + ", ".join(f"{row['mib_per_second']} MiB/s {kind.upper()}" for kind, row in found.items() if row["requests"])
    files = {
        "aistore-load.json": json.dumps({"about": about, "summary": found}, indent=2, sort_keys=True) + "\n",
        "aistore-load.md": load.table(found, about),
        "aistore-load.svg": load.plot(runs, title),
    }
    written = _write(call.params["directory"], files, call.check_mode) if call.params["directory"] else []
    return {"changed": bool(written), "summary": found, "table": files["aistore-load.md"], "files": written, "title": title, "failures": failures}


def _write(directory: str, files: dict[str, str], check_mode: bool) -> list[str]:
    if not check_mode:
        os.makedirs(directory, mode=0o700, exist_ok=True)  # as the report beside it
    written = []
    for name, content in files.items():
        path = os.path.join(directory, name)
        written.append(path)
        if not check_mode:
            _files.write_atomic(path, content.encode())
    return written
