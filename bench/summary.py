# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All results as one page, bench/results/README.md, what falls short first."""

from __future__ import annotations

import json
import re
from pathlib import Path

from results import FOLDER, missing


def main() -> None:
    benches = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"), key=by_number)]
    short = []
    for bench in benches:
        for ratio in bench["ratios"]:
            if not ratio["holds"]:
                short.append(f"- {bench['title']}: {ratio['name']} is {ratio['measured']:.2f}, asked for {ratio['wanted']}")
    measured = {ratio["name"] for bench in benches for ratio in bench["ratios"]}
    short += [f"- {name}: not measured, asked for {least}; `{command}`" for name, least, command in missing(measured)]
    verdict = "What falls short or is not measured:" if short else "Every ratio that was asked for holds."
    lines = ["# Measured", "", "Made by `make bench`; each table names its own command and date.", "", verdict, *short, ""]
    for bench in benches:
        lines += [(FOLDER / f"{bench['name']}.md").read_text(encoding="utf-8"), f"![{bench['title']}]({bench['name']}.svg)", ""]
    (FOLDER / "README.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines[4 : 5 + len(short)]))


def by_number(path: Path) -> list[tuple[int, str]]:
    """objects-10 before objects-200 before objects-2000."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.stem)]


if __name__ == "__main__":
    main()
