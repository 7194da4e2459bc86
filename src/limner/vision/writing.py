"""Writing in a picture (watermarks, captions, signs), where the user has rapidocr.

In: a picture. Out: share of it that is covered by writing, and how many pieces. Optional: half a
second a picture and 27 MB; without it "not measured".
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from limner.vision.pictures import RGB8, resize

LEAST_SIDE = 512
"""Smaller pictures are enlarged to this: the detector misses letters below about 10 px."""
SURE = 0.5
"""Least confidence of a piece (starting value)."""


def available() -> str | None:
    """None when writing can be looked for, else the reason in words."""
    return None if find_spec("rapidocr") else "install rapidocr"


@cache
def _reader() -> Any:
    return import_module("rapidocr").RapidOCR(params={"Global.log_level": "error"})


def share(image: RGB8) -> dict[str, float]:
    """text_share: covered share of the picture, 0-1. text_pieces: pieces of writing."""
    factor = max(1.0, LEAST_SIDE / max(image.shape[:2]))
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    found = _reader()(np.ascontiguousarray(resize(image, *size)[..., ::-1]))
    boxes, scores = getattr(found, "boxes", None), getattr(found, "scores", None)
    if boxes is None or scores is None:
        return {"text_share": 0.0, "text_pieces": 0.0}
    sure = [b for b, s in zip(boxes, scores, strict=True) if s >= SURE]
    area = sum(_area(np.asarray(b, dtype=np.float64)) for b in sure)
    return {"text_share": area / (size[0] * size[1]), "text_pieces": float(len(sure))}


def _area(corners: Any) -> float:
    x, y = corners[:, 0], corners[:, 1]
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)
