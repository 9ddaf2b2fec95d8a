# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""lab/lab: the command line."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from slipway_lab import fleet, guest, hosts, requirements, up
from slipway_lab.errors import LabError
from slipway_lab.layout import Lab, from_environment
from slipway_lab.progress import say

CLONE = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab/lab", description="A real Kubernetes on this machine, from package registries alone.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="bring the lab up, from whatever state it is in")
    commands.add_parser("status", help="what runs; exit status 1 when something is missing")
    commands.add_parser("down", help="end the lab and leave nothing behind")
    commands.add_parser("reset", help="down, then up")
    ssh = commands.add_parser("ssh", help="a shell, or one command, on a machine of the lab")
    ssh.add_argument("machine")
    ssh.add_argument("words", nargs=argparse.REMAINDER)
    for name, most, text in (
        ("hosts", hosts.MAX_HOSTS, "exactly N plain ssh hosts h1..hN, without Kubernetes; 0 removes them"),
        ("fleet", fleet.MAX_FLEET, "exactly N nodes that exist in the API alone, kept Ready by kwok; 0 removes them"),
    ):
        commands.add_parser(name, help=text).add_argument("count", type=_count(most), metavar="N")
    virtual = commands.add_parser("guest", help="a virtual machine with its own kernel: up, down, or ssh [COMMAND]")
    virtual.add_argument("action", choices=("up", "down", "ssh"))
    virtual.add_argument("words", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    try:
        lab = from_environment(CLONE)
    except LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        return 2
    try:
        return _run(args, lab)
    except LabError as e:
        print(f"lab: {e}{requirements.space_hint(lab)}", file=sys.stderr)
        return 1
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"lab: no space left on the disk of {e.filename or CLONE}: free some and run the same command again", file=sys.stderr)
            return 1
        raise
    except KeyboardInterrupt:
        print("lab: interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _count(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdigit() or int(text) > most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {most}")
        return int(text)

    return parse


def _run(args: argparse.Namespace, lab: Lab) -> int:
    if os.geteuid() != 0 and args.command != "up":  # which names all that is missing, this too
        raise LabError("containers, keys and records of the lab belong to root: run it as root")
    if args.command == "up":
        up.up(lab)
        say("ok", f"KUBECONFIG={lab.kubeconfig}")
    elif args.command == "down":
        up.down(lab)
    elif args.command == "reset":
        up.down(lab)
        up.up(lab)
    elif args.command == "status":
        return 0 if up.status(lab) else 1
    elif args.command == "hosts":
        up.resize_hosts(lab, args.count)
    elif args.command == "fleet":
        up.resize_fleet(lab, args.count)
    elif args.command == "guest" and args.action == "ssh":
        return _ssh(guest.folder(lab) / "ssh_config", "guest", args.words)
    elif args.command == "guest":
        up.guest_up(lab) if args.action == "up" else up.guest_down(lab)
    elif args.command == "ssh":
        return _ssh(lab.ssh / "config", args.machine, args.words)
    return 0


def _ssh(config: Path, machine: str, words: list[str]) -> int:
    if not config.exists():
        raise LabError(f"{config} is not there: bring the lab (or the guest) up first")
    return subprocess.run(["ssh", "-F", str(config), machine, *words], check=False).returncode
