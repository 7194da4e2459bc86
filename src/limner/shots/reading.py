"""Attributes read off a prompt's text: what it says on every axis, in whose words.

In: any text. Out: a `Reading`: ids of the lexicon where the words name one, the words themselves
where they do not, rivals where a text says two things, and the axes it says nothing about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from limner import lexicon
from limner.shots.phrases import STOP, Phrase, Token, outfit_parts, phrases, synonyms, tokens

PARTS = ("outfit", "framing", "setting", "lighting", "angle", "expression", "gaze", "pose")
"""What a prompt should say; `camera` is optional, a back view has no expression and no gaze."""
_ORDER = (
    *("genre", "outfit", "framing", "camera", "props", "setting", "manner", "lighting"),
    *("looks back", "angle", "gaze", "pose", "expression"),
)
"""The order in which axes take their words: what is taken is no word of a later axis."""
_VAGUE = frozenset(("smile", "smiling", "smiles", "standing", "portrait", "studio", "sunlight"))
"""Single words that give way to anything more exact."""


@dataclass(frozen=True)
class Match:
    """A phrase found in a text: tokens first to last (inclusive)."""

    phrase: Phrase
    first: int
    last: int

    @property
    def weight(self) -> float:
        """How much it says: its words; a vague word counts half."""
        if len(self.phrase.words) == 1 and self.phrase.words[0] in _VAGUE:
            return 0.5
        return len(self.phrase.words) - 0.1 * (self.last - self.first + 1 - len(self.phrase.words))


@dataclass(frozen=True)
class Reading:
    """What a text says. `words`: axis -> its own words; `rivals`: axis -> other values it names.

    attributes: axis -> id; also `gaze`, and `expression_variant` where the wording is one of ours.
    missing: axes of `PARTS` (and camera) about which nothing was found.
    """

    attributes: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    rivals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def face_visible(self) -> bool:
        """Whether the angle shows a face; True while no angle is known."""
        angle = self.attributes.get("angle")
        return angle is None or lexicon.angles()[angle].face


def read_prompt(text: str) -> Reading:
    """Read one prompt; never raises on any text."""
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.taken = [False] * len(self.tokens)
        self.attributes: dict[str, str] = {}
        self.words: dict[str, str] = {}
        self.rivals: dict[str, tuple[str, ...]] = {}

    def read(self) -> Reading:
        found = self._matches()
        for axis in _ORDER:
            among = [m for m in found.get(axis, ()) if self._is_free(m)]
            if axis == "outfit":
                among = self._outfit(among)
            elif axis in lexicon.AXES or axis == "gaze":
                self._decide(axis, among)
            elif axis == "looks back" and among:
                self.words["looks back"] = self._said(among)
                continue  # the same words tell the gaze
            for match in among:
                if match.phrase.value != "back":  # `looking back` tells the gaze too
                    self._take(match.first, match.last)
        self._settle_back()
        for axis in ("outfit", "lighting", "camera", "setting", "pose"):
            if axis not in self.words:
                self._free_words(axis)
        wanted = [*PARTS, "camera"]
        if self.attributes.get("angle") == "pure_back":
            wanted = [a for a in wanted if a not in ("expression", "gaze")]
        missing = tuple(a for a in wanted if a not in self.words)
        return Reading(self.attributes, self.words, self.rivals, missing)

    def _matches(self) -> dict[str, list[Match]]:
        found: dict[str, list[Match]] = {}
        for i, token in enumerate(self.tokens):
            for phrase in phrases().get(token.word, ()):
                last = _ends_at(self.tokens, i, phrase)
                if last is not None:
                    found.setdefault(phrase.axis, []).append(Match(phrase, i, last))
        every = _longest([m for among in found.values() for m in among])
        return {axis: [m for m in every if m.phrase.axis == axis] for axis in found}

    def _is_free(self, match: Match) -> bool:
        return not any(self.taken[match.first : match.last + 1])

    def _take(self, first: int, last: int) -> None:
        self.taken[first : last + 1] = [True] * (last - first + 1)

    def _said(self, matches: Sequence[Match]) -> str:
        spans = sorted({(m.first, m.last) for m in matches})
        return ", ".join(self.text[self.tokens[a].start : self.tokens[b].end] for a, b in spans)

    def _decide(self, axis: str, matches: list[Match]) -> None:
        """The value with the most words wins; on a tie the one that is named first."""
        if not matches:
            return
        scores: dict[str, float] = {}
        for match in matches:
            bonus = self._bonus(axis, match)
            value = match.phrase.value
            if axis in ("expression", "camera"):
                scores[value] = scores.get(value, 0) + match.weight
            else:
                scores[value] = max(scores.get(value, 0), match.weight + bonus)
        first = {m.phrase.value: m.first for m in reversed(matches)}
        best = min(scores, key=lambda v: (-scores[v], first[v]))
        own = [m for m in matches if m.phrase.value == best]
        self.attributes[axis] = best
        self.words[axis] = self._said(own)
        if axis == "expression":
            exact = [m.phrase.nth for m in own if m.phrase.nth is not None]
            if exact:
                self.attributes["expression_variant"] = str(exact[0])
        others = {
            m.phrase.value
            for m in matches
            if m.phrase.value != best and m.weight >= 1 and not _overlaps(m, own)
        }
        if others and axis not in ("expression", "camera"):
            self.rivals[axis] = tuple(sorted(others))

    def _bonus(self, axis: str, match: Match) -> float:
        """A place after `in` or before `background` is where the person is."""
        if axis != "setting":
            return 0.0
        words = [t.word for t in self.tokens]
        before = words[max(match.first - 2, 0) : match.first]
        after = words[match.last + 1 : match.last + 2]
        where = set(synonyms()["tells"]["place_words"])
        return 0.6 * bool(where & set(before)) + 0.3 * bool({"background", "setting"} & set(after))

    def _outfit(self, matches: list[Match]) -> list[Match]:
        """The outfit all of whose pieces are named; its matches, else none."""
        by_value: dict[str, dict[str, Match]] = {}
        for match in matches:
            parts = by_value.setdefault(match.phrase.value, {})
            if match.phrase.part not in parts or match.weight > parts[match.phrase.part].weight:
                parts[match.phrase.part] = match
        whole = {
            value: list(parts.values())
            for value, parts in by_value.items()
            if all(str(i) in parts for i in range(outfit_parts(value)))
        }
        if not whole:
            return []
        best = max(whole, key=lambda v: (sum(m.weight for m in whole[v]), -whole[v][0].first))
        self.attributes["outfit"] = best
        self.words["outfit"] = self._said(whole[best])
        return whole[best]

    def _settle_back(self) -> None:
        """A back view that shows a face looks over the shoulder; one that does not is pure."""
        looks_back = self.words.pop("looks back", "")
        angle = self.attributes.get("angle")
        if angle is None and looks_back:
            self.attributes["angle"], self.words["angle"] = "back", looks_back
            return
        if angle not in ("back", "pure_back"):
            return
        face = bool(looks_back) or self.attributes.get("gaze") == "camera"
        if angle == "pure_back" and (face or "back" in self.rivals.get("angle", ())):
            self.attributes["angle"] = "back"
            self.rivals.pop("angle", None)
        elif angle == "back" and self.rivals.get("angle") == ("pure_back",):
            self.rivals.pop("angle")

    def _free_words(self, axis: str) -> None:
        """The clause about an axis, where its words name no value of the vocabulary."""
        for first, last in self._clauses():
            words = [t.word for t in self.tokens[first : last + 1]]
            if axis == "outfit":
                last = first + _clothes_end(words)
                words = words[: last - first + 1]
            if words and _tells(axis, words):
                start = first + _opening(axis, words)
                self.words[axis] = self.text[self.tokens[start].start : self.tokens[last].end]
                self._take(first, last)
                return

    def _clauses(self) -> list[tuple[int, int]]:
        """Runs of tokens that no axis has taken, cut at clause ends."""
        found = []
        start: int | None = None
        for i in range(len(self.tokens) + 1):
            ends = i == len(self.tokens) or self.taken[i] or self.tokens[i].word == STOP
            if ends and start is not None:
                found.append((start, i - 1))
                start = None
            elif not ends and start is None:
                start = i
        return found


def _ends_at(text: Sequence[Token], start: int, phrase: Phrase) -> int | None:
    """Where a phrase that begins at `start` ends, or None; `gap` words may stand between two."""
    at = start
    for word in phrase.words[1:]:
        for step in range(1, phrase.gap + 2):
            if at + step >= len(text) or text[at + step].word == STOP:
                return None
            if text[at + step].word == word:
                at += step
                break
        else:
            return None
    return at


def _longest(matches: list[Match]) -> list[Match]:
    """Matches that stand inside no longer one ("portrait" inside "close-up portrait")."""
    return [m for m in matches if not any(_inside(m, other) for other in matches)]


def _inside(match: Match, other: Match) -> bool:
    if match.phrase.axis == "outfit" == other.phrase.axis:
        return False  # "jeans" of one outfit stands inside "blue jeans" of another; all count
    wider = other.first <= match.first and match.last <= other.last
    return wider and other.weight > match.weight and _words_of(other) > _words_of(match)


def _words_of(match: Match) -> int:
    return len(match.phrase.words)


def _overlaps(match: Match, others: Sequence[Match]) -> bool:
    return any(m.first <= match.last and match.first <= m.last for m in others)


@cache
def _telling(name: str) -> tuple[frozenset[str], tuple[tuple[str, ...], ...]]:
    """Single words and longer ones that tell what a clause is about."""
    split = [tuple(t.word for t in tokens(str(w))) for w in synonyms()["tells"][name]]
    return frozenset(w[0] for w in split if len(w) == 1), tuple(w for w in split if len(w) > 1)


def _has(name: str, words: Sequence[str]) -> bool:
    single, longer = _telling(name)
    if single & set(words):
        return True
    joined = f" {' '.join(words)} "
    return any(f" {' '.join(w)} " in joined for w in longer)


_KINDS: Mapping[str, str] = {
    "outfit": "garments",
    "lighting": "light",
    "camera": "camera",
    "pose": "poses",
}


def _tells(axis: str, words: Sequence[str]) -> bool:
    if axis == "setting":
        opens = words[0] in _telling("place_words")[0] and len(words) > 1
        return not _has("garments", words) and (_has("places", words) or opens)
    return _has(_KINDS[axis], words)


def _opening(axis: str, words: Sequence[str]) -> int:
    """How many words stand before what is meant: `grace_char wearing` before clothes."""
    if axis == "outfit":
        for verb in ("wearing", "wears", "dressed"):
            if verb in words[:-1]:
                at = list(words).index(verb) + 1
                return at + (words[at] == "in" and at + 1 < len(words))
        garment = next((i for i, w in enumerate(words) if _has("garments", [w])), 0)
        inside = [i for i, w in enumerate(words[:garment]) if w == "in"]
        return inside[-1] + 1 if inside else 0  # `light falls on a woman in a red sweater`
    if axis == "setting":
        places = [i for i, w in enumerate(words[:-1]) if w in _telling("place_words")[0]]
        return places[0] + 1 if places else 0
    return 0


def _clothes_end(words: Sequence[str]) -> int:
    """Index of the last word of a clause about clothes; what follows is pose or place."""
    ends = _telling("clothes_end")[0]
    begun = False
    for i, word in enumerate(words):
        begun = begun or _has("garments", [word])
        if begun and word in ends:
            return max(i - 1, 0)
    return len(words) - 1
