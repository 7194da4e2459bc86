"""Where the person stands: a coarse mask grown from the face, and what it says about the framing.

In: a small copy of the picture and the face in it. Out: a mask, person size, or a reason in words.
GrabCut (Rother et al. 2004) with the body below the face as its first guess: a guide, no matting.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.vision.face import Face
from limner.vision.pictures import RGB8

SIDE = 128
"""Longest side of the copy that is cut out."""
ROUNDS = 3


@dataclass(frozen=True)
class Person:
    """mask: where the person is, in the small copy. height, share: of the picture, 0-1.

    cut_below: the person leaves the picture at its lower edge.
    """

    mask: NDArray[np.bool_]
    height: float
    share: float
    cut_below: bool


def available() -> str | None:
    """None when a person can be cut out here, else the reason in words."""
    return "install limner[vision]" if find_spec("cv2") is None else None


def person(small: RGB8, face: Face, scale: float) -> Person | None:
    """The person whose `face` (in pixels of the whole picture) is seen; None when nothing is left.

    small: the copy, `scale` times the picture's size.
    """
    import cv2

    marks = _guess(small.shape[0], small.shape[1], face, scale)
    own, rest = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(small[..., ::-1])
    cv2.setRNGSeed(1)
    try:
        cv2.grabCut(bgr, marks, None, own, rest, ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    mask = _main_part((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD), face, scale)
    if mask is None:
        return None
    rows = np.flatnonzero(mask.any(axis=1))
    height = (rows[-1] - rows[0] + 1) / mask.shape[0]
    below = bool(mask[-2:].any(axis=0).mean() > 0.04)
    return Person(mask, float(height), float(mask.mean()), below)


def _guess(height: int, width: int, face: Face, scale: float) -> Any:
    """GrabCut's first marks: face certain, head and body likely, far corners background."""
    x0, y0, x1, y1 = (v * scale for v in face.box)
    cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, max(x1 - x0, 2.0), max(y1 - y0, 2.0)
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    away = np.abs(xs - cx)
    body = (ys > y1 - 0.1 * h) & (away < 1.6 * h) & (ys < y1 + 6.5 * h)
    head = ((xs - cx) / (0.85 * w)) ** 2 + ((ys - cy) / (0.95 * h)) ** 2 < 1
    core = ((xs - cx) / (0.42 * w)) ** 2 + ((ys - cy) / (0.45 * h)) ** 2 < 1
    chest = (ys > y1 + 0.35 * h) & (ys < y1 + 1.2 * h) & (away < 0.45 * h)
    far = (ys < y0 - 0.7 * h) | ((away > 1.5 * h) & (ys < y1)) | (away > 2.6 * h)
    marks = np.full((height, width), 2, np.uint8)  # probably background
    marks[body | head] = 3  # probably person
    marks[far] = 0
    marks[core | chest] = 1
    return marks


def _main_part(mask: NDArray[np.bool_], face: Face, scale: float) -> NDArray[np.bool_] | None:
    """The connected piece that holds the face."""
    import cv2

    _, labels = cv2.connectedComponents(mask.astype(np.uint8))
    x0, y0, x1, y1 = face.box
    row = min(max(int((y0 + y1) / 2 * scale), 0), mask.shape[0] - 1)
    column = min(max(int((x0 + x1) / 2 * scale), 0), mask.shape[1] - 1)
    chosen = int(labels[row, column])
    return None if chosen == 0 else np.asarray(labels == chosen)
