"""Pictures of the pages for the manual, from a finished demo project: docs/img/*.webp.

In: a project (`limner demo --keep demo`). Out: one picture a stage, as a browser shows the page.
Needs Debian's Chromium. `python scripts/build_pictures.py demo`
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from limner.cli.shell import run
from limner.project import Project
from limner.review import contact_sheet

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"
WIDTH = 1100
PARTS = (
    ("review", "review.html", ("h1", "#pictures > section:nth-of-type(1)"), 780),
    ("captions", "captions.html", ("#captions", "#captions"), 520),
    ("watch", "watch.html", ("h1", ".legend"), 640),
    ("report", "report.html", (".opening .verdict", "#identity"), 900),
    ("checkpoints", "report.html", ("#checkpoints", "#checkpoints"), 640),
    ("advice", "report.html", ("#advice", "#advice"), 460),
)
"""Name, page, first and last element shown, most pixels high."""
SPOILED = (
    "a woman with auburn hair and green eyes, standing in a park, smiling",
    "{}, professional lighting, masterpiece, 8k",
)
"""Captions as people write them, so that the page of the check has something to show."""


def pages(project: Path, out: Path) -> None:
    """Every page of the project, written into `out`."""
    opened = Project.open(project)
    sheet = contact_sheet(opened)
    shutil.copy(sheet.with_suffix(".html"), out / "review.html")
    folder = next((project / "dataset").glob("*_*"))
    spoiled = out / "pictures"
    shutil.copytree(folder, spoiled)
    for file, text in zip(sorted(spoiled.glob("*.txt")), SPOILED, strict=False):
        file.write_text(text.format(file.read_text()))
    trigger = opened.character.trigger
    run(["-C", str(project), "advise"])
    run(["-C", str(project), "report", "--out", str(out / "report.html")])
    run(["watch", str(project), "--once", "--html", str(out / "watch.html")])
    with contextlib.chdir(out):
        run(["captions", "check", spoiled.name, "--trigger", trigger, "--page", "captions.html"])
    run(["-C", str(project), "shots", "check", "--heatmap", str(IMAGES / "shots.png")])


def shoot(out: Path) -> None:
    """The parts named above, as WebP."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, page, (first, last), most in PARTS:
            view = browser.new_page(viewport={"width": WIDTH, "height": 2 * most})
            view.goto((out / page).as_uri())
            top = _box(view, first)["y"] - 16
            end = _box(view, last)
            height = min(end["y"] + end["height"] - top, most)
            clip = {"x": 0, "y": top, "width": WIDTH, "height": height}
            picture = Image.open(io.BytesIO(view.screenshot(full_page=True, clip=clip)))
            picture.convert("RGB").save(IMAGES / f"{name}.webp", "WEBP", quality=80, method=6)
            view.close()
        browser.close()


def _box(view: Any, selector: str) -> dict[str, float]:
    found: dict[str, float] = view.locator(selector).first.bounding_box()
    return found


def main() -> None:
    """Write docs/img."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("project", type=Path)
    project = parser.parse_args().project
    with tempfile.TemporaryDirectory() as folder:
        pages(project, Path(folder))
        shoot(Path(folder))


if __name__ == "__main__":
    main()
