# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Golden files of containerd 1.6 to 2.3; tests/integration/nodes/test_engines.py lets those containerds read them."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils import _toml as toml
from ansible_collections.slipway.mlops.plugins.module_utils._containerd_plan import DROP_IN, Containerd, Handler, Plan, differences, own_handlers, plan
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Refused
from golden import CONFIG, DROP_INS, GOLDEN, containerd_case, containerd_cases, content_of

HANDLER = Handler("nvidia", "/usr/bin/nvidia-container-runtime")
V2 = 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n'
NVIDIA = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]\n  runtime_type = "x"\n'
V3 = V2.replace("version = 2", "version = 3").replace("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime")


def carried_out(containerd: Containerd, found: Plan) -> Containerd:
    files = {**containerd.files, **{edit.path: edit.after for edit in found.edits}}
    return Containerd(containerd.version, containerd.config, containerd.drop_ins, files, containerd.is_template)


def of(text: str | None, version: str = "1.7.29", **more: str) -> Containerd:
    files = {CONFIG: text.encode() if text is not None else None, **{path.replace("__", "/"): content.encode() for path, content in more.items()}}
    return Containerd(version, CONFIG, DROP_INS, files)


@pytest.mark.parametrize("name", containerd_cases())
def test_the_files_are_as_the_golden_ones_byte_for_byte(name: str) -> None:
    containerd, handler = containerd_case(name)
    found = plan(containerd, handler)
    expected = {("/etc/containerd/conf.d/" if path.name[6:] != "config.toml" else "/etc/containerd/") + path.name[6:]: content_of(path)
                for path in (GOLDEN / "containerd" / name).glob("after_*")}  # fmt: skip
    assert {edit.path: edit.after for edit in found.edits} == expected
    after = carried_out(containerd, found)
    assert plan(after, handler).edits == (), "a second run changes something"
    if not handler.is_default and handler.cdi is None and containerd.files[CONFIG] is not None:
        back = carried_out(after, plan(after, handler, present=False))
        # An import that was added to a list of others stays: it does no harm, and others may use the folder by now.
        stays = name == "2.2-imports-other-folder"
        assert stays or {path: content for path, content in back.files.items() if content is not None} == dict(containerd.files)


def test_in_the_first_version_a_drop_in_of_ours_never_exists() -> None:
    for version in ("1.6.20", "1.7.29"):
        assert {edit.path for edit in plan(of(V2, version), HANDLER).edits} == {CONFIG}


@pytest.mark.parametrize(
    ("text", "version", "says"),
    [
        ("[plugins]\n", "1.7.29", "no version line, which means version 1"),
        ("version = 1\n", "2.1.5", "line 1: version = 1"),
        (V3, "1.7.29", "line 1: version = 3"),
        ('version = 2\ndisabled_plugins = ["cri"]\n', "1.7.29", "line 2: disabled_plugins switches off cri"),
        ("version = 2\n[a\n", "1.7.29", "line 2, column 3"),
        (V2 + NVIDIA, "1.7.29", "line 4: the runtime nvidia is defined there"),
        (V2 + "# BEGIN slipway gpu_runtime\n", "1.7.29", "expected one '# BEGIN slipway gpu_runtime'"),
        ('version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\nruntimes = {}\n', "1.7.29", "could not be read any more"),
    ],
)
def test_what_cannot_be_extended_for_certain_is_refused_with_its_place(text: str, version: str, says: str) -> None:
    with pytest.raises(Refused, match=r"^[^:]*:\n") as error:
        plan(of(text, version), HANDLER)
    assert f"{CONFIG}" in str(error.value)
    assert says in str(error.value)


def test_the_gpu_operator_is_named_where_it_manages_the_toolkit() -> None:
    operator = V3 + V3.split("\n", 1)[1].replace("runtimes.runc", "runtimes.nvidia") + '[x]\npath = "/usr/local/nvidia/toolkit/nvidia-container-runtime"\n'
    with pytest.raises(Refused, match="GPU operator"):
        plan(of('imports = ["conf.d/*.toml"]\n' + V3, "2.1.5", **{"__etc__containerd__conf.d__99-nvidia.toml": operator}), HANDLER)


def test_a_drop_in_with_a_higher_version_than_the_root_is_refused_since_containerd_would_not_start() -> None:
    with pytest.raises(Refused, match="has version 4"):
        plan(of('imports = ["conf.d/*.toml"]\n' + V3, "2.3.4", **{"__etc__containerd__conf.d__1.toml": "version = 4\n"}), HANDLER)


def test_a_default_that_is_neither_runc_nor_ours_is_left_alone() -> None:
    text = V2 + '[plugins."io.containerd.grpc.v1.cri".containerd]\n  default_runtime_name = "kata"\n'
    after = plan(of(text), HANDLER).edits[0].after or b""
    assert b'default_runtime_name = "kata"' in after


@pytest.mark.parametrize(("text", "version"), [(V2, "1.7.29"), (V3, "2.1.5")])
def test_a_default_of_ours_goes_with_the_handler(text: str, version: str) -> None:
    handler = Handler(HANDLER.name, HANDLER.path, is_default=True)
    before = of(text, version)
    after = carried_out(before, plan(before, handler))
    assert b'default_runtime_name = "nvidia"' in b"".join(content or b"" for content in after.files.values())
    back = carried_out(after, plan(after, handler, present=False))
    assert b"nvidia" not in b"".join(content or b"" for content in back.files.values())


def test_imports_below_a_table_are_pointed_out() -> None:
    assert "line 4: this `imports` belongs to" in plan(of(V2 + 'imports = ["x"]\n'), HANDLER).notes[0]


def test_cdi_is_refused_where_the_engine_has_none() -> None:
    with pytest.raises(Refused, match="has no CDI"):
        plan(of(V2, "1.6.20"), Handler("nvidia", "/x", cdi=True))


class TestDump:
    """What containerd says it would do decides."""

    BEFORE = {"version": 2, "plugins": {"io.containerd.grpc.v1.cri": {"sandbox_image": "pause", "containerd": {"runtimes": {"runc": {"options": {}}}}}}}

    def after(self, **cri: object) -> dict[str, object]:
        runtimes = {"runc": {"options": {}}, "nvidia": {"options": {"BinaryName": HANDLER.path}}}
        return {"version": 2, "plugins": {"io.containerd.grpc.v1.cri": {"sandbox_image": "pause", "containerd": {"runtimes": runtimes}, **cri}}}

    def test_the_handler_alone_is_no_difference(self) -> None:
        assert differences(self.BEFORE, self.after(enable_cdi=True), HANDLER) == []

    def test_a_setting_that_would_be_lost_is_named(self) -> None:
        (problem,) = differences(self.BEFORE, self.after(sandbox_image="other"), HANDLER)
        assert "sandbox_image would change from \"'pause'\" to \"'other'\"" in problem

    def test_a_handler_that_is_not_there_or_runs_something_else_is_named(self) -> None:
        assert "would run nothing" in differences(self.BEFORE, self.BEFORE, HANDLER)[0]
        twice = {"runc": {"options": {}}, "nvidia": {"options": {"BinaryName": HANDLER.path, "binaryName": "/usr/bin/runc"}}}
        assert "would run" in differences(self.BEFORE, self.after(containerd={"runtimes": twice}), HANDLER)[0]

    def test_the_runtimes_of_containerd_2_are_found_beside_its_plugin_of_the_old_name(self) -> None:
        runtimes = {"runc": {"options": {}}, "nvidia": {"options": {"BinaryName": HANDLER.path}}}
        new = {"io.containerd.cri.v1.runtime": {"containerd": {"runtimes": runtimes}}, "io.containerd.grpc.v1.cri": {"stream_server_port": "0"}}
        assert differences({}, {"plugins": new}, HANDLER) == differences({}, {"plugins": dict(reversed(new.items()))}, HANDLER) == []

    def test_a_handler_of_ours_may_get_another_name_and_nobody_elses(self) -> None:
        containerd = of(V2)
        files = carried_out(containerd, plan(containerd, Handler("former", "/x"))).files
        assert own_handlers(files) == {"former"}
        assert own_handlers({CONFIG: (V2 + NVIDIA).encode(), f"{DROP_INS}/other.toml": NVIDIA.encode()}) == set()
        assert own_handlers({f"{DROP_INS}/{DROP_IN}": NVIDIA.encode()}) == {"nvidia"}
        old = self.after(containerd={"runtimes": {"runc": {"options": {}}, "former": {"options": {"BinaryName": "/x"}}}})
        new = self.after(containerd={"runtimes": {"runc": {"options": {}}, "nvidia": {"options": {"BinaryName": HANDLER.path}}}})
        assert any("former" in problem for problem in differences(old, new, HANDLER))
        assert differences(old, new, HANDLER, {"former"}) == []

    def test_runc_must_not_get_lost(self) -> None:
        only = {"nvidia": {"options": {"BinaryName": HANDLER.path}}}
        assert any("runc would be gone" in problem for problem in differences(self.BEFORE, self.after(containerd={"runtimes": only}), HANDLER))


def test_a_comment_and_a_foreign_key_survive_any_of_these() -> None:
    for name in containerd_cases():
        containerd, handler = containerd_case(name)
        before = containerd.files[CONFIG] or b""
        after = next((edit.after for edit in plan(containerd, handler).edits if edit.path == CONFIG), before) or b""
        for line in before.splitlines():
            kept = line in after.splitlines() or b"default_runtime_name" in line or b"imports" in line
            assert kept, f"{name}: lost {line!r}"
        assert toml.parse(after.decode()).data
