# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tests of this folder need of the lab: its API, its machines, plays on them, and programs built from source."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LAB = ROOT / ".lab"
KUBECONFIG = LAB / "kubeconfig"
BUSYBOX = "docker.io/library/busybox:stable"  # on every node of the lab
sys.path.insert(0, str(ROOT / "lab"))


def kubectl(*words: str, text: str | None = None, check: bool = True) -> str:
    program = LAB / "bin" / "kubectl"
    done = subprocess.run(
        [str(program) if program.exists() else "kubectl", "--kubeconfig", str(KUBECONFIG), *words],
        input=text, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
    return done.stdout


def live(*words: str) -> dict[str, Any]:
    return dict(json.loads(kubectl("get", *words, "-o", "json")))


def ssh(host: str, command: str, stdin: bytes | None = None, check: bool = True) -> str:
    done = subprocess.run(
        ["ssh", "-F", str(LAB / "ssh" / "config"), host, command],
        input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"{host}: {command}: {done.stderr.decode()}")
    return done.stdout.decode()


@dataclass(frozen=True)
class Outcome:
    returncode: int
    output: str
    results: dict[str, Any]  # host -> the registered result, where the task came to its end

    @property
    def changed(self) -> bool:
        return any(result.get("changed") for result in self.results.values())


def play(folder: Path, hosts: str, role: str, variables: dict[str, Any], register: str, *options: str, entry: str = "main") -> Outcome:
    """One role on some of the lab's machines, as a user's playbook would run it."""
    process = started(folder, hosts, role, variables, register, *options, entry=entry)
    try:
        output, _none = process.communicate(timeout=900)
    except BaseException:
        process.kill()
        raise
    return Outcome(process.returncode, output, {path.name: json.loads(path.read_text()) for path in (folder / "results").iterdir()})


def started(folder: Path, hosts: str, role: str, variables: dict[str, Any], register: str, *options: str, entry: str = "main") -> subprocess.Popen[str]:
    """The same, not waited for, in a process group of its own."""
    keep = folder / "results"
    keep.mkdir(exist_ok=True)
    for old in keep.iterdir():
        old.unlink()
    tasks = [
        {"name": "The role", "ansible.builtin.include_role": {"name": f"slipway.mlops.{role}", "tasks_from": entry}},
        {
            "name": "Its result",
            "ansible.builtin.copy": {"content": f"{{{{ {register} | to_json }}}}", "dest": f"{keep}/{{{{ inventory_hostname }}}}", "mode": "0600"},
            "delegate_to": "localhost",
            "become": False,
            "check_mode": False,
            "diff": False,
        },
    ]
    head: dict[str, Any] = {"hosts": hosts, "gather_facts": False, "vars": variables, "tasks": tasks}
    head["module_defaults"] = {"group/slipway.mlops.k8s": {"kubeconfig": str(KUBECONFIG)}}
    (folder / "play.yml").write_text(yaml.safe_dump([head]))
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventories" / "lab"), str(folder / "play.yml"), *options],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip


def until(check: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, f"not within {seconds} seconds: {check}"
        time.sleep(0.5)


def finished(namespace: str, name: str, *phases: str, seconds: float = 90) -> dict[str, Any]:
    """The pod, once it is in one of these phases."""

    def look() -> dict[str, Any] | None:
        pod = live("pod", name, "-n", namespace)
        return pod if pod["status"].get("phase") in phases else None

    return dict(until(look, seconds))


def pod(name: str, node: str, command: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", command]}
    container["resources"] = spec.pop("resources", {})
    body = {"nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def built(folder: str, package: str, file: str, cgo: bool = False) -> Path:
    """A Go program of this folder, from the user's cache or made now."""
    from slipway_lab.cache import cached, digest

    source = HERE / folder

    def make(work: Path) -> None:
        environment = {**os.environ, "CGO_ENABLED": str(int(cgo)), "GOFLAGS": "", "GOWORK": "off"}
        go = ["nice", "go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w", "-o", str(work / file), package]
        subprocess.run(go, cwd=source, env=environment, check=True, capture_output=True, timeout=1500)

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slipway-lab" / "go"
    cache.mkdir(parents=True, exist_ok=True)
    return cached(cache / f"test-{folder.replace('/', '-')}-{file}", digest(source, package, str(cgo)), make) / file


def image(program: Path, name: str) -> bytes:
    """A container image of one static program, as `ctr images import` takes it (the layout of `docker save`)."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo(program.name)
        entry.size, entry.mode = program.stat().st_size, 0o755
        with program.open("rb") as file:
            tar.addfile(entry, file)
    import hashlib

    content = layer.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        parts = {"layer.tar": content, "config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
        for part, data in parts.items():
            entry = tarfile.TarInfo(part)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return whole.getvalue()


def put(host: str, path: str, content: bytes, mode: str = "0644") -> None:
    ssh(host, f"cat > {shlex.quote(path)}.new && chmod {mode} {shlex.quote(path)}.new && mv {shlex.quote(path)}.new {shlex.quote(path)}", content)
