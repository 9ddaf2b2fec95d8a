#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: site_report
version_added: "0.1.0"
short_description: Judge what was read back, and write it down as a page and as JSON
description:
  - Puts together what the stage C(verify) read back, the results of host roles in check mode, the verdicts of M(slipway.mlops.k8s_readiness_info)
    and the proofs by real clients, adds nodes, disks and pods, and writes C(report.json) and C(report.html).
  - The task fails if anything is not ready, after the report is written. Nothing read back is not success, either.
  - The schema of C(report.json) is C(docs/report.schema.json). C(report.html) needs no other file and no network.
  - Runs on the controller; it changes nothing in the cluster. In check mode it judges and writes nothing.
extends_documentation_fragment: [slipway.mlops.k8s]
options:
  directory:
    description: Where the two files go. The folder is made, readable by its owner alone.
    type: path
    default: report
  host_roles:
    description:
      - For each role the hosts that must have been read back, by what the role registered as C(__<role>_result).
      - What C(localhost) has registered is told as the cluster's.
    type: dict
    default: {}
  objects:
    description: The RV(slipway.mlops.k8s_readiness_info#module:objects) of the cluster's part.
    type: list
    elements: dict
    default: []
  proofs:
    description: What the roles' proofs registered, C({name, ready, reason, seconds, facts}). One without C(ready) was not run, and counts as failed.
    type: list
    elements: dict
    default: []
  services:
    description: How to connect, C({name, url, how}).
    type: list
    elements: dict
    default: []
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: The report says what is ready and what is not
  slipway.mlops.site_report:
    directory: report
    host_roles:
      ais_datafs: [storage-1, storage-2]
    objects: "{{ __readiness.objects }}"
"""

RETURN = r"""
ready:
  description: Whether everything that was read back is ready.
  returned: always
  type: bool
  sample: true
counts:
  description: How many things are ready, and how many are not.
  returned: always
  type: dict
  sample: {ready: 24, not_ready: 0}
slipway_report:
  description: Paths of what was written; the callback M(slipway.mlops.summary) completes it.
  returned: not in check mode
  type: dict
  sample: {json: report/report.json, html: report/report.html, ready: true, services: []}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.mlops.plugins.module_utils._connection import CONNECTION
from ansible_collections.slipway.mlops.plugins.module_utils._run_site_report import ARGUMENTS


def main() -> None:
    AnsibleModule(argument_spec={**CONNECTION, **ARGUMENTS}, supports_check_mode=True).fail_json(
        msg="slipway.mlops.site_report judges what the controller knows; it works only as a task with a local connection."
    )


if __name__ == "__main__":
    main()
