# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one error that the lab shows to a person: what, where, why, and what to do."""

from __future__ import annotations


class LabError(Exception):
    """Something a person can act on; printed without a traceback."""
