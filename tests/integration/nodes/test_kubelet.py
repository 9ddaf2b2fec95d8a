# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kubelet_sysctls on real kubelets. The control plane's machine is the one that is changed: no workload of other tests runs there."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from nodes_lab import KUBECONFIG, LAB, ROOT, finished, kubectl, live, play, pod, put, ssh, started, until
from the_lab import KUBECTL, playbook_command

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
def test_the_config_map_of_kubeadm_gets_the_list_for_new_nodes_and_keeps_every_other_byte(folder: Path) -> None:
    where = ("configmap", "kubelet-config", "-n", "kube-system")
    kept = live(*where)["data"]["kubelet"]
    without = "# the site's own words\n" + kept.replace("allowedUnsafeSysctls:\n- net.core.somaxconn\n", "")
    assert "allowedUnsafeSysctls" not in without
    write_config_map(without)
    try:
        done = sysctls(folder)
        assert done.returncode == 0, done.output
        assert done.results[NODE]["config_map"] == "updated"
        assert live(*where)["data"]["kubelet"] == without + "allowedUnsafeSysctls:\n- net.core.somaxconn\n"
        assert not sysctls(folder).changed
    finally:
        write_config_map(kept)


def write_config_map(text: str) -> None:
    kubectl("patch", "configmap", "kubelet-config", "-n", "kube-system", "--type=merge", "-p", json.dumps({"data": {"kubelet": text}}))


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
    assert reported(NODE) == ["net.core.somaxconn"]
    assert not sysctls(folder).changed


@pytest.mark.long
def test_a_run_that_was_killed_while_its_file_keeps_the_kubelet_down_is_mended_by_the_next(folder: Path, forbidden: bytes) -> None:
    # The kubelet of this unit never comes up with the new file, and the run waits for it.
    unit = f"[Service]\nExecStartPre=/bin/sh -c 'if grep -q kernel.msgmax {CONFIG}; then sleep 600; fi'\n"
    ssh(NODE, f"mkdir -p $(dirname {BREAKS}) && cat > {BREAKS} && systemctl daemon-reload", unit.encode())
    variables = {"kubelet_sysctls_allowed": ["kernel.msgmax"], "kubelet_sysctls_timeout_seconds": 240}
    run = started(folder, NODE, "kubelet_sysctls", variables, "__kubelet_sysctls_result")
    try:
        until(lambda: "kernel.msgmax" in ssh(NODE, f"cat {CONFIG}") and not ssh(NODE, "pgrep -x kubelet", check=False), 90)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
    # Python reads the module from its standard input; its lock tells which one it is.
    killed = ssh(NODE, "for p in /proc/[0-9]*; do ls -l $p/fd 2>&1 | grep -q kubelet_config.json.lock && kill -KILL ${p#/proc/} && echo $p; done; true")
    assert killed.count("/proc/") == 1, killed
    assert "kernel.msgmax" in ssh(NODE, f"cat {CONFIG}")
    assert ssh(NODE, "pgrep -x kubelet", check=False) == ""

    begun = time.monotonic()
    looked = sysctls(folder, "--check")
    assert looked.returncode == 0, looked.output
    assert looked.results[NODE]["pending"]
    assert time.monotonic() - begun < 45  # nobody waits for a dead kubelet
    done = sysctls(folder)
    assert done.returncode == 0, done.output
    assert ssh(NODE, f"cat {CONFIG}").encode() == forbidden + b"allowedUnsafeSysctls:\n- net.core.somaxconn\n"
    assert reported(NODE) == ["net.core.somaxconn"]
    assert ssh(NODE, "ls /var/lib/slipway/kubelet_config.json", check=False) == ""


@pytest.mark.long
def test_the_first_failure_ends_nodes_yml_and_the_next_node_is_left_as_it_is(folder: Path, forbidden: bytes) -> None:
    inventory = yaml.safe_load((ROOT / "inventories" / "lab" / "hosts.yml").read_text().replace("{{ inventory_dir }}/../../.lab", str(LAB)))
    groups = inventory["all"]["children"]
    groups["ais_targets"] = groups["ais_proxies"] = {"hosts": {NODE: {}, "w1": {}}}
    del groups["gpu_nodes"]
    (folder / "two.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
    unit = f"[Service]\nExecStartPre=/bin/sh -c '! grep -q kernel.msgmax {CONFIG}'\n"
    ssh(NODE, f"mkdir -p $(dirname {BREAKS}) && cat > {BREAKS} && systemctl daemon-reload", unit.encode())
    before = ssh("w1", f"sha256sum {CONFIG}; systemctl show kubelet -p MainPID")
    variables = {"kubelet_sysctls_allowed": ["kernel.msgmax"], "slipway_kubeconfig": str(KUBECONFIG)}
    command, environ = playbook_command("playbooks/nodes.yml", "--tags", "kubelet_sysctls", **variables)
    command[command.index("-i") + 1] = str(folder / "two.yml")
    done = subprocess.run(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode != 0
    assert "The old content was put back" in done.stdout
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    assert re.search(rf"^{NODE} .*failed=1", recap, re.MULTILINE), done.stdout
    assert "w1 " not in recap, done.stdout
    assert ssh("w1", f"sha256sum {CONFIG}; systemctl show kubelet -p MainPID") == before


@pytest.mark.long
def test_hosts_that_run_the_role_at_once_take_turns(folder: Path) -> None:
    hosts = ["cp1", "w1", "w2", "w3"]
    with heartbeats(folder / "heartbeats") as beats:
        added = sysctls(folder, hosts=",".join(hosts), allowed=["kernel.msgmnb"], kubeadm_config_map_is_managed=False)
    outages = sorted((*_outage(host), host) for host in hosts)
    # A node is back when its kubelet has told the API server so, which is later than that its unit is up.
    times = [(down, min(beat for beat in beats[host] if beat > up), host) for down, up, host in outages]
    gone = sysctls(folder, hosts=",".join(hosts), allowed=["kernel.msgmnb"], state="absent", kubeadm_config_map_is_managed=False)
    assert added.returncode == gone.returncode == 0, added.output + gone.output
    assert all(result["restarted"] for result in added.results.values())
    for (_first, back, _host), (down, _last, _other) in zip(times, times[1:]):
        assert down > back, f"two nodes were out at the same time: {times}"


@contextlib.contextmanager
def heartbeats(path: Path) -> Iterator[dict[str, list[float]]]:
    """When each kubelet reported to the API server meanwhile, in seconds since the epoch; filled in at the end."""
    columns = "custom-columns=:.metadata.name,:.spec.renewTime"
    found: dict[str, list[float]] = {}
    with path.open("w+") as file:
        words = ["get", "leases", "-n", "kube-node-lease", "--watch", "--no-headers", "-o", columns]
        watch = subprocess.Popen([*KUBECTL, *words], stdout=file, stdin=subprocess.DEVNULL)
        try:
            yield found
        finally:
            watch.terminate()
            watch.wait()
        file.seek(0)
        for line in file:
            name, when = line.split()
            found.setdefault(name, []).append(datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp())


def reported(host: str) -> list[str]:
    return list(json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{host}/proxy/configz"))["kubeletconfig"]["allowedUnsafeSysctls"])


def _outage(host: str) -> tuple[float, float]:
    """When the kubelet's unit went down for the last time, and when it was up again, in seconds since the epoch. The machines share a clock."""
    lines = ssh(host, "systemctl show kubelet -p InactiveEnterTimestampMonotonic -p ActiveEnterTimestampMonotonic")
    times = dict(line.split("=") for line in lines.split())
    boot = time.time() - time.monotonic()
    return boot + int(times["InactiveEnterTimestampMonotonic"]) / 1e6, boot + int(times["ActiveEnterTimestampMonotonic"]) / 1e6


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
