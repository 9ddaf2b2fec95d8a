# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page that the demo wrote, in a real browser. Pictures are kept under .ci-artifacts/report/."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))
import browser

PAGE, DATA = ROOT / "report/report.html", ROOT / "report/report.json"
PICTURES = ROOT / ".ci-artifacts/report"

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def report() -> dict:
    assert DATA.exists(), "run test_site.py first: the demo writes the report"
    return json.loads(DATA.read_text(encoding="utf-8"))


def test_the_data_keep_to_the_published_schema(report: dict) -> None:
    jsonschema.validate(report, json.loads((ROOT / "docs/report.schema.json").read_text()), cls=jsonschema.Draft202012Validator)


def test_the_browser_shows_what_the_data_say(report: dict) -> None:
    seen = browser.dom(PAGE.as_uri())
    text = Text()
    text.feed(seen)
    shown = " ".join(" ".join(text.parts).split())
    assert f"{report['counts']['ready']} of {len(report['items'])} things read back" in shown
    for node in report["nodes"]:
        assert node["name"] in shown
    for proof in report["proofs"]:
        assert " ".join(proof["reason"].split())[:60] in shown
    assert seen.count("<svg") == 2


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_nothing_hangs_over_the_edge(width: int, tmp_path: Path) -> None:
    """A script in a copy of the page says how wide its content came out."""
    copy = tmp_path / "copy.html"
    measure = "<script>document.title = 'wide ' + document.documentElement.scrollWidth + ' of ' + window.innerWidth</script>"
    copy.write_text(PAGE.read_text(encoding="utf-8") + measure, encoding="utf-8")
    match = re.search(r"<title>wide (\d+) of (\d+)", browser.dom(copy.as_uri(), width=width))
    assert match and int(match[1]) <= int(match[2])


@pytest.mark.parametrize(("name", "size", "dark"), [("light", (1200, 2400), False), ("dark", (1200, 2400), True), ("phone", (420, 3600), False)])
def test_pictures_are_kept(name: str, size: tuple[int, int], dark: bool) -> None:
    target = PICTURES / f"{name}.png"
    browser.screenshot(PAGE.as_uri(), target, *size, dark=dark)
    assert target.stat().st_size > 20_000


class Text(HTMLParser):
    """What a reader sees: text outside of style."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)
