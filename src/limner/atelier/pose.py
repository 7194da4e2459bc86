"""The body's pose: joints turned, vertices skinned.

In: shaped vertices (N,3), a `Scene`. Out: `Posed`: vertices in the torso's frame (dm) and the
transforms that carry hair, brows and eyes along.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from limner.atelier import mesh
from limner.atelier.identity import generator
from limner.atelier.mesh import F32, unit
from limner.atelier.scene import Scene


@dataclass(frozen=True)
class Arm:
    """Where a wrist goes. Coordinates: x out from the body's middle on the arm's own side, y, z in
    dm.

    wrist: place relative to the shoulder in shares of the arm's length, or of `anchor` when given.
    pole: where the elbow points. hand: where the fingers point (straight on from the forearm if
    None). twist: degrees of the hand about its own axis. curl: degrees of each finger joint.
    """

    wrist: tuple[float, float, float]
    pole: tuple[float, float, float]
    twist: float = 0.0
    curl: float = 22.0
    anchor: str = ""
    hand: tuple[float, float, float] | None = None


_HANG = Arm((0.10, -0.965, 0.13), (0.35, 0.0, -1.0), twist=25)
_ARMS: dict[str, tuple[Arm, Arm]] = {
    "hand_on_hip": (
        Arm((1.84, 1.42, 0.28), (1.0, 0.0, -0.6), 10, 20, "body", hand=(-0.45, -0.45, 0.8)),
        _HANG,
    ),
    "arms_crossed": (
        Arm((-0.55, 3.15, 1.55), (0.9, -1.0, 0.1), 10, 24, "body", hand=(-1.0, 0.15, -0.35)),
        Arm((-0.45, 2.72, 1.95), (0.9, -1.0, 0.1), 10, 24, "body", hand=(-1.0, 0.25, -0.45)),
    ),
    "waving": (
        Arm((0.08, 0.24, 0.30), (0.4, -1.0, -0.2), 35, 3, hand=(0.15, 1.0, 0.05)),
        _HANG,
    ),
    "hands_behind": (
        Arm((0.10, 0.95, -1.15), (1.0, 0.0, -0.5), 60, 24, "body"),
        Arm((0.10, 0.70, -1.35), (1.0, 0.0, -0.5), 60, 24, "body"),
    ),
    "walking": (
        Arm((0.12, -0.90, 0.36), (0.3, 0.0, -1.0), 25, 30),
        Arm((0.14, -0.93, -0.22), (0.3, 0.0, -1.0), 25, 30),
    ),
}
"""Pose id -> (first arm, second arm); which side is first comes from the scene's seed. Others
hang.
"""

LEGS_IN = 5.5
"""Degrees the legs close from the base mesh's wide stance."""
TURN = {"Spine1": 0.08, "Spine2": 0.14, "Neck": 0.34, "Head": 0.44}
"""How a turn of the head is shared along the spine."""
FINGERS = {"Index": 2, "Middle": 3, "Ring": 4, "Pinky": 5}


@dataclass(frozen=True)
class Posed:
    """vertices (N,3) dm; head, chest: (4,4); head_yaw: degrees of the head relative to the
    torso.
    """

    vertices: F32
    head: F32
    chest: F32
    head_yaw: float


def rotation(axis: str, degrees: float) -> F32:
    """Rotation matrix (3,3) about x, y or z."""
    a = np.deg2rad(degrees)
    c, s = np.cos(a), np.sin(a)
    rows = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }
    return np.array(rows[axis], np.float32)


def about(axis: F32, degrees: float) -> F32:
    """Rotation matrix (3,3) about any unit axis (Rodrigues)."""
    x, y, z = (float(v) for v in axis)
    a = np.deg2rad(degrees)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + np.sin(a) * k + (1 - np.cos(a)) * (k @ k), dtype=np.float32)


def turn_to(a: F32, b: F32) -> F32:
    """Smallest rotation (3,3) that brings direction `a` to direction `b`."""
    a, b = unit(a), unit(b)
    axis = np.cross(a, b)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-6:
        return np.eye(3, dtype=np.float32)
    return about(
        (axis / sine).astype(np.float32), float(np.rad2deg(np.arctan2(sine, float(a @ b))))
    )


def _at(turn: F32, pivot: F32) -> F32:
    """The transform (4,4) that turns about a pivot."""
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = turn
    matrix[:3, 3] = pivot - turn @ pivot
    return matrix


def _then(first: F32, second: F32) -> F32:
    """Two transforms (4,4) as one; `second` acts in the frame that `first` has moved."""
    return np.asarray(first @ second, dtype=np.float32)


def elbow_for(shoulder: F32, wrist: F32, upper: float, fore: float, pole: F32) -> tuple[F32, F32]:
    """Two-bone solution: (elbow, reachable wrist). `pole` is where the elbow should point."""
    reach = wrist - shoulder
    distance = float(np.linalg.norm(reach))
    straight = np.clip(distance, abs(upper - fore) + 0.05, (upper + fore) * 0.998)
    way = reach / max(distance, 1e-6)
    along = (upper**2 - fore**2 + straight**2) / (2 * straight)
    away = np.sqrt(max(upper**2 - along**2, 0.0))
    side = pole - way * float(pole @ way)
    elbow = shoulder + way * along + unit(side) * away
    return np.asarray(elbow, np.float32), np.asarray(shoulder + way * straight, np.float32)


def _arm(shaped: F32, arm: Arm, left: bool, chest: F32, out: dict[str, F32]) -> None:
    """Fill the transforms of one arm, hand and its fingers."""
    side, short = ("Left", "l") if left else ("Right", "r")
    sign = np.float32(1 if left else -1)
    mirror = np.array([sign, 1, 1], np.float32)
    names = {"s": "shoulder", "e": "elbow", "h": "hand"}
    s, e, h = (mesh.joint(shaped, f"{short}-{names[k]}") for k in "seh")
    upper, fore = float(np.linalg.norm(e - s)), float(np.linalg.norm(h - e))
    place = np.array(arm.wrist, np.float32) * mirror
    if arm.anchor:
        rest = mesh.rest()
        scale = (s[1] - mesh.joint(shaped, "pelvis")[1]) / (
            mesh.joint(rest, f"{short}-shoulder")[1] - mesh.joint(rest, "pelvis")[1]
        )
        width = abs(s[0]) / abs(mesh.joint(rest, f"{short}-shoulder")[0])
        pelvis, base = mesh.joint(shaped, "pelvis"), mesh.joint(rest, "pelvis")
        wrist = pelvis + (place - base) * np.array([width, scale, 1.0], np.float32)
    else:
        wrist = s + place * (upper + fore)
    elbow, wrist = elbow_for(s, wrist, upper, fore, np.array(arm.pole, np.float32) * mirror)
    first = turn_to(e - s, elbow - s)
    lower = turn_to(first @ (h - e), wrist - elbow) @ first
    out[side + "Shoulder"] = chest
    out[side + "Arm"] = chest @ _at(first, s)
    carried = np.eye(4, dtype=np.float32)
    carried[:3, :3], carried[:3, 3] = lower, elbow - lower @ e
    out[side + "ForeArm"] = chest @ carried
    middle = mesh.joint(shaped, f"{short}-finger-3-1")
    turn = lower
    if arm.hand is not None:
        turn = turn_to(lower @ (middle - h), np.array(arm.hand, np.float32) * mirror) @ lower
    turn = about(unit(turn @ (middle - h)), float(sign) * arm.twist) @ turn
    hand = np.eye(4, dtype=np.float32)
    hand[:3, :3], hand[:3, 3] = turn, wrist - turn @ h
    out[side + "Hand"] = chest @ hand
    _fingers(shaped, side, short, chest @ hand, float(arm.curl), out)


def _fingers(
    shaped: F32, side: str, short: str, hand: F32, curl: float, out: dict[str, F32]
) -> None:
    """Curl the fingers about the line of the knuckles and close their spread; the thumb follows."""

    def at(finger: int, k: int) -> F32:
        return mesh.joint(shaped, f"{short}-finger-{finger}-{k}")

    knuckles, middle = unit(at(2, 1) - at(5, 1)), at(3, 4) - at(3, 1)
    way = -1.0 if short == "l" else 1.0
    for finger, number in FINGERS.items():
        own = at(number, 4) - at(number, 1)
        matrix = hand @ _at(_partly(own, middle, 0.65), at(number, 1))
        for k in (1, 2, 3):
            bend = curl * (1.0 + 0.15 * (number - 2)) * (1.0 if k < 3 else 0.7)
            matrix = _then(matrix, _at(about(knuckles, way * bend), at(number, k)))
            out[f"{side}Hand{finger}{k}"] = matrix
    thumb = hand @ _at(_partly(at(1, 4) - at(1, 2), middle, 0.45), at(1, 1))
    for k in (1, 2, 3):
        out[f"{side}HandThumb{k}"] = thumb


def _partly(a: F32, b: F32, share: float) -> F32:
    """The rotation (3,3) that brings direction `a` a share of the way to `b`."""
    a, b = unit(a), unit(b)
    return turn_to(a, a * np.float32(1 - share) + b * np.float32(share))


def _legs(shaped: F32, scene: Scene, first_left: bool, out: dict[str, F32]) -> None:
    for left in (True, False):
        side, short = ("Left", "l") if left else ("Right", "r")
        sign = 1.0 if left else -1.0
        swing, knee, ankle = 0.0, 0.0, 0.0
        if scene.pose == "walking":
            swing, knee, ankle = (-23.0, 8.0, 8.0) if left == first_left else (17.0, 22.0, -8.0)
        close = rotation("z", -sign * LEGS_IN)
        hip = _at(rotation("x", swing) @ close, mesh.joint(shaped, f"{short}-upper-leg"))
        shin = _then(hip, _at(rotation("x", knee), mesh.joint(shaped, f"{short}-knee")))
        level = rotation("z", sign * LEGS_IN) @ rotation("x", ankle)
        foot = _then(shin, _at(level, mesh.joint(shaped, f"{short}-ankle")))
        out[side + "UpLeg"], out[side + "Leg"] = hip, shin
        out[side + "Foot"] = out[side + "ToeBase"] = foot


def transforms(shaped: F32, scene: Scene) -> tuple[dict[str, F32], float]:
    """Bone name -> transform (4,4), and the head's yaw relative to the torso in degrees."""
    turned = (scene.body_yaw - scene.yaw + 180.0) % 360.0 - 180.0
    out: dict[str, F32] = {}
    matrix = np.eye(4, dtype=np.float32)
    out["Hips"] = out["Spine"] = matrix
    spots = {"Spine1": "spine-3", "Spine2": "spine-2", "Neck": "neck", "Head": "head"}
    for bone, spot in spots.items():
        local = rotation("y", turned * TURN[bone])
        if bone in ("Neck", "Head"):
            part = 0.4 if bone == "Neck" else 0.6
            nod = rotation("x", scene.pitch * part) @ rotation("z", scene.roll * part)
            local = np.asarray(local @ nod, dtype=np.float32)
        matrix = _then(matrix, _at(local, mesh.joint(shaped, spot)))
        out[bone] = matrix
    first_left = bool(generator(scene.seed, "side").integers(2))
    arms = _ARMS.get(scene.pose, (_HANG, _HANG))
    if scene.pose == "relaxed":
        jitter = float(generator(scene.seed, "arms").uniform(-0.03, 0.05))
        x, y, z = _HANG.wrist
        arms = (replace(_HANG, wrist=(x + jitter, y, z)), _HANG)
    for left in (True, False):
        _arm(shaped, arms[0] if left == first_left else arms[1], left, out["Spine2"], out)
    _legs(shaped, scene, first_left, out)
    return out, turned


def pose(shaped: F32, expressed: F32, scene: Scene) -> Posed:
    """Skin `expressed` (face units added) with joints taken from `shaped` (without them)."""
    turns, yaw = transforms(shaped, scene)
    eye = np.eye(4, dtype=np.float32)
    stack = np.stack([turns.get(bone, eye) for bone in mesh.bones()])[:, :3].reshape(-1, 12)
    index, weight = mesh.skin_weights()
    blended = (stack[index] * weight[..., None]).sum(1).reshape(-1, 3, 4)
    placed = np.einsum("nij,nj->ni", blended[:, :, :3], expressed) + blended[:, :, 3]
    return Posed(placed.astype(np.float32), turns["Head"], turns["Spine2"], yaw)
