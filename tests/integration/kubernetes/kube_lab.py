# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this folder import. Not in conftest.py: each folder has one, and which of them `import conftest` finds is chance."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.slipway.mlops.plugins.module_utils import _run_k8s_manifests
from ansible_collections.slipway.mlops.plugins.module_utils._module import Call, outcome

ROOT = Path(__file__).resolve().parents[3]


class Module:
    """k8s_manifests called in this process."""

    def __init__(self, namespace, **connection):
        self.namespace, self.connection = namespace, connection
        self.lines = []

    def __call__(self, *manifests, check=False, diff=False, clock=None, environ=None, **options):
        defaults = {name: option.get("default") for name, option in _run_k8s_manifests.ARGUMENTS.items()}
        params = {**defaults, "name": "set", "namespace": self.namespace, "manifests": list(manifests), "wait_timeout": 60, **self.connection, **options}
        call = Call(params, check, diff, self.lines.append, clock=clock, environ=environ if environ is not None else {})
        return outcome(_run_k8s_manifests.run, call)
