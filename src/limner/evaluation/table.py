"""Scores as a table, arms by cells: what choosing and racing compute on, all pairs at once.

In: judged pictures, or arrays of a simulation. Out: means, hard gates, paired comparisons of every
arm with every other. A cell that an arm has not drawn is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from limner.evaluation import statistics as stats
from limner.evaluation.arms import Arm, Judged

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """arms: rows, in order of step and strength. prompts: (cells,) which prompt a cell is of.
    score: (arms, cells), NaN where nothing was drawn. lost, copy: (arms, cells) shares to count."""

    arms: tuple[Arm, ...]
    prompts: NDArray[np.int64]
    score: F64
    lost: NDArray[np.bool_]
    copy: NDArray[np.bool_]
    freedom: F64 | None = None
    """(arms, cells) 0-1: how well each picture keeps to its prompt without copying; NaN where that
    cannot be told, None when it was not looked at."""

    @classmethod
    def of(cls, judged: Sequence[Judged]) -> Table:
        """The checkpoints' pictures; other arms are left out."""
        mine = [j for j in judged if j.arm.kind == "checkpoint"]
        arms = tuple(sorted({j.arm for j in mine}))
        cells = sorted({j.cell for j in mine})
        names = {p: i for i, p in enumerate(sorted({p for p, _ in cells}))}
        row, column = {a: i for i, a in enumerate(arms)}, {c: i for i, c in enumerate(cells)}
        score = np.full((len(arms), len(cells)), np.nan)
        lost, copy = np.zeros(score.shape, dtype=bool), np.zeros(score.shape, dtype=bool)
        freedom = np.full(score.shape, np.nan)
        for one in mine:
            at = row[one.arm], column[one.cell]
            freedom[at] = np.nan if one.freedom is None else one.freedom
            score[at], lost[at], copy[at] = one.score, not one.face, one.copy
        prompts = np.array([names[p] for p, _ in cells], dtype=np.int64)
        told = freedom if np.isfinite(freedom).any() else None
        return cls(arms, prompts, score, lost, copy, told)

    @cached_property
    def count(self) -> NDArray[np.int64]:
        """(arms,) pictures each has."""
        return np.asarray((~np.isnan(self.score)).sum(axis=1), dtype=np.int64)

    @cached_property
    def means(self) -> F64:
        """(arms,) mean scores; NaN for an arm without a picture."""
        total = np.nansum(self.score, axis=1)
        return np.asarray(np.where(self.count > 0, total / np.maximum(self.count, 1), np.nan))

    def ill(self, limits: Mapping[str, float]) -> NDArray[np.bool_]:
        """(arms,) the hard gates: lost faces over `no_face`, copies over `copies` (shares)."""
        return np.asarray(
            (self.lost.sum(axis=1) > limits["no_face"] * self.count)
            | (self.copy.sum(axis=1) > limits["copies"] * self.count)
        )

    def rows(self, which: Sequence[int]) -> Table:
        """The table of these arms, without the cells that none of them has drawn."""
        picks = np.asarray(which, dtype=np.int64)
        seen = ~np.isnan(self.score[picks]).all(axis=0)
        return Table(
            tuple(self.arms[i] for i in picks),
            self.prompts[seen],
            self.score[np.ix_(picks, seen)],
            self.lost[np.ix_(picks, seen)],
            self.copy[np.ix_(picks, seen)],
            None if self.freedom is None else self.freedom[np.ix_(picks, seen)],
        )

    def less_free(self, among: Sequence[int], margin: float) -> list[int]:
        """Rows of `among` that are established (Holm, 5 %) to be less free than another of them, by
        more than `margin`: dominated, since their identity is no better."""
        if self.freedom is None or len(among) < 2:
            return []
        own = Table(self.arms, self.prompts, self.freedom, self.lost, self.copy).rows(among)
        pairs = own.pairs
        behind = (holm_of_pairs(pairs.p) < LEVEL) & (pairs.mean < -margin)
        return [row for i, row in enumerate(among) if bool(behind[i].any())]

    def order(self, limits: Mapping[str, float]) -> list[int]:
        """Rows from the best: healthy before ill, higher mean first, equal means by step."""
        ill = self.ill(limits)
        return sorted(range(len(self.arms)), key=lambda i: (bool(ill[i]), -self.means[i], i))

    @cached_property
    def pairs(self) -> Pairs:
        """Every arm against every other, over the cells both have."""
        if not np.isnan(self.score).any():
            return _complete(self.score, self.prompts)
        return _pair_by_pair(self)


LEVEL = 0.05


@dataclass(frozen=True)
class Pairs:
    """(arms, arms): mean of row minus column, its standard error (0 where it cannot be told), the
    two-sided p value; clusters: prompts behind them."""

    mean: F64
    error: F64
    p: F64
    clusters: int


def _complete(score: F64, prompts: NDArray[np.int64]) -> Pairs:
    """`statistics.paired` for all pairs at once: the residual of a pair is the difference of the
    arms' own residuals, so one product of matrices gives every variance."""
    arms, cells = score.shape
    names, cluster = np.unique(prompts, return_inverse=True)
    k = len(names)
    means = score.mean(axis=1)
    gap = means[:, None] - means[None, :]
    if k < 2:
        ones = np.ones((arms, arms))
        return Pairs(gap, np.zeros((arms, arms)), ones, k)
    sizes = np.bincount(cluster, minlength=k).astype(np.float64)
    member = np.zeros((cells, k))
    member[np.arange(cells), cluster] = 1.0
    residual = (score @ member - means[:, None] * sizes) / sizes.mean()
    both = residual @ residual.T
    own = np.diag(both)
    variance = np.maximum(own[:, None] + own[None, :] - 2.0 * both, 0.0) / (k - 1)
    error = np.sqrt(variance / k)
    error[error < 1e-12] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(gap == 0.0, 0.0, gap / error)
    p = np.where(np.isinf(t), 0.0, stats.t_two_sided_many(np.nan_to_num(t), k - 1))
    return Pairs(gap, error, p, k)


def _pair_by_pair(table: Table) -> Pairs:
    """The same where arms have drawn different cells."""
    n = len(table.arms)
    gap, error, p = np.zeros((n, n)), np.zeros((n, n)), np.ones((n, n))
    clusters = 0
    for i in range(n):
        for j in range(i):
            shared = ~np.isnan(table.score[i]) & ~np.isnan(table.score[j])
            if not shared.any():
                continue
            groups: dict[str, list[float]] = {}
            apart = table.score[i, shared] - table.score[j, shared]
            for prompt, value in zip(table.prompts[shared], apart, strict=True):
                groups.setdefault(str(prompt), []).append(float(value))
            found = stats.paired(groups, draws=0)
            finite = found.standard_error if math.isfinite(found.standard_error) else 0.0
            gap[i, j], gap[j, i] = found.mean, -found.mean
            error[i, j] = error[j, i] = finite
            p[i, j] = p[j, i] = found.p
            clusters = max(clusters, found.clusters)
    return Pairs(gap, error, p, clusters)


def holm_of_pairs(p: F64) -> F64:
    """Holm over all pairs of a symmetric matrix of p values; (arms, arms), the diagonal 1."""
    n = len(p)
    adjusted = np.ones((n, n))
    if n < 2:
        return adjusted
    upper = np.triu_indices(n, 1)
    values = p[upper]
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, values[order] * np.arange(len(values), 0, -1)))
    found = np.empty_like(values)
    found[order] = stepped
    adjusted[upper] = found
    adjusted.T[upper] = found
    return adjusted
