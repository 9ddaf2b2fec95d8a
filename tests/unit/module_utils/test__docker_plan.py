# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _runtime_apply, _runtime_plan
from ansible_collections.slipway.mlops.plugins.module_utils._containerd_plan import Handler
from ansible_collections.slipway.mlops.plugins.module_utils._docker_plan import needs_restart, plan
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._processes import Process
from ansible_collections.slipway.mlops.plugins.module_utils._runtime_probe import Runtime
from golden import GOLDEN

PATH = "/etc/docker/daemon.json"
HANDLER = Handler("nvidia", "/usr/bin/nvidia-container-runtime")
CASES = sorted(path.name[: -len(".after.json")] for path in (GOLDEN / "docker").glob("*.after.json"))


@pytest.mark.parametrize("name", CASES)
def test_the_file_is_as_the_golden_one_byte_for_byte(name: str) -> None:
    before = (GOLDEN / "docker" / f"{name}.json").read_bytes()
    (edit,) = plan(PATH, before, [], HANDLER)
    assert edit.after == (GOLDEN / "docker" / f"{name}.after.json").read_bytes()
    assert plan(PATH, edit.after, [], HANDLER) == ()


@pytest.mark.parametrize("name", ["two-spaces", "tabs-and-another-runtime", "one-line"])
def test_what_was_added_goes_again_and_leaves_the_same_bytes(name: str) -> None:
    before = (GOLDEN / "docker" / f"{name}.json").read_bytes()
    after = plan(PATH, before, [], HANDLER)[0].after
    assert plan(PATH, after, [], HANDLER, present=False)[0].after == before


def test_no_file_and_an_empty_one_are_taken_as_no_settings() -> None:
    for before in (None, b"", b" \n"):
        (edit,) = plan(PATH, before, [], HANDLER)
        assert json.loads(edit.after or b"") == {"runtimes": {"nvidia": {"path": HANDLER.path, "args": []}}}


@pytest.mark.parametrize(
    "text",
    ["{}", json.dumps({"a": {"b": [1, {"c": "}"}]}, "d": '"{'}), '{\n\t"features": {"buildkit": true}\n}', '{"features":{}}', '{ "runtimes" : { } }'],
)
def test_default_runtime_and_cdi_are_members_of_their_own(text: str) -> None:
    before: dict[str, Any] = json.loads(text)
    (edit,) = plan(PATH, text.encode(), [], Handler("nvidia", "/x", True, True))
    after = json.loads(edit.after or b"")
    assert after.pop("default-runtime") == "nvidia"
    assert after.pop("runtimes")["nvidia"] == {"path": "/x", "args": []}
    assert after.pop("features") == {**before.pop("features", {}), "cdi": True}
    before.pop("runtimes", None)
    assert after == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1 // x\n}', "line 1, column 9"),
        ("[1]", "expected an object"),
        ('{"a": 1, "a": 2}', "the key a is there twice"),
        ('{\n"a": tru}', "line 2, column 6"),
        ('{"runtimes": []}', "runtimes is no object"),
        ('{"runtimes": {"nvidia": "x"}}', "runtimes.nvidia is no object"),
        ('{"features": ["x"]}', "features is no object"),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(Refused) as error:
        plan(PATH, text.encode(), [], HANDLER)
    assert says in str(error.value)
    assert "left alone" in str(error.value)


def test_a_flag_of_the_daemon_that_says_the_same_is_refused_since_dockerd_would_not_start() -> None:
    with pytest.raises(Refused, match="--add-runtime"):
        plan(PATH, b"{}", ["/usr/bin/dockerd", "--add-runtime=nvidia=/x"], HANDLER)
    with pytest.raises(Refused, match="--default-runtime"):
        plan(PATH, b"{}", ["/usr/bin/dockerd", "--default-runtime", "runc"], Handler("nvidia", "/x", True))


def test_only_cdi_needs_a_restart() -> None:
    assert not needs_restart(plan(PATH, b"{}", [], Handler("nvidia", "/x", True)))
    assert needs_restart(plan(PATH, b"", [], Handler("nvidia", "/x", cdi=True)))
    with_cdi = b'{"features": {"cdi": true}}'
    assert not needs_restart(plan(PATH, with_cdi, [], Handler("nvidia", "/x", cdi=True)))
    assert needs_restart(plan(PATH, with_cdi, [], Handler("nvidia", "/x", cdi=False)))


@pytest.mark.parametrize(
    ("info", "cdi", "refusal"),
    [
        ({"ContainersRunning": 3}, True, "would end its 3 containers"),
        ({"ContainersRunning": 3, "LiveRestoreEnabled": True}, True, ""),
        ({"ContainersRunning": 0}, True, ""),
        ({"ContainersRunning": 3}, None, ""),
        (None, True, "nobody knows which containers"),
        (None, None, ""),
    ],
)
def test_a_restart_that_would_end_containers_is_a_reason_to_refuse(info: Any, cdi: Any, refusal: str) -> None:
    dockerd = Process(1, ("/usr/bin/dockerd",), "docker.service", 0.0)
    docker = Runtime("docker", "", "docker.service", dockerd, "", PATH, "", {PATH: b"{}"}, docker=info)
    found = _runtime_apply.disturbs(docker, _runtime_plan.plan(docker, Handler("nvidia", "/x", cdi=cdi), True))
    assert refusal in found if refusal else not found


@pytest.mark.parametrize(
    ("info", "owed"),
    [
        ({"Runtimes": {"runc": {"path": "runc"}}, "DefaultRuntime": "runc"}, True),
        ({"Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "/old"}}, "DefaultRuntime": "nvidia"}, True),
        ({"Runtimes": {"nvidia": {"path": "/x"}}, "DefaultRuntime": "runc"}, True),
        ({"Runtimes": {"nvidia": {"path": "/x"}}, "DefaultRuntime": "nvidia"}, False),
        (None, False),
    ],
)
def test_a_right_file_that_dockerd_has_not_read_is_a_reload_that_is_owed(info: Any, owed: bool) -> None:
    handler = Handler("nvidia", "/x", True)
    content = plan(PATH, b"{}", [], handler)[0].after
    dockerd = Process(1, ("/usr/bin/dockerd",), "docker.service", 0.0)
    found = _runtime_plan.plan(Runtime("docker", "", "docker.service", dockerd, "", PATH, "", {PATH: content}, docker=info), handler, True)
    assert (found.edits, found.owed, found.reload) == ((), owed, True)
