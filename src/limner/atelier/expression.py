"""What the face does: moods as weights of face units, and where the eyes look.

In: a mood id, a variant number, a gaze. Out: face-unit weights and eye angles in the head's frame.
"""

from __future__ import annotations

from functools import cache

from limner.errors import LimnerError

Weights = dict[str, float]


def _both(**units: float) -> Weights:
    return {f"{name}{side}": w for name, w in units.items() for side in ("Left", "Right")}


# Three variants a mood. Units are the ARKit-style names of the bundle.
_MOODS: dict[str, tuple[Weights, ...]] = {
    "happy": (
        {**_both(mouthSmile=0.85, cheekSquint=0.6, eyeSquint=0.3, mouthUpperUp=0.35), "jawOpen": 0.12},
        {**_both(mouthSmile=1.0, cheekSquint=0.8, eyeSquint=0.4, mouthDimple=0.3)},
        {**_both(mouthSmile=0.9, cheekSquint=0.7, eyeSquint=0.3, mouthUpperUp=0.5), "jawOpen": 0.2},
    ),
    "peaceful": (
        {**_both(eyeBlink=0.16, mouthSmile=0.22), "browInnerUp": 0.12},
        {**_both(eyeBlink=0.22, mouthSmile=0.16), "browInnerUp": 0.18},
        {**_both(eyeBlink=0.12, mouthSmile=0.3, cheekSquint=0.1)},
    ),
    "confident": (
        {**_both(browDown=0.45, mouthSmile=0.28, mouthPress=0.35, eyeSquint=0.25)},
        {**_both(browDown=0.6, mouthPress=0.5, mouthSmile=0.18, eyeSquint=0.15), "jawForward": 0.2},
        {**_both(browDown=0.4, mouthSmile=0.36, mouthPress=0.3, eyeSquint=0.3)},
    ),
    "contemplative": (
        {**_both(browDown=0.12, mouthFrown=0.22), "browInnerUp": 0.45},
        {**_both(mouthFrown=0.28, mouthPress=0.15), "browInnerUp": 0.6},
        {**_both(mouthFrown=0.15, mouthShrugLower=0.0), "browInnerUp": 0.4, "mouthPucker": 0.15},
    ),
    "playful": (
        {
            "mouthSmileLeft": 1.0, "mouthSmileRight": 0.3, "browOuterUpLeft": 0.9, "browDownRight": 0.5,
            "eyeSquintRight": 0.45, "cheekSquintLeft": 0.6, "mouthLeft": 0.3, "browInnerUp": 0.2,
        },
        {
            "mouthSmileRight": 1.0, "mouthSmileLeft": 0.35, "browOuterUpRight": 0.9, "browDownLeft": 0.5,
            "eyeSquintLeft": 0.5, "cheekSquintRight": 0.6, "mouthRight": 0.3, "browInnerUp": 0.2,
        },
        {
            "mouthSmileLeft": 1.0, "mouthSmileRight": 0.45, "browOuterUpLeft": 1.0, "jawOpen": 0.1,
            "mouthUpperUpLeft": 0.4, "cheekSquintLeft": 0.7, "eyeSquintRight": 0.5, "mouthLeft": 0.25,
        },
    ),
}  # fmt: skip

EYE_YAW, EYE_PITCH = 28.0, 18.0
"""Largest turn of the eyes in degrees; beyond it people turn the head."""


@cache
def mood_ids() -> tuple[str, ...]:
    """Moods this module can draw."""
    return tuple(_MOODS)


def face_units(mood: str, variant: int, gaze: str) -> Weights:
    """Face-unit weights of a mood; `variant` counts modulo three. Raises LimnerError for an unknown mood."""
    try:
        variants = _MOODS[mood]
    except KeyError:
        raise LimnerError(f"no expression {mood!r}", fix=f"use one of: {', '.join(_MOODS)}") from None
    weights = dict(variants[variant % len(variants)])
    if gaze == "down":
        for side in ("Left", "Right"):
            weights["eyeLookDown" + side] = 0.6
            weights["eyeBlink" + side] = max(weights.get("eyeBlink" + side, 0.0), 0.18)
    return {k: v for k, v in weights.items() if v}


def eye_angles(gaze: str, yaw: float, pitch: float, side: float) -> tuple[float, float]:
    """(yaw, pitch) of the eyes in degrees in the head's frame; pitch down positive.

    gaze "camera" turns them to a camera at `yaw` degrees of the head (as far as eyes go); "away"
    looks past it on the `side` (+1 or -1) given; "down" to the floor ahead.
    """
    if gaze == "camera":
        turn = yaw if abs(yaw) <= 60 else 0.0
        return _limit(turn, EYE_YAW), _limit(-pitch, EYE_PITCH)
    if gaze == "down":
        return _limit(yaw * 0.2, 8.0), EYE_PITCH
    return _limit(side * 24.0 + _limit(yaw, 20.0) * 0.3, EYE_YAW), -4.0


def _limit(value: float, most: float) -> float:
    return max(-most, min(most, value))
