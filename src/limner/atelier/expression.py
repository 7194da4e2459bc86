"""What the face does: moods as weights of face units, and where the eyes look.

In: a mood id, a variant number, a gaze. Out: face-unit weights and eye angles in the head's frame.
"""

from __future__ import annotations

from limner.errors import LimnerError

Weights = dict[str, float]


def _both(**units: float) -> Weights:
    return {f"{name}{side}": w for name, w in units.items() for side in ("Left", "Right")}


# Three variants a mood. Units are the ARKit-style names of the bundle.
_MOODS: dict[str, tuple[Weights, ...]] = {
    "happy": (
        {**_both(mouthSmile=0.95, cheekSquint=0.7, eyeSquint=0.3, mouthUpperUp=0.5),
         "browInnerUp": 0.3, "jawOpen": 0.16},
        {**_both(mouthSmile=1.1, cheekSquint=0.9, eyeSquint=0.4, mouthDimple=0.4,
                 mouthUpperUp=0.35),
         "browInnerUp": 0.3, "jawOpen": 0.06},
        {**_both(mouthSmile=1.0, cheekSquint=0.8, eyeSquint=0.3, mouthUpperUp=0.6),
         "browInnerUp": 0.3, "jawOpen": 0.26},
    ),
    "peaceful": (
        {**_both(eyeBlink=0.30, mouthSmile=0.42), "browInnerUp": 0.15},
        {**_both(eyeBlink=0.36, mouthSmile=0.38), "browInnerUp": 0.25},
        {**_both(eyeBlink=0.28, mouthSmile=0.48, cheekSquint=0.1)},
    ),
    "confident": (
        {**_both(browDown=0.7, mouthSmile=0.30, mouthPress=0.55, eyeSquint=0.3), "jawForward": 0.3},
        {**_both(browDown=0.9, mouthPress=0.7, mouthSmile=0.22, eyeSquint=0.2), "jawForward": 0.4},
        {**_both(browDown=0.65, mouthSmile=0.40, mouthPress=0.5, eyeSquint=0.35),
         "jawForward": 0.3},
    ),
    "contemplative": (
        {**_both(mouthFrown=0.35), "browInnerUp": 0.85, "mouthPucker": 0.25},
        {**_both(mouthFrown=0.4, mouthPress=0.2), "browInnerUp": 1.0},
        {**_both(mouthFrown=0.3), "browInnerUp": 0.8, "mouthPucker": 0.4},
    ),
    "playful": (
        {
            "mouthSmileLeft": 1.2, "mouthSmileRight": 0.25, "browOuterUpLeft": 1.2,
            "browDownRight": 0.8,
            "eyeSquintRight": 0.8, "cheekSquintLeft": 0.7, "mouthLeft": 0.5, "browInnerUp": 0.2,
            "eyeBlinkRight": 0.25,
        },
        {
            "mouthSmileRight": 1.2, "mouthSmileLeft": 0.3, "browOuterUpRight": 1.2,
            "browDownLeft": 0.8,
            "eyeSquintLeft": 0.8, "cheekSquintRight": 0.7, "mouthRight": 0.5, "browInnerUp": 0.2,
            "eyeBlinkLeft": 0.25,
        },
        {
            "mouthSmileLeft": 1.2, "mouthSmileRight": 0.4, "browOuterUpLeft": 1.3, "jawOpen": 0.12,
            "mouthUpperUpLeft": 0.6, "cheekSquintLeft": 0.8, "eyeSquintRight": 0.8,
            "mouthLeft": 0.45,
            "browDownRight": 0.5,
        },
    ),
}  # fmt: skip

EYE_YAW, EYE_PITCH = 28.0, 18.0
"""Largest turn of the eyes in degrees; beyond it people turn the head."""


def face_units(mood: str, variant: int, gaze: str) -> Weights:
    """Face-unit weights of a mood; `variant` counts modulo three. Raises LimnerError for an
    unknown mood.
    """
    try:
        variants = _MOODS[mood]
    except KeyError:
        raise LimnerError(
            f"no expression {mood!r}", fix=f"use one of: {', '.join(_MOODS)}"
        ) from None
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


def face_unit_names() -> tuple[str, ...]:
    """Every face unit that some mood or gaze uses."""
    used = {unit for variants in _MOODS.values() for weights in variants for unit in weights}
    sides = ("Left", "Right")
    return tuple(sorted(used | {u + s for u in ("eyeLookDown", "eyeBlink") for s in sides}))
