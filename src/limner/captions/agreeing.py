"""Contradictions: what a caption says against itself, the shot's attributes and the measures.

In: a caption, the attributes its picture has, review's measures of it. Out: findings with mends;
what could not be measured is counted with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from limner import lexicon
from limner.captions.findings import Finding, Mend
from limner.captions.mending import delete_words, replace_words
from limner.project.records import Measure

FRAMINGS: dict[str, tuple[str, tuple[float, float]]] = {
    # id: (words, face width over picture height it can have)
    "close_up": (r"close-?up(?! of)|head ?shot|head-and-shoulders", (0.22, 9.0)),
    "half_body": (r"half[- ]body|waist[- ]up|upper body|medium shot|bust shot", (0.14, 0.36)),
    "cowboy": (r"cowboy shot|mid-thigh|knee[- ]up|three-quarter length", (0.10, 0.24)),
    "full_body": (r"full[- ](?:body|length)|head[- ]to[- ]toe|wide shot", (0.0, 0.16)),
}
"""Measured on 75 kept drawings (close-up 0.27 to 0.50, waist-up 0.18 to 0.28, cowboy 0.14 to 0.20,
full body 0.10 to 0.12) and widened by a third (derived; for photographs a starting value)."""

_FRAMING = {k: re.compile(rf"\b(?:{w})\b(?: (?:shot|portrait))?", re.I) for k, (w, _) in
            FRAMINGS.items()}  # fmt: skip
_ANGLES = {
    "front": re.compile(r"\b(?:front view|facing (?:the )?camera|frontal)\b", re.I),
    "side": re.compile(r"\b(?:side profile(?: view)?|in profile|profile view|side view)\b", re.I),
    "pure_back": re.compile(r"\b(?:back view|from behind, face hidden|rear view)\b", re.I),
    "three_quarter": re.compile(r"\b(?:three-quarter view|3/4 view|turned three-quarters)\b", re.I),
}
_MANY = re.compile(
    r"\b(?:(?:two|three|four|several|many) (?:women|men|people|persons|girls|boys|friends)|couple|"
    r"crowd|group of (?:people|friends|women|men)|another (?:woman|man|person)|twins)\b",
    re.I,
)
_FACE = re.compile(r"\b(?:smil\w+|grin\w*|looking at (?:the )?camera|facing (?:the )?camera|"
                   r"close-?up portrait)\b", re.I)  # fmt: skip
_PLACES = {
    "indoor": re.compile(r"\b(?:indoors?|inside)\b", re.I),
    "outdoor": re.compile(r"\b(?:outdoors?|outside)\b", re.I),
}


def _found(key: str, text: str, fix: str, subject: str, mend: Any, **evidence: Any) -> Finding:
    return Finding(
        *("contradiction", "warning", key, text, fix, subject),
        mends=() if mend is None else (Mend(key, mend),),
        evidence=evidence,
    )


def framings_in(text: str) -> dict[str, str]:
    """Framing id -> the words that name it."""
    return {k: m.group(0) for k, p in _FRAMING.items() if (m := p.search(text))}


def against_itself(text: str, key: str) -> list[Finding]:
    """Two framings in one caption, indoors and outdoors at once."""
    found = []
    framings = framings_in(text)
    if len(framings) > 1:
        names = list(framings.values())
        says = " and ".join(f'"{n}"' for n in names)
        last = max(names, key=text.find)
        fix = f'Keep one; the mend deletes "{last}".'
        subject = "two framings"
        found.append(_found(key, f"it says {says}", fix, subject, lambda t: delete_words(t, last)))
    if all(p.search(text) for p in _PLACES.values()):
        found.append(
            _found(key, "it says indoors and outdoors", "Say one.", "indoor and outdoor", None)
        )
    return found


def against_attributes(text: str, key: str, values: Mapping[str, str]) -> list[Finding]:
    """The caption's place, framing and angle against what the picture was made to show."""
    found = []
    own = lexicon.settings().get(values.get("setting", ""))
    if own is not None:
        parts = {s.strip().lower() for s in text.split(",")}
        for phrase in _places():
            said = {phrase, f"{phrase} background", f"{phrase} setting"} & parts
            if said and phrase != own.phrase.lower():
                words, instead = max(said, key=len), f"{own.phrase} background"
                found.append(
                    _found(
                        *(key, f"it says {phrase}, the picture shows {own.phrase}"),
                        *(f"Say {own.phrase}, or reject the take.", f"place: {phrase}"),
                        lambda t, w=words, i=instead: replace_words(t, w, i),
                        recorded=own.phrase,
                    )
                )
    framing = lexicon.framings().get(values.get("framing", ""))
    said_framings = framings_in(text)
    if framing is not None and len(said_framings) == 1 and framing.id in FRAMINGS:
        said_id, words = next(iter(said_framings.items()))
        if said_id != framing.id:
            found.append(
                _found(
                    *(key, f'it says "{words}", the shot is a {framing.phrase}'),
                    *(f"Say {framing.phrase}.", f"framing: {words.lower()}"),
                    # its own words: the angles below use the same name
                    lambda t, w=words, i=framing.phrase: replace_words(t, w, i),
                    recorded=framing.phrase,
                )
            )
    angle = values.get("angle", "")
    for said_angle, pattern in _ANGLES.items():
        match = pattern.search(text)
        if match and angle in _ANGLES and said_angle != angle:
            words, instead = match.group(0), lexicon.angles()[angle].phrase[0]
            found.append(
                _found(
                    *(key, f'it says "{words}", the shot is a {instead}'),
                    *(f"Say {instead}.", f"angle: {words.lower()}"),
                    lambda t, w=words, i=instead: replace_words(t, w, i),
                    recorded=instead,
                )
            )
    return found


@lexicon.remembered
def _places() -> tuple[str, ...]:
    return tuple(sorted({s.phrase.lower() for s in lexicon.settings().values()}))


def against_measures(
    text: str,
    key: str,
    measures: Mapping[str, Measure],
    height: int | None,
    value: Mapping[str, float],
) -> tuple[list[Finding], dict[str, str]]:
    """(findings, not measured: what -> reason). `height` of the picture in pixels."""
    found: list[Finding] = []
    absent: dict[str, str] = {}

    def number(name: str) -> float | None:
        measure = measures.get(name)
        if measure is None or measure.value is None:
            absent[name] = "not reviewed yet" if measure is None else measure.reason or "unknown"
            return None
        return measure.value

    faces, width, yaw = number("face_count"), number("face_width"), number("yaw")
    if faces is not None:
        found += _faces(text, key, int(faces))
    if width is not None and height:
        found += _framing(text, key, width / height)
    if yaw is not None:
        found += _angle(text, key, abs(yaw), value)
    return found, absent


def _faces(text: str, key: str, faces: int) -> list[Finding]:
    if (many := _MANY.search(text)) and faces == 1:
        words = many.group(0)
        says = f'it says "{words}", one face was found'
        return [_found(key, says, "Delete it.", f"faces: {words.lower()}",
                       lambda t: delete_words(t, words), face_count=faces)]  # fmt: skip
    if faces > 1 and not many:
        says = f"{faces} faces were found, the caption tells of one person"
        return [_found(key, says, "Reject the take, or name the others.", "faces", None,
                       face_count=faces)]  # fmt: skip
    match = _FACE.search(text)
    small = framings_in(text).keys() & {"full_body", "cowboy"}
    if faces == 0 and match and not small and not _ANGLES["side"].search(text):
        says = f'it says "{match.group(0)}", no face was found'
        fix = "Look at the picture; correct the caption or reject the take."
        return [_found(key, says, fix, f"no face: {match.group(0).lower()}", None, face_count=0)]
    return []


def _framing(text: str, key: str, share: float) -> list[Finding]:
    said = framings_in(text)
    if len(said) != 1:
        return []
    name, words = next(iter(said.items()))
    low, high = FRAMINGS[name][1]
    if low <= share <= high:
        return []
    middle = {k: sum(v.face_share) / 2 * 0.85 for k, v in lexicon.framings().items()}
    best = min((k for k in middle if k in FRAMINGS), key=lambda k: abs(middle[k] - share))
    phrase = lexicon.framings()[best].phrase
    says = f'it says "{words}", the face is {share:.2f} of the picture\'s height: a {phrase}'
    return [
        _found(
            *(key, says, f"Say {phrase}.", f"framing: {words.lower()}"),
            lambda t: replace_words(t, words, phrase),
            face_share=round(share, 3),
        )
    ]


def _angle(text: str, key: str, yaw: float, value: Mapping[str, float]) -> list[Finding]:
    for name, wrong, instead in (
        ("front", yaw > value["front_yaw"], "three-quarter view"),
        ("side", yaw < value["profile_yaw"], "front view"),
        ("pure_back", True, ""),
    ):
        match = _ANGLES[name].search(text)
        if not match or not wrong:
            continue
        words = match.group(0)
        seen = (
            "a face was found" if name == "pure_back" else f"the head is turned {yaw:.0f} degrees"
        )
        fix = f"Say {instead}." if instead else "Delete it, or look at the picture."

        def mend(t: str, words: str = words, instead: str = instead) -> str:
            return replace_words(t, words, instead) if instead else delete_words(t, words)

        return [_found(key, f'it says "{words}", {seen}', fix, f"angle: {words.lower()}", mend,
                       yaw=round(yaw, 1))]  # fmt: skip
    return []
