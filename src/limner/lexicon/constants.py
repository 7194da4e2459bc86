"""Words in a text that name a constant of a person: what prompts and captions must leave out.

In: a text. Out: `Constant` findings with trait, words and place in the text. A trait word counts
only beside the noun it belongs to: "brown hair" is a constant, "brown trousers" is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from limner import lexicon

PERSON = "woman|man|lady|gentleman|girl|boy|person|female|male|adult|model|guy|teenager"
_MORE = {
    "hair_color": "blonde|blond|brunette|redhead|redheaded|platinum|raven|silver|white|dyed",
    "hair_style": "long|shoulder-length|wavy|straight|braided|messy|thick|shiny|fluffy|flowing",
    "eyes": "bright|almond|almond-shaped|deep-set|big|large|round|sparkling|piercing|amber",
    "skin": "pale|olive|glowing|flawless|porcelain|dusky|ebony|golden|smooth|freckled|natural",
    "face": "heart-shaped|chiseled|chiselled|delicate|angular|symmetrical|pretty|handsome",
    "build": "slim|slender|tall|short|petite|curvy|muscular|athletic|skinny|plus-size|thin|stocky",
    "age": "young|old|elderly|middle-aged|mature|teenage|youthful|ageing|aging",
}
"""Words beside those of traits.yaml, by trait (starting list; grown by the caption audit)."""

_STATES = "windswept|wet|damp|tousled|wind-blown|loose|tied|tucked|hidden"
"""Hair in a passing state ("windswept hair") is no constant."""


@dataclass(frozen=True)
class Constant:
    """One find: the trait, the words, and where they stand (character offsets)."""

    trait: str
    words: str
    start: int
    end: int


def _alternatives(trait: str) -> str:
    own = [w for words in lexicon.traits().get(trait, {}).values() for w in words]
    listed = sorted({*map(re.escape, own), *_MORE.get(trait, "").split("|")} - {""}, key=len)
    return "|".join(reversed(listed))


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    nouns = r"hair|curls|eyes|eyed|skin|face|complexion"  # a word belongs to the next of these
    gap = rf"(?:(?!{nouns})[\w-]+,? (?:and )?){{0,2}}"

    def beside(trait: str, nouns: str) -> str:
        # "red silk dress, hair loose": what a comma parts from the noun belongs to something else
        return rf"\b(?:{_alternatives(trait)})[\s,-]+{gap}(?<!,\s)(?:{nouns})\b"

    raw = [
        ("hair_color", beside("hair_color", "hair|haired|curls|locks|bun|ponytail|bob|beard")),
        ("hair_style", beside("hair_style", "hair|haired|haircut|curls|locks")),
        ("hair_style", r"\b(?:ponytail|updo|buzz cut|pixie cut|pigtails|dreadlocks|afro|bangs)\b"),
        ("hair_color", r"\b(?:blonde|brunette|redhead|redheaded)\b"),
        ("eyes", beside("eyes", "eyes|eyed|eye|irises")),
        ("eyes", r"\beyes (?:bright|sparkling|shining|wide and bright)\b"),
        ("skin", beside("skin", "skin|skinned|complexion")),
        ("skin", r"\b(?:freckles|freckled|suntan|suntanned|caucasian|hispanic|latina|latino)\b"),
        ("skin", rf"\b(?:asian|african|european|black|white|brown)[\s-]+(?:{PERSON})\b"),
        ("face", beside("face", "face|faced|features|jaw|jawline")),
        ("face", r"\b(?:jawline|cheekbones|dimples?|full lips|thin lips|button nose)\b"),
        ("build", rf"\b(?:{_MORE['build']}) (?:[\w-]+ )?(?:{PERSON}|body|build|figure|physique)\b"),
        ("age", rf"\b(?:{_alternatives('age')}) (?:[\w-]+ )?(?:{PERSON})\b"),
        ("age", r"\b\d{1,2}[- ]years?[- ]old\b|\bin (?:her|his|their) [a-z]+(?:ies|ens)\b"),
        ("sex", rf"\b(?:{PERSON})\b"),
        ("marks", r"\b(?:tattoos?|tattooed|scars?|piercings?|birthmark|beard|bearded|stubble)\b"),
        ("marks", r"\b(?:moustache|mustache|moles?)\b"),
    ]
    return tuple((trait, re.compile(pattern, re.IGNORECASE)) for trait, pattern in raw)


def find_constants(text: str, class_word: str | None = None) -> list[Constant]:
    """Constants named in `text`, in order, without overlaps; `class_word` itself is allowed."""
    found = sorted(_raw(text), key=lambda c: (c.start, -c.end))
    kept: list[Constant] = []
    own = rf"\b{re.escape(class_word)}\b" if class_word else r"(?!)"
    allowed = [m.span() for m in re.finditer(own, text, re.IGNORECASE)]
    for constant in found:
        if any(start <= constant.start and constant.end <= end for start, end in allowed):
            continue  # a class word may be "elderly man"
        if kept and constant.start < kept[-1].end:
            continue
        kept.append(constant)
    return kept


def _raw(text: str) -> Iterator[Constant]:
    for trait, pattern in _patterns():
        for match in pattern.finditer(text):
            words = match.group(0)
            if trait.startswith("hair") and re.search(rf"\b(?:{_STATES})\b", words, re.IGNORECASE):
                continue
            yield Constant(trait, words, match.start(), match.end())
