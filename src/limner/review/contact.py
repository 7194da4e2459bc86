"""The contact sheet: every take as it is, its decision and scores in a strip below it.

In: a project's takes, measures and decisions. Out: takes/contact_sheet.png. The strip lies below
the picture, never on it, so that nothing hides what is judged.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from limner.errors import InputError, NotReadyError
from limner.project import Project
from limner.project.files import write_bytes
from limner.project.records import Decision, Measure, Take
from limner.review.rules import kind_of
from limner.vision.pictures import open_picture

TILE, STRIP, GAP, COLUMNS = 224, 62, 8, 8
MOST = 400
"""Takes on one sheet; the newest are shown when there are more."""
PAPER, INK, FAINT = (246, 244, 239), (34, 34, 38), (110, 110, 116)
MARKS = {"keep": (38, 116, 74), "reject": (164, 46, 42), "undecided": (150, 104, 20)}
NO_PICTURE = (224, 220, 212)


def contact_sheet(project: Project, *, columns: int = COLUMNS) -> Path:
    """Write takes/contact_sheet.png and return it. Raises NotReadyError without done takes."""
    from PIL import Image, ImageDraw

    takes = project.store.takes(state="done")[-MOST:]
    if not takes:
        raise NotReadyError("There are no takes to show", fix="Make some with `limner generate`.")
    standing = project.store.standing_decisions()
    columns = max(1, min(columns, len(takes)))
    rows = -(-len(takes) // columns)
    size = (columns * (TILE + GAP) + GAP, rows * (TILE + STRIP + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, take in enumerate(takes):
        x = GAP + (i % columns) * (TILE + GAP)
        y = GAP + (i // columns) * (TILE + STRIP + GAP)
        sheet.paste(_picture(project, take), (x, y))
        _strip(draw, x, y + TILE, take, standing.get(take.id), project.store.measures(take.id))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    path = project.folder("takes") / "contact_sheet.png"
    write_bytes(path, out.getvalue())
    return path


def _picture(project: Project, take: Take) -> Any:
    from PIL import Image

    tile = Image.new("RGB", (TILE, TILE), NO_PICTURE)
    try:
        if take.path is None:
            return tile
        picture = Image.fromarray(open_picture(project.path(take.path)))
    except InputError:
        return tile
    picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    return tile


def _strip(
    draw: Any, x: int, y: int, take: Take, decision: Decision | None, found: dict[str, Measure]
) -> None:
    from PIL import ImageFont

    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    verdict = decision.verdict if decision else "not reviewed"
    by = f" by {decision.author}" if decision and decision.author != "rule" else ""
    draw.rectangle((x, y, x + 3, y + STRIP - 4), fill=MARKS.get(verdict, FAINT))
    title = f"{take.shot_id}  take {take.id}"
    if kind_of(take.source) == "drawing":
        title += "  drawing"
    draw.text((x + 9, y + 2), title, font=font, fill=INK)
    draw.text((x + 9, y + 18), f"{verdict}{by}", font=small, fill=MARKS.get(verdict, FAINT))
    scores = "  ".join(
        f"{label} {_number(found.get(name), digits)}"
        for label, name, digits in (
            ("E1", "identity_dlib", 2),
            ("E2", "identity_drawn", 2),
            ("sharp", "sharpness", 0),
        )
    )
    draw.text((x + 9, y + 32), scores, font=small, fill=INK)
    reason = "; ".join(decision.reasons) if decision and decision.verdict != "keep" else ""
    draw.text((x + 9, y + 46), _fit(draw, reason, small, TILE - 12), font=small, fill=FAINT)


def _number(measure: Measure | None, digits: int) -> str:
    """A value, or a dash for "not measured" (never 0)."""
    if measure is None or measure.value is None:
        return "-"
    return f"{measure.value:.{digits}f}"


def _fit(draw: Any, text: str, font: Any, width: int) -> str:
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
