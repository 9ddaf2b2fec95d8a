#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Merge one kubeconfig into another, and take it out again
version_added: "0.1.0"
author:
  - The slipway authors (@slipway-mlops)
description:
  - Merges contexts, with the clusters and users that they join, into a kubeconfig.
  - An entry whose name is taken by a different one is renamed to C(<name>-<merge>), never silently redirected, as C(kubectl config view --merge) does
    with two clusters that are both called C(kubernetes). Each merged context is proved to reach the cluster and the user that it did before.
  - Relative paths of certificates and tokens are made absolute, and must be there.
  - The file is written whole or not at all, with mode 0600, under the lock that kubectl takes, too. A file with comments is backed up before, since a
    merged one cannot keep them.
  - Merged entries bear an extension with the name of the merge, which clients ignore and kubectl keeps. By it they are updated and removed.
  - Credentials are in no result, diff or log.
attributes:
  check_mode:
    description: Says what would change, without the lock and without writing.
    support: full
  diff_mode:
    description: Shows names, servers and paths; of credentials only whether they are others.
    support: full
options:
  path:
    description: The kubeconfig to write. It and its folder are made where absent.
    type: path
    default: ~/.kube/config
  name:
    description: Name of the merge. The same name updates what it brought before, and removes what its source no longer has.
    type: str
    required: true
  state:
    description: V(absent) takes out what the merge brought; what somebody else's context uses stays, with a warning.
    type: str
    choices: [present, absent]
    default: present
  source:
    description: The kubeconfig to merge, a file where the module runs.
    type: path
  content:
    description: The kubeconfig to merge as text or as a mapping.
    type: raw
  contexts:
    description: Contexts to merge; all if not given.
    type: list
    elements: str
  current_context:
    description:
      - The context that becomes the current one, by its name in the source or in the merged file.
      - If not given the current one stays; a file that has none takes that of the source.
    type: str
  allow_exec:
    description:
      - Whether users may be merged whose credentials come from a program (C(exec), C(auth-provider)), which every client then runs. O(source) must not be
        writable by others.
    type: bool
    default: false
  backup:
    description: Whether a changed file is copied first.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: My kubeconfig reaches the cluster of the lab, too
  slipway.mlops.kubeconfig:
    name: lab
    source: ~/Downloads/lab-admin.conf
    current_context: kubernetes-admin@kubernetes
    backup: true

- name: A kubeconfig that a node holds is merged on this machine
  slipway.mlops.kubeconfig:
    name: production
    content: "{{ admin_conf.content | b64decode }}"
    contexts: [kubernetes-admin@kubernetes]
  delegate_to: localhost

- name: The lab is forgotten
  slipway.mlops.kubeconfig:
    name: lab
    state: absent
"""

RETURN = r"""
path:
  description: The kubeconfig.
  returned: success
  type: str
  sample: /home/me/.kube/config
actions:
  description: What was, or in check mode would be, changed, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["/home/me/.kube/config: context lab comes"]
contexts:
  description: Name of each merged context in the file, by its name in the source.
  returned: success
  type: dict
  sample: {kubernetes-admin@kubernetes: kubernetes-admin@kubernetes-lab}
clusters:
  description: As RV(contexts), for clusters.
  returned: success
  type: dict
  sample: {kubernetes: kubernetes-lab}
users:
  description: As RV(contexts), for users.
  returned: success
  type: dict
  sample: {kubernetes-admin: kubernetes-admin-lab}
current_context:
  description: The current context of the file afterwards, empty if it has none.
  returned: success
  type: str
  sample: kubernetes-admin@kubernetes-lab
backup_file:
  description: Copy of the file as it was.
  returned: when one was made
  type: str
  sample: /home/me/.kube/config.20260131T120000Z~
problems:
  description: Each reason to refuse, as a sentence of its own.
  returned: when refused
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.mlops.plugins.module_utils._kubeconfig_merge import check, public
from ansible_collections.slipway.mlops.plugins.module_utils._model import Refused
from ansible_collections.slipway.mlops.plugins.module_utils._run_kubeconfig import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "~/.kube/config"},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "source": {"type": "path"},
            "content": {"type": "raw", "no_log": True},
            "contexts": {"type": "list", "elements": "str"},
            "current_context": {"type": "str"},
            "allow_exec": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("source", "content")],
        required_if=[("state", "present", ("source", "content"), True)],
        supports_check_mode=True,
    )
    content = module.params["content"]
    if isinstance(content, dict) and not check(content, "content"):
        # Ansible takes each text of a mapping for a secret, and would hide the names that the result is about.
        module.no_log_values -= public(content)
    try:
        result = run(module.params, module.check_mode, module._diff)
    except Refused as error:
        module.fail_json(msg="\n".join(error.problems), problems=error.problems)
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['path']}: {error.strerror}")
    for line in result.pop("found_warnings"):
        module.warn(line)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
