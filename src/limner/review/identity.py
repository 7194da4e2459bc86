"""Is it the same person? Each take against the others, robust to a minority of intruders.

In: all judgements with their vectors. Out: findings, scores as measures, and the calibration they
were held against. Drawings: both embedders weighed together; else each alone against its line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limner.review.case import TURNED, Judgement
from limner.review.rules import Rule
from limner.vision.calibration import shipped_calibration
from limner.vision.embedders import NAMES, Vector
from limner.vision.fusion import Evidence, shipped_fusion
from limner.vision.spread import shipped_spread, through
from limner.vision.templates import build_template, leave_one_out, robust_scores, yaw_bin

if TYPE_CHECKING:
    from limner.review.judge import References


@dataclass
class Held:
    """One embedder's scores: judgement -> cosine and line; the set's own median.

    parted, parted_median: the same with what varies within one person weighed down (drawings).
    """

    scores: dict[int, float]
    limits: dict[int, float]
    median: float
    parted: dict[int, float] = field(default_factory=dict)
    parted_median: float = 0.0


@dataclass(frozen=True)
class _Own:
    """Vectors from outside that a set is held against; none: the set against itself."""

    vectors: Sequence[Vector]
    yaws: Sequence[float | None]


def judge(
    found: Sequence[Judgement],
    table: Mapping[str, Rule],
    references: References | None,
    brought: Mapping[str, float | None],
) -> dict[str, Any]:
    """Score every assessable face by every embedder and decide; returns the calibration."""
    calibration: dict[str, Any] = {}
    held: dict[str, Held] = {}
    for name in (*NAMES, *brought):
        one = _score(found, table, name, references, brought.get(name), calibration)
        if one is not None:
            held[name] = one
    for place, judgement in enumerate(found):
        _decide(place, judgement, held, table)
    fused = sorted({j.case.kind for j in found if shipped_fusion(j.case.kind) is not None})
    for kind in fused:
        calibration[f"odds_{kind}"] = (shipped_fusion(kind) or _none()).card
    return calibration


def _none() -> Any:
    raise AssertionError("only kinds with a fusion are asked for")


def _not_assessable(one: Judgement, table: Mapping[str, Rule], name: str) -> str | None:
    """Why identity cannot be judged here, None when it can."""
    reading = one.case.reading
    if reading is None:
        return "the file cannot be judged"
    angle = one.case.shot.attributes.get("angle")
    if angle in TURNED:
        return f"not assessable: {angle.replace('_', ' ')} view"
    if reading.vector(name) is None:
        return reading.missing.get(name, "not measured")
    face = reading.face
    if face is not None and not face.sure:
        return "not assessable: only one detector sees a face, and is not sure"
    limit = table["identity_yaw_max"].value
    if face is not None and face.yaw is not None and abs(face.yaw) > limit:
        return f"not assessable: head turned by more than {limit:.0f} degrees"
    return None


def _score(
    found: Sequence[Judgement],
    table: Mapping[str, Rule],
    name: str,
    references: References | None,
    published: float | None,
    calibration: dict[str, Any],
) -> Held | None:
    measure = f"identity_{name}"
    judged: list[tuple[int, Vector, float | None]] = []
    for place, one in enumerate(found):
        reason = _not_assessable(one, table, name)
        reading = one.case.reading
        vector = reading.vector(name) if reading else None
        if reason is not None or reading is None or vector is None:
            one.put(measure, None, "cosine", reason or "not measured")
        else:
            judged.append((place, vector, reading.face.yaw if reading.face else None))
    if not judged:
        return None
    deviations = table["identity_deviations"].value
    vectors, yaws = [v for _, v, _ in judged], [y for _, _, y in judged]
    own = _Own([], [])
    if references is not None and references.vectors.get(name):
        own = _Own(references.vectors[name], references.yaws[name])
    least = int(table["identity_set_min"].value)
    # one alone has no others to be held against, whatever the user's number
    level = len(own.vectors) >= max(int(table["identity_references_min"].value), 2)
    if not level and len(judged) < least:
        reason = f"only {len(judged)} takes can be compared, {least} are needed"
        if own.vectors:
            reason += f" (or {table['identity_references_min'].value:g} references)"
        for place, _, _ in judged:
            found[place].put(measure, None, "cosine", reason)
        return None
    scores, median, spread, said = _against(own, vectors, yaws, deviations, level)
    set_line = median - deviations * spread
    held = Held({}, {}, median)
    matrix = shipped_spread(name, "drawing")
    moved = _Own(through(matrix, own.vectors), own.yaws)
    parted, held.parted_median, _, _ = (
        (scores, median, 0.0, {})
        if matrix is None
        else _against(moved, through(matrix, vectors), yaws, deviations, level)
    )
    lines: dict[str, Any] = {}
    for (place, _, yaw), score, apart in zip(judged, scores, parted, strict=True):
        held.parted[place] = float(apart)
        line = _line(set_line, found[place], name, yaw, published, lines)
        held.scores[place], held.limits[place] = float(score), line
        found[place].put(measure, float(score), "cosine")
        found[place].put(f"{measure}_limit", line, "cosine")
    calibration[name] = {
        **said,
        "pictures": len(judged),
        "median": round(median, 4),
        "mad": round(spread, 4),
        "set_line": round(set_line, 4),
        "strangers": lines or "no calibration for this kind of picture: the set alone decides",
    }
    return held


def _against(
    own: _Own,
    vectors: Sequence[Vector],
    yaws: Sequence[float | None],
    deviations: float,
    level: bool,
) -> tuple[NDArray[np.float64], float, float, dict[str, Any]]:
    """Scores (n,), the median and MAD that are usual, and what they were held against.

    level: there are references enough to tell what is usual among them; one alone is as like
    itself as nothing else is, so that then the judged pictures' own scores tell it.
    """
    if not own.vectors:
        fit = robust_scores(vectors, yaws, deviations=deviations)
        said = {"against": "the set itself, leave one out", "core": int(fit.core.sum())}
        return fit.scores, fit.median, fit.mad, said
    template = build_template(own.vectors, own.yaws)
    scores = np.array([template.score(v, y) for v, y in zip(vectors, yaws, strict=True)])
    basis = leave_one_out(own.vectors, own.yaws) if level else scores
    basis = basis[np.isfinite(basis)]
    median = float(np.median(basis))
    spread = float(np.median(np.abs(basis - median)))
    return scores, median, spread, {"against": "reference folder", "references": len(own.vectors)}


def _line(
    set_line: float,
    one: Judgement,
    name: str,
    yaw: float | None,
    published: float | None,
    lines: dict[str, Any],
) -> float:
    """A take must lie both outside its own set and below the line for strangers to be a fault.

    Where there is no calibration for this kind of picture, the set alone decides.
    """
    bin_name = yaw_bin(yaw) if yaw is not None else "all"
    if published is not None:
        lines["published"] = published
        return min(set_line, published)
    try:
        shipped = shipped_calibration(name, one.case.kind, bin_name)
    except KeyError:
        return set_line
    lines.setdefault(f"{one.case.kind} {bin_name}", shipped.as_dict())
    return min(set_line, shipped.threshold)


def _decide(
    place: int, one: Judgement, held: Mapping[str, Held], table: Mapping[str, Rule]
) -> None:  # fmt: skip
    """Drawings by the odds of both; else both below their lines: another person, one: a look."""
    below = []
    said = [name for name in held if place in held[name].scores]
    for name in said:
        score, limit = held[name].scores[place], held[name].limits[place]
        if score < limit:
            below.append(f"{name} {score:.2f} below {limit:.2f}")
    odds = _odds(place, one, held)
    one.merit += sum(held[n].scores[place] - held[n].limits[place] for n in said)
    if one.has("blur", "enlarged"):
        return
    if odds is not None:
        one.put("identity_odds", odds, "log-odds")
        one.put("identity_odds_limit", table["identity_odds_doubt"].value, "log-odds")
        both = ", ".join(f"{n} {held[n].scores[place]:.2f}" for n in said)
        if odds < table["identity_odds_reject"].value:
            one.found("identity", "reject", f"this looks like another person ({both})")
        elif odds < table["identity_odds_doubt"].value:
            one.found("identity", "look", f"identity is doubtful ({both})")
    elif below and len(below) == len(said):
        one.found("identity", "reject", f"this looks like another person ({'; '.join(below)})")
    elif below:
        one.found("identity", "look", f"identity is doubtful ({'; '.join(below)})")


def _odds(place: int, one: Judgement, held: Mapping[str, Held]) -> float | None:
    fusion = shipped_fusion(one.case.kind)
    found = evidence(place, one, held)
    return None if fusion is None or found is None else fusion.odds(found)


def evidence(place: int, one: Judgement, held: Mapping[str, Held]) -> Evidence | None:
    """What the fusion sees of one face; None where one of the two embedders is missing."""
    face = one.case.reading.face if one.case.reading else None
    if face is None or not all(n in held and place in held[n].scores for n in NAMES):
        return None
    first, second = (held[n] for n in NAMES)
    return Evidence(
        first.parted[place],
        second.parted[place],
        first.parted_median,
        second.parted_median,
        face.yaw,
        face.width,
    )
