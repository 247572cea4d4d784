"""The report's page in a real browser: it asks for nothing, complains of nothing, fits, can be read, and can be used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hands.core.units import NANO
from hands.replay.prices import NoPrices
from hands.replay.report import write_report
from tests.accept.browser import Page, browser
from tests.replay.made_ledger import HOSTILE, big_ledger, empty_ledger

pytestmark = [
    pytest.mark.accept,
    pytest.mark.skipif(bool(os.environ.get("HANDS_NO_BROWSER")), reason="HANDS_NO_BROWSER is set"),
]

SCREENS = [(1280, False), (1280, True), (390, False), (390, True)]

CONTRAST = """
(() => {
  const parts = (text) => {
    if (text.startsWith("color(srgb")) {
      const found = text.match(/[\\d.]+/g).map(Number);
      return [found[0] * 255, found[1] * 255, found[2] * 255, found.length > 3 ? found[3] : 1];
    }
    const found = text.match(/[\\d.]+/g).map(Number);
    return [found[0], found[1], found[2], found.length > 3 ? found[3] : 1];
  };
  const light = (c) => {
    const part = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
  };
  const behind = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const found = parts(getComputedStyle(each).backgroundColor);
      if (found[3] > 0.85) return found;
    }
    return [255, 255, 255, 1];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("svg,script,.sr")) continue;
    const a = light(parts(getComputedStyle(node).color)), b = light(behind(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.className} ${walker.currentNode.textContent.slice(0, 40)}`);
  }
  return [...new Set(poor)];
})()
"""


@pytest.fixture(scope="module")
def artefacts(root: Path) -> Path:
    """Where pictures are kept, for people to look at."""
    folder = Path(os.environ.get("HANDS_ARTEFACTS") or root / "build" / "report")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def document(artefacts: Path) -> Path:
    """A report of 240 trades with a market, some of their texts hostile."""
    ledger, prices = big_ledger(240)
    path = artefacts / "report.html"
    title = "Winter season <script>document.title='owned'</script>"
    write_report(ledger, prices, path, title=title, tz="America/New_York", capital=100_000 * NANO)
    return path


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser(tmp_path / "profile") as socket:
        found = Page(socket)
        yield found
        assert found.complaints == []


def test_it_fits_every_screen_can_be_read_and_asks_for_nothing(
    page: Page, document: Path, artefacts: Path
) -> None:
    page.open(document)
    for width, dark in SCREENS:
        page.screen(width, dark=dark)
        page.evaluate(
            "document.querySelectorAll('.trade').forEach((each, n) => { if (n < 3) each.open = true; })"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(CONTRAST) == []
        page.photograph(artefacts / f"{width}-{'dark' if dark else 'light'}.png", width)
    page.screen(360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.asked == [document.resolve().as_uri()]


def test_what_agents_wrote_is_text_and_nothing_else(page: Page, document: Path) -> None:
    page.open(document)
    assert page.evaluate("document.title").startswith("Winter season <script>")
    assert page.evaluate("document.scripts.length") == 1
    assert (
        page.evaluate(
            "document.querySelectorAll('img,iframe,link,object,embed,form,a[href^=javascript]').length"
        )
        == 0
    )
    assert (
        page.evaluate(
            "[...document.all].filter((each) => [...each.attributes].some((a) => a.name.startsWith('on'))).length"
        )
        == 0
    )
    theses = page.evaluate("[...document.querySelectorAll('blockquote')].map((each) => each.textContent)")
    assert HOSTILE[0] in theses
    assert HOSTILE[1] in theses
    assert any("\\u202eevil.txt" in thesis for thesis in theses)


def test_its_policy_would_stop_a_script_that_got_in(page: Page, document: Path, tmp_path: Path) -> None:
    """The last line of defence is there: without it this script runs."""
    path = tmp_path / "hurt.html"
    text = document.read_text("utf-8")
    planted = "<script>document.title='owned'</script></main>"
    path.write_text(text.replace("</main>", planted), "utf-8")
    page.open(path)
    assert page.evaluate("document.title") != "owned"
    assert any("Content Security Policy" in complaint for complaint in page.complaints)
    page.complaints.clear()
    path.write_text(re.sub(r"<meta http-equiv=[^>]+>", "", text).replace("</main>", planted), "utf-8")
    page.open(path)
    assert page.evaluate("document.title") == "owned"


def test_trades_are_sorted_filtered_and_read_off_by_pointing(
    page: Page, document: Path, artefacts: Path
) -> None:
    page.open(document)
    page.screen(1280)
    count = (
        "[...document.querySelectorAll('#trades .list > *')].filter((each) => each.checkVisibility()).length"
    )
    assert page.evaluate(count) == 240
    page.evaluate(
        "(() => { const box = document.querySelector('.tools input'); box.value = 'doge short';"
        " box.dispatchEvent(new Event('input')); box.value = 'DOGE'; box.dispatchEvent(new Event('input')); })()"
    )
    assert 0 < page.evaluate(count) < 240
    page.evaluate(
        "(() => { const box = document.querySelector('.tools input'); box.value = ''; box.dispatchEvent(new Event('input')); })()"
    )
    page.evaluate(
        "(() => { const box = document.querySelectorAll('.tools select')[1]; box.value = 'p';"
        " box.dispatchEvent(new Event('change')); })()"
    )
    results = page.evaluate(
        "[...document.querySelectorAll('#trades .list > *')].map((each) => Number(each.dataset.p))"
    )
    assert results == sorted(results, reverse=True)
    box = page.evaluate(
        "(() => { const plot = document.querySelector('[data-h]'); plot.scrollIntoView({block: 'center', behavior: 'instant'});"
        " const box = plot.getBoundingClientRect(); return [box.left + box.width / 2, box.top + 40]; })()"
    )
    page.move(*box)
    assert re.fullmatch(
        r"\d+ \w+ 2026 [\d:]+: \$[\d,.]+ \(.\$[\d,.]+\)",
        page.evaluate("document.querySelector('.tip').textContent"),
    )
    assert page.evaluate("document.querySelector('.tip').checkVisibility()")


def test_without_scripts_everything_is_there_and_it_prints(
    page: Page, document: Path, artefacts: Path
) -> None:
    page.screen(1280)
    page.without_scripts()
    page.open(document)
    page.photograph(artefacts / "without-scripts.png", 1280)
    printed = artefacts / "report.pdf"
    page.print(printed)
    assert printed.read_bytes().startswith(b"%PDF-")
    sheets = len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
    assert 5 <= sheets <= 40


def test_a_thousand_trades_are_a_page_of_a_few_megabytes_that_opens_at_once(
    page: Page, tmp_path: Path
) -> None:
    ledger, prices = big_ledger(1_000)
    path = tmp_path / "big.html"
    write_report(ledger, prices, path, title="Big", tz="America/New_York", capital=100_000 * NANO)
    assert path.stat().st_size < 3.2e6
    page.screen(1280)
    page.open(path)
    assert page.evaluate("document.querySelectorAll('details.trade').length") == 1_000
    assert page.evaluate("performance.getEntriesByType('navigation')[0].domComplete") < 5_000


def test_a_session_in_which_nothing_happened_says_so(page: Page, artefacts: Path) -> None:
    path = artefacts / "empty.html"
    write_report(empty_ledger(), NoPrices(), path, title="Nothing yet")
    page.open(path)
    page.screen(390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    text = page.evaluate("document.body.innerText")
    assert "nothing is recorded" in text
    assert "No trade was opened" in text
    assert not re.search(r"\bNaN\b|\bNone\b|\bnull\b|undefined", text)
    page.photograph(artefacts / "empty.png", 390)
