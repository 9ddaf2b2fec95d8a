# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options in, one call, result out: what both doorways of a Kubernetes module share, and the doorway of the module file.

The other doorway, inside the controller, is plugins/plugin_utils/k8s_action.py.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from . import _kubeconfig, _yaml
from ._clock import SystemClock
from ._cluster import PATIENCE, HttpCluster
from ._connect import Endpoint, endpoint
from ._connection import CONNECTION
from ._model import Clock, Cluster, ClusterError, Progress, Refused, Stopped

TASK_TIMEOUT = "SLIPWAY_TASK_TIMEOUT"  # how the controller tells a module process the task's `timeout`: "seconds@when it began"


class Call:
    """One run of a module: its options and how it reaches the world. Tests give a fake cluster and clock."""

    def __init__(
        self,
        params: Mapping[str, Any],
        check_mode: bool = False,
        diff: bool = False,
        progress: Progress | None = None,
        clock: Clock | None = None,
        cluster: Cluster | None = None,
        environ: Mapping[str, str] | None = None,
        origin: str = "",
    ) -> None:
        self.params = params
        self.check_mode = check_mode
        self.diff = diff
        self.clock: Clock = clock or SystemClock()
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self.origin = origin  # "site.yml:12" where the controller knows it
        self.patience = PATIENCE  # seconds in which a server that gives no answer is asked again
        self.secrets: set[str] = _kubeconfig.secrets(params.get("kubeconfig"))  # never shown, wherever they turn up
        self.public: set[str] = set()  # names that the task itself says; no secret is made of them
        self._progress = progress
        self._cluster = cluster

    def progress(self, line: str) -> None:
        """One line for people; secrets and control characters removed."""
        if self._progress is not None:
            self._progress(plain(censored(line, self.secrets)))

    @property
    def cluster(self) -> Cluster:
        """Connects at the first use; Refused where the options name no cluster."""
        if self._cluster is None:
            self._cluster = HttpCluster(self._endpoint, self.clock, self.patience)
        return self._cluster

    @property
    def names_cluster(self) -> bool:
        """Whether somebody chose this cluster; false for ~/.kube/config, KUBECONFIG or a pod's own account."""
        return bool(getattr(self.cluster, "explicit", True))

    @property
    def sent(self) -> int:
        return self._cluster.requests if self._cluster is not None else 0

    def _endpoint(self) -> Endpoint:
        found = endpoint(self.params, self.environ, _yaml.load)
        self.secrets |= {value.rpartition(" ")[2] for name, value in found.headers.items() if name == "Authorization"}
        return found


Run = Callable[[Call], dict[str, Any]]


def outcome(run: Run, call: Call) -> dict[str, Any]:
    """The result of one run; what it refuses or cannot do becomes `failed` with a message. Nothing secret is in it."""
    try:
        result = run(call)
    except Refused as refused:
        result = {"failed": True, "msg": "\n".join(refused.problems), "problems": refused.problems}
    except ClusterError as error:
        result = {"failed": True, "msg": str(error)}
        if error.status:
            result["status"] = error.status
    if call.sent:
        result.setdefault("server", call.cluster.server)
        result.setdefault("context", call.cluster.context)
        result["requests"] = call.sent
    result.setdefault("changed", False)
    return dict(censored(result, call.secrets, call.public))


def censored(value: Any, secrets: Collection[str], public: Collection[str] = ()) -> Any:
    """Without the secrets, wherever they stand in a text that is not public as a whole. As Ansible's own `remove_values`, but for numbers:
    `requests` is no PIN, and stays a number."""
    longest_first = sorted((secret for secret in secrets if len(secret) > 2), key=len, reverse=True)
    return _censored(value, longest_first, public) if longest_first else value


def _censored(value: Any, secrets: Sequence[str], public: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _censored(item, secrets, public) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_censored(item, secrets, public) for item in value]
    if not isinstance(value, str) or value in public:
        return value
    if value in secrets:
        return "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    for secret in secrets:
        value = value.replace(secret, "********")
    return value


def plain(line: str) -> str:
    """Without control characters: a pod's log must not drive a terminal."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", line)


class _Module(AnsibleModule):  # type: ignore[misc]
    def _log_invocation(self) -> None:
        """Options hold manifests, and manifests may hold secrets: nothing of them goes to the host's journal."""

    def fail_json(self, msg: str, **kwargs: Any) -> None:
        """Ansible says no to bad options here before we see them, and would show them all."""
        super().fail_json(msg, **{"invocation": {"module_args": visible(self.params, self.argument_spec)}, **kwargs})


def module_main(run: Run, arguments: Mapping[str, Any], **rules: Any) -> None:
    """The doorway of a module file. `rules` are AnsibleModule's (mutually_exclusive, required_if ...)."""
    module = _Module(argument_spec={**CONNECTION, **arguments}, supports_check_mode=True, **rules)
    clock = SystemClock()
    seconds, _at, began = os.environ.get(TASK_TIMEOUT, "").partition("@")
    if seconds and began:
        spent = time.time() - float(began)
        clock.stop_after(float(seconds) - (spent if 0 < spent < float(seconds) else 0))  # the clocks of two machines may differ
    call = Call(module.params, module.check_mode, bool(module._diff), clock=clock)
    try:
        result = outcome(run, call)
    except Stopped:
        result = {"failed": True, "changed": False, "msg": "The task's time is up; nothing more is written."}
    except BaseException:
        clock.stop()
        raise
    # Ansible would add all options under `invocation`, and show them at -vvv.
    module.exit_json(**{"invocation": {"module_args": visible(module.params, module.argument_spec)}, **result})


def visible(params: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The options that may be shown. One that is not known may be a misspelt one with manifests in it."""
    hidden = {name for name, option in CONNECTION.items() if option.get("no_log")} | {"kubeconfig", "manifests", "secrets", "proxy"}
    return {key: value for key, value in params.items() if key in known and key not in hidden and value is not None}
