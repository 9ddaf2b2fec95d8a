# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab is reached directly on a machine that reaches the registries by a proxy."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from slipway_lab import layout, nodes, registry
from slipway_lab.layout import Lab, from_environment


class Guarded(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with http.server.HTTPServer(("127.0.0.1", 0), Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(Lab, "gateway", "127.0.0.1")
        monkeypatch.setattr(layout, "REGISTRY_PORT", server.server_port)
        yield from_environment(tmp_path, {})
        server.shutdown()


def test_the_registry_is_asked_without_the_proxy(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert registry.answers(lab)


def test_nodes_know_of_no_proxy(lab: Lab) -> None:
    assert "--http-proxy=false" in nodes._options(lab, lab.control_plane, "image")
