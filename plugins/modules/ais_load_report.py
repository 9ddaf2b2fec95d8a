#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ais_load_report
short_description: Table and plot of what AIStore's load generators measured
version_added: "0.1.0"
description:
  - Reads the logs of the finished C(aisloader) Jobs of the role C(slipway.mlops.aistore) and sums them up.
  - C(aisloader) keeps no distribution of latencies. Percentiles here are those of its one-second means, and are called so.
author:
  - The slipway authors (@slipway-mlops)
extends_documentation_fragment:
  - slipway.mlops.k8s
options:
  name:
    description: Name of the AIStore cluster.
    type: str
    default: ais
  namespace:
    description: Namespace of the Jobs.
    type: str
    default: ais
  seconds:
    description: How long the loaders measured, by which it is known how much of their logs to read. Of more than an hour the kubelet, which keeps 10 MiB
      of a log, may have thrown the beginning away.
    type: int
    default: 30
  directory:
    description: Where C(aistore-load.json), C(aistore-load.md) and C(aistore-load.svg) are written. None are if empty.
    type: path
    default: ""
  about:
    description: Facts of the run to put above the table.
    type: dict
    default: {}
seealso:
  - module: slipway.mlops.ais_cluster_info
"""

EXAMPLES = r"""
- name: Tell what the loaders measured
  slipway.mlops.ais_load_report:
    namespace: ais
    directory: report
"""

RETURN = r"""
summary:
  description:
    - By kind of request (C(get), C(put)), over all loaders, C(requests), C(errors), C(mib_per_second), C(requests_per_second), and latencies in
      milliseconds, C(latency_mean_ms), C(latency_min_ms), C(latency_max_ms), C(interval_mean_p50_ms), C(interval_mean_p95_ms), C(interval_mean_p99_ms).
  returned: always
  type: dict
table:
  description: The same as a Markdown table.
  returned: always
  type: str
title:
  description: Throughput in one line.
  returned: always
  type: str
failures:
  description: What each loader said of its first request that failed, after the name of its node. Their number is in C(errors) of C(summary).
  returned: always
  type: list
  elements: str
files:
  description: Paths of the files that were written.
  returned: always
  type: list
  elements: str
"""

from ansible_collections.slipway.mlops.plugins.module_utils._module import module_main
from ansible_collections.slipway.mlops.plugins.module_utils._run_ais_load_report import ARGUMENTS, run


def main() -> None:
    module_main(run, ARGUMENTS)


if __name__ == "__main__":
    main()
