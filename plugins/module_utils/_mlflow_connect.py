# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options by which a module finds an MLflow server and logs in, and the connection made of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from ._mlflow_api import Credentials, Mlflow, by_service, by_url
from ._model import Cluster, Ref, Refused

ARGUMENTS: dict[str, Any] = {
    "tracking_uri": {"type": "str"},
    "namespace": {"type": "str"},
    "service": {"type": "str", "default": "mlflow"},
    "static_prefix": {"type": "str", "default": ""},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "token": {"type": "str", "no_log": True},
    "credentials_secret": {
        "type": "dict",
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "username": {"type": "str"},
            "username_key": {"type": "str", "no_log": False},
            "password_key": {"type": "str", "no_log": False, "default": "password"},
        },
    },
}
RULES: dict[str, Any] = {
    "mutually_exclusive": [("tracking_uri", "namespace"), ("token", "username"), ("token", "credentials_secret"), ("password", "credentials_secret")],
    "required_one_of": [("tracking_uri", "namespace")],
    "required_by": {"password": "username"},
}


def connect(params: Mapping[str, Any], cluster: Cluster) -> Mlflow:
    """The server that the options name. `cluster` is used for a Service and for a Secret only."""
    credentials = _credentials(params, cluster)
    if params.get("tracking_uri"):
        return by_url(params["tracking_uri"], credentials)
    return by_service(cluster, params["namespace"], params["service"], credentials, params.get("static_prefix") or "")


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


def _credentials(params: Mapping[str, Any], cluster: Cluster) -> Credentials:
    source = params.get("credentials_secret")
    if not source:
        return Credentials(params.get("username") or "", params.get("password") or "", params.get("token") or "")
    namespace = params.get("namespace")
    if not namespace:
        raise Refused(["credentials_secret is read from `namespace`, which is not set; with tracking_uri give username and password, or token."])
    username = source.get("username") or ""
    if source.get("username_key"):
        username = read_secret(cluster, namespace, source["name"], source["username_key"]) or ""
    password = read_secret(cluster, namespace, source["name"], source["password_key"])
    missing = [what for what, value in (("user", username), ("password", password)) if not value]
    if missing:
        raise Refused(["Secret {}/{} gives no {}; see credentials_secret.".format(namespace, source["name"], " and no ".join(missing))])
    return Credentials(username, password or "")
