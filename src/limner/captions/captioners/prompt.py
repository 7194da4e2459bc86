"""The words a captioner is asked with: Limner's own, or a person's, with the names filled in.

In: settings, trigger, class word. Out: `Prompt`, shown to the user exactly as it is sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from limner.captions.captioners.interface import CaptionerSettings
from limner.errors import InputError
from limner.project.files import canonical_json, sha256_bytes

PIECES = (
    "Write a straightforward caption for this image within {words} words.",
    "Refer to the person as {name}.",
    "Do not mention what cannot be changed about the person: hair colour and length, eyes, skin, "
    "face, age, ethnicity, body build.",
    "Mention the framing (close-up, waist-up, cowboy shot, full body) and the view (front, "
    "three-quarter, profile, from behind).",
    "Then the clothes with their colours, the kind of place, the facial expression, the pose and "
    "where the person looks.",
    "Do not mention the light, the camera, the image's quality or resolution, or any text in it.",
    'Avoid meta phrases like "This image shows".',
)
"""Limner's request, after the options JoyCaption was trained on (its README) and the caption rules
of `docs/captions.md`."""

JOYCAPTION = (
    "Write a detailed description for this image in {words} words or less.",
    "If there is a person/character in the image you must refer to them as {name}.",
    "Do NOT include information about people/characters that cannot be changed (like ethnicity, "
    "gender, etc), but do still include changeable attributes (like hair style).",
    "Do NOT mention the image's resolution.",
    "Do NOT mention any text that is in the image.",
    "Do NOT use any ambiguous language.",
    "Mention whether the image depicts an extreme close-up, close-up, medium close-up, medium "
    "shot, cowboy shot, medium wide shot, wide shot, or extreme wide shot.",
    "Your response will be used by a text-to-image model, so avoid useless meta phrases like "
    '“This image shows…”, "You are looking at...", etc.',
)
"""JoyCaption is no general instruction follower: these are sentences it was trained on, letter by
letter (its README, Beta One)."""

_FIELDS = ("name", "class_word", "words")


@dataclass(frozen=True)
class Prompt:
    """What is sent with every picture. `own`: a person wrote it."""

    system: str
    text: str
    own: bool = False

    @property
    def sha256(self) -> str:
        """Hash of both texts, for the record."""
        return sha256_bytes(canonical_json([self.system, self.text]).encode())


def own_words(model: str = "") -> str:
    """What Limner asks a model, with its fields, for a person to edit."""
    return " ".join(JOYCAPTION if "joycaption" in model.lower() else PIECES)


def captioner_prompt(settings: CaptionerSettings, trigger: str, class_word: str) -> Prompt:
    """The prompt with its fields filled in. Raises InputError for an unknown {field}."""
    template = settings.prompt.strip() or own_words(settings.model)
    values = {"name": trigger, "class_word": class_word, "words": str(settings.words)}

    def fill(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            raise InputError(
                f"The prompt has no field {{{match.group(1)}}}",
                where="captioner prompt",
                fix=f"Use {', '.join('{' + f + '}' for f in _FIELDS)}.",
            )
        return values[match.group(1)]

    text = re.sub(r"\{(\w+)\}", fill, template)
    return Prompt(settings.system.strip(), text, own=bool(settings.prompt.strip()))
