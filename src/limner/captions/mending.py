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

_HANGING = "|".join(sorted(map(re.escape, FUNCTION_WORDS)))
_TAIL = re.compile(rf"(?:\s+(?:{_HANGING}))+$", re.IGNORECASE)
_START = re.compile(r"^(?:(?:and|or|of|with|by|&)\s+)+", re.IGNORECASE)
_TWICE = re.compile(rf"\b((?:{_HANGING}))(?:\s+\1)+\b", re.IGNORECASE)


def whole(words: str) -> re.Pattern[str]:
    """A pattern for these words as whole words, any case and any white space between them."""
    inner = r"\s+".join(map(re.escape, words.split()))
    return re.compile(rf"(?<!\w){inner}(?!\w)", re.IGNORECASE)


def delete_words(text: str, words: str) -> str:
    """Without `words`; comma parts that then say nothing go as well."""
    pattern, joined = whole(words), _with_its_joint(words)
    parts = []
    for part in text.split(","):
        left = pattern.sub(" ", joined.sub(" ", part))
        if left != part:
            left = _hanging_off(left)
        if left.strip() or not part.strip():
            parts.append(left)
    return tidy(",".join(parts))


def _with_its_joint(words: str) -> re.Pattern[str]:
    """`words` with what joined them ("with ..."), where nothing follows that it could join."""
    inner = r"\s+".join(map(re.escape, words.split()))
    return re.compile(
        rf"\b(?:with|and|of|has|having)\s+(?:(?:a|an|the|her|his|their)\s+)?{inner}(?!\w)"
        r"(?=\s*(?:$|[.;]|\b(?:in|on|at|with|by|to|from|near|wearing|standing|sitting)\b))",
        re.IGNORECASE,
    )


def _hanging_off(part: str) -> str:
    """A part without joining words at its ends; nothing when only such words are left."""
    stop = re.search(r"[.;!]+\s*$", part)
    part = " ".join(part[: stop.start()].split() if stop else part.split())
    part = _START.sub("", _TAIL.sub("", _TWICE.sub(r"\1", part)))
    part = re.sub(r"\b(with|of|in)\s+and\b", r"\1", part, flags=re.IGNORECASE)
    left = {w.lower() for w in re.findall(r"[\w'-]+", part)}
    return f" {part}" if left - FUNCTION_WORDS - {"wearing", "looking"} else ""


def replace_words(text: str, words: str, instead: str) -> str:
    """With `instead` where `words` stood."""
    return tidy(whole(words).sub(lambda _: instead, text))


def tidy(text: str) -> str:
    """Single spaces, no comma doubled, none at the ends."""
    text = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(text.split()))
    text = re.sub(r"(?:,\s*){2,}", ", ", text)
    text = re.sub(r",\s*([.;])", r"\1", text)
    return re.sub(r"([.;]),", r"\1", text).strip(" ,")


def trigger_first(text: str, trigger: str) -> str:
    """The trigger once, at the beginning, followed by a comma where it was not there already."""
    pattern = re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)")
    if pattern.match(text):
        head, rest = trigger, text[len(trigger) :]
        return tidy(head + _without_trigger(rest, pattern)) if pattern.search(rest) else text
    rest = tidy(_without_trigger(text, pattern))
    return f"{trigger}, {rest}" if rest else trigger


def _without_trigger(text: str, pattern: re.Pattern[str]) -> str:
    parts = []
    for part in text.split(","):
        left = pattern.sub(" ", part)
        parts.append(_hanging_off(left) if left != part else part)
    return ",".join(p for p in parts if p.strip() or p == parts[0])
