# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """How to reach a cluster; shared by all Kubernetes modules and settable once through the action group C(slipway.mlops.k8s)."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path to a kubeconfig file on the machine where the module runs, or the content of one as a mapping.
      - Without it the variable E(K8S_AUTH_KUBECONFIG) is used, then E(KUBECONFIG), then C(~/.kube/config), then the account of the pod it runs in.
      - The last three are not accepted where something may be deleted.
    type: raw
  context:
    description:
      - The context of the kubeconfig. Its current context if not given.
      - Falls back to the variable E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description:
      - URL of the API server, used instead of that of the kubeconfig. With it alone no kubeconfig is read.
      - Falls back to the variable E(K8S_AUTH_HOST).
    type: str
  api_key:
    description:
      - Bearer token. Falls back to the variable E(K8S_AUTH_API_KEY).
    type: str
  username:
    description:
      - User name for HTTP basic authentication, for servers behind a proxy that asks for it. Falls back to the variable E(K8S_AUTH_USERNAME).
    type: str
  password:
    description:
      - Password for HTTP basic authentication. Falls back to the variable E(K8S_AUTH_PASSWORD).
    type: str
  ca_cert:
    description:
      - Path to the PEM file of the certificate authority that the API server's certificate is checked against.
      - Falls back to the variable E(K8S_AUTH_SSL_CA_CERT).
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description:
      - Path to the PEM file of a client certificate. Falls back to the variable E(K8S_AUTH_CERT_FILE).
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - Path to the PEM file of the client certificate's key. Falls back to the variable E(K8S_AUTH_KEY_FILE).
    type: path
    aliases: [key_file]
  validate_certs:
    description:
      - Whether the API server's certificate is checked. Falls back to the variable E(K8S_AUTH_VERIFY_SSL), then to the kubeconfig, then to V(true).
    type: bool
    aliases: [verify_ssl]
  proxy:
    description:
      - URL of an HTTP proxy to the API server. Falls back to the variable E(K8S_AUTH_PROXY), the C(proxy-url) of the kubeconfig and E(HTTPS_PROXY).
    type: str
  no_proxy:
    description:
      - Hosts, domains and networks that are reached without the proxy, separated by commas.
      - Falls back to the variables E(K8S_AUTH_NO_PROXY) and E(NO_PROXY).
    type: str
  impersonate_user:
    description:
      - Act as this user. Falls back to the variable E(K8S_AUTH_IMPERSONATE_USER).
    type: str
  impersonate_groups:
    description:
      - Act as a member of these groups. Falls back to the variable E(K8S_AUTH_IMPERSONATE_GROUPS), separated by commas.
    type: list
    elements: str
  allow_exec:
    description:
      - Whether the program that a kubeconfig names for credentials (C(exec)) may be run. The file must not be writable by others.
      - Falls back to the variable E(K8S_AUTH_ALLOW_EXEC), then to V(false).
    type: bool
requirements:
  - PyYAML on the machine where the module runs; no Kubernetes client library is needed
notes:
  - For a local connection without C(become) and without another Python interpreter the module runs inside the controller and shows its progress;
    otherwise it runs where the task is delegated to, with the same options and result.
  - The C(environment) of the task counts for the variables named here.
  - Requests are tried again when the API server is restarting or asks to come back later, for up to a minute.
attributes:
  check_mode:
    support: full
    description: Writes are sent as dry runs, so that the server's own answer is what is told.
  diff_mode:
    support: full
    description: Shows declared fields only, values of Secrets as marks.
  action_group:
    support: full
    description: Use C(group/slipway.mlops.k8s) in C(module_defaults) to set the connection once.
    membership: [slipway.mlops.k8s]
"""
