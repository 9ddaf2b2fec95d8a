# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's parameters from its memory, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._postgresql_settings import Settings, configuration, problems, quantity

GOOD = Settings(15, "mlflow", ["mlflow", "mlflow_auth"], "512Mi", 120)


def parameter(text: str, name: str) -> str:
    found = re.findall(rf"^{name} = '(.*)'$", text, re.MULTILINE)
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def test_good_settings_have_no_problem() -> None:
    assert problems(GOOD, None) == [] and problems(GOOD, 15) == []


@pytest.mark.parametrize(
    ("change", "running", "said"),
    [
        ({"major": 17}, 15, "PostgreSQL 15 runs and 17 is wanted"),
        ({"major": 13}, None, "15 is the oldest"),
        ({"user": "postgres"}, None, "the superuser"),
        ({"user": "mlflow; DROP"}, None, "no plain name"),
        ({"databases": ["a b"]}, None, "no plain name"),
        ({"databases": []}, None, "MLflow needs one"),
        ({"memory_limit": "lots"}, None, "no quantity"),
        ({"memory_limit": "64Mi"}, None, "below 128Mi"),
        ({"max_connections": 1}, None, "between 10 and 5000"),
        ({"extra": {"work_mem": "1MB\nlisten_addresses = '*'"}}, None, "line break"),
        ({"extra": {"data_directory": "/tmp"}}, None, "set by the role"),
    ],
)
def test_each_problem_is_told(change: dict[str, object], running: int | None, said: str) -> None:
    found = problems(replace(GOOD, **change), running)
    assert len(found) == 1 and said in found[0], found


def test_an_external_server_is_not_measured() -> None:
    assert problems(replace(GOOD, external=True, major=9, memory_limit="", max_connections=0), None) == []


@pytest.mark.parametrize(("limit", "buffers"), [("128Mi", "32MB"), ("512Mi", "128MB"), ("4Gi", "1024MB"), ("1G", "238MB")])
def test_a_quarter_of_the_memory_is_shared_buffers(limit: str, buffers: str) -> None:
    assert parameter(configuration(replace(GOOD, memory_limit=limit)), "shared_buffers") == buffers


@pytest.mark.parametrize("limit", ["128Mi", "512Mi", "2Gi", "64Gi"])
def test_all_connections_sorting_at_once_fit_beside_the_buffers(limit: str) -> None:
    text = configuration(replace(GOOD, memory_limit=limit))
    buffers = int(parameter(text, "shared_buffers").removesuffix("MB")) * 1024
    sorting = int(parameter(text, "work_mem").removesuffix("kB")) * GOOD.max_connections
    assert (buffers + sorting) * 1024 <= (quantity(limit) or 0) * 0.55


def test_what_the_user_adds_wins_and_is_quoted() -> None:
    text = configuration(replace(GOOD, extra={"shared_buffers": "1GB", "jit": False, "log_line_prefix": "it's "}))
    assert parameter(text, "shared_buffers") == "1GB" and parameter(text, "jit") == "off" and parameter(text, "log_line_prefix") == "it''s "


@pytest.mark.parametrize(("text", "count"), [("1Ki", 1024), ("1.5Gi", 1610612736), ("2G", 2 * 10**9), ("100", 100), ("1Zi", None), ("-1Mi", None), ("", None)])
def test_quantities(text: str, count: int | None) -> None:
    assert quantity(text) == count
