"""Which dropped picture belongs to which shot: pure planning, nothing is read or written here.

In: candidates (name, embedded texts, what they show) and shots. Out: a `Matching`. A way is sure of
itself or silent: what two shots share equally is left over, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from limner import lexicon
from limner.project.records import Shot
from limner.sources.intake.assigning import Matrix, Placed, assign
from limner.sources.intake.likeness import Likeness, values
from limner.sources.intake.looks import Looks
from limner.sources.intake.opening import INBOX, natural
from limner.sources.intake.wanted import wanted

WAYS = ("prompt", "name", "measured", "order")
"""Ways to match, in the order they are tried: embedded prompt, file name, what is seen, order."""

_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Candidate:
    """A picture to place. texts: prompts embedded in it; looks: None when it was not measured."""

    name: str
    texts: tuple[str, ...] = ()
    looks: Looks | None = None


@dataclass(frozen=True)
class Pair:
    """A picture placed. why: in words."""

    name: str
    shot_id: str
    by: str
    why: str


@dataclass(frozen=True)
class Doubt:
    """A picture that may belong to one of some shots, likeliest first. why: in words."""

    name: str
    guesses: tuple[str, ...]
    why: str


@dataclass
class Matching:
    """pairs in shot order; unsure: not placed, for a person to say; left: name -> why it found no
    shot; gaps: shots without a picture."""

    pairs: list[Pair] = field(default_factory=list)
    unsure: list[Doubt] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)


def match(
    candidates: Sequence[Candidate],
    shots: Sequence[Shot],
    *,
    ways: Sequence[str] = WAYS,
    wanting: set[str] | None = None,
    own: Mapping[str, float] | None = None,
) -> Matching:
    """Place every candidate at most once. wanting: shots without a picture (None: all of them).
    own: the user's own numbers of `LIKENESS`. Raises InputError for a name that is none of them.

    By prompt, name and measure several pictures may go to one shot: they are its takes. Where the
    order of as many pictures as shots agrees with what is measured, the order is believed; where
    it does not, it is not.
    """
    found = Matching()
    wanted_ids = {s.id for s in shots} if wanting is None else set(wanting)
    rest = sorted(candidates, key=lambda c: natural(c.name))
    doubts: dict[str, Doubt] = {}
    for way in ways:
        free = [s for s in shots if s.id in wanted_ids]
        if way == "prompt":
            placed = _by_text(rest, shots)
        elif way == "name":
            placed = _by_name(rest, shots)
        elif way == "measured":
            placed, doubts = _by_measure(rest, free, values(own), ordered="order" in ways)
        else:  # what was measured has spoken already, for the order or against it
            placed = [] if doubts or _measured(rest) else _by_order(rest, free)
        found.pairs += placed
        wanted_ids -= {p.shot_id for p in placed}
        done = {p.name for p in placed}
        rest = [c for c in rest if c.name not in done]
    place = {s.id: s.position for s in shots}
    found.pairs.sort(key=lambda p: (place[p.shot_id], natural(p.name)))
    found.unsure = [doubts[c.name] for c in rest if c.name in doubts]
    found.left = {c.name: _why_left(c, ways, len(wanted_ids)) for c in rest if c.name not in doubts}
    found.gaps = [s.id for s in shots if s.id in wanted_ids]
    return found


def _why_left(candidate: Candidate, ways: Sequence[str], gaps: int) -> str:
    if not gaps:
        return "every shot has a picture"
    if "measured" in ways and _measured([candidate]):
        return "what it shows fits no shot that wants a picture"
    if candidate.texts and "prompt" in ways:
        return "its embedded text fits no shot, and nothing else tells"
    return "nothing tells which shot it belongs to"


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return _WORD.findall(text.lower())


def alike(first: str, second: str) -> float:
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
            scores[shot.id] = max((alike(t, shot.prompt) for t in one.texts), default=0.0)
        best = _best(scores, least, margin)
        if best is not None:
            why = f"its embedded prompt is that of the shot ({100 * scores[best]:.0f} % alike)"
            found.append(Pair(one.name, best, "prompt", why))
    return found


def _by_name(candidates: Sequence[Candidate], shots: Sequence[Shot]) -> list[Pair]:
    """A shot's id in the name, the number of a prompt, or enough words of a prompt in its order."""
    ids = {_number(s.id): s.id for s in shots}
    numbers = _Numbers(shots, [one.name for one in candidates])
    found = []
    for one in candidates:
        stem = re.sub(r"\.\w+$", "", one.name.rpartition("/")[2]).lower()
        marked = [int(n) for n in _SHOT.findall(stem)]
        hits = {ids[n] for n in marked if n in ids} or numbers.meant(one.name)
        if len(hits) == 1:
            found.append(Pair(one.name, hits.pop(), "name", "the name names the shot"))
        elif not marked and not hits and (best := _prompt_in_name(stem, shots)) is not None:
            found.append(Pair(one.name, best, "name", "the name holds words of the prompt"))
    return found


_SHOT, _PROMPT, _DOMAIN = (
    re.compile(rf"{word}[ _-]?0*(\d+)(?![0-9a-z])") for word in ("shot", "prompt", "domain")
)


class _Numbers:
    """Which shots "prompt 3" in a name can mean: prompts.txt numbers them anew in every domain."""

    def __init__(self, shots: Sequence[Shot], names: Sequence[str]) -> None:
        angles = lexicon.angles()
        self.through = [s.id for s in sorted(shots, key=lambda s: s.position)]
        self.domains: dict[int, list[str]] = {}
        for shot in sorted(shots, key=lambda s: s.position):
            angle = angles.get(shot.attributes.get("angle", ""))
            self.domains.setdefault(angle.domain if angle else 0, []).append(shot.id)
        largest = max(map(len, self.domains.values()), default=0)
        said = [int(n) for name in names for n in _PROMPT.findall(name.lower())]
        if any(n > largest for n in said):  # no domain has so many: these are numbered through
            self.domains = {}

    def meant(self, name: str) -> set[str]:
        """Shots that a name's prompt number fits; its folders may say the domain."""
        said, domains = (
            {int(n) for n in pattern.findall(name.lower())} for pattern in (_PROMPT, _DOMAIN)
        )
        asked = [self.domains[d] for d in domains if d in self.domains]
        lists = asked or [self.through, *self.domains.values()]
        return {ids[n - 1] for n in said for ids in lists if 0 < n <= len(ids)}


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


def _measured(candidates: Sequence[Candidate]) -> bool:
    return any(c.looks is not None and not c.looks.plain for c in candidates)


def _by_measure(
    candidates: Sequence[Candidate],
    shots: Sequence[Shot],
    v: Mapping[str, float],
    *,
    ordered: bool,
) -> tuple[list[Pair], dict[str, Doubt]]:
    """The likeliest match as a whole; what does not lead by enough is doubted, not taken.

    ordered: as many pictures as shots may stand in the shots' order.
    """
    seen = [(c, c.looks) for c in candidates if c.looks is not None and not c.looks.plain]
    if not seen or not shots:
        return [], {}
    costs = Likeness(v).costs([looks for _, looks in seen], [wanted(s) for s in shots])
    placed = assign(costs, worst=v["worst"], again=v["again"], most=MOST_TAKES)
    names = [c for c, _ in seen]
    if ordered and len(names) == len(candidates) == len(shots) and _in_order(costs, placed, v):
        why = f"{len(shots)} pictures for {len(shots)} shots in their order, and they look like it"
        return [Pair(c.name, s.id, "order", why) for c, s in zip(names, shots, strict=True)], {}
    strange = _strangers([looks for _, looks in seen], placed, v)
    pairs, doubts = [], {}
    for row, (one, (_, looks)) in enumerate(zip(placed, seen, strict=True)):
        if one.shot is None:
            continue
        name, shot = names[row].name, shots[one.shot]
        guesses = _guesses(costs[row], one.shot, shots)
        if (looks.faces or 0) > 1:
            doubts[name] = Doubt(name, guesses, f"{looks.faces} faces are seen, a shot has one")
        elif row in strange:
            doubts[name] = Doubt(name, guesses, "the hair is unlike that of the others")
        elif one.margin < (least := v["sure" if looks.share else "blind"]):
            said = f"{_odds(one.margin)} for the first, {_odds(least)} is asked for"
            doubts[name] = Doubt(name, guesses, said if looks.share else f"no face is seen; {said}")
        else:
            why = f"what it shows fits this shot best ({_odds(one.margin)} to any other match)"
            pairs.append(Pair(name, shot.id, "measured", why))
    return pairs, doubts


MOST_TAKES = 4
"""Pictures that measure may give to one shot: services make 4 of a prompt."""
GUESSES = 3
"""Shots named for a picture that is not sure."""


def _odds(nats: float) -> str:
    odds = min(float(np.exp(nats)), 1e6)
    shown = odds if odds >= 10 else int(odds * 10 + 1e-6) / 10  # never rounded up to what is asked
    return f"{shown:.0f} : 1" if odds >= 10 or shown == int(shown) else f"{shown:.1f} : 1"


def _guesses(costs: Matrix, first: int, shots: Sequence[Shot]) -> tuple[str, ...]:
    """The shot it would go to, then the likeliest others."""
    ranked = [first, *(int(n) for n in np.argsort(costs, kind="stable") if n != first)]
    return tuple(shots[n].id for n in ranked[:GUESSES])


def _in_order(costs: Matrix, placed: Sequence[Placed], v: Mapping[str, float]) -> bool:
    """Whether no picture fits the shot of its own place much worse than the one it would get."""
    worst = v["worst"]
    own = np.diag(costs)
    best = [worst if p.shot is None else costs[row, p.shot] for row, p in enumerate(placed)]
    return bool(np.all(own - np.array(best) <= v["order"]))


def _strangers(
    looks: Sequence[Looks], placed: Sequence[Placed], v: Mapping[str, float]
) -> set[int]:
    """Rows whose hair colour is far from the median of all: likely somebody else's picture."""
    rows = [n for n, p in enumerate(placed) if p.shot is not None and looks[n].hair is not None]
    if len(rows) < v["hair_least"]:
        return set()
    hair = np.array([looks[n].hair for n in rows]) * (v["lightness"], 1.0, 1.0)
    apart = np.linalg.norm(hair - np.median(hair, axis=0), axis=1)
    limit = max(v["hair"], 4 * float(np.median(apart)))
    return {rows[n] for n in np.flatnonzero(apart > limit)}


def _by_order(candidates: Sequence[Candidate], shots: Sequence[Shot]) -> list[Pair]:
    """As many pictures as shots: the first to the first."""
    if not candidates or len(candidates) != len(shots):
        return []
    why = f"{len(shots)} pictures for {len(shots)} shots, in their order"
    return [Pair(c.name, s.id, "order", why) for c, s in zip(candidates, shots, strict=True)]
