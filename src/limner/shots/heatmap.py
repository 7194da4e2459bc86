"""The heat map of a set: prompts by angle and expression, as lines of text and as a PNG.

In: a `Grid`. Out: lines for a terminal; bytes of a PNG. A cell that should hold prompts and holds
none is marked as a hole in both.
"""

from __future__ import annotations

import io
from math import ceil
from typing import TYPE_CHECKING

from limner.shots.items import Grid

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

SHADES = " ░▒▓█"
HOLE = "·"
CELL, HEAD, LEFT, PAD = (132, 84), 132, 210, 28
"""Pixels of a cell, of the head with title and columns, of the row names, and of the margin."""
INK, MUTED, PAPER, LINE = (23, 23, 23), (99, 99, 99), (255, 255, 255), (218, 218, 218)
LOW, HIGH, WARN = (223, 230, 246), (138, 157, 207), (152, 71, 0)
"""The look's tokens on paper: ink, grey, blue for what is measured (from its soft tint to where ink
still stands at more than 6:1), orange for what a person should look at."""


def holes(grid: Grid) -> list[tuple[str, str]]:
    """Cells that should hold at least one prompt (rounded) and hold none."""
    return [cell for cell, n in grid.wanted.items() if round(n) >= 1 and not grid.counts.get(cell)]


def as_lines(grid: Grid) -> list[str]:
    """The grid as text: numbers with a shade; a hole is a middle dot and says what is missing."""
    names = [_spoken(c) for c in grid.columns]
    wide = max([13, *map(len, names)]) + 1
    left = max([len(_spoken(r)) for r in grid.rows] + [5]) + 1
    most = max([*grid.counts.values(), 1])
    empty = set(holes(grid))
    lines = [" " * left + "".join(name.rjust(wide) for name in names) + "total".rjust(8)]
    for row in grid.rows:
        cells = []
        for column in grid.columns:
            n = grid.counts.get((row, column), 0)
            if (row, column) in empty:
                cell = f"{HOLE} 0 of {round(grid.wanted[row, column])}"
            else:
                cell = f"{SHADES[ceil(n / most * (len(SHADES) - 1))] * 2} {n:>3}"
            cells.append(cell.rjust(wide))
        total = sum(n for (r, _), n in grid.counts.items() if r == row)
        lines.append(_spoken(row).ljust(left) + "".join(cells) + str(total).rjust(8))
    if empty:
        lines.append(f"{HOLE} = a hole: the shares ask for prompts here and there are none")
    if grid.left_out:
        lines.append(f"{grid.left_out} prompts are not in it: their angle or expression is unknown")
    return lines


def as_png(grid: Grid, title: str = "Prompts by angle and expression") -> bytes:
    """The grid as a picture (light, about 900 px wide), every number readable in it."""
    from PIL import Image, ImageDraw, ImageFont

    width = LEFT + CELL[0] * len(grid.columns) + PAD * 2
    height = HEAD + CELL[1] * max(len(grid.rows), 1) + PAD * 2 + 34
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    large, usual, small = (ImageFont.load_default(size) for size in (22, 17, 14))
    draw.text((PAD, PAD), title, INK, font=large)
    told = f"{sum(grid.counts.values())} prompts"
    if grid.left_out:
        told += f"; {grid.left_out} more do not say their angle or expression"
    draw.text((PAD, PAD + 34), told, MUTED, font=small)
    for j, column in enumerate(grid.columns):
        x = PAD + LEFT + CELL[0] * j + CELL[0] // 2
        draw.text((x, HEAD + 8), _spoken(column), INK, font=small, anchor="mm")
    for i, row in enumerate(grid.rows):
        y = HEAD + PAD + CELL[1] * i
        draw.text((PAD, y + CELL[1] // 2), _spoken(row), INK, font=usual, anchor="lm")
        for j, column in enumerate(grid.columns):
            _draw_cell(draw, grid, (row, column), (PAD + LEFT + CELL[0] * j, y), usual, small)
    foot = "A dashed cell is a hole: the shares ask for prompts and there are none."
    if holes(grid):
        draw.text((PAD, height - PAD - 12), foot, WARN, font=small)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _draw_cell(
    draw: ImageDraw.ImageDraw,
    grid: Grid,
    cell: tuple[str, str],
    at: tuple[int, int],
    usual: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    small: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    n = grid.counts.get(cell, 0)
    share = n / max([*grid.counts.values(), 1])
    box = (at[0] + 2, at[1] + 2, at[0] + CELL[0] - 3, at[1] + CELL[1] - 3)
    middle = (at[0] + CELL[0] // 2, at[1] + CELL[1] // 2)
    if cell in holes(grid):
        _dashed(draw, box)
        draw.text((middle[0], middle[1] - 9), "0", WARN, font=usual, anchor="mm")
        asked = f"asked: {round(grid.wanted[cell])}"
        draw.text((middle[0], middle[1] + 14), asked, WARN, font=small, anchor="mm")
        return
    r, g, b = (round(low + (high - low) * share) for low, high in zip(LOW, HIGH, strict=True))
    draw.rectangle(box, fill=(r, g, b) if n else PAPER, outline=LINE)
    ink = INK if n else MUTED
    draw.text((middle[0], middle[1] - 9 * bool(grid.wanted)), str(n), ink, font=usual, anchor="mm")
    if cell in grid.wanted:
        asked = f"asked: {grid.wanted[cell]:.1f}"
        draw.text((middle[0], middle[1] + 14), asked, ink, font=small, anchor="mm")


def _dashed(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    for x in range(left, right, 10):
        draw.line((x, top, min(x + 5, right), top), fill=WARN, width=2)
        draw.line((x, bottom, min(x + 5, right), bottom), fill=WARN, width=2)
    for y in range(top, bottom, 10):
        draw.line((left, y, left, min(y + 5, bottom)), fill=WARN, width=2)
        draw.line((right, y, right, min(y + 5, bottom)), fill=WARN, width=2)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
