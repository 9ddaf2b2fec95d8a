# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One lab for all integration tests, and the order in which they share it."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# The lab by itself; then the whole site, which the workloads' tests need; what disturbs nodes comes late.
ORDER = ("packaging", "lab", "site", "kubernetes", "hosts", "mlflow", "aim", "aistore", "nodes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, bool]:
        area = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        # The demo of test_site.py writes what the site's other tests read.
        return ORDER.index(area) if area in ORDER else len(ORDER), item.path.name != "test_site.py"

    items.sort(key=place)
