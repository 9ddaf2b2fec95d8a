# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times as Kubernetes and AIStore write them. Pure."""

from __future__ import annotations

import datetime
import re


def seconds(time: str | None) -> float:
    """Seconds since the epoch of RFC 3339 (a MicroTime, say), or of AIStore's "2026-11-22 21:09:11", which is UTC; 0 for none."""
    if not time:
        return 0.0
    fraction = re.search(r"\.[0-9]+", time)
    # Older Pythons read fractions of three or six digits only; Go writes up to nine.
    whole = datetime.datetime.fromisoformat(re.sub(r"\.[0-9]+", "", time).replace("Z", "+00:00"))
    return (whole if whole.tzinfo else whole.replace(tzinfo=datetime.timezone.utc)).timestamp() + float(fraction[0] if fraction else 0)
