"""The contact sheet as one HTML page: pictures as they are, scores in a strip under them.

In: judged pictures. Out: one file that opens without a network; light, dark, paper, 390 px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner import look
from limner.project.files import write_text
from limner.project.records import Measure, Verdict3

THUMB = 320
"""Longest side of a picture on the page, px."""
MOST = 400
"""Pictures on one page; the worst come first, and the page says how many more there are."""
GLYPHS = {"keep": "g-keep", "undecided": "g-undecided", "reject": "g-reject"}
ORDER = ("undecided", "reject", "keep")
COMMANDS = {"undecided": ("keep", "reject"), "reject": ("keep",)}
"""What a person may say of a picture of this state, as a command under it."""
SHOWN = (
    ("dlib", "identity_dlib", 2, "likeness to the rest of the set by dlib's face network, up to 1"),
    ("drawn", "identity_drawn", 2, "the same by Limner's own network for drawings, up to 1"),
    ("turn", "yaw", 0, "turn of the head, degrees"),
    ("eyes", "eye_distance", 0, "pixels between the eyes"),
    ("face", "face_share", 2, "height of the face over the picture's"),
    ("sharp", "sharpness", 0, "sharpness of the face (variance of its Laplacian); more is sharper"),
    ("noise", "noise", 1, "in the flattest parts, of 255"),
    ("L*", "face_lightness", 0, "lightness of the face, 0 black to 100 white"),
)
"""Label, measure, digits, what it is: the scores under a picture, those that were asked for."""


@dataclass(frozen=True)
class Tile:
    """One picture of the sheet. note: what stands beside its name (`drawing`, `by person`).

    take: its number in a project, by which a person decides on it; None in a folder.
    """

    name: str
    path: Path | None
    verdict: Verdict3 | None
    reasons: Sequence[str]
    measures: Mapping[str, Measure]
    note: str = ""
    picked: bool = False
    take: int | None = None


def write_page(
    path: Path,
    title: str,
    tiles: Sequence[Tile],
    *,
    calibration: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Path:
    """Write the page and return its path. notes: sentences under the verdict."""
    write_text(path, render(title, tiles, calibration=calibration, notes=notes))
    return path


def render(
    title: str, tiles: Sequence[Tile], *, calibration: Mapping[str, Any], notes: Sequence[str] = ()
) -> str:
    """The page as text."""
    count = {verdict: sum(t.verdict == verdict for t in tiles) for verdict in ORDER}
    rows = [row for row in SHOWN if any(row[1] in t.measures for t in tiles)]
    ordered = sorted(tiles, key=lambda t: ORDER.index(t.verdict) if t.verdict else len(ORDER))
    return look.render(
        "limner.review",
        "sheet.html.j2",
        title=title,
        count={**count, "all": len(tiles)},
        sentence=_sentence(count, len(tiles)),
        notes=notes,
        groups=[
            {
                "verdict": verdict,
                "tiles": [_shown(t, rows) for t in ordered[:MOST] if t.verdict == verdict],
            }
            for verdict in (*ORDER, None)
        ],
        waiting=[t.take for t in ordered if t.verdict == "undecided" and t.take is not None],
        decides=any(t.take is not None for t in tiles),
        most=MOST,
        hidden=max(len(tiles) - MOST, 0),
        legend=[(label, means) for label, _, _, means in rows],
        calibration=[_calibrated(name, data) for name, data in calibration.items()],
    )


def _sentence(count: Mapping[str, int], total: int) -> str:
    if count["keep"] == total:
        return "Every picture can be kept."
    if count["undecided"]:
        them = "picture waits" if count["undecided"] == 1 else "pictures wait"
        return f"{count['keep']} of {total} can be kept, {count['undecided']} {them} for your eyes."
    return f"{count['keep']} of {total} can be kept."


def _shown(tile: Tile, rows: Sequence[tuple[str, str, int, str]]) -> dict[str, Any]:
    scores, unread = [], dict[str, list[str]]()
    for label, name, digits, _ in rows:
        measure = tile.measures.get(name)
        if measure is not None and measure.value is not None:
            scores.append((label, f"{measure.value:.{digits}f}"))
        else:
            why = (measure and measure.reason) or "not looked at yet"
            unread.setdefault(why.removeprefix("not assessable: "), []).append(label)
    return {
        "name": tile.name,
        "alt": ", ".join(filter(None, (tile.name, tile.note, tile.verdict or "not reviewed"))),
        "commands": COMMANDS.get(tile.verdict or "", ()) if tile.take is not None else (),
        "take": tile.take,
        "uri": look.thumbnail(tile.path, THUMB, quality=86),
        "verdict": tile.verdict or "not reviewed",
        "glyph": GLYPHS.get(tile.verdict or "", "g-open"),
        "reasons": tile.reasons if tile.verdict != "keep" else [],
        "scores": scores,
        "unread": [
            ("every score" if not scores and len(unread) == 1 else ", ".join(labels), why)
            for why, labels in unread.items()
        ],
        "note": tile.note,
        "picked": tile.picked,
    }


def _calibrated(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """One embedder's calibration as lines a person reads."""
    if "reject_below" in data:
        return {"name": f"both together, {name.replace('_', ' ')}", "rows": _odds(data)}
    if "set_line" not in data:
        rows = [(key.replace("_", " "), _words(value)) for key, value in data.items()]
        return {"name": name.replace("_", " "), "rows": rows}
    rows = [
        ("held against", str(data["against"])),
        ("pictures", str(data["pictures"])),
        ("median likeness", f"{data['median']:.2f} (MAD {data['mad']:.2f})"),
        ("the set's own line", f"{data['set_line']:.2f}"),
    ]
    lines = data["strangers"]
    if isinstance(lines, str):
        rows.append(("strangers", lines))
    else:
        for key, line in lines.items():
            said = f"{line:.2f}" if isinstance(line, float) else _line(line)
            rows.append((f"strangers, {key.replace('_', ' ')}", said))
    return {"name": name, "rows": rows}


def _odds(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How both embedders are weighed together: on whom it was made, what the lines would catch."""
    rows = [
        ("made on", f"{data['characters']} other characters ({data['source']})"),
        ("rejected", f"log odds below {data['reject_below']:.2f}"),
        ("for your eyes", f"log odds below {data['doubt_below']:.2f}"),
    ]
    for who in ("strangers", "look_alikes"):
        if f"{who}_rejected" in data:
            out, doubted = data[f"{who}_rejected"], data[f"{who}_doubted"]
            said = f"{100 * out:.0f} % rejected, {100 * doubted:.0f} % rejected or doubted"
            said += f", of {data[who]}"
            rows.append((f"{who.replace('_', '-')} caught", said))
    return rows


def _line(line: Mapping[str, Any]) -> str:
    return (
        f"from {line['threshold']:.2f}: {line['accepted']} of {line['impostors']} strangers "
        f"pass ({line['source']})"
    )


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)
