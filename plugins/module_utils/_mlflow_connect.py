# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options by which a module finds an MLflow server and logs in, and the connection made of them."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from ._mlflow_api import Credentials, Mlflow, by_service, by_url
from ._model import Cluster, Ref, Refused
from ._module import Call

# `username` and `password` are the Kubernetes connection's; MLflow's are named as its own variables MLFLOW_TRACKING_*.
ARGUMENTS: dict[str, Any] = {
    "tracking_uri": {"type": "str"},
    "tracking_username": {"type": "str"},
    "tracking_password": {"type": "str", "no_log": True},
    "tracking_token": {"type": "str", "no_log": True},
    "tracking_ca_cert": {"type": "path"},
    "namespace": {"type": "str"},
    "service": {"type": "str", "default": "mlflow"},
    "static_prefix": {"type": "str", "default": ""},
    "credentials_secret": {
        "type": "dict",
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "username": {"type": "str"},
            "username_key": {"type": "str", "default": "username", "no_log": False},
            "password_key": {"type": "str", "default": "password", "no_log": False},
        },
    },
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [
        ("tracking_uri", "namespace"),
        ("tracking_token", "tracking_username"),
        ("tracking_token", "credentials_secret"),
        ("tracking_username", "credentials_secret"),
    ],
    "required_one_of": [("tracking_uri", "namespace")],
    "required_together": [("tracking_username", "tracking_password")],
}


def connect(call: Call) -> Mlflow:
    """The server that the options name. Kubernetes is asked for a Service and for a Secret only."""
    params = call.params
    credentials = _credentials(call)
    call.secrets |= {secret for secret in (credentials.password, credentials.token) if secret}
    if params.get("tracking_uri"):
        return by_url(params["tracking_uri"], credentials, params.get("tracking_ca_cert") or "")
    return by_service(call.cluster, params["namespace"], params["service"], credentials, params.get("static_prefix") or "")


def read_secret(cluster: Cluster, namespace: str, name: str, key: str) -> str | None:
    """The text under one key of a Secret, None where there is no such Secret or key."""
    secret = cluster.get(Ref("v1", "Secret", namespace, name))
    encoded = ((secret or {}).get("data") or {}).get(key)
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Refused([f"Secret {namespace}/{name}: the value under '{key}' is no text."]) from error


def _credentials(call: Call) -> Credentials:
    params, source = call.params, call.params.get("credentials_secret")
    if not source:
        return Credentials(params.get("tracking_username") or "", params.get("tracking_password") or "", params.get("tracking_token") or "")
    namespace = params.get("namespace")
    if not namespace:
        raise Refused(["credentials_secret is read from `namespace`; with tracking_uri give tracking_username and tracking_password, or tracking_token."])
    username = source.get("username") or read_secret(call.cluster, namespace, source["name"], source["username_key"]) or ""
    password = read_secret(call.cluster, namespace, source["name"], source["password_key"]) or ""
    missing = [what for what, value in (("user", username), ("password", password)) if not value]
    if missing:
        raise Refused([f"Secret {namespace}/{source['name']} gives no {' and no '.join(missing)}; see credentials_secret."])
    return Credentials(username, password)
