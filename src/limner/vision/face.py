"""A face in a picture: box, points, head turn. What detectors give and embedders take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]
Box = tuple[float, float, float, float]

SURE = 0.97
"""Least score of a face that Limner's finder alone has seen; below, foliage and hair look back
(calibration drawings of bench/planted_faults.py)."""


@dataclass(frozen=True)
class Face:
    """One face. Pixels of the picture, x right, y down.

    box: x0, y0, x1, y1 of the detector (brow or forehead to chin). eyes: the figure's right then
    left (seen from the front: image-left then image-right). nose: its tip, or below it for dlib.
    mouth: corners, None when the detector does not give them. score: the detector's own, not
    comparable between detectors. yaw: estimated head turn in degrees, positive when the nose
    points to image-left (as in the atelier), None when unknown. dlib_box: dlib's own box, when it
    found the face too.
    """

    box: Box
    eyes: tuple[Point, Point]
    nose: Point
    score: float
    detector: str
    mouth: tuple[Point, Point] | None = None
    yaw: float | None = None
    dlib_box: Box | None = None

    @property
    def sure(self) -> bool:
        """Whether it can be judged: two detectors agree, or the only one is very sure."""
        found_by_dlib = self.dlib_box is not None or self.detector.startswith("dlib")
        return found_by_dlib or self.score >= SURE

    @property
    def width(self) -> float:
        """Box width in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Box height in pixels."""
        return self.box[3] - self.box[1]

    @property
    def eye_distance(self) -> float:
        """Pixels between the eye centres (shrinks with the cosine of yaw)."""
        (ax, ay), (bx, by) = self.eyes
        return float(np.hypot(bx - ax, by - ay))
