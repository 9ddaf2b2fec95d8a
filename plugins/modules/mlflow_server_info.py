#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_server_info
short_description: Give the environment of an MLflow server, or say why it cannot be deployed
version_added: "0.1.0"
description:
  - Checks the settings of a server against each other and against the one that runs, and refuses all problems at once. Writes nothing.
  - Gives the environments of its containers, with the list of accepted Host headers derived from the Service's names.
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  namespace:
    description: Namespace of the server.
    type: str
    required: true
  name:
    description: Name of Deployment and Service.
    type: str
    default: mlflow
  version:
    description: The wanted version. An older one than that to which the database was, or was about to be, brought is refused.
    type: str
    required: true
  replicas:
    description: Number of servers.
    type: int
    default: 1
  workers:
    description: Processes of each server.
    type: int
    default: 2
  database:
    description: Where runs are kept.
    type: dict
    required: true
    suboptions:
      uri:
        description: With a driver and without a password, such as V(postgresql+psycopg2://).
        type: str
        required: true
      host:
        description: Address of the server.
        type: str
        default: ""
      port:
        description: Its port.
        type: int
        default: 5432
      user:
        description: User.
        type: str
        default: ""
      name:
        description: Name of the database.
        type: str
        default: ""
      secret_name:
        description: Secret with the password.
        type: str
        default: ""
      secret_keys:
        description: Environment variable to key of that Secret; these win over the values above.
        type: dict
        default: {}
  artifacts:
    description: Where artifacts are kept.
    type: dict
    required: true
    suboptions:
      destination:
        description: V(s3://bucket/path), or V(file:///artifacts) for a claim.
        type: str
        required: true
      moved_from:
        description: The old destination, whose content was copied to the new one.
        type: str
        default: ""
      claim_access_mode:
        description: Access mode of the claim, empty without one.
        type: str
        default: ""
      are_proxied:
        description: Whether clients speak to the server alone.
        type: bool
        default: true
      are_anonymous:
        description: Whether the S3 asks for no credentials.
        type: bool
        default: false
      credentials:
        description: Keys of Secrets as environment variables.
        type: list
        elements: dict
        default: []
        suboptions:
          env:
            description: Environment variable.
            type: str
            required: true
          secret:
            description: Name of the Secret.
            type: str
            required: true
          key:
            description: Key in it.
            type: str
            required: true
      endpoint_url:
        description: URL of an S3 that is not AWS.
        type: str
        default: ""
      region:
        description: Region.
        type: str
        default: us-east-1
      addressing_style:
        description: How the bucket is named in requests.
        type: str
        choices: [auto, path, virtual]
        default: auto
      signature_version:
        description: Signature of requests, V(s3v4) or V(s3).
        type: str
        default: s3v4
      checksums:
        description: When boto3 sends and checks its checksums.
        type: str
        choices: [when_supported, when_required]
        default: when_supported
  hosts:
    description: Further names of the server.
    type: list
    elements: str
    default: []
  networks:
    description: IPv4 networks whose addresses are accepted as names.
    type: list
    elements: str
    default: []
  origins:
    description: Pages of others that may write.
    type: list
    elements: str
    default: []
  cluster_domain:
    description: DNS domain of the cluster.
    type: str
    default: cluster.local
  static_prefix:
    description: Path before everything.
    type: str
    default: ""
  authentication:
    description: MLflow's users and passwords.
    type: dict
    default: {}
    suboptions:
      is_enabled:
        description: Whether they are asked for.
        type: bool
        default: false
      username:
        description: Name of the administrator.
        type: str
        default: admin
      password_file:
        description: File on the controller with the administrator's password, checked here.
        type: path
      secret_name:
        description: Secret that holds it in the cluster.
        type: str
        default: mlflow-admin
  keys_secret_name:
    description: Secret with the keys by which MLflow encrypts what it stores.
    type: str
    default: mlflow-keys
  metrics_are_exposed:
    description: Whether C(/metrics) is served.
    type: bool
    default: true
  job_execution_is_enabled:
    description: Whether the server runs jobs of its own.
    type: bool
    default: false
  gc_is_scheduled:
    description: Whether C(mlflow gc) shall run beside the server.
    type: bool
    default: false
  extra_environment:
    description: Environment variables that win over the derived ones. Secrets among them are refused.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: The settings make sense together and fit what runs
  slipway.mlops.mlflow_server_info:
    namespace: mlflow
    version: 3.17.2
    replicas: 2
    database:
      uri: postgresql+psycopg2://
      host: postgresql
      user: mlflow
      name: mlflow
      secret_name: postgresql
      secret_keys: {PGPASSWORD: password}
    artifacts:
      destination: s3://mlflow/artifacts
      endpoint_url: http://ais-ais-proxy.ais.svc.cluster.local:51080/s3
      are_anonymous: true
  register: server
"""

RETURN = r"""
running_version:
  description: Version of the server that runs, empty where there is none.
  returned: success
  type: str
  sample: 3.17.2
answers_as_declared:
  description: Whether a server runs that is reached at this path, and logs in whom these settings say. A look ahead can ask no other one.
  returned: success
  type: bool
database_environment:
  description: C(env) of a container that opens the database.
  returned: success
  type: list
  elements: dict
store_environment:
  description: C(env) of a container that reads or writes artifacts itself.
  returned: success
  type: list
  elements: dict
server_environment:
  description: C(env) of the server's container.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_mlflow_server_info import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
