"""From readings to verdicts: the set is compared with itself, then the rule table is applied.

In: cases (take, shot, what was seen). Out: a `Judgement` a take: keep, reject or undecided with
its reasons in words, and the measures that led there. Pure: reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.review import asked, body, doubles, identity, within
from limner.review.case import Case, Judgement
from limner.review.rules import Rule
from limner.vision.embedders import Vector
from limner.vision.measures import MEASURES, OTHER_NAMES

__all__ = ["Case", "Judged", "Judgement", "References", "judge"]


@dataclass(frozen=True)
class References:
    """Pictures of the person from outside the set: embedder -> unit vectors, with head turns."""

    vectors: dict[str, list[Vector]]
    yaws: dict[str, list[float | None]]


@dataclass(frozen=True)
class Judged:
    """All judgements, in the order of the cases. calibration: how identity was held."""

    all: list[Judgement]
    calibration: dict[str, Any] = field(default_factory=dict)


def judge(
    cases: Sequence[Case],
    table: Mapping[str, Rule],
    *,
    references: References | None = None,
    brought: Mapping[str, float | None] | None = None,
) -> Judged:
    """Apply every rule to every case.

    brought: the user's embedders by name, with their published cosine. references: where given,
    identity is held against them and not against the set.
    """
    found = [Judgement(case) for case in cases]
    for one in found:
        _file(one, table)
        asked.judge(one, table)
    within.judge(found, table)  # first: a blurred face is not accused of being somebody else
    body.judge(found, table)
    calibration = identity.judge(found, table, references, brought or {})
    doubles.judge(found, table)
    for one in found:
        _notes(one)
    return Judged(found, calibration)


def _file(one: Judgement, table: Mapping[str, Rule]) -> None:
    """What the file says alone, and all measures of its reading."""
    case, reading = one.case, one.case.reading
    if reading is None:
        one.found("file", "reject", f"the file cannot be judged: {case.seen.fault}")
        return
    if case.seen.changed:
        one.found("changed", "look", "the file was changed after it was made")
    short = min(reading.width, reading.height)
    one.put("short_side", float(short), "px")
    least = table["short_side_min"].at(case.kind)
    if short < least:
        one.found(
            "short_side_min", "reject", f"the short side is {short} px, {least:g} are asked for"
        )
    values = {OTHER_NAMES.get(name, name): value for name, value in reading.values.items()}
    for name, info in MEASURES.items():
        reason = reading.missing.get(info.needs, "not measured")
        one.put(name, values.get(name), info.unit, reason)
    if "face_count" in reading.missing:
        for name in ("face_count", "face_width", "yaw"):
            one.put(name, None, "", reading.missing["face_count"])
        if table["blind_pile"].value > 0:
            said = f"nobody looked for a face: {reading.missing['face_count']}"
            one.found("blind", "look", said)
        return
    one.put("face_count", float(len(reading.faces)), "faces")
    most = table["faces_max"].value
    if sum(face.sure for face in reading.faces) > most:
        one.found("faces_max", "reject", f"{len(reading.faces)} faces are in the picture")
    elif len(reading.faces) > most:
        one.found("faces_max", "look", "there may be a second face in the picture")
    if reading.face is None:
        reason = reading.missing.get("sharpness", "no face found")
        for name in ("face_width", "yaw"):
            one.put(name, None, "", reason)
        return
    yaw = reading.face.yaw
    one.put("face_width", reading.face.width, "px")
    one.put("yaw", yaw, "deg", "" if yaw is not None else "unknown")


def _notes(one: Judgement) -> None:
    for name, measure in one.measures.items():
        if not name.startswith("identity_") or name.endswith("_limit"):
            continue
        said = name.removeprefix("identity_")
        if measure.value is not None:
            one.notes.append(f"identity {said} {measure.value:.2f}")
        elif measure.reason and said in ("dlib", "drawn"):
            one.notes.append(f"identity {said}: {measure.reason}")
    if not one.notes:
        one.notes.append("no rule is broken")
