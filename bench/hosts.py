# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The four host roles on ssh hosts, against the same settings by ansible.posix and community.general tasks: the first run, and runs with nothing to change.

`lab/lab hosts N` makes the hosts, anew for the first run of each side, so nobody else may use them meanwhile. Each has disks as XFS, mounted by UUID, their
queues set, twelve kernel settings, and the MTU of one link: with the two disks of a lab host, and with ten, as the reference machine of AIStore's guide has
(the further ones are loop devices that this makes in the hosts). An unchanged run in which anything changes is an error. Peers are written as their users
write them: loops over modules, facts off, the same pipelining, forks and ansible-core. Unchanged runs alternate, so that a busy machine is busy for both.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import contenders
import yaml
from results import Bench

ROOT = Path(__file__).resolve().parent.parent
INVENTORY = ROOT / ".lab" / "hosts.yml"
OURS, PEERS = Path(sys.executable).parent / "ansible-playbook", ROOT / "bench" / ".venv" / "bin" / "ansible-playbook"
CASES = "1x2,10x2,10x10,30x2"

LAB_DISKS = 2
# Runs on a host, one host at a time: the kernel's loop devices are shared by all.
MAKE_DISK = """import fcntl, os, subprocess, sys
link, image = sys.argv[1:]
if not os.path.exists(link):
    control = os.open("/dev/loop-control", os.O_RDWR)
    for _attempt in range(50):
        number = fcntl.ioctl(control, 0x4C82)  # LOOP_CTL_GET_FREE
        node = f"/dev/loop{number}"
        if not os.path.exists(node):
            os.mknod(node, 0o60660, os.makedev(7, number))
        with open(image, "ab") as file:
            file.truncate(320 << 20)
        if subprocess.run(["losetup", node, image]).returncode == 0:
            break
    if os.path.islink(link):
        os.unlink(link)
    os.symlink(node, link)
"""
OPTIONS = "noatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail"
QUEUE = {"scheduler": "mq-deadline", "read_ahead_kb": 1024, "nr_requests": 256, "rq_affinity": 2}
SYSCTL = {
    "net.core.somaxconn": "100000",
    "net.ipv4.tcp_max_syn_backlog": "100000",
    "net.ipv4.ip_local_port_range": "2048 65535",
    "net.ipv4.tcp_tw_reuse": "1",
    "net.ipv4.tcp_max_tw_buckets": "1440000",
    "net.ipv4.tcp_rmem": "4096 262144 134217728",
    "net.ipv4.tcp_wmem": "4096 16384 134217728",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.tcp_mtu_probing": "2",
    "net.ipv4.tcp_rfc1337": "1",
    "net.ipv4.ip_forward": "1",
    "net.ipv4.tcp_fin_timeout": "30",
}
VARIABLES = {
    "ais_datafs_options": OPTIONS.split(","),
    "host_io_scheduler_rotational": QUEUE,
    "host_io_scheduler_ssd": QUEUE,
    "host_sysctl_values": [{"name": name, "value": value} for name, value in SYSCTL.items()],
    "host_sysctl_open_files": 0,
    "host_mtu_links": [{"name": "eth0", "mtu": 1500}],
    "host_mtu_is_persistent": False,
}
ROLES = ("ais_datafs", "host_io_scheduler", "host_sysctl", "host_mtu")
NOTES = [
    f"Module runs per host: ours {len(ROLES)}, whatever the disks; peers {len(SYSCTL) + 2} and 5 for each disk. First runs are one of each, on new hosts.",
    "The hosts are containers on the controller's own cores, and an unchanged run is CPU alone. Of the 0.25 s that one of our module runs takes on a host, "
    "0.19 s are what Ansible takes for `ping`, too; so the number of module runs decides.",
]
RULE = 'KERNEL=="loop*", ATTR{loop/backing_file}=="*disk*", ATTR{queue/%s}="%s"'
LIVE = "cd /sys/block/$(basename $(readlink -f {{ item.device }}))/queue\n" + "".join(
    f"[ \"$(sed 's/.*\\[\\(.*\\)\\].*/\\1/' {name})\" = {value} ] || {{ echo {value} > {name}; echo changed; }}\n" for name, value in QUEUE.items()
)


def disks(count: int) -> list[dict[str, str]]:
    names = [f"slipway-lab-{{{{ inventory_hostname }}}}-disk{number}" for number in range(min(count, LAB_DISKS))]
    names += [f"slipway-bench-disk{number}" for number in range(LAB_DISKS, count)]
    return [{"device": f"/dev/disk/by-id/{name}", "path": f"/ais/disk{number}"} for number, name in enumerate(names)]


def further_disks(count: int) -> list[dict[str, Any]]:
    """A play that makes the disks that a lab host lacks."""
    task = {
        "ansible.builtin.command": {"argv": ["python3", "-c", MAKE_DISK, "{{ item.device }}", "/var{{ item.path }}.img"]},
        "loop": disks(count)[LAB_DISKS:],
        "throttle": 1,
    }
    return [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.file": {"path": "/var/ais", "state": "directory"}}, task]}]


def no_further_disks() -> list[dict[str, Any]]:
    """A play that takes them away again, so that the kernel's loop devices are free. Nothing to undo is no error."""
    undo = (
        "for link in /dev/disk/by-id/slipway-bench-disk*; do [ -e $link ] || continue; device=$(readlink -f $link); umount $device; losetup -d $device; "
        "rm -f $link; done; rm -rf /var/ais"
    )
    return [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.shell": undo}]}]


def ours(count: int) -> list[dict[str, Any]]:
    variables = {**VARIABLES, "ais_datafs_disks": disks(count)}
    return [{"hosts": "all", "gather_facts": False, "vars": variables, "roles": [f"slipway.mlops.{role}" for role in ROLES]}]


def peers(count: int, fstab_options: str = OPTIONS) -> list[dict[str, Any]]:
    mount = {"path": "{{ item.item.path }}", "src": "UUID={{ item.stdout }}", "fstype": "xfs", "opts": "{{ fstab_options }}", "state": "mounted"}
    rules = {"content": "".join(RULE % setting + "\n" for setting in QUEUE.items()), "dest": "/etc/udev/rules.d/60-peer.rules", "mode": "0644"}
    kernel = {"name": "{{ item.key }}", "value": "{{ item.value }}", "sysctl_set": True, "sysctl_file": "/etc/sysctl.d/90-peer.conf", "reload": False}
    mtu = 'test "$(cat /sys/class/net/eth0/mtu)" = 1500 || { ip link set eth0 mtu 1500; echo changed; }'
    each = disks(count)
    tasks = [
        {"name": "XFS", "community.general.filesystem": {"dev": "{{ item.device }}", "fstype": "xfs"}, "loop": each},
        {"name": "UUIDs", "ansible.builtin.command": "blkid -s UUID -o value {{ item.device }}", "loop": each, "register": "uuids", "changed_when": False},
        {"name": "Mounts", "ansible.posix.mount": mount, "loop": "{{ uuids.results }}"},
        {"name": "Folders", "ansible.builtin.file": {"path": "{{ item.path }}", "state": "directory", "owner": "root"}, "loop": each},
        {"name": "Rules", "ansible.builtin.copy": rules},
        {"name": "Queues", "ansible.builtin.shell": LIVE, "loop": each, "register": "queues", "changed_when": "'changed' in queues.stdout"},
        {"name": "Kernel", "ansible.posix.sysctl": kernel, "loop": "{{ settings | dict2items }}"},
        {"name": "MTU", "ansible.builtin.shell": mtu, "register": "mtu", "changed_when": "'changed' in mtu.stdout"},
    ]
    return [{"hosts": "all", "gather_facts": False, "vars": {"settings": SYSCTL, "fstab_options": fstab_options}, "tasks": tasks}]


def options_in_fstab() -> str:
    """The options as our role wrote them on a host, so that both sides want the same line."""
    shown = ad_hoc('awk \'$2 == "/ais/disk0" {print "options=" $4}\' /etc/fstab')
    found = re.search(r"options=(\S+)", shown)
    if not found:
        raise SystemExit("no line for /ais/disk0 in the fstab of the first host:\n" + shown)
    return found.group(1)


def ad_hoc(command: str) -> str:
    argv = [str(OURS.parent / "ansible"), "-i", str(INVENTORY), hosts(1)[0], "-m", "ansible.builtin.shell", "-a", command]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def anew(count: int) -> None:
    """Hosts as `lab/lab hosts` makes them: blank disks, default queues and kernel settings."""
    for number in (0, count):
        subprocess.run([str(ROOT / "lab" / "lab"), "hosts", str(number)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def hosts(count: int) -> list[str]:
    """The last `count` ssh hosts of the lab."""
    if not INVENTORY.exists():
        raise SystemExit("the lab has no ssh hosts; `lab/lab hosts 30` makes them")
    return list(yaml.safe_load(INVENTORY.read_text())["all"]["hosts"])[-count:]


def run(program: Path, book: Path, names: list[str], must_be_unchanged: bool) -> tuple[float, float]:
    """Wall and controller CPU seconds of one whole ansible-playbook run."""
    argv = [str(program), "-i", str(INVENTORY), "--limit", ",".join(names), str(book)]
    before, began = children(), time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, capture_output=True, text=True, check=False)
    wall, spent = time.monotonic() - began, children() - before
    changed = set(re.findall(r"^(\S+) +: ok=\d+ +changed=[1-9]", done.stdout, re.MULTILINE))
    if done.returncode or (must_be_unchanged and changed):
        raise SystemExit(f"{book.name}: rc {done.returncode}, changed on {sorted(changed)}\n{done.stdout[-4000:]}{done.stderr[-1000:]}")
    return wall, spent


def children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=CASES, help="HOSTSxDISKS, comma separated")
    parser.add_argument("--runs", type=int, default=5, help="unchanged runs of each side per case")
    options = parser.parse_args()
    for case in options.cases.split(","):
        count, width = map(int, case.split("x"))
        named = f"{count} host{'s' if count > 1 else ''}, {width} disks each"
        bench = Bench(f"hosts-{case}", f"Four host roles, {named}", f"python bench/hosts.py --cases {case} --runs {options.runs}")
        bench.notes += NOTES
        try:
            measure(bench, named, count, width, options.runs)
        except (SystemExit, subprocess.SubprocessError) as error:  # the other cases still count
            print(f"{named}: failed, nothing is written: {error}", file=sys.stderr)
        else:
            bench.write()


def measure(bench: Bench, case: str, count: int, width: int, runs: int) -> None:
    sides = {"slipway.mlops": (OURS, ours), "ansible.posix, community.general": (PEERS, peers)}
    first: dict[str, float] = {}
    samples: dict[str, list[tuple[float, float]]] = {title: [] for title in sides}
    with tempfile.TemporaryDirectory() as folder:

        def book(name: str, plays: list[dict[str, Any]]) -> Path:
            path = Path(folder, name)
            path.write_text(json.dumps(plays))
            return path

        try:
            books: dict[str, Path] = {}
            # Peers first: the hosts that stay are those where our options can be read back from fstab.
            for title, (program, plays) in reversed(sides.items()):
                anew(count)
                if width > LAB_DISKS:
                    run(OURS, book("disks.yml", further_disks(width)), hosts(count), must_be_unchanged=False)
                books[title] = book("peers.yml" if program == PEERS else "ours.yml", plays(width))
                first[title], _cpu = run(program, books[title], hosts(count), must_be_unchanged=False)
                if width > LAB_DISKS and program == PEERS:
                    run(OURS, book("clean.yml", no_further_disks()), hosts(count), must_be_unchanged=False)
            # The other side's settings are there already; what differs in spelling, such as a line of fstab, is settled here.
            peers_title = list(sides)[1]
            books[peers_title] = book("peers.yml", peers(width, options_in_fstab()))
            run(PEERS, books[peers_title], hosts(count), must_be_unchanged=False)
            for number in range(runs):
                for title in contenders.in_turns(list(sides), number):
                    samples[title].append(run(sides[title][0], books[title], hosts(count), must_be_unchanged=True))
        finally:
            if width > LAB_DISKS:
                run(OURS, book("clean.yml", no_further_disks()), hosts(count), must_be_unchanged=False)
    report(bench, case, count, first, samples)


def report(bench: Bench, case: str, count: int, first: dict[str, float], samples: dict[str, list[tuple[float, float]]]) -> None:
    ours_title, peers_title = samples
    rows = {}
    for title in samples:
        bench.add(f"{case}, first run", title, [first[title]])
    for title, found in samples.items():
        per_host = statistics.median(wall for wall, _cpu in found) / count
        rows[title] = bench.add(f"{case}, nothing to change", title, [wall for wall, _cpu in found], note=f"{per_host:.2f} s per host")
    for title, found in samples.items():
        bench.add(f"{case}, nothing to change", title + ", controller CPU", [cpu for _wall, cpu in found])
    bench.ratio(f"first run, {case}", first[ours_title], first[peers_title])
    ratio = bench.ratio(f"nothing to change, {case}", rows[ours_title].median, rows[peers_title].median)
    print(f"{case}: ours {rows[ours_title].median:.1f} s, peers {rows[peers_title].median:.1f} s, {ratio.measured:.1f} times", flush=True)


if __name__ == "__main__":
    main()
