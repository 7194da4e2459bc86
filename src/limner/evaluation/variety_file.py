"""How much one prompt's pictures vary, kept beside a grid so that the verdict opens no picture.

In: the pictures of the winner and the base, 8 seeds of one prompt. Out: variety.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limner import vision
from limner.evaluation.details import GRID, coarse
from limner.evaluation.qualities import variety
from limner.project import files
from limner.vision.pictures import resize

FILE = "variety.json"
SIDE = 64


def write(folder: Path, mine: Sequence[Path], base: Sequence[Path]) -> None:
    """Compare the winner's pictures with the base's; too few of either keep nothing."""
    found = variety([_coarse(p) for p in mine], [_coarse(p) for p in base])
    if found is not None:
        files.write_json(folder / FILE, found)


def _coarse(path: Path) -> np.ndarray[Any, Any]:
    small = resize(vision.open_picture(path), SIDE, SIDE)
    return coarse(small, np.ones((SIDE, SIDE), dtype=bool)).reshape(GRID, GRID, 3)


def read(folder: Path) -> dict[str, Any]:
    """What was kept; empty when there is nothing."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return found if {"ratio", "interval", "n"} <= set(found) else {}
    except (OSError, ValueError, TypeError):
        return {}
