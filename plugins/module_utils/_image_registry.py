# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the labels of an image in a registry (OCI distribution specification 1.1); reads, never writes."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.parse
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.urls import Request

MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
TIMEOUT_SECONDS = 30


class RegistryError(Exception):
    """The registry could not be asked; the message says why."""


@dataclass(frozen=True)
class ImageName:
    """`registry/repository:tag`, taken apart."""

    registry: str
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Names without a registry are refused: there is no default to push to."""
        match = re.fullmatch(r"([^/]+(?:\.[^/]+|:[0-9]+|localhost))/([a-z0-9._/-]+):([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})", text)
        if not match:
            raise ValueError(f"`{text}` is not registry/repository:tag, such as registry.example.org:5000/mlops/aim:3.29.1")
        return cls(*match.groups())

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"


def labels(image: ImageName, credentials: str | None, verify: bool) -> dict[str, str] | None:
    """The labels of the image's configuration, None where the registry has no such image. `credentials` is `user:password`."""
    session = _Session(image, credentials, verify)
    manifest = session.json(f"manifests/{image.tag}")
    if manifest and "manifests" in manifest:  # an index over platforms: they are built from the same content
        manifest = session.json(f"manifests/{manifest['manifests'][0]['digest']}")
    if not manifest or "config" not in manifest:
        return None
    config = session.json(f"blobs/{manifest['config']['digest']}") or {}
    return dict((config.get("config") or {}).get("Labels") or {})


def credentials_for(registry: str, auth: dict[str, Any]) -> str | None:
    """`user:password` from the `auths` of a docker or podman auth file, None where it has none for this registry."""
    for key, entry in (auth.get("auths") or {}).items():
        if key.split("://")[-1].rstrip("/").split("/")[0] == registry and isinstance(entry, dict):
            if entry.get("auth"):
                return base64.b64decode(entry["auth"]).decode()
            if entry.get("username"):
                return f"{entry['username']}:{entry.get('password', '')}"
    return None


class _Session:
    def __init__(self, image: ImageName, credentials: str | None, verify: bool) -> None:
        self._image = image
        self._basic = "Basic " + base64.b64encode(credentials.encode()).decode() if credentials else ""
        self._header = self._basic
        # Without verification a registry may speak plain HTTP, as a lab's does.
        self._schemes = ("https",) if verify else ("https", "http")
        # A blob may be redirected to another host, as to a bucket: the credentials do not go there.
        self._http = Request(validate_certs=verify, timeout=TIMEOUT_SECONDS, unredirected_headers=["Authorization"])

    def json(self, path: str) -> dict[str, Any] | None:
        last: Exception | None = None
        for scheme in self._schemes:
            url = f"{scheme}://{self._image.registry}/v2/{self._image.repository}/{path}"
            try:
                return self._get(url)
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                raise RegistryError(f"registry {self._image.registry} answered {error.code} {error.reason} for {self._image}") from error
            except (OSError, ValueError) as error:
                last = error
        raise RegistryError(f"registry {self._image.registry} could not be asked for {self._image}: {last}") from last

    def _get(self, url: str) -> dict[str, Any]:
        try:
            return self._once(url)
        except urllib.error.HTTPError as error:
            challenge = error.headers.get("WWW-Authenticate", "") if error.code == 401 else ""
            if not challenge.lower().startswith("bearer "):
                raise
            self._header = "Bearer " + self._token(dict(re.findall(r'(\w+)="([^"]*)"', challenge)))
            return self._once(url)

    def _token(self, challenge: dict[str, str]) -> str:
        query = urllib.parse.urlencode({key: challenge[key] for key in ("service", "scope") if key in challenge})
        self._header = self._basic
        answer = self._once(f"{challenge['realm']}?{query}")
        return str(answer.get("token") or answer.get("access_token"))

    def _once(self, url: str) -> dict[str, Any]:
        headers = {"Accept": MANIFESTS}
        if self._header:
            headers["Authorization"] = self._header
        with self._http.get(url, headers=headers) as answer:
            return dict(json.loads(answer.read()))
