# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes made-up flights in the columns of the guide's airline data, so that the example needs no download: make_data.py FILE [ROWS]"""

import sys

import numpy
import pandas


def flights(rows, seed=11):
    """Flights are late by the hour, the carrier, the distance and chance: a forest finds about nine of ten."""
    chance = numpy.random.default_rng(seed)
    frame = pandas.DataFrame(
        {
            "Year": chance.integers(1987, 2009, rows),
            "Month": chance.integers(1, 13, rows),
            "DayOfWeek": chance.integers(1, 8, rows),
            "CRSDepTime": chance.integers(0, 2400, rows),
            "UniqueCarrier": chance.integers(0, 20, rows),
            "Origin": chance.integers(0, 300, rows),
            "Dest": chance.integers(0, 300, rows),
            "Distance": chance.integers(60, 2800, rows),
        }
    )
    late = (
        (frame.CRSDepTime > 1600) * 1.5
        + (frame.UniqueCarrier % 5 == 0) * 1.2
        + ((frame.Month == 12) | (frame.Month == 1)) * 0.8
        - (frame.Distance > 1500) * 0.7
        + chance.normal(0, 0.35, rows)
    )
    frame["ArrDelayBinary"] = (late > 1.1).astype("int8")
    return frame


if __name__ == "__main__":
    flights(int(sys.argv[2]) if len(sys.argv) > 2 else 20000).to_parquet(sys.argv[1])
