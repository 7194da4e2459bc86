"""The search that keeps attributes from sticking together.

In: columns (axis -> one value a shot) that meet every quota. Out: the same columns, reordered: a
move swaps values between two shots, so counts never change. A seeded descent with a work budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

Columns = dict[str, list[str]]
Fits = Callable[[Mapping[str, Sequence[str]], int], bool]
"""Whether the values of shot number i may stand together."""

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

WEIGHTS = {"angle": 2.0, "framing": 1.5, "expression": 2.0, "mix": 1.0, "gaze": 0.5, "camera": 0.5}
"""How much an axis' associations count in the search, multiplied over a pair; others 1."""
PAIR_WEIGHTS = {
    frozenset(("setting", "outfit")): 12.0,  # the repeat one sees first
    frozenset(("angle", "expression")): 12.0,  # each mood, each light in several angle domains
    frozenset(("angle", "lighting")): 6.0,
}
"""Instead of the product."""
FIRM = 30.0
"""Weight of an association beyond chance against an even spread of pairs (starting value)."""
FACE_AXES = ("expression", "gaze")
"""Axes that say something only where a face is seen."""


@dataclass
class _Pair:
    """One pair of axes: its sum of n^2 / (row x column), and how that counts."""

    total: float  # phi squared + 1
    bias: float  # what chance alone gives on average, + 1
    firm: float  # weight of what is above the bias
    plain: float

    def cost(self, total: float) -> float:
        return self.plain * total + self.firm * max(0.0, total - self.bias)


Link = tuple[list[int], list[list[int]], list[list[int]], list[list[float]], _Pair]
"""Codes of the other axis, counts (own x other), the same turned, 1 / (row x column), the pair."""


class Tables:
    """Contingency tables of all pairs of axes and what they cost, kept true by `swap`.

    The cost of a pair is its chi-square over n; what stands above the expectation of independent
    axes, (r-1)(k-1)/(n-1) (Bergsma 2013), counts `FIRM` times more. seen: shots that show a face.
    """

    def __init__(self, columns: Columns, seen: Sequence[bool] | None = None) -> None:
        self.axes = list(columns)
        self.codes: dict[str, list[int]] = {}
        self.sizes: dict[str, int] = {}
        self.links: dict[str, list[Link]] = {axis: [] for axis in columns}
        self.pairs: dict[frozenset[str], _Pair] = {}
        for axis, values in columns.items():
            index = {v: i for i, v in enumerate(sorted(set(values)))}
            self.codes[axis] = [index[v] for v in values]
            self.sizes[axis] = len(index)
        rows = len(next(iter(columns.values())))
        hidden = {i for i in range(rows) if seen and not seen[i]}
        for axis in FACE_AXES:
            if axis in columns and hidden:  # a value of its own, which counts nowhere
                blank = self.sizes[axis]
                self.codes[axis] = [
                    blank if i in hidden else c for i, c in enumerate(self.codes[axis])
                ]
                self.sizes[axis] += 1
        for i, a in enumerate(self.axes):
            for b in self.axes[i + 1 :]:
                self._add_pair(a, b, hidden)

    def _add_pair(self, a: str, b: str, hidden: set[int]) -> None:
        blank = {x for x in (a, b) if x in FACE_AXES and hidden}
        r, k = (self.sizes[x] - (x in blank) for x in (a, b))
        n = len(self.codes[a]) - (len(hidden) if blank else 0)
        if min(r, k) < 2 or n < 2:
            return
        margins = {x: Counter(self.codes[x]) for x in (a, b)}
        counts = [[0] * self.sizes[b] for _ in range(self.sizes[a])]
        for x, y in zip(self.codes[a], self.codes[b], strict=True):
            counts[x][y] += 1
        scale = [
            [
                0.0 if (a in blank and x == r) or (b in blank and y == k) else 1 / (m * o)
                for y, o in sorted(margins[b].items())
            ]
            for x, m in sorted(margins[a].items())
        ]
        total = sum(
            c * c * s
            for row, by in zip(counts, scale, strict=True)
            for c, s in zip(row, by, strict=True)
        )
        smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
        product = WEIGHTS.get(a, 1.0) * WEIGHTS.get(b, 1.0)
        plain = PAIR_WEIGHTS.get(frozenset((a, b)), product) / (min(r, k) - 1)
        firm = FIRM * product / smaller if smaller > 1e-9 else 0.0
        pair = _Pair(total, 1 + (r - 1) * (k - 1) / (n - 1), firm, plain)
        self.pairs[frozenset((a, b))] = pair
        turned = [list(row) for row in zip(*counts, strict=True)]
        turned_scale = [list(row) for row in zip(*scale, strict=True)]
        self.links[a].append((self.codes[b], counts, turned, scale, pair))
        self.links[b].append((self.codes[a], turned, counts, turned_scale, pair))

    def swap(self, axis: str, i: int, j: int) -> float:
        """Swap one axis' values of two shots; returns the change of the cost."""
        codes = self.codes[axis]
        a, b = codes[i], codes[j]
        if a == b:
            return 0.0
        change = 0.0
        for other, counts, turned, scale, pair in self.links[axis]:
            x, y = other[i], other[j]
            if x == y:
                continue
            row_a, row_b, in_a, in_b = counts[a], counts[b], scale[a], scale[b]
            # n -> n-1 changes n^2 by 1-2n, n -> n+1 by 1+2n
            step = (1 - 2 * row_a[x]) * in_a[x] + (1 + 2 * row_b[x]) * in_b[x]
            step += (1 - 2 * row_b[y]) * in_b[y] + (1 + 2 * row_a[y]) * in_a[y]
            row_a[x] -= 1
            row_b[x] += 1
            row_b[y] -= 1
            row_a[y] += 1
            turned[x][a] -= 1
            turned[x][b] += 1
            turned[y][b] -= 1
            turned[y][a] += 1
            total = pair.total + step
            change += pair.cost(total) - pair.cost(pair.total)
            pair.total = total
        codes[i], codes[j] = b, a
        return change


def untangle(
    columns: Columns,
    fits: Fits,
    random: Random,
    budget: int,
    *,
    seen: Sequence[bool] | None = None,
    among: Sequence[int] | None = None,
) -> Columns:
    """Columns after `budget` tried swaps; only swaps that do not raise the cost stay.

    seen: shots that show a face; the others keep expression and gaze (None = all show one). among:
    the only shots that may change (None = all).
    """
    tables = Tables(columns, seen)
    work = {axis: list(values) for axis, values in columns.items()}
    rows = list(range(len(next(iter(work.values()))))) if among is None else list(among)
    blocks = [b for b in BLOCKS if all(axis in work for axis in b)]
    for _ in range(budget if len(rows) > 1 else 0):
        block = blocks[int(random.random() * len(blocks))]
        i, j = (rows[int(random.random() * len(rows))] for _ in range(2))
        if i == j or all(work[axis][i] == work[axis][j] for axis in block):
            continue
        of_face = "expression" in block or block == ("gaze",)
        if of_face and seen and not (seen[i] and seen[j]):
            continue
        _flip(work, block, i, j)
        if not (fits(work, i) and fits(work, j)):
            _flip(work, block, i, j)
            continue
        change = sum(tables.swap(axis, i, j) for axis in block)
        if change > 1e-12:
            _flip(work, block, i, j)
            for axis in reversed(block):
                tables.swap(axis, i, j)
    return work


def mend(columns: Columns, fits: Fits, random: Random) -> tuple[Columns, list[int]]:
    """Swaps until every shot's values may stand together; also the shots where none helped.

    Tries every block with every other shot, in a seeded order, a few rounds.
    """
    work = {axis: list(values) for axis, values in columns.items()}
    rows = range(len(next(iter(work.values()))))
    blocks = [b for b in BLOCKS if all(axis in work for axis in b) and "expression" not in b]
    bad = [i for i in rows if not fits(work, i)]
    for _ in range(4):
        for i in bad:
            others = [j for _, j in sorted((random.random(), j) for j in rows if j != i)]
            _mend_one(work, fits, blocks, i, others)
        bad = [i for i in rows if not fits(work, i)]
        if not bad:
            break
    return work, bad


def _mend_one(
    work: Columns, fits: Fits, blocks: Sequence[Sequence[str]], i: int, others: Sequence[int]
) -> None:
    """A swap that makes shot i possible and leaves no other shot worse."""
    for j in others:
        if fits(work, i):
            return
        was = fits(work, j)
        for block in blocks:
            _flip(work, block, i, j)
            if fits(work, i) and fits(work, j) >= was:
                break
            _flip(work, block, i, j)


def _flip(work: Columns, block: Sequence[str], i: int, j: int) -> None:
    for axis in block:
        column = work[axis]
        column[i], column[j] = column[j], column[i]


def cramers_v(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Bias-corrected Cramer's V of two columns, 0 to 1 (Bergsma 2013, J. Korean Stat. Soc. 42).

    None when one of them has a single value, or too few shots are there for a correction.
    """
    n = len(first)
    row_sums, column_sums = Counter(first), Counter(second)
    r, k = len(row_sums), len(column_sums)
    if n < 2 or r < 2 or k < 2:
        return None
    counts = Counter(zip(first, second, strict=True))
    squares = sum(c * c / (row_sums[a] * column_sums[b]) for (a, b), c in counts.items())
    phi2 = max(0.0, squares - 1 - (k - 1) * (r - 1) / (n - 1))
    smaller = min(k - (k - 1) ** 2 / (n - 1), r - (r - 1) ** 2 / (n - 1)) - 1
    if smaller <= 1e-9:
        return None
    return float(min(1.0, (phi2 / smaller) ** 0.5))
