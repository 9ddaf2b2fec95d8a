#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: inventory_check
version_added: "0.1.0"
short_description: Refuse an inventory that cannot work, before any host is touched
description:
  - Reads the inventory and the variables of its hosts, and reports everything that is wrong with them at once.
  - Names that are nearly right (groups, and variables of this collection's roles) are refused with the right name. Names that only begin like
    a variable of ours are warnings, since other collections use such prefixes, too.
  - Values are checked against the argument specifications of the roles; the roles of AIStore against the planning worksheet of its guide
    (targets, proxies, exactly one initial primary, the same mount paths everywhere); addresses and ranges by C(netaddr).
  - The cluster must be named, by C(slipway_kubeconfig), E(K8S_AUTH_KUBECONFIG) or E(K8S_AUTH_HOST), since what may delete takes no other.
  - Runs on the controller. It connects to no host and to no cluster, and it changes nothing.
options:
  required_groups:
    description: Group names that must be in the inventory and must not be empty.
    type: list
    elements: str
    default: []
attributes:
  check_mode: {support: full, description: It only reads.}
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: The inventory can work
  slipway.mlops.inventory_check:
    required_groups: [k8s_cluster]
"""

RETURN = r"""
warnings_found:
  description: What is unusual but not wrong, one sentence each.
  returned: success
  type: list
  elements: str
  sample: ["variable `mlflow_color` (all hosts): begins like a variable of `mlflow`, but nothing in slipway.mlops reads it"]
problems:
  description: What is wrong, one sentence each.
  returned: failure
  type: list
  elements: str
  sample: ["group `ais_target`: there is no such group here; did you mean `ais_targets`?"]
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    AnsibleModule(argument_spec={"required_groups": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True).fail_json(
        msg="slipway.mlops.inventory_check reads the inventory on the controller; it works only as a task of a playbook."
    )


if __name__ == "__main__":
    main()
