"""The cheapest way to give pictures to shots as a whole, and how sure it is of each of them.

In: costs in nats, (pictures, shots). Out: the shot of each picture or None, with its margin: how
much dearer the cheapest way is that does not give this picture to this shot. Pure arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Placed:
    """shot: column of the costs, None: it fits none. margin: nats, 0 is a tie."""

    shot: int | None
    margin: float


def assign(costs: Matrix, *, worst: float, again: float, most: int = 4) -> list[Placed]:
    """Place every picture once or not at all, at the least total cost.

    costs: (pictures, shots), finite. worst: what a picture without a shot costs. again: what a
    second picture of one shot costs on top; at most `most` pictures share a shot. Raises
    ModuleNotFoundError without SciPy. Kuhn 1955, as scipy.optimize.linear_sum_assignment.
    """
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    pictures, shots = costs.shape
    if not pictures or not shots:
        return [Placed(None, 0.0) for _ in range(pictures)]
    copies = min(most, -(-pictures // shots) + 1)
    wide = np.concatenate([costs + (again if n else 0.0) for n in range(copies)], axis=1)
    nowhere = np.full((pictures, pictures), worst)
    rows, columns = linear_sum_assignment(np.concatenate([wide, nowhere], axis=1))
    place = np.full(pictures, -1)
    place[rows] = np.where(columns < wide.shape[1], columns, -1)
    away = _detours(wide, place, worst)
    return [_placed(wide, away, i, int(place[i]), shots, worst) for i in range(pictures)]


def _placed(wide: Matrix, away: Matrix, i: int, at: int, shots: int, worst: float) -> Placed:
    if at < 0:
        return Placed(None, max(float(wide[i].min()) - worst, 0.0))
    other = np.flatnonzero(np.arange(wide.shape[1]) % shots != at % shots)
    moves = wide[i, other] - wide[i, at] + away[other, at]
    out = worst - wide[i, at] + away[-1, at]
    return Placed(at % shots, max(float(min(out, moves.min(initial=np.inf))), 0.0))


def _detours(wide: Matrix, place: NDArray[np.int64], worst: float) -> Matrix:
    """Cheapest chain of moves from one place to another, by Floyd and Warshall.

    A place is a column of `wide`, the last one is "nowhere". A move takes the picture of one place
    to the next; nowhere gives a picture that has no place yet, or leaves the place empty. The
    assignment is the cheapest, so no chain that ends where it began costs less than nothing.
    """
    places = wide.shape[1]
    edge = np.full((places + 1, places + 1), np.inf)
    np.fill_diagonal(edge, 0.0)
    edge[:places, places] = 0.0  # an empty place has nothing to move
    for i, at in enumerate(place):
        if at >= 0:
            edge[at, :places] = wide[i] - wide[i, at]
            edge[at, places] = worst - wide[i, at]
    free = wide[place < 0]
    edge[places, :places] = np.minimum(free.min(axis=0) - worst, 0.0) if len(free) else 0.0
    for middle in range(places + 1):
        np.minimum(edge, edge[:, middle, None] + edge[None, middle], out=edge)
    return edge
