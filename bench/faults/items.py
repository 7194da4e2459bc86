"""The judged pictures: a character's own set, and every planted fault as a file of its own.

In: a drawn cast. Out: files and `Item`s (fault, what the shot asks), the same each time.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from faults import cast, plant
from limner.project.files import write_bytes, write_json
from limner.vision.pictures import open_picture

ASSESSABLE_YAW, ASSESSABLE_PX = 45.0, 32.0
"""By the exact labels: an assessable face is turned by at most 45 degrees and 32 px wide."""


@dataclass(frozen=True)
class Item:
    """One picture. fault: "" for the character's own good set. assessable: its face, by labels."""

    name: str
    file: str
    fault: str
    asked: dict[str, str]
    assessable: bool


def _rng(*words: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(" ".join(map(str, words)).encode()))


def _assessable(row: cast.Row) -> bool:
    x0, _, x1, _ = row.labels["face_box"]
    wide, seen = x1 - x0, bool(row.labels["face_visible"])
    return seen and abs(row.labels["yaw"]) <= ASSESSABLE_YAW and wide >= ASSESSABLE_PX


def build(folder: Path, others: list[Path]) -> list[Item]:
    """All items of a character; files that are there are not made again.

    others: folders of other characters, for strangers and second persons.
    """
    listed = folder / "items.json"
    if listed.is_file():
        return [Item(**i) for i in json.loads(listed.read_text(encoding="utf-8"))]
    rows = {row.name: row for row in cast.read(folder)}
    planted = folder / "planted"
    items: list[Item] = []

    def add(name: str, fault: str, row: cast.Row, data: bytes | None, suffix: str = ".png") -> None:
        file = row.file
        if data is not None:
            file = planted / f"{name}{suffix}"
            write_bytes(file, data)
        items.append(Item(name, str(file), fault, row.asked, _assessable(row)))

    for name, row in rows.items():
        kind = name.split("_")[0]
        if kind != "spare":
            fault = {"good": "", "alike": "look_alike", "noface": "no_face"}.get(
                kind, f"wrong_{kind}"
            )
            add(name, fault, row, None)
    for i in range(4):
        spare = rows[f"spare_{i}"]
        picture = open_picture(spare.file)
        for fault, work in plant.OPERATIONS.items():
            name = f"{fault}_{i}"
            add(name, fault, spare, plant.png(work(picture, _rng(folder.name, name), spare.labels)))
        rng = _rng(folder.name, "two", i)
        add(f"two_people_{i}", "two_people", spare, _second(picture, others, rng))
        add(f"other_identity_{i}", "other_identity", *_stranger(spare, others, rng, i))
    good = [rows[name] for name in sorted(rows) if name.startswith("good")]
    for how in plant.DUPLICATES:
        for i, row in enumerate(_rng(folder.name, how).permutation(len(good))[:2]):
            source = good[row]
            data = plant.duplicate(open_picture(source.file), how, _rng(folder.name, how, i))
            fault = f"duplicate_{how.replace('-', '_')}"
            add(f"{fault}_{i}", fault, source, data, ".jpg" if how == "re-encoded" else ".png")
    write_json(listed, [asdict(i) for i in items])
    return items


def _second(picture: np.ndarray, others: list[Path], rng: np.random.Generator) -> bytes:
    folder = others[int(rng.integers(len(others)))]
    file = folder / "spare_3.png"
    mask = np.asarray(Image.open(file.with_name("spare_3.mask.png")))
    return plant.png(plant.two_people(picture, open_picture(file), mask, rng))


def _stranger(
    spare: cast.Row, others: list[Path], rng: np.random.Generator, i: int
) -> tuple[cast.Row, bytes]:
    """Another character's drawing of the same angle and framing, under this character's shot."""
    folder = others[int(rng.integers(len(others)))]
    row = {r.name: r for r in cast.read(folder)}[f"spare_{i}"]
    shown = cast.Row(row.name, row.file, spare.asked, row.shown, row.labels)
    return shown, row.file.read_bytes()
