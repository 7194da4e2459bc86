"""What a dropped picture shows, as far as a match to a shot needs it: head, clothes, place, light.

In: a decoded picture. Out: `Looks`: plain numbers and a few pixels in CIE Lab, None where nothing
was measured. Nothing here knows a shot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.vision import colour, faces
from limner.vision.face import Face
from limner.vision.faces import Kind
from limner.vision.pictures import RGB8, resize

SIDE = 96
"""Longest side of the copy that colours are read from (starting value)."""
PLAIN = 3.0
"""Standard deviation of L*, a* or b* below which a picture shows nothing (starting value)."""
DLIB_BOX = 1.2
"""A face's height over that of dlib's box, which begins at the brow (24 labelled drawings)."""

Lab = NDArray[np.float64]
"""Pixels (n, 3): L* 0-100, a*, b*."""


@dataclass(frozen=True)
class Looks:
    """One picture. faces: sure ones found, None when faces cannot be looked for here. yaw: head
    turn in degrees, either side; share: face height over picture height; both of the largest face.

    clothes, legs: pixels below the face, where the picture reaches so far; without a face
    `clothes` is the middle of the picture. place: pixels at the upper left and right. busy: share
    of the place on edges, 0-1. plain: one colour all over, nobody is seen. lightness, warmth:
    median L* and mean b* of the picture. hair: median Lab above the brow.
    """

    faces: int | None
    yaw: float | None
    share: float | None
    clothes: Lab
    legs: Lab | None
    place: Lab
    busy: float
    plain: bool
    lightness: float
    warmth: float
    hair: tuple[float, float, float] | None


def look(image: RGB8, kind: Kind) -> Looks:
    """Read one picture (H, W, 3); about 0.2 s at 1024 pixels a side."""
    found: list[Face] | None = None
    if faces.available(kind) is None:
        found = faces.find_faces(image, kind=kind, thorough=False)
        found += faces.others(image, found, kind=kind)
    face = found[0] if found else None
    scale = min(1.0, SIDE / max(image.shape[:2]))
    height, width = (max(1, round(scale * n)) for n in image.shape[:2])
    small = resize(image, width, height)
    lab = colour.lab(small)
    box = None if face is None else _box(face, scale)
    place, busy = _place(small, lab)
    return Looks(
        faces=None if found is None else sum(one.sure for one in found),
        yaw=None if face is None else abs(face.yaw) if face.yaw is not None else None,
        share=None if box is None else (box[3] - box[1]) / height,
        clothes=_clothes(lab, box),
        legs=_legs(lab, box),
        place=place,
        busy=busy,
        plain=float(lab.reshape(-1, 3).std(axis=0).max()) < PLAIN,
        lightness=float(np.median(lab[..., 0])),
        warmth=float(lab[..., 2].mean()),
        hair=_hair(lab, box),
    )


def _box(face: Face, scale: float) -> tuple[float, float, float, float]:
    """Forehead to chin in pixels of the small copy, whichever finder it was."""
    x0, y0, x1, y1 = (v * scale for v in face.box)
    if face.detector.startswith("dlib"):
        y0 = y1 - DLIB_BOX * (y1 - y0)
    return x0, y0, x1, y1


Box = tuple[float, float, float, float]


def _clothes(lab: Lab, box: Box | None) -> Lab:
    """The chest: 0.35 to 1.6 face heights below the chin; the lowest rows where less is seen."""
    height, width = lab.shape[:2]
    if box is None:
        return _cut(lab, 0.36 * width, 0.3 * height, 0.64 * width, float(height))
    x0, _, x1, y1 = box
    tall, middle = y1 - box[1], (x0 + x1) / 2
    top = min(y1 + 0.35 * tall, 0.9 * height)
    return _cut(lab, middle - 0.75 * tall, top, middle + 0.75 * tall, y1 + 1.6 * tall)


def _legs(lab: Lab, box: Box | None) -> Lab | None:
    """Hips and thighs: 3.2 to 4.6 face heights below the chin; None where the picture ends."""
    if box is None:
        return None
    x0, y0, x1, y1 = box
    tall, middle = y1 - y0, (x0 + x1) / 2
    if y1 + 3.8 * tall > lab.shape[0]:
        return None
    return _cut(lab, middle - 0.5 * tall, y1 + 3.2 * tall, middle + 0.5 * tall, y1 + 4.6 * tall)


def _hair(lab: Lab, box: Box | None) -> tuple[float, float, float] | None:
    """Above the forehead, where hair is on nearly every head; None where the picture ends."""
    if box is None:
        return None
    x0, y0, x1, y1 = box
    tall, middle = y1 - y0, (x0 + x1) / 2
    if y0 - 0.2 * tall < 0 or tall < 4:
        return None
    patch = _cut(lab, middle - 0.25 * tall, y0 - 0.2 * tall, middle + 0.25 * tall, y0)
    values = np.median(patch, axis=0)
    return float(values[0]), float(values[1]), float(values[2])


def _place(small: RGB8, lab: Lab) -> tuple[Lab, float]:
    """Pixels of the upper left and right, beside a person who stands in the middle; their edges."""
    height, width = lab.shape[:2]
    mask = np.zeros((height, width), dtype=bool)
    side = max(1, round(0.17 * width))
    mask[: max(1, round(0.6 * height)), :side] = True
    mask[: max(1, round(0.6 * height)), -side:] = True
    seen = colour.ground(small, mask)
    return lab[mask], 0.0 if seen is None else seen.structure


def _cut(lab: Lab, x0: float, y0: float, x1: float, y1: float) -> Lab:
    """Pixels of a box kept inside the picture; never empty."""
    height, width = lab.shape[:2]
    left, top = min(max(int(x0), 0), width - 1), min(max(int(y0), 0), height - 1)
    right, bottom = max(left + 1, min(int(x1), width)), max(top + 1, min(int(y1), height))
    return lab[top:bottom, left:right].reshape(-1, 3)
