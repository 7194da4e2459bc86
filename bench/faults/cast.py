"""Drawing the cast of the planted-fault bench: characters with a planned set and pictures to spoil.

In: a folder and seeds. Out: PNGs and one cast.json a character (file, attributes asked, what is
really shown). A picture that is there is not drawn again, so a stopped run goes on.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from limner.atelier import Character, abilities, identity_from_seed, scene_for
from limner.project.files import write_bytes, write_json
from limner.shots.planner import make_plan

GOOD = 24
"""Pictures of a character's own set, as `limner shots plan` plans them."""
JUDGED, CALIBRATING = 700_000, 600_000
"""First character seeds; the shipped networks were trained on seeds from 1,000,000."""
ALIKE = 50_000
"""A look-alike is the seed this much further, with the same traits and age."""

EXTRA: tuple[tuple[str, dict[str, str], dict[str, str]], ...] = (
    # name, what is asked (over a planned shot), what is drawn instead
    ("spare_0", {"angle": "front", "framing": "close_up"}, {}),
    ("spare_1", {"angle": "front", "framing": "close_up"}, {}),
    ("spare_2", {"angle": "three_quarter", "framing": "close_up"}, {}),
    ("spare_3", {"angle": "front", "framing": "half_body"}, {}),
    ("angle_0", {"angle": "front", "framing": "close_up"}, {"angle": "side"}),
    ("angle_1", {"angle": "side", "framing": "close_up"}, {"angle": "front"}),
    ("angle_2", {"angle": "front", "framing": "half_body"}, {"angle": "back"}),
    ("angle_3", {"angle": "three_quarter", "framing": "close_up"}, {"angle": "side"}),
    ("noface_0", {"angle": "front", "framing": "close_up"}, {"angle": "pure_back"}),
    ("noface_1", {"angle": "three_quarter", "framing": "half_body"}, {"angle": "pure_back"}),
    ("framing_0", {"angle": "front", "framing": "close_up"}, {"framing": "full_body"}),
    ("framing_1", {"angle": "front", "framing": "full_body"}, {"framing": "close_up"}),
    ("framing_2", {"angle": "three_quarter", "framing": "half_body"}, {"framing": "close_up"}),
    ("framing_3", {"angle": "front", "framing": "close_up"}, {"framing": "half_body"}),
    ("alike_0", {"angle": "front", "framing": "close_up"}, {}),
    ("alike_1", {"angle": "front", "framing": "close_up"}, {}),
    ("alike_2", {"angle": "three_quarter", "framing": "close_up"}, {}),
    ("alike_3", {"angle": "front", "framing": "half_body"}, {}),
)


@dataclass(frozen=True)
class Row:
    """One picture: `asked` is the shot's attributes, `shown` what was drawn."""

    name: str
    file: Path
    asked: dict[str, str]
    shown: dict[str, str]
    labels: dict[str, Any]


def identity_of(seed: int, *, alike: bool = False) -> Any:
    """The character of a seed, or the stranger with the same hair, skin, sex, age and face type."""
    own = identity_from_seed(seed)
    if not alike:
        return own
    same = {k: getattr(own, k) for k in ("sex", "age", "skin", "hair_color", "hair_style", "eyes")}
    return identity_from_seed(seed + ALIKE, **same, marks=own.marks, face=own.face)


def _plan(seed: int, sex: str) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    word = "woman" if sex == "female" else "man"
    shots = make_plan(
        count=GOOD + len(EXTRA) + 6, seed=seed, abilities=abilities(), trigger="cast_member",
        class_word=word, moves=2000,
    ).shots  # fmt: skip
    rng = np.random.default_rng(seed)
    order = [shots[i] for i in rng.permutation(len(shots))]
    rows = [(f"good_{i:02d}", dict(s.attributes), {}) for i, s in enumerate(order[:GOOD])]
    for (name, asked, drawn), shot in zip(EXTRA, order[GOOD:], strict=False):
        rows.append((name, {**shot.attributes, **asked}, drawn))
    return rows


def draw(folder: Path, seed: int, size: int) -> Iterator[str]:
    """Draw what is missing of one character; yields the names drawn now."""
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "cast.json"
    if done.is_file():
        return
    who = identity_of(seed)
    people: dict[bool, Character] = {}
    rows = []
    for name, asked, instead in _plan(seed, who.sex):
        shown = {**asked, **instead}
        file, note = folder / f"{name}.png", folder / f"{name}.json"
        if not (file.is_file() and note.is_file()):
            alike = name.startswith("alike")
            if alike not in people:
                people[alike] = Character(identity_of(seed, alike=alike))
            scene = scene_for(shown, zlib.crc32(f"{seed} {name}".encode()))
            drawing = people[alike].draw(scene, size)
            _save(file, drawing.image)
            _save(folder / f"{name}.mask.png", drawing.mask)
            write_json(note, drawing.labels.as_dict())
            yield name
        rows.append({"name": name, "asked": asked, "shown": shown})
    write_json(done, {"seed": seed, "size": size, "identity": who.as_dict(), "rows": rows})


def _save(path: Path, array: np.ndarray) -> None:
    import io

    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    write_bytes(path, out.getvalue())


def read(folder: Path) -> list[Row]:
    """The pictures of a drawn character."""
    cast = json.loads((folder / "cast.json").read_text(encoding="utf-8"))
    return [
        Row(
            r["name"],
            folder / f"{r['name']}.png",
            r["asked"],
            r["shown"],
            json.loads((folder / f"{r['name']}.json").read_text(encoding="utf-8")),
        )
        for r in cast["rows"]
    ]


def draw_all(work: Path, seeds: Mapping[str, list[int]], size: int) -> Iterator[str]:
    """Draw every character; the calibrating ones first."""
    for group, members in seeds.items():
        for seed in members:
            count = sum(1 for _ in draw(work / group / str(seed), seed, size))
            yield f"{group} {seed}: {count} drawn"
