"""Identity templates: many pictures of one person become a few unit vectors to compare with.

In: unit vectors of one embedder with the yaw of each face. Out: a template, scores against it,
and leave-one-out scores that a minority of intruders does not spoil.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from limner.vision.embedders import Vector, unit

YAW_BINS = (("front", 0.0, 20.0), ("three_quarter", 20.0, 45.0), ("side", 45.0, 181.0))
"""Name, lowest and highest |yaw| in degrees (starting values)."""
STRIP = 256
"""Rows of the table of all cosines that are in memory at once."""
LEAST_FOR_BIN = 3
"""Fewest vectors that make a template of a bin (starting value)."""


def yaw_bin(yaw: float) -> str:
    """The bin of a head turn in degrees (either side)."""
    return next(name for name, low, high in YAW_BINS if low <= abs(yaw) < high)


@dataclass(frozen=True)
class Template:
    """Normalised means of one person's vectors: over all of them and a yaw bin.

    means: "all" and the bins that had enough pictures. counts: pictures behind each.
    """

    means: dict[str, Vector]
    counts: dict[str, int] = field(default_factory=dict)

    def score(self, vector: Vector, yaw: float | None = None) -> float:
        """Cosine to this person, -1 to 1: the larger of the global mean and the face's own bin.

        At most two comparisons, so that the maximum does not inflate false accepts.
        """
        names = ["all"]
        if yaw is not None and yaw_bin(yaw) in self.means:
            names.append(yaw_bin(yaw))
        return max(float(np.dot(self.means[name], vector)) for name in names)


def build_template(vectors: Sequence[Vector], yaws: Sequence[float | None]) -> Template:
    """Template of one person. Raises ValueError without vectors."""
    if not len(vectors):
        raise ValueError("a template needs at least one vector")
    stack = np.stack(vectors)
    bins = np.array([yaw_bin(y) if y is not None else "" for y in yaws])
    means, counts = {"all": unit(stack.mean(0))}, {"all": len(stack)}
    for name, _, _ in YAW_BINS:
        chosen = bins == name
        if int(chosen.sum()) >= LEAST_FOR_BIN:
            means[name] = unit(stack[chosen].mean(0))
            counts[name] = int(chosen.sum())
    return Template(means, counts)


def leave_one_out(
    vectors: Sequence[Vector],
    yaws: Sequence[float | None],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Score of each vector against the template of the others (n,); NaN when it stands alone."""
    stack = np.stack(vectors).astype(np.float64)
    count = len(stack)
    member = np.ones(count, dtype=bool) if weights is None else weights > 0
    bins = np.array([yaw_bin(y) if y is not None else "" for y in yaws])
    scores = np.full(count, np.nan)
    for name, least in (("all", 1), *((name, LEAST_FOR_BIN) for name, _, _ in YAW_BINS)):
        inside = np.ones(count, dtype=bool) if name == "all" else bins == name
        total = stack[member & inside].sum(0)
        for i in np.flatnonzero(inside):  # the sum of the others: work grows with the count alone
            own = bool(member[i])
            if int((member & inside).sum()) - own >= least:
                mean = unit(total - stack[i] if own else total)
                scores[i] = np.fmax(scores[i], float(np.dot(mean, stack[i])))
    return scores


def core_members(vectors: Sequence[Vector], share: float = 0.6) -> NDArray[np.bool_]:
    """Which vectors form the densest group: the `share` nearest to the medoid, re-centred.

    The medoid (largest median cosine to the others) lies in the majority as long as intruders are
    fewer than half; the mean of its neighbours is then refined until it stands still.
    """
    stack = np.stack(vectors)
    count = len(stack)
    wanted = max(1, int(np.ceil(share * count)))
    centre = stack[int(np.argmax(_median_cosines(stack)))] if count > 1 else stack[0]
    chosen = np.zeros(count, dtype=bool)
    for _ in range(20):
        order = np.argsort(-(stack @ centre), kind="stable")[:wanted]
        now = np.zeros(count, dtype=bool)
        now[order] = True
        if np.array_equal(now, chosen):
            break
        chosen, centre = now, unit(stack[now].mean(0))
    return chosen


def _median_cosines(stack: NDArray[np.float32]) -> NDArray[np.float64]:
    """Median cosine of each unit vector to all others (n,); a strip of the n x n at a time."""
    found = np.empty(len(stack))
    for first in range(0, len(stack), STRIP):
        strip = stack[first : first + STRIP] @ stack.T
        rows = np.arange(len(strip))
        strip[rows, first + rows] = np.nan
        found[first : first + STRIP] = np.nanmedian(strip, axis=1)
    return found


@dataclass(frozen=True)
class SetScores:
    """How well each picture fits its set. scores: leave-one-out cosines (n,). limit: median -
    k MAD of the core. core: which pictures made the templates."""

    scores: NDArray[np.float64]
    median: float
    mad: float
    limit: float
    core: NDArray[np.bool_]


def robust_scores(
    vectors: Sequence[Vector], yaws: Sequence[float | None], *, deviations: float = 3.0
) -> SetScores:
    """Leave-one-out against the set's own majority; intruders do not shape the template.

    limit = median - deviations * MAD of all scores (MAD not rescaled; the rule "median - 3 MAD"
    , starting value). Raises ValueError for fewer than three vectors.
    """
    if len(vectors) < 3:
        raise ValueError("a set of fewer than three pictures says nothing about one of them")
    core = core_members(vectors)
    scores = leave_one_out(vectors, yaws, weights=core.astype(np.float64))
    median = float(np.median(scores))
    mad = float(np.median(np.abs(scores - median)))
    return SetScores(scores, median, mad, median - deviations * mad, core)
