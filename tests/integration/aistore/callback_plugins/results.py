# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes the results of a run for tests: one JSON line for each task on each host, and one with the totals. The file is named by RESULTS_FILE."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results
type: aggregate
short_description: Results of a run for tests
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "results"

    def __init__(self):
        super().__init__()
        self._file = open(os.environ["RESULTS_FILE"], "w", encoding="utf-8")  # noqa: SIM115

    def _write(self, **entry):
        self._file.write(json.dumps(entry, default=str) + "\n")
        self._file.flush()

    def v2_runner_on_ok(self, result):
        self._write(task=result.task.get_name(), host=result.host.get_name(), result=result.result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write(task=result.task.get_name(), host=result.host.get_name(), failed=not ignore_errors, result=result.result)

    def v2_playbook_on_stats(self, stats):
        self._write(stats={host: stats.summarize(host) for host in stats.processed})
