"""The camera: where it stands so that the face fills the share of the picture a scene asks for.

In: posed figure, scene, picture size. Out: `Camera`, which projects points and gives rays back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from limner.atelier import mesh
from limner.atelier.mesh import F32, I64, Bool
from limner.atelier.pose import Posed, rotation
from limner.atelier.scene import Scene

FIELD_OF_VIEW = 22.0
"""Vertical field of view in degrees: a short telephoto lens (about 85 mm on full frame)."""
HEADROOM = {"close_up": 0.085, "half_body": 0.08, "cowboy": 0.07, "full_body": 0.035}
"""Free space above the head as a share of the picture's height."""
FACE_TOP, FACE_BOTTOM = 7.74, 6.06
"""Rest heights (dm) of the middle of the forehead and of the chin: the face box's top and
bottom.
"""


@dataclass(frozen=True)
class Camera:
    """size: picture side in pixels; turn: world to camera (3,3); target: a point on the axis;
    distance: from the eye to the target (dm); focal: in pixels."""

    size: int
    turn: F32
    target: F32
    distance: float
    focal: float

    def project(self, points: F32) -> F32:
        """Points (...,3) in dm to x, y in pixels and depth in dm."""
        local = (points - self.target) @ self.turn.T
        depth = np.float32(self.distance) - local[..., 2]
        scale = np.float32(self.focal) / np.maximum(depth, np.float32(0.05))
        half = np.float32(self.size / 2)
        x, y = half + local[..., 0] * scale, half - local[..., 1] * scale
        return np.stack([x, y, depth], -1).astype(np.float32)

    def unproject(self, pixel: I64, depth: F32) -> F32:
        """World points (n,3) seen at pixel centres at a depth."""
        half = np.float32(self.size / 2 - 0.5)
        x = ((pixel % self.size) - half).astype(np.float32) * depth / np.float32(self.focal)
        y = (half - (pixel // self.size)).astype(np.float32) * depth / np.float32(self.focal)
        local = np.stack([x, y, np.float32(self.distance) - depth], 1)
        return np.asarray(local @ self.turn + self.target, dtype=np.float32)

    @property
    def eye(self) -> F32:
        """Where the camera stands (3,)."""
        return self.turn.T @ np.array([0, 0, self.distance], np.float32) + self.target

    @property
    def scale(self) -> float:
        """Pixels a dm at the target's distance."""
        return self.focal / self.distance


@cache
def face_vertices() -> mesh.I32:
    """Body vertices of the face: forehead to chin, cheek to cheek, ears and neck left out."""
    points = mesh.rest()
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    front = np.maximum(0.48, np.interp(y, [6.0, 6.25, 6.6], [1.05, 0.85, 0.48]))
    mine: Bool = np.zeros(len(points), bool)
    mine[mesh.surface("body").vertices] = True
    chosen = mine & (y > FACE_BOTTOM) & (y < FACE_TOP) & (z > front) & (np.abs(x) < 0.85)
    return np.nonzero(chosen)[0].astype(np.int32)


@cache
def head_vertices() -> mesh.I32:
    """Body vertices of the whole head with ears, without the neck."""
    points = mesh.rest()
    mine: Bool = np.zeros(len(points), bool)
    mine[mesh.surface("body").vertices] = True
    low = np.interp(points[:, 2], [-0.5, 0.4, 1.0], [6.45, 6.3, 6.06])
    chosen = mine & (points[:, 1] > low) & (np.abs(points[:, 0]) < 1.2)
    return np.nonzero(chosen)[0].astype(np.int32)


def place(posed: Posed, shaped: F32, crown: float, scene: Scene, size: int) -> Camera:
    """Stand the camera for a scene; `crown` (dm) is how far the hair rises over the scalp.

    `size` is the side of the (supersampled) picture in pixels.
    """
    turn = rotation("y", -scene.body_yaw)
    face, head = posed.vertices[face_vertices()], posed.vertices[head_vertices()]
    rest_face = shaped[face_vertices()][:, 1]
    height = float(rest_face.max() - rest_face.min())
    half_angle = np.tan(np.deg2rad(FIELD_OF_VIEW / 2))
    visible = height / scene.face_share
    top = float(head[:, 1].max()) + crown
    local = posed.vertices[mesh.surface("body").vertices]
    floor = float(local[:, 1].min())
    if scene.framing == "full_body":
        visible = max(visible, (top - floor) * 1.045)
    middle = top + visible * HEADROOM[scene.framing] - visible / 2
    if scene.framing == "full_body":
        middle = (top + floor) / 2 + 0.004 * visible
    centre = (head.max(0) + head.min(0)) / 2
    share = {"close_up": 0.72, "half_body": 0.4, "cowboy": 0.3, "full_body": 0.2}[scene.framing]
    across = turn @ (centre * np.float32(share))
    ahead = turn @ (face.max(0) + face.min(0)) / 2
    target = turn.T @ np.array([across[0], 0, ahead[2]], np.float32)
    target[1] = middle
    return Camera(
        size=size,
        turn=turn,
        target=target.astype(np.float32),
        distance=float(visible / (2 * half_angle)),
        focal=float(size / 2 / half_angle),
    )
