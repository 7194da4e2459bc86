"""What a drawing shows, exactly: measured from the geometry that was drawn.

In: posed figure, camera, buffer, scene. Out: `Labels` in pixels of the finished picture.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from limner.atelier import mesh, raster, skin
from limner.atelier.camera import Camera, face_vertices, head_vertices
from limner.atelier.geometry import LABELS
from limner.atelier.identity import Identity
from limner.atelier.mesh import F32, I64, U8
from limner.atelier.pose import Posed
from limner.atelier.scene import Scene

RENDERER_VERSION = "1"
"""Changes whenever the same identity and scene give another picture; part of every cache key."""
POINTS = ("right_eye", "left_eye", "nose_tip", "right_mouth", "left_mouth")
"""Order of the five points. Sides are the figure's: seen from the front, its right is
image-left.
"""
POINT_TOLERANCE = 0.30
"""dm that a point may lie behind the drawn surface and still count as seen."""
FACE_VISIBLE = 0.12
"""Share of the face box that must be drawn face for `face_visible` (starting value)."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Labels:
    """Ground truth of one drawing. Boxes are x0, y0, x1, y1 in pixels; they may leave the picture.

    face_box: forehead to chin, cheek to cheek. head_box: the head with ears, without hair.
    points: five (x, y, visible) in the order of `POINTS`. yaw, pitch, roll: of the face to the
    camera.
    """

    identity: dict[str, Any]
    angle: str
    yaw: float
    body_yaw: float
    pitch: float
    roll: float
    face_box: Box
    head_box: Box
    points: tuple[tuple[float, float, bool], ...]
    face_visible: bool
    parts: tuple[str, ...]
    framing: str
    face_share: float
    expression: str
    gaze: str
    pose: str
    outfit: str
    setting: str
    lighting: str
    seed: int
    size: int
    renderer: str = RENDERER_VERSION

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def _box(points: F32, scale: float) -> Box:
    low, high = points[:, :2].min(0) / scale, points[:, :2].max(0) / scale
    return tuple(round(float(v), 2) for v in (*low, *high))  # type: ignore[return-value]


def _nose_tip() -> int:
    rest = mesh.rest()
    near = (np.abs(rest[:, 0]) < 0.06) & (rest[:, 1] > 6.75) & (rest[:, 1] < 7.15)
    rows = np.intersect1d(np.nonzero(near)[0], mesh.surface("body").vertices)
    return int(rows[rest[rows, 2].argmax()])


def measure(
    identity: Identity, scene: Scene, posed: Posed, camera: Camera, buffer: I64, mask: U8, size: int
) -> Labels:
    """Labels of a drawing of `size` px whose buffer was drawn through `camera` (supersampled)."""
    scale = camera.size / size
    face = camera.project(posed.vertices[face_vertices()])
    head = camera.project(posed.vertices[head_vertices()])
    eyes = [posed.vertices[mesh.group_vertices(f"helper-{s}-eye")].mean(0) for s in ("r", "l")]
    corners = [posed.vertices[k] for k in skin.mouth_corners()]
    spots = camera.project(np.stack([*eyes, posed.vertices[_nose_tip()], *corners]))
    depth = raster.depth(buffer)
    points = []
    for x, y, z in spots:
        inside = 0 <= x < camera.size and 0 <= y < camera.size
        front = depth[int(y) * camera.size + int(x)] if inside else np.inf
        visible = bool(inside and front > z - POINT_TOLERANCE)
        points.append((round(float(x) / scale, 2), round(float(y) / scale, 2), visible))
    box = _box(face, scale)
    seen = float((mask == LABELS.index("face")).sum() + (mask == LABELS.index("beard")).sum())
    area = max((box[2] - box[0]) * (box[3] - box[1]), 1.0)
    turned = abs(scene.yaw) < 110
    return Labels(
        identity=identity.as_dict(),
        angle=scene.angle,
        yaw=round(scene.yaw, 2),
        body_yaw=round(scene.body_yaw, 2),
        pitch=round(scene.pitch, 2),
        roll=round(scene.roll, 2),
        face_box=box,
        head_box=_box(head, scale),
        points=tuple(points),
        face_visible=turned and seen / area > FACE_VISIBLE,
        parts=LABELS,
        framing=scene.framing,
        face_share=round((box[3] - box[1]) / size, 4),
        expression=scene.expression,
        gaze=scene.gaze,
        pose=scene.pose,
        outfit=scene.outfit.id,
        setting=scene.setting,
        lighting=scene.lighting,
        seed=scene.seed,
        size=size,
    )
