"""What a person's eyes and keyboard meet on a page: width, contrast, focus, no network, no mouse.

In: a page's file. Out: asserts that say where it fails. Needs Debian's Chromium
(`apt-get install chromium`); tests without it are skipped by name.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 180_000  # ms: a busy machine is no fault of the page
GROUNDS = {"light": "rgb(243, 243, 243)", "dark": "rgb(19, 19, 19)"}
LEAST = 4.5
"""WCAG 2.1 AA for text."""

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
FOCUSED = """() => { const e = document.activeElement; if (e === document.body) return null;
  const s = getComputedStyle(e), r = e.getBoundingClientRect();
  return [(e.textContent || e.ariaLabel).trim(), s.outlineStyle, s.outlineWidth, r.left >= 0]; }"""
SCROLLING = "[...document.querySelectorAll('main *')].filter(e => e.scrollWidth > e.clientWidth + 1"
SCROLLING += " && /auto|scroll/.test(getComputedStyle(e).overflowX)).map(e => e.className)"

WIDE = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right >"
WIDE += " innerWidth).map(e => e.tagName + '.' + e.className + ': ' + e.textContent.slice(0, 40))"


@contextmanager
def browser() -> Iterator[Any]:
    """A browser of this machine."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
        )
        yield opened
        opened.close()


def open_page(browser: Any, file: Path, width: int, theme: str = "light") -> tuple[Any, list[str]]:
    """(page, addresses it asked for)."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(PATIENCE)
    page.goto(file.as_uri())
    return page, asked


def read_by_anyone(browser: Any, file: Path, width: int, theme: str) -> Any:
    """It fits, can be read, asks nobody, and hides no words behind a mouse. Returns the page."""
    page, asked = open_page(browser, file, width, theme)
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width, page.evaluate(WIDE)
    assert page.evaluate(SCROLLING) == []
    worst, where = page.evaluate(CONTRAST)
    assert worst >= LEAST, f"{worst:.2f} : 1 at {where}"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == GROUNDS[theme]
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    assert page.evaluate("[...document.images].filter(i => !i.naturalWidth).length") == 0
    hidden = "[...document.querySelectorAll('main [title]')].map(e => e.title)"
    assert page.evaluate(hidden) == [], "words that only a mouse can read"
    return page


def tabbed(page: Any, most: int = 60) -> set[str]:
    """What the Tab key reaches; each has an outline that is seen."""
    reached = set()
    for _ in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found is None:
            break
        words, outline, thick, inside = found
        assert outline != "none" and thick == "2px" and inside, words
        reached.add(words)
    return reached
