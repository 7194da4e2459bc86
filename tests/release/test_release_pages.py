"""The report in a real browser: any width, both themes, keyboard, paper, no network.

Needs Debian's Chromium (`apt-get install chromium`); without it these tests are skipped by name.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.project import Project
from limner.release import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 180_000  # ms: a busy machine is no fault of the page
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: the report was not looked at in a browser"
)

CONTRAST = """() => {
  const lum = c => { const v = c.map(x => x / 255).map(x => x <= .04045 ? x / 12.92 :
    ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const rgb = s => s.match(/[\\d.]+/g).map(Number);
  const under = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e)
    .backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); }
    return [255, 255, 255]; };
  let worst = [99, ''];
  for (const e of document.querySelectorAll('main *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest('svg')) continue;
    const a = lum(rgb(getComputedStyle(e).color).slice(0, 3)), b = lum(under(e));
    const c = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (c < worst[0]) worst = [c, e.className + ': ' + e.textContent.slice(0, 40)];
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(finished, tmp_path_factory.mktemp("page") / "report.html")


def open_page(browser: Any, file: Path, width: int, theme: str = "light") -> tuple[Any, list[str]]:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=True
    )
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(PATIENCE)
    page.goto(file.as_uri())
    return page, asked


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_reads_and_asks_nobody(
    browser: Any, page_file: Path, width: int, theme: str
) -> None:
    page, asked = open_page(browser, page_file, width, theme)
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    worst, where = page.evaluate(CONTRAST)
    assert worst >= 4.5, f"{worst:.2f} : 1 at {where}"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 19, 19)"
    assert dark == (theme == "dark")
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_rulers_stand_where_the_numbers_say(browser: Any, page_file: Path) -> None:
    """54 of 60 at 90 % of the ruler, the goal's tick on it, the base's diamond at 1.7 %."""
    page, _ = open_page(browser, page_file, 1440)
    places = page.evaluate("""() => [...document.querySelectorAll('.intervals .ruler b')].map(b => {
        const r = b.parentElement.getBoundingClientRect(), d = b.getBoundingClientRect();
        return d.width ? ((d.left + d.right) / 2 - r.left) / r.width : null; })""")
    assert places[0] == pytest.approx(0.9, abs=0.004)
    assert len(places) == 4  # of five rows: one was not measured and has no dot
    assert places[-1] == pytest.approx(1 / 60, abs=0.004)


def test_contact_sheet_cells_are_equal_and_scores_stand_below(
    browser: Any, page_file: Path
) -> None:
    page, _ = open_page(browser, page_file, 1440)
    boxes = page.evaluate("""() => [...document.querySelectorAll('#shots .take')].map(t => {
        const p = t.querySelector('.picture').getBoundingClientRect();
        const s = t.querySelector('.strip').getBoundingClientRect();
        return [p.width, p.height, s.top - p.bottom]; })""")
    widths = {round(w, 1) for w, _, _ in boxes}
    assert len(boxes) == 8 and len(widths) == 1
    assert all(abs(w - h) < 1 and gap >= 0 for w, h, gap in boxes)


def test_the_keyboard_is_always_seen(browser: Any, page_file: Path) -> None:
    page, _ = open_page(browser, page_file, 1440)
    seen = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        style = page.evaluate("""() => { const e = document.activeElement; if (e === document.body)
            return null; const s = getComputedStyle(e), r = e.getBoundingClientRect();
            const says = e.textContent || e.ariaLabel;
            return [says, s.outlineStyle, s.outlineWidth, r.left >= 0]; }""")
        if style is None:
            break
        assert style[1] != "none" and style[2] == "2px" and style[3], style[0]
        seen.add(style[0].strip()[:30])
    assert {"Skip to the pictures", "the counts", "the receipt"} <= seen


def test_it_prints_on_a4_in_light_colours(browser: Any, page_file: Path) -> None:
    page, _ = open_page(browser, page_file, 1440, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = page.pdf(prefer_css_page_size=True)
    boxes = set(re.findall(rb"/MediaBox \[([\d. ]+)\]", pdf))
    assert boxes == {b"0 0 594.95996 841.91998"} or all(
        abs(float(box.split()[2]) - 595.3) < 1 and abs(float(box.split()[3]) - 841.9) < 1
        for box in boxes
    )
    assert 1 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 4


def test_it_reads_without_script(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(page_file.as_uri())
    assert page.locator("h1").inner_text().startswith("Step 200 at strength 1")
