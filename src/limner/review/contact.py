"""The contact sheet: every picture as it is, its decision and scores in a strip below it.

In: a project's takes, measures and decisions, or a reviewed folder. Out: a PNG and an HTML page.
The strip lies below the picture, never on it, so that nothing hides what is judged.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.errors import InputError, NotReadyError
from limner.project import Project
from limner.project.files import write_bytes, write_json
from limner.project.records import Measure
from limner.review.case import Judgement
from limner.review.folder import FolderReview
from limner.review.page import Tile, write_page
from limner.review.rules import kind_of, rules
from limner.review.stage import CALIBRATION, budget, look_at
from limner.vision.pictures import open_picture

TILE, STRIP, GAP, COLUMNS = 224, 62, 8, 8
MOST = 400
"""Pictures on the PNG: a project's newest, a folder's first. The page shows who needs a person."""
PAPER, INK, FAINT = (243, 243, 243), (23, 23, 23), (99, 99, 99)
"""The look's tokens: greys without a hue, so that the surround tints no skin."""
MARKS = {"keep": (10, 107, 85), "reject": (72, 72, 72), "undecided": (152, 71, 0)}
NO_PICTURE = (233, 233, 233)
PAGE = "contact_sheet.html"


def contact_sheet(project: Project, *, columns: int = COLUMNS) -> Path:
    """Write takes/contact_sheet.png, and the page beside it, and return the PNG.

    Raises NotReadyError without done takes.
    """
    takes = project.store.takes(state="done")
    if not takes:
        raise NotReadyError("There are no takes to show", fix="Make some with `limner generate`.")
    table = rules(
        project.character.review.thresholds, short_side=project.character.source.short_side
    )
    standing = project.store.standing_decisions()
    picked = {take.id for take in look_at(project, table["manual_share"].value)}
    tiles = []
    for take in takes:
        decision = standing.get(take.id)
        note = "drawing" if kind_of(take.source, take.labels) == "drawing" else ""
        if decision and decision.author != "rule":
            note = f"by {decision.author}"
        tiles.append(
            Tile(
                f"{take.shot_id}  take {take.id}",
                project.path(take.path) if take.path else None,
                decision.verdict if decision else None,
                decision.reasons if decision else (),
                project.store.measures(take.id),
                note,
                take.id in picked,
                take.id,
            )
        )
    path = project.folder("takes") / "contact_sheet.png"
    write_bytes(path, draw(tiles[-MOST:], columns))
    notes = [budget(project, table)["said"] + "."]
    if picked:
        notes.append(
            f"{len(picked)} kept takes were picked at random and marked: look at them, "
            "nobody has measured hands, teeth and jewellery."
        )
    name = project.character.name
    write_page(path.with_name(PAGE), name, tiles, calibration=_calibration(project), notes=notes)
    return path


def _calibration(project: Project) -> dict[str, Any]:
    try:
        text = (project.root / ".limner" / CALIBRATION).read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return {}
    return found


def write_folder_sheets(found: FolderReview, out: Path) -> dict[str, str]:
    """Write page, sheet and answer of a reviewed folder into `out`; returns their paths."""
    tiles = [_tile(path, one) for path, one in zip(found.files, found.judged, strict=True)]
    write_bytes(out / "contact_sheet.png", draw(tiles[:MOST], COLUMNS))
    calibration = found.answer["calibration"]
    page = write_page(out / PAGE, Path(found.answer["folder"]).name, tiles, calibration=calibration)
    write_json(out / "review.json", found.answer)
    return {"page": str(page), "contact_sheet": str(out / "contact_sheet.png")}


def _tile(path: Path, one: Judgement) -> Tile:
    note = "drawing" if one.case.kind == "drawing" else ""
    return Tile(one.case.called, path, one.verdict, one.reasons, one.measures, note)


def draw(tiles: Sequence[Tile], columns: int = COLUMNS) -> bytes:
    """The sheet as PNG bytes, in the order of the tiles."""
    from PIL import Image, ImageDraw

    columns = max(1, min(columns, len(tiles)))
    rows = -(-len(tiles) // columns)
    size = (columns * (TILE + GAP) + GAP, rows * (TILE + STRIP + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    canvas = ImageDraw.Draw(sheet)
    for i, tile in enumerate(tiles):
        x = GAP + (i % columns) * (TILE + GAP)
        y = GAP + (i // columns) * (TILE + STRIP + GAP)
        sheet.paste(_picture(tile.path), (x, y))
        _strip(canvas, x, y + TILE, tile)
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _picture(path: Path | None) -> Any:
    from PIL import Image

    tile = Image.new("RGB", (TILE, TILE), NO_PICTURE)
    try:
        if path is None:
            return tile
        picture = Image.fromarray(open_picture(path))
    except InputError:
        return tile
    picture.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
    return tile


def _strip(canvas: Any, x: int, y: int, tile: Tile) -> None:
    from PIL import ImageFont

    font, small = ImageFont.load_default(13), ImageFont.load_default(11)
    verdict = tile.verdict or "not reviewed"
    canvas.rectangle((x, y, x + 3, y + STRIP - 4), fill=MARKS.get(verdict, FAINT))
    by = tile.note if tile.note.startswith("by ") else ""
    title = f"{tile.name}  {tile.note}" if tile.note and not by else tile.name
    canvas.text((x + 9, y + 2), _fit(canvas, title, font, TILE - 12), font=font, fill=INK)
    said = f"{verdict} {by}".strip() + ("  look at this one" if tile.picked else "")
    canvas.text((x + 9, y + 18), said, font=small, fill=MARKS.get(verdict, FAINT))
    scores = "  ".join(
        f"{label} {_number(tile.measures.get(name), digits)}"
        for label, name, digits in (
            ("dlib", "identity_dlib", 2),
            ("drawn", "identity_drawn", 2),
            ("sharp", "sharpness", 0),
        )
    )
    canvas.text((x + 9, y + 32), scores, font=small, fill=INK)
    reason = "; ".join(tile.reasons) if tile.verdict != "keep" else ""
    canvas.text((x + 9, y + 46), _fit(canvas, reason, small, TILE - 12), font=small, fill=FAINT)


def _number(measure: Measure | None, digits: int) -> str:
    """A value, or a dash for "not measured" (never 0)."""
    if measure is None or measure.value is None:
        return "-"
    return f"{measure.value:.{digits}f}"


def _fit(canvas: Any, text: str, font: Any, width: int) -> str:
    if canvas.textlength(text, font=font) <= width:
        return text
    while text and canvas.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
