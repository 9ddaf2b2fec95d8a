# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """How to reach an MLflow server and log in; shared by the modules that speak to one."""

    DOCUMENTATION = r"""
options:
  tracking_uri:
    description:
      - URL of the server, for one that the controller reaches. Mutually exclusive with O(namespace).
    type: str
  tracking_username:
    description: User, for a server with authentication.
    type: str
  tracking_password:
    description: Its password.
    type: str
  tracking_token:
    description: A bearer token, for a server behind a proxy that wants one.
    type: str
  tracking_ca_cert:
    description: File with the authorities that signed the server's certificate.
    type: path
  namespace:
    description:
      - Namespace of the server's Service; it is then reached through the Kubernetes API server.
    type: str
  service:
    description: Name of that Service.
    type: str
    default: mlflow
  static_prefix:
    description: Path before everything, as the server has it (C(--static-prefix)). With O(tracking_uri) it is part of the URL.
    type: str
    default: ""
  credentials_secret:
    description:
      - A Secret in O(namespace) with user and password.
    type: dict
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      username:
        description: The user, where the Secret does not hold it.
        type: str
      username_key:
        description: Key of the user.
        type: str
        default: username
      password_key:
        description: Key of the password.
        type: str
        default: password
"""
