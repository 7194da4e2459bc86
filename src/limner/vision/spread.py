"""What varies within one person is no sign of another: directions of it are weighed down.

In: unit vectors of an embedder, person by person. Out: a matrix; vectors through it are compared by
cosine as before. Within-class covariance normalisation (Hatch, Kajarekar, Stolcke 2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from limner.vision.embedders import Vector
from limner.vision.shipped import data_file

F64 = NDArray[np.float64]
SHRINK = 1.0
"""Share of the mean variance that is added to every direction: 100 faces do not fill 128 (between
.3 and 3 the look-alikes of other characters are parted alike)."""


def fit_spread(people: Sequence[Sequence[Vector]]) -> F64:
    """(d, d) from each person's vectors (two or more count). Raises ValueError without any."""
    centred = [np.stack(p) - np.mean(np.stack(p), axis=0) for p in people if len(p) > 1]
    if not centred:
        raise ValueError("a spread needs a person with two pictures")
    free = sum(len(p) - 1 for p in centred)
    total: F64 = sum((p.T.astype(np.float64) @ p for p in centred), np.zeros(())) / free
    size = len(total)
    total = total + SHRINK * float(np.trace(total)) / size * np.eye(size)
    found: F64 = np.linalg.cholesky(np.linalg.inv(total))
    scaled: F64 = found / float(np.linalg.norm(found)) * size**0.5
    return scaled


def through(matrix: F64 | None, vectors: Sequence[Vector]) -> list[Vector]:
    """Unit vectors with the spread taken out; None leaves them as they are."""
    if matrix is None or not len(vectors):
        return list(vectors)
    moved = np.stack(vectors).astype(np.float64) @ matrix
    moved /= np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return list(moved.astype(np.float32))


@cache
def shipped_spread(embedder: str, kind: str) -> F64 | None:
    """The matrix for an embedder and a kind of picture; None where there is none.

    dlib on drawings only: on Limner's own network, which was trained to this end, and which shows
    hair and skin first, it parted no look-alikes.
    """
    if (embedder, kind) != ("dlib", "drawing"):
        return None
    found = np.load(data_file("spread_dlib.npy"), allow_pickle=False)
    return np.asarray(found, dtype=np.float64)
