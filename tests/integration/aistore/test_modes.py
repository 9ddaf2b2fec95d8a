# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each way to deploy AIStore that the lab's own cluster does not show, as one small cluster of one node beside it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import the_lab
from ais_lab import Small, good, playbook, ssh
from the_lab import until

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.long]
SPACE, NODE = "ais-modes", "w1"
CLIENT = """
import boto3, sys
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1", verify=False,
                  config=Config(s3={"addressing_style": "path"}))
body = bytes(range(256)) * 8192
s3.put_object(Bucket="traffic", Key="a/b", Body=body)
assert s3.get_object(Bucket="traffic", Key="a/b")["Body"].read() == body
s3.delete_object(Bucket="traffic", Key="a/b")
print("came back")
"""


@pytest.fixture
def small(api, request):
    """A cluster of one proxy and one target on one node, not deployed yet."""
    node = getattr(request, "param", NODE)
    tolerated = [{"operator": "Exists"}] if node == "cp1" else []
    cluster = Small(api, SPACE, 7, [node], [node], aistore_proxies_min=1, aistore_tolerations=tolerated)
    cluster.mount(node)
    yield cluster
    cluster.remove()


def client(small, url, node, host_network=False, says="came back"):
    """boto3 in a pod, and what it says; on a node's network it is a client outside of the cluster's."""
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "s3-client"},
        "spec": {
            "restartPolicy": "Never", "nodeName": node, "hostNetwork": host_network, "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": [{"name": "slipway-registry"}],
            "securityContext": {"runAsUser": 10004, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "client", "image": "registry.lab:5000/client:1", "command": ["python3", "-c", CLIENT, url],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }  # fmt: skip
    small.kubectl("apply", "-f", "-", text=json.dumps(pod))
    try:
        until("the client ends", lambda: small.kubectl("get", "pod", "s3-client", "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"), 120)
        assert says in small.kubectl("logs", "s3-client")
    finally:
        small.kubectl("delete", "pod", "s3-client", "--grace-period=1")


def address(node):
    return the_lab.kubectl("get", "node", node, "-o", 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}')


def curl(*arguments):
    done = subprocess.run(["curl", "--silent", "--show-error", "--fail", "--location", *arguments], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def redirect_of(url):
    """The head of the answer that curl would follow."""
    return subprocess.run(["curl", "--silent", "--head", "--request", "GET", url], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("small", ["cp1"], indirect=True)
def test_a_second_cluster_of_another_name_serves_clients_outside_at_its_node(small, tmp_path, ask):
    """hostPort, state in a directory of the node, redirects that lead to the node's address."""
    where = address("cp1")
    over = {
        "aistore_cluster": "second", "aistore_access": "host_port", "aistore_public_addresses": {"cp1": where}, "aistore_client_cidrs": ["0.0.0.0/0"],
        "aistore_state_path": "/var/lib/ais-modes",
    }  # fmt: skip
    lab = ask(60)
    try:
        small.settle(**over, aistore_config={"memsys": {"min_free": "1GiB"}, "features": []})
        found = small.ask(name="second")
        assert (found["problems"], len(found["daemons"])) == ([], 2)
        assert found["uuid"] != lab["uuid"]
        assert ask()["uuid"] == lab["uuid"]
        # This machine is outside of the cluster: it is redirected to the target's port on the node.
        file, url = tmp_path / "object", f"http://{where}:51080/v1/objects/traffic/outside?provider=ais"
        file.write_bytes(os.urandom(1 << 20))
        curl("--upload-file", str(file), url)
        assert hashlib.sha256(curl(url)).digest() == hashlib.sha256(file.read_bytes()).digest()
        assert f"http://{where}:51081/" in redirect_of(url)
        # S3 is redirected as well, which curl follows and the AWS SDK for Python does not.
        s3 = f"http://{where}:51080/s3/traffic/by-redirect"
        curl("--upload-file", str(file), s3)
        assert curl(s3) == file.read_bytes()
        client(small, f"http://{where}:51080/s3", "w2", host_network=True, says="TemporaryRedirect")
        # Proxies that answer S3 themselves need no redirect: any client works.
        good(small.play(**over, aistore_config={"memsys": {"min_free": "1GiB"}, "features": ["S3-Reverse-Proxy"]}))
        client(small, f"http://{where}:51080/s3", "w2", host_network=True)
        refused = small.play(**{**over, "aistore_targets": ["w1"], "aistore_proxies": ["w1"], "aistore_initial_primary": "w1"})
        assert "node w1 carries nvidia.com/ais-target=ais, it belongs to AIStore cluster ais" in refused.failure
    finally:
        small.kubectl("delete", "statefulset", "--all", "--timeout=120s")
        ssh("cp1", "rm -rf /var/lib/ais-modes")


def test_local_volumes_run_under_restricted_pod_security(small):
    try:
        small.settle(aistore_storage="local_volume")
        found = small.ask()
        assert (found["problems"], found["facts"]["mountpaths"]) == ([], 1)
        labels = json.loads(the_lab.kubectl("get", "namespace", SPACE, "-o", "json"))["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        client(small, f"http://ais-ais-proxy.{SPACE}.svc:51080/s3", "cp1")
        assert ssh(NODE, f"ls -A {small.path}").split() == [".slipway-aistore.json", f"{SPACE}.ais"]  # marker and data, as with hostPath
        # A backend that comes later is switched on, and its credentials come with a restart.
        small.kubectl("create", "secret", "generic", "s3-credentials", "--from-literal=AWS_ACCESS_KEY_ID=x", "--from-literal=AWS_SECRET_ACCESS_KEY=x")
        over = {"aistore_storage": "local_volume", "aistore_backends": {"aws": {"secret": "s3-credentials"}}}
        later = small.settle(**over).result("The daemons form one cluster")
        assert ([item["name"] for item in later["config"]], len(later["restarts"])) == (["backend"], 2)
        assert small.ask()["problems"] == []
    finally:
        small.kubectl("delete", "statefulset", "--all", "--timeout=120s")
        small.kubectl("delete", "persistentvolumeclaim", "--all", "--timeout=120s")
        for volume in json.loads(the_lab.kubectl("get", "persistentvolume", "-o", "json"))["items"]:
            if volume["metadata"]["name"].startswith(f"{SPACE}-"):
                the_lab.kubectl("delete", "persistentvolume", volume["metadata"]["name"])


def test_https_with_a_given_secret_and_a_sysctl_of_the_pods(small, tmp_path):
    names = f"DNS:*.{SPACE}.svc,DNS:*.{SPACE}.svc.cluster.local,DNS:*.ais-ais-proxy-peers.{SPACE}.svc.cluster.local,"
    names += f"DNS:*.ais-ais-target-peers.{SPACE}.svc.cluster.local"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=ais", "-addext", f"subjectAltName={names}"]
    subprocess.run([*request, "-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")], check=True, capture_output=True)
    the_lab.kubectl("create", "namespace", SPACE)
    small.kubectl("create", "secret", "tls", "ais-tls", f"--cert={tmp_path / 'tls.crt'}", f"--key={tmp_path / 'tls.key'}")
    small.settle(aistore_https_secret="ais-tls", aistore_somaxconn=100000)
    found = small.ask()
    assert (found["problems"], found["url"].partition(":")[0]) == ([], "https")
    assert small.kubectl("exec", f"ais-ais-target-{NODE}-0", "-c", "aisnode", "--", "cat", "/proc/sys/net/core/somaxconn").strip() == "100000"
    client(small, f"https://ais-ais-proxy.{SPACE}.svc:51080/s3", "cp1")
    sized = {"aistore_loader_seconds": 3, "aistore_loader_fill_seconds": 2, "aistore_loader_total_size": "128MiB"}
    loaded = good(playbook("playbooks/aisloader.yml", **{**small.variables, "aistore_https_secret": "ais-tls", **sized}, aistore_loader_report_directory=""))
    row = loaded.result("Throughput and latency are told")["summary"]["put"]
    assert row["requests"] > 0 and row["errors"] == 0


def test_a_load_balancer_gives_clients_outside_every_address_they_need(small, tmp_path):
    """The lab has no load balancer: the test gives the Services the addresses that they ask for, and kube-proxy does the rest."""
    proxy, target = "198.51.100.10", "198.51.100.11"
    over = {
        "aistore_access": "load_balancer", "aistore_public_addresses": {NODE: target}, "aistore_load_balancer_address": proxy,
        "aistore_client_cidrs": ["0.0.0.0/0"],
    }  # fmt: skip
    with ThreadPoolExecutor() as pool:
        balancer = pool.submit(balance, small, ["ais-ais-proxy", f"ais-ais-target-{NODE}"])
        played = small.play(**over)
        assert balancer.result() == [proxy, target]
    good(played)
    assert good(small.play(**over)).changed == 0
    assert small.ask()["problems"] == []
    client(small, f"http://{proxy}:51080/s3", "w2", host_network=True)
    # This machine is outside of the cluster. Packets for the two addresses come to a node, as a load balancer would send them.
    file, url = tmp_path / "object", f"http://{proxy}:51080/v1/objects/traffic/outside?provider=ais"
    file.write_bytes(os.urandom(1 << 20))
    good(small.play(**over, aistore_config={"memsys": {"min_free": "1GiB"}, "features": []}))
    with route(f"{proxy}/31", address(NODE)):
        curl("--upload-file", str(file), url)
        assert curl(url) == file.read_bytes()
        assert f"http://{target}:51081/" in redirect_of(url)
        assert small.ask()["problems"] == []
    with route(f"{proxy}/31", address("w2")):  # nothing of the cluster is there, and w2 may not pass on what would hide its sender
        refused = subprocess.run(["curl", "--silent", "--max-time", "5", url], capture_output=True, check=False, timeout=60)
        assert refused.returncode in (7, 28), refused
    gone = json.dumps({"status": {"loadBalancer": {"ingress": None}}})
    small.kubectl("patch", "service", f"ais-ais-target-{NODE}", "--subresource=status", "--type=merge", "-p", gone)
    assert [text.partition(":")[0] for text in small.ask()["problems"]] == [f"Service ais-ais-target-{NODE} has no address"]


@contextlib.contextmanager
def route(where, by):
    """On this machine, as long as the block lasts."""
    subprocess.run(["ip", "route", "add", where, "via", by], check=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "route", "del", where, "via", by], check=True)


def balance(small, names):
    """What a load balancer does once the Services are there; the addresses that it gave."""
    given = []
    for name in names:
        address_of = ["get", "service", name, "-o", "jsonpath={.spec.loadBalancerIP}"]
        asked = until(f"Service {name} asks for an address", lambda words=address_of: small.kubectl(*words), 90)
        status = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": asked, "ipMode": "VIP"}]}}})
        small.kubectl("patch", "service", name, "--subresource=status", "--type=merge", "-p", status)
        given.append(asked)
    return given
