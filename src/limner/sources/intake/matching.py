"""Which dropped picture belongs to which shot: pure planning, nothing is read or written here.

In: candidates (name, embedded texts, measured angle) and shots. Out: a `Matching`. A way is sure of
itself or silent: what two shots share equally is left over, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from limner.project.records import Shot
from limner.sources.intake.opening import INBOX, natural

WAYS = ("prompt", "name", "measured", "order")
"""Ways to match, in the order they are tried: embedded prompt, file name, head angle, order."""

_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Candidate:
    """A picture to place. texts: prompts embedded in it; angle: id of the lexicon, None when it was
    not measured."""

    name: str
    texts: tuple[str, ...] = ()
    angle: str | None = None


@dataclass(frozen=True)
class Pair:
    """A picture placed. why: in words."""

    name: str
    shot_id: str
    by: str
    why: str


@dataclass
class Matching:
    """pairs in shot order; left: name -> why it found no shot; gaps: shots without a picture."""

    pairs: list[Pair] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)


def match(
    candidates: Sequence[Candidate],
    shots: Sequence[Shot],
    *,
    ways: Sequence[str] = WAYS,
    wanting: set[str] | None = None,
) -> Matching:
    """Place every candidate at most once. wanting: shots without a picture (None: all of them).

    By prompt and name several pictures may go to one shot: they are its takes. By measured angle
    and by order each goes to a shot of its own that still wants one.
    """
    found = Matching()
    wanted = {s.id for s in shots} if wanting is None else set(wanting)
    rest = sorted(candidates, key=lambda c: natural(c.name))
    for way in ways:
        if way in ("prompt", "name"):
            placed = _by_text(rest, shots) if way == "prompt" else _by_name(rest, shots)
        else:
            free = [s for s in shots if s.id in wanted]
            placed = _by_angle(rest, free) if way == "measured" else _by_order(rest, free)
        found.pairs += placed
        wanted -= {p.shot_id for p in placed}
        done = {p.name for p in placed}
        rest = [c for c in rest if c.name not in done]
    place = {s.id: s.position for s in shots}
    found.pairs.sort(key=lambda p: (place[p.shot_id], natural(p.name)))
    found.left = {c.name: _why_left(c, ways, len(wanted)) for c in rest}
    found.gaps = [s.id for s in shots if s.id in wanted]
    return found


def _why_left(candidate: Candidate, ways: Sequence[str], gaps: int) -> str:
    if not gaps:
        return "every shot has a picture"
    if candidate.texts and "prompt" in ways:
        return "its embedded text fits no shot, and nothing else tells"
    return "nothing tells which shot it belongs to"


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return _WORD.findall(text.lower())


def likeness(first: str, second: str) -> float:
    """Shared words over all words of the shorter text, weighted by how much shorter it is (0..1).

    A prompt that was cut off, or stands inside a longer block, is still alike.
    """
    a, b = set(words(first)), set(words(second))
    if not a or not b:
        return 0.0
    small, large = sorted((a, b), key=len)
    shared = len(small & large) / len(small)
    return shared * min(1.0, 0.5 + len(small) / (2 * len(large)))


def _best(scores: dict[str, float], least: float, margin: float) -> str | None:
    """The clear winner, or None."""
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    if not ranked or ranked[0][1] < least:
        return None
    if len(ranked) > 1 and ranked[0][1] - ranked[1][1] < margin and ranked[0][1] < 1:
        return None
    if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
        return None
    return ranked[0][0]


def _by_text(candidates: Sequence[Candidate], shots: Sequence[Shot]) -> list[Pair]:
    least, margin = INBOX["prompt_likeness"].value, INBOX["prompt_margin"].value
    found = []
    for one in candidates:
        scores: dict[str, float] = {}
        for shot in shots:
            scores[shot.id] = max((likeness(t, shot.prompt) for t in one.texts), default=0.0)
        best = _best(scores, least, margin)
        if best is not None:
            why = f"its embedded prompt is that of the shot ({100 * scores[best]:.0f} % alike)"
            found.append(Pair(one.name, best, "prompt", why))
    return found


def _by_name(candidates: Sequence[Candidate], shots: Sequence[Shot]) -> list[Pair]:
    """A shot's id in the name, or enough words of its prompt in the order they stand there."""
    ids = {_number(s.id): s.id for s in shots}
    found = []
    for one in candidates:
        stem = re.sub(r"\.\w+$", "", one.name.rpartition("/")[2]).lower()
        marked = re.findall(r"(?:shot|prompt)[ _-]?0*(\d+)(?![0-9a-z])", stem)
        hits = {ids[n] for n in (int(m) for m in marked) if n in ids}
        if len(hits) == 1:
            found.append(Pair(one.name, hits.pop(), "name", "the name names the shot"))
        elif not marked and (best := _prompt_in_name(stem, shots)) is not None:
            found.append(Pair(one.name, best, "name", "the name holds words of the prompt"))
    return found


def _number(shot_id: str) -> int:
    digits = re.findall(r"\d+", shot_id)
    return int(digits[-1]) if digits else -1


def _prompt_in_name(stem: str, shots: Sequence[Shot]) -> str | None:
    """The one shot whose prompt holds the longest run of the name's words."""
    named = [w for w in words(stem) if not re.fullmatch(r"[0-9a-f]{6,}|\d+", w)]
    scores = {s.id: float(_longest_run(named, words(s.prompt))) for s in shots}
    return _best(scores, INBOX["name_words"].value, 1.0)


def _longest_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest run of words that stands in both."""
    best, row = 0, [0] * (len(second) + 1)
    for word in first:
        fresh = [0] * (len(second) + 1)
        for j, other in enumerate(second, start=1):
            if word == other:
                fresh[j] = row[j - 1] + 1
                best = max(best, fresh[j])
        row = fresh
    return best


def _by_angle(candidates: Sequence[Candidate], shots: Sequence[Shot]) -> list[Pair]:
    """Pictures of one measured angle go to the shots of that angle in order, if the numbers agree.

    An angle with more or fewer pictures than shots says nothing about which is which.
    """
    found = []
    for angle in sorted({c.angle for c in candidates if c.angle}):
        own = [c for c in candidates if c.angle == angle]
        places = [s for s in shots if s.attributes.get("angle") == angle]
        if len(own) == len(places):
            why = f"{len(own)} pictures show {angle}, as many as shots do; in their order"
            for one, shot in zip(own, places, strict=True):
                found.append(Pair(one.name, shot.id, "measured", why))
    return found


def _by_order(candidates: Sequence[Candidate], shots: Sequence[Shot]) -> list[Pair]:
    """As many pictures as shots: the first to the first."""
    if not candidates or len(candidates) != len(shots):
        return []
    why = f"{len(shots)} pictures for {len(shots)} shots, in their order"
    return [Pair(c.name, s.id, "order", why) for c, s in zip(candidates, shots, strict=True)]
