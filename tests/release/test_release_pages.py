"""The report in a real browser: any width, both themes, keyboard, paper, no network.

Needs Debian's Chromium (`apt-get install chromium`); without it these tests are skipped by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eyes
from limner.project import Project
from limner.release import report

pytestmark = pytest.mark.skipif(
    eyes.CHROMIUM is None,
    reason="chromium is not installed: the report was not looked at in a browser",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with eyes.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page_file(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(finished, tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("theme", eyes.GROUNDS)
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_reads_and_asks_nobody(
    browser: Any, page_file: Path, width: int, theme: str
) -> None:
    eyes.read_by_anyone(browser, page_file, width, theme)


def test_rulers_stand_where_the_numbers_say(browser: Any, page_file: Path) -> None:
    """54 of 60 at 90 % of the ruler, the goal's tick on it, the base's diamond at 1.7 %."""
    page, _ = eyes.open_page(browser, page_file, 1440)
    places = page.evaluate("""() => [...document.querySelectorAll('.intervals .ruler b')].map(b => {
        const r = b.parentElement.getBoundingClientRect(), d = b.getBoundingClientRect();
        return d.width ? ((d.left + d.right) / 2 - r.left) / r.width : null; })""")
    assert places[0] == pytest.approx(0.9, abs=0.004)
    assert len(places) == 4  # of five rows: one was not measured and has no dot
    assert places[-1] == pytest.approx(1 / 60, abs=0.004)


def test_contact_sheet_cells_are_equal_and_scores_stand_below(
    browser: Any, page_file: Path
) -> None:
    page, _ = eyes.open_page(browser, page_file, 1440)
    boxes = page.evaluate("""() => [...document.querySelectorAll('#shots .take')].map(t => {
        const p = t.querySelector('.picture').getBoundingClientRect();
        const s = t.querySelector('.strip').getBoundingClientRect();
        return [p.width, p.height, s.top - p.bottom]; })""")
    widths = {round(w, 1) for w, _, _ in boxes}
    assert len(boxes) == 8 and len(widths) == 1
    assert all(abs(w - h) < 1 and gap >= 0 for w, h, gap in boxes)


def test_the_keyboard_is_always_seen(browser: Any, page_file: Path) -> None:
    page, _ = eyes.open_page(browser, page_file, 1440)
    assert {"Skip to the pictures", "the counts", "the receipt"} <= eyes.tabbed(page)


def test_it_prints_on_a4_in_light_colours(browser: Any, page_file: Path) -> None:
    page, _ = eyes.open_page(browser, page_file, 1440, "dark")
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
    page.set_default_timeout(eyes.PATIENCE)
    page.goto(page_file.as_uri())
    assert page.locator("h1").inner_text().startswith("Step 200 at strength 1")
