# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One lab for all integration tests, the order in which they share it, and what the long ones came to."""

from __future__ import annotations

import datetime
import fcntl
import json
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# The last result of each long test. `make test-long` keeps it in docs/, from where it gets into the README.
LONG_RESULTS = HERE.parents[1] / ".ci-artifacts" / "long-tests.json"
# The lab by itself; then the whole site, which the workloads' tests need; what disturbs nodes comes late.
ORDER = ("packaging", "lab", "site", "kubernetes", "hosts", "mlflow", "aim", "aistore", "nodes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, bool]:
        area = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        # The demo of test_site.py writes what the site's other tests read.
        return ORDER.index(area) if area in ORDER else len(ORDER), item.path.name != "test_site.py"

    items.sort(key=place)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "long" not in report.keywords or (report.when != "call" and report.passed):
        return
    LONG_RESULTS.parent.mkdir(exist_ok=True)
    with LONG_RESULTS.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        results = json.loads(file.read() or "{}")
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        results[report.nodeid] = {"outcome": report.outcome, "seconds": round(report.duration, 1), "date": today}
        file.seek(0)
        file.truncate()
        json.dump(dict(sorted(results.items())), file, indent=1)
        file.write("\n")
