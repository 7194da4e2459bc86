"""Figures for a README: the verdict's interval dots and the contact sheet, as PNG.

In: a project. Out: a PNG in the look's light colours, twice the size for dense screens. The same
grammar as the report: dot = estimate, bar = 95 % interval, tick = goal, diamond = control.
"""

from __future__ import annotations

import io
import math
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner import look
from limner.errors import NotReadyError
from limner.project import Project, files
from limner.release import reading, story

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

SCALE = 2  # drawn at twice the size
WIDTH = 960
ROW = 46
MARGIN = 28
NAME_WIDTH, READ_WIDTH = 250, 150
SHEET_COLUMNS, SHEET_CELL, SHEET_GAP = 10, 88, 6


@cache
def colours() -> dict[str, str]:
    """The light theme's roles from tokens.css: `ground` -> `#f3f3f3`."""
    text = look.text("tokens.css")
    light = text[text.index('[data-theme="light"]') : text.index("/* dark:")]
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", light))


def verdict_figure(project: Project, out: Path) -> Path:
    """Write the interval dots of the newest verdict. Raises NotReadyError without one."""
    read = story.newest_reading(project)
    if read is None or not read.rates:
        raise NotReadyError("There is no verdict to draw", fix="limner evaluate, limner verdict")
    lines = _wrapped(read.sentence, 62)
    head = MARGIN + 18 + 34 * len(lines) + 16
    height = head + ROW * len(read.rates) + 44
    canvas, pen = _canvas(WIDTH, height)
    ink = colours()
    role = {"ok": "ok", "attention": "attention"}.get(read.state[1], "ink-3")
    _text(pen, MARGIN, MARGIN, read.label, 14, ink[role], bold=True)
    for number, words in enumerate(lines):
        _text(pen, MARGIN, MARGIN + 24 + 34 * number, words, 27, ink["ink"], bold=True)
    for number, rate in enumerate(read.rates):
        _rate_row(pen, head + ROW * number, rate, read.goal)
    _share_axis(pen, head + ROW * len(read.rates), read.goal)
    return _save(canvas, out)


def contact_figure(project: Project, out: Path) -> Path:
    """Write the kept pictures as equal cells, numbers below. Raises NotReadyError."""
    from PIL import Image, ImageOps

    store = project.store
    kept = [(store.shot(t.shot_id), t) for t in store.kept() if t.path]
    if not kept:
        raise NotReadyError("No picture is kept yet", fix="limner generate, limner review")
    rows = math.ceil(len(kept) / SHEET_COLUMNS)
    step, line = SHEET_CELL + SHEET_GAP, SHEET_CELL + 20
    columns = min(SHEET_COLUMNS, len(kept))
    foot = _about(project)
    width = 2 * MARGIN + max(columns * step - SHEET_GAP, 420)
    canvas, pen = _canvas(width, 2 * MARGIN + rows * line + 22)
    for index, (shot, take) in enumerate(kept):
        x = MARGIN + index % SHEET_COLUMNS * step
        y = MARGIN + index // SHEET_COLUMNS * line
        with Image.open(project.path(take.path or "")) as image:
            side = SHEET_CELL * SCALE
            cell = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
        canvas.paste(cell, (x * SCALE, y * SCALE))
        number = f"{shot.position:02d}" if shot else ""
        _text(pen, x, y + SHEET_CELL + 3, number, 11, colours()["ink-2"])
    _text(pen, MARGIN, MARGIN + rows * line + 4, foot, 12, colours()["ink-3"])
    return _save(canvas, out)


def _about(project: Project) -> str:
    read = story.newest_reading(project)
    run = story.judged_run(project, read)
    return story.about_pictures(story.subject(project, run, read))


def _rate_row(pen: ImageDraw, y: int, rate: reading.Rate, goal: float | None) -> None:
    ink, middle = colours(), y + ROW // 2
    left, right = MARGIN + NAME_WIDTH, WIDTH - MARGIN - READ_WIDTH
    _line(pen, MARGIN, y, WIDTH - MARGIN, y, ink["line"])
    _text(pen, MARGIN, y + 7, rate.name, 13, ink["ink"])
    _text(pen, MARGIN, y + 24, rate.note, 11, ink["ink-3"])
    end = WIDTH - MARGIN
    if rate.share is None:
        for x in range(left, right, 8):
            _line(pen, x, middle, x + 4, middle, ink["edge"])
        _text(pen, end, y + 7, "not measured", 13, ink["ink-3"], right=True)
        _text(pen, end, y + 24, rate.reason, 11, ink["ink-3"], right=True)
        return
    _text(pen, end, y + 7, rate.words, 13, ink["ink"], bold=rate.role == "claim", right=True)
    _text(pen, end, y + 24, rate.interval, 11, ink["ink-3"], right=True)

    def at(share: float) -> float:
        return left + (right - left) * share

    _line(pen, left, middle, right, middle, ink["line"])
    control = rate.role not in ("claim", "second")
    solid, soft = (ink["ink-3"], "#b4b4b4") if control else (ink["data"], ink["data-faint"])
    _box(pen, at(rate.low), middle - 3, at(rate.high), middle + 3, soft)
    if goal is not None:
        _line(pen, at(goal), middle - 12, at(goal), middle + 12, ink["ink"])
    spot, size = at(rate.share), 6.5  # points
    if control:
        corners = [
            (spot, middle - size),
            (spot + size, middle),
            (spot, middle + size),
            (spot - size, middle),
        ]
        pen.polygon([(a * SCALE, b * SCALE) for a, b in corners], fill=solid)
    else:
        box = [(spot - size) * SCALE, (middle - size) * SCALE]
        pen.ellipse([*box, (spot + size) * SCALE, (middle + size) * SCALE], fill=solid)


def _share_axis(pen: ImageDraw, y: int, goal: float | None) -> None:
    ink, left, right = colours(), MARGIN + NAME_WIDTH, WIDTH - MARGIN - READ_WIDTH
    _line(pen, left, y, right, y, ink["edge"])
    ticks = [(0.0, "0 %"), (0.25, "25"), (0.5, "50"), (0.75, "75")]
    ticks.append((1.0, "100") if goal is None else (goal, f"goal {100 * goal:g}"))
    for share, words in ticks:
        x = left + (right - left) * share
        _line(pen, x, y, x, y + 4, ink["edge"])
        _text(pen, x, y + 7, words, 11, ink["ink-3"], centre=True)


def _wrapped(text: str, most: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


# ---- drawing in points, on a canvas of SCALE times as many pixels


def _canvas(width: int, height: int) -> tuple[Picture, ImageDraw]:
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (width * SCALE, height * SCALE), colours()["ground"])
    return canvas, ImageDraw.Draw(canvas)


def _line(pen: ImageDraw, x1: float, y1: float, x2: float, y2: float, colour: str) -> None:
    pen.line([x1 * SCALE, y1 * SCALE, x2 * SCALE, y2 * SCALE], fill=colour, width=SCALE)


def _box(pen: ImageDraw, x1: float, y1: float, x2: float, y2: float, colour: str) -> None:
    pen.rectangle([x1 * SCALE, y1 * SCALE, x2 * SCALE, y2 * SCALE], fill=colour)


def _text(
    pen: ImageDraw,
    x: float,
    y: float,
    words: str,
    size: int,
    colour: str,
    *,
    bold: bool = False,
    right: bool = False,
    centre: bool = False,
) -> None:
    place: Any = (x * SCALE, y * SCALE)
    anchor = "ra" if right else "ma" if centre else "la"
    stroke = 0.45 * SCALE * size / 13 if bold else 0  # Pillow carries one weight; a stroke thickens
    pen.text(place, words, fill=colour, font=_font(size), anchor=anchor, stroke_width=stroke)


@cache
def _font(size: int) -> FreeTypeFont | ImageFont:
    """Pillow's own font: the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size * SCALE)


def _save(canvas: Picture, out: Path) -> Path:
    data = io.BytesIO()
    canvas.save(data, "PNG", optimize=True)
    files.write_bytes(out, data.getvalue())
    return out
