#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_manifests
short_description: Keep a set of Kubernetes objects as declared
version_added: "0.1.0"
description:
  - Applies all objects of an application in one call, by server-side apply, in an order that works (namespaces and definitions first),
    deletes what is no longer declared, and waits until everything is ready.
  - An object that is already as declared costs no request of its own.
  - O(ignore:changed) is told by comparing declared fields before and after, never by status.
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  name:
    description:
      - Name of the set. Objects are owned by the field manager C(slipway:NAME), so two sets never take each other's fields.
      - A ConfigMap C(slipway-NAME) in O(namespace) records which kinds and namespaces the set reaches (the layout of KEP-3659).
    type: str
    required: true
  namespace:
    description:
      - Namespace of the set's record, and of every namespaced object that names none. It may be among the O(manifests).
    type: str
    required: true
  state:
    description:
      - V(present) makes the cluster hold exactly these objects as this set.
      - V(absent) removes the set. Data is kept unless O(delete_data) names it.
    type: str
    choices: [present, absent]
    default: present
  manifests:
    description:
      - The objects, as a list, or as YAML text with any number of documents, or a list of such texts.
      - In YAML text a key that is given twice is refused; in a list Ansible has already dropped the first.
      - "The annotation C(slipway.mlops/apply) on an object says how it is kept: C(set) (the default); C(create_only) (made if absent, then left alone);
        C(once) (for Jobs: run once for each content. A hash of the content becomes part of the name, and success is remembered when the Job is gone)."
      - "The annotation C(slipway.mlops/health: exists) takes an object for ready as soon as it is there."
    type: raw
  secrets:
    description:
      - Secrets whose values never stand in a manifest.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      namespace:
        description: Its namespace, O(namespace) if not given.
        type: str
      type:
        description: Type of the Secret.
        type: str
        default: Opaque
      labels:
        description: Labels of the Secret.
        type: dict
      generate:
        description:
          - Keys whose values are chosen at random (letters and digits) when the Secret is made. An existing Secret is never changed and,
            since it may be the password of data that is kept, never deleted unless O(delete_data) names it.
        type: list
        elements: dict
        suboptions:
          key:
            description: Key in the Secret.
            type: str
            required: true
          length:
            description: Number of characters, at least 8.
            type: int
            default: 32
      copy:
        description:
          - Keys whose values are read where the module runs. Beside O(secrets[].generate) they are read only when the Secret is made;
            otherwise the Secret follows its sources.
        type: list
        elements: dict
        suboptions:
          key:
            description: Key in the Secret.
            type: str
            required: true
          file:
            description: File to read.
            type: path
          env:
            description: Environment variable to read.
            type: str
  prune:
    description:
      - Whether objects of the set that are no longer declared are deleted. Data is kept unless O(delete_data) names it.
      - Needs a cluster that is named by option or variable, see O(kubeconfig).
    type: bool
    default: true
  delete_data:
    description:
      - "PersistentVolumeClaims, PersistentVolumes, Namespaces, CustomResourceDefinitions, generated Secrets and what is kept C(create_only) that may be
        deleted when it is no longer declared, each as C(Kind/namespace/name), or as C(Kind/name) where it is in O(namespace) or outside of namespaces.
        Nothing else of these kinds is ever deleted."
      - A Namespace takes with it all that is in it, so each PersistentVolumeClaim there, whoever made it, and what is kept of this set has to be named
        as well; else nothing is deleted. A CustomResourceDefinition takes every object of its kind with it, in the whole cluster.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Whether to wait until every object is ready and every deleted one is gone. A failure that will not cure itself ends the wait early.
    type: bool
    default: true
  wait_timeout:
    description: Seconds for the whole set.
    type: int
    default: 300
  force_conflicts:
    description:
      - Whether to take over fields that another field manager holds with another value. Without it they are a failure that names manager and field.
    type: bool
    default: false
seealso:
  - module: slipway.mlops.k8s_readiness_info
"""

EXAMPLES = r"""
- name: Aim runs as declared and is ready
  slipway.mlops.k8s_manifests:
    kubeconfig: ~/.kube/lab
    name: aim
    namespace: aim
    manifests: "{{ lookup('ansible.builtin.template', 'aim.yaml.j2') }}"
    secrets:
      - name: aim-auth
        generate:
          - key: password
      - name: registry
        type: kubernetes.io/dockerconfigjson
        copy:
          - key: .dockerconfigjson
            file: ~/.docker/config.json

- name: A migration has run once for this image
  slipway.mlops.k8s_manifests:
    name: mlflow-migrate
    namespace: mlflow
    manifests:
      - apiVersion: batch/v1
        kind: Job
        metadata:
          name: mlflow-migrate
          annotations:
            slipway.mlops/apply: once
        spec:
          backoffLimit: 2
          template:
            spec:
              restartPolicy: Never
              containers:
                - name: migrate
                  image: registry.example.org/mlflow:3.4.0
                  args: [mlflow, db, upgrade, postgresql://mlflow@postgresql/mlflow]

- name: Aim is gone, its volume too
  slipway.mlops.k8s_manifests:
    name: aim
    namespace: aim
    state: absent
    delete_data:
      - PersistentVolumeClaim/aim
      - Secret/aim-auth
      - Namespace/aim
"""

RETURN = r"""
objects:
  description: What was done to each object, or in check mode would be, in the order of applying.
  returned: when the set was looked at
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
      returned: always
    namespace:
      description: Its namespace, empty for what lives outside of namespaces.
      type: str
      returned: always
    name:
      description: Its name.
      type: str
      returned: always
    action:
      description: V(created), V(updated), V(unchanged), V(deleted), or V(kept) for data that is no longer declared.
      type: str
      returned: always
    assumed:
      description: Whether this is a prediction because no server could be asked (an object in a namespace that does not exist yet).
      type: bool
      returned: always
    ready:
      description: Whether it is ready, true also for a Job of C(once) that ran to its end before and is gone since; empty in check mode.
      type: bool
      returned: always
    reason:
      description: Its state in a few words.
      type: str
      returned: always
  sample:
    - {kind: Deployment, namespace: aim, name: aim, action: updated, assumed: false, ready: true, reason: 1/1 available}
server:
  description: URL of the API server.
  returned: when it was asked
  type: str
  sample: https://10.0.0.10:6443
context:
  description: Context of the kubeconfig.
  returned: when it was asked
  type: str
  sample: lab
requests:
  description: HTTP requests that were sent.
  returned: when it was asked
  type: int
  sample: 9
seconds:
  description: Time of the whole call in seconds.
  returned: when the set was looked at
  type: float
  sample: 0.21
problems:
  description: Everything that is wrong with the input, one sentence each.
  returned: when the input was refused
  type: list
  elements: str
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_k8s_manifests import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
