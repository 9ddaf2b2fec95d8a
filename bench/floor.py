# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the API server alone takes: a tight client that sends ready-made requests over kept connections and looks at nothing but the status.

200 objects of eight kinds (those of objects.py): server-side apply of new ones and of unchanged ones over one connection, over as many as our modules use,
and over twice as many; GETs, and one LIST of each kind. Beside it, in the same rounds, our task with the same objects, so that its distance from the limit
is a number.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from contenders import EMPTY, ROOT, SLIPWAY
from objects import CREATE, SAME, Contenders, objects, spaces
from results import Bench

sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.slipway.mlops.plugins.module_utils._connect import endpoint
from ansible_collections.slipway.mlops.plugins.module_utils._http import Pool
from ansible_collections.slipway.mlops.plugins.module_utils._kinds import BUILT_IN
from ansible_collections.slipway.mlops.plugins.module_utils._manifest import read
from ansible_collections.slipway.mlops.plugins.module_utils._parallel import WORKERS
from ansible_collections.slipway.mlops.plugins.module_utils._yaml import load

SIZE = 200
OURS = WORKERS
CONNECTIONS = (1, OURS, 2 * OURS)


class Tight:
    """The requests of one namespace, encoded before the clock starts."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self._endpoint = endpoint({"kubeconfig": kubeconfig}, {}, load)
        self._requests = [(path_of(item.ref), json.dumps(item.body).encode()) for item in read(objects(SIZE), namespace)]

    def apply(self, connections: int) -> float:
        return self._timed(connections, [("PATCH", path + "?fieldManager=floor&fieldValidation=Strict", body) for path, body in self._requests])

    def get(self, connections: int) -> float:
        return self._timed(connections, [("GET", path, None) for path, _body in self._requests])

    def list(self) -> float:
        collections = sorted({path.rpartition("/")[0] for path, _body in self._requests})
        return self._timed(OURS, [("GET", path + "?limit=500", None) for path in collections])

    def _timed(self, connections: int, requests: list[tuple[str, str, bytes | None]]) -> float:
        pool = Pool(self._endpoint)

        def one(request: tuple[str, str, bytes | None]) -> int:
            method, path, body = request
            return pool.send(method, path, body, {"Content-Type": "application/apply-patch+yaml"} if body else {}, 60).status

        with ThreadPoolExecutor(connections) as threads:
            began = time.monotonic()
            statuses = set(threads.map(one, requests))
            seconds = time.monotonic() - began
        pool.close()
        if statuses - {200, 201}:
            raise SystemExit(f"the API server answered {sorted(statuses)}")
        return seconds


def path_of(ref: Any) -> str:
    root = "/apis/" + ref.api_version if "/" in ref.api_version else "/api/" + ref.api_version
    return f"{root}/namespaces/{ref.namespace}/{BUILT_IN[(ref.api_version, ref.kind)].plural}/{ref.name}"


def samples(contenders: Contenders, number: int) -> Iterator[tuple[str, str, float]]:
    """(case, contender, seconds) of one round."""
    names = [SLIPWAY, *(f"tight client, {count} connections" for count in CONNECTIONS)]
    with spaces(contenders, names, str(number)) as homes:
        for count in CONNECTIONS:
            name = f"tight client, {count} connections"
            tight = Tight(contenders.kubeconfig, homes[name])
            yield f"{SIZE} objects, first apply", name, tight.apply(count)
            time.sleep(0.5)  # for what the controllers make of them
            yield f"{SIZE} objects, applied again", name, tight.apply(count)
            yield f"{SIZE} objects, GET", name, tight.get(count)
            if count == OURS:
                yield f"{SIZE} objects, LIST of each kind", name, tight.list()
        for case, told in ((CREATE, "first apply"), (SAME, "no change")):
            empty = contenders.run(EMPTY, case, "").wall
            whole = contenders.run(SLIPWAY, case, homes[SLIPWAY]).wall
            yield f"{SIZE} objects, {told}", f"{SLIPWAY}, above an empty play", whole - empty
            time.sleep(0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kubeconfig", default=str(ROOT / ".lab" / "kubeconfig"))
    parser.add_argument("--kubectl", default=str(ROOT / ".lab" / "bin" / "kubectl"))
    options = parser.parse_args()
    bench = Bench("floor", "The floor: what the API server alone takes", f"python bench/floor.py --runs {options.runs}")
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        contenders = Contenders(options.kubeconfig, options.kubectl, Path(folder), SIZE)
        for number in range(options.runs):
            for case, name, seconds in samples(contenders, number):
                found.setdefault((case, name), []).append(seconds)
    rows = {key: bench.add(*key, values).median for key, values in sorted(found.items())}
    tight, ours = f"tight client, {OURS} connections", f"{SLIPWAY}, above an empty play"
    for case, floor in (("first apply", "first apply"), ("no change", "LIST of each kind")):
        alone, above = rows[(f"{SIZE} objects, {floor}", tight)], rows[(f"{SIZE} objects, {case}", ours)]
        bench.ratio(f"tight client / ours above an empty play, {SIZE} objects, {case}", above, alone)
    bench.notes.append("Client and server share the machine's cores. A tight client has no Ansible, reads no answer, and knows beforehand what is to be sent.")
    bench.write()
    print(bench.markdown(), flush=True)


if __name__ == "__main__":
    main()
