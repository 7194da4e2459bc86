"""Copies of a picture: re-encoded, brightened, mirrored, cropped, with the place of the crop.

In: thumbnails, small square greys of whole pictures. Out: pairs with their correlation. Windows of
one picture are compared with the whole other one, coarse first (8 x 8), then fine (48 x 48).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from limner.vision.pictures import RGB8, resize

SIDE = 48
COARSE = 8
SCALES = (1.0, 0.92, 0.85, 0.78, 0.7, 0.62, 0.55, 0.48)
"""Sides of a crop as shares of the original; smaller ones are not looked for."""
STEPS = 5
"""Places of a crop a side (coarse)."""
LIKELY = 0.8
"""Coarse correlation from which a pair is looked at closely. Of 80 random crops of 0.55 to 0.95 of
a drawing, 0.85 and one window each found 75, these values all (derived)."""
WINDOWS = 4
"""Windows of a likely pair that are refined, likeliest first, until one is surely a copy."""
SURE = 0.98
"""Correlation from which no better window is looked for: a window beside the right one may stop at
.96 and say the wrong size, or less than the mirrored face (derived: crops end at .99 and more)."""
GAIN = 0.1
"""What refining a window may still add: of 29 copies found with .9, all had .88 after its first
round (derived)."""
MOST_PAIRS = 8
"""Likely partners of one picture that are looked at closely."""

F32 = NDArray[np.float32]
Thumb = NDArray[np.uint8]


@dataclass(frozen=True)
class Copy:
    """Picture `index` shows what `of` shows. correlation: 0-1. crop: side of the part, 1: whole."""

    index: int
    of: int
    correlation: float
    mirrored: bool
    crop: float


def thumbnail(image: RGB8) -> Thumb:
    """The whole picture as `SIDE` x `SIDE` luma (its proportions are given up)."""
    small = resize(image, SIDE, SIDE).astype(np.float32)
    return np.rint(small @ np.array([0.2126, 0.7152, 0.0722], np.float32)).astype(np.uint8)


def pack(thumb: Thumb) -> str:
    """A thumbnail as text, for a cache."""
    return base64.b64encode(thumb.tobytes()).decode("ascii")


def unpack(text: str) -> Thumb:
    """What `pack` wrote."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(SIDE, SIDE)


@cache
def _windows() -> tuple[tuple[float, float, float], ...]:
    """(left, top, side) of every window, shares of the picture."""
    found = [(0.0, 0.0, 1.0)]
    for scale in SCALES[1:]:
        spots = np.linspace(0, 1 - scale, STEPS)
        found += [(float(x), float(y), scale) for y in spots for x in spots]
    return tuple(found)


def _boxes(starts: NDArray[np.float64], side: float, out: int) -> NDArray[np.float64]:
    """Edges of `out` cells over [start, start + side] in thumbnail pixels: (n, out + 1)."""
    return (starts[:, None] + np.linspace(0, side, out + 1)[None]) * SIDE


def _integral(thumb: Thumb) -> NDArray[np.float64]:
    """Sums over everything above and left: (SIDE + 1, SIDE + 1)."""
    total = np.zeros((SIDE + 1, SIDE + 1))
    total[1:, 1:] = thumb.cumsum(0, dtype=np.float64).cumsum(1)
    return total


def _at(
    total: NDArray[np.float64], xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The integral at fractional rows and columns: (ys, xs)."""
    down, right = np.minimum(ys.astype(int), SIDE - 1), np.minimum(xs.astype(int), SIDE - 1)
    part = (ys - down)[:, None]
    rows = total[down] * (1 - part) + total[down + 1] * part
    part = xs - right
    found: NDArray[np.float64] = rows[:, right] * (1 - part) + rows[:, right + 1] * part
    return found


def _sampled(
    total: NDArray[np.float64],
    lefts: NDArray[np.float64],
    tops: NDArray[np.float64],
    side: float,
    out: int,
) -> F32:
    """Cell sums of the windows at every top and left of an integral: (tops * lefts, out^2)."""
    both = _at(total, _boxes(lefts, side, out).ravel(), _boxes(tops, side, out).ravel())
    cells = both.reshape(len(tops), out + 1, len(lefts), out + 1)
    cells = np.diff(np.diff(cells, axis=1), axis=3).transpose(0, 2, 1, 3)
    return cells.reshape(len(tops) * len(lefts), out * out).astype(np.float32)


def _plain(values: F32) -> F32:
    """Zero mean, unit length along the last axis."""
    values = values - values.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    plain: F32 = (values / np.maximum(length, 1e-6)).astype(np.float32)
    return plain


def _coarse(thumb: Thumb, scales: Sequence[float] = SCALES) -> F32:
    """All windows of one thumbnail, (windows, COARSE^2), unit length."""
    total = _integral(thumb)
    parts: list[F32] = []
    for scale in scales:
        starts = np.linspace(0, 1 - scale, STEPS) if scale < 1 else np.zeros(1)
        edges = _boxes(starts, scale, COARSE).ravel()
        both = _at(total, edges, edges)
        n = len(starts)
        cells = both.reshape(n, COARSE + 1, n, COARSE + 1)
        cells = np.diff(np.diff(cells, axis=1), axis=3).transpose(0, 2, 1, 3)
        parts.append(cells.reshape(n * n, COARSE * COARSE).astype(np.float32))
    all_windows: F32 = np.concatenate(parts)
    return _plain(all_windows)


def find_copies(thumbs: Sequence[Thumb], *, least: float) -> list[Copy]:
    """Pairs that correlate by at least `least`, each once, the later picture as the copy.

    A crop may be of the earlier or of the later picture. Work grows with the square of the count
    (1,000 pictures: some seconds); memory with the count, half a kB a picture.
    """
    found: list[Copy] = []
    if len(thumbs) < 2:
        return found
    whole = np.concatenate([_coarse(thumb, SCALES[:1]) for thumb in thumbs])
    flipped = whole.reshape(-1, COARSE, COARSE)[..., ::-1].reshape(len(thumbs), -1)
    best: dict[tuple[int, int], Copy] = {}
    for i, thumb in enumerate(thumbs):
        windows = _coarse(thumb)
        for mirrored, others in ((False, whole), (True, flipped)):
            for j, places in _likely(windows, others, i):
                pair = (max(i, j), min(i, j))
                for where in places:
                    match = _closely(thumb, thumbs[j], int(where), mirrored, least - GAIN)
                    if match[0] < least:
                        continue
                    if pair not in best or best[pair].correlation < match[0]:
                        best[pair] = Copy(pair[0], pair[1], match[0], mirrored, match[1])
                    if match[0] >= SURE:
                        break
    return [best[pair] for pair in sorted(best)]


def _likely(windows: F32, others: F32, own: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Likely partners of picture `own`, each with the windows of it to look at closely."""
    scores = windows @ others.T  # (windows, n)
    top = scores.max(axis=0)
    top[own] = -1.0
    order = np.argsort(-top, kind="stable")[:MOST_PAIRS]
    for j in order:
        if top[j] < LIKELY:
            return
        yield int(j), np.argsort(-scores[:, j], kind="stable")[:WINDOWS]


def _closely(
    thumb: Thumb, other: Thumb, window: int, mirrored: bool, hopeful: float
) -> tuple[float, float]:
    """(correlation, side of the crop) of the whole `other` in a part of `thumb`, refined as long
    as it reaches `hopeful`."""
    left, top, side = _windows()[window]
    target = _integral(other[:, ::-1] if mirrored else other)
    here = _integral(thumb)
    best, size = -1.0, side
    whole = np.zeros(1)
    step = (1 - side) / (STEPS - 1) if side < 1 else 0.04
    for reach in (step / 2, step / 4, step / 8, step / 16):
        centre = (left, top, side)
        moves = np.array((-reach, 0.0, reach))
        for ds in moves:
            s = min(max(centre[2] + float(ds), 0.4), 1.0)
            out = max(12, round(SIDE * s))
            wanted = _plain(_sampled(target, whole, whole, 1, out))[0]
            xs = np.clip(centre[0] + moves - ds / 2, 0.0, 1 - s)
            ys = np.clip(centre[1] + moves - ds / 2, 0.0, 1 - s)
            scores = _plain(_sampled(here, xs, ys, s, out)) @ wanted
            found = int(scores.argmax())
            if scores[found] > best:
                best, side, size = float(scores[found]), s, s
                left, top = float(xs[found % 3]), float(ys[found // 3])
        if best < hopeful:
            break
    return best, size
