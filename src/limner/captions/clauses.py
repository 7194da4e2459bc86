"""A text made ready for reading: one line, trigger marked, labels said, cut into clauses.

In: any text. Out: clauses, pieces between punctuation, verbs in one form. Pure functions.
"""

from __future__ import annotations

import re
import unicodedata

from limner.captions.phrases import tokens_of
from limner.captions.words import adjectives, words

MARK = "|"  # stands where the trigger stood


def clean(text: str) -> str:
    """One line, NFC, straight quotes, no control characters."""
    text = re.sub(r"\s*\n(?=\s*\n|\s*[-*•]|\s*\**\w+\**\s*:)", ". ", text)  # lists, paragraphs
    text = unicodedata.normalize("NFC", text).replace("’", "'").replace("‘", "'")
    text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    text = re.sub(r"\"(\w+)\"\s*:\s*\"([^\"]*)\"\s*,?", r". \1: \2.", text)  # JSON as a prompt
    text = re.sub(r"\(\s*([\w-]+)\s*\)", _in_brackets, text.replace("|", " , "))
    text = re.sub(r"\bthe colou?r (?:of )?([\w-]+)", _of_color, text, flags=re.IGNORECASE)
    text = re.sub(r"\bw/\s*", "with ", text).replace("@", " at ")
    text = re.sub(r"\b(she|he|it|that|there)'s\b", r"\1 is", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(wine|water|champagne|beer) glass(es)?\b", r"\1-glass\2", text, flags=re.I)
    return " ".join(re.sub(r"[|`*_#]{2,}|[|`*#]", " ", text).split())


def _in_brackets(match: re.Match[str]) -> str:
    """`sweater (beige)` -> `sweater in beige`."""
    return f" in {match.group(1)} " if match.group(1).lower() in words("color") else match.group(0)


def _of_color(match: re.Match[str]) -> str:
    """`a sweater the colour of beige` -> `a sweater in beige`."""
    return f"in {match.group(1)}" if match.group(1).lower() in words("color") else match.group(0)


_LABELS = {
    **dict.fromkeys(("outfit", "clothing", "clothes", "attire"), "wearing {}"),
    **dict.fromkeys(("location", "setting", "place", "background"), "in {}"),
    **dict.fromkeys(("mood", "atmosphere"), "{} mood"),
    **dict.fromkeys(("light", "lighting"), "{} light"),
    **dict.fromkeys(("camera", "lens", "equipment"), "shot on {}"),
    **dict.fromkeys(("quality", "style", "genre"), "{} style"),
    **dict.fromkeys(("subject", "framing", "shot", "pose", "expression", "gaze", "angle"), "{}"),
}
"""Label of a list-like prompt (`Mood: joyful`) -> how the sentence would say it."""


def _unlabel(text: str) -> str:
    """`Outfit: red dress. Mood: joyful` -> `wearing red dress. joyful mood`."""
    names = "|".join(_LABELS)
    pattern = rf"(?:^|(?<=[.,;|]\s))({names})s?\s*:\s*([^.;|:]*?)(?=\s*(?:[.;|]|,?\s*\w+\s*:|$))"

    def say(match: re.Match[str]) -> str:
        said = _LABELS[match.group(1).lower()]
        body = match.group(2).strip(" ,")
        if said.endswith((" mood", " light", " style")):
            body = body.replace(",", " ")
        if not body or body.lower().startswith(("wearing ", "in ", "shot ")):
            return f", {body}"
        return f", {said.format(body)}"

    return re.sub(pattern, say, text, flags=re.IGNORECASE)


def take_trigger(text: str, trigger: str, class_word: str | None) -> tuple[str, int]:
    """The text with `MARK` for the trigger and where it first stood (-1: nowhere); the class word
    beside it is taken off, labels and finite verbs come in one form."""
    pattern = rf"(?<!\w)(?:{re.escape(trigger)}|\[trigger(?:_word)?\]|\[name\])(?:'s)?(?!\w)"
    first = re.search(pattern, text, re.IGNORECASE)
    text = re.sub(pattern, f" {MARK} ", text, flags=re.IGNORECASE)
    if class_word:
        beside = rf"({re.escape(MARK)})\s*,?\s*(?:the |a |an )?{re.escape(class_word)}(?!\w)"
        text = re.sub(beside, r"\1 ", text, flags=re.IGNORECASE)
    return _participles(_unlabel(text)), first.start() if first else -1


_FINITE = {
    **{"looks": "looking", "gazes": "gazing", "stares": "staring", "glances": "glancing"},
    **{"smiles": "smiling", "laughs": "laughing", "grins": "grinning", "beams": "beaming"},
    **{"stands": "standing", "sits": "sitting", "leans": "leaning", "walks": "walking"},
    **{"holds": "holding", "wears": "wearing", "rests": "resting", "kneels": "kneeling"},
    **{"poses": "posing", "faces": "facing", "turns": "turning", "runs": "running"},
    **{"reads": "reading", "sips": "sipping", "lies": "lying", "crouches": "crouching"},
}
_SUBJECT = r"(?:she|he|they|who|woman|man|person|model|subject|girl|boy|and|also|then|that)"


def _participles(text: str) -> str:
    """`she wears` -> `she wearing`: one form for what follows a subject."""
    verbs = "|".join(_FINITE)
    pattern = rf"((?:{re.escape(MARK)}|\b{_SUBJECT})\s+(?:[a-z]+ly\s+)?)({verbs})\b(?!\s+out\b)"
    text = re.sub(
        pattern, lambda m: m.group(1) + _FINITE[m.group(2).lower()], text, flags=re.IGNORECASE
    )
    for verbs, goes in _GOES.items():
        text = re.sub(rf"\b({verbs}){goes}", _going, text, flags=re.IGNORECASE)
    return text


def _going(match: re.Match[str]) -> str:
    return _FINITE[match.group(1).lower()]


_GOES = {
    "looks|gazes|stares|glances": r"(?=\s+(?:[a-z]+ly\s+|straight\s+|back\s+)*"
    r"(?:at|into|towards?|down|away|back|over|up)\b)",
    "smiles|grins|laughs|beams": r"(?=\s+(?:[a-z]+ly|at|into|with)\b)",
    "faces": r"(?=\s+(?:the\s+)?camera\b)",
}
"""Verbs that need no subject before them, by what follows (`smiles` alone may be a noun)."""


_PUNCTUATION = re.compile(r"[,;\n|()\[\]{}\"“”«»!?，、。；：！？（）]+|[:.](?=\s|$)|\s[-–—]+\s|—")


def clauses(text: str) -> list[str]:
    """Pieces between punctuation; one that is all adjectives joins the next (`warm, genuine`)."""
    pieces: list[str] = []
    held = ""
    for piece in _PUNCTUATION.split(text):
        piece = piece.strip()
        if not piece:
            continue
        piece = f"{held} {piece}".strip()
        held = ""
        spoken = [t.lower() for t in tokens_of(piece)]
        if spoken and spoken[-1] in adjectives() and _waits(spoken):
            held = piece
        else:
            pieces.append(piece)
    return [*pieces, held] if held else pieces


def _waits(spoken: list[str]) -> bool:
    """Whether a piece can only go on: an article, or nothing, and adjectives to its end."""
    rest = list(spoken)
    while rest and rest[-1] in adjectives():
        rest.pop()
    if rest and rest[-1] == "and" and len(rest) > 1:
        return False
    if rest and rest[-1] in ("with", "in"):
        return len(rest) == 1  # not `a sweater in beige`: that phrase is whole
    return not rest or rest[-1] in ("a", "an", "the", "her", "his", "their", "and")
