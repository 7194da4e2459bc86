"""dlib: faces and their points. HOG first, the CNN where HOG finds nothing.

In: a picture (uint8 H x W x 3) and the smallest face worth finding. Out: `Face`s, largest first.
Not finding a face says nothing about a head turned by more than about 55 degrees.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.errors import MissingExtraError
from limner.vision.face import Box, Face, Point
from limner.vision.pictures import RGB8, resize

Hit = tuple[Box, float, str]
"""Box, score, detector."""
HOG_FACE = 80
"""Side of dlib's detection window in pixels (dlib documentation); smaller faces are enlarged."""
CNN_SIDE = 256
"""Longest side the CNN works on: 0.38 s at 256 x 256 on one core (HOG: 0.01 s)."""
CNN_SCORE = 0.5
"""Least score of a CNN hit; the value detection rates were measured with."""


def available() -> str | None:
    """None when dlib and its weights are installed, else the reason in words."""
    from importlib.util import find_spec

    if find_spec("dlib") is None or find_spec("face_recognition_models") is None:
        return "install limner[faces]"
    return None


def weights(name: str) -> Path:
    """Path of a dlib weight file. Raises MissingExtraError."""
    from importlib.util import find_spec

    spec = find_spec("face_recognition_models")
    if available() is not None or spec is None or spec.origin is None:
        raise MissingExtraError(
            "Faces cannot be measured: dlib is not installed", fix='pip install "limner[faces]"'
        )
    return Path(spec.origin).parent / "models" / name


@cache
def _models() -> tuple[Any, Any, Any]:
    cnn_file = weights("mmod_human_face_detector.dat")
    points_file = weights("shape_predictor_5_face_landmarks.dat")
    import dlib

    return (
        dlib.get_frontal_face_detector(),
        dlib.cnn_face_detection_model_v1(str(cnn_file)),
        dlib.shape_predictor(str(points_file)),
    )


LEAST_SIDE = 16
"""Pixels; a thinner strip shows no face, and dlib's network fails or crashes on one under 8."""


def boxes(image: RGB8, *, smallest_face: float, thorough: bool, side: int) -> list[Hit]:
    """Boxes of faces at least `smallest_face` pixels wide.

    thorough: ask the CNN (20 times slower) when HOG finds nothing. Pictures are enlarged so that
    the smallest face fills the detector's window, to at most `side` pixels for HOG (0.17 s at 1280
    on one core) and 256 for the CNN. Raises MissingExtraError.
    """
    hog, cnn, _ = _models()
    height, width = image.shape[:2]
    wanted = HOG_FACE / smallest_face
    found = _run(hog, image, min(wanted, side / max(height, width)), score=None)
    if not found and thorough:
        found = _run(cnn, image, min(wanted, CNN_SIDE / max(height, width)), score=CNN_SCORE)
    # Detector boxes come in steps of a fifth, so a face on the limit is let through.
    return [hit for hit in found if hit[0][2] - hit[0][0] >= 0.8 * smallest_face]


def _run(detector: Any, image: RGB8, scale: float, score: float | None) -> list[Hit]:
    height, width = image.shape[:2]
    work = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    if min(work.shape[:2]) < LEAST_SIDE:
        return []
    work = np.ascontiguousarray(work)
    hits: list[Hit] = []
    if score is None:
        rects, scores, _ = detector.run(work, 0, 0.0)
        pairs = [(r, float(s), "hog") for r, s in zip(rects, scores, strict=True)]
    else:
        found = detector(work, 0)
        pairs = [(d.rect, float(d.confidence), "cnn") for d in found if d.confidence > score]
    for rect, value, name in pairs:
        box = (rect.left(), rect.top(), rect.right() + 1, rect.bottom() + 1)
        scaled = tuple(float(v) / scale for v in box)
        hits.append(((scaled[0], scaled[1], scaled[2], scaled[3]), value, name))
    return hits


def crop_for_points(image: RGB8, box: Box, side: int = 150) -> tuple[RGB8, float, Point]:
    """A square around `box` (half a box of margin) scaled so that the box is `side` pixels.

    Small faces need it: dlib's predictor and its face chip work on this size. Returns the crop,
    its scale and its origin in the picture; outside the picture the edge is repeated.
    """
    x0, y0, x1, y1 = box
    half = max(x1 - x0, y1 - y0)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    left, top = int(np.floor(cx - half)), int(np.floor(cy - half))
    size = int(np.ceil(2 * half))
    ys = np.clip(np.arange(top, top + size), 0, image.shape[0] - 1)
    xs = np.clip(np.arange(left, left + size), 0, image.shape[1] - 1)
    scale = 2 * side / size
    crop = resize(np.ascontiguousarray(image[np.ix_(ys, xs)]), 2 * side, 2 * side)
    return crop, scale, (float(left), float(top))


def shape_of(image: RGB8, box: Box) -> tuple[RGB8, Any, float, Point]:
    """dlib's five points of the face in `box`, on a crop: crop, points, scale, origin."""
    import dlib

    crop, scale, (left, top) = crop_for_points(image, box)
    x0, y0, x1, y1 = (
        round((box[0] - left) * scale),
        round((box[1] - top) * scale),
        round((box[2] - left) * scale),
        round((box[3] - top) * scale),
    )
    shape = _models()[2](crop, dlib.rectangle(x0, y0, x1, y1))
    return crop, shape, scale, (left, top)


def face_at(image: RGB8, hit: Hit) -> Face:
    """The five points of a found box, and the head turn they suggest."""
    box, score, name = hit
    _, shape, scale, (left, top) = shape_of(image, box)
    raw = np.array([(p.x, p.y) for p in shape.parts()], dtype=np.float64) / scale
    raw += (left, top)
    centres = sorted([raw[0:2].mean(0), raw[2:4].mean(0)], key=lambda p: float(p[0]))
    eyes = (_point(centres[0]), _point(centres[1]))
    nose = _point(raw[4])
    yaw = yaw_from_points(eyes, nose)
    return Face(box, eyes, nose, score, f"dlib {name}", yaw=yaw, dlib_box=box)


def _point(value: NDArray[np.float64]) -> Point:
    return float(value[0]), float(value[1])


def yaw_from_points(eyes: tuple[Point, Point], nose: Point) -> float:
    """Head turn in degrees from eye centres and nose, positive with the nose to image-left; coarse.

    r = ((eye midpoint - nose) . eye axis) / eye distance; yaw = 90 tanh(k r), which stays in range
    where the eyes nearly meet. k from bands read off photographs: frontal heads have |r| below .10,
    three-quarter heads .12 to .25, strong turns above .30.
    """
    left, right, tip = (np.array(p) for p in (eyes[0], eyes[1], nose))
    axis = right - left
    distance = float(np.hypot(*axis))
    if distance < 1e-6:
        return 90.0
    r = -float((tip - (left + right) / 2) @ axis) / distance**2
    return float(90.0 * np.tanh(YAW_SLOPE * r))


YAW_SLOPE = 1.9


def box_of(face: Face) -> Box:
    """dlib's own box of a face, or the one it would give, from eyes and mouth of another finder."""
    if face.dlib_box is not None or face.mouth is None:
        return face.dlib_box or face.box
    eyes, mouth = np.array(face.eyes).mean(0), np.array(face.mouth).mean(0)
    down = mouth - eyes
    x, y = eyes + BOX_DOWN * down
    half = BOX_SIDE * float(np.hypot(*down)) / 2
    return float(x - half), float(y - half), float(x + half), float(y + half)


BOX_DOWN, BOX_SIDE = 0.5, 2.4
"""Centre and side of dlib's box in terms of the way from eyes to mouth (20 labelled drawings)."""
