"""A set of prompts from anywhere as items: a project's shots, or what a file gave.

In: shots or imported entries. Out: `Item`s, each with its text, what is known of it on every axis,
and what its text says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner import lexicon
from limner.project.records import Shot
from limner.shots.importing import Entry
from limner.shots.reading import Reading, read_prompt

COUNTED = (*lexicon.AXES, "mix", "gaze")
"""What shares are counted of; `mix` is the kind of place."""


@dataclass(frozen=True)
class Item:
    """One prompt. `where`: its shot, or file line. attributes: what is planned or known.

    reading: what its own text says. planned: the attributes are a plan, not only a reading.
    """

    where: str
    text: str
    attributes: dict[str, str]
    reading: Reading
    planned: bool = False
    heading: str | None = None

    @property
    def face_visible(self) -> bool:
        """Whether the angle shows a face; True while no angle is known."""
        angle = self.attributes.get("angle")
        return angle is None or lexicon.angles()[angle].face

    def value(self, axis: str) -> str | None:
        """The id on an axis, `mix` by the place; None = not known."""
        if axis == "mix":
            setting = self.attributes.get("setting")
            return lexicon.settings()[setting].mix if setting else _mix_of(self.reading)
        return self.attributes.get(axis)

    def as_dict(self) -> dict[str, Any]:
        """Flat plain values, as a planned shot has them; None = not said in words we know.

        words: axis -> the text's own words; missing: what it says nothing of.
        """
        axes = (*lexicon.AXES, "gaze")
        return {
            "where": self.where,
            **{axis: self.attributes.get(axis) for axis in axes},
            "mix": self.value("mix"),
            "face_visible": self.face_visible,
            "prompt": self.text,
            "words": {k: v for k, v in self.reading.words.items() if k in axes},
            "missing": list(self.reading.missing),
        }


def _mix_of(reading: Reading) -> str | None:
    words = reading.words.get("setting", "").lower()
    for mix, telling in (
        ("neutral", ("studio", "backdrop", "seamless")),
        ("outdoor", ("outdoor", "outside", "street", "field", "lake", "river", "road", "sea")),
        ("indoor", ("indoor", "inside", "room", "interior", "house", "hall", "shop")),
    ):
        if any(word in words for word in telling):
            return mix
    return None


def of_shots(shots: Sequence[Shot]) -> list[Item]:
    """A project's shots as items; a shot whose attributes are not all known was imported."""
    found = []
    for shot in shots:
        planned = all(axis in shot.attributes for axis in lexicon.AXES)
        heading = None if planned else shot.attributes.get("angle")
        attributes = dict(shot.attributes)
        found.append(
            Item(shot.id, shot.prompt, attributes, read_prompt(shot.prompt), planned, heading)
        )
    return found


def of_entries(entries: Sequence[Entry]) -> list[Item]:
    """A file's prompts as items: the file's own columns win, then the text, then its heading."""
    found = []
    for entry in entries:
        reading = read_prompt(entry.text)
        attributes = {**reading.attributes, **entry.attributes}
        if entry.angle and "angle" not in attributes:
            attributes["angle"] = entry.angle
        where = f"line {entry.line}" + (f" ({entry.id})" if entry.id else "")
        planned = bool(entry.attributes)
        found.append(Item(where, entry.text, attributes, reading, planned, entry.angle))
    return found


def shares(items: Sequence[Item]) -> dict[str, dict[str, int]]:
    """Axis -> value -> prompts; expression over those that show a face, unknown values left out."""
    found: dict[str, dict[str, int]] = {}
    for axis in COUNTED:
        among = [i for i in items if i.face_visible] if axis == "expression" else items
        values = Counter(v for i in among if (v := i.value(axis)) is not None)
        found[axis] = dict(values.most_common())
    return found


def unknown(items: Sequence[Item]) -> dict[str, int]:
    """Axis -> prompts that do not say it in words we know."""
    faces = [i for i in items if i.face_visible]
    return {
        axis: sum(i.value(axis) is None for i in (faces if axis == "expression" else items))
        for axis in COUNTED
    }


@dataclass(frozen=True)
class Grid:
    """Prompts by angle and expression. wanted: what exact shares would give; None = no quotas."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    wanted: dict[tuple[str, str], float] = field(default_factory=dict)
    left_out: int = 0


def angle_by_expression(
    items: Sequence[Item], targets: Mapping[str, Mapping[str, int]] | None = None
) -> Grid:
    """The grid of the heat map; prompts without known angle or expression are `left_out`."""
    counts: Counter[tuple[str, str]] = Counter()
    left_out = 0
    for item in items:
        angle = item.value("angle")
        mood = "no face" if not item.face_visible else item.value("expression")
        if angle is None or mood is None:
            left_out += 1
        else:
            counts[angle, mood] += 1
    used = {a for a, _ in counts}
    rows = tuple(
        a for a in lexicon.angles() if a in used or (targets or {}).get("angle", {}).get(a)
    )
    moods = [*lexicon.moods()]
    if any(m == "no face" for _, m in counts):
        moods.append("no face")
    wanted: dict[tuple[str, str], float] = {}
    if targets and "expression" in targets:
        seen = {a: n for a, n in targets["angle"].items() if lexicon.angles()[a].face}
        total = sum(seen.values())
        for angle, n in seen.items():
            for mood, m in targets["expression"].items():
                wanted[angle, mood] = n * m / total if total else 0.0
    return Grid(rows, tuple(moods), dict(counts), wanted, left_out)
