#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: mlflow_experiment
short_description: Keep experiments of an MLflow server as declared
version_added: "0.1.0"
description:
  - Makes, tags, restores and deletes any number of experiments in one call, through MLflow's REST API.
  - The server is reached by a URL, or through the Kubernetes API server by a tunnel into one of its pods, so that the controller needs no route to it.
  - All is read before anything is written. One experiment that cannot be as declared, above all one whose artifacts lie elsewhere, refuses the whole call.
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
  - slipway.mlops.mlflow
options:
  experiments:
    description:
      - The experiments.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      artifact_location:
        description:
          - Where its runs keep artifacts, C(s3://bucket/path) or C(mlflow-artifacts:/path). The server chooses if nothing is given.
          - It is fixed when the experiment is made. Another one for an experiment that is there is refused.
        type: str
      tags:
        description: Tags to set; those not named are left alone.
        type: dict
      purge_tags:
        description: Remove tags that are not named, except MLflow's own (C(mlflow.*)).
        type: bool
        default: false
      state:
        description:
          - V(present) makes the experiment, or restores one that was deleted.
          - V(absent) marks it as deleted, as MLflow's UI does; runs and artifacts stay until C(mlflow gc).
        type: str
        choices: [present, absent]
        default: present
"""

EXAMPLES = r"""
- name: The experiments of the team are there
  slipway.mlops.mlflow_experiment:
    namespace: mlflow
    experiments:
      - name: airline-delays
        tags:
          team: rapids
          mlflow.note.content: Delays of domestic flights
      - name: old-trial
        state: absent

- name: One with artifacts elsewhere, on a server outside of the cluster
  slipway.mlops.mlflow_experiment:
    tracking_uri: https://mlflow.example.org
    tracking_username: admin
    tracking_password: "{{ vault_mlflow_password }}"
    experiments:
      - name: RAPIDS-MLFLOW
        artifact_location: s3://team-bucket/rapids
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done, a sentence each.
  returned: success
  type: list
  elements: str
experiments:
  description: The experiments in the declared order.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
    action:
      description: What was, or in check mode would be, done.
      type: str
      sample: unchanged
    id:
      description: MLflow's number of it, empty where there is none yet.
      type: str
      sample: "3"
    artifact_location:
      description: Where its artifacts lie.
      type: str
      sample: mlflow-artifacts:/3
    lifecycle_stage:
      description: V(active) or V(deleted).
      type: str
      sample: active
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.21
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_mlflow_experiment import ARGUMENTS, RULES, run


def main() -> None:
    module_main(run, ARGUMENTS, **RULES)


if __name__ == "__main__":
    main()
