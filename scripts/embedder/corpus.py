"""What the two networks are trained on: pictures with labels, and aligned crops of their faces.

In: the shards of `scripts.miniature.corpus`. Out: `Pool`, split by person: every tenth is left out
of training and only measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.vision.align import frame
from scripts.embedder.families import FIRST, MEMBERS
from scripts.embedder.networks import EMBEDDER_SIDE, windows
from scripts.miniature.corpus import shards

LEFT_OUT = 10
"""Every tenth person trains nothing and is only measured."""
MARGIN = 1.25
"""Stored crops are this much larger than what the network sees: room to shift and scale."""
CROP = round(EMBEDDER_SIDE * MARGIN)
LEAST_FACE = 15.0
"""Face height in pixels below which a crop says nothing about identity."""
MOST_YAW = 65.0


@dataclass
class Pool:
    """Pictures (n, 128, 128, 3) with labels and aligned crops (m, CROP, CROP, 3).

    scene: drawings of one scene share their geometry. points: (n, 5, 2) and box: (n, 4) in pixels.
    rows: index of each crop's picture.
    """

    pictures: np.ndarray
    person: np.ndarray
    scene: np.ndarray
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


def left_out(person: int) -> bool:
    """Whether a person is kept for measuring; of look-alikes the whole family is."""
    number = person // MEMBERS if person >= FIRST else person
    return number % LEFT_OUT == LEFT_OUT - 1


def labelled(file: Path) -> dict[str, np.ndarray]:
    """What is known of every drawing of a shard: person, scene, points (n, 5, 2), box (n, 4), yaw,
    visible."""
    rows = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["rows"]
    labels = [row["labels"] for row in rows]
    return {
        "person": np.array([row["person"] for row in rows]),
        "scene": np.array([100 * row["person"] + row["scene"] for row in rows]),
        "points": np.array([[p[:2] for p in v["points"]] for v in labels], dtype=np.float64),
        "box": np.array([v["face_box"] for v in labels], dtype=np.float64),
        "yaw": np.array([v["yaw"] for v in labels]),
        "visible": np.array([v["face_visible"] for v in labels]),
    }


def load(folder: Path, people: int, *, measured: bool) -> Pool:
    """All drawings of the persons that train (or of those left out) below number `people`."""
    pools = [shard(file, people, measured=measured) for file in shards(folder)]
    pools = [pool for pool in pools if len(pool.pictures)]
    if not pools:
        raise SystemExit(f"no finished shards in {folder}")
    starts = np.cumsum([0, *(len(pool.pictures) for pool in pools)])
    rows = np.concatenate([p.rows + start for p, start in zip(pools, starts, strict=False)])
    names = ("pictures", "person", "scene", "points", "box", "yaw", "visible", "crops")
    joined = {name: np.concatenate([getattr(p, name) for p in pools]) for name in names}
    return Pool(**joined, rows=rows)


def shard(file: Path, people: int, *, measured: bool) -> Pool:
    """One shard's drawings of the persons asked for, with their aligned crops."""
    told = labelled(file)
    wanted = [
        i for i, p in enumerate(told["person"]) if p < people and left_out(int(p)) == measured
    ]
    pictures = np.load(file, allow_pickle=False)[wanted]
    told = {name: values[wanted] for name, values in told.items()}
    if not wanted:
        return Pool(pictures, **told, crops=pictures, rows=told["person"])
    index = np.nonzero(judgeable(told))[0]
    return Pool(pictures, **told, crops=crops(pictures[index], told["points"][index]), rows=index)


def judgeable(told: dict[str, np.ndarray]) -> np.ndarray:
    """(n,) whether a drawing of `labelled` shows a face that tells who it is."""
    tall = told["box"][:, 3] - told["box"][:, 1] >= LEAST_FACE
    return np.asarray(told["visible"] & (np.abs(told["yaw"]) < MOST_YAW) & tall)


def crops(pictures: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Aligned faces by their points (n, 5, 2), `MARGIN` times the network's view."""
    frames = [frame((tuple(p[0]), tuple(p[1])), tuple(p[2])) for p in points]
    x, y, side, roll = np.array(frames).reshape(-1, 4).T
    cut = windows(pictures, x, y, side * MARGIN, roll, CROP)
    return cut.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
