# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times of several makers as one number."""

from __future__ import annotations

import pytest
from ansible_collections.slipway.mlops.plugins.module_utils._timestamp import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, 0),
        ("", 0),
        ("1970-01-02T00:00:00Z", 86400),
        ("1970-01-02T00:00:00.500000Z", 86400.5),
        ("1970-01-02T00:00:00.039033376Z", 86400.039033376),
        ("1970-01-02T01:00:00+01:00", 86400),
        ("1970-01-02 00:00:00", 86400),
    ],
)
def test_times_are_seconds_since_the_epoch(text: str | None, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected, abs=1e-6)
