"""One piece of text -> what a caption keeps of it: clothes, place, expression, mood, pose.

In: the tokens of a noun phrase or verb phrase. Out: the kept words and the dropped ones, each with
the rule that dropped it. Pure functions; which words belong where stands in `words`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from limner.captions.words import adjectives, feeling_nouns, ignored, words

WHY = {
    "light": "light stays free to ask for; one phrase in every caption would bind to the trigger",
    "camera": "camera words are no part of the picture's content",
    "quality": "quality and genre words say nothing that is in the picture",
    "material": "material and texture: colour and garment are enough to keep clothes apart",
    "cut": "cut: colour and garment are enough to keep clothes apart",
    "background": "the kind of place is enough; its details must not be learned with the person",
    "place_style": "one style word is enough for the kind of place",
    "temperature": "a colour-temperature word says nothing about the expression",
    "expression": "one expression is enough",
    "adjective": "one adjective is enough",
    "mood": "one mood word is enough",
    "identity": "names or touches what must fuse with the trigger (face, eyes, hair, skin, age, "
    "build)",
    "double": "said already, or a second value of the same kind",
    "class_word": "the class word stands beside the trigger only on request",
    "unknown": "no slot of the caption takes it",
    "set": "it would stand in every caption of the set and bind to the trigger",
    "template": "this template has no slot for it",
}
"""Rule -> the reason shown to the user."""

Dropped = dict[str, str]


def drop(text: str, rule: str) -> Dropped:
    """One entry of a caption's `dropped` list."""
    return {"text": text, "rule": rule, "reason": WHY[rule]}


@dataclass(frozen=True)
class Kept:
    """What stays of a phrase, and what was dropped from it."""

    text: str
    dropped: tuple[Dropped, ...] = ()
    marks: frozenset[str] = field(default_factory=frozenset)


def is_a(word: str, *classes: str) -> bool:
    """Whether a word, or a hyphenated word by its last part, is in one of these classes."""
    low = word.lower()
    return any(low in words(c) for c in classes)


def _content(tokens: list[str]) -> list[str]:
    return [t for t in tokens if not ignored(t)]


# ---- clothes


def garments(tokens: list[str]) -> tuple[list[Kept], list[str]]:
    """Noun phrases of clothes -> one `Kept` a garment, and the words left over behind the last."""
    found: list[Kept] = []
    waiting: list[str] = []
    for position, token in enumerate(tokens):
        following = tokens[position + 1] if position + 1 < len(tokens) else ""
        if is_a(token, "garment") and not is_a(following, "garment"):
            found.append(_garment(waiting, token))
            waiting = []
        else:
            waiting.append(token)
    return found, _content(waiting)


def _garment(before: list[str], head: str) -> Kept:
    before = _content(before)
    colored = any(_is_color(t) or is_a(t, "pattern") for t in before)
    kept: list[str] = []
    dropped: list[Dropped] = []
    for position, token in enumerate(before):
        following = before[position + 1] if position + 1 < len(before) else head
        if _stays_in_clothes(token, following, head, colored):
            kept.append(token)
        elif is_a(token, "cut") or (is_a(token, "shape") and colored):
            dropped.append(drop(token, "cut"))
        elif is_a(token, "looks", "region", "person"):
            dropped.append(drop(token, "identity"))
        else:
            dropped.append(drop(token, "material"))
    return Kept(" ".join([*kept, head]), tuple(dropped))


def _is_color(token: str) -> bool:
    low = token.lower().removesuffix("-colored").removesuffix("-coloured")
    return low in words("color") or any(part in words("color") for part in low.split("-"))


def _stays_in_clothes(token: str, following: str, head: str, colored: bool) -> bool:
    low = token.lower()
    if low == "denim" and head.lower() in ("jeans", "denims"):
        return False
    if low in ("fitted", "knit") or low in words("region"):
        return False
    if low in words("shade"):
        return _is_color(following) or (low in ("dark", "pale") and following == head)
    if low in words("shape"):
        return not colored
    return _is_color(token) or is_a(token, "pattern", "kind", "garment")


def color_only(tokens: list[str]) -> list[str]:
    """The colour words of a phrase that holds nothing but colour, shade and material; else []."""
    content = _content(tokens)
    colors = [t for t in content if _is_color(t)]
    rest = [t for t in content if not _is_color(t) and not is_a(t, "shade", "material")]
    return colors if colors and not rest else []


def join_clothes(items: list[str]) -> str:
    """`a and b with c and d`: no commas, so that the clothes stay one phrase of the caption."""
    said = items[0]
    for number, item in enumerate(items[1:], start=1):
        said += f" {'and' if number % 2 else 'with'} {item}"
    return said


# ---- place


def place_head(tokens: list[str]) -> int:
    """Index of the noun that names the place, -1 when there is none."""
    for position in range(len(tokens) - 1, -1, -1):
        if is_a(tokens[position], "place") and not is_a(
            tokens[position], "place_type", "place_empty"
        ):
            return position
    return next((i for i, t in enumerate(tokens) if is_a(t, "place_type")), -1)


def place(tokens: list[str], *, stands_alone: bool, unknown_head: bool = False) -> Kept | None:
    """A noun phrase of a place -> `[style] noun [background]`, None when nothing is left.

    stands_alone: a phrase of its own ("gym environment") keeps its type word; one behind a
    preposition ("in a gym environment") gets "background". unknown_head: the last word is taken
    for the place though no list has it.
    """
    tokens = _content(tokens)
    if "of" in tokens:
        tokens = tokens[tokens.index("of") + 1 :]
    head = place_head(tokens)
    if head < 0 and unknown_head and tokens:
        head = len(tokens) - 1
    if head < 0:
        return None
    start = head
    while start > 0 and is_a(tokens[start - 1], "adjunct", "place"):
        start -= 1
    noun, after = tokens[start : head + 1], tokens[head + 1 :]
    kind = next((t.lower() for t in after if is_a(t, "place_type")), "")
    if start == 0 and after and all(t.lower() in adjectives() for t in after):
        tokens, after = [*after, *noun], []  # `the café is modern and minimalist`
        start = len(tokens) - len(noun)
    style, dropped = _place_style(tokens[:start])
    dropped += [drop(t, "background") for t in after if not is_a(t, "place_type", "place_empty")]
    if is_a(noun[-1], "place_type"):
        if not style:
            return None
        return Kept(" ".join([*style, *noun]), tuple(dropped), frozenset({"typed"}))
    said = " ".join([*style, *noun])
    known = style and is_a(style[0], "place_known")
    if stands_alone and (kind or known):
        marks = frozenset({"typed"})
        return Kept(f"{said} {kind}".strip(), tuple(dropped), marks)
    return Kept(said, tuple(dropped))


def _place_style(before: list[str]) -> tuple[list[str], list[Dropped]]:
    """The one style word that stays (a colour before others), and what is dropped."""
    parts = [p for t in before for p in (t.split("-") if _all_style(t) else [t])]
    usable = [p for p in parts if not _never_style(p)]
    chosen = next((p for p in usable if _is_color(p)), usable[0] if usable else None)
    style: list[str] = []
    dropped: list[Dropped] = []
    for part in parts:
        if part is chosen and not style:
            style.append(part)
        elif is_a(part, "light"):
            dropped.append(drop(part, "light"))
        elif is_a(part, "looks", "region", "person"):
            dropped.append(drop(part, "identity"))
        else:
            dropped.append(drop(part, "place_style"))
    return style, dropped


def _all_style(token: str) -> bool:
    return "-" in token and all(is_a(p, "style") for p in token.split("-"))


def _never_style(word: str) -> bool:
    low = word.lower()
    return (
        is_a(low, "light", "temperature", "looks", "region", "blur", "person", "place_type")
        or low.endswith("ly")
        or low.endswith("-lit")
        or not any(c.isalpha() for c in low)
    )


# ---- expression and mood


def expression(tokens: list[str]) -> Kept | None:
    """`genuine warm smile` -> `genuine smile`: one adjective and the noun. None without a head."""
    tokens = _content(tokens)
    head = next((i for i, t in enumerate(tokens) if is_a(t, "expression")), -1)
    if head < 0:
        return None
    before, after = tokens[:head], tokens[head + 1 :]
    adjective = next((t for t in before if _feeling(t)), None)
    if adjective is None:
        adjective = next((t for t in before if _adverb(t)), None)
    if adjective is None:  # `her smile genuine and warm`
        adjective = next((t for t in after if _feeling(t)), None)
    dropped = [drop(t, _expression_rule(t)) for t in before if t is not adjective]
    dropped += [drop(t, _expression_rule(t)) for t in after if t is not adjective]
    noun = tokens[head]
    if adjective is None:
        if noun.lower() in ("expression", "look", "gaze", "stare", "countenance", "demeanor"):
            return None
        return Kept(noun, tuple(dropped))
    return Kept(f"{_adverb(adjective) or adjective} {noun}", tuple(dropped))


def _feeling(token: str) -> bool:
    return is_a(token, "feeling") and not is_a(token, "temperature")


def _adverb(token: str) -> str | None:
    """`genuinely` -> `genuine` when that is a feeling."""
    low = token.lower()
    stem = low.removesuffix("ly") if low.endswith("ly") else ""
    return stem if stem and is_a(stem, "feeling") and not is_a(stem, "temperature") else None


def _expression_rule(token: str) -> str:
    if is_a(token, "temperature") or token.lower() == "warmly":
        return "temperature"
    return "identity" if is_a(token, "looks", "region", "person") else "adjective"


def expression_verb(verb: str, after: list[str]) -> Kept:
    """`smiling genuinely` -> `genuine smile`; `laughing` stays."""
    adverb = next((a for t in after if (a := _adverb(t))), None)
    left = [t for t in _content(after) if not (adverb and t.lower().startswith(adverb))]
    dropped = tuple(drop(t, _expression_rule(t)) for t in left)
    nouns = {"smiling": "smile", "grinning": "grin", "smirking": "smirk", "beaming": "smile"}
    low = verb.lower()
    if adverb and low in nouns:
        return Kept(f"{adverb} {nouns[low]}", dropped)
    return Kept("smiling" if low == "beaming" else low, dropped)


def mood(tokens: list[str], *, named: bool) -> Kept | None:
    """`joyful content mood` -> `joyful mood`. named: it says mood, so any word will do."""
    tokens = _content(tokens)
    feelings = [(t, _as_feeling(t)) for t in tokens]
    chosen = next(((t, f) for t, f in feelings if f), None)
    if chosen is None and named:
        usable = [
            t for t in tokens if not _never_style(t) and not is_a(t, "mood", "light", "style")
        ]
        chosen = (usable[0], usable[0]) if usable else None
    if chosen is None:
        return None
    dropped = [
        drop(t, "temperature" if is_a(t, "temperature") else "mood")
        for t in tokens
        if t is not chosen[0] and not is_a(t, "mood")
    ]
    return Kept(f"{chosen[1]} mood", tuple(dropped))


def _as_feeling(token: str) -> str | None:
    if is_a(token, "temperature"):
        return None
    low = token.lower()
    if low in feeling_nouns():
        return feeling_nouns()[low]
    return low if is_a(low, "feeling") else None


# ---- pose

MOST_POSE_WORDS = 8
"""Words of an action that a caption keeps (starting value)."""


def pose(tokens: list[str]) -> Kept:
    """An action without adverbs, possessives and articles at its end; at most eight words."""
    dropped = []
    kept: list[str] = []
    for token in tokens:
        low = token.lower()
        if low in ("her", "his", "their", "the"):
            continue
        if is_a(low, "region", "looks") or (is_a(low, "person") and low not in ("figure",)):
            dropped.append(drop(token, "identity"))
        elif (low.endswith("ly") and len(low) > 4) or len(kept) >= MOST_POSE_WORDS:
            dropped.append(drop(token, "adjective"))
        else:
            kept.append(token)
    while kept and ignored(kept[-1]) and kept[-1].lower() not in ("up", "in", "out", "over"):
        kept.pop()
    return Kept(" ".join(kept), tuple(dropped))


def pose_noun(tokens: list[str]) -> Kept | None:
    """`confident relaxed pose` -> `confident pose`."""
    tokens = _content(tokens)
    head = next((i for i, t in enumerate(tokens) if is_a(t, "pose_noun")), -1)
    if head < 0:
        return None
    chosen = next((t for t in tokens[:head] if _feeling(t) or is_a(t, "style", "pose_verb")), None)
    dropped = tuple(drop(t, "adjective") for t in tokens[:head] if t is not chosen)
    if chosen is None:
        return Kept("", dropped)
    return Kept(f"{chosen} pose", dropped)


_WORD = re.compile(r"[^\W_][\w'’/.-]*[^\W_]|[^\W_]|&|[\w]+", re.UNICODE)


def tokens_of(text: str) -> list[str]:
    """The words of a text, without punctuation around them."""
    return _WORD.findall(text)
