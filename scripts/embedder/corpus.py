"""What the two networks are trained on: pictures with labels, and aligned crops of their faces.

In: the shards of `scripts.miniature.corpus`. Out: `Pool`, split by person: the last tenth is left
out of training and only measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.vision.align import frame, warp
from scripts.embedder.networks import EMBEDDER_SIDE
from scripts.miniature.corpus import shards

HELD_OUT = 0.1
MARGIN = 1.25
"""Stored crops are this much larger than what the network sees: room to shift and scale."""
CROP = round(EMBEDDER_SIDE * MARGIN)
LEAST_FACE = 15.0
"""Face height in pixels below which a crop says nothing about identity."""
MOST_YAW = 65.0


@dataclass
class Pool:
    """Pictures (n, 128, 128, 3) with labels and aligned crops (m, CROP, CROP, 3).

    points: (n, 5, 2) and box: (n, 4) in pixels. rows: index of each crop's picture.
    """

    pictures: np.ndarray
    person: np.ndarray
    points: np.ndarray
    box: np.ndarray
    yaw: np.ndarray
    visible: np.ndarray
    crops: np.ndarray
    rows: np.ndarray

    @property
    def height(self) -> np.ndarray:
        """Face height in pixels (n,)."""
        return np.asarray(self.box[:, 3] - self.box[:, 1])


def load(folder: Path, people: int | None = None) -> tuple[Pool, Pool]:
    """Pools of training and of left-out persons of the first `people` of a corpus."""
    pictures, rows = [], []
    for file in shards(folder):
        found = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
        wanted = [i for i, r in enumerate(found) if people is None or r["person"] < people]
        if wanted:
            pictures.append(np.load(file, allow_pickle=False)[wanted])
            rows += [found[i] for i in wanted]
    if not rows:
        raise SystemExit(f"no finished shards in {folder}")
    stack = np.concatenate(pictures)
    persons = sorted({r["person"] for r in rows})
    first_left_out = persons[-max(1, round(HELD_OUT * len(persons)))]
    train = [i for i, r in enumerate(rows) if r["person"] < first_left_out]
    test = [i for i, r in enumerate(rows) if r["person"] >= first_left_out]
    return _pool(stack, rows, train), _pool(stack, rows, test)


def _pool(stack: np.ndarray, rows: list[dict], chosen: list[int]) -> Pool:  # type: ignore[type-arg]
    pictures = stack[chosen]
    labels = [rows[i]["labels"] for i in chosen]
    points = np.array([[p[:2] for p in v["points"]] for v in labels], dtype=np.float64)
    box = np.array([v["face_box"] for v in labels], dtype=np.float64)
    yaw = np.array([v["yaw"] for v in labels])
    visible = np.array([v["face_visible"] for v in labels])
    person = np.array([rows[i]["person"] for i in chosen])
    good = visible & (np.abs(yaw) < MOST_YAW) & (box[:, 3] - box[:, 1] >= LEAST_FACE)
    index = np.nonzero(good)[0]
    crops = np.stack([crop(pictures[i], points[i], CROP, MARGIN) for i in index])
    return Pool(pictures, person, points, box, yaw, visible, crops, index)


def crop(picture: np.ndarray, points: np.ndarray, side: int, margin: float) -> np.ndarray:
    """The aligned face of a picture by its five points, `margin` times the network's view."""
    eyes = (tuple(points[0]), tuple(points[1]))
    x, y, size, roll = frame(eyes, tuple(points[2]))  # type: ignore[arg-type]
    return warp(picture, x, y, size * margin, roll, side)
