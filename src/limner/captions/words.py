"""The words by which free text is read: classes of data/words.yaml and the patterns of idioms.

In: nothing. Out: `words()`, class name -> set; compiled patterns of framing, angle, gaze, pose.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from limner import lexicon
from limner.lexicon.tables import table


def _raw() -> dict[str, Any]:
    return table("limner.captions", "words")


@lexicon.remembered
def words(name: str) -> frozenset[str]:
    """One class of words, the lexicon's own included. Raises KeyError for an unknown name."""
    listed = frozenset(str(w) for w in _raw()[name])
    if name == "color":
        return listed | frozenset(lexicon.colors())
    if name == "feeling":
        own = {w for m in lexicon.moods().values() for w in m.mood}
        return listed | own | {c.split()[0] for m in lexicon.moods().values() for c in m.caption}
    if name in ("garment", "kind"):
        phrases = [p for o in lexicon.outfits().values() for p in _split(o.phrase)]
        heads = {p.split()[-1] for p in phrases}
        if name == "garment":
            return listed | heads
        colors = words("color") | frozenset(str(w) for w in _raw()["shade"])
        return listed | ({w for p in phrases for w in p.split()[:-1]} - colors - {"a", "an"})
    if name in ("place", "adjunct"):
        said = [s.phrase.split() for s in lexicon.settings().values()]
        if name == "place":
            return listed | {p[-1] for p in said}
        colors = words("color")
        taken = colors | frozenset(
            str(w) for n in ("style", "shade", "place_known") for w in _raw()[n]
        )
        return listed | ({w for p in said for w in p[:-1]} - taken)
    return listed


def _split(phrase: str) -> list[str]:
    return [p for p in re.split(r" and | over | with ", phrase) if p.split()]


@lexicon.remembered
def idioms(slot: str) -> re.Pattern[str]:
    """The lexicon's own wordings of light, camera, detail or pose, as one pattern."""
    said: set[str] = set()
    if slot == "light":
        for light in lexicon.lightings().values():
            said |= {light.phrase, *light.detail, *light.source, *light.manner}
    elif slot == "camera":
        for camera in lexicon.cameras().values():
            said |= {*camera.detail.split(", "), *camera.body, *camera.lens, *camera.look}
    elif slot == "detail":
        for place in lexicon.settings().values():
            said |= {place.props, *place.objects}
    else:
        for pose in lexicon.poses().values():
            said |= set(pose.phrase)
    plain = {re.sub(r"^(?:an?|the|one) ", "", s.strip().lower()) for s in said} - {""}
    several = sorted((s for s in plain if " " in s or slot == "pose"), key=lambda w: (-len(w), w))
    body = "|".join(re.escape(s).replace(r"\ ", r"\s+") for s in several)
    return re.compile(rf"(?<![\w-])(?:(?:an?|the|one)\s+)?(?:{body})(?![\w-])", re.IGNORECASE)


@cache
def feeling_nouns() -> dict[str, str]:
    """Noun of a feeling -> its adjective."""
    return {str(k): str(v) for k, v in _raw()["feeling_noun"].items()}


def groups_of(name: str, word: str) -> frozenset[str]:
    """The groups of a grouped class (`worn_where`, `color_family`) that a word is in."""
    raw = _raw()[name]
    if not isinstance(raw, dict):
        return frozenset({name}) if word.lower() in raw else frozenset()
    low = word.lower()
    return frozenset(str(group) for group, listed in raw.items() if low in listed)


@lexicon.remembered
def either(*names: str) -> re.Pattern[str]:
    """Any word or phrase of these classes, whole words, longest first."""
    listed = sorted({w for n in names for w in words(n)}, key=lambda w: (-len(w), w))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, listed))})(?![\w-])", re.IGNORECASE)


def adjectives() -> frozenset[str]:
    """Words that can stand before a noun and never end a phrase."""
    names = ("feeling", "temperature", "material", "cut", "shade", "color", "pattern", "style")
    return frozenset().union(*(words(n) for n in names)) | words("looks")


_KIND = (
    r"(?:[- ](?:shot|portrait|view|framing|frame|composition|photo|photograph|crop|image|angle))"
)
_SEEN = r"(?:(?:framed|shot|seen|captured|cropped|photographed|shown|composed|viewed|taken)\s+)?"
_OWN = r"(?:(?:the|her|his|their|its|a|one|both)\s+)?"

FRAMING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (rf"\bmedium close[- ]?up{_KIND}*\b", "medium close-up"),
        (rf"\b(?:extreme |tight |intimate )?close[- ]?up{_KIND}*\b", "close-up portrait"),
        (rf"\b(?:tight )?head[- ]and[- ]shoulders?{_KIND}*\b", "close-up portrait"),
        (r"\bhead[- ]?shot\b", "close-up portrait"),
        (rf"\b{_SEEN}from\s+{_OWN}waist[- ](?:and[- ])?up(?:wards?)?\b", "waist-up shot"),
        (rf"\b{_SEEN}{_OWN}(?:at\s+)?waist[- ]?up(?:wards?)?{_KIND}*\b", "waist-up shot"),
        (r"\b(?:cropped|framed|cut)\s+(?:off\s+)?(?:at|to)\s+(?:the\s+)?waist\b", "waist-up shot"),
        (rf"\bhalf[- ](?:body|length){_KIND}*", "half-body shot"),
        (rf"\bupper[- ]body{_KIND}+", "upper-body shot"),
        (r"\b(?:medium|mid)[- ]shot\b", "medium shot"),
        (r"\b(?:cowboy|american)[- ]shot\b", "cowboy shot"),
        (rf"\b{_SEEN}(?:from\s+)?{_OWN}mid-?thighs?(?:[- ]up)?{_KIND}*\b", "cowboy shot"),
        (rf"\b(?:three[- ]quarter|3/4)[- ]length{_KIND}*\b", "cowboy shot"),
        (rf"\b{_SEEN}(?:from\s+)?{_OWN}(?:thighs?|knees?)[- ]up{_KIND}*\b", "cowboy shot"),
        (rf"\b(?:full[- ]?(?:body|length|figure)|head[- ]to[- ]toe){_KIND}*\b", "full body shot"),
        (r"\bmedium[- ](?:wide|long)[- ]shot\b", "cowboy shot"),
        (r"\b(?:extreme )?(?:wide|long)[- ]shot\b", "full body shot"),
    )
)
"""Pattern -> the framing a caption says."""

ANGLE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (
            r"\bfront(?:al)?[- ](?:view|angle|facing|shot)\b|\b(?:seen )?from the front\b",
            "front view",
        ),
        (r"\b(?:directly )?facing (?:the |towards? the )?camera\b", "facing the camera"),
        (
            r"\b(?:three[- ]quarters?|3/4)[- ](?:view|angle|turn|profile|pose)s?\b",
            "three-quarter view",
        ),
        (r"\bturned three[- ]quarters\b", "turned three-quarters"),
        (r"\b(?:left |right )?side[- ]profile(?:[- ](?:view|shot|angle))?\b", "side profile view"),
        (r"\bprofile[- ](?:view|shot|angle)\b", "profile view"),
        (r"\bin profile\b", "in profile"),
        (r"\bside[- ](?:view|angle)\b|\b(?:seen )?from the side\b", "side view"),
        (r"\bover[- ](?:the[- ])?shoulder[- ]view\b", "over-shoulder view"),
        (r"\bover[- ](?:the[- ])?shoulder[- ](?:shot|angle|pose|portrait)\b", "over-shoulder shot"),
        (r"\b(?:back|rear)[- ](?:view|angle)\b|\b(?:seen |shot )?from the back\b", "back view"),
        (r"\b(?:seen |viewed |shot )?from behind\b", "seen from behind"),
        (r"\b(?:low[- ]angle(?:[- ](?:shot|view))?|from below)\b", "low angle"),
        (r"\b(?:high[- ]angle(?:[- ](?:shot|view))?|from above)\b", "high angle"),
    )
)
"""Pattern -> the angle a caption says."""

_LENS = r"(?:camera(?:\s+lens)?|lens|viewer|photographer)"
_LOOK = r"(?:looking|gazing|staring|glancing|peering|turned|turning)"
_SOFTLY = r"(?:(?:directly|straight|right|intently|[a-z]+ly|out|up)\s+)*"
GAZE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (
            rf"\b(looking|glancing|gazing|turned|turning)\s+{_SOFTLY}back\s+{_SOFTLY}"
            rf"(?:at|towards?|into|to)\s+(?:the\s+)?{_LENS}(?:\s+over\s+{_OWN}shoulder)?\b",
            "{} back at camera",
        ),
        (
            rf"\b{_LOOK}\s+{_SOFTLY}(?:at|into|towards?|to)\s+(?:the\s+)?{_LENS}\b",
            "looking at camera",
        ),
        (
            rf"\b(?:eyes|gaze|attention)\s+(?:(?:is|are|fixed|locked|focused|directed|meets?|meeting"
            rf"|held|directly|straight)\s+)*(?:(?:at|on|into|towards?|with|to)\s+)?(?:the\s+)?{_LENS}\b",
            "looking at camera",
        ),
        (
            r"\b(?:(?:making|maintaining|holding|keeping|with)\s+)?(?:(?:direct|steady|warm|strong|"
            rf"confident)\s+)?eye[- ]contact(?:\s+with\s+(?:the\s+)?{_LENS})?\b",
            "looking at camera",
        ),
        (rf"\b(?:meeting|engaging)\s+(?:with\s+)?(?:the\s+)?{_LENS}\b", "looking at camera"),
        (
            rf"\b(?:direct|steady)\s+gaze\s+(?:at|into|towards?)\s+(?:the\s+)?{_LENS}\b",
            "looking at camera",
        ),
        (
            rf"\b(looking|glancing|gazing|peering)\s+(?:back\s+)?over\s+{_OWN}shoulder\b",
            "{} over shoulder",
        ),
        (r"\bgaze\s+(?:lowered|cast\s+down|turned\s+down)(?:wards?)?\b", "gaze lowered"),
        (
            rf"\b(looking|gazing|glancing|staring)\s+{_SOFTLY}(?:off\s+)?into\s+the\s+distance\b",
            "{} into the distance",
        ),
        (
            rf"\b(looking|gazing|glancing|staring)\s+{_SOFTLY}(?:off\s+)?(?:to|towards?)\s+"
            r"(?:the|one)\s+side\b",
            "{} to the side",
        ),
        (
            rf"\b(looking|gazing|glancing|staring)\s+(?:away|off)(?:\s+from\s+(?:the\s+)?{_LENS})?"
            r"(?:\s+to\s+(?:the|one)\s+side)?\b",
            "{} away",
        ),
        (r"\b(looking|gazing|glancing)\s+(?:[a-z]+ly\s+)*down(?:wards?)?\b", "{} down"),
        (r"\b(looking|gazing|glancing)\s+(?:[a-z]+ly\s+)*up(?:wards?)?\b", "{} up"),
        (r"\b(looking|gazing|glancing)\s+(?:[a-z]+ly\s+)*(?:aside|sideways)\b", "{} aside"),
    )
)
"""Pattern -> the gaze a caption says; {} is the verb as written."""

_PART = (
    r"(?:hands?|arms?|legs?|fingers?|elbows?|shoulders?|head|chin|knees?|hips?|ankles?|foot|feet)"
)
_DOES = (
    r"(?:in|on|behind|at|near|under|over|crossed|folded|clasped|resting|rested|raised|lowered|"
    r"lifted|tilted|turned|tucked|outstretched|stretched|extended|spread|relaxed|loose|bent|"
    r"interlaced|held|placed|thrown|down|up)"
)
_WHERE = (
    r"(?:slightly|gently|in|on|to|behind|over|at|by|near|under|against|towards?|the|a|her|his|their"
    r"|one|side|sides|hips?|pockets?|back|wave|chin|lap|head|chest|knees?|table|cheek|up|down|"
    r"forward|air|shoulders?|little)"
)
POSE: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_OWN}{_PART}\s+(?:[a-z]+ly\s+)?{_DOES}(?:\s+{_WHERE})*(?<!\sthe)(?<!\sin)(?<!\sa)\b",
        r"\bmid-stride\b",
        r"\b(?:standing|sitting) relaxed\b",
        r"\bstanding at ease\b",
    )
)
"""What hands, arms, head do: body words that are no constants."""

STATE: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:windswept|wet|damp|tousled|wind-?blown)\s+hair\b",
        rf"\b{_OWN}hair\s+(?:tied(?:\s+(?:up|back))?(?:\s+in(?:to)?\s+an?\s+(?:\w+\s+)?\w+)?|blowing(?:\s+in\s+the\s+wind)?|pulled\s+back"
        r"|tucked\s+(?:back|behind\s+(?:her|his|the|one)\s+ears?)|put\s+up)\b",
        rf"\b{_OWN}(?:half-closed|closed)\s+eyes\b|\b{_OWN}eyes\s+(?:half-closed|closed)\b",
    )
)
"""Passing states of hair and eyes: they change between pictures, so captions name them."""


def ignored(word: str) -> bool:
    """Whether a word carries no content of its own; such words are never reported as dropped."""
    return word.lower() in words("ignored")
