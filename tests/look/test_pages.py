"""Every page but the report's (tests/release): any width, both themes, keyboard, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import eyes
from limner.captions import page as captions
from limner.captions.audit import examine
from limner.captions.folder import open_sheet
from limner.pipeline import watching
from limner.project.records import Measure
from limner.review import page as review
from limner.training.watch import Watch
from limner.training.watch.flags import Machine

pytestmark = pytest.mark.skipif(
    eyes.CHROMIUM is None, reason="chromium is not installed: no page was looked at in a browser"
)
SEEN = {
    "identity_dlib": Measure("identity_dlib", 0.61, "cosine"),
    "sharpness": Measure("sharpness", 1460.0, ""),
    "yaw": Measure("yaw", None, "", "no face of 24 px or more found"),
}


def reviewed(at: Path) -> Path:
    """Every state of a take: long names, long reasons, a file that is gone, measures missing."""
    Image.new("RGB", (64, 80), "grey").save(at / "a.png")
    states: list[tuple[Any, tuple[str, ...]]] = [
        ("undecided", ("identity is doubtful (dlib 0.59, drawn 0.87)", "soft")),
        ("reject", ("x" * 90,)),
        *[("keep", ())] * 9,
        (None, ()),
    ]
    tiles = [
        review.Tile(
            f"shot_{n:03}_{'long' * 9 if n == 1 else ''}  take {n}",
            at / ("gone.png" if n == 2 else "a.png"),
            verdict,
            reasons,
            SEEN if verdict else {},
            "drawing",
            picked=n == 4,
            take=n,
        )
        for n, (verdict, reasons) in enumerate(states, 1)
    ]
    odds = {"characters": 6, "source": "a bench " * 8, "reject_below": -1.0, "doubt_below": 0.2}
    return review.write_page(at / "r.html", "grace", tiles, calibration={"odds_drawing": odds})


def captioned(at: Path) -> Path:
    """Findings with and without a mend, a picture without words, words without a picture."""
    for n in range(12):
        Image.new("RGB", (64, 64), (n, 0, 0)).save(at / f"{n}.png")
        words = "very" + "long" * 30 if n == 1 else f"place {n}"
        (at / f"{n}.txt").write_text(f"grace_char, looking at camera, {words}")
    (at / "x.txt").write_text("hat, 85mm, brown eyes\u200b")
    (at / "11.txt").unlink()
    out = at.with_suffix(".html")
    out.write_text(captions.render(open_sheet(at), examine(at, trigger="grace_char"), at))
    return out


def watched(at: Path) -> Path:
    """A run with a curve, samples, a broken sample, files, an error and a note."""
    rows = [{"step": n, "loss": 0.5 + n % 7 / 50, "learning_rate": 1e-4} for n in range(1, 120)]
    rows.append({"step": 120, "loss": float("nan")})
    (at / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (at / "samples").mkdir()
    for step in (40, 80):
        for n in range(3):
            file = at / "samples" / f"{'long_' * 12}{step:06d}_{n:02d}_1.png"
            Image.new("RGB", (64, 64), (n * 80, step, 0)).save(file)
    (at / "samples" / "x_000080_03_1.png").write_bytes(b"no picture")
    (at / f"{'grace' * 9}-step00000040.safetensors").write_bytes(b"0" * 900)
    (at / "train.log").write_text("RuntimeError: it broke " + "far/away/" * 12 + "\n")
    now = Watch(at).look(Machine(disk_free_gb=0.5))
    assert now["flags"] and now["checkpoints"] and now["samples"] and now["loss"]
    return watching.write_page(now, at / "w.html")


PAGES = {
    "review": (reviewed, {"Skip to the pictures", "a person should look", "what the scores are"}),
    "captions": (
        captioned,
        {"Skip to the captions", "not measured", "Save it as UTF-8, one line, without the fault."},
    ),
    "watch": (watched, {"Skip to the samples"}),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with eyes.browser() as opened:
        yield opened


@pytest.mark.parametrize("name", PAGES)
def test_it_reads_for_anyone(browser: Any, name: str, tmp_path: Path) -> None:
    make, reached = PAGES[name]
    (tmp_path / "p").mkdir()
    file = make(tmp_path / "p")
    for width in (390, 1280):
        for theme in eyes.GROUNDS:
            page = eyes.read_by_anyone(browser, file, width, theme)
    tabbed = eyes.tabbed(page)
    assert reached <= tabbed, tabbed


def test_a_mend_opens_by_the_keyboard(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    page, _ = eyes.open_page(browser, captioned(tmp_path / "p"), 390)
    codes = page.locator("code.code").all_inner_texts()
    assert "limner captions check --ask 8" in codes and not any("`" in code for code in codes)
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")  # without a script
    assert page.evaluate("document.querySelector('details').open")


def test_kept_pictures_stand_side_by_side_on_a_phone(browser: Any, tmp_path: Path) -> None:
    file = reviewed(tmp_path)
    for width, columns in ((390, 2), (1280, 4)):
        page, _ = eyes.open_page(browser, file, width)
        kept = page.evaluate(
            "getComputedStyle(document.querySelector('.tiles.small'))"
            ".gridTemplateColumns.split(' ').length"
        )
        assert kept == columns and page.get_by_text("look at this one").is_visible()
        boxes = page.evaluate("""() => [...document.querySelectorAll('.print')].map(p => {
            const r = p.getBoundingClientRect(); return [r.width, r.height]; })""")
        assert all(abs(w - h) < 1 for w, h in boxes), "a tall picture does not move its row"
