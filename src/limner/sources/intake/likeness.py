"""How badly a picture fits a shot: one number, the sum of what its measures say.

In: `Looks` of pictures and `Wanted` of shots. Out: a cost matrix in nats: the squared error of each
measure over twice its squared width (a Gaussian's log-likelihood), capped, because one measure may
simply be wrong. What was not measured costs every shot the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from limner.project.rules import Rule
from limner.sources.intake.looks import Lab, Looks
from limner.sources.intake.wanted import Wanted

_DRAWN = "drawings of three characters, bench/inbox_match.py; none of them is reported"
LIKENESS: dict[str, Rule] = {
    "yaw": Rule(14.0, "derived", _DRAWN, "degrees outside the angle's range"),
    "share": Rule(0.16, "derived", _DRAWN, "log2 of the face's size outside the framing's range"),
    "clothes": Rule(10.0, "derived", _DRAWN, "colour difference of the clothes"),
    "legs": Rule(18.0, "derived", _DRAWN, "colour difference below the waist"),
    "place": Rule(12.0, "derived", _DRAWN, "colour difference of the place"),
    "busy": Rule(0.1, "derived", _DRAWN, "edges behind a person in a studio"),
    "light": Rule(0.8, "derived", _DRAWN, "lightness and warmth, in deviations of the set"),
    "cap": Rule(5.0, "derived", _DRAWN, "most one measure may cost (nats)"),
    "lightness": Rule(0.5, "starting value", "ours", "weight of L* beside a*, b*: light varies"),
    "hidden": Rule(0.6, "starting value", "ours", "chance that a turned or small head is missed"),
    "missed": Rule(0.05, "starting value", "ours", "chance that a large face is missed"),
    "sure": Rule(2.0, "derived", _DRAWN, "nats by which a match must lead to be taken"),
    "worst": Rule(10.0, "derived", _DRAWN, "a picture that costs more fits no shot"),
    "blind": Rule(4.0, "starting value", "ours", "the same for a picture without any face"),
    "again": Rule(2.5, "starting value", "ours", "nats for a second picture of one shot"),
    "order": Rule(6.0, "starting value", "ours", "nats that a picture may lose by its order"),
    "hair": Rule(30.0, "starting value", "ours", "colour difference of hair to the set's median"),
    "hair_least": Rule(8, "starting value", "ours", "heads that make a median"),
}
"""Every number of matching by measure."""

Matrix = NDArray[np.float64]


def costs(pictures: Sequence[Looks], shots: Sequence[Wanted]) -> Matrix:
    """(pictures, shots) in nats, 0 for a picture that is all a shot asks for."""
    total: Matrix = np.zeros((len(pictures), len(shots)))
    for one in parts(pictures, shots).values():
        total += one
    return total


def parts(pictures: Sequence[Looks], shots: Sequence[Wanted]) -> Mapping[str, Matrix]:
    """The costs measure by measure."""
    if not pictures or not shots:
        return {"none": np.zeros((len(pictures), len(shots)))}
    return {
        "yaw": _each(pictures, shots, _yaw),
        "share": _each(pictures, shots, _share),
        "clothes": _gauss(_colours(pictures, [s.clothes for s in shots], _clothes), "clothes"),
        "legs": _gauss(_colours(pictures, [s.legs for s in shots], _legs), "legs"),
        "place": _gauss(_colours(pictures, [s.place for s in shots], _place), "place"),
        "busy": _each(pictures, shots, _busy),
        "light": _light(pictures, shots),
    }


def _each(pictures: Sequence[Looks], shots: Sequence[Wanted], one: object) -> Matrix:
    assert callable(one)
    return np.array([[float(one(p, s)) for s in shots] for p in pictures])


def _cost(error: float, width: str) -> float:
    return float(min(0.5 * (error / LIKENESS[width].value) ** 2, LIKENESS["cap"].value))


def _gauss(errors: Matrix, width: str) -> Matrix:
    """Costs of errors; where a word names no colour, the mean of the picture's known errors."""
    found = np.minimum(0.5 * (errors / LIKENESS[width].value) ** 2, LIKENESS["cap"].value)
    known = ~np.isnan(found)
    usual = np.array([np.median(row[row_known]) if row_known.any() else 0.0
                      for row, row_known in zip(found, known, strict=True)])  # fmt: skip
    return np.where(known, found, np.minimum(usual, 1.0)[:, None])


def _yaw(looks: Looks, shot: Wanted) -> float:
    """Degrees outside the range; without a face, how unlikely it is that this one was missed."""
    if looks.faces is None or shot.yaw is None:
        return 0.0
    low, high = shot.yaw
    if looks.yaw is None or looks.share is None:
        if not shot.face:
            return 0.0
        small = shot.share is not None and shot.share[1] < 0.15
        turned = high > 60
        return -float(np.log(LIKENESS["hidden" if small or turned else "missed"].value))
    seen = -float(np.log(LIKENESS["missed"].value)) if not shot.face else 0.0
    return seen + _cost(max(low - looks.yaw, looks.yaw - high, 0.0), "yaw")


def _share(looks: Looks, shot: Wanted) -> float:
    if looks.share is None or shot.share is None:
        return 0.0
    low, high = shot.share
    error = max(np.log2(low / looks.share), np.log2(looks.share / high), 0.0)
    return _cost(float(error), "share")


def _colours(
    pictures: Sequence[Looks],
    palettes: Sequence[Lab | None],
    error: Callable[[Looks, Lab], float | None],
) -> Matrix:
    """Colour differences (pictures, shots), NaN if unknown; equal palettes are read once."""
    keys = [None if p is None else p.tobytes() for p in palettes]
    known = {k: p for k, p in zip(keys, palettes, strict=True) if k is not None and p is not None}
    rows = []
    for one in pictures:
        found = {key: error(one, palette) for key, palette in known.items()}
        rows.append([np.nan if k is None or found[k] is None else found[k] for k in keys])
    return np.array(rows, dtype=np.float64)


def _clothes(looks: Looks, colors: Lab) -> float:
    if looks.share is None:  # the middle of the picture holds much else
        return _shown(looks.clothes, colors)
    return 0.6 * _apart(looks.clothes, colors) + 0.6 * _shown(looks.clothes, colors)


def _legs(looks: Looks, colors: Lab) -> float | None:
    return None if looks.legs is None else _shown(looks.legs, colors)


def _place(looks: Looks, colors: Lab) -> float:
    return 0.7 * _apart(looks.place, colors) + 0.3 * _shown(looks.place, colors)


def _distances(pixels: Lab, colors: Lab) -> Matrix:
    """(pixels, colours): CIE76 with L* weighed down."""
    scale = np.array([LIKENESS["lightness"].value, 1.0, 1.0])
    apart: Matrix = np.linalg.norm((pixels[:, None] - colors[None]) * scale, axis=2)
    return apart


def _apart(pixels: Lab, colors: Lab) -> float:
    """How far the pixels are from the nearest expected colour, at the median."""
    return float(np.median(_distances(pixels, colors).min(axis=1)))


def _shown(pixels: Lab, colors: Lab) -> float:
    """How far each expected colour is from the tenth of the pixels most like it, on average."""
    return float(np.percentile(_distances(pixels, colors), 10, axis=0).mean())


def _busy(looks: Looks, shot: Wanted) -> float:
    if shot.studio is None:
        return 0.0
    if shot.studio:
        return _cost(looks.busy, "busy")
    return 1.0 if looks.busy < 0.02 else 0.0


def _light(pictures: Sequence[Looks], shots: Sequence[Wanted]) -> Matrix:
    """Lightness and warmth: where a picture stands in its set, where the words put a shot."""
    total: Matrix = np.zeros((len(pictures), len(shots)))
    for name in ("lightness", "warmth"):
        seen = _standing(np.array([getattr(p, name) for p in pictures]))
        asked = _standing(np.array([getattr(s, name) for s in shots]))
        error = (seen[:, None] - asked[None]) / LIKENESS["light"].value
        total += np.minimum(0.5 * error**2, LIKENESS["cap"].value / 2)
    return total


def _standing(values: Matrix) -> Matrix:
    """Deviations from the mean; all 0 where nothing differs."""
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)
