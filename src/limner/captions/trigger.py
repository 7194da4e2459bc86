"""Advice on a trigger word: its form, its tokens, whether language already has it.

In: a word, a base model. Out: `Advice`. Counts come from the base's own tokenizer files; where they
are not on this machine the count is "not measured", with the way to get them.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from limner import lexicon
from limner.captions.vocabularies import BASE, Tokenizer, find_tokenizer
from limner.project.rules import Rule, values_of
from limner.project.settings import TRIGGER_PATTERN

RULES: dict[str, Rule] = {
    "tokens_most": Rule(6, "starting value", "ours", "tokens a trigger may be cut into"),
    "letters_least": Rule(3, "starting value", "ours", "fewest characters of a trigger"),
    "letters_most": Rule(24, "starting value", "ours", "most characters of a trigger"),
}
"""Every number the advice judges by."""

OURS = "starting value of Limner"
GUIDE = "the guide, part 2, offers grace_char; starting value"
"""Sources of findings."""

SUFFIXES = ("char", "character", "person", "woman", "man", "girl", "boy", "lora", "xo", "v1", "v2")
"""Parts that mark a made-up name as one; they add no meaning of their own."""

WORN_OUT = {
    "sks": "also the name of a rifle; used by so many examples that models have seen it",
    "tok": "the placeholder of Replicate's trainers",
    "ohwx": "used by so many tutorials that published models may know it",
    "zwx": "used by many tutorials",
    "txcl": "used by many tutorials",
    "lora": "the word for the file itself",
    "trigger": "the placeholder of ai-toolkit ([trigger])",
    "subject": "a word that captions use",
}
"""Words that tutorials wore out (Replicate's Qwen trainer README warns of TOK and sks)."""

CONFLICT = (
    "Two rules contradict each other, and nobody has published a controlled test. 'A rare token': "
    "the training guide (02) asks for a unique nonsense word, so that no meaning of the word shows "
    "in the pictures. 'A natural name': Replicate's Qwen trainer advises against abstract tokens "
    "(TOK, sks) and asks for descriptive words, because Qwen's text encoder is a language model "
    "that reads words, not a table of tokens. A made-up name with a suffix, like grace_char, "
    "stands between: it reads as a name and is no word of the language."
)
"""Why there is no single answer: the guides and a trainer's README say opposite things."""


@dataclass(frozen=True)
class Advice:
    """What to know about one trigger word.

    verdict: good | usable | poor. tokens: count at the start of a caption and inside a sentence,
    None = not measured, then `tokens_reason` says why.
    """

    word: str
    verdict: str
    findings: list[dict[str, str]]
    tokenizer: str | None
    tokens_at_start: int | None
    tokens_inside: int | None
    pieces: list[str]
    tokens_reason: str | None
    common: list[str]
    conflict: str = field(default=CONFLICT)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def advise(
    word: str, base: str = BASE, own: dict[str, float] | None = None, *, class_word: str = ""
) -> Advice:
    """Judge a trigger word for a base (name, folder, or `miniature`).

    own: values for `RULES` by name. Raises InputError for tokenizer files that cannot be read.
    """
    limits = values_of(RULES, own, "captions.trigger")
    word = word.strip()
    parts = [p for p in re.split(r"[_\W]+", word.lower()) if p]
    common = [p for p in parts if p in _common()]
    findings = [
        *_form(word, limits),
        *_known_words(parts, common),
        *_in_captions(word, class_word),
    ]
    tokenizer = find_tokenizer(base)
    start: list[str] = []
    inside: list[str] = []
    reason: str | None = None
    if isinstance(tokenizer, Tokenizer):
        start, inside = tokenizer.pieces(word), tokenizer.pieces(f" {word}")
        findings += _tokens(start, inside, limits)
        if base == "miniature":
            reason = f"the miniature has a vocabulary of its own; it says nothing about {BASE}"
    else:
        reason = tokenizer
    return Advice(
        word,
        _verdict(findings),
        findings,
        tokenizer.name if isinstance(tokenizer, Tokenizer) else None,
        len(start) or None,
        len(inside) or None,
        start,
        reason,
        common,
    )


def _verdict(findings: list[dict[str, str]]) -> str:
    found = {f["severity"] for f in findings}
    return "poor" if "error" in found else "usable" if "warning" in found else "good"


def _finding(rule: str, severity: str, text: str, fix: str, source: str) -> dict[str, str]:
    return {"rule": rule, "severity": severity, "text": text, "fix": fix, "source": source}


def _form(word: str, limits: dict[str, float]) -> list[dict[str, str]]:
    found = []
    if not re.fullmatch(TRIGGER_PATTERN, word):
        text = f"{word!r} is not written as small letters and digits, parts joined by _"
        fix = f"Write it as {_mended(word)}."
        found.append(_finding("form", "error", text, fix, OURS))
    if not limits["letters_least"] <= len(word) <= limits["letters_most"]:
        low, high = limits["letters_least"], limits["letters_most"]
        text = f"{len(word)} characters, outside {low:g} to {high:g}"
        found.append(_finding("length", "warning", text, "Choose another.", "starting value"))
    return found


def _mended(word: str) -> str:
    return "_".join(p for p in re.split(r"[^a-z0-9]+", word.lower()) if p) or "grace_char"


def _known_words(parts: list[str], common: list[str]) -> list[dict[str, str]]:
    found = []
    bare = [p for p in parts if p not in SUFFIXES]
    for part in bare:
        if part in WORN_OUT and (part != "ohwx" or len(parts) == 1):
            severity = "error" if part in ("sks", "tok", "trigger") else "warning"
            text = f"{part!r} is worn out: {WORN_OUT[part]}"
            fix = "Make up a name, e.g. two syllables and _char."
            source = "Replicate's Qwen trainer README (TOK, sks); the others: starting value"
            found.append(_finding("worn_out", severity, text, fix, source))
    if bare and all(p in common for p in bare):
        named = ", ".join(bare)
        if len(bare) == len(parts):
            name = all(p in _names() for p in bare)
            kind = "a given name alone" if name else "an ordinary word alone"
            text = (
                f"{named} is {kind}: the model already has pictures of it, and prompts that use "
                "it for itself will draw your character"
            )
            fix = f"Add a suffix: {'_'.join(parts)}_char."
            severity = "warning" if name else "error"
            found.append(_finding("common", severity, text, fix, OURS))
        else:
            text = (
                f"{named} is a word of the language; with its suffix it reads as a name. Some of "
                "its meaning may show until training has overwritten it"
            )
            fix = "Keep it, or alter its spelling so that it is no word."
            found.append(_finding("name", "info", text, fix, GUIDE))
    return found


def _in_captions(word: str, class_word: str) -> list[dict[str, str]]:
    """Words that captions say for themselves cannot be triggers."""
    said = word.lower()
    if said in _caption_words():
        text = f"{word!r} is a word that captions use: it would stand in them twice"
        return [_finding("in_captions", "error", text, "Choose another word.", "ours")]
    if class_word and said == class_word.lower():
        text = "the trigger is the class word: everyone of that class would be drawn alike"
        return [_finding("class_word", "error", text, "Choose another word.", OURS)]
    return []


def _tokens(start: list[str], inside: list[str], limits: dict[str, float]) -> list[dict[str, str]]:
    most = limits["tokens_most"]
    worst = max(len(start), len(inside))
    if worst > most:
        text = f"it is cut into {worst} tokens ({' + '.join(start)}), more than {most:g}"
        fix = "Shorten it, or build it from syllables that are common."
        return [_finding("tokens", "warning", text, fix, OURS)]
    if worst == 1:
        text = "it is one token: a word the tokenizer met often, so it has a meaning already"
        return [_finding("tokens", "warning", text, "Add a suffix such as _char.", OURS)]
    return []


@cache
def _read(name: str) -> frozenset[str]:
    text = (resources.files(__package__) / "data" / name).read_text(encoding="utf-8")
    return frozenset(text.split())


def _names() -> frozenset[str]:
    return _read("given_names.txt")


@lexicon.remembered
def _common() -> frozenset[str]:
    """Common words, common given names, and the words of prompts and captions."""
    return (_read("common_words.txt") | _names() | _caption_words()) - frozenset(SUFFIXES)


@lexicon.remembered
def _caption_words() -> frozenset[str]:
    """Every word of three letters and more that the captions of the lexicon can say."""
    found: set[str] = set(lexicon.colors())
    for axis in ("framing", "angle", "outfit", "setting", "expression", "pose"):
        for value in lexicon.axis(axis).values():
            for name in ("phrase", "caption", "mood"):
                said = getattr(value, name, ())
                for text in [said] if isinstance(said, str) else said:
                    found |= set(re.findall(r"[^\W\d_]{3,}", text.lower()))
    return frozenset(found)
