# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kubelet_sysctls on real kubelets. The control plane's machine is the one that is changed: no workload of other tests runs there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes_lab import finished, kubectl, live, play, pod, put, ssh

pytestmark = [pytest.mark.lab, pytest.mark.disturb]
NODE = "cp1"
CONFIG = "/var/lib/kubelet/config.yaml"
SYSCTL = {"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "100000"}]}}
BREAKS = "/etc/systemd/system/kubelet.service.d/99-test.conf"


def sysctls(folder: Path, *options: str, hosts: str = NODE, **variables: Any) -> Any:
    named = {f"kubelet_sysctls_{key}": value for key, value in variables.items()}
    return play(folder, hosts, "kubelet_sysctls", {"kubelet_sysctls_timeout_seconds": 240, **named}, "__kubelet_sysctls_result", *options)


@pytest.fixture
def forbidden(folder: Path) -> Iterator[bytes]:
    """The node without the sysctl, and its file as it then is; with it again at the end."""
    outcome = sysctls(folder, state="absent", kubeadm_config_map_is_managed=False)
    assert outcome.returncode == 0, outcome.output
    yield ssh(NODE, f"cat {CONFIG}").encode()
    ssh(NODE, f"rm -f {BREAKS} && systemctl daemon-reload")
    outcome = sysctls(folder)
    assert outcome.returncode == 0, outcome.output


@pytest.mark.long
def test_a_pod_with_the_sysctl_is_rejected_before_and_runs_after(folder: Path, namespace: str, forbidden: bytes) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(pod("before", NODE, "sleep 60", **SYSCTL)))
    rejected = finished(namespace, "before", "Failed")
    assert rejected["status"]["reason"] == "SysctlForbidden"

    predicted = sysctls(folder, "--check", "--diff")
    assert predicted.changed
    assert "+- net.core.somaxconn" in predicted.output
    assert ssh(NODE, f"cat {CONFIG}").encode() == forbidden

    done = sysctls(folder)
    assert done.returncode == 0, done.output
    assert done.results[NODE]["actions"] == predicted.results[NODE]["actions"]
    after = ssh(NODE, f"cat {CONFIG}")
    assert after.replace("allowedUnsafeSysctls:\n- net.core.somaxconn\n", "") == forbidden.decode()

    kubectl("-n", namespace, "apply", "-f", "-", text=json.dumps(pod("after", NODE, "cat /proc/sys/net/core/somaxconn; sleep 600", **SYSCTL)))
    finished(namespace, "after", "Running")
    assert kubectl("-n", namespace, "logs", "after").strip() == "100000"

    again = sysctls(folder)
    assert again.returncode == 0
    assert not again.changed
    # A kubelet that starts admits its running pods anew, and this one would fail.
    refused = sysctls(folder, state="absent")
    assert refused.returncode != 0
    assert re.search(rf"pod {namespace}/after on {NODE} uses net\.core\.somaxconn", refused.output)


@pytest.mark.long
def test_the_config_map_of_kubeadm_keeps_the_list_for_new_nodes() -> None:
    text = live("configmap", "kubelet-config", "-n", "kube-system")["data"]["kubelet"]
    assert "allowedUnsafeSysctls:\n- net.core.somaxconn" in text


@pytest.mark.long
def test_a_kubelet_that_does_not_come_up_gets_its_old_file_back_and_the_node_is_named(folder: Path, forbidden: bytes) -> None:
    kubectl_before = live("configmap", "kubelet-config", "-n", "kube-system")["data"]["kubelet"]
    # No setting that Kubernetes' own rules accept keeps a kubelet from starting, so its unit is what refuses this one.
    unit = f"[Service]\nExecStartPre=/bin/sh -c '! grep -q kernel.msgmax {CONFIG}'\n"
    ssh(NODE, f"mkdir -p $(dirname {BREAKS}) && cat > {BREAKS} && systemctl daemon-reload", unit.encode())

    failed = sysctls(folder, allowed=["kernel.msgmax"], timeout_seconds=120)

    assert failed.returncode != 0
    assert "kubelet.service" in failed.output
    assert "The old content was put back" in failed.output
    assert ssh(NODE, f"cat {CONFIG}").encode() == forbidden
    assert ssh(NODE, "systemctl is-active kubelet").strip() == "active"
    assert ssh(NODE, "ls /var/lib/slipway/kubelet_config.json", check=False) == ""
    assert live("configmap", "kubelet-config", "-n", "kube-system")["data"]["kubelet"] == kubectl_before
    notes = live("lease", "slipway-node-turn", "-n", "kube-system")["metadata"]["annotations"]
    assert notes["slipway.mlops/failed-node"] == NODE
    conditions = {condition["type"]: condition["status"] for condition in live("node", NODE)["status"]["conditions"]}
    assert conditions["Ready"] == "True"


@pytest.mark.long
def test_a_run_that_was_killed_after_writing_is_finished_by_the_next(folder: Path, forbidden: bytes) -> None:
    # What such a run leaves: the journal, the new file, and a kubelet that has not read it.
    new = forbidden + b"allowedUnsafeSysctls:\n- net.core.somaxconn\n"
    before, after = (base64.b64encode(content).decode() for content in (forbidden, new))
    files = [{"path": CONFIG, "before": before, "after": after, "new_mode": 0o644}]
    put(NODE, "/var/lib/slipway/kubelet_config.json", json.dumps({"about": {"unit": "kubelet.service"}, "files": files}).encode(), "0600")
    put(NODE, CONFIG, new)

    done = sysctls(folder)

    assert done.returncode == 0, done.output
    assert done.results[NODE]["restarted"]
    assert done.results[NODE]["pending"]
    reported = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{NODE}/proxy/configz"))["kubeletconfig"]
    assert reported["allowedUnsafeSysctls"] == ["net.core.somaxconn"]
    assert not sysctls(folder).changed


@pytest.mark.long
def test_hosts_that_run_the_role_at_once_take_turns(folder: Path) -> None:
    hosts = ["cp1", "w1", "w2", "w3"]
    added = sysctls(folder, hosts=",".join(hosts), allowed=["kernel.msgmnb"], kubeadm_config_map_is_managed=False)
    times = sorted(_outage(host) for host in hosts)
    gone = sysctls(folder, hosts=",".join(hosts), allowed=["kernel.msgmnb"], state="absent", kubeadm_config_map_is_managed=False)
    assert added.returncode == gone.returncode == 0, added.output + gone.output
    assert all(result["restarted"] for result in added.results.values())
    for (_first, up), (down, _last) in zip(times, times[1:]):
        assert down > up, f"two kubelets were out at the same time: {times}"


def _outage(host: str) -> tuple[float, float]:
    """When the kubelet's unit went down for the last time, and when it was up again, in seconds since the boot."""
    lines = ssh(host, "systemctl show kubelet -p InactiveEnterTimestampMonotonic -p ActiveEnterTimestampMonotonic")
    times = dict(line.split("=") for line in lines.split())
    return int(times["InactiveEnterTimestampMonotonic"]) / 1e6, int(times["ActiveEnterTimestampMonotonic"]) / 1e6


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["vm.max_map_count", "net.*.x"], ["vm.max_map_count", "not known to be namespaced", "net.*.x"]),
        (["net.*"], ["let every pod set all of them"]),
    ],
)
def test_what_would_keep_a_kubelet_from_starting_is_refused_before_anything_is_touched(folder: Path, names: list[str], says: list[str]) -> None:
    before = ssh(NODE, f"sha256sum {CONFIG}; systemctl show kubelet -p MainPID")
    refused = sysctls(folder, allowed=names)
    assert refused.returncode != 0
    for words in says:
        assert words in refused.output
    assert ssh(NODE, f"sha256sum {CONFIG}; systemctl show kubelet -p MainPID") == before
