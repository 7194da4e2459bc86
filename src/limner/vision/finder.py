"""Limner's own face finder for drawings: one face with five points and its head turn, in 2 ms.

In: a picture. Out: a `Face`, or None. Trained on drawings only (scripts/train_embedder.py): on
photographs it must not be used. It shares nothing with dlib.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.vision.align import warp
from limner.vision.face import Box, Face
from limner.vision.pictures import RGB8
from limner.vision.shipped import data_file, network_missing

SIDE = 64
"""Side of the network's view in pixels."""
FACE_PROBABILITY = 0.5
ZOOM = 2.2
"""The second look: a square this many times the face's larger side."""
NAME = "limner finder"


def available() -> str | None:
    """None when the finder can run here, else the reason in words."""
    return network_missing("finder.onnx")


def find_drawn_face(image: RGB8, near: Box | None = None) -> Face | None:
    """The largest face of a drawing; None when there is none.

    near: a box to look at (another detector's); without it the whole picture is looked at, then
    its neighbourhood again. The box runs from forehead to chin, cheek to cheek. nose is its tip.
    Raises LimnerError when the installation lacks the network.
    """
    height, width = image.shape[:2]
    if near is None:
        first = _look(image, width / 2, height / 2, float(max(height, width)))
        if first is None:
            return None
        near = first.box
    x, y = (near[0] + near[2]) / 2, (near[1] + near[3]) / 2
    return _look(image, x, y, ZOOM * max(near[2] - near[0], near[3] - near[1]))


def _look(image: RGB8, x: float, y: float, side: float) -> Face | None:
    view = warp(image, x, y, side, 0.0, SIDE)
    out = run(view[None])[0]
    score = float(1 / (1 + np.exp(-out[12])))
    if score < FACE_PROBABILITY:
        return None
    middle, size = out[0:2] * side + (x - side / 2, y - side / 2), out[13:15] * side
    spots = out[2:12].reshape(5, 2) * side + (x - side / 2, y - side / 2)
    points = [(float(a), float(b)) for a, b in spots]
    box = (*(middle - size / 2).tolist(), *(middle + size / 2).tolist())
    yaw = float(np.degrees(np.arctan2(out[15], out[16])))
    return Face(box, (points[0], points[1]), points[2], score, NAME, (points[3], points[4]), yaw)


def run(views: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The network on views (n, 64, 64, 3): (n, 17) as in scripts/embedder/networks.py."""
    pixels = np.moveaxis(views.astype(np.float32), 3, 1) / np.float32(127.5) - np.float32(1.0)
    return np.array(_session().run(None, {"picture": pixels})[0], dtype=np.float64)


@cache
def _session() -> Any:
    file = data_file("finder.onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
