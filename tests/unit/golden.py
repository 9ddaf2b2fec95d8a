# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The golden files of the container engines: folders with what a host has and what it shall have."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.slipway.mlops.plugins.module_utils._containerd_plan import DROP_IN, Containerd, Handler

GOLDEN = Path(__file__).resolve().parent / "module_utils" / "golden"
CONFIG, DROP_INS = "/etc/containerd/config.toml", "/etc/containerd/conf.d"
OURS = f"{DROP_INS}/{DROP_IN}"


def containerd_cases() -> list[str]:
    return sorted(path.name for path in (GOLDEN / "containerd").iterdir())


def content_of(path: Path) -> bytes:
    """A golden file. Those of `...-carriage-returns` lie here with plain line ends, as everything in the repository, and have the others on a host."""
    content = path.read_bytes()
    return content.replace(b"\n", b"\r\n") if path.parent.name.endswith("-carriage-returns") else content


def containerd_case(name: str) -> tuple[Containerd, Handler]:
    """What the host has, and what is wanted of it."""
    folder = GOLDEN / "containerd" / name
    facts = dict(line.split(" ", 1) for line in (folder / "case.txt").read_text().splitlines())
    config = folder / "config.toml"
    files: dict[str, bytes | None] = {CONFIG: content_of(config) if config.exists() else None}
    for path in folder.glob("before_*"):
        files["/etc/containerd/" + path.name[len("before_") :].replace("_", "/", 1)] = content_of(path)
    cdi = {"unchanged": None, "enabled": True, "disabled": False}[facts["cdi"]]
    return Containerd(facts["version"], CONFIG, DROP_INS, files), Handler("nvidia", "/usr/bin/nvidia-container-runtime", facts["default"] == "true", cdi)
