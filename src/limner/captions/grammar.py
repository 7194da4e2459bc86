"""The caption grammar: attribute ids -> one line of training text, and what was left out of it.

In: attributes of a shot (ids of the lexicon) and the trigger. Out: `Compiled`. Pure functions: the
same arguments give the same text everywhere; `variant` chooses among wordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from limner import lexicon
from limner.errors import InputError
from limner.lexicon.wording import pick

PROFILES = ("default", "seed", "strict")
"""default: no light; seed: the guide's order, with its generic light phrase; strict: also without
"looking at camera", and without what would stand in every caption of the set."""

GAZE_AT_CAMERA = "looking at camera"
"""The tail that ends most of the guide's samples; profile `strict` leaves it unsaid."""


@dataclass(frozen=True)
class Compiled:
    """A caption, what was left out of it [{text, rule, reason}], and what was changed
    [{before, after, rule, reason}]."""

    text: str
    dropped: list[dict[str, str]] = field(default_factory=list)
    edits: list[dict[str, str]] = field(default_factory=list)


def compile_caption(
    attributes: Mapping[str, str],
    trigger: str,
    class_word: str | None = None,
    profile: str = "default",
    variant: int = 0,
) -> Compiled:
    """Attributes -> caption: trigger, framing, clothing, place, expression, mood, angle/pose/gaze.

    attributes: axis -> id of the lexicon (lighting and camera may be missing, they are left out
    anyway); `gaze` camera | away | down; `expression_variant` a number as text. A pure back view
    has no expression. `outfit_tag` (characters with several outfits) stands second. variant: any
    integer, chooses wordings. Raises InputError for an unknown id or profile.
    """
    check_profile(profile)
    subject = f"{trigger} {class_word}" if class_word else trigger
    parts = (_seed_parts if profile == "seed" else _default_parts)(attributes, variant)
    dropped = _left_out(attributes)
    if profile == "strict" and GAZE_AT_CAMERA in parts:
        parts = [p for p in parts if p != GAZE_AT_CAMERA]
        dropped.append({"text": GAZE_AT_CAMERA, "rule": "set", "reason": _WHY["set"]})
    tag = attributes.get("outfit_tag", "").strip()
    text = ", ".join([subject, *(p for p in [tag, *parts] if p)])
    return Compiled(text, dropped)


def check_profile(profile: str) -> None:
    """Raises InputError when there is no such profile."""
    if profile not in PROFILES:
        raise InputError(
            f"no caption profile {profile!r}",
            where="captions.profile",
            fix=f"Use one of: {', '.join(PROFILES)}",
        )


def value(attributes: Mapping[str, str], axis: str) -> object:
    """The lexicon's value of one axis. Raises InputError naming axis and id."""
    found = lexicon.axis(axis).get(attributes.get(axis, ""))
    if found is None:
        raise InputError(
            f"no {axis} {attributes.get(axis)!r}",
            where=f"attributes.{axis}",
            fix=f"Use one of: {', '.join(lexicon.axis(axis))}",
        )
    return found


def _default_parts(attributes: Mapping[str, str], variant: int) -> list[str]:
    outfit, place = _clothes_and_place(attributes)
    clothing = pick("clothing", variant, (f"wearing {outfit}",) * 3 + (outfit,))
    background = pick(
        "background",
        variant,
        (f"{place} background", f"{place} background", f"{place} setting", place),
    )
    face = _face_words(attributes, variant)
    tail = _tail(attributes, variant)
    return [_framing_words(attributes, variant), clothing, background, *face, *tail]


def _clothes_and_place(attributes: Mapping[str, str]) -> tuple[str, str]:
    outfit, setting = value(attributes, "outfit"), value(attributes, "setting")
    assert isinstance(outfit, lexicon.Outfit) and isinstance(setting, lexicon.Setting)
    return outfit.phrase, setting.phrase


def _framing_words(attributes: Mapping[str, str], variant: int) -> str:
    framing = value(attributes, "framing")
    assert isinstance(framing, lexicon.Framing)
    other = next((p for p in framing.prompt if p != framing.phrase), framing.phrase)
    return pick("framing", variant, (framing.phrase, framing.phrase, framing.phrase, other))


def _face_words(attributes: Mapping[str, str], variant: int) -> list[str]:
    """Expression, and mostly a mood word; nothing where no face is seen."""
    angle, mood = value(attributes, "angle"), value(attributes, "expression")
    assert isinstance(angle, lexicon.Angle) and isinstance(mood, lexicon.Mood)
    if not angle.face:
        return []
    which = int(attributes.get("expression_variant", "0"))
    expression = mood.caption[which % len(mood.caption)]
    named = f"{pick('mood word', variant, mood.mood)} mood"
    return [expression, named] if pick("mood", variant, (1, 1, 1, 0)) else [expression]


def _tail(attributes: Mapping[str, str], variant: int) -> list[str]:
    """Angle always; pose and gaze vary, so that no tail ends every caption."""
    angle, pose = value(attributes, "angle"), value(attributes, "pose")
    assert isinstance(angle, lexicon.Angle) and isinstance(pose, lexicon.Pose)
    says_pose = pose.id != "relaxed" or pick("relaxed", variant, (True, False))
    words = [
        pick("angle", variant, angle.phrase),
        pick("pose", variant, pose.phrase) if says_pose else "",
        gaze_words(attributes, variant),
    ]
    if pick("tail order", variant, (0, 0, 1)):
        words = [words[1], words[0], words[2]]
    return [w for w in words if w]


def gaze_words(attributes: Mapping[str, str], variant: int, *, always: bool = False) -> str:
    """The gaze as a phrase; "looking at camera" is left unsaid in half of the captions."""
    gaze = attributes.get("gaze", "camera")
    if attributes["angle"] == "pure_back":
        return ""
    if gaze == "down":
        return pick("down", variant, ("looking down", "gaze lowered"))
    if attributes["angle"] == "back":
        back = ("looking back at camera", "glancing back at camera")
        return pick(
            "back", variant, back if gaze == "camera" else ("looking back over the shoulder",)
        )
    if gaze == "away":
        return pick("away", variant, ("looking away", "looking into the distance"))
    said = always or pick("gaze", variant, (True, False))
    return "looking at camera" if said else ""


def _seed_parts(attributes: Mapping[str, str], variant: int) -> list[str]:
    """The guide's own order: gaze with expression, mood, light; front and relaxed go unsaid."""
    outfit, place = _clothes_and_place(attributes)
    framing, light = value(attributes, "framing"), lexicon.lightings()
    angle, mood = value(attributes, "angle"), value(attributes, "expression")
    pose = value(attributes, "pose")
    assert isinstance(framing, lexicon.Framing) and isinstance(angle, lexicon.Angle)
    assert isinstance(mood, lexicon.Mood) and isinstance(pose, lexicon.Pose)
    face: list[str] = []
    if angle.face:
        which = int(attributes.get("expression_variant", "0"))
        expression = mood.caption[which % len(mood.caption)]
        face = [
            f"{gaze_words(attributes, variant, always=True)} with {expression}",
            f"{mood.mood[variant % len(mood.mood)]} mood",
        ]
    return [
        framing.phrase,
        f"wearing {outfit}",
        f"{place} background",
        *face,
        angle.phrase[0] if angle.id != "front" else "",
        pose.phrase[0] if pose.id != "relaxed" else "",
        f"{light[attributes['lighting']].kind} lighting" if attributes.get("lighting") else "",
    ]


_WHY = {
    "set": "it would stand in most captions of the set and bind to the trigger",
    "light": "light stays free to ask for; one phrase in every caption would bind to the trigger",
    "camera": "camera words are no part of the picture's content",
    "material": "material and cut: colour and garment are enough to keep clothes apart",
    "background": "the kind of place is enough; its details must not be learned with the person",
}


def _left_out(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    outfit, setting = value(attributes, "outfit"), value(attributes, "setting")
    assert isinstance(outfit, lexicon.Outfit) and isinstance(setting, lexicon.Setting)
    kept = set(outfit.phrase.split())
    found = [
        ("material", " ".join(w for w in outfit.detail.split() if w not in kept)),
        ("background", setting.props),
    ]
    if light := lexicon.lightings().get(attributes.get("lighting", "")):
        found.insert(0, ("light", light.phrase))
    if camera := lexicon.cameras().get(attributes.get("camera", "")):
        found.append(("camera", camera.detail))
    return [{"text": text, "rule": rule, "reason": _WHY[rule]} for rule, text in found if text]
