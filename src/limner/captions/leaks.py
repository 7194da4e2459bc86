"""What must not stand in a caption: the constants of the person, by the user's list; camera talk.

In: captions and the policy of each trait. Out: findings with their mends. Policy: fuse = never in a
caption, vary = it changes between pictures and may stand, ignore = not looked at, sometimes = fuse
when it stands in most captions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from limner.captions.findings import Finding, Mend
from limner.captions.mending import FUNCTION_WORDS, delete_words, whole
from limner.errors import InputError
from limner.lexicon.constants import Constant, find_constants

POLICIES = ("fuse", "vary", "ignore", "sometimes")
TRAITS: dict[str, str] = {
    **dict.fromkeys(
        ("eyes", "hair_color", "hair_style", "skin", "face", "age", "sex", "build", "marks"), "fuse"
    ),
    "hair_state": "vary",
    "makeup": "sometimes",
    "glasses": "sometimes",
    "jewellery": "sometimes",
}
"""Trait -> default policy (captions are ours to rule: starting values, by the fact sheets)."""

_ARRANGED = re.compile(
    r"\b(?:ponytail|pigtails|updo|bun|braids?|braided|tied|loose|messy|flowing|pinned|half-up)\b",
    re.IGNORECASE,
)
_MORE: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (trait, re.compile(pattern, re.IGNORECASE))
    for trait, pattern in (
        (
            "makeup",
            r"\b(?:(?:\w+ )?(?:lipstick|eyeliner|eyeshadow|mascara|blush)|(?:no|light|heavy|"
            r"natural|minimal|subtle|glamorous|bold) make-?up|make-?up)\b",
        ),
        (
            "age",
            r"\bin (?:her|his|their) (?:(?:early|mid|late)[- ])?(?:teens|\w+ties|\d0s)\b",
        ),
        ("glasses", r"\b(?:(?:round|black|thin|wire|horn)[- ](?:rimmed )?)?(?:eye|sun)?glasses\b"),
        (
            "jewellery",
            r"\b(?:(?:gold|silver|pearl|diamond|small|hoop|stud|delicate) )*"
            r"(?:earrings?|necklace|pendant|choker|bracelet|nose ring)\b",
        ),
    )
)
_CAMERA = re.compile(
    r"\b(?:\d+ ?mm|f/\d[\d.]*|bokeh|canon(?: eos)?(?: \w*\d\w*)?|nikon(?: \w*\d\w*)?|"
    r"sony(?: \w*\d\w*)?|leica|fujifilm|arri|depth of field|8k|4k|uhd|hdr|"
    r"raw photo|photorealistic|ultra[- ]detailed|highly detailed|masterpiece|best quality|"
    r"high quality|high resolution|award[- ]winning|trending on artstation|"
    r"professional photography)(?!\w)",
    re.IGNORECASE,
)


def policy(own: Mapping[str, str] | None) -> dict[str, str]:
    """Trait or the user's own words -> policy, with the defaults.

    Raises InputError for a policy that is none, or a trait name that is none ("hair_colour").
    """
    found = dict(TRAITS)
    for name, said in (own or {}).items():
        if said not in POLICIES:
            raise InputError(
                f"{name}: no policy {said!r}",
                where="captions.constants",
                fix=f"Use one of: {', '.join(POLICIES)}.",
            )
        if "_" in name and name not in TRAITS:
            raise InputError(
                f"no trait {name!r}",
                where="captions.constants",
                fix=f"Traits: {', '.join(TRAITS)}. Or words of your own, without an underscore.",
            )
        found[name] = said
    return found


def traits_in(text: str, class_word: str, own: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(trait, words) of every constant named in `text`, by the policy's traits and own words."""
    for constant in find_constants(text, class_word or None):
        if _OTHER_NOUN.search(constant.words):
            continue  # "grey sweater, her hair tied back": the colour is the sweater's
        arranged = constant.trait == "hair_style" and _ARRANGED.search(constant.words)
        words = text[_left_of(text, constant) : _right_of(text, constant)]
        yield ("hair_state" if arranged else constant.trait), words
    for trait, pattern in _MORE:
        for match in pattern.finditer(text):
            yield trait, match.group(0)
    for words in own:
        if words not in TRAITS and whole(words).search(text):
            yield words, words


_OTHER_NOUN = re.compile(r",\s+(?:and\s+)?(?:her|his|their|the|a|with)\b", re.IGNORECASE)
_STOPS = FUNCTION_WORDS | {
    "wearing",
    "has",
    "having",
    "showing",
    "featuring",
    "her",
    "his",
    "their",
}
_PLACE = re.compile(
    r"\s+(?:on|over|across|behind|along)\s+(?:(?:her|his|their|the)\s+)?(?:\w+\s+){0,2}?(?:arm|"
    r"forearm|neck|shoulder|back|hand|wrist|leg|thigh|chest|cheek|lip|nose|brow|eyebrow|ear|face|"
    r"ankle|chin)s?\b",
    re.IGNORECASE,
)


def _left_of(text: str, constant: Constant) -> int:
    """Where the words begin with the adjectives before them ("striking green eyes")."""
    start = constant.start
    while constant.trait in ("eyes", "hair_color", "hair_style", "skin", "face"):
        before = re.search(r"([\w-]+)[ ]+$", text[:start])
        if before is None or before.group(1).lower() in _STOPS or "_" in before.group(1):
            break
        if constant.start - before.start() > _REACH:
            break
        start = before.start()
    return start


_REACH = 24
"""Most letters before a constant that count as its adjectives (starting value: two words)."""


def _right_of(text: str, constant: Constant) -> int:
    """Where the words end with the place of a mark ("tattoo on left arm")."""
    place = _PLACE.match(text, constant.end) if constant.trait == "marks" else None
    return place.end() if place else constant.end


def constant_findings(
    texts: Mapping[str, str], class_word: str, own: Mapping[str, str], value: Mapping[str, float]
) -> list[Finding]:
    """Identity leaks of all captions, each named by its trait."""
    told = {key: list(traits_in(text, class_word, own)) for key, text in texts.items()}
    having: dict[str, int] = {}
    for pairs in told.values():
        for trait in {t for t, _ in pairs}:
            having[trait] = having.get(trait, 0) + 1
    found = []
    for key, pairs in told.items():
        for trait, words in dict.fromkeys(pairs):
            said = own.get(trait, "fuse")
            share = having[trait] / len(texts)
            enough = len(texts) >= value["frequency_from"] and share >= value["sometimes_share"]
            if said == "fuse" or (said == "sometimes" and enough):
                found.append(_leak(key, trait, words, said, share))
    return found


def _leak(key: str, trait: str, words: str, said: str, share: float) -> Finding:
    text = f'"{words}" names a constant ({trait})'
    if said == "sometimes":
        text += f", as {100 * share:.0f} % of the captions do"
    fix = "Delete these words: they must fuse with the trigger."
    if trait == "sex":
        fix += " Or let it stand as the class word: --class-word, or captions.class_word."
    return Finding(
        *("constant", "error", key, text, fix),
        subject=f"{trait}: {words.lower()}",
        mends=(Mend(key, lambda t: delete_words(t, words)),),
        evidence={"trait": trait, "policy": said},
    )


def camera_findings(text: str, key: str) -> list[Finding]:
    """Words about camera and quality."""
    found = []
    for words in dict.fromkeys(m.group(0) for m in _CAMERA.finditer(text)):
        found.append(_camera(key, words))
    return found


def _camera(key: str, words: str) -> Finding:
    return Finding(
        *("camera", "error", key, f'"{words}" is about the camera or quality'),
        *("Delete these words.", words.lower()),
        mends=(Mend(key, lambda t: delete_words(t, words)),),
    )
