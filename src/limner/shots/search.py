"""The search that keeps attributes from sticking together.

In: columns (axis -> one value a shot) that meet every quota. Out: the same columns, reordered: a
move swaps values between two shots, so counts never change. A seeded descent with a work budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

Columns = dict[str, list[str]]

BLOCKS: tuple[tuple[str, ...], ...] = (
    ("setting", "mix", "lighting", "outfit"),
    ("framing", "pose", "camera"),
    ("expression", "gaze"),
    ("lighting",),
    ("outfit",),
    ("setting", "mix"),
    ("pose",),
    ("camera",),
    ("gaze",),
    ("framing",),
    ("expression",),
)
"""What may be swapped at once: blocks whose members lean on each other, and single axes."""

WEIGHTS = {"angle": 2.0, "framing": 1.5, "expression": 2.0, "mix": 1.0, "gaze": 0.5, "camera": 0.3}
"""How much an axis' associations count in the search, multiplied over a pair; others 1."""
PAIR_WEIGHTS = {frozenset(("setting", "outfit")): 12.0}
"""Instead of the product: the same clothes at the same place twice is the repeat one sees first."""


class Tables:
    """Contingency tables of all pairs of axes and their weighted chi-square, updated by swaps."""

    def __init__(self, columns: Columns) -> None:
        self.axes = list(columns)
        self.codes: dict[str, list[int]] = {}
        sizes: dict[str, int] = {}
        margins: dict[str, list[int]] = {}
        for axis, values in columns.items():
            index = {v: i for i, v in enumerate(sorted(set(values)))}
            self.codes[axis] = [index[v] for v in values]
            sizes[axis] = len(index)
            margins[axis] = [0] * len(index)
            for code in self.codes[axis]:
                margins[axis][code] += 1
        total = len(next(iter(columns.values())))
        self.others: dict[str, list[tuple[list[int], list[list[int]], list[list[float]]]]] = {}
        self._twins: dict[int, list[list[int]]] = {}  # a table -> the same table turned
        for a in self.axes:
            self.others[a] = []
        for i, a in enumerate(self.axes):
            for b in self.axes[i + 1 :]:
                self._add_pair(a, b, sizes, margins, total)

    def _add_pair(
        self,
        a: str,
        b: str,
        sizes: Mapping[str, int],
        margins: Mapping[str, list[int]],
        total: int,
    ) -> None:
        smaller = min(sizes[a], sizes[b])
        if smaller < 2:
            return
        product = WEIGHTS.get(a, 1.0) * WEIGHTS.get(b, 1.0)
        weight = PAIR_WEIGHTS.get(frozenset((a, b)), product) / (smaller - 1)
        counts = [[0] * sizes[b] for _ in range(sizes[a])]
        for x, y in zip(self.codes[a], self.codes[b], strict=True):
            counts[x][y] += 1
        scale = [[weight / (m * n) for n in margins[b]] for m in margins[a]]
        # the other orientation shares no memory; both are kept up to date by `swap`
        turned = [list(row) for row in zip(*counts, strict=True)]
        turned_scale = [list(row) for row in zip(*scale, strict=True)]
        self.others[a].append((self.codes[b], counts, scale))
        self.others[b].append((self.codes[a], turned, turned_scale))
        self._twins[id(counts)], self._twins[id(turned)] = turned, counts

    def swap(self, axis: str, i: int, j: int) -> float:
        """Swap one axis' values of two shots; returns the change of the cost."""
        codes = self.codes[axis]
        a, b = codes[i], codes[j]
        if a == b:
            return 0.0
        change = 0.0
        for other, counts, scale in self.others[axis]:
            x, y = other[i], other[j]
            if x == y:
                continue
            row_a, row_b = counts[a], counts[b]
            # n -> n-1 changes n^2 by 1-2n, n -> n+1 by 1+2n
            change += (1 - 2 * row_a[x]) * scale[a][x] + (1 + 2 * row_b[x]) * scale[b][x]
            change += (1 - 2 * row_b[y]) * scale[b][y] + (1 + 2 * row_a[y]) * scale[a][y]
            twin = self._twins[id(counts)]
            for row, column, step in ((a, x, -1), (b, x, 1), (b, y, -1), (a, y, 1)):
                counts[row][column] += step
                twin[column][row] += step
        codes[i], codes[j] = b, a
        return change


def untangle(
    columns: Columns,
    allowed: Callable[[Mapping[str, str]], bool],
    random: Random,
    budget: int,
    *,
    movable: Sequence[bool] | None = None,
) -> Columns:
    """Columns after `budget` tried swaps; only swaps that do not raise the cost stay.

    allowed: whether one shot's values may stand together. movable: shots whose expression and gaze
    may change (those that show a face); None = all.
    """
    tables = Tables(columns)
    work = {axis: list(values) for axis, values in columns.items()}
    total = len(next(iter(work.values())))
    blocks = [b for b in BLOCKS if all(axis in work for axis in b)]
    for _ in range(budget if total > 1 else 0):
        block = blocks[int(random.random() * len(blocks))]
        i, j = int(random.random() * total), int(random.random() * total)
        if i == j or all(work[axis][i] == work[axis][j] for axis in block):
            continue
        if "expression" in block and movable and not (movable[i] and movable[j]):
            continue
        _flip(work, block, i, j)
        if not (allowed(_row(work, i)) and allowed(_row(work, j))):
            _flip(work, block, i, j)
            continue
        change = sum(tables.swap(axis, i, j) for axis in block)
        if change > 1e-12:
            _flip(work, block, i, j)
            for axis in reversed(block):
                tables.swap(axis, i, j)
    return work


def _flip(work: Columns, block: Sequence[str], i: int, j: int) -> None:
    for axis in block:
        column = work[axis]
        column[i], column[j] = column[j], column[i]


def _row(work: Columns, i: int) -> dict[str, str]:
    return {axis: column[i] for axis, column in work.items()}


def cramers_v(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Bias-corrected Cramer's V of two columns, 0 to 1 (Bergsma 2013, J. Korean Stat. Soc. 42).

    None when one of them has a single value, or too few shots are there for a correction.
    """
    n = len(first)
    rows, columns = sorted(set(first)), sorted(set(second))
    r, k = len(rows), len(columns)
    if n < 2 or r < 2 or k < 2:
        return None
    counts: dict[tuple[str, str], int] = {}
    for pair in zip(first, second, strict=True):
        counts[pair] = counts.get(pair, 0) + 1
    row_sums = {a: first.count(a) for a in rows}
    column_sums = {b: second.count(b) for b in columns}
    squares = sum(c * c / (row_sums[a] * column_sums[b]) for (a, b), c in counts.items())
    phi2 = max(0.0, squares - 1 - (k - 1) * (r - 1) / (n - 1))
    smaller = min(k - (k - 1) ** 2 / (n - 1), r - (r - 1) ** 2 / (n - 1)) - 1
    if smaller <= 0:
        return None
    return float(min(1.0, (phi2 / smaller) ** 0.5))
