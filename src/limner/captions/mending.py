"""The small changes that mend a caption: words deleted or replaced, the trigger put first.

In: a caption. Out: the caption changed, its commas and spaces in order. All pure; all find the
words anew, so that several can follow each other on one caption.
"""

from __future__ import annotations

import re

FUNCTION_WORDS = frozenset(
    ("a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "with", "from", "over", "by", "&")
)
"""Words that hold others together; left alone at the end of a phrase they mean nothing."""

_EMPTY = frozenset(
    (
        *("wearing", "looking", "image", "photo", "photograph", "picture", "background", "shot"),
        *("is", "are", "has", "very", "blurred", "taken", "shows", "she", "he", "her", "his"),
    )
)
"""What a part may be left with and yet say nothing: "shot on", "the image is"."""

_MARKS = re.compile(r"([,.;!?](?=\s|$)|[，、。；！？])")
_COMMAS = (",", "，", "、")
_PREAMBLE = re.compile(
    r"^(?:(?:a|an|the|this)\s+)?(?:\w+\s+)?(?:photo|photograph|image|picture)\s+"
    r"(?:of|is|shows?|showing|features?|featuring|depicts?|depicting)\s+",
    re.IGNORECASE,
)
_HANGING = "|".join(sorted(map(re.escape, FUNCTION_WORDS)))
_TAIL = re.compile(rf"(?:\s+(?:{_HANGING}))+$", re.IGNORECASE)
_START = re.compile(r"^(?:(?:and|or|of|with|by|&)\s+)+", re.IGNORECASE)
_TWICE = re.compile(rf"\b((?:{_HANGING}))(?:\s+\1)+\b", re.IGNORECASE)


def whole(words: str) -> re.Pattern[str]:
    """A pattern for these words as whole words, any case and any white space between them."""
    inner = r"\s+".join(map(re.escape, words.split()))
    return re.compile(rf"(?<!\w){inner}(?!\w)", re.IGNORECASE)


def delete_words(text: str, words: str) -> str:
    """Without `words`; parts between commas and sentences that then say nothing go as well."""
    pattern, joined = whole(words), _with_its_joint(words)
    pieces = _MARKS.split(text)  # part, mark, part, mark, ..., part
    out = []
    for part, mark in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        left = pattern.sub(" ", joined.sub(" ", part))
        if left == part:
            out.append(part + mark)
        elif left := _hanging_off(left):
            out.append(left + mark)
        elif mark not in ("", *_COMMAS) and out:
            ended = out[-1].rstrip()[-1:] in ".;!?。；！？"
            out[-1] = out[-1] if ended else out[-1].rstrip(" ,，、") + mark
    return tidy("".join(out))


def delete_phrase(text: str, words: str) -> str:
    """Without a phrase: a short part that ends with it ("genuine smile") goes as a whole."""
    ends = re.compile(whole(words).pattern + r"\s*$", re.IGNORECASE)
    most = len(words.split()) + _ADJECTIVES
    kept = [
        f"{comma}{part}"
        for comma, part in _parts(text)
        if not comma or len(part.split()) > most or not ends.search(part)
    ]
    return delete_words("".join(kept), words)


def _parts(text: str) -> list[tuple[str, str]]:
    """(comma before it, part) of every part between commas; the first has none before it."""
    pieces = re.split(f"([{''.join(_COMMAS)}])", text)
    return list(zip(["", *pieces[1::2]], pieces[::2], strict=True))


_ADJECTIVES = 2
"""Words before a phrase that belong to it in a part of its own (starting value)."""


def _with_its_joint(words: str) -> re.Pattern[str]:
    """`words` with what joined them ("with ..."), where nothing follows that it could join."""
    inner = r"\s+".join(map(re.escape, words.split()))
    return re.compile(
        r"\b(?:with|and|of|has|having|wearing|holding|looking at|facing)\s+"
        rf"(?:(?:a|an|the|her|his|their)\s+)?{inner}(?!\w)"
        r"(?=\s*(?:$|[.;]|\b(?:in|on|at|with|by|to|from|near|wearing|standing|sitting)\b))",
        re.IGNORECASE,
    )


def _hanging_off(part: str) -> str:
    """A part without joining words at its ends; nothing when only such words are left."""
    part = _START.sub("", _TAIL.sub("", _TWICE.sub(r"\1", " ".join(part.split()))))
    part = re.sub(r"\b(with|of|in)\s+and\b", r"\1", part, flags=re.IGNORECASE)
    part = re.sub(r"^(?:a|an|the)\s+(?=(?:with|in|on|at|wearing)\b)", "", part, flags=re.IGNORECASE)
    left = {w.lower() for w in re.findall(r"[\w'-]+", part)}
    return f" {part}" if left - FUNCTION_WORDS - _EMPTY else ""


def replace_words(text: str, words: str, instead: str) -> str:
    """With `instead` where `words` stood."""
    return tidy(whole(words).sub(lambda _: instead, text))


def tidy(text: str) -> str:
    """Single spaces, no comma doubled, none at the ends."""
    text = re.sub(r"\s+([,.;:!?，、。；！？])", r"\1", " ".join(text.split()))
    text = re.sub(r"([，、。；！？])\s+", r"\1", text)
    text = re.sub(r"([，、])[，、]+", r"\1", text)
    text = re.sub(r"(?:,\s*){2,}", ", ", text)
    text = re.sub(r",\s*([.;])", r"\1", text)
    return re.sub(r"([.;]),", r"\1", text).strip(" ,，、")


def trigger_first(text: str, trigger: str) -> str:
    """The trigger once, at the beginning, followed by a comma where it was not there already."""
    pattern = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)")
    if pattern.match(text):
        head, rest = trigger, text[len(trigger) :]
        return tidy(head + _without_trigger(rest, pattern)) if pattern.search(rest) else text
    rest = tidy(_without_trigger(_PREAMBLE.sub("", text), pattern))
    return f"{trigger}, {rest}" if rest else trigger


def _without_trigger(text: str, pattern: re.Pattern[str]) -> str:
    said = []
    for comma, part in _parts(text):
        left = pattern.sub(" ", part)
        left = _hanging_off(left) if left != part else part
        if left.strip() or not comma:
            said.append(f"{comma}{left}")
    return "".join(said)
