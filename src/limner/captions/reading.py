"""Free text -> the phrases a caption has slots for, and everything else with the reason it goes.

In: a prompt or a description in sentences, and the trigger. Out: a `Reading`. Text is cut into
clauses at punctuation, idioms are taken out of each clause, the rest is cut at prepositions and
verbs, and every piece is given to one slot by its head word. Never raises on any text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from limner import lexicon
from limner.captions import phrases as P
from limner.captions.clauses import clauses, clean, take_trigger
from limner.captions.words import (
    ANGLE,
    FRAMING,
    GAZE,
    POSE,
    STATE,
    adjectives,
    either,
    feeling_nouns,
    idioms,
    ignored,
    words,
)
from limner.lexicon.constants import find_constants

MOST_CHARACTERS = 8000
"""Characters read; a prompt has a few hundred (starting value)."""


@dataclass(frozen=True)
class Phrase:
    """One slot's words. `source`: as in the text; `clause`: number of its clause."""

    slot: str
    text: str
    source: str
    clause: int
    marks: frozenset[str] = frozenset()


@dataclass
class Reading:
    """What was found: phrases by slot in order of the text, the dropped words, the light."""

    phrases: list[Phrase] = field(default_factory=list)
    dropped: list[P.Dropped] = field(default_factory=list)
    light: list[str] = field(default_factory=list)
    trigger_at: int = -1
    allow: frozenset[str] = frozenset()

    def of(self, slot: str) -> list[Phrase]:
        """The phrases of one slot."""
        return [p for p in self.phrases if p.slot == slot]


def read(
    text: str,
    trigger: str,
    class_word: str | None = None,
    allow: frozenset[str] = frozenset(),
) -> Reading:
    """The phrases of a prompt or description. Pure; any text is read, most of it may be dropped.

    allow: traits of the person that captions may say, because they change between pictures.
    """
    found = Reading(allow=allow)
    text = clean(text)
    if len(text) > MOST_CHARACTERS:
        found.dropped.append(P.drop(text[MOST_CHARACTERS:][:80] + " ...", "unknown"))
        text = text[:MOST_CHARACTERS]
    text, found.trigger_at = take_trigger(text, trigger, class_word)
    for number, clause in enumerate(clauses(text)):
        _read_clause(clause, number, found)
    found.dropped = [d for d in found.dropped if d["text"].strip()]
    return found


# ---- one clause


@dataclass(frozen=True)
class _Span:
    start: int
    end: int
    slot: str
    said: str


def _read_clause(clause: str, number: int, found: Reading) -> None:
    """Idioms first; what stands between them is cut into pieces and given to slots."""
    denied = _DENIED.search(clause)
    if denied:  # what is not there is no part of a caption
        found.dropped.append(P.drop(clause[denied.start() :], "unknown"))
        clause = clause[: denied.start()]
    spans = _idioms(clause)
    position = 0
    for span in [*spans, _Span(len(clause), len(clause), "", "")]:
        _read_rest(clause[position : span.start], number, found, alone=not spans)
        if span.slot:
            _keep(found, span.slot, span.said, clause[span.start : span.end], number)
        position = span.end


_DENIED = re.compile(r"\b(?:no|not|without|avoid|never|nor|isn't|aren't)\b", re.IGNORECASE)


def _idioms(clause: str) -> list[_Span]:
    spans: list[_Span] = []
    lit = _is_light(clause)

    def take(match: re.Match[str], slot: str, said: str) -> None:
        if lit and slot == "angle" and match.group(0).lower().startswith("from "):
            return  # the light comes from behind, not the view
        if all(match.end() <= s.start or match.start() >= s.end for s in spans):
            spans.append(_Span(match.start(), match.end(), slot, said))

    if re.search(r"\beye[- ]level\b", clause, re.IGNORECASE):
        for match in re.finditer(r"\beye[- ]level(?:[- ]\w+)?", clause, re.IGNORECASE):
            take(match, "camera", "")
    blurred = bool(either("blur").search(clause))
    for slot in ("light", "camera", *(() if blurred else ("detail",)), "pose"):
        for match in idioms(slot).finditer(clause):
            if slot == "light" and not lit and match.group(0).lower().startswith("from "):
                continue
            take(match, slot, _plain(match.group(0)) if slot == "pose" else "")
    for pattern in STATE:
        for match in pattern.finditer(clause):
            take(match, "state", re.split(r" in(?:to)? an? ", _plain(match.group(0)))[0])
    for slot, table in (("gaze", GAZE), ("framing", FRAMING), ("angle", ANGLE)):
        for regex, said in table:
            for match in regex.finditer(clause):
                verb = match.group(1).lower() if match.groups() and match.group(1) else ""
                take(match, slot, said.format("looking" if verb == "gazing" else verb))
    for pattern in POSE:
        for match in pattern.finditer(clause):
            words_ = _plain(match.group(0)).split()
            take(match, "pose", " ".join(words_[: P.MOST_POSE_WORDS]))
    return _joined(sorted(spans, key=lambda s: s.start), clause)


def _joined(spans: list[_Span], clause: str) -> list[_Span]:
    """Spans of one dropped slot with nothing but small words between them become one."""
    out: list[_Span] = []
    for span in spans:
        last = out[-1] if out else None
        if last is not None and last.slot == span.slot and not span.said and not last.said:
            between = P.tokens_of(clause[last.end : span.start])
            if all(ignored(t) for t in between):
                out[-1] = _Span(last.start, span.end, span.slot, "")
                continue
        out.append(span)
    return out


def _plain(text: str) -> str:
    """Without possessives and articles, lower case."""
    return " ".join(t for t in text.lower().split() if t not in ("her", "his", "their", "the"))


def _keep(
    found: Reading,
    slot: str,
    text: str,
    source: str,
    number: int,
    marks: frozenset[str] = frozenset(),
) -> None:
    if slot in ("camera", "light", "detail"):
        rule = "background" if slot == "detail" else slot
        found.dropped.append(P.drop(source.strip(), rule))
        if slot == "light":
            found.light.append(source.strip())
    elif text:
        found.phrases.append(Phrase(slot, text.lower(), source.strip(), number, marks))


@lexicon.remembered
def _boundaries() -> re.Pattern[str]:
    """Where a clause is cut: prepositions, and verbs that do not belong to a noun behind them."""
    verbs = [*words("wear_verb")]
    does = sorted({*words("pose_verb"), *words("expression_verb")}, key=len, reverse=True)
    nouns = ("expression", "mood", "pose_noun", "place", "garment", "furniture", "detail")
    heads = "|".join(map(re.escape, sorted({w for n in nouns for w in words(n)} - {"in"})))
    acts = rf"(?:{'|'.join(does)})(?!\s+(?:{heads})\b)"  # "swimming hall", "laughing expression"
    more = (
        *("shot on", "shot with", "captured on", "captured with", "captured in", "captured by"),
        *("for the", "into the", "towards", "toward", *_DOWN),
        *("taken with", "taken on", "photographed with", "photographed on", "filmed on"),
        *("bathed in", "lit by", "lit with", "illuminated by", "illuminated with", "backlit by"),
        *("surrounded by", "set in", "set against", "situated in", "paired with", "matched with"),
        *("teamed with", "while", "whilst", "as", "where", "who", "whose", "which", "that"),
        *("featuring", "showing", "with", "under", "using", "looking", "gazing", "glancing"),
        *("staring", "facing", "conveying", "exuding", "radiating", "creating a", "expressing"),
        *words("place_prep"),
    )
    listed = sorted({*verbs, *more} - {"car"}, key=lambda w: (-len(w), w))
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, listed))}|{acts})(?![\w-])", re.I)


@dataclass(frozen=True)
class _Piece:
    lead: str
    tokens: list[str]
    source: str


def _pieces(text: str) -> list[_Piece]:
    cuts = [(m.start(), m.end(), m.group(0).lower()) for m in _boundaries().finditer(text)]
    out: list[_Piece] = []
    first = cuts[0][0] if cuts else len(text)
    if text[:first].strip():
        out.append(_Piece("", P.tokens_of(text[:first]), text[:first].strip()))
    for index, (start, end, lead) in enumerate(cuts):
        stop = cuts[index + 1][0] if index + 1 < len(cuts) else len(text)
        out.append(_Piece(lead, P.tokens_of(text[end:stop]), text[start:stop].strip()))
    return out


def _read_rest(text: str, number: int, found: Reading, *, alone: bool) -> None:
    """Cut and classify one stretch without idioms. alone: it is its clause's whole text."""
    if not text.strip():
        return
    pieces = _pieces(text)
    blurred = bool(either("blur").search(text))
    if blurred and alone and not any(_names(p, "garment", "place", "expression") for p in pieces):
        if _is_light(text) and not _is_camera(text):
            found.light.append(text.strip())
            found.dropped.append(P.drop(text.strip(), "light"))
        else:
            found.dropped.append(P.drop(text.strip(), "background"))
        return
    if alone and (rule := _technical(text, pieces)):
        found.dropped.append(P.drop(text.strip(), rule))
        return
    for index, piece in enumerate(pieces):
        previous = pieces[index - 1] if index else None
        _read_piece(piece, previous, number, found, lone=alone and len(pieces) == 1)


def _names(piece: _Piece, *classes: str) -> bool:
    return any(
        P.is_a(t, *classes) and not P.is_a(t, "place_type", "place_empty") for t in piece.tokens
    )


def _technical(text: str, pieces: list[_Piece]) -> str | None:
    """camera, quality or light when the whole clause is about nothing else."""
    if any(_names(p, "garment", "expression", "expression_verb", "mood") for p in pieces):
        return None
    if any(p.lead in words("wear_verb") | words("pose_verb") for p in pieces):
        return None
    if any(p.lead in words("place_prep") and P.place_head(p.tokens) >= 0 for p in pieces):
        return None
    if _is_camera(text):
        return "camera"
    return None


_LENS_NUMBER = re.compile(r"\b\d+(?:\.\d+)?\s?mm\b|\b[fFtT]/?\s?\d(?:\.\d)?\b|\biso\s?\d+", re.I)


def _is_camera(text: str) -> bool:
    return bool(_LENS_NUMBER.search(text) or either("camera", "camera_phrase").search(text))


def _is_light(text: str) -> bool:
    return bool(either("light", "light_phrase").search(text))


def _touches_person(tokens: list[str]) -> bool:
    """Whether a region of the person is named (hair, eyes, skin, build): never to be captioned."""
    return any(part in words("region") for t in tokens for part in (t.lower(), *_parts(t)))


def _parts(token: str) -> list[str]:
    return token.lower().split("-") if "-" in token else []


def _read_piece(
    piece: _Piece, previous: _Piece | None, number: int, found: Reading, *, lone: bool
) -> None:
    """Give one piece to a slot, or drop it with its reason."""
    content = [t for t in piece.tokens if not ignored(t)]
    low = [t.lower() for t in content]
    says = piece.source
    if not content and piece.lead not in words("pose_verb") | words("expression_verb"):
        return
    if (
        piece.lead in ("at", "for the", "into the", "toward", "towards")
        and low
        and low[0] in _LENSES
    ):
        _keep(found, "gaze", "looking at camera", says, number)
        return
    if piece.lead in words("pose_verb") and previous is not None and _is_light(previous.source):
        found.dropped.append(P.drop(says, "light"))  # it is the light that pours and plays
        return
    if "and" in [t.lower() for t in piece.tokens] and _halves(piece, previous, number, found):
        return
    if found.allow and _allowed(says, number, found):
        return
    if _touches_person(content) and not _names(piece, "garment"):
        found.dropped.append(P.drop(says, "identity"))
    elif _is_clothing(piece):
        _read_clothes(piece, number, found)
    elif piece.lead in words("expression_verb"):
        named = P.expression(piece.tokens)  # `smiling a genuine warm smile`
        kept = named or P.expression_verb(piece.lead, piece.tokens)
        _keep_kept(found, "expression", kept, says, number)
    elif (mood := _mood(piece, content)) is not None:
        _keep_kept(found, "mood", mood, says, number)
    elif (face := P.expression(piece.tokens)) is not None:
        _keep_kept(found, "expression", face, says, number, _with(piece))
    elif (stance := P.pose_noun(piece.tokens)) is not None:
        _keep_kept(found, "pose", stance, says, number)
    elif piece.lead in words("pose_verb"):
        _keep_kept(found, "pose", P.pose([piece.lead, *piece.tokens]), says, number)
    elif _is_place(piece, lone):
        _read_place(piece, previous, number, found, lone)
    else:
        _read_other(piece, low, number, found)


_MAKEUP = re.compile(r"\b(?:[\w-]+ )?(?:lipstick|eyeliner|mascara|make-?up)\b", re.IGNORECASE)


def _allowed(text: str, number: int, found: Reading) -> bool:
    """Keep what names traits that may change, when nothing else of the person is named."""
    constants = find_constants(text)
    said = [c.words for c in constants if c.trait in found.allow]
    if "makeup" in found.allow:
        said += [m.group(0) for m in _MAKEUP.finditer(text)]
    if not said or any(c.trait not in found.allow for c in constants):
        return False
    for words_ in said:
        _keep(found, "state", words_, text, number)
    return True


_LENSES = ("camera", "lens", "viewer", "photographer")


def _with(piece: _Piece) -> frozenset[str]:
    return frozenset({"with"}) if piece.lead == "with" else frozenset()


def _keep_kept(
    found: Reading,
    slot: str,
    kept: P.Kept,
    source: str,
    number: int,
    marks: frozenset[str] = frozenset(),
) -> None:
    found.dropped += kept.dropped
    _keep(found, slot, kept.text, source, number, marks | kept.marks)


def _halves(piece: _Piece, previous: _Piece | None, number: int, found: Reading) -> bool:
    """Read `x and y` as two pieces when they belong to different slots."""
    tokens = [t.lower() for t in piece.tokens]
    at = tokens.index("and")
    first = _Piece(piece.lead, piece.tokens[:at], " ".join(piece.tokens[:at]))
    second = _Piece("", piece.tokens[at + 1 :], " ".join(piece.tokens[at + 1 :]))
    kinds = _kind(first), _kind(second)
    if None in kinds or kinds[0] == kinds[1]:
        return False
    _read_piece(first, previous, number, found, lone=False)
    _read_piece(second, None, number, found, lone=False)
    return True


def _kind(piece: _Piece) -> str | None:
    """A rough class of a piece by its head words."""
    if _touches_person(piece.tokens) and not _names(piece, "garment"):
        return "identity"
    for name in ("garment", "expression", "mood", "pose_noun"):
        if _names(piece, name):
            return name
    if P.place_head(piece.tokens) >= 0:
        return "place"
    text = " ".join(piece.tokens)
    if _is_camera(text):
        return "camera"
    if _is_light(text):
        return "light"
    return "detail" if _names(piece, "detail") else None


def _is_clothing(piece: _Piece) -> bool:
    if piece.lead in words("wear_verb"):
        return True
    if not _names(piece, "garment") or piece.lead in words("pose_verb"):
        return False
    last = [t for t in piece.tokens if P.is_a(t, "garment", "place", "furniture", "expression")]
    return bool(last) and P.is_a(last[-1], "garment") and not either("blur").search(piece.source)


def _read_clothes(piece: _Piece, number: int, found: Reading) -> None:
    worn = piece.lead in words("wear_verb") | {"in", "paired with", "matched with", "teamed with"}
    marks = frozenset({"worn"}) if worn or piece.lead == "with" else frozenset()
    tokens = [t.lower() for t in piece.tokens]
    if piece.lead == "in" and "and" in tokens:  # `a sweater in beige and jeans`
        at = tokens.index("and")
        colors = P.color_only(piece.tokens[:at])
        if colors and _color_last_garment(found, colors, number):
            piece = _Piece("in", piece.tokens[at + 1 :], piece.source)
    items, left = P.garments(piece.tokens)
    if not items and piece.lead in words("wear_verb"):
        known = [t for t in left if not P.is_a(t, "looks", "region", "person")]
        if known and not _is_light(" ".join(known)) and known[-1].lower() not in adjectives():
            items = [P.garments([*known[:-1], known[-1]])[0] or [P.Kept(known[-1])]][0]
            left = []
    for item in items:
        _keep_kept(found, "clothing", item, piece.source, number, marks)
    if left:
        rule = "identity" if _touches_person(left) else "material"
        found.dropped.append(P.drop(" ".join(left), rule))


def _mood(piece: _Piece, content: list[str]) -> P.Kept | None:
    """The mood a piece says, by its noun or by feelings alone."""
    if any(P.is_a(t, "mood") for t in content):
        named = any(t.lower() == "mood" for t in content)
        return P.mood(piece.tokens, named=named)
    conveys = piece.lead in ("conveying", "exuding", "radiating", "expressing")
    if content and (conveys or all(_felt(t) for t in content)) and piece.lead in _MOOD_LEADS:
        return P.mood(piece.tokens, named=False)
    return None


_MOOD_LEADS = ("", "conveying", "exuding", "radiating", "expressing")


def _felt(token: str) -> bool:
    return P.is_a(token, "feeling", "temperature") or token.lower() in feeling_nouns()


_DOWN = ("down the", "down a", "up the", "up a")


def _is_place(piece: _Piece, lone: bool) -> bool:
    if piece.lead == "with":
        return P.place_head(piece.tokens) >= 0 and _ends_in(piece, "place")
    if piece.lead in words("place_prep") | {
        *_DOWN,
        "set in",
        "set against",
        "situated in",
        "captured in",
    }:
        return True
    return P.place_head(piece.tokens) >= 0 and not _is_camera(piece.source)


def _ends_in(piece: _Piece, name: str) -> bool:
    content = [t for t in piece.tokens if not ignored(t)]
    return bool(content) and P.is_a(content[-1], name)


def _read_place(
    piece: _Piece, previous: _Piece | None, number: int, found: Reading, lone: bool
) -> None:
    colors = P.color_only(piece.tokens) if piece.lead == "in" else []
    if colors and _color_last_garment(found, colors, number):
        return
    if _joins_pose(piece, found, number):
        return
    head = P.place_head(piece.tokens)
    behind = piece.lead in words("place_prep") | set(_DOWN)
    text = " ".join(piece.tokens)
    if head < 0 and (_is_camera(text) or _is_light(text) or _names(piece, "detail", "furniture")):
        _read_other(piece, [t.lower() for t in piece.tokens], number, found)
        return
    guess = (
        piece.lead in ("in", "at", "inside", "on")
        and len(piece.tokens) <= 5
        and piece.tokens[0].lower() in ("a", "an", "the")
    )
    typed_only = head >= 0 and P.is_a(piece.tokens[head], "place_type")
    if typed_only and behind and piece.lead != "against" and len(piece.tokens) <= 2:
        return  # "in the background": what stands there was named before
    kept = P.place(piece.tokens, stands_alone=lone and not behind, unknown_head=guess)
    if kept is None or (head < 0 and _unfit(kept.text)):
        if behind:
            found.dropped.append(P.drop(piece.source, "background"))
        else:
            _read_other(piece, [t.lower() for t in piece.tokens], number, found)
    elif any("weak" not in p.marks for p in found.of("place")):
        found.dropped.append(P.drop(piece.source, "background"))
    else:
        marks = {"behind"} if behind else set()
        weak = {"weak"} if piece.lead in _WEAK else set()
        _keep_kept(found, "place", kept, piece.source, number, frozenset(marks | weak))


_WEAK = ("through", "behind", "before", "around", "across", "beneath", "by", "near", "beside")
"""Prepositions whose place is the picture's only when no other is named (`through the window`)."""


def _unfit(text: str) -> bool:
    """Whether a guessed place is none: adjectives, adverbs, persons, numbers."""
    last = text.split()[-1].lower()
    return (
        last in adjectives()
        or last.endswith("ly")
        or last.endswith("ing")
        or P.is_a(last, "person", "light", "camera", "genre", "quality", "mood", "detail")
        or not last.isalpha()
        or len(last) < 3
    )


def _color_last_garment(found: Reading, colors: list[str], number: int) -> bool:
    """`a cashmere sweater in soft beige`: the colour goes before the garment just named."""
    last = found.phrases[-1] if found.phrases else None
    if last is None or last.slot != "clothing" or last.clause != number:
        return False
    found.phrases[-1] = Phrase(
        last.slot, f"{' '.join(colors)} {last.text}", last.source, last.clause, last.marks
    )
    return True


def _joins_pose(piece: _Piece, found: Reading, number: int) -> bool:
    """`sitting at a wooden table`: furniture belongs to the pose just named."""
    last = found.phrases[-1] if found.phrases else None
    if last is None or last.slot != "pose" or last.clause != number:
        return False
    content = [t for t in piece.tokens if not ignored(t)]
    if not content or not P.is_a(content[-1], "furniture"):
        return False
    if last.text.split()[0].lower() not in words("furniture_verb"):
        return False
    said = f"{last.text} {piece.lead} {content[-1].lower()}"
    found.phrases[-1] = Phrase(last.slot, said, f"{last.source} {piece.source}", number, last.marks)
    found.dropped += [P.drop(t, "background") for t in content[:-1]]
    return True


def _read_other(piece: _Piece, low: list[str], number: int, found: Reading) -> None:
    """Camera, light, background details, the person, quality words, or nothing known."""
    says = piece.source
    content = [t for t in low if not ignored(t)]
    if _is_camera(says):
        found.dropped.append(P.drop(says, "camera"))
    elif any(P.is_a(t, "genre") for t in content) or _is_quality(says):
        if content == ["portrait"]:
            _keep(found, "framing", "portrait", says, number)
        else:
            found.dropped.append(P.drop(says, "quality"))
    elif content == ["portrait"]:
        _keep(found, "framing", "portrait", says, number)
    elif _is_light(says):
        found.light.append(says)
        found.dropped.append(P.drop(says, "light"))
    elif any(P.is_a(t, "detail", "furniture") for t in content) or either("blur").search(says):
        found.dropped.append(P.drop(says, "background"))
    elif any(P.is_a(t, "person", "looks") for t in content) or find_constants(says):
        found.dropped.append(P.drop(says, "identity"))
    elif any(P.is_a(t, "place_empty", "style") for t in content):
        found.dropped.append(P.drop(says, "background"))
    elif content:
        found.dropped.append(P.drop(says, "unknown"))


def _is_quality(text: str) -> bool:
    return bool(either("quality", "quality_phrase").search(text))
