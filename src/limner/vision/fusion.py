"""Two embedders, one answer: how likely it is that a face is the person of the set.

In: both leave-one-out cosines, the set's own medians, head turn and face size. Out: log-odds; above
0 more likely the person than a stranger or a look-alike. Logistic regression, fitted on drawn
characters that are never judged (bench/planted_faults.py --calibrate writes data/fusion.json).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.vision.shipped import data_file

WIDTHS = (24.0, 160.0)
"""Face widths in pixels between which size counts."""


@dataclass(frozen=True)
class Evidence:
    """One face against its set. e1, e2: cosines. median1, median2: of the set's own pictures.

    yaw in degrees (None counts as 30), width in pixels.
    """

    e1: float
    e2: float
    median1: float
    median2: float
    yaw: float | None
    width: float

    def features(self) -> NDArray[np.float64]:
        """(9,): what the regression sees."""
        turn = (30.0 if self.yaw is None else min(abs(self.yaw), 90.0)) / 45
        size = float(np.log2(np.clip(self.width, *WIDTHS) / 64))
        drop1, drop2 = self.e1 - self.median1, self.e2 - self.median2
        return np.array(
            [self.e1, self.e2, drop1, drop2, turn, size, drop1 * turn, drop2 * turn, drop2 * size]
        )


@dataclass(frozen=True)
class Fusion:
    """A fitted regression with all that made it."""

    weights: NDArray[np.float64]
    bias: float
    card: dict[str, Any]

    def odds(self, evidence: Evidence) -> float:
        """Natural log-odds of the same person."""
        return float(self.weights @ evidence.features() + self.bias)


def fit(same: Sequence[Evidence], other: Sequence[Evidence], *, ridge: float = 1e-2) -> Fusion:
    """Logistic regression by Newton steps, both kinds weigh alike. Raises ValueError if empty."""
    if not same or not other:
        raise ValueError("a fit needs faces of both kinds")
    rows = np.array([e.features() for e in (*same, *other)])
    spread = rows.std(axis=0) + 1e-9
    x = np.column_stack([rows / spread, np.ones(len(rows))])
    y = np.r_[np.ones(len(same)), np.zeros(len(other))]
    weight = np.r_[np.full(len(same), 0.5 / len(same)), np.full(len(other), 0.5 / len(other))]
    beta = np.zeros(x.shape[1])
    penalty = np.r_[np.full(x.shape[1] - 1, ridge / len(spread)), 0.0]
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        slope = x.T @ (weight * (y - p)) - penalty * beta
        curve = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curve, slope)
        beta = beta + step
        if float(np.abs(step).max()) < 1e-8:
            break
    return Fusion(beta[:-1] / spread, float(beta[-1]), {"same": len(same), "other": len(other)})


@cache
def shipped_fusion(kind: str) -> Fusion | None:
    """The regression for a kind of picture; None where there is none (photographs)."""
    table = json.loads(data_file("fusion.json").read_text(encoding="utf-8"))
    if kind not in table:
        return None
    found = table[kind]
    return Fusion(np.array(found["weights"]), float(found["bias"]), found["card"])
