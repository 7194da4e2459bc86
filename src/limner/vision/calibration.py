"""Thresholds from impostors: where to draw the line so that strangers pass rarely enough.

In: scores of known different persons (and of the same one). Out: a `Calibration` with its n and
measured false-accept rate, AUC. A calibration is never made on the pictures it will judge.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from limner.vision.shipped import data_file


@dataclass(frozen=True)
class Calibration:
    """A threshold with everything that made it; same person when score >= threshold.

    far: share of impostors accepted at the threshold, counted (accepted of impostors).
    """

    threshold: float
    target_far: float
    far: float
    accepted: int
    impostors: int
    source: str
    tool: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def calibrate(
    impostors: ArrayLike,
    *,
    target_far: float,
    source: str,
    tool: str = "",
    least: float | None = None,
) -> Calibration:
    """Lowest threshold that accepts at most `target_far` of the impostor scores.

    least: a published threshold; the result is never below it. The measured rate is reported next
    to the target: with n impostors nothing finer than 1/n can be seen. Raises ValueError for no
    impostors or a target outside 0-1.
    """
    scores = np.sort(np.asarray(impostors, dtype=np.float64))
    if scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError("calibration needs finite impostor scores")
    if not 0 < target_far < 1:
        raise ValueError("target_far lies between 0 and 1")
    allowed = int(np.floor(target_far * scores.size))
    highest_refused = scores[scores.size - 1 - allowed]
    threshold = float(np.nextafter(highest_refused, np.inf))
    if least is not None:
        threshold = max(threshold, least)
    accepted = int((scores >= threshold).sum())
    return Calibration(
        threshold, target_far, accepted / scores.size, accepted, int(scores.size), source, tool
    )


def auc(same: ArrayLike, other: ArrayLike) -> float:
    """Chance that a same-person score beats another's (area under the ROC curve), ties half."""
    a, b = np.asarray(same, dtype=np.float64), np.sort(np.asarray(other, dtype=np.float64))
    if not a.size or not b.size:
        raise ValueError("AUC needs scores of both kinds")
    below, not_above = np.searchsorted(b, a, "left"), np.searchsorted(b, a, "right")
    return float((below + not_above).sum() / (2 * a.size * b.size))


def shipped_calibration(embedder: str, kind: str = "drawing", bin_name: str = "all") -> Calibration:
    """The calibration that comes with Limner, made on held-out drawn characters.

    Raises KeyError when there is none for this embedder and kind of picture.
    """
    table = json.loads(data_file("calibrations.json").read_text(encoding="utf-8"))
    return Calibration(**table[kind][embedder][bin_name])
