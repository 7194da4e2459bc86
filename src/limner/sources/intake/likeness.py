"""How badly a picture fits a shot: one number, the sum of what its measures say.

In: `Looks` of pictures and `Wanted` of shots. Out: a cost matrix in nats: the squared error of each
measure over twice its squared width (a Gaussian's log-likelihood), capped, because one measure may
simply be wrong. What was not measured costs every shot the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.errors import InputError
from limner.project.rules import Rule, values_of
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
    "small": Rule(
        0.15, "starting value", "ours", "share of the height below which a face is small"
    ),
    "turned": Rule(60, "starting value", "ours", "degrees from which a head is turned away"),
    "clothes_near": Rule(0.6, "derived", _DRAWN, "weight of: all cloth has an expected colour"),
    "clothes_shown": Rule(0.6, "derived", _DRAWN, "weight of: every expected colour is there"),
    "place_near": Rule(0.7, "derived", _DRAWN, "the same for the place"),
    "place_shown": Rule(0.3, "derived", _DRAWN, "the same for the place"),
    "wall": Rule(0.02, "starting value", "ours", "edges below which a place is a plain wall"),
    "unknown": Rule(1.0, "starting value", "ours", "most that an unknown colour costs (nats)"),
    "sure": Rule(2.0, "derived", _DRAWN, "nats by which a match must lead to be taken"),
    "worst": Rule(10.0, "derived", _DRAWN, "a picture that costs more fits no shot"),
    "blind": Rule(4.0, "starting value", "ours", "the same for a picture without any face"),
    "again": Rule(2.5, "starting value", "ours", "nats for a second picture of one shot"),
    "order": Rule(6.0, "starting value", "ours", "nats that a picture may lose by its order"),
    "hair": Rule(30.0, "starting value", "ours", "colour difference of hair to the set's median"),
    "hair_least": Rule(8, "starting value", "ours", "heads that make a median"),
}
"""Every number of matching by measure; `source.inbox` of character.yaml overrides them."""
POSITIVE = ("yaw", "share", "clothes", "legs", "place", "busy", "light", "hidden", "missed")
"""Those that are divided by, or whose logarithm is taken."""

Matrix = NDArray[np.float64]


def values(own: Mapping[str, float] | None = None) -> dict[str, float]:
    """The numbers with the user's own. Raises InputError for an unknown name, or a width or chance
    that is not above 0."""
    found = values_of(LIKENESS, own, "source.inbox")
    for name in POSITIVE:
        if found[name] <= 0:
            raise InputError(
                f"source.inbox.{name} must be above 0, it is {found[name]:g}",
                where=f"character.yaml, source.inbox.{name}",
                fix=f"Leave it out for {LIKENESS[name].value:g}.",
            )
    return found


@dataclass(frozen=True)
class Likeness:
    """Costs of pictures for shots, by these numbers."""

    v: Mapping[str, float]

    def costs(self, pictures: Sequence[Looks], shots: Sequence[Wanted]) -> Matrix:
        """(pictures, shots) in nats, 0 for a picture that is all a shot asks for."""
        total: Matrix = np.zeros((len(pictures), len(shots)))
        for one in self.parts(pictures, shots).values():
            total += one
        return total

    def parts(self, pictures: Sequence[Looks], shots: Sequence[Wanted]) -> dict[str, Matrix]:
        """The costs measure by measure; nothing for no pictures or no shots."""
        if not pictures or not shots:
            return {}
        return {
            "yaw": _each(pictures, shots, self._yaw),
            "share": _each(pictures, shots, self._share),
            "clothes": self._gauss(
                _colours(pictures, [s.clothes for s in shots], self._clothes), "clothes"
            ),
            "legs": self._gauss(_colours(pictures, [s.legs for s in shots], self._legs), "legs"),
            "place": self._gauss(
                _colours(pictures, [s.place for s in shots], self._place), "place"
            ),
            "busy": _each(pictures, shots, self._busy),
            "light": self._light(pictures, shots),
        }

    def _cost(self, error: float, width: str) -> float:
        return float(min(0.5 * (error / self.v[width]) ** 2, self.v["cap"]))

    def _gauss(self, errors: Matrix, width: str) -> Matrix:
        """Costs of errors; where no word names a colour, the median of the picture's known ones."""
        found = np.minimum(0.5 * (errors / self.v[width]) ** 2, self.v["cap"])
        known = ~np.isnan(found)
        usual = [
            float(np.median(row[there])) if there.any() else 0.0
            for row, there in zip(found, known, strict=True)
        ]
        return np.where(known, found, np.minimum(usual, self.v["unknown"])[:, None])

    def _yaw(self, looks: Looks, shot: Wanted) -> float:
        """Degrees outside the range; without a face, how unlikely it is that one was missed."""
        if looks.faces is None or shot.yaw is None:
            return 0.0
        low, high = shot.yaw
        if looks.yaw is None or looks.share is None:
            if not shot.face:
                return 0.0
            small = shot.share is not None and shot.share[1] < self.v["small"]
            hidden = small or high > self.v["turned"]
            return -float(np.log(self.v["hidden" if hidden else "missed"]))
        seen = -float(np.log(self.v["missed"])) if not shot.face else 0.0
        return seen + self._cost(max(low - looks.yaw, looks.yaw - high, 0.0), "yaw")

    def _share(self, looks: Looks, shot: Wanted) -> float:
        if looks.share is None or shot.share is None:
            return 0.0
        low, high = shot.share
        error = max(np.log2(low / looks.share), np.log2(looks.share / high), 0.0)
        return self._cost(float(error), "share")

    def _clothes(self, looks: Looks, colors: Lab) -> float:
        if looks.share is None:  # the middle of the picture holds much else
            return self._shown(looks.clothes, colors)
        near, shown = self._near(looks.clothes, colors), self._shown(looks.clothes, colors)
        return self.v["clothes_near"] * near + self.v["clothes_shown"] * shown

    def _legs(self, looks: Looks, colors: Lab) -> float | None:
        return None if looks.legs is None else self._shown(looks.legs, colors)

    def _place(self, looks: Looks, colors: Lab) -> float:
        near, shown = self._near(looks.place, colors), self._shown(looks.place, colors)
        return self.v["place_near"] * near + self.v["place_shown"] * shown

    def _distances(self, pixels: Lab, colors: Lab) -> Matrix:
        """(pixels, colours): CIE76 with L* weighed down."""
        scale = np.array([self.v["lightness"], 1.0, 1.0])
        apart: Matrix = np.linalg.norm((pixels[:, None] - colors[None]) * scale, axis=2)
        return apart

    def _near(self, pixels: Lab, colors: Lab) -> float:
        """How far the pixels are from the nearest expected colour, at the median."""
        return float(np.median(self._distances(pixels, colors).min(axis=1)))

    def _shown(self, pixels: Lab, colors: Lab) -> float:
        """How far each expected colour is from the tenth of the pixels most like it, on average."""
        return float(np.percentile(self._distances(pixels, colors), 10, axis=0).mean())

    def _busy(self, looks: Looks, shot: Wanted) -> float:
        if shot.studio is None:
            return 0.0
        if shot.studio:
            return self._cost(looks.busy, "busy")
        return self.v["unknown"] if looks.busy < self.v["wall"] else 0.0

    def _light(self, pictures: Sequence[Looks], shots: Sequence[Wanted]) -> Matrix:
        """Lightness and warmth: where a picture stands in its set, where the words put a shot."""
        total: Matrix = np.zeros((len(pictures), len(shots)))
        for name in ("lightness", "warmth"):
            seen = _standing(np.array([getattr(p, name) for p in pictures]))
            asked = _standing(np.array([getattr(s, name) for s in shots]))
            error = (seen[:, None] - asked[None]) / self.v["light"]
            total += np.minimum(0.5 * error**2, self.v["cap"] / 2)
        return total


def _each(
    pictures: Sequence[Looks], shots: Sequence[Wanted], one: Callable[[Looks, Wanted], float]
) -> Matrix:
    return np.array([[one(p, s) for s in shots] for p in pictures], dtype=np.float64)


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


def _standing(values: Matrix) -> Matrix:
    """Deviations from the mean; all 0 where nothing differs."""
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)
