"""The prompt writer: attribute ids -> one fluent prompt for a picture source.

In: attributes of a shot and the trigger. Out: text with the slots of a good portrait prompt (light,
subject and outfit, framing and place, background, pose, gaze and expression, mood, camera, genre).
Pure: `variant` chooses wordings and order; the trigger stands in it exactly once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, cast

from limner import lexicon
from limner.errors import InputError
from limner.lexicon.wording import pick

# Slot orders. Every order opens with light, framing, genre or the subject; camera stands late.
ORDERS: tuple[tuple[str, ...], ...] = (
    ("light", "subject", "view in place", "props", "pose", "face", "mood", "camera", "genre"),
    ("light", "view of subject", "place props", "pose", "face", "mood", "camera", "genre"),
    ("light", "subject in place", "view", "pose", "face", "mood", "props", "genre", "camera"),
    ("view of subject", "place props", "light", "face", "pose", "mood", "genre", "camera"),
    ("subject in place", "pose", "view", "face", "mood", "light", "props", "camera", "genre"),
    ("genre", "light", "subject", "pose", "view in place", "props", "face", "mood", "camera"),
    ("subject", "face", "mood", "pose", "view in place", "light", "props", "camera", "genre"),
    ("genre", "view of subject", "place props", "light", "mood", "face", "pose", "camera"),
)
_ON = {"beach", "mountain", "city_street", "rooftop"}


@cache
def _wordings() -> dict[str, Any]:
    from ruamel.yaml import YAML

    text = (resources.files(__package__) / "data" / "wordings.yaml").read_text(encoding="utf-8")
    return cast(dict[str, Any], YAML(typ="safe").load(text))


def write_prompt(
    attributes: Mapping[str, str], trigger: str, variant: int = 0, class_word: str | None = None
) -> str:
    """Attributes -> prompt of about 35 to 75 words, trigger exactly once, no constants.

    attributes: every axis -> id of the lexicon, `gaze` camera | away | down, `expression_variant`
    a number as text. variant: any integer. Raises InputError for an unknown id.
    """
    for axis in lexicon.AXES:
        if attributes.get(axis) not in lexicon.axis(axis):
            raise InputError(
                f"no {axis} {attributes.get(axis)!r}",
                where=f"attributes.{axis}",
                fix=f"Use one of: {', '.join(lexicon.axis(axis))}",
            )
    slots = _slots(attributes, f"{trigger} {class_word}" if class_word else trigger, variant)
    order = pick("order", variant, ORDERS)
    text = ", ".join(slots[name] for name in order if slots[name])
    return text[0].upper() + text[1:] if not text.startswith(trigger) else text


def _slots(attributes: Mapping[str, str], subject: str, variant: int) -> dict[str, str]:
    wear = pick("wear", variant, ("wearing", "wearing", "dressed in", "in"))
    subject = f"{subject} {wear} {_outfit(attributes['outfit'], variant)}"
    place = _place(attributes["setting"], variant)
    props = _props(attributes["setting"], variant)
    framing, angle = _framing(attributes, variant), _angle(attributes, variant)
    view = f"{framing}, {angle}" if pick("view", variant, (0, 1)) else f"{angle}, {framing}"
    linked = pick("linked", variant, (f"{place} with {props}", f"{place}, {props}"))
    return {
        "light": _light(attributes["lighting"], variant),
        "subject": subject,
        "subject in place": f"{subject}, {place}",
        "view": view,
        "view in place": pick(
            "view in place",
            variant,
            (
                f"{angle}, {framing} {place}",
                f"{framing} {place}, {angle}",
                f"{framing}, {angle}, {place}",
            ),
        ),
        "view of subject": pick(
            "view of subject",
            variant,
            (f"{framing} of {subject}, {angle}", f"{angle}, {framing} of {subject}"),
        ),
        "place props": linked,
        "props": props,
        "pose": pick(
            "pose", variant, _wordings()["pose"].get(attributes["pose"], _pose(attributes))
        ),
        "face": _face(attributes, variant),
        "mood": _mood(attributes, variant),
        "camera": _camera(attributes["camera"], variant),
        "genre": pick("genre", variant, _wordings()["genre"]),
    }


def _light(lighting: str, variant: int) -> str:
    words = _wordings()["light"].get(lighting)
    own = lexicon.lightings()[lighting].detail
    if words is None:
        return pick("light", variant, own)
    source = pick("light source", variant, words["source"])
    manner = pick("light manner", variant, words["manner"])
    return pick(
        "light", variant, (f"{source} {manner}", f"{source}, {manner}", f"{source} {manner}")
    )


def _outfit(outfit_id: str, variant: int) -> str:
    outfit = lexicon.outfits()[outfit_id]
    pieces = _wordings()["outfit"].get(outfit_id)
    if pieces is None:
        return outfit.detail
    chosen = [pick(f"outfit {i}", variant, piece) for i, piece in enumerate(pieces)]
    if outfit.dress:
        dress = " ".join(chosen)
        return pick("article", variant, (_article(dress), dress))
    join = pick("outfit join", variant, (" and ", " with "))
    if len(chosen) == 3:
        return f"{chosen[0]} over {chosen[1]}{join}{chosen[2]}"
    if pick("outfit order", variant, (0, 0, 1)):
        chosen.reverse()
    return join.join(chosen)


def _place(setting: str, variant: int) -> str:
    words = _wordings()["place"].get(setting)
    name = pick("place", variant, words["name"]) if words else lexicon.settings()[setting].detail
    return f"{'on' if setting in _ON else 'in'} {name}"


def _props(setting: str, variant: int) -> str:
    depth = pick("depth", variant, _wordings()["depth"])
    words = _wordings()["place"].get(setting)
    if words is None:
        return f"{lexicon.settings()[setting].props} {depth}"
    props = list(words["props"])
    first = pick("prop 1", variant, props)
    second = pick("prop 2", variant, [p for p in props if p != first])
    return pick(
        "props",
        variant,
        (f"{first} and {second} {depth}", f"{first}, {second} {depth}", f"{first} {depth}"),
    )


def _framing(attributes: Mapping[str, str], variant: int) -> str:
    return pick("framing", variant, lexicon.framings()[attributes["framing"]].prompt)


def _angle(attributes: Mapping[str, str], variant: int) -> str:
    return pick("angle", variant, lexicon.angles()[attributes["angle"]].phrase)


def _pose(attributes: Mapping[str, str]) -> tuple[str, ...]:
    return lexicon.poses()[attributes["pose"]].phrase


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def _face(attributes: Mapping[str, str], variant: int) -> str:
    """Gaze and expression in one clause; nothing where no face is seen."""
    if not lexicon.angles()[attributes["angle"]].face:
        return ""
    key = attributes.get("gaze", "camera")
    if attributes["angle"] == "back":
        key = f"back_{key}"
    gaze = pick("gaze", variant, _wordings()["gaze"][key])
    mood = lexicon.moods()[attributes["expression"]]
    which = int(attributes.get("expression_variant", "0")) % len(mood.expression)
    expression = mood.expression[which]
    return pick(
        "face",
        variant,
        (
            f"{gaze} with {_article(expression)}",
            f"{gaze}, {expression}",
            f"{_article(expression)}, {gaze}",
            f"{expression}, {gaze}",
        ),
    )


def _mood(attributes: Mapping[str, str], variant: int) -> str:
    if not lexicon.angles()[attributes["angle"]].face:
        return ""
    word = pick("mood", variant, lexicon.moods()[attributes["expression"]].mood)
    return pick(
        "mood words",
        variant,
        (f"{word} mood", f"{word} atmosphere", f"{word} and unforced", f"the mood {word}"),
    )


def _camera(camera: str, variant: int) -> str:
    words = _wordings()["camera"].get(camera)
    if words is None:
        return lexicon.cameras()[camera].detail
    body = pick("body", variant, words["body"])
    lens, look = pick("lens", variant, words["lens"]), pick("look", variant, words["look"])
    return pick(
        "camera",
        variant,
        (
            f"shot on {body}, {lens}, {look}",
            f"{body} with {lens}, {look}",
            f"{look}, {body} and {lens}",
            f"{lens} on {body}, {look}",
            f"{look}, taken with {body}, {lens}",
        ),
    )
