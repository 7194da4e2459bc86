"""Words as tokens, and every phrase by which a text can name a value of the vocabulary.

In: the lexicon, the writer's wordings and data/synonyms.yaml. Out: `tokens(text)` and `phrases()`,
the phrases by their first word. Hyphens, accents, case, articles and possessives do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from limner import lexicon
from limner.lexicon.tables import table
from limner.shots.writer import is_one_piece, wordings

STOP = ","
"""The token of a comma or any other end of a clause; no phrase crosses it."""
_TOKEN = re.compile(r"[^\W_]+(?:_+[^\W_]+)*|[,.;:!?()\[\]{}|\n\"“”，、。；：！？（）]")
_SKIPPED = frozenset(("a", "an", "the", "her", "his", "their", "its"))
_JOINS = re.compile(r"\s+(?:and|over|with)\s+")


@dataclass(frozen=True)
class Token:
    """One word of a text in the spelling that is compared, and where it stands (offsets)."""

    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Phrase:
    """Words that name `value` on `axis`. part: which piece of an outfit, or body, lens, look.

    gap: words that may stand between two of them. nth: which expression of a mood it is.
    """

    axis: str
    value: str
    words: tuple[str, ...]
    part: str = ""
    gap: int = 0
    nth: int | None = None


def synonyms() -> dict[str, Any]:
    """What data/synonyms.yaml says."""
    return table("limner.shots", "synonyms")


def plain(text: str) -> str:
    """Lower case without accents, each character in its place (so that offsets stay true)."""
    return "".join(_plain(c) for c in text)


@cache
def _plain(character: str) -> str:
    if character in "’‘`´":
        return "'"
    base = unicodedata.normalize("NFKD", character)[:1].lower()
    return base if len(base) == 1 else character


@cache
def _same() -> dict[str, tuple[str, ...]]:
    return {k: tuple(v.split()) for k, v in synonyms()["same"].items()}


def tokens(text: str) -> list[Token]:
    """The words of a text in order, clause ends as `STOP`, articles left out."""
    found: list[Token] = []
    for match in _TOKEN.finditer(plain(text)):
        word = match.group(0)
        if not word[0].isalnum():
            decimal = word == "." and text[match.end() : match.end() + 1].isdigit()
            if not decimal and found and found[-1].word != STOP:
                found.append(Token(STOP, match.start(), match.end()))
            continue
        if word in _SKIPPED:
            continue
        for part in _same().get(word, (word,)):
            found.append(Token(part, match.start(), match.end()))
    return found


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(t.word for t in tokens(phrase) if t.word != STOP)


_built: tuple[list[Any], dict[str, tuple[Phrase, ...]]] | None = None


def phrases() -> dict[str, tuple[Phrase, ...]]:
    """Every phrase by its first word; built anew when the lexicon has learned a project's words."""
    global _built
    now = [lexicon.axis(axis) for axis in lexicon.AXES]
    if _built is None or any(a is not b for a, b in zip(_built[0], now, strict=True)):
        table: dict[str, dict[Phrase, None]] = {}
        for phrase in _all():
            if phrase.words:
                table.setdefault(phrase.words[0], {})[phrase] = None
        _built = (now, {word: tuple(found) for word, found in table.items()})
    return _built[1]


def _all() -> Iterator[Phrase]:
    yield from _outfits()
    yield from _cameras()
    yield from _moods()
    plain_axes: dict[str, dict[str, Iterable[str]]] = {
        "angle": {k: v.phrase for k, v in lexicon.angles().items()},
        "framing": {k: (v.phrase, *v.prompt) for k, v in lexicon.framings().items()},
        "pose": {k: (*v.phrase, *wordings()["pose"].get(k, ())) for k, v in _items("pose")},
        "genre": {
            **{k: v.phrase for k, v in lexicon.genres().items()},
            "": wordings()["genre"],
        },
    }
    for axis, values in plain_axes.items():
        for value, spoken in values.items():
            for words in spoken:
                yield Phrase(axis, value, _words(words))
    yield from _places_and_lights()
    for key, spoken in wordings()["gaze"].items():
        value = key.removeprefix("back_")
        for words in spoken:
            yield Phrase("gaze", value, _words(words))
            if key.startswith("back_"):
                yield Phrase("looks back", "back", _words(words))
    for axis in (*lexicon.AXES, "gaze"):
        for value, spoken in synonyms().get(axis, {}).items():
            for words in spoken:
                yield Phrase(axis, value, _words(words))


def _items(axis: str) -> Iterable[tuple[str, Any]]:
    return lexicon.axis(axis).items()


def _outfits() -> Iterator[Phrase]:
    for key, outfit in lexicon.outfits().items():
        names = [outfit.phrase] if outfit.dress else _JOINS.split(outfit.phrase)
        pieces = wordings()["outfit"].get(key) or outfit.pieces
        if pieces and is_one_piece(outfit, pieces):
            names = [outfit.phrase]
            wholes = [" ".join((a, b)) for a in pieces[0] for b in pieces[1]]
            pieces = [wholes]
        for i, name in enumerate(names):
            yield Phrase("outfit", key, _words(name), part=str(i), gap=2)
        for i, piece in enumerate(pieces):
            for words in piece:
                yield Phrase("outfit", key, _words(words), part=str(min(i, 9)))


def outfit_parts(key: str) -> int:
    """How many pieces a text must name before it is this outfit."""
    outfit = lexicon.outfits()[key]
    pieces = wordings()["outfit"].get(key) or outfit.pieces
    if outfit.dress or (pieces and is_one_piece(outfit, pieces)):
        return 1
    return len(_JOINS.split(outfit.phrase))


def _cameras() -> Iterator[Phrase]:
    for key, camera in lexicon.cameras().items():
        words: Mapping[str, Iterable[str]] = wordings()["camera"].get(key) or {
            **{"body": camera.body, "lens": camera.lens, "look": camera.look}
        }
        for part, spoken in words.items():
            for phrase in spoken:
                yield Phrase("camera", key, _words(phrase), part=part)
                if part == "body":  # "shot on a phone" is no call on the phone
                    yield Phrase("camera", key, _words(f"shot on {phrase}"), part=part)
        for i, phrase in enumerate(camera.detail.split(",")):
            yield Phrase("camera", key, _words(phrase), part=f"detail{i}")


def _moods() -> Iterator[Phrase]:
    for key, mood in lexicon.moods().items():
        for spoken in (mood.expression, mood.caption):
            for i, words in enumerate(spoken):
                yield Phrase("expression", key, _words(words), nth=i)
        for words in mood.mood:
            yield Phrase("expression", key, _words(words))


def _places_and_lights() -> Iterator[Phrase]:
    for key, setting in lexicon.settings().items():
        words = wordings()["place"].get(key, {"name": setting.names, "props": setting.objects})
        for name in (*words["name"], setting.detail):
            yield Phrase("setting", key, _words(name))
        yield Phrase("setting", key, _words(setting.phrase), gap=1)
        for prop in (*words["props"], setting.props):
            yield Phrase("props", key, _words(prop))
    for key, light in lexicon.lightings().items():
        spoken = wordings()["light"].get(key, {"source": light.source, "manner": light.manner})
        for source in (*spoken["source"], *light.detail, light.phrase):
            yield Phrase("lighting", key, _words(source), part="source")
        for manner in spoken["manner"]:
            yield Phrase("manner", key, _words(manner))
