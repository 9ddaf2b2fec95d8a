# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options, environment and kubeconfig -> the Endpoint to speak to. Sends nothing; asks again whenever credentials must be renewed.

Formats: the Config of client-go (clientcmd/api/v1) and ExecCredential (client.authentication.k8s.io/v1).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from . import _kubeconfig
from ._model import Refused
from ._syntax import path_shown

IN_CLUSTER = "/var/run/secrets/kubernetes.io/serviceaccount"
EXEC_TIMEOUT = 60  # seconds for a credential program; a browser log-in cannot be done inside a task anyway

# option -> variables that stand in for it, as users know them from kubernetes.core
ENVIRONMENT = {
    "kubeconfig": ("K8S_AUTH_KUBECONFIG",),
    "context": ("K8S_AUTH_CONTEXT",),
    "host": ("K8S_AUTH_HOST",),
    "api_key": ("K8S_AUTH_API_KEY",),
    "username": ("K8S_AUTH_USERNAME",),
    "password": ("K8S_AUTH_PASSWORD",),
    "ca_cert": ("K8S_AUTH_SSL_CA_CERT",),
    "client_cert": ("K8S_AUTH_CERT_FILE",),
    "client_key": ("K8S_AUTH_KEY_FILE",),
    "validate_certs": ("K8S_AUTH_VERIFY_SSL",),
    "proxy": ("K8S_AUTH_PROXY",),
    "no_proxy": ("K8S_AUTH_NO_PROXY", "NO_PROXY", "no_proxy"),
    "impersonate_user": ("K8S_AUTH_IMPERSONATE_USER",),
    "impersonate_groups": ("K8S_AUTH_IMPERSONATE_GROUPS",),
    "allow_exec": ("K8S_AUTH_ALLOW_EXEC",),
}


@dataclass(frozen=True)
class Endpoint:
    """Where the API server is and how to be known there. Certificates and keys are PEM bytes, held in memory alone."""

    server: str
    context: str = ""
    explicit: bool = False  # named by option or K8S_AUTH_ variable; false for ~/.kube/config, KUBECONFIG or a pod's own account
    verify: bool = True
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)
    tls_server_name: str = ""
    proxy: str = ""
    no_proxy: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    groups: tuple[str, ...] = ()


def endpoint(options: Mapping[str, Any], environ: Mapping[str, str], load_yaml: Callable[[str], Any]) -> Endpoint:
    """The Endpoint that options (then variables, then kubeconfig, then the pod's account) describe; Refused if there is none."""
    chosen = {name: _option(name, options, environ) for name in ENVIRONMENT}
    entry = _Entry({}, {}, "")
    implicit = False
    if not (chosen["host"] and not chosen["kubeconfig"] and not chosen["context"]):
        entry, implicit = _chosen_context(chosen, environ, load_yaml)
    server = str(chosen["host"] or entry.cluster.get("server") or "")
    if not server:
        raise Refused(["No API server is given: set `kubeconfig`, or `host` with `api_key`, or K8S_AUTH_KUBECONFIG."])
    if not server.startswith(("https://", "http://")):
        server = "https://" + server
    proxy = str(chosen["proxy"] or entry.cluster.get("proxy-url") or environ.get("HTTPS_PROXY") or environ.get("https_proxy") or "")
    if not _is_url(server):
        raise Refused(["The address of the API server (`host`, or `server` of the kubeconfig) is not a URL such as https://10.0.0.10:6443."])
    if "@" in urlsplit(server).netloc:
        raise Refused(["The address of the API server has a user in it, and addresses are shown; give `username` and `password` instead."])
    server = server.rstrip("/")
    if proxy and not _is_url(proxy if "//" in proxy else "http://" + proxy):
        raise Refused(["The proxy (`proxy`, or `proxy-url` of the kubeconfig) is not a URL such as http://10.0.0.1:3128."])
    name = str(entry.cluster.get("tls-server-name") or "")
    if name and not _is_url("https://" + name):
        raise Refused([f"kubeconfig {entry.path}: tls-server-name is not the name of a host."])
    headers, certificate, key = _credentials(chosen, entry, environ)
    if chosen["impersonate_user"] or entry.user.get("as"):
        headers["Impersonate-User"] = str(chosen["impersonate_user"] or entry.user["as"])
    groups = tuple(_groups(chosen["impersonate_groups"]) or entry.user.get("as-groups") or ())
    if not all(re.fullmatch(r"[\x20-\x7e]+", name) for name in [headers.get("Impersonate-User", "-"), *groups]):
        raise Refused(["Who is impersonated is named in printable ASCII characters."])
    verify = chosen["validate_certs"]
    return Endpoint(
        server=server,
        context=entry.context,
        explicit=not implicit,
        verify=_boolean(verify) if verify is not None else not entry.cluster.get("insecure-skip-tls-verify", False),
        ca=_file(chosen["ca_cert"], "ca_cert") or entry.pem(entry.cluster, "certificate-authority"),
        certificate=certificate,
        key=key,
        tls_server_name=name,
        proxy=proxy,
        no_proxy=str(chosen["no_proxy"] or ""),
        headers=headers,
        groups=groups,
    )


class _Entry:
    """The cluster and user that a context of a kubeconfig joins; paths in it are absolute."""

    def __init__(self, cluster: Mapping[str, Any], user: Mapping[str, Any], context: str, path: str = "") -> None:
        self.cluster, self.user, self.context, self.path = cluster, user, context, path

    def pem(self, part: Mapping[str, Any], name: str) -> bytes:
        """`<name>-data` (base64) or the content of the file `<name>`."""
        if part.get(name + "-data"):
            try:
                return base64.b64decode(part[name + "-data"], validate=True)
            except (binascii.Error, ValueError, TypeError):
                raise Refused([f"kubeconfig {self.path}: {name}-data is not base64."]) from None
        return _file(part.get(name), name)


def _option(name: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    value = options.get(name)
    if value is not None and value != "":
        return value
    return next((environ[variable] for variable in ENVIRONMENT[name] if environ.get(variable)), None)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
        return bool(host.encode("idna")) and parts.path.isascii() and text.isprintable() and " " not in text
    except ValueError:  # a port that is none, a bracket that is not closed, a label that is empty or too long
        return False


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on", "y", "t")


def _groups(value: Any) -> list[str]:
    return [group.strip() for group in value.split(",") if group.strip()] if isinstance(value, str) else list(value or [])


def _file(path: Any, what: str) -> bytes:
    if not path:
        return b""
    try:
        with open(os.path.expanduser(str(path)), "rb") as file:
            return file.read()
    except OSError as error:
        raise Refused([f"{what}: cannot read {path_shown(path)}: {error.strerror}."]) from None
    except ValueError:  # a NUL in it
        raise Refused([f"{what}: cannot read {path_shown(path)}."]) from None


def _chosen_context(chosen: Mapping[str, Any], environ: Mapping[str, str], load_yaml: Callable[[str], Any]) -> tuple[_Entry, bool]:
    """The chosen context, and whether nobody named the file that it is from."""
    given = chosen["kubeconfig"]
    if isinstance(given, Mapping):
        return _entry([("(option)", given)], chosen["context"]), False
    default = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".kube", "config")
    paths = [str(given)] if given else [path for path in environ.get("KUBECONFIG", "").split(os.pathsep) if path] or [default]
    paths = [os.path.expanduser(path) for path in paths]
    present = [path for path in paths if given or os.path.exists(path)]
    if not present:
        pod = _pod_account(environ)
        if pod:
            return pod, True
        raise Refused([f"No kubeconfig: {', '.join(map(path_shown, paths))} does not exist. Set `kubeconfig`, K8S_AUTH_KUBECONFIG, or `host` with `api_key`."])
    files: list[tuple[str, Mapping[str, Any]]] = []
    for path in present:
        try:
            content = load_yaml(_file(path, "kubeconfig").decode("utf-8", "replace"))
        except ValueError as error:
            raise Refused([f"kubeconfig {path} is not YAML: {error}"]) from None
        if not isinstance(content, dict):
            raise Refused([f"kubeconfig {path} is empty or not a mapping."])
        files.append((path, content))
    return _entry(files, chosen["context"]), not given


def _entry(files: list[tuple[str, Mapping[str, Any]]], context: Any) -> _Entry:
    """As client-go merges: the first file that has a name wins."""
    problems = [problem for path, content in files for problem in _kubeconfig.misshapen(f"kubeconfig {path}", content)]
    if problems:
        raise Refused(problems)
    name = str(context or next((content["current-context"] for _path, content in files if content.get("current-context")), ""))
    places = ", ".join(path for path, _content in files)
    found, path = _named(files, "contexts", "context", name)
    if found is None:
        known = sorted(item.get("name", "") for _path, content in files for item in content.get("contexts") or [])
        raise Refused([f'kubeconfig {places} has no context "{name}"; it has: {", ".join(known) or "none"}.'])
    cluster, cluster_path = _named(files, "clusters", "cluster", found.get("cluster"))
    user, user_path = _named(files, "users", "user", found.get("user"))
    if cluster is None:
        raise Refused([f'kubeconfig {path}: context "{name}" names cluster "{found.get("cluster")}", which is not there.'])
    return _Entry(_absolute(cluster, cluster_path), _absolute(user or {}, user_path), name, user_path or path)


def _named(files: list[tuple[str, Mapping[str, Any]]], section: str, part: str, name: Any) -> tuple[Mapping[str, Any] | None, str]:
    for path, content in files:
        for item in content.get(section) or []:
            if item.get("name") == name:
                return item.get(part) or {}, path
    return None, ""


def _absolute(part: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    folder = os.path.dirname(os.path.abspath(path)) if path else "."
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    return {key: os.path.join(folder, value) if key in files and value else value for key, value in part.items()}


def _pod_account(environ: Mapping[str, str]) -> _Entry | None:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not os.path.exists(IN_CLUSTER + "/token"):
        return None
    address = f"[{host}]" if ":" in host else host
    cluster = {"server": f"https://{address}:{port}", "certificate-authority": IN_CLUSTER + "/ca.crt"}
    return _Entry(cluster, {"tokenFile": IN_CLUSTER + "/token"}, "in-cluster")


def _credentials(chosen: Mapping[str, Any], entry: _Entry, environ: Mapping[str, str]) -> tuple[dict[str, str], bytes, bytes]:
    """Request headers, client certificate and key; options come before the kubeconfig's user."""
    user = entry.user
    certificate = _file(chosen["client_cert"], "client_cert") or entry.pem(user, "client-certificate")
    key = _file(chosen["client_key"], "client_key") or entry.pem(user, "client-key")
    name, password = chosen["username"] or user.get("username"), chosen["password"] or user.get("password")
    if chosen["api_key"]:
        return _bearer(str(chosen["api_key"]), "api_key"), certificate, key
    if user.get("tokenFile"):
        return _bearer(_file(user["tokenFile"], "tokenFile").decode("utf-8", "replace"), f"kubeconfig {entry.path}: tokenFile"), certificate, key
    if user.get("token"):
        return _bearer(str(user["token"]), f"kubeconfig {entry.path}: token"), certificate, key
    if name and password:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}, certificate, key
    if user.get("auth-provider"):
        raise Refused([f"kubeconfig {entry.path}: `auth-provider` is not supported (Kubernetes dropped it in 1.26); use `exec` or a token."])
    if user.get("exec"):
        status = _run(user["exec"], entry, _boolean(chosen["allow_exec"]), environ)
        certificate = str(status.get("clientCertificateData") or "").encode() or certificate
        key = str(status.get("clientKeyData") or "").encode() or key
        return (_bearer(status["token"], f"kubeconfig {entry.path}: exec") if status.get("token") else {}), certificate, key
    return {}, certificate, key


def _bearer(token: str, place: str) -> dict[str, str]:
    """A token is told by its place alone, and never sent with what would end the header."""
    word = token.removeprefix("Bearer ").strip()
    if not re.fullmatch(r"[\x21-\x7e]+", word):
        raise Refused([f"{place}: a token is one word of ASCII characters; this one is empty, or has blanks, line breaks or other characters in it."])
    return {"Authorization": "Bearer " + word}


def _run(program: Mapping[str, Any], entry: _Entry, allowed: bool, environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The status of the ExecCredential that a kubeconfig's program prints."""
    command = str(program.get("command") or "")
    if not allowed:
        raise Refused([f'kubeconfig {entry.path} would run "{command}" for credentials; set `allow_exec: true` if you trust this file.'])
    doubt = _kubeconfig.untrusted(entry.path) if entry.path and os.path.exists(entry.path) else ""
    if doubt:
        raise Refused([f'kubeconfig {entry.path} would run "{command}" and {doubt}; `chown` it to yourself and `chmod go-w` it first.'])
    if os.sep in command and not os.path.isabs(command):
        command = os.path.join(os.path.dirname(os.path.abspath(entry.path)), command)
    info = {"apiVersion": program.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    variables = {item["name"]: item["value"] for item in program.get("env") or []}
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            [command, *(program.get("args") or [])],
            env={**environ, **variables, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=EXEC_TIMEOUT,
            check=True,
        )
        status = json.loads(done.stdout)["status"]
        if all(isinstance(status.get(key), (str, type(None))) for key in ("token", "clientCertificateData", "clientKeyData")):
            return status  # type: ignore[no-any-return]
        cause = "it did not print an ExecCredential"
    except FileNotFoundError:
        cause = "it is not installed"
    except OSError as error:
        cause = f"it cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        cause = f"it did not end within {EXEC_TIMEOUT} s"
    except subprocess.CalledProcessError as error:
        cause = f"exit status {error.returncode}: {error.stderr.decode('utf-8', 'replace').strip()[-500:]}"
    except (ValueError, LookupError, TypeError, AttributeError):
        cause = "it did not print an ExecCredential"
    raise Refused([f'kubeconfig {entry.path}: credential program "{command}" failed: {cause}.'])
