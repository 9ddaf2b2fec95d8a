# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A virtual machine with a kernel of its own, for what containers cannot show: boots, global kernel settings, udev, new kernels' modules."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

from slipway_lab import nodes, pins
from slipway_lab.cache import cached, digest
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab
from slipway_lab.processes import Process
from slipway_lab.progress import say, step
from slipway_lab.shell import run

_PACKAGES = (
    "linux-image-cloud-amd64", "systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "initramfs-tools", "openssh-server", "python3",
    "iproute2", "ethtool", "xfsprogs", "e2fsprogs", "util-linux", "mount", "iputils-ping", "ca-certificates",
)  # fmt: skip
_ROOT_BYTES = 3 << 30
_DISK_BYTES = 1 << 30
_KVM_SECONDS = 20  # /dev/kvm may exist and hang: what prints nothing for so long does not work
_NO_KVM = Path("/run/slipway-lab/no-kvm")
_BOOT_SECONDS = 300  # emulated processors on a busy machine take their time


def folder(lab: Lab) -> Path:
    return lab.state / "guest"


def up(lab: Lab) -> None:
    """Boots the guest, or leaves a running one alone."""
    process = Process(lab, "guest")
    if process.alive():
        return
    nodes.make_keys(lab)
    base = _image(lab)
    with step("Guest", lab.logs, "its boot"):
        _make_disks(lab, base)
        port = _free_port()
        for accelerator in _accelerators():
            with _console(lab).open("wb") as console:
                process.start(_command(lab, base, accelerator, port), console)
            if accelerator == "kvm" and not _prints(lab, process):
                process.end()
                _NO_KVM.parent.mkdir(parents=True, exist_ok=True)
                _NO_KVM.touch()  # until the next boot of this machine
                say("", f"KVM gives no sign of life within {_KVM_SECONDS} s: the guest runs on emulated processors")
                continue
            break
        _wait_for_ssh(lab, process, port)
    nodes.write_if_other(folder(lab) / "ssh_config", _ssh_config(lab, port), 0o600)
    nodes.write_if_other(folder(lab) / "hosts.yml", _inventory(lab, port), 0o600)
    say("ok", f"guest: ssh -F {folder(lab) / 'ssh_config'} guest; inventory {folder(lab) / 'hosts.yml'}")


def down(lab: Lab) -> None:
    Process(lab, "guest").end()
    shutil.rmtree(folder(lab), ignore_errors=True)  # not there where no guest was made


def _image(lab: Lab) -> Path:
    """A folder with root.img, vmlinuz and initrd.img."""

    def make(work: Path) -> None:
        with step("Guest image", lab.logs, "Debian's package servers"):
            root = work / "root"
            run(
                ["mmdebstrap", "--variant=minbase", "--format=directory", f"--include={','.join(_PACKAGES)}"]
                + [f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")]
                + [f"--customize-hook={line}" for line in _CUSTOMIZE]
                + [pins.DEBIAN, root],
                env={"TMPDIR": str(work)},
            )
            for name in ("vmlinuz", "initrd.img"):
                shutil.copy((root / name).resolve() if not (root / name).is_symlink() else root / os.readlink(root / name).lstrip("/"), work / name)
            with (work / "root.img").open("wb") as f:
                os.ftruncate(f.fileno(), _ROOT_BYTES)
            run(["mke2fs", "-q", "-t", "ext4", "-L", "guest-root", "-d", root, work / "root.img"])
            shutil.rmtree(root)

    return cached(lab.cache / "guest", digest(pins.DEBIAN, *sorted(_PACKAGES), *_CUSTOMIZE, str(_ROOT_BYTES)), make)


_CUSTOMIZE = (
    'echo "LABEL=guest-root / ext4 defaults 0 1" > "$1/etc/fstab"',
    "printf '[Match]\\nName=en*\\n[Network]\\nDHCP=ipv4\\n' > \"$1/etc/systemd/network/lan.network\"",
    'chroot "$1" systemctl enable systemd-networkd ssh',
    'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer',
    'echo guest > "$1/etc/hostname"; : > "$1/etc/machine-id"; rm -f "$1"/etc/ssh/ssh_host_*; mkdir -p -m 0700 "$1/root/.ssh"',
)


def _make_disks(lab: Lab, base: Path) -> None:
    """A root disk that holds this lab's keys, and two blank data disks. A root disk that is there stays: it is the guest's memory."""
    place = folder(lab)
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(0o700)
    root = place / "root.img"
    if not root.exists():
        new = place / "root.img.new"
        run(["cp", "--sparse=always", base / "root.img", new])
        writes = {"/root/.ssh/authorized_keys": "authorized_keys", "/etc/ssh/ssh_host_ed25519_key": "host_ed25519"}
        script = "".join(
            f"write {lab.ssh / source} {target}\nsif {target} mode 0100600\nsif {target} uid 0\nsif {target} gid 0\n" for target, source in writes.items()
        )
        run(["debugfs", "-w", "-f", "-", new], stdin=script)
        new.replace(root)
    for disk in (0, 1):
        file = place / f"disk{disk}.img"
        if not file.exists():
            with file.open("xb") as f:
                os.ftruncate(f.fileno(), _DISK_BYTES)


def _command(lab: Lab, base: Path, accelerator: str, port: int) -> list[str]:
    place = folder(lab)
    argv = ["qemu-system-x86_64", "-name", f"{lab.name}-guest", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"]
    argv += ["-machine", f"q35,accel={accelerator}", "-cpu", "host" if accelerator == "kvm" else "max", "-smp", "2", "-m", "1024"]
    argv += ["-kernel", str(base / "vmlinuz"), "-initrd", str(base / "initrd.img"), "-append", "root=LABEL=guest-root rw console=ttyS0 panic=5 net.ifnames=1"]
    argv += ["-drive", f"file={place / 'root.img'},format=raw,if=virtio,cache=unsafe"]
    for disk in (0, 1):  # udev names them /dev/disk/by-id/virtio-<serial>
        argv += ["-drive", f"file={place / f'disk{disk}.img'},format=raw,if=none,id=disk{disk}"]
        argv += ["-device", f"virtio-blk-pci,drive=disk{disk},serial={lab.name[:10]}-disk{disk}"]
    argv += ["-netdev", f"user,id=lan,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22", "-device", "virtio-net-pci,netdev=lan"]
    return [*argv, "-device", "virtio-rng-pci"]


def _accelerators() -> list[str]:
    return ["kvm", "tcg"] if os.access("/dev/kvm", os.R_OK | os.W_OK) and not _NO_KVM.exists() else ["tcg"]


def _console(lab: Lab) -> Path:
    return lab.logs / "guest-console.log"


def _prints(lab: Lab, process: Process) -> bool:
    deadline = time.monotonic() + _KVM_SECONDS
    while time.monotonic() < deadline and process.alive():
        if b"Linux version" in _console(lab).read_bytes():
            return True
        time.sleep(0.2)
    return False


def _wait_for_ssh(lab: Lab, process: Process, port: int) -> None:
    deadline = time.monotonic() + _BOOT_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.settimeout(20)
            if s.recv(4) == b"SSH-":
                return
        if not process.alive() or time.monotonic() > deadline:
            process.end()
            raise LabError(f"the guest did not come up; its console: {_console(lab)}")
        time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _ssh_options(lab: Lab) -> dict[str, str]:
    return {"UserKnownHostsFile": str(folder(lab) / "known_hosts"), "HostKeyAlgorithms": "ssh-ed25519", "IdentitiesOnly": "yes"}


def _ssh_config(lab: Lab, port: int) -> str:
    key = " ".join((lab.ssh / "host_ed25519.pub").read_text().split()[:2])
    nodes.write_if_other(folder(lab) / "known_hosts", f"[127.0.0.1]:{port} {key}\n", 0o644)
    options = {"HostName": "127.0.0.1", "Port": str(port), "User": "root", "IdentityFile": str(lab.ssh / "id_ed25519"), **_ssh_options(lab)}
    return "Host guest\n" + "".join(f"  {k} {v}\n" for k, v in options.items())


def _inventory(lab: Lab, port: int) -> str:
    options = " ".join(f"-o {k}={v}" for k, v in _ssh_options(lab).items())
    lines = ["# Made by `lab/lab guest up`.", "all:", "  hosts:", "    guest:", "      ansible_host: 127.0.0.1", f"      ansible_port: {port}"]
    lines += ["      ansible_user: root", f"      ansible_ssh_private_key_file: {lab.ssh / 'id_ed25519'}"]
    lines += [f"      ansible_ssh_common_args: {options}", "      ansible_python_interpreter: /usr/bin/python3"]
    return "\n".join(lines) + "\n"
