# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kubeadm init and join, kube-proxy, CoreDNS, the default StorageClass."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from pathlib import Path

from slipway_lab import pins
from slipway_lab.archive import tags
from slipway_lab.containers import execute
from slipway_lab.errors import LabError
from slipway_lab.layout import POD_CIDR, REGISTRY_NAME, SERVICE_CIDR, Lab, Node
from slipway_lab.nodes import in_parallel, write_if_other
from slipway_lab.registry import hosts_toml

JOINED = "/etc/slipway-lab/joined"  # in a node, holds the identity of the cluster it finished joining
ADMIN = ["env", "KUBECONFIG=/etc/kubernetes/admin.conf"]

# All that differs from kubeadm's defaults is owed to nodes that are containers: shared disks, swap and memory of the machine
# under the lab, cgroup version 1. What the collection's roles set (sysctls, runtimes, labels) is left alone.
KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "cgroupDriver": "cgroupfs",
    "failCgroupV1": False,
    "failSwapOn": False,
    "imageGCHighThresholdPercent": 100,
    "evictionHard": {"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%"},
}


def init_config(lab: Lab) -> str:
    """What `kubeadm init` reads, a stream of documents."""
    node = lab.control_plane
    documents = [
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": 6443},
            "nodeRegistration": _registration(node),
            "timeouts": {"kubeletHealthCheck": "60s"},
        },
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "clusterName": lab.name,
            "kubernetesVersion": f"v{pins.KUBERNETES}",
            "encryptionAlgorithm": "ECDSA-P256",
            "networking": {"podSubnet": POD_CIDR, "serviceSubnet": SERVICE_CIDR},
            "apiServer": {"certSANs": ["127.0.0.1", "localhost"]},
            # The plan gives each node its pods' addresses; an allocator would go by the order of joining and end at 256 nodes.
            "controllerManager": {"extraArgs": [{"name": "allocate-node-cidrs", "value": "false"}]},
            # The machine's disk is shared by all nodes, and the lab's data is worth nothing: no waiting for it to be safe on disk.
            "etcd": {"local": {"imageTag": f"{pins.ETCD}-0", "extraArgs": [{"name": "unsafe-no-fsync", "value": "true"}]}},
            "dns": {"imageTag": f"v{pins.COREDNS}"},
        },
        KUBELET,
    ]
    return "---\n".join(json.dumps(d, indent=2) + "\n" for d in documents)


def _registration(node: Node) -> dict[str, object]:
    return {
        "name": node.name,
        "criSocket": "unix:///run/containerd/containerd.sock",
        "kubeletExtraArgs": [{"name": "node-ip", "value": node.address}],
        "ignorePreflightErrors": ["all"],
    }


def load_images(lab: Lab, node: Node, archive: Path) -> None:
    """Gives the node's containerd the images that no registry of ours serves."""
    name = lab.container(node)
    known = execute(lab, name, ["ctr", "-n", "k8s.io", "images", "ls", "-q"], quiet=True).split()
    if tags(archive) <= set(known):  # an import that was killed has named some of them
        return
    execute(lab, name, ["ctr", "-n", "k8s.io", "images", "import", "-"], stdin=archive)


def prepare(lab: Lab, node: Node) -> None:
    """What a node has before kubeadm: the registry's address and running daemons."""
    name = lab.container(node)
    path = f"/etc/containerd/certs.d/{REGISTRY_NAME}"
    script = f"mkdir -p {path} && cat > {path}/hosts.toml && systemctl enable --now --quiet containerd kubelet && systemctl enable --quiet kube-proxy"
    execute(lab, name, ["sh", "-ec", script], stdin=hosts_toml(lab))


def joined(lab: Lab, node: Node) -> str:
    """The identity of the cluster that the node finished joining, or nothing."""
    return execute(lab, lab.container(node), ["sh", "-c", f"cat {JOINED} 2>/dev/null || true"], quiet=True)


def half_made(lab: Lab, node: Node, cluster: str) -> bool:
    """True for a node on which kubeadm began but did not finish, or finished in a cluster that is no more."""
    if joined(lab, node) not in ("", cluster):
        return True
    begun = execute(lab, lab.container(node), ["sh", "-c", "ls -A /etc/kubernetes 2>/dev/null || true"], quiet=True)
    return bool(begun) and not joined(lab, node)


def mark_joined(lab: Lab, node: Node, identity: str) -> None:
    execute(lab, lab.container(node), ["sh", "-ec", f"mkdir -p {Path(JOINED).parent} && echo {identity} > {JOINED}.new && mv {JOINED}.new {JOINED}"])


def init(lab: Lab) -> str:
    """Makes the control plane; the identity of the new cluster."""
    name = lab.container(lab.control_plane)
    execute(lab, name, ["sh", "-ec", "mkdir -p /etc/slipway-lab && cat > /etc/slipway-lab/kubeadm.yaml"], stdin=init_config(lab))
    execute(lab, name, ["kubeadm", "init", "--config", "/etc/slipway-lab/kubeadm.yaml", "--skip-phases=addon/kube-proxy", "--skip-token-print"])
    script = (
        "kubeadm kubeconfig user --config /etc/slipway-lab/kubeadm.yaml --client-name system:kube-proxy --validity-period 87600h"
        " > /etc/kubernetes/kube-proxy.conf"
        " && chmod 600 /etc/kubernetes/kube-proxy.conf && systemctl restart kube-proxy"
    )
    execute(lab, name, ["sh", "-ec", script])
    return identity(lab)


def identity(lab: Lab) -> str:
    """Hash of the cluster's CA, as in `kubeadm join --discovery-token-ca-cert-hash`."""
    script = "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1"
    return execute(lab, lab.container(lab.control_plane), ["sh", "-ec", script], quiet=True)


def join(lab: Lab, workers: list[Node], cluster: str) -> None:
    """Joins the workers, in parallel, with a token that is good for minutes."""
    cp = lab.container(lab.control_plane)
    token = execute(lab, cp, [*ADMIN, "kubeadm", "token", "create", "--ttl", "15m", "--description", "lab join"], quiet=True).split()[-1]
    proxy = execute(lab, cp, ["cat", "/etc/kubernetes/kube-proxy.conf"], quiet=True)

    def one(node: Node) -> None:
        config = {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "JoinConfiguration",
            "discovery": {
                "bootstrapToken": {"token": token, "apiServerEndpoint": f"{lab.control_plane.address}:6443", "caCertHashes": [f"sha256:{cluster}"]},
            },
            "nodeRegistration": _registration(node),
        }
        name = lab.container(node)
        execute(lab, name, ["sh", "-ec", "umask 077; mkdir -p /etc/slipway-lab; cat > /etc/slipway-lab/join.yaml"], stdin=json.dumps(config))
        execute(
            lab, name, ["sh", "-ec", "umask 077; mkdir -p /etc/kubernetes; cat > /etc/kubernetes/kube-proxy.conf; systemctl restart kube-proxy"], stdin=proxy
        )
        execute(lab, name, ["sh", "-ec", "kubeadm join --config /etc/slipway-lab/join.yaml; rm /etc/slipway-lab/join.yaml"])
        mark_joined(lab, node, cluster)

    in_parallel(one, workers)


def forget(lab: Lab, names: list[str]) -> None:
    """Deletes the Node objects of machines that are no more; kubeadm refuses to join under a name that is still Ready."""
    if names:
        kubectl(lab, "delete", "nodes", "--ignore-not-found", *names)


def kubectl(lab: Lab, *args: str, **kwargs: object) -> str:
    """kubectl on the control plane, as the administrator."""
    return execute(lab, lab.container(lab.control_plane), [*ADMIN, "kubectl", *args], **kwargs)


def set_pod_cidrs(lab: Lab) -> None:
    """Writes the plan's pod addresses into the Node objects, where tools look for them."""
    nodes = {n.name: n.pod_cidr for n in lab.nodes}
    for item in json.loads(kubectl(lab, "get", "nodes", "-o", "json", quiet=True))["items"]:
        name = item["metadata"]["name"]
        if name in nodes and not item["spec"].get("podCIDR"):
            kubectl(lab, "patch", "node", name, "-p", json.dumps({"spec": {"podCIDR": nodes[name], "podCIDRs": [nodes[name]]}}))


def apply_addons(lab: Lab, tries: int = 10) -> None:
    """The default StorageClass. A young API server on a busy machine may need to be asked again."""
    manifest = (lab.sources / "manifests" / "local-path-storage.manifests").read_text()
    for left in reversed(range(tries)):
        try:
            kubectl(lab, "apply", "--validate=false", "-f", "-", stdin=manifest)
            return
        except LabError:
            if not left:
                raise
            time.sleep(2)


def fetch_kubeconfig(lab: Lab) -> bool:
    text = execute(lab, lab.container(lab.control_plane), ["cat", "/etc/kubernetes/admin.conf"], quiet=True)
    return write_if_other(lab.kubeconfig, text + "\n", 0o600)


def api_healthy(lab: Lab, timeout: float = 5) -> bool:
    anybody = ssl.create_default_context()  # no secret is sent, and the answer is one word
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    try:
        with contextlib.closing(http.client.HTTPSConnection(lab.control_plane.address, 6443, timeout=timeout, context=anybody)) as server:
            server.request("GET", "/readyz")
            return server.getresponse().read() == b"ok"
    except (OSError, http.client.HTTPException):
        return False


def wait_until_ready(lab: Lab, seconds: float = 300) -> None:
    """Returns when every planned node is Ready and the cluster's own pods run."""
    deadline = time.monotonic() + seconds
    while True:
        missing = what_is_missing(lab)
        if not missing:
            return
        if time.monotonic() > deadline:
            raise LabError(f"not ready after {seconds:.0f} s: {'; '.join(missing)}")
        time.sleep(0.5)


def what_is_missing(lab: Lab) -> list[str]:
    """One sentence for each thing that a working cluster has and this one lacks."""
    if not api_healthy(lab):
        return ["the API server does not answer"]
    missing = []
    try:
        nodes = json.loads(kubectl(lab, "get", "nodes", "-o", "json", quiet=True))["items"]
        deployments = json.loads(kubectl(lab, "get", "deployments", "-A", "-o", "json", quiet=True))["items"]
    except LabError as e:
        return [str(e)]
    ready = {n["metadata"]["name"] for n in nodes for c in n["status"].get("conditions", []) if c["type"] == "Ready" and c["status"] == "True"}
    missing += [f"node {n.name} is not Ready" for n in lab.nodes if n.name not in ready]
    found = {d["metadata"]["name"]: d for d in deployments}
    for name in ("coredns", "local-path-provisioner"):
        status = found.get(name, {}).get("status", {})
        if not status.get("readyReplicas") or status.get("unavailableReplicas"):
            missing.append(f"deployment {name} is not available")
    return missing
