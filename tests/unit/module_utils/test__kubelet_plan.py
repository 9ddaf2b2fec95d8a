# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts as trees of files: each is probed and planned as it would be on a machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._host_input import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._kubelet_plan import DROP_IN, Plan, plan
from ansible_collections.slipway.mlops.plugins.module_utils._kubelet_probe import Kubelet, probe

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
WANTED = ("net.core.somaxconn",)
KUBEADM = ["/usr/bin/kubelet", "--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml"]
CONFIG = "/var/lib/kubelet/config.yaml"


class Host:
    """A root directory with a process in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file("/proc/sys/kernel/hostname", "Worker-1\n")
        self.file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")

    def file(self, path: str, text: str) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def process(self, argv: list[str], pid: int = 42, unit: str = "kubelet.service", namespace: str = "pid:[1]") -> None:
        self.file(f"/proc/{pid}/cmdline", "\0".join(argv) + "\0")
        self.file(f"/proc/{pid}/cgroup", f"12:cpuset:/\n1:name=systemd:/system.slice/{unit}\n0::/system.slice/{unit}\n")
        for name, link in (("self", "pid:[1]"), (str(pid), namespace)):
            folder = self.root / "proc" / name / "ns"
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "pid").is_symlink():
                (folder / "pid").symlink_to(link)

    def probe(self) -> Kubelet:
        return probe(str(self.root))

    def plan(self, sysctls: Sequence[str] = WANTED, present: bool = True) -> Plan:
        return plan(self.probe(), sysctls, present)

    def carry_out(self, found: Plan) -> None:
        for edit in found.edits:
            target = self.root / edit.path.lstrip("/")
            assert (target.read_bytes() if target.exists() else None) == edit.before
            if edit.after is None:
                target.unlink()
            else:
                self.file(edit.path, edit.after.decode())

    def settles(self, sysctls: Sequence[str] = WANTED, present: bool = True) -> Plan:
        """Plan, carry out, and see that the second plan has nothing to do."""
        found = self.plan(sysctls, present)
        self.carry_out(found)
        again = self.plan(sysctls, present)
        assert again.edits == ()
        assert again.before == again.after == found.after
        return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_kubeadm_edits_the_file_of_config(host: Host) -> None:
    host.process(KUBEADM)
    host.file(CONFIG, HEAD + "healthzPort: 10250\nhealthzBindAddress: 0.0.0.0\nallowedUnsafeSysctls:\n- kernel.msg*\n")
    found = host.settles()
    assert (found.before, found.after, found.source) == (["kernel.msg*"], ["kernel.msg*", "net.core.somaxconn"], CONFIG)
    kubelet = host.probe()
    assert (kubelet.node, kubelet.unit, kubelet.healthz, kubelet.flavor) == ("worker-1", "kubelet.service", "http://127.0.0.1:10250/healthz", "kubelet")


@pytest.mark.parametrize(
    ("drop_ins", "flags", "where"),
    [
        ({"10-a.conf": "healthzPort: 1234\n", "20-b.conf": "logging: {}\n"}, [], "http://127.0.0.2:1234/healthz"),
        ({"10-a.conf": "healthzPort: 1234\n", "20-b.conf": "healthzPort: 0\n"}, [], None),
        ({"10-a.conf": "healthzPort: 0\n"}, ["--healthz-port=99"], "http://127.0.0.2:99/healthz"),
        ({"10-a.conf": "healthzPort: [\n"}, [], "http://127.0.0.2:10248/healthz"),
    ],
)
def test_the_health_check_is_where_the_last_of_the_files_and_flags_puts_it(host: Host, drop_ins: dict[str, str], flags: list[str], where: str | None) -> None:
    host.process([*KUBEADM, "--config-dir=/etc/kubernetes/kubelet.conf.d", *flags])
    host.file(CONFIG, HEAD + "healthzBindAddress: 127.0.0.2\n")
    for name, text in drop_ins.items():
        host.file(f"/etc/kubernetes/kubelet.conf.d/{name}", HEAD + text)
    assert host.probe().healthz == where


def test_kubespray_edits_its_own_file_and_knows_the_name_it_gave(host: Host) -> None:
    host.process(["/usr/local/bin/kubelet", "--hostname-override=node-a", "--config", "/etc/kubernetes/kubelet-config.yaml"])
    host.file("/etc/kubernetes/kubelet-config.yaml", HEAD)
    host.file("/etc/kubernetes/kubelet.env", 'KUBELET_ARGS="--hostname-override=node-a"\n')
    assert host.settles().source == "/etc/kubernetes/kubelet-config.yaml"
    assert host.probe().node == "node-a"


def test_a_list_that_covers_them_already_is_left_alone(host: Host) -> None:
    host.process(KUBEADM)
    host.file(CONFIG, HEAD + "allowedUnsafeSysctls: ['net.*']\n")
    assert host.plan().edits == ()


def test_a_flag_masks_the_file_so_its_origin_is_edited(host: Host) -> None:
    host.process(KUBEADM + ["--allowed-unsafe-sysctls=kernel.sem"])
    host.file(CONFIG, HEAD)
    text = "# --allowed-unsafe-sysctls=no\nKUBELET_ARGS=\"--v=2 \\\n --allowed-unsafe-sysctls='kernel.sem' \\\n --x=y\"\n"
    host.file("/etc/kubernetes/kubelet.env", text)
    found = host.plan()
    assert found.source == "/etc/kubernetes/kubelet.env"
    assert found.edits[0].after == text.replace("='kernel.sem'", "='kernel.sem,net.core.somaxconn'").encode()


@pytest.mark.parametrize(
    "files", [{}, {"/etc/default/kubelet": "A=--allowed-unsafe-sysctls=a.b\n", "/etc/sysconfig/kubelet": "A=--allowed-unsafe-sysctls=a.b\n"}]
)
def test_a_flag_of_unclear_origin_is_refused_with_the_places(host: Host, files: dict[str, str]) -> None:
    host.process(KUBEADM + ["--allowed-unsafe-sysctls=a.b"])
    host.file(CONFIG, HEAD)
    for path, text in files.items():
        host.file(path, text)
    with pytest.raises(Refused, match="masks its configuration files"):
        host.plan()


class TestDropIns:
    FOLDER = "/etc/kubernetes/kubelet.conf.d"

    @pytest.fixture(autouse=True)
    def _kubelet(self, host: Host) -> None:
        host.process(KUBEADM + [f"--config-dir={self.FOLDER}"])
        host.file(CONFIG, HEAD + "allowedUnsafeSysctls: [kernel.sem]\n")
        host.file(f"{self.FOLDER}/README", "no drop-in")

    def test_ours_repeats_what_it_would_replace(self, host: Host) -> None:
        found = host.settles()
        assert found.source == f"{self.FOLDER}/{DROP_IN}"
        assert found.after == ["kernel.sem", "net.core.somaxconn"]
        assert len(found.edits) == 1

    def test_ours_follows_when_the_base_grows(self, host: Host) -> None:
        host.settles()
        host.file(CONFIG, HEAD + "allowedUnsafeSysctls: [kernel.sem, fs.mqueue.msg_max]\n")
        assert host.settles().after == ["kernel.sem", "fs.mqueue.msg_max", "net.core.somaxconn"]

    def test_a_later_foreign_drop_in_decides_and_is_edited(self, host: Host) -> None:
        host.file(f"{self.FOLDER}/99-site.conf", HEAD + "allowedUnsafeSysctls: [kernel.sem]\n")
        assert host.settles().source == f"{self.FOLDER}/99-site.conf"

    def test_ours_goes_when_nothing_is_left_to_say(self, host: Host) -> None:
        host.settles()
        found = host.settles(present=False)
        assert found.edits[0].after is None
        assert found.after == ["kernel.sem"]

    def test_a_broken_drop_in_is_named_with_line_and_column(self, host: Host) -> None:
        host.file(f"{self.FOLDER}/10-site.conf", HEAD + "a:\n\tb: 1\n")
        with pytest.raises(Refused, match=r"10-site.conf: line 4, column 1: a tab .* left alone"):
            host.plan()

    def test_a_drop_in_without_kind_is_named_since_no_kubelet_starts_with_it(self, host: Host) -> None:
        host.file(f"{self.FOLDER}/10-site.conf", "maxPods: 1\n")
        with pytest.raises(Refused, match="apiVersion is missing"):
            host.plan()


def test_microk8s_keeps_one_flag_a_line(host: Host) -> None:
    path = "/var/snap/microk8s/current/args/kubelet"
    host.process(["/snap/microk8s/7/kubelite", "--kubelet-args-file=/x"], unit="snap.microk8s.daemon-kubelite.service")
    host.file(path, "--root-dir=${SNAP_COMMON}/var/lib/kubelet\n--v=2")
    assert host.settles().edits[0].after == b"--root-dir=${SNAP_COMMON}/var/lib/kubelet\n--v=2\n--allowed-unsafe-sysctls=net.core.somaxconn\n"
    host.settles(["kernel.sem"])
    assert host.settles(["net.core.somaxconn"], present=False).after == ["kernel.sem"]
    assert host.settles(["kernel.sem"], present=False).edits[0].after == b"--root-dir=${SNAP_COMMON}/var/lib/kubelet\n--v=2\n"


@pytest.mark.parametrize("name", ["k3s", "rke2"])
def test_rancher_uses_drop_ins_where_its_kubelet_reads_them(host: Host, name: str) -> None:
    folder = f"/var/lib/rancher/{name}/agent/etc/kubelet.conf.d"
    argv = [f"/usr/local/bin/{name} agent"] if name == "k3s" else ["/var/lib/rancher/rke2/data/v1/bin/kubelet", f"--config-dir={folder}"]
    host.process(argv, unit=f"{name}-agent.service")
    host.file(f"{folder}/00-{name}-defaults.conf", HEAD)
    assert host.settles().source == f"{folder}/{DROP_IN}"
    assert host.probe().flavor == name


def test_an_older_k3s_gets_a_file_beside_its_configuration(host: Host) -> None:
    host.process(["/usr/local/bin/k3s", "server"], unit="k3s.service")
    found = host.settles()
    assert found.edits[0].path == "/etc/rancher/k3s/config.yaml.d/90-slipway-kubelet.yaml"
    assert found.edits[0].after is not None
    assert b'kubelet-arg+:\n- "allowed-unsafe-sysctls=net.core.somaxconn"' in found.edits[0].after


def test_k0s_is_told_where_to_write_it(host: Host) -> None:
    host.process(["/var/lib/k0s/bin/kubelet", "--config=/var/lib/k0s/kubelet-config.yaml"])
    with pytest.raises(Refused, match="workerProfiles"):
        host.plan()


def test_no_kubelet_or_two_are_refused(host: Host) -> None:
    with pytest.raises(Refused, match="no kubelet runs"):
        host.probe()
    host.process(KUBEADM, pid=42)
    host.process(KUBEADM, pid=43)
    with pytest.raises(Refused, match="pids 42, 43"):
        host.probe()


def test_the_kubelet_of_a_container_on_this_host_is_not_ours(host: Host) -> None:
    host.process(KUBEADM, pid=42)
    host.process(["/usr/bin/kubelet", "--config=/kind/config.yaml"], pid=43, namespace="pid:[2]")
    assert host.probe().pid == 42


def test_a_kubelet_without_a_file_is_refused(host: Host) -> None:
    host.process(["/usr/bin/kubelet", "--v=2"])
    with pytest.raises(Refused, match="neither --config nor --config-dir"):
        host.plan()


def test_a_file_that_is_no_kubelet_configuration_is_left_alone(host: Host) -> None:
    host.process(KUBEADM)
    host.file(CONFIG, json.dumps({"kind": "KubeletConfiguration"}))
    with pytest.raises(Refused, match=r"config\.yaml: line 1, column 1: .* left alone"):
        host.plan()
