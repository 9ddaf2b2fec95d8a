# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hostile input to everything that reads text of others: never a traceback, never a lost line, never a secret in a message.

Texts are made by mutating good ones, since random bytes seldom get past the first character. A case that was found once stands below by name.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import struct
from typing import Any

import tomllib
import yaml
from ansible_collections.slipway.mlops.plugins.module_utils import (
    _block_signatures,
    _connect,
    _docker_plan,
    _fstab,
    _inventory,
    _kubelet_yaml,
    _manifest,
    _sysctl_text,
    _toml,
    _xfs_superblock,
    _yaml,
)
from ansible_collections.slipway.mlops.plugins.module_utils import _host_input as host_input
from ansible_collections.slipway.mlops.plugins.module_utils._config_text import Unreadable
from ansible_collections.slipway.mlops.plugins.module_utils._containerd_plan import Handler
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SECRET = "hunter2Hunter2hunter2"
# The same examples in each run of `make test`; `make test-long` looks for new ones (FUZZ_EXAMPLES).
EXAMPLES = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "400")),
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

SNIPPETS = st.sampled_from(
    [
        "\t",
        "\0",
        "\n",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "#",
        "&a",
        "*a",
        "<<",
        "---\n",
        "!!python/object",
        "!!int ",
        "!",
        " 0x_",
        ".nan",
        "%",
        "|",
        "\\",
        "=",
        "\r\n",
        "\ufeff",
        "é",
        "\x1b[31m",
        "~",
        "9" * 40,
    ]
)


@st.composite
def mutated(draw: st.DrawFn, originals: list[str]) -> str:
    """A good text with a few cuts, doublings and insertions."""
    text = draw(st.sampled_from(originals))
    for _round in range(draw(st.integers(0, 4))):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 12))
        piece = draw(st.one_of(SNIPPETS, st.just(""), st.just(text[at : at + length] * 2)))
        text = text[:at] + piece + text[at + length :]
    return text


MANIFESTS = [
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata: {k: v}\n---\napiVersion: v1\n"
    "kind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: 80\n",
    f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{password: {SECRET}}}\n",
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: apps/v1\n  kind: Deployment\n  metadata: {name: d, labels: {app: d}}\n  spec: {replicas: 1}\n",
]


@given(mutated(MANIFESTS))
@EXAMPLES
def test_manifests_are_read_or_refused(text: str) -> None:
    try:
        _manifest.read(text, "ns")
    except Refused as refused:
        message = "\n".join(refused.problems)
        assert message.strip()
        assert SECRET not in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "name", "labels", "data", "spec", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=4))
@EXAMPLES
def test_lists_of_anything_are_read_or_refused(documents: list[Any]) -> None:
    with contextlib.suppress(Refused):
        _manifest.read(documents, "ns")


FSTABS = [
    "# /etc/fstab\nUUID=1 / ext4 errors=remount-ro 0 1\n\n/dev/sdb1\t/data\\040x  xfs defaults 0 2 # mine",
    "LABEL=x none swap sw 0 0\r\n\n\n#UUID=5b0f6a2e-1f0c-5c55-8a3d-8d0e0a2f6c11 /ais/disk0 xfs ro 0 0\n",
]


@given(st.one_of(mutated(FSTABS).map(lambda text: text.encode("utf-8", "surrogateescape")), st.binary(max_size=120)))
@EXAMPLES
def test_an_fstab_keeps_every_foreign_byte(content: bytes) -> None:
    entry = _fstab.Entry(source="UUID=0badcafe-0000-4000-8000-000000000000", path="/ais/disk7", filesystem="xfs", options=("noatime", "nofail"))
    written = _fstab.declare(content, entry)
    # Ours comes at the end; all that was there stays, but for a newline that the last line lacked.
    assert written.startswith(content)
    added = written[len(content) :]
    assert added.strip(b"\n").count(b"\n") == 0 and b"/ais/disk7" in added
    assert entry in [line.entry for line in _fstab.lines(written)]
    for line in _fstab.lines(content):
        rewritten = _fstab.declare(content, entry, line.number)
        assert entry in [other.entry for other in _fstab.lines(rewritten) if other.number == line.number]
        assert [other for other in _fstab.lines(rewritten) if other.number != line.number] == [
            other for other in _fstab.lines(content) if other.number != line.number
        ]
        assert len(rewritten.split(b"\n")) == len(content.split(b"\n"))
        assert _without(rewritten, line.number) == _without(content, line.number)


def _without(content: bytes, number: int) -> list[bytes]:
    rows = content.split(b"\n")
    return rows[: number - 1] + rows[number:]


SIZE = 3 << 20
FIELDS = st.sampled_from([(4, 4), (8, 8), (56, 8), (84, 4), (100, 2), (102, 2), (104, 2), (120, 5), (126, 1)])


@given(
    st.lists(st.tuples(FIELDS, st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x01", b"\x80"])), max_size=4),
    st.lists(st.tuples(st.sampled_from(_block_signatures._TABLE), st.binary(max_size=24)), max_size=3),
)
@EXAMPLES
def test_any_bytes_of_a_disk_are_looked_at_within_its_bounds(fields: list[tuple[tuple[int, int], bytes]], magics: list[tuple[Any, bytes]]) -> None:
    """An XFS of version 4, which no checksum protects, with fields of extreme values, and beginnings of other formats."""
    head = bytearray(SIZE)
    head[:4] = b"XFSB"
    struct.pack_into(">IQ", head, 4, 4096, SIZE // 4096)
    struct.pack_into(">Q", head, 56, 128)
    struct.pack_into(">II", head, 84, 4096, 4)
    struct.pack_into(">HHHH", head, 100, 0xB4A4, 512, 512, 8)
    head[120:125] = bytes([12, 9, 9, 3, 12])
    for (offset, length), value in fields:
        head[offset : offset + length] = value * length
    for (_name, offset, magic), tail in magics:
        if 0 <= offset < len(head) - 64:
            head[offset : offset + len(magic) + len(tail)] = magic + tail

    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= SIZE
        return bytes(head[offset : offset + length])

    content = _block_signatures.inspect(read, SIZE)
    assert not content.blank and not content.error and content.describe().isprintable()
    if content.xfs and content.xfs.size <= SIZE:
        _xfs_superblock.root_is_empty(content.xfs, read)


KUBELETS = [
    "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n# keep me\nallowedUnsafeSysctls:\n"
    "- net.core.somaxconn # why\n- kernel.msg*\nclusterDNS: [10.96.0.10]\n",
    'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nallowedUnsafeSysctls: ["kernel.shm*"]  # flow\nlogging:\n  flushFrequency: 0\n',
    "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\nauthentication:\n"
    "  anonymous: {enabled: false}\nstaticPodPath: /etc/kubernetes/manifests",
    '{"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1", "allowedUnsafeSysctls": []}',
]


@given(mutated(KUBELETS))
@EXAMPLES
def test_a_kubelet_file_is_edited_truly_or_left_alone(text: str) -> None:
    key, value = "allowedUnsafeSysctls", "net.ipv4.tcp_keepalive_time"
    try:
        _kubelet_yaml.check(text)
        edited = _kubelet_yaml.add_to_list(text, key, [value])
    except Unreadable as error:
        assert "line" in str(error)
        return
    try:
        before = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise AssertionError(f"took for readable what YAML refuses: {text!r}") from None
    after = yaml.safe_load(edited)
    wanted = dict(before or {})
    wanted[key] = [*(wanted.get(key) or []), *([] if value in (wanted.get(key) or []) else [value])]
    assert after == wanted
    assert [line for line in text.splitlines() if line.lstrip().startswith("#")] == [line for line in edited.splitlines() if line.lstrip().startswith("#")]


TOMLS = [
    'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = "registry.k8s.io/pause:3.10"  # keep\n'
    '  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]\n    SystemdCgroup = true\n',
    "imports = ['/etc/containerd/conf.d/*.toml']\nx = [1, 2,\n 3]\ny = {a = 1, b = \"c\"}\n[[z]]\nd = 1979-05-27T07:32:00Z\nf = 1e6\n",
    's = """a\nb"""\nt = \'\'\'c\'\'\'\n"quoted key".x = 0x1F\n',
]


@given(mutated(TOMLS))
@EXAMPLES
def test_toml_is_read_as_the_reference_reads_it(text: str) -> None:
    """What we read, Python's own reader reads to the same value; what it refuses, we refuse."""
    try:
        ours = _toml.parse(text)
    except Unreadable as error:
        assert "line" in str(error)
        return
    assert plain(ours.data) == plain(tomllib.loads(text))


def plain(value: Any) -> Any:
    """Dates are no concern of ours, we keep their text: whatever looks like one is one."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)) or (isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d|\d\d:\d\d:", value)):
        return "a date"
    return repr(value)


DAEMONS = [
    '{\n  "log-level": "info",\n  "runtimes": {\n    "kata": {"path": "/usr/bin/kata", "args": []}\n  },\n  "features": {"buildkit": true}\n}\n',
    '{"runtimes": {"nvidia": {"path": "/old", "args": ["--x"]}}, "default-runtime": "nvidia", "features": {"cdi": false}}',
    '{\n\t"hosts": ["fd://"],\n\t"runtimes": {},\n\t"default-runtime": "runc"\n}',
    '{"runtimes": {"nvidia": "x"}, "features": ["x"]}',
]


@given(st.one_of(mutated(DAEMONS).map(lambda text: text.encode("utf-8", "surrogateescape")), st.binary(max_size=60)), st.booleans(), st.booleans())
@EXAMPLES
def test_a_daemon_json_is_edited_truly_or_left_alone(content: bytes, is_default: bool, present: bool) -> None:
    handler = Handler("nvidia", "/usr/bin/nvidia-container-runtime", is_default, True)
    try:
        edits = _docker_plan.plan("/etc/docker/daemon.json", content, [], handler, present)
    except host_input.Refused as refused:
        assert "The file was left alone" in str(refused)
        return
    _docker_plan.needs_restart(edits)
    before = json.loads(content) if content.strip(b" \t\r\n") else {}
    after = json.loads(edits[0].after or b"") if edits else before
    wanted: dict[str, Any] = {**before, "runtimes": dict(before.get("runtimes") or {})}
    was_default = before.get("default-runtime") == "nvidia"
    if present:
        args = (wanted["runtimes"].get("nvidia") or {}).get("args") or []
        wanted["runtimes"]["nvidia"] = {"path": handler.path, "args": args}
        wanted["features"] = {**(before.get("features") or {}), "cdi": True}
    else:
        wanted["runtimes"].pop("nvidia", None)
    if present and is_default:
        wanted["default-runtime"] = "nvidia"
    elif was_default:
        wanted["default-runtime"] = "runc"
    if not wanted["runtimes"]:
        wanted.pop("runtimes")
        after.pop("runtimes", None)
    assert repr(after) == repr(wanted) or after == wanted


SYSCTLS = ["# why\nnet.core.somaxconn = 4096\n; old\n-net.ipv4.tcp_rmem=4096 87380  6291456\n\nnet/ipv4/ip_forward=1", "vm.swappiness=1 # not a comment\n"]


@given(st.one_of(mutated(SYSCTLS).map(lambda text: text.encode("utf-8", "surrogateescape")), st.binary(max_size=120)))
@EXAMPLES
def test_sysctl_files_of_others_are_read_without_a_traceback(content: bytes) -> None:
    for assignment in _sysctl_text.parse("/etc/sysctl.d/x.conf", content):
        assert assignment.file == "/etc/sysctl.d/x.conf"


KUBECONFIGS = [
    "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: k\n  cluster: {server: 'https://10.0.0.1:6443', certificate-authority-data: Zm9v}\n"
    f"users:\n- name: u\n  user: {{token: {SECRET}}}\ncontexts:\n- name: c\n  context: {{cluster: k, user: u}}\n",
    "apiVersion: v1\nclusters:\n- name: k\n  cluster: {server: 'http://10.0.0.1', proxy-url: 'http://u:" + SECRET + "@p:1'}\nusers:\n- name: u\n"
    "  user: {exec: {command: /bin/evil, apiVersion: client.authentication.k8s.io/v1}}\ncontexts:\n"
    "- {name: c, context: {cluster: k, user: u}}\ncurrent-context: c\n",
]


@given(mutated(KUBECONFIGS))
@EXAMPLES
def test_a_kubeconfig_is_read_or_refused_and_runs_nothing(text: str) -> None:
    def load(_text: str) -> Any:
        return _yaml.load(text)

    import pathlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "config")
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        path.chmod(0o600)
        try:
            _connect.endpoint({"kubeconfig": str(path)}, {}, load)
        except Refused as refused:
            assert SECRET not in "\n".join(refused.problems)


@given(mutated(KUBECONFIGS), st.sampled_from(["kubeconfig", "client_key", "client_cert", "ca_cert"]))
@EXAMPLES
def test_content_where_a_path_belongs_is_not_told(text: str, option: str) -> None:
    for options, environ in (({option: text}, {}), ({}, {_connect.ENVIRONMENT[option][0]: text})):
        try:
            _connect.endpoint({"host": "https://h", **options} if option != "kubeconfig" else options, environ, _yaml.load)
        except Refused as refused:
            assert SECRET not in "\n".join(refused.problems)


NAMES = st.sampled_from(["w1", "w2", "cp1", "", "a b", "é"])


@given(
    st.dictionaries(st.sampled_from([*_inventory.GROUPS, "ais_target", "x"]), st.lists(NAMES, max_size=4), max_size=6),
    st.dictionaries(
        NAMES, st.dictionaries(st.sampled_from(["ansible_host", "ais_datafs_disks", "slipway_pod_cidr", "aim_imag", "x"]), JSON, max_size=4), max_size=4
    ),
)
@EXAMPLES
def test_any_inventory_is_judged(groups: dict[str, list[str]], hosts: dict[str, dict[str, Any]]) -> None:
    _inventory.check(_inventory.Inventory(groups=groups, hosts=hosts), {"aim": ["aim_image"], "slipway": ["slipway_pod_cidr"]})
