#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_server_info
short_description: Give the configuration of a PostgreSQL server, or say why it cannot be deployed
version_added: "0.1.0"
description:
  - Looks at what runs, refuses settings that cannot work or that the data would not survive, all problems at once, and gives C(postgresql.conf) sized from
    the memory limit. Writes nothing.
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  namespace:
    description: Namespace of the StatefulSet.
    type: str
    required: true
  name:
    description: Name of the StatefulSet.
    type: str
    default: postgresql
  major_version:
    description: The wanted major version. Another one than that of the data on O(claim) is refused.
    type: int
    default: 15
  user:
    description: Owner of the databases.
    type: str
    default: mlflow
  databases:
    description: Names of the databases.
    type: list
    elements: str
    default: [mlflow]
  memory_limit:
    description: Limit of the container, such as V(512Mi).
    type: str
    default: 512Mi
  max_connections:
    description: How many clients may be connected at once.
    type: int
    default: 120
  parameters:
    description: Parameters of C(postgresql.conf) that win over the computed ones.
    type: dict
    default: {}
  is_external:
    description: Whether the server is somebody else's, so that only names are checked.
    type: bool
    default: false
  claim:
    description: Claim with the data. Another one than that of the server which runs counts as empty.
    type: str
    default: postgresql-data
"""

EXAMPLES = r"""
- name: The settings make sense together and fit what runs
  slipway.mlops.postgresql_server_info:
    namespace: mlflow
    memory_limit: 2Gi
  register: server
"""

RETURN = r"""
configuration:
  description: Text of C(postgresql.conf), empty for an external server.
  returned: success
  type: str
running_major_version:
  description: Major version of the server that runs, null where there is none.
  returned: success
  type: int
  sample: 15
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_postgresql_server_info import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
