# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proofs of Aim on the lab, with the real client in another pod. In the order of a life: log, lose the pod, update, copy, restore, remove.

Not run here: the NFS mount of the shared volume (the kernel has no NFS client; tests/unit/roles/test_aim.py renders and validates it), and the
NetworkPolicy's effect (the lab's network enforces none).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import browser
from aim_lab import IMAGE, NAMESPACE, PREFIX, Aim, namespace_with_registry
from the_lab import KUBECONFIG, ROOT, changed, kubectl, playbook, until

pytestmark = pytest.mark.lab

WRITE = """
import sys, time
from aim import Run
run = Run(repo=sys.argv[1], experiment=sys.argv[2], system_tracking_interval=None, log_system_params=False, capture_terminal_logs=False)
print(run.hash, flush=True)
for step in range(int(sys.argv[3])):
    run.track(step * 0.5, name="loss", step=step)
    time.sleep(float(sys.argv[4]))
run.close()
"""
READ = """
import json, sys
from aim import Repo
from aim.storage.context import Context
repo, found = Repo(sys.argv[1]), {}
for name in sys.argv[2:]:
    _keys, values = repo.get_run(name).get_metric("loss", Context({})).values.sparse_numpy()
    found[name] = sorted(map(float, values))  # kept by the hash of their step
print(json.dumps(found))
"""
# The kernel kills it four seconds after its run began.
KILLED = WRITE.replace("for step", "import os, signal, threading\nthreading.Timer(4, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()\nfor step")
TRACKING = f"aim://aim.{NAMESPACE}:53800"
POINTS = 100
EXPECTED = [step * 0.5 for step in range(POINTS)]


@pytest.fixture(scope="module")
def logged(aim: Aim) -> str:
    """The run that everything below must not lose."""
    return aim.exec(WRITE, TRACKING, "first-light", str(POINTS), "0").split()[0]


def complete(aim: Aim, hash_: str, points: int = POINTS) -> bool:
    return aim.values(hash_) == EXPECTED[:points] and not aim.run_of(hash_)["active"]


def test_a_client_in_another_namespace_reads_back_exactly_what_it_logged(aim: Aim, logged: str) -> None:
    until("all values, and the run closed", lambda: complete(aim, logged))
    assert aim.run_of(logged)["experiment"]["name"] == "first-light"


def test_a_second_run_changes_nothing(aim: Aim) -> None:
    assert changed(aim.play()) == 0
    assert "Nothing would change" in aim.play("--check")


def test_a_laptop_logs_through_a_forwarded_port(aim: Aim) -> None:
    with aim.forwarded(53800) as address:
        # The real client runs in the notebook image; here its doorway is enough: the version handshake of the SDK.
        done = subprocess.run(["curl", "--fail", "--silent", f"http://{address}/client/get-version"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["version"] == "3.29.1"


VERIFY = """
- hosts: localhost
  connection: local
  gather_facts: false
  module_defaults:
    group/slipway.mlops.k8s: {kubeconfig: "{{ slipway_kubeconfig }}"}
  tasks:
    - ansible.builtin.import_role: {name: slipway.mlops.aim, tasks_from: verify}
    - ansible.builtin.debug: {msg: "{{ 'green' if __aim_proof.ready else 'red' }}: {{ __aim_proof.reason }}"}
"""


def test_a_proof_outlives_its_job(aim: Aim, folder: Path) -> None:
    """As the Job does not outlive a day."""
    book = folder / "verify.yml"
    book.write_text(VERIFY)
    values = {"aim_namespace": NAMESPACE, "aim_client_image": IMAGE}
    assert "green: a run was logged" in playbook(book, **values)
    kubectl("-n", NAMESPACE, "delete", "jobs", "--all", "--wait=true")
    assert "green: proved, nothing changed since" in playbook(book, **values)


def in_browser(aim: Aim, hash_: str, picture: Path) -> str:
    """The page of a run as a browser renders it, and a picture of it."""
    with aim.forwarded(43800) as address:
        page = f"http://{address}/runs/{hash_}/metrics"
        shown = browser.dom(page, wait_seconds=20)
        browser.screenshot(page, picture, 1400, 900, wait_seconds=20)
    assert picture.stat().st_size > 20_000, "a blank page is smaller than this"
    return shown


def test_the_ui_shows_the_run_in_a_browser(aim: Aim, logged: str) -> None:
    until("all values", lambda: complete(aim, logged))
    shown = in_browser(aim, logged, ROOT / ".ci-artifacts" / "aim-ui.png")
    assert "first-light" in shown and logged in shown


def test_the_tag_alone_of_the_site_gives_an_aim_that_a_client_logs_to(aim: Aim, folder: Path) -> None:
    playbook("site.yml", "--tags", "aim")
    site = Aim(folder, "aim")
    hash_ = aim.exec(WRITE, "aim://aim.aim:53800", "by-the-tag", str(POINTS), "0").split()[0]
    until("all values, and the run closed", lambda: complete(site, hash_))
    assert "by-the-tag" in in_browser(site, hash_, folder / "by-the-tag.png")


def test_a_forced_deletion_of_the_pod_loses_nothing(aim: Aim, logged: str) -> None:
    until("all values", lambda: complete(aim, logged))
    kubectl("-n", NAMESPACE, "delete", "pod", "-l", "app.kubernetes.io/name=aim", "--force", "--grace-period=0")
    aim.wait_ready()
    until("the same values", lambda: complete(aim, logged))


def test_a_killed_writer_is_closed_by_name_and_nobody_else(aim: Aim) -> None:
    dead = aim.exec(KILLED, TRACKING, "killed", "10000", "0.05", check=False).split()[0]
    assert aim.run_of(dead)["active"]
    refused = aim.play("--tags", "aim_close", fails=True, aim_close_runs=["nobody"])
    assert "Not open, or not there: nobody" in refused and dead in refused
    aim.play("--tags", "aim_close", aim_close_runs=[dead])
    assert not aim.run_of(dead)["active"]
    assert len(aim.values(dead)) > 5
    alive = aim.exec(WRITE, TRACKING, "after", "10", "0").split()[0]
    until("a new run", lambda: complete(aim, alive, 10))


class Pods(threading.Thread):
    """Watches how many pods of Aim run at once."""

    def __init__(self, aim: Aim) -> None:
        super().__init__(daemon=True)
        self._aim, self._over, self.most, self.seen = aim, threading.Event(), 0, 0

    def run(self) -> None:
        while not self._over.is_set():
            running = [
                pod for pod in self._aim.pods() if any((status.get("state") or {}).get("running") for status in pod["status"].get("containerStatuses") or [])
            ]
            self.most, self.seen = max(self.most, len(running)), self.seen + 1
            time.sleep(0.1)

    def __enter__(self) -> Pods:
        self.start()
        return self

    def __exit__(self, *_unused: object) -> None:
        self._over.set()
        self.join()


@pytest.fixture
def updated(aim: Aim) -> Iterator[Pods]:
    with Pods(aim) as pods:
        aim.play(aim_ui_memory_limit="900Mi")
    yield pods
    aim.play()


def test_an_update_never_runs_two_pods_and_never_meets_a_lock(aim: Aim, updated: Pods, logged: str) -> None:
    assert updated.seen > 10 and updated.most == 1
    logs = kubectl("-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/name=aim", "--all-containers", "--tail=-1")
    assert not re.search(r"LOCK|Resource temporarily unavailable", logs), logs
    until("the run of before", lambda: complete(aim, logged))


TLS = {"aim_tracking_tls_secret": "tracking", "aim_tracking_ca_key": "tls.crt"}


@pytest.fixture
def certified(aim: Aim, folder: Path) -> Iterator[str]:
    """The tracking server with a certificate that signs itself; its text."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    subject = ["-subj", "/CN=aim", "-addext", f"subjectAltName=DNS:aim.{NAMESPACE}", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate), *subject]
    subprocess.run(command, capture_output=True, check=True)
    kubectl("-n", NAMESPACE, "create", "secret", "tls", "tracking", f"--key={key}", f"--cert={certificate}")
    aim.play(**TLS)
    aim.wait_ready()
    yield certificate.read_text()
    aim.play()
    aim.wait_ready()


@pytest.mark.long
def test_the_tracking_server_speaks_tls_to_those_who_trust_it(aim: Aim, certified: str) -> None:
    trusting = (
        "import os, sys\nopen('/tmp/ca.crt', 'w').write(sys.argv.pop())\nos.environ.update(SSL_CERT_FILE='/tmp/ca.crt', REQUESTS_CA_BUNDLE='/tmp/ca.crt')\n"
    ) + WRITE
    run = aim.exec(trusting, TRACKING, "by-tls", str(POINTS), "0", certified).split()[0]
    until("all values, and the run closed", lambda: complete(aim, run))
    plain = "import sys, urllib.request\nurllib.request.urlopen(sys.argv[1], timeout=10)"
    with pytest.raises(AssertionError, match=r"RemoteDisconnected|BadStatusLine|Connection reset"):
        aim.exec(plain, f"http://aim.{NAMESPACE}:53800/status/")
    aim.play("--tags", "aim_close", **TLS)  # the role's own client trusts it, too


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (
            {"aim_ingress_host": "aim.example.org", "aim_ingress_class": "nginx", "aim_ingress_auth_secret": "users", "aim_ingress_tls_secret": "cert"},
            ["Ingress aim: created"],
        ),
        ({"aim_ingress_host": "aim.example.org", "aim_ingress_controller": "haproxy", "aim_ingress_auth_secret": "users"}, ["Ingress aim: created"]),
        ({"aim_service_type": "LoadBalancer", "aim_is_open_to_anyone": True}, ["Service aim-ui: created"]),
        (
            {"aim_name": "shared", "aim_volume_is_shared": True, "aim_nfs_server": "nfs.example.org", "aim_nfs_path": "/aim"},
            ["PersistentVolume aim-test-aim-shared-repo: created", "PersistentVolumeClaim shared-repo: created"],
        ),
    ],
    ids=["nginx", "haproxy", "load balancer", "nfs"],
)
def test_the_api_server_accepts_what_the_lab_cannot_run(aim: Aim, values: dict[str, Any], shown: list[str]) -> None:
    """A look ahead sends every object to it as a dry run."""
    output = aim.play("--check", **values)
    assert not [line for line in shown if line not in output], output[-3000:]


@pytest.mark.long
@pytest.mark.parametrize("label", ["first", "second"])
def test_a_copy_comes_back(aim: Aim, logged: str, label: str) -> None:
    """Twice: what a restoration leaves behind must not stand in the way of the next."""
    until("the run", lambda: complete(aim, logged))
    aim.play("--tags", "aim_copy", aim_copy_label=label)
    names = re.findall(rf"to (\d{{8}}T\d{{6}}Z-{label})", copies_log())
    assert len(names) == 1
    aim.wait_ready()
    aim.ask(f"/api/runs/{logged}", method="DELETE")
    with pytest.raises(AssertionError, match="404"):
        aim.run_of(logged)
    refused = aim.play("--tags", "aim_restore", fails=True, aim_restore_copy="20200101T000000Z-none")
    assert "There is no copy" in refused and names[0] in refused
    aim.wait_ready()
    aim.play("--tags", "aim_restore", aim_restore_copy=names[0])
    aim.wait_ready()
    until("the run is back", lambda: complete(aim, logged))


def copies_log() -> str:
    """What the care Jobs wrote."""
    jobs = [name for name in kubectl("-n", NAMESPACE, "get", "jobs", "-o", "name").split() if "aim-copy-" in name]
    return "\n".join(kubectl("-n", NAMESPACE, "logs", name, check=False) for name in jobs)


@pytest.mark.long
def test_removal_keeps_the_repository(aim: Aim, logged: str, folder: Path) -> None:
    remove(folder)
    until("no pod", lambda: not aim.pods())
    assert "aim-repo" in kubectl("-n", NAMESPACE, "get", "pvc", "-o", "name")
    aim.play()
    aim.wait_ready()
    until("the run of before", lambda: complete(aim, logged))


def remove(folder: Path, *data: str) -> None:
    """As docs/aim.md tells."""
    play = folder / "absent.yml"
    play.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - slipway.mlops.k8s_manifests:\n"
        f"        {{kubeconfig: '{KUBECONFIG}', name: aim, namespace: {NAMESPACE}, state: absent, delete_data: {json.dumps(data)}}}\n"
    )
    playbook(play)


FOREIGN = "/srv/aim-test-foreign"  # made by the kubelet for root alone


def bound(namespace: str, source: dict[str, Any]) -> str:
    """A claim on node w3, bound to a volume that is not made for Aim."""
    on_w3 = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["w3"]}
    volume = {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": "foreign"}, **source,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_w3]}]}},
        },
    }  # fmt: skip
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "foreign", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": namespace, "resources": {"requests": {"storage": "1Gi"}}},
    }  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [volume, claim]})


@pytest.mark.long
def test_a_volume_of_another_owner_is_refused_with_the_exact_reason_or_repaired(folder: Path) -> None:
    """The same folder of root's, once as a volume that does not heed fsGroup and once as one that does."""
    for kind, source in {"refused": {"hostPath": {"path": FOREIGN, "type": "DirectoryOrCreate"}}, "repaired": {"local": {"path": FOREIGN}}}.items():
        namespace = PREFIX + kind
        namespace_with_registry(namespace)
        try:
            kubectl("apply", "-f", "-", text=bound(namespace, source))
            server = Aim(folder, namespace)
            values = {"aim_existing_claim": "foreign", "aim_copies_claim": "", "aim_wait_timeout": 180 if kind == "refused" else 600}
            output = server.play(fails=kind == "refused", **values)
            if kind == "refused":
                assert "/repo belongs to 0:0 with mode 0755; user 10003" in output
                assert "Set aim_uid and aim_gid to its owner" in output
            else:
                server.wait_ready()
        finally:
            kubectl("delete", "namespace", namespace, "--timeout=120s", check=False)
            kubectl("delete", "pv", namespace, "--wait=false", check=False)


WRITERS = """
import concurrent.futures, subprocess, sys
def one(number):
    command = [sys.executable, "-c", sys.argv[1], sys.argv[2], "load", sys.argv[3], "0"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
with concurrent.futures.ThreadPoolExecutor(20) as pool:
    print("\\n".join(pool.map(one, range(20))))
"""


@pytest.mark.long
def test_twenty_writers_lose_no_point_while_the_ui_is_asked(aim: Aim) -> None:
    points, asked, over = 1000, [], threading.Event()

    def look() -> None:
        while not over.is_set():
            began = time.monotonic()
            aim.ask("/api/experiments/")
            asked.append(time.monotonic() - began)

    reader = threading.Thread(target=look)
    reader.start()
    began = time.monotonic()
    try:
        hashes = aim.exec(WRITERS, WRITE, TRACKING, str(points), timeout=600).split()
    finally:
        over.set()
        reader.join()
    seconds = time.monotonic() - began
    assert len(set(hashes)) == 20
    expected = [step * 0.5 for step in range(points)]

    for hash_ in hashes:
        until(f"the end of run {hash_}", lambda hash_=hash_: not aim.run_of(hash_)["active"])
    # By the client: the UI thins a metric out to 200 points.
    values = json.loads(aim.exec(READ, TRACKING, *hashes))
    assert set(values) == set(hashes)
    for hash_, found in values.items():
        assert found == expected, f"run {hash_}: {len(found)} of {points} values, {len(set(expected) - set(found))} missing"
    restarts = [status["restartCount"] for pod in aim.pods() for status in pod["status"]["containerStatuses"]]
    peaks = {name: memory_peak(name) for name in ("ui", "tracking")}
    record = {
        "writers": 20,
        "points_each": points,
        "seconds": round(seconds, 1),
        "ui_answers": len(asked),
        "ui_slowest_seconds": round(max(asked), 2),
        "memory_peak_bytes": peaks,
    }
    (ROOT / ".ci-artifacts").mkdir(exist_ok=True)
    (ROOT / ".ci-artifacts" / "aim-load.json").write_text(json.dumps(record, indent=2) + "\n")
    assert not any(restarts), "the memory limit was reached"
    assert all(0 < peak < 1 << 30 for peak in peaks.values()), record


def memory_peak(container: str) -> int:
    """Bytes, by the kernel; cgroup version 2 or 1."""
    script = "cat /sys/fs/cgroup/memory.peak /sys/fs/cgroup/memory/memory.max_usage_in_bytes 2>/dev/null | head -1"
    return int(kubectl("-n", NAMESPACE, "exec", "deploy/aim", "-c", container, "--", "sh", "-c", script))


@pytest.mark.long
def test_a_claim_goes_when_it_is_named(aim: Aim, folder: Path) -> None:
    """The last of all."""
    remove(folder, "PersistentVolumeClaim/aim-repo")
    until("the end of the claim", lambda: "aim-repo" not in kubectl("-n", NAMESPACE, "get", "pvc", "-o", "name"))
    assert "aim-copies" in kubectl("-n", NAMESPACE, "get", "pvc", "-o", "name")
