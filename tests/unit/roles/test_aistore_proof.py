# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The proof of AIStore's data path, as the process that a pod runs, against a proxy of a few lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jinja2
import pytest
import yaml
from ansible.plugins.filter.core import FilterModule
from role_script import ROLES

SCRIPT = ROLES / "aistore" / "files" / "prove_objects.py"


class Proxy(ThreadingHTTPServer):
    """Buckets and their objects; redirects a PUT to itself once, as a proxy does to a target. `held`: an event that answers of objects wait for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.spoils = self.breaks = False
        self.asked, self.held = threading.Event(), threading.Event()
        self.held.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Proxy

    def log_message(self, *_words: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        bucket = self.path.split("?")[0].rpartition("/")[2]
        self.answer(409 if bucket in self.server.buckets else 200)
        self.server.buckets.setdefault(bucket, {})

    def do_DELETE(self) -> None:
        parts = self.path.split("?")[0].split("/")
        if self.server.breaks:
            self.answer(500, b"a target is away")
            return
        if parts[2] == "buckets":
            del self.server.buckets[parts[3]]
        else:
            del self.server.buckets[parts[3]][parts[4]]
        self.answer(200)

    def do_PUT(self) -> None:
        self.server.asked.set()
        self.server.held.wait(20)
        if "target" not in self.path:
            self.answer(307, Location=f"{self.server.url}{self.path}&target=1")
            return
        bucket, name = self.path.split("?")[0].split("/")[-2:]
        self.server.buckets[bucket][name] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200)

    def do_GET(self) -> None:
        bucket, name = self.path.split("?")[0].split("/")[-2:]
        data = self.server.buckets[bucket][name]
        if self.server.breaks:
            self.answer(200, data[:100], **{"Content-Length": str(len(data))})  # and the connection ends
            return
        self.answer(200, b"x" + data[1:] if self.server.spoils else data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = Proxy()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def start(proxy: Proxy) -> subprocess.Popen[str]:
    environment = {**os.environ, "PROXIES": json.dumps([proxy.url, proxy.url]), "S3_URL": f"{proxy.url}/s3", "BUCKET": "slipway-proof-1", "SIZE": "70000"}
    return subprocess.Popen([sys.executable, str(SCRIPT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_what_is_written_comes_back_and_nothing_stays(proxy: Proxy) -> None:
    process = start(proxy)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out)["bytes"] == 70000
    assert proxy.buckets == {}


def test_other_bytes_are_told_and_nothing_stays(proxy: Proxy) -> None:
    proxy.spoils = True
    process = start(proxy)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "read through another proxy" in err
    assert proxy.buckets == {}


def test_what_went_wrong_first_is_told_though_the_bucket_cannot_be_destroyed(proxy: Proxy) -> None:
    proxy.breaks = True
    process = start(proxy)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.strip().splitlines()[-1].startswith("GET ") and "IncompleteRead(100 bytes read" in err
    assert "Traceback" not in err


def test_the_bucket_of_a_proof_that_was_killed_stops_no_later_one(proxy: Proxy) -> None:
    proxy.buckets = {"slipway-proof-1": {"proof": b"of the one that was killed"}, "other": {}}
    process = start(proxy)
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert proxy.buckets == {"other": {}}


def test_a_proof_that_is_ended_takes_its_bucket_along(proxy: Proxy) -> None:
    proxy.held.clear()
    process = start(proxy)
    assert proxy.asked.wait(20)
    process.send_signal(signal.SIGTERM)
    _out, err = process.communicate(timeout=30)
    proxy.held.set()
    assert process.returncode == 1
    assert "ended before it was over" in err
    assert proxy.buckets == {}


def proof_of(**over: Any) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= FilterModule().filters()
    values = yaml.safe_load((ROLES / "aistore" / "defaults" / "main.yml").read_text(encoding="utf-8"))
    daemons = [{"role": "proxy", "pod": "ais-ais-proxy-w1-0"}]
    url = "http://ais-ais-proxy.ais.svc.cluster.local:51080"
    seen = {"uuid": "u", "smap_version": 10, "config_version": 3, "daemons": daemons, "url": url, "s3_url": f"{url}/s3", **over.pop("seen", {})}
    values |= {"__aistore_seen": seen, "aistore_namespace": "ais", "aistore_image_pull_secrets": [], "aistore_registry_auth_file": ""}
    values |= {"aistore_python_image": "python:3", "aistore_client_namespaces": [], "lookup": lambda *_name: "", **over}
    text = environment.from_string((ROLES / "aistore" / "templates" / "proof.yaml.j2").read_text(encoding="utf-8")).render(values)
    job = next(item for item in yaml.safe_load_all(text) if item and item["kind"] == "Job")
    return str(job["metadata"]["annotations"]["slipway.mlops/proof-of"])


@pytest.mark.parametrize(
    "over",
    [
        {"seen": {"smap_version": 11}},
        {"seen": {"config_version": 4}},
        {"aistore_access": "host_port"},
        {"aistore_client_cidrs": ["10.0.0.0/8"]},
        {"aistore_network_policy_is_enabled": False},
    ],
)
def test_another_cluster_map_configuration_or_access_is_proved_anew(over: dict[str, Any]) -> None:
    assert proof_of() == proof_of()
    assert proof_of(**over) != proof_of()
