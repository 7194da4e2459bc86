"""A coarse map of the nearest skin around head and shoulders, so that hair can be kept out of it.

In: shaped vertices. Out: `Field.push`, which moves points to a wanted height over the skin.
"""

from __future__ import annotations

import numpy as np

from limner.atelier import mesh
from limner.atelier.mesh import F32, I32, Bool, unit

LOW = np.array([-2.7, 1.6, -2.1], np.float32)
HIGH = np.array([2.7, 9.3, 2.5], np.float32)
CELL = 0.12
"""Edges of the mapped box (raised with the person's head) and of its cells in dm."""
FACE = np.array([0.0, 7.02, 1.12], np.float32)
FACE_RADII = np.array([0.78, 0.98, 1.15], np.float32)
"""An ellipsoid over the face that combed hair keeps out of (dm, before it is scaled to the
person).
"""


class Field:
    """Nearest body vertex of every cell, found by jump flooding."""

    def __init__(self, shaped: F32) -> None:
        normals = np.zeros_like(shaped)
        mesh.add_normals(shaped, "body", normals)
        used = self._solid()
        self.points, self.normals = shaped[used], normals[used]
        # Round the ears the skin faces all ways; hair there is only ever pushed sideways.
        rest = mesh.rest()[used]
        beside = (np.abs(rest[:, 0]) > 0.55) & (np.abs(rest[:, 1] - 7.05) < 0.6)
        beside &= (rest[:, 2] > -0.45) & (rest[:, 2] < 0.85)
        self.normals[beside] *= np.float32(0.15)
        self.normals[beside, 0] += np.sign(rest[beside, 0])
        self.normals = unit(self.normals)
        self.shift = mesh.head_shift(shaped)
        self.origin = LOW + self.shift
        self.shape = tuple(int(v) for v in np.ceil((HIGH - LOW) / CELL))
        self.nearest = self._flood()
        head = self.points[self.points[:, 1] > 6.2 + self.shift[1]]
        self.low, self.high = head.min(0), head.max(0)
        self.face = FACE + self.shift
        wide = float(self.high[0] / 0.80)
        self.face_radii = FACE_RADII * np.array([np.clip(wide, 0.9, 1.15), 1, 1], np.float32)

    @staticmethod
    def _solid() -> I32:
        """Body vertices without the inside of the mouth and without ears, whose folds face all
        ways.
        """
        rest, used = mesh.rest(), mesh.surface("body").vertices
        p = rest[used]
        x = np.abs(p[:, 0])
        ear = (x > 0.74) & (p[:, 1] > 6.6) & (p[:, 1] < 7.55) & (p[:, 2] > -0.3) & (p[:, 2] < 0.75)
        mouth = (x < 0.34) & (p[:, 1] > 6.2) & (p[:, 1] < 7.0) & (p[:, 2] < 1.32) & (p[:, 2] > 0.3)
        return np.asarray(used[~ear & ~mouth & (p[:, 1] > 1.2)])

    def _flood(self) -> I32:
        shape = self.shape
        label = np.full(shape, -1, np.int32)
        cell = np.floor((self.points - self.origin) / CELL).astype(int)
        ok = ((cell >= 0) & (cell < shape)).all(1)
        label[tuple(cell[ok].T)] = np.nonzero(ok)[0]
        axes = [self.origin[k] + CELL * (np.arange(shape[k]) + 0.5) for k in range(3)]
        centre = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float32)
        best = self._away(label, centre)
        for step in (1, 8, 4, 2, 1):
            for axis in range(3):
                for way in (-step, step):
                    near = np.roll(label, way, axis)
                    away = self._away(near, centre)
                    closer = away < best
                    label[closer], best[closer] = near[closer], away[closer]
        return label

    def _away(self, label: I32, centre: F32) -> F32:
        gap = centre - self.points[np.maximum(label, 0)]
        away = np.einsum("xyzc,xyzc->xyz", gap, gap)
        return np.where(label >= 0, away, np.float32(1e9)).astype(np.float32)

    def height(self, points: F32) -> F32:
        """How far (n,) dm points (n,3) lie over the nearest skin; negative within it."""
        cell = np.clip(
            ((points - self.origin) / CELL).astype(np.int32), 0, np.array(self.shape) - 1
        )
        near = self.nearest[cell[:, 0], cell[:, 1], cell[:, 2]]
        return mesh.dot(points - self.points[near], self.normals[near])

    def press(self, points: F32, lift: F32, hold: F32 | float = 0.0) -> F32:
        """Points (n,3) moved along the skin's normal to at least `lift` (n,) dm over it.

        `hold` (n,) or a number, 0 to 1: share by which points further away are drawn back to
        `lift`.
        """
        cell = np.clip(
            ((points - self.origin) / CELL).astype(np.int32), 0, np.array(self.shape) - 1
        )
        near = self.nearest[cell[:, 0], cell[:, 1], cell[:, 2]]
        normal = self.normals[near]
        gap = lift - mesh.dot(points - self.points[near], normal)
        move = np.maximum(gap, 0).clip(0, 0.6) + hold * np.minimum(gap, 0).clip(-0.3, 0)
        return np.asarray(points + normal * move[:, None], dtype=np.float32)

    def clear_face(self, points: F32, side: F32, where: Bool) -> F32:
        """Points (n,3) moved out of the face's ellipsoid to their `side` (n,) of +1 or -1, where
        told.
        """
        q = (points - self.face) / self.face_radii
        hit = where & (mesh.dot(q, q) < 1) & (points[:, 1] < self.face[1] + 0.62)
        rest = 1 - q[:, 1] ** 2 - q[:, 2] ** 2
        reach = np.sqrt(np.clip(rest, 0.05, 1)) * self.face_radii[0]
        moved = points.copy()
        moved[:, 0] = np.where(hit, side * np.maximum(reach, side * points[:, 0]), points[:, 0])
        return moved.astype(np.float32)
