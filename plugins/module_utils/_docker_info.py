# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks dockerd over its socket what it runs with."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

_SOCKET = "/run/docker.sock"


class NoAnswer(Exception):
    """Nobody speaks Docker's API at its socket."""


def info() -> dict[str, Any]:
    """GET /info of the Docker engine."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(10)
    try:
        connection.sock.connect(_SOCKET)
        connection.request("GET", "/info")
        return dict(json.loads(connection.getresponse().read()))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(f"{_SOCKET}: {error}") from None
    finally:
        connection.close()
