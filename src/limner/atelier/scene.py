"""One picture to draw: attribute values of the lexicon turned into concrete numbers.

In: attribute ids (angle, framing, expression, outfit, setting, lighting, pose) and a seed.
Out: `Scene`, all that `Character.draw` needs besides the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from limner.atelier.identity import generator
from limner.errors import InputError
from limner.lexicon.drawable import Outfit, angles, axis, framings, moods, outfits, poses

DEFAULTS = {
    "angle": "front",
    "framing": "close_up",
    "expression": "confident",
    "outfit": "white_tee_jeans",
    "setting": "grey_studio",
    "lighting": "softbox",
    "pose": "relaxed",
}
"""Values `scene_for` takes where an axis is not given."""


@dataclass(frozen=True)
class Scene:
    """Concrete numbers of one picture.

    yaw: camera minus head in degrees, -180..180; positive: the camera stands on the figure's left,
    so the nose points to the left of the picture. body_yaw: the same of the torso. pitch: head down
    positive. roll: head tilt, positive to the figure's right. face_share: face height (forehead to
    chin) over picture height; full_body may be a little smaller where the figure would not fit.
    gaze: camera | away | down.
    """

    yaw: float = 0.0
    body_yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    framing: str = "close_up"
    expression: str = "confident"
    expression_variant: int = 0
    gaze: str = "camera"
    pose: str = "relaxed"
    outfit: Outfit = field(default_factory=lambda: outfits()["white_tee_jeans"])
    setting: str = "grey_studio"
    lighting: str = "softbox"
    seed: int = 0
    face_share: float = 0.44
    angle: str = "front"


def scene_for(attributes: Mapping[str, str], seed: int) -> Scene:
    """Concrete numbers within the lexicon's ranges; which side, how far and which variant by
    `seed`.

    Missing axes take `DEFAULTS`; an optional "gaze" fixes the gaze, "camera" is ignored (words
    only). Raises InputError for a value the lexicon does not have.
    """
    chosen = {**DEFAULTS, **attributes}
    for name in DEFAULTS:
        if chosen[name] not in axis(name):
            known = ", ".join(axis(name))
            raise InputError(f"no {name} {chosen[name]!r}", where=name, fix=f"use one of: {known}")
    turn = generator(seed, "angle")
    angle, pose = angles()[chosen["angle"]], poses()[chosen["pose"]]
    side = float(turn.choice([-1.0, 1.0]))
    yaw, body = side * turn.uniform(*angle.yaw), side * turn.uniform(*angle.body_yaw)
    if angle.id in ("side", "three_quarter", "pure_back"):
        # The head follows the torso here; only the over-shoulder view turns it far.
        body = yaw + float(turn.uniform(-8, 8))
        low, high = angle.body_yaw
        body = side * min(max(abs(body), low), high)
    head, lens, face = generator(seed, "head"), generator(seed, "lens"), generator(seed, "face")
    mood = moods()[chosen["expression"]]
    gaze = chosen.get("gaze") or str(face.choice(mood.gaze))
    tilt = float(head.choice([-1.0, 1.0]))
    return Scene(
        yaw=_wrap(yaw),
        body_yaw=_wrap(body),
        pitch=pose.pitch + float(head.uniform(-2.5, 2.5)),
        roll=tilt * pose.roll + float(head.uniform(-2, 2)),
        framing=chosen["framing"],
        expression=mood.id,
        expression_variant=int(face.integers(3)),
        gaze=gaze,
        pose=pose.id,
        outfit=outfits()[chosen["outfit"]],
        setting=chosen["setting"],
        lighting=chosen["lighting"],
        seed=seed,
        face_share=float(lens.uniform(*framings()[chosen["framing"]].face_share)),
        angle=angle.id,
    )


def _wrap(degrees: float) -> float:
    return (degrees + 180.0) % 360.0 - 180.0


def abilities() -> dict[str, tuple[str, ...]]:
    """Axis -> ids the atelier can draw; cameras are words and stay out."""
    return {name: tuple(axis(name)) for name in DEFAULTS}
