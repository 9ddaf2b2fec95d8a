# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._containerd_plan import Handler
from ansible_collections.slipway.mlops.plugins.module_utils._crio_plan import DROP_IN, DROP_INS, notes, plan
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Refused
from golden import GOLDEN

HANDLER = Handler("nvidia", "/usr/bin/nvidia-container-runtime")
PACKAGED = {f"{DROP_INS}/10-crio.conf": (GOLDEN / "crio" / "crun.conf").read_bytes()}


def test_the_drop_in_is_as_the_golden_one_and_runs_where_conmon_is_not_in_the_path() -> None:
    (edit,) = plan(PACKAGED, HANDLER)
    assert (edit.path, edit.after) == (DROP_IN, (GOLDEN / "crio" / "after.conf").read_bytes())
    assert plan({**PACKAGED, DROP_IN: edit.after}, HANDLER) == ()
    assert plan({**PACKAGED, DROP_IN: edit.after}, HANDLER, present=False)[0].after is None
    assert plan(PACKAGED, HANDLER, present=False) == ()


def test_it_can_be_the_default() -> None:
    (edit,) = plan(PACKAGED, Handler("nvidia", "/x", True))
    assert b'[crio.runtime]\n  default_runtime = "nvidia"' in (edit.after or b"")


def test_a_handler_of_somebody_else_is_refused_with_the_file() -> None:
    foreign = {f"{DROP_INS}/99-nvidia.toml": b'[crio.runtime.runtimes.nvidia]\nruntime_path = "/x"\n'}
    with pytest.raises(Refused, match=r"99-nvidia\.toml: the runtime nvidia is defined there"):
        plan({**PACKAGED, **foreign}, HANDLER)


def test_a_file_that_cannot_be_read_is_left_alone() -> None:
    with pytest.raises(Refused, match="line 1, column 2"):
        plan({f"{DROP_INS}/10-crio.conf": b"[\n"}, HANDLER)


def test_cdi_needs_no_word_and_cannot_be_switched_off() -> None:
    wanted = Handler("nvidia", "/x", cdi=True)
    assert plan(PACKAGED, wanted)[0].after == plan(PACKAGED, Handler("nvidia", "/x"))[0].after
    assert notes(wanted) and not notes(HANDLER)
    with pytest.raises(Refused, match="has no setting against that"):
        plan(PACKAGED, Handler("nvidia", "/x", cdi=False))
