"""The prompt writer: attribute ids -> one fluent prompt for a picture source.

In: attributes of a shot and the trigger. Out: text with the slots of a good portrait prompt (light,
subject and outfit, framing and place, background, pose, gaze and expression, mood, camera, genre).
Pure: a chooser takes wordings and order by slot name; `variant` is the chooser that counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol, TypeVar

from limner import lexicon
from limner.errors import InputError
from limner.lexicon.tables import table
from limner.lexicon.wording import pick

# Slot orders. Every order opens with light, framing, genre or the subject; camera stands late.
ORDERS: tuple[tuple[str, ...], ...] = (
    ("light", "subject", "view in place", "props", "pose", "face", "mood", "camera", "genre"),
    ("light", "view of subject", "place props", "pose", "face", "mood", "camera", "genre"),
    ("light", "subject in place", "view", "pose", "face", "mood", "props", "genre", "camera"),
    ("view of subject", "place props", "light", "face", "pose", "mood", "genre", "camera"),
    ("subject in place", "pose", "view", "face", "mood", "light", "props", "camera", "genre"),
    ("genre", "light", "subject", "pose", "view in place", "props", "face", "mood", "camera"),
    ("subject", "face", "mood", "pose", "view in place", "light", "props", "camera", "genre"),
    ("genre", "view of subject", "place props", "light", "mood", "face", "pose", "camera"),
)
DROPPABLE = ("props", "mood", "camera", "genre", "manner")
"""Parts that a dialect may leave out; all others are what the picture is about."""

T = TypeVar("T")


class Choose(Protocol):
    """Takes one of the options of a slot."""

    def __call__(self, slot: str, options: Sequence[T]) -> T:
        """One of `options`."""


def by_number(variant: int) -> Choose:
    """The chooser of `write_prompt`: the same choice for the same number on every machine."""

    def choose(slot: str, options: Sequence[T]) -> T:
        return pick(slot, variant, options)

    return choose


def wordings() -> dict[str, Any]:
    """What data/wordings.yaml says: axis -> id -> pieces that the writer joins."""
    return table("limner.shots", "wordings")


def write_prompt(
    attributes: Mapping[str, str], trigger: str, variant: int = 0, class_word: str | None = None
) -> str:
    """Attributes -> prompt of about 35 to 75 words, trigger exactly once, no constants.

    attributes: every axis -> id of the lexicon, `gaze` camera | away | down, `expression_variant`
    a number as text, `genre` an id or nothing. variant: any integer. Raises InputError for an
    unknown id.
    """
    subject = f"{trigger} {class_word}" if class_word else trigger
    return compose(attributes, subject, by_number(variant), as_written=True)


def compose(
    attributes: Mapping[str, str],
    subject: str,
    choose: Choose,
    *,
    drop: AbstractSet[str] = frozenset(),
    as_written: bool = False,
    wide: bool = False,
) -> str:
    """One prompt with wordings taken by `choose`. drop: some of `DROPPABLE`.

    as_written: the subject keeps its spelling at the start of the text (a trigger). wide: clothes
    and camera may be named in more orders (large sets need it).
    """
    for axis in lexicon.AXES:
        if attributes.get(axis) not in lexicon.axis(axis):
            raise InputError(
                f"no {axis} {attributes.get(axis)!r}",
                where=f"attributes.{axis}",
                fix=f"Use one of: {', '.join(lexicon.axis(axis))}",
            )
    parts = _Parts(attributes, subject, choose, drop, wide)
    order = choose("order", ORDERS)
    text = ", ".join(words for words in map(parts.slot, order) if words)
    return text if as_written and text.startswith(subject) else text[0].upper() + text[1:]


class _Parts:
    """The slots of one prompt; a slot asks the chooser only when it is used."""

    def __init__(
        self,
        attributes: Mapping[str, str],
        subject: str,
        choose: Choose,
        drop: AbstractSet[str],
        wide: bool,
    ) -> None:
        self.of = attributes
        self.name = subject
        self.choose = choose
        self.drop = drop
        self.wide = wide

    def slot(self, name: str) -> str:
        """The words of one slot of an order; empty where it is dropped or has nothing to say."""
        if name in self.drop:
            return ""
        return str(getattr(self, name.replace(" ", "_"))())

    def light(self) -> str:
        lighting = self.of["lighting"]
        light = lexicon.lightings()[lighting]
        words = wordings()["light"].get(lighting)
        sources: Sequence[str] = words["source"] if words else light.source
        manners: Sequence[str] = words["manner"] if words else light.manner
        if not sources:
            return self.choose("light", light.detail)
        source = self.choose("light source", sources)
        if "manner" in self.drop or not manners:
            return source
        manner = self.choose("light manner", manners)
        return self.choose(
            "light", (f"{source} {manner}", f"{source}, {manner}", f"{source} {manner}")
        )

    def subject(self) -> str:
        wear = self.choose("wear", ("wearing", "wearing", "dressed in", "in"))
        return f"{self.name} {wear} {self._outfit()}"

    def subject_in_place(self) -> str:
        return f"{self.subject()}, {self._place()}"

    def view(self) -> str:
        framing, angle = self._framing(), self._angle()
        return f"{framing}, {angle}" if self.choose("view", (0, 1)) else f"{angle}, {framing}"

    def view_in_place(self) -> str:
        framing, angle, place = self._framing(), self._angle(), self._place()
        return self.choose(
            "view in place",
            (
                f"{angle}, {framing} {place}",
                f"{framing} {place}, {angle}",
                f"{framing}, {angle}, {place}",
            ),
        )

    def view_of_subject(self) -> str:
        framing, angle, subject = self._framing(), self._angle(), self.subject()
        return self.choose(
            "view of subject",
            (f"{framing} of {subject}, {angle}", f"{angle}, {framing} of {subject}"),
        )

    def place_props(self) -> str:
        place = self._place()
        if "props" in self.drop:
            return place
        props = self.props()
        return self.choose("linked", (f"{place} with {props}", f"{place}, {props}"))

    def props(self) -> str:
        setting = lexicon.settings()[self.of["setting"]]
        depth = self.choose("depth", wordings()["depth"])
        words = wordings()["place"].get(setting.id)
        objects = list(words["props"] if words else setting.objects)
        if not objects:
            return f"{setting.props} {depth}"
        first = self.choose("prop 1", objects)
        others = [p for p in objects if p != first]
        if not others:
            return f"{first} {depth}"
        second = self.choose("prop 2", others)
        return self.choose(
            "props",
            (f"{first} and {second} {depth}", f"{first}, {second} {depth}", f"{first} {depth}"),
        )

    def pose(self) -> str:
        own = lexicon.poses()[self.of["pose"]].phrase
        phrases: Sequence[str] = wordings()["pose"].get(self.of["pose"], own)
        return self.choose("pose", phrases)

    def face(self) -> str:
        """Gaze and expression in one clause; nothing where no face is seen."""
        if not lexicon.angles()[self.of["angle"]].face:
            return ""
        key = self.of.get("gaze", "camera")
        if self.of["angle"] == "back":
            key = f"back_{key}"
        gaze = self.choose("gaze", wordings()["gaze"][key])
        mood = lexicon.moods()[self.of["expression"]]
        which = int(self.of.get("expression_variant", "0")) % len(mood.expression)
        expression = mood.expression[which]
        return self.choose(
            "face",
            (
                f"{gaze} with {article(expression)}",
                f"{gaze}, {expression}",
                f"{article(expression)}, {gaze}",
                f"{expression}, {gaze}",
            ),
        )

    def mood(self) -> str:
        if not lexicon.angles()[self.of["angle"]].face:
            return ""
        word = self.choose("mood", lexicon.moods()[self.of["expression"]].mood)
        return self.choose(
            "mood words",
            (f"{word} mood", f"{word} atmosphere", f"{word} and unforced", f"the mood {word}"),
        )

    def camera(self) -> str:
        camera = lexicon.cameras()[self.of["camera"]]
        words = wordings()["camera"].get(camera.id) or {
            **{"body": camera.body, "lens": camera.lens, "look": camera.look}
        }
        if not words["body"]:
            return camera.detail
        body = self.choose("body", words["body"])
        lens, look = self.choose("lens", words["lens"]), self.choose("look", words["look"])
        usual = (
            f"shot on {body}, {lens}, {look}",
            f"{body} with {lens}, {look}",
            f"{look}, {body} and {lens}",
            f"{lens} on {body}, {look}",
            f"{look}, taken with {body}, {lens}",
        )
        if not self.wide:
            return self.choose("camera", usual)
        more = (
            f"{body}, {look}, {lens}",
            f"{lens}, {look}, {body}",
            f"{look} from {body}, {lens}",
            f"photographed with {lens} on {body}, {look}",
        )
        return self.choose("camera wide", (*usual, *more))

    def genre(self) -> str:
        genre = self.of.get("genre")
        phrases: Sequence[str] = lexicon.genres()[genre].phrase if genre else wordings()["genre"]
        return self.choose("genre", phrases)

    def _outfit(self) -> str:
        outfit = lexicon.outfits()[self.of["outfit"]]
        own = wordings()["outfit"].get(outfit.id)
        pieces: Sequence[Sequence[str]] = own or outfit.pieces
        if not pieces:
            return outfit.detail
        chosen = [self.choose(f"outfit {i}", piece) for i, piece in enumerate(pieces)]
        if is_one_piece(outfit, pieces):
            dress = " ".join(chosen)
            if dress.endswith("s") and not dress.endswith("ss"):
                return dress  # pyjamas
            return self.choose("article", (article(dress), dress))
        join = self.choose("outfit join", (" and ", " with "))
        if len(chosen) == 3:
            outer, inner, below = chosen
            usual = f"{outer} over {inner}{join}{below}"
            if not self.wide:
                return usual
            more = (
                f"{outer} worn over {inner}{join}{below}",
                f"{inner} under {outer}{join}{below}",
                f"{below} with {outer} over {inner}",
                f"{below} and {inner} under {outer}",
            )
            return self.choose("outfit layers", (usual, *more))
        if self.choose("outfit order", (0, 0, 1)):
            chosen.reverse()
        return join.join(chosen)

    def _place(self) -> str:
        setting = lexicon.settings()[self.of["setting"]]
        words = wordings()["place"].get(setting.id)
        names = words["name"] if words else setting.names
        name = self.choose("place", names) if names else setting.detail
        return f"{setting.at} {name}"

    def _framing(self) -> str:
        return self.choose("framing", lexicon.framings()[self.of["framing"]].prompt)

    def _angle(self) -> str:
        return self.choose("angle", lexicon.angles()[self.of["angle"]].phrase)


def is_one_piece(outfit: lexicon.Outfit, pieces: Sequence[Sequence[str]]) -> bool:
    """Whether the pieces are words of one garment (`red satin` + `dress`), not several garments."""
    return bool(outfit.dress) or (len(pieces) == 2 and len(pieces[1]) == 1)


def article(phrase: str) -> str:
    """`phrase` with a or an."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"
