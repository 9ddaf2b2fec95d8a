# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image registry: Debian's docker-registry on the bridge's address, open only to those who have the password."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import secrets
import shutil
import time
from pathlib import Path

from slipway_lab.errors import LabError
from slipway_lab.layout import REGISTRY_NAME, Lab
from slipway_lab.nodes import write_if_other
from slipway_lab.processes import Process
from slipway_lab.shell import output

USER = "slipway"
AUTH_FILE = "registry-auth.json"


def ensure(lab: Lab) -> bool:
    """Makes the registry answer; True when it had to be started."""
    process = Process(lab, "registry")
    if process.alive() and answers(lab):
        return False
    process.end()
    _write_config(lab)
    log = lab.logs / "registry.log"
    with log.open("ab") as out:
        process.start(["docker-registry", "serve", lab.state / "registry" / "config.yml"], out)
    deadline = time.monotonic() + 20
    while not answers(lab):
        if not process.alive() or time.monotonic() > deadline:
            raise LabError(f"the registry does not answer at {lab.registry}; its log: {log}")
        time.sleep(0.1)
    return True


def _write_config(lab: Lab) -> None:
    folder = lab.state / "registry"
    (folder / "storage").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    auth = lab.state / AUTH_FILE
    if not auth.exists() or not (folder / "htpasswd").exists():
        password = secrets.token_urlsafe(18)
        # The password goes by stdin: an argument list can be read by every user of the machine.
        hashed = output(["htpasswd", "-niBC", "5", USER], stdin=password, quiet=True)
        write_if_other(folder / "htpasswd", hashed + "\n", 0o600)
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        entry = {"username": USER, "password": password, "auth": token}
        write_if_other(auth, json.dumps({"auths": {REGISTRY_NAME: entry, lab.registry: entry}}, indent=2) + "\n", 0o600)
    config = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}, "level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}},
        "http": {"addr": lab.registry, "secret": secrets.token_hex(16)},
        "auth": {"htpasswd": {"realm": lab.name, "path": str(folder / "htpasswd")}},
    }
    write_if_other(folder / "config.yml", json.dumps(config, indent=2) + "\n", 0o600)  # JSON is YAML


def answers(lab: Lab) -> bool:
    """401 is the answer of a registry that guards its images. Asked directly: a proxy of this machine does not know the lab."""
    try:
        with contextlib.closing(http.client.HTTPConnection(lab.registry, timeout=3)) as server:
            server.request("GET", "/v2/")
            return server.getresponse().status == 401
    except (OSError, http.client.HTTPException):
        return False


def publish(lab: Lab, seed: Path) -> bool:
    """Adds the images of a finished registry storage to the running one; blobs are hard links, since they never change."""
    changed = False
    target = lab.state / "registry" / "storage"
    for source in sorted(seed.rglob("*"), key=lambda p: "_manifests" in p.parts):  # tags last, when what they name is there
        if not source.is_file():
            continue
        file = target / source.relative_to(seed)
        if file.exists() and (source.name == "data" or file.read_bytes() == source.read_bytes()):
            continue
        changed = True
        file.parent.mkdir(parents=True, exist_ok=True)
        if source.name == "data":
            with contextlib.suppress(OSError):
                os.link(source, file)
                continue
        new = file.with_name(f".{file.name}.new")
        shutil.copyfile(source, new)
        new.replace(file)
    return changed


def published(lab: Lab) -> list[str]:
    """<name>:<tag> of every image in the registry."""
    root = lab.state / "registry" / "storage" / "docker" / "registry" / "v2" / "repositories"
    return sorted(f"{p.parts[-4]}:{p.name}" for p in root.glob("*/_manifests/tags/*"))


def hosts_toml(lab: Lab) -> str:
    return f'server = "http://{lab.registry}"\n\n[host."http://{lab.registry}"]\n  capabilities = ["pull", "resolve"]\n'
