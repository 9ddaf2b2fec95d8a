# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Calls to AIStore's daemons through the API server's pod proxy, so that a controller needs neither pod addresses nor their DNS.

Control calls only: data is redirected to names that exist inside the cluster alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ._ais_layout import TARGET, Daemon
from ._model import Cluster, ClusterError

WORKERS = 8  # daemons asked at a time
PATIENCE = 10.0  # seconds for one answer
SILENCE = 3.0  # seconds for which one that gives none is asked again: who waits looks again anyway, and all others wait for this one
# Statuses of a daemon that will do it, only not now: data moves, or has begun to (409), or a primary that restarted is not ready yet (503).
NOT_NOW = (409, 503)


class AisError(ClusterError):
    """A daemon said no, or did not answer."""


class Ais:
    """The daemons of one AIStore cluster."""

    def __init__(self, cluster: Cluster, namespace: str, scheme: str = "http") -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._scheme = scheme
        self.told = 0  # messages that a daemon took

    def ask(self, daemon: Daemon, path: str, **query: str) -> Any:
        """GET; the decoded answer."""
        return self._call(daemon, "GET", path, query)

    def tell(self, daemon: Daemon, method: str, path: str, action: str, value: Any = None, name: str = "", **query: str) -> Any:
        """One of AIStore's action messages; the decoded answer, None where there is none."""
        message = {"action": action, **({"name": name} if name else {}), **({} if value is None else {"value": value})}
        answer = self._call(daemon, method, path, query, message, patience=60.0)
        self.told += 1
        return answer

    def statuses(self, daemons: Sequence[Daemon]) -> dict[str, dict[str, Any] | AisError]:
        """By pod: {"status": node_status, "mountpaths": ...} or why there is no answer. All at once."""

        def ask(daemon: Daemon) -> tuple[str, dict[str, Any] | AisError]:
            try:
                found = {"status": self.ask(daemon, "/v1/daemon", what="node_status")}
                if daemon.role == TARGET:
                    found["mountpaths"] = self.ask(daemon, "/v1/daemon", what="mountpaths")
                return daemon.pod, found
            except AisError as error:
                return daemon.pod, error

        if not daemons:
            return {}
        with ThreadPoolExecutor(min(WORKERS, len(daemons))) as pool:
            return dict(pool.map(ask, daemons))

    def buckets(self, proxy: Daemon) -> dict[tuple[str, str], dict[str, Any]]:
        """(provider, name) -> properties, of all buckets in the global namespace."""
        providers = self.ask(proxy, "/v1/daemon", what="bmd").get("providers") or {}
        found = {}
        for provider, namespaces in providers.items():
            for name, properties in (namespaces.get("@#") or {}).items():
                found[provider, name] = properties
        return found

    def _call(self, daemon: Daemon, method: str, path: str, query: Mapping[str, str], message: Any = None, patience: float = PATIENCE) -> Any:
        pod = f"https:{daemon.pod}" if self._scheme == "https" else daemon.pod
        url = f"/api/v1/namespaces/{self._namespace}/pods/{pod}:{daemon.port}/proxy{path}"
        body = None if message is None else json.dumps(message).encode()
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            answer = self._cluster.request(method, url, query=query, body=body, headers=headers, timeout=patience, patience=SILENCE)
        except ClusterError as error:
            raise AisError(f"{daemon.pod} does not answer: {error}") from error
        if answer.status >= 400:
            raise AisError(f"{daemon.pod} answers {method} {path} with {answer.status}: {_words(answer.body)}", answer.status)
        try:
            return json.loads(answer.body) if answer.body.strip() else None
        except ValueError:
            return answer.body.decode("utf-8", "replace").strip()


def _words(body: bytes) -> str:
    """The message of AIStore's or the API server's error, whichever it is."""
    text = body.decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
        return str(found.get("message") or text)[:600] if isinstance(found, dict) else text[:600]
    except ValueError:
        return text[:600] or "no reason given"
