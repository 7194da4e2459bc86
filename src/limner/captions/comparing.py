"""Whether a model's description of a picture agrees with what was planned for it.

In: the reading of the plan (a caption or prompt) and of the description. Out: `Disagreement`s, and
how many things could be compared. Only what cannot hold at once counts; what the model leaves
unsaid is no disagreement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from limner.captions.reading import Reading
from limner.captions.words import groups_of

FRAMING_ORDER = {
    "close-up portrait": 0,
    "medium close-up": 1,
    "upper-body shot": 1,
    "waist-up shot": 2,
    "half-body shot": 2,
    "medium shot": 2,
    "cowboy shot": 3,
    "full body shot": 4,
}
"""Framings from near to far; one step apart is a matter of taste, two are a disagreement."""
FRAMING_STEPS = 2

_VIEWS = {
    **dict.fromkeys(("front view", "facing the camera"), "front"),
    **dict.fromkeys(("three-quarter view", "turned three-quarters"), "three-quarter"),
    **dict.fromkeys(("side profile view", "profile view", "in profile", "side view"), "side"),
    **dict.fromkeys(("over-shoulder view", "over-shoulder shot"), "back"),
    **dict.fromkeys(("back view", "seen from behind"), "back"),
}
_APART = ({"front", "side"}, {"front", "back"}, {"three-quarter", "back"})
"""Views that nobody confuses; three-quarter is near to front and to side."""

_SMILES = re.compile(r"\b(?:smil|grin|laugh|beam|joyful|cheerful|happy)\w*")
_GRAVE = re.compile(r"\b(?:serious|neutral|sad|stern|frown\w*|melanchol\w*|angry|solemn|blank)\b")
_PEOPLE = re.compile(
    r"\b(?:two|three|four|several|many)\s+(?:[\w-]+\s+){0,2}(?:women|men|people|persons|girls|boys"
    r"|individuals|figures)\b|\b(?:a\s+)?(?:couple|crowd|group)\s+of\s+(?:people|women|men|friends)\b",
    re.IGNORECASE,
)
_NOBODY = re.compile(
    r"\b(?:no\s+(?:people|person|one|humans?)|empty of people)\b"
    r"(?!(?:\s+(?:is|are|visible|seen|present))*\s+(?:else|other|around|nearby|behind|besides"
    r"|in the (?:back|distance)))",
    re.IGNORECASE,
)
"""Nobody is seen; "no one else" and "no people in the background" leave the one person."""


@dataclass(frozen=True)
class Disagreement:
    """One thing that plan and picture say differently."""

    slot: str
    planned: str
    seen: str

    @property
    def text(self) -> str:
        """One sentence for a person."""
        return f"{self.slot}: planned {self.planned}, the picture shows {self.seen}"


@dataclass(frozen=True)
class Comparison:
    """`compared`: slots that both speak of."""

    compared: tuple[str, ...]
    disagreements: tuple[Disagreement, ...]

    @property
    def agreement(self) -> float | None:
        """Share of the compared slots that agree; None when nothing could be compared."""
        if not self.compared:
            return None
        return 1 - len({d.slot for d in self.disagreements}) / len(self.compared)


def compare(plan: Reading, seen: Reading, words: str) -> Comparison:
    """Compare a plan with a description; `words` is the description as it came."""
    compared: list[str] = []
    found: list[Disagreement] = []
    checks = {
        "framing": _framing(plan, seen),
        "angle": _angle(plan, seen),
        "clothing": _clothing(plan, seen),
        "place": _place(plan, seen),
        "expression": _expression(plan, seen),
        "gaze": _gaze(plan, seen),
    }
    for slot, answer in checks.items():
        if answer is not None:
            compared.append(slot)
            found += [Disagreement(slot, *pair) for pair in answer]
    if people := (_PEOPLE.search(words) or _NOBODY.search(words)):
        compared.append("people")
        found.append(Disagreement("people", "one person", people.group(0)))
    return Comparison(tuple(compared), tuple(found))


Pairs = list[tuple[str, str]] | None


def _framing(plan: Reading, seen: Reading) -> Pairs:
    a = [p.text for p in plan.of("framing") if p.text in FRAMING_ORDER]
    b = [p.text for p in seen.of("framing") if p.text in FRAMING_ORDER]
    if not a or not b:
        return None
    apart = abs(FRAMING_ORDER[a[0]] - FRAMING_ORDER[b[0]]) >= FRAMING_STEPS
    return [(a[0], b[0])] if apart else []


def _angle(plan: Reading, seen: Reading) -> Pairs:
    a = [p.text for p in plan.of("angle") if p.text in _VIEWS]
    b = [p.text for p in seen.of("angle") if p.text in _VIEWS]
    if not a or not b:
        return None
    return [(a[0], b[0])] if {_VIEWS[a[0]], _VIEWS[b[0]]} in _APART else []


def _garments(reading: Reading) -> dict[str, list[str]]:
    """Where it is worn -> the garments, as `colour garment`."""
    found: dict[str, list[str]] = {}
    for phrase in reading.of("clothing"):
        for where in groups_of("worn_where", phrase.text.split()[-1]):
            found.setdefault(where, []).append(phrase.text)
    return found


def _clothing(plan: Reading, seen: Reading) -> Pairs:
    a, b = _garments(plan), _garments(seen)
    if not a or not b:
        return None
    found = [
        (" and ".join(a[where]), " and ".join(b[where]))
        for where in a.keys() & b.keys()
        if not any(_same_color(x, y) for x in a[where] for y in b[where])
    ]
    if "whole" in a and "bottom" in b and "whole" not in b:
        found.append((a["whole"][0], b["bottom"][0]))
    if "bottom" in a and "whole" in b and "whole" not in a:
        found.append((a["bottom"][0], b["whole"][0]))
    return sorted(found)


def _same_color(first: str, second: str) -> bool:
    """Whether two garments can be the same by colour; one without a colour can be any."""
    a = set().union(*(groups_of("color_family", w) for w in first.split()[:-1] or [""]))
    b = set().union(*(groups_of("color_family", w) for w in second.split()[:-1] or [""]))
    return not a or not b or bool(a & b)


def _place(plan: Reading, seen: Reading) -> Pairs:
    if not plan.of("place") or not seen.of("place"):
        return None
    a, b = plan.of("place")[0].text, seen.of("place")[0].text
    sides = _side(a), _side(b)
    if None in sides:
        return [] if set(a.split()) & set(b.split()) else None
    return [(a, b)] if sides[0] != sides[1] else []


def _side(place: str) -> str | None:
    known = [s for s in ("outdoor", "indoor") if any(groups_of(s, w) for w in place.split())]
    return known[0] if len(known) == 1 else None


def _expression(plan: Reading, seen: Reading) -> Pairs:
    a = " ".join(p.text for slot in ("expression", "mood") for p in plan.of(slot))
    b = " ".join(p.text for slot in ("expression", "mood") for p in seen.of(slot))
    if not a or not b:
        return None
    smiles = bool(_SMILES.search(a)), bool(_SMILES.search(b))
    grave = bool(_GRAVE.search(a)), bool(_GRAVE.search(b))
    return [(a, b)] if (smiles[0] and grave[1]) or (grave[0] and smiles[1]) else []


def _gaze(plan: Reading, seen: Reading) -> Pairs:
    if not plan.of("gaze") or not seen.of("gaze"):
        return None
    a, b = plan.of("gaze")[0].text, seen.of("gaze")[0].text
    return [(a, b)] if a.endswith("camera") != b.endswith("camera") else []
