"""A noisy loss made readable: smoothed values, window means, how long it will still take.

In: `Point`s. Out: numbers. Pure functions.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from limner.training.watch.seen import Point, Seen


def smoothed(points: Sequence[Point], weight: float) -> list[Point]:
    """Exponential mean, unbiased at the start (Kingma & Ba's correction); NaN steps are skipped.

    weight: of the past, 0 to 1.
    """
    mean, scale, found = 0.0, 0.0, []
    for point in points:
        if point.value != point.value or point.value in (float("inf"), float("-inf")):
            continue
        mean = weight * mean + (1 - weight) * point.value
        scale = weight * scale + (1 - weight)
        found.append(Point(point.step, mean / scale, point.at))
    return found


def windows(points: Sequence[Point], size: int) -> list[Point]:
    """Means of `size` losses after each other, at their last step; a shorter rest is left out."""
    found = []
    for start in range(0, len(points) - size + 1, size):
        part = points[start : start + size]
        found.append(Point(part[-1].step, statistics.fmean(p.value for p in part), part[-1].at))
    return found


def fall(first: Sequence[Point], last: Sequence[Point]) -> float | None:
    """Relative fall from one stretch's mean to another's; None when there is nothing to compare."""
    if not first or not last:
        return None
    before = statistics.fmean(p.value for p in first)
    return 1 - statistics.fmean(p.value for p in last) / before if before > 0 else None


def seconds_left(seen: Seen) -> float | None:
    """Time to the last step by the trainer's own pace; None when it is not known."""
    if seen.step is None or seen.total is None or seen.seconds_per_step is None:
        return None
    return max(seen.total - seen.step, 0) * seen.seconds_per_step


def thinned(points: Sequence[Point], most: int = 400) -> list[Point]:
    """At most `most` points, first and last among them, for drawing."""
    if len(points) <= most:
        return list(points)
    pace = (len(points) - 1) / (most - 1)
    return [points[round(i * pace)] for i in range(most)]
