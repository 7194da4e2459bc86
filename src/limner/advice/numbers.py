"""The little arithmetic advice needs: intervals of shares and of paired means.

In: counts or differences by prompt. Out: estimates with 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

_Z = 1.959964
_T975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""97.5 % quantile of Student's t for 1 to 30 degrees of freedom (published tables)."""


@dataclass(frozen=True)
class Estimate:
    """A mean or share with its 95 % interval; `n`: what it rests on (prompts for means)."""

    value: float
    low: float
    high: float
    n: int


def share(hits: int, n: int) -> Estimate:
    """Share with Wilson's 95 % interval (Wilson 1927). n > 0."""
    low, high = _wilson(hits / n, n, _Z)
    return Estimate(hits / n, low, high, n)


def at_least(hits: int, n: int, looks: int = 1) -> float:
    """Lower Wilson bound of a share, one-sided 95 % shared out over `looks` (Bonferroni). n > 0."""
    return _wilson(hits / n, n, NormalDist().inv_cdf(1.0 - 0.05 / max(1, looks)))[0]


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    """Ends of the score interval of a share p of n, z standard errors wide on either side."""
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def widened(found: Estimate, looks: int) -> Estimate:
    """An estimate whose 95 % interval holds for the best of `looks` (Bonferroni, by normal
    quantiles): who is best among many was lucky too."""
    times = NormalDist().inv_cdf(1.0 - 0.025 / max(1, looks)) / _Z
    low = found.value - times * (found.value - found.low)
    high = found.value + times * (found.high - found.value)
    return Estimate(found.value, low, high, found.n)


def share_difference(one: Estimate, two: Estimate) -> Estimate:
    """First minus second of two independent shares (Newcombe 1998, method 10)."""
    gap = one.value - two.value
    low = gap - math.hypot(one.value - one.low, two.high - two.value)
    high = gap + math.hypot(one.high - one.value, two.value - two.low)
    return Estimate(gap, low, high, one.n + two.n)


def mean(by_prompt: Mapping[str, Sequence[float]]) -> Estimate | None:
    """Mean over prompts with Student's 95 % interval; None for fewer than two prompts.

    The prompt is the unit: seeds of one prompt are not independent.
    """
    means = [sum(v) / len(v) for v in by_prompt.values() if v]
    n = len(means)
    if n < 2:
        return None
    middle = sum(means) / n
    spread = math.sqrt(sum((m - middle) ** 2 for m in means) / (n - 1) / n)
    half = (_T975[n - 2] if n - 2 < len(_T975) else _Z) * spread
    return Estimate(middle, middle - half, middle + half, n)


def median(values: Sequence[float]) -> float:
    """The middle value; values must not be empty."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    middle = sum(values) / len(values)
    return math.sqrt(sum((v - middle) ** 2 for v in values) / (len(values) - 1))
