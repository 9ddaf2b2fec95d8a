# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What any Kubernetes gives its users: pods that reach each other, Services, names, storage, guarded images."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from lab_under_test import RunningLab, is_ready, pod, wait_until

pytestmark = pytest.mark.lab

SERVE = "mkdir -p /tmp/www && echo $HOSTNAME > /tmp/www/index.html && exec busybox httpd -f -p 8080 -h /tmp/www"


@pytest.fixture(scope="module")
def pair(lab: RunningLab, namespace: str) -> dict[str, Any]:
    """A server on one worker, a client on another, and Services before the server."""
    first, second = (n.name for n in lab.layout.worker_nodes[:2])
    service = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}
    lab.apply(
        pod("server", namespace, first, SERVE),
        pod("client", namespace, second, "exec sleep 100000"),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace}, "spec": service},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside", "namespace": namespace}, "spec": {**service, "type": "NodePort"}},
    )
    wait_until("server and client run", lambda: all(is_ready(lab.get("pod", n, "-n", namespace)) for n in ("server", "client")))
    return {"server": lab.get("pod", "server", "-n", namespace), "namespace": namespace}


def fetch(lab: RunningLab, namespace: str, host: str, port: int, client: str = "client") -> str:
    """The body that a pod gets from an address or a full name.

    By nslookup and nc: wget of a static busybox calls the resolver of glibc, which needs libraries that its image lacks.
    """
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 5 $ip {port} | tail -n 1"
    find = f"ip={host}" if host.replace(".", "").isdigit() else f"ip=$(busybox nslookup {host} | sed -n 's/^Address: *\\([0-9.]*\\)$/\\1/p' | tail -n 1)"
    return lab.kubectl("-n", namespace, "exec", client, "--", "sh", "-c", f"{find}; {ask}", check=False).strip()


def test_every_planned_node_is_ready_and_runs_the_pinned_version(lab: RunningLab) -> None:
    nodes = {n["metadata"]["name"]: n for n in lab.get("nodes")["items"]}
    planned = {n.name: n for n in lab.layout.nodes}
    assert set(planned) <= set(nodes)
    for name, node in planned.items():
        assert is_ready(nodes[name]), name
        assert nodes[name]["status"]["nodeInfo"]["kubeletVersion"] == "v1.35.4"
        assert nodes[name]["spec"]["podCIDR"] == node.pod_cidr


def test_pods_on_different_nodes_reach_each_other_by_address_service_and_name(lab: RunningLab, pair: dict[str, Any]) -> None:
    server, namespace = pair["server"], pair["namespace"]
    service = lab.get("service", "web", "-n", namespace)["spec"]["clusterIP"]
    assert server["spec"]["nodeName"] != lab.get("pod", "client", "-n", namespace)["spec"]["nodeName"]
    for host, port in ((server["status"]["podIP"], 8080), (service, 80), (f"web.{namespace}.svc.cluster.local", 80)):
        assert wait_until(host, lambda host=host, port=port: fetch(lab, namespace, host, port), 60) == "server"


def test_a_pod_reaches_a_pod_of_its_own_node_through_a_service(lab: RunningLab, pair: dict[str, Any]) -> None:
    namespace, node = pair["namespace"], pair["server"]["spec"]["nodeName"]
    lab.apply(pod("neighbour", namespace, node, "exec sleep 100000"))
    wait_until("the neighbour runs", lambda: is_ready(lab.get("pod", "neighbour", "-n", namespace)))
    name = f"web.{namespace}.svc.cluster.local"
    assert wait_until(name, lambda: fetch(lab, namespace, name, 80, client="neighbour"), 60) == "server"


def test_pods_keep_their_address_towards_pods_of_other_nodes(lab: RunningLab, pair: dict[str, Any]) -> None:
    """No translation inside of the cluster: the server sees the client's own address."""
    namespace = pair["namespace"]
    client = lab.get("pod", "client", "-n", namespace)["status"]["podIP"]
    node = pair["server"]["spec"]["nodeName"]
    lab.apply(pod("listener", namespace, node, "busybox nc -ll -p 9000 -e sh -c 'read line; busybox netstat -tn 2>/dev/null || cat /proc/net/tcp'"))
    wait_until("the listener runs", lambda: is_ready(lab.get("pod", "listener", "-n", namespace)))
    listener = lab.get("pod", "listener", "-n", namespace)["status"]["podIP"]
    seen = lab.kubectl("-n", namespace, "exec", "client", "--", "sh", "-c", f"echo hello | busybox nc -w 5 {listener} 9000")
    in_hex = "".join(f"{int(x):02X}" for x in reversed(client.split(".")))
    assert client in seen or in_hex in seen


def test_a_node_port_answers_from_outside_of_the_cluster_on_every_node(lab: RunningLab, pair: dict[str, Any]) -> None:
    port = lab.get("service", "outside", "-n", pair["namespace"])["spec"]["ports"][0]["nodePort"]
    for node in lab.layout.nodes:
        with urllib.request.urlopen(f"http://{node.address}:{port}/", timeout=10) as answer:
            assert answer.read().decode().strip() == "server"


def test_a_claim_of_the_default_class_keeps_its_data_over_the_death_of_its_pod(lab: RunningLab, namespace: str, pods_ready: Callable[..., Any]) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    lab.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace}, "spec": spec})
    keeper = pod(
        "keeper",
        namespace,
        "",
        "cat /data/lines; echo $(cat /proc/sys/kernel/random/uuid) >> /data/lines; exec sleep 100000",
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    )
    lab.apply(keeper)
    pods_ready(namespace, "keeper")
    assert lab.get("pvc", "data", "-n", namespace)["status"]["phase"] == "Bound"
    first = lab.kubectl("-n", namespace, "exec", "keeper", "--", "cat", "/data/lines")
    assert len(first.split()) == 1
    lab.kubectl("-n", namespace, "delete", "pod", "keeper")
    lab.apply(keeper)
    pods_ready(namespace, "keeper")
    assert lab.kubectl("-n", namespace, "logs", "keeper") == first


def test_a_private_image_is_pulled_only_with_its_secret(lab: RunningLab, namespace: str, pods_ready: Callable[..., Any]) -> None:
    image, node = "registry.lab:5000/python-base:3.11", lab.layout.worker_nodes[-1].name
    auth = lab.layout.state / "registry-auth.json"
    lab.kubectl("-n", namespace, "create", "secret", "generic", "pull", "--type=kubernetes.io/dockerconfigjson", f"--from-file=.dockerconfigjson={auth}")
    always = {"imagePullPolicy": "Always"}
    lab.apply(pod("without", namespace, node, "exec sleep 100000", image=image, container=always))

    def refusal() -> str:
        statuses = lab.get("pod", "without", "-n", namespace)["status"].get("containerStatuses", [])
        waiting = statuses[0]["state"].get("waiting", {}) if statuses else {}
        return waiting.get("message", "") if waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff") else ""

    assert "401" in wait_until("the pull without the secret is refused", refusal)
    with_secret = pod("with", namespace, node, "exec sleep 100000", image=image, container=always, imagePullSecrets=[{"name": "pull"}])
    lab.apply(with_secret)
    pods_ready(namespace, "with")


def test_the_keys_of_the_lab_are_its_owners_alone(lab: RunningLab) -> None:
    for path in (lab.kubeconfig, lab.layout.ssh / "id_ed25519", lab.layout.state / "registry-auth.json", lab.layout.state / "registry" / "htpasswd"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert "$2y$" in (lab.layout.state / "registry" / "htpasswd").read_text()


def test_a_second_up_changes_nothing(lab: RunningLab) -> None:
    def picture() -> tuple[str, ...]:
        ids = lab.podman("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.StartedAt}}", "--filter", f"label=slipway.lab/name={lab.layout.name}")
        uids = lab.kubectl("get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.uid} {end}")
        files = [f"{p} {p.stat().st_mtime_ns}" for p in sorted(lab.layout.state.iterdir()) if p.is_file()]
        return (ids, uids, *files)

    before = picture()
    ran = subprocess.run([str(lab.layout.sources / "lab"), "up"], capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert picture() == before
    for word in ("created", "started", "Control plane", "Workers"):
        assert word not in ran.stdout
