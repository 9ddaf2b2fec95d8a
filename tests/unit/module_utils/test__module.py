# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The doorway of a module file says no to bad options without showing those that may be secret."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.slipway.mlops.plugins.module_utils import _run_k8s_manifests
from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main

GOOD = {"name": "set", "namespace": "team", "manifests": [{"stringData": {"k": "hunter2"}}], "kubeconfig": {"users": [{"user": {"token": "hunter2"}}]}}


@pytest.mark.parametrize(
    ("more", "told"), [({"wait": "hunter"}, "wait"), ({"manifest": "hunter2"}, "manifest"), ({"secrets": [{"value": "hunter2", "name": "x"}]}, "value")]
)
def test_bad_options_are_refused_without_the_secret_ones(capsys, more, told):
    with patch_module_args({**GOOD, **more}), pytest.raises(SystemExit):
        module_main(_run_k8s_manifests.run, _run_k8s_manifests.ARGUMENTS)
    text = capsys.readouterr().out
    result = json.loads(text)
    assert result["failed"] and told in result["msg"] and "hunter2" not in text
    # ansible-core 2.21 leaves it out where nobody asked for it.
    assert result.get("invocation", {"module_args": {"namespace": "team"}})["module_args"]["namespace"] == "team"
