"""Skin in octave bands, at one fixed distance between the eyes, so that pictures can be compared.

In: a picture and its face. Out: RMS contrast of the skin in three octaves and the share of glossy
pixels. Scaled down only: enlarging would invent smooth skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.vision.colour import lab
from limner.vision.face import Face
from limner.vision.pictures import RGB8, resize

SCALES = (160, 80, 40)
"""Pixels between the eyes; the largest that the face reaches is used, and never compared with
another. 160 is the sheet's (ours: 80 and 40 for small pictures, which then see coarse skin only).
"""
BANDS = ((2, 4), (4, 8), (8, 16))
"""Octaves by wavelength in pixels at the fixed scale."""
GLOSS = (92.0, 12.0)
"""A glossy pixel: L* above, chroma below (starting value)."""
LEAST_PIXELS = 60


@dataclass(frozen=True)
class Skin:
    """scale: pixels between the eyes. bands: RMS over local L*, fine to coarse. gloss: 0-1."""

    scale: int
    bands: tuple[float, float, float]
    gloss: float


def skin(image: RGB8, face: Face) -> Skin | str:
    """Texture of forehead and cheeks; a reason in words where it cannot be read."""
    distance = face.eye_distance
    scale = next((s for s in SCALES if distance >= s), None)
    if scale is None:
        return f"the eyes are {distance:.0f} px apart, {SCALES[-1]} are needed"
    (ax, ay), (bx, by) = face.eyes
    nx, ny = face.nose
    mx, my = (ax + bx) / 2, (ay + by) / 2
    reach = 1.6 * distance
    x0, y0 = int(max(mx - reach, 0)), int(max(my - reach, 0))
    x1, y1 = int(min(mx + reach, image.shape[1])), int(min(my + reach, image.shape[0]))
    factor = scale / distance
    part = image[y0:y1, x0:x1]
    part = resize(part, max(8, round((x1 - x0) * factor)), max(8, round((y1 - y0) * factor)))
    eyes = np.array([mx - x0, my - y0]) * factor
    down = np.array([nx - mx, ny - my]) * factor
    along = np.array([bx - ax, by - ay]) / distance
    patches = [
        eyes - 0.9 * down,  # forehead
        eyes + 0.85 * down - 0.52 * scale * along,  # the two cheeks
        eyes + 0.85 * down + 0.52 * scale * along,
    ]
    values = lab(part)
    low = [_blur(values[..., 0], k) for k in (1, 2, 4, 8)]
    found, glossy = [], []
    for x, y in patches:
        half = 0.2 * scale
        ys, xs = (
            slice(int(max(y - half, 0)), int(y + half)),
            slice(int(max(x - half, 0)), int(x + half)),
        )
        base = low[3][ys, xs]
        if base.size < LEAST_PIXELS or float(base.mean()) < 3:
            continue
        mean = float(base.mean())
        found.append([float((low[i][ys, xs] - low[i + 1][ys, xs]).std()) / mean for i in range(3)])
        chroma = np.hypot(values[ys, xs, 1], values[ys, xs, 2])
        glossy.append(float(((values[ys, xs, 0] > GLOSS[0]) & (chroma < GLOSS[1])).mean()))
    if len(found) < 2:
        return "forehead and cheeks are not seen"
    bands = np.median(np.array(found), axis=0)
    return Skin(
        scale, (float(bands[0]), float(bands[1]), float(bands[2])), float(np.median(glossy))
    )


def _blur(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Two passes of a box of 2 * width + 1 pixels, edges repeated: about a Gaussian."""
    out = values
    size = 2 * width + 1
    for axis in (0, 1, 0, 1):
        padded = np.pad(out, [(width + 1, width) if a == axis else (0, 0) for a in (0, 1)], "edge")
        total = np.cumsum(padded, axis=axis)
        high = np.take(total, range(size, total.shape[axis]), axis=axis)
        less = np.take(total, range(total.shape[axis] - size), axis=axis)
        out = (high - less) / size
    return out
