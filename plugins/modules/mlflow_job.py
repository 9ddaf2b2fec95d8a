#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_job
short_description: Train in a Kubernetes Job whose end is the end of an MLflow run
version_added: "0.1.0"
description:
  - Makes an MLflow run, starts a Job that is told its number, follows it, and brings the run to the state in which the Job ended.
  - The same content is trained once. A launch that finished is found again by a tag of its run, whatever became of the Job; one that still runs is followed;
    one that failed is tried again as a new run. No Docker is needed where this runs.
  - C(changed) says that something was started or applied, not that it was followed. Runs below one whose Job has ended, and which still say that they
    run, are set to V(FAILED).
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
  - slipway.mlops.mlflow
options:
  name:
    description: Name of the Job, to which a hash of the content and the number of the attempt are added. At most 40 characters.
    type: str
    required: true
  experiment:
    description: Name of the experiment, which must be there (M(slipway.mlops.mlflow_experiment) makes it).
    type: str
    required: true
  job:
    description:
      - The Job, with its namespace. The first container gets E(MLFLOW_RUN_ID) and E(MLFLOW_EXPERIMENT_ID).
      - To let the run end with the Job also when nobody follows it, its command should be the role's C(run.py).
    type: dict
    required: true
  objects:
    description: Further objects that the Job needs, applied with it.
    type: list
    elements: dict
    default: []
  sweep:
    description: One mapping of parameters for each index of an indexed Job; only its length is used here.
    type: list
    elements: dict
    default: []
  generation:
    description: Another value trains the same content again.
    type: str
    default: ""
  user:
    description: Shown in MLflow as the one who started the run.
    type: str
    default: slipway
  wait:
    description: Whether to follow the Job.
    type: bool
    default: true
  wait_timeout:
    description: Seconds for which it is followed. The Job goes on afterwards.
    type: int
    default: 3600
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
        description: Its namespace, that of O(job) if not given.
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
          - Keys whose values are chosen at random (letters and digits) when the Secret is made. An existing Secret is never changed.
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
"""

EXAMPLES = r"""
- name: The model is trained
  slipway.mlops.mlflow_job:
    namespace: mlflow
    name: airline
    experiment: airline-delays
    job:
      apiVersion: batch/v1
      kind: Job
      metadata:
        namespace: mlflow
      spec:
        backoffLimit: 0
        template:
          spec:
            restartPolicy: Never
            containers:
              - name: training
                image: registry.example.org/training:1
                command: [python3, /opt/training/train.py]
                env:
                  - name: MLFLOW_TRACKING_URI
                    value: http://mlflow.mlflow.svc.cluster.local:5000
  register: trained

- name: Its accuracy is shown
  ansible.builtin.debug:
    msg: "{{ trained.run.metrics.accuracy }}"
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done, a sentence each.
  returned: success
  type: list
  elements: str
job:
  description: Name of the Job; empty in check mode and where the content had been trained before.
  returned: success
  type: str
  sample: airline-1f0a3c5d7e-1
run:
  description: The MLflow run after the Job's end, also one of before; empty in check mode where training would begin or go on.
  returned: success
  type: dict
  contains:
    id:
      description: Its number.
      type: str
      sample: 0c1b2f6c1d7e4f0ab3f3a1c9d2e4b5a6
    status:
      description: V(FINISHED) or V(FAILED), as the Job; V(RUNNING) where it is not followed.
      type: str
      sample: FINISHED
    experiment_id:
      description: Number of the experiment.
      type: str
      sample: "3"
    artifact_uri:
      description: Where its artifacts lie.
      type: str
      sample: mlflow-artifacts:/3/0c1b2f6c1d7e4f0ab3f3a1c9d2e4b5a6/artifacts
    parameters:
      description: Its parameters.
      type: dict
    metrics:
      description: The last value of each metric.
      type: dict
objects:
  description: What was done to each object, as in M(slipway.mlops.k8s_manifests).
  returned: when the Job was applied
  type: list
  elements: dict
seconds:
  description: How long applying and following took.
  returned: when the Job was applied
  type: float
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_mlflow_job import ARGUMENTS, RULES, run


def main() -> None:
    module_main(run, ARGUMENTS, **RULES)


if __name__ == "__main__":
    main()
