# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the containers of a failed workload wrote last, for the error message. Values of Secrets that they use are taken out."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from ._health import WORKLOADS, clean, judge, owns, secret_names
from ._model import READY, Cluster, ClusterError, Object, Ref

LINES = 10  # of a container
NO_LOG = ("failed to try resolving symlinks", "unable to retrieve container logs")  # a kubelet's answer instead of a log that is gone
PODS = 3  # whose words are told; the others mostly say the same


def last_words(cluster: Cluster, late: Iterable[Ref], state: Mapping[Ref, Object | None], pods: Mapping[Ref, Object]) -> list[str]:
    """Lines for people, none where nothing can be read."""
    told: list[str] = []
    shown: set[Ref] = set()
    for ref in late:
        live = state.get(ref)
        for pod_ref, pod in pods.items():
            mine = pod_ref == ref or (live is not None and ref.kind in WORKLOADS and pod_ref.namespace == ref.namespace and owns(live, pod))
            if mine and pod_ref not in shown and len(shown) < PODS and judge(pod).state != READY:
                shown.add(pod_ref)
                told += _of_pod(cluster, pod_ref, pod)
    return told


def _of_pod(cluster: Cluster, ref: Ref, pod: Object) -> list[str]:
    result = []
    status = pod.get("status") or {}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = container.get("state") or {}
        previous = "waiting" in state and bool((container.get("lastState") or {}).get("terminated"))
        if container.get("ready") or ("waiting" in state and not previous):
            continue
        name, words = container.get("name", ""), f"last lines of {ref.name}, container {container.get('name')}:"
        try:
            text = _log(cluster, ref, name, previous)
        except ClusterError:
            continue
        try:
            hidden = _secret_values(cluster, ref.namespace, pod)
        except ClusterError:
            result.append(f"{words} not shown, since this account may not read the Secrets whose values they may hold")
            continue
        lines = [clean(_redacted(line, hidden)) for line in text.splitlines() if line.strip()]
        if lines:
            result += [words, *(f"  {line}" for line in lines)]
    return result


def _log(cluster: Cluster, ref: Ref, container: str, previous: bool) -> str:
    """The last lines of the container that died; of its successor where the kubelet is just removing those."""
    for which in (previous, not previous):
        text = cluster.logs(ref.namespace, ref.name, container, LINES, which)
        if not text.startswith(NO_LOG):
            return text
    return ""


def _redacted(line: str, hidden: Iterable[str]) -> str:
    for value in hidden:
        line = line.replace(value, "***")
    return line


def _secret_values(cluster: Cluster, namespace: str, pod: Object) -> list[str]:
    """Values of the Secrets that this pod refers to, longest first; of one with several lines each line, for a log may begin in its middle."""
    values = set()
    for name in set(secret_names(pod.get("spec"))):
        secret = cluster.get(Ref("v1", "Secret", namespace, name)) or {}
        for value in (secret.get("data") or {}).values():
            try:
                text = base64.b64decode(value).decode()
            except ValueError:
                continue
            values |= {part for line in text.splitlines() for part in (line, line.strip()) if len(part) > 3}
    return sorted(values, key=len, reverse=True)
