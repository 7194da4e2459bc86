"""What one word of the vocabulary knows: a dataclass for the values of each axis.

Data only; read and checked by `reading`, handed out by the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Garment:
    """One piece of clothing: a cut the atelier knows and a word of colors.yaml (or "denim")."""

    kind: str
    color: str


@dataclass(frozen=True)
class Outfit:
    """A set of clothes with its words and what it goes with.

    phrase: for captions; detail: for prompts. pieces: for each piece its wordings, which a prompt
    joins instead of `detail`. outdoor: never worn indoors. Without garments the atelier cannot
    draw it.
    """

    id: str
    phrase: str
    detail: str
    formality: str
    wear: str
    season: str
    top: Garment | None = None
    over: Garment | None = None
    bottom: Garment | None = None
    dress: Garment | None = None
    pieces: tuple[tuple[str, ...], ...] = ()
    outdoor: bool = False


@dataclass(frozen=True)
class Setting:
    """A place. `lightings`: ids that can happen there; `formality`: what may be worn there.

    names, objects: wordings of the place and single background things; at: in | on | at; has: what
    poses can use; genres: kinds of photography it suits.
    """

    id: str
    phrase: str
    detail: str
    props: str
    mix: str
    formality: tuple[str, ...]
    season: str
    lightings: tuple[str, ...]
    names: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    at: str = "in"
    has: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lighting:
    """A light. `detail`: wordings that can open a prompt; or `source` and `manner`, one of each.

    places: settings or kinds of place where it can happen, besides the settings' own lists.
    """

    id: str
    phrase: str
    detail: tuple[str, ...]
    kind: str
    source: tuple[str, ...] = ()
    manner: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mood:
    """One of the five moods of the expression quota. `gaze`: camera | away | down.

    The nth `caption` says the nth `expression`; the atelier draws the first `drawn` of them.
    """

    id: str
    caption: tuple[str, ...]
    expression: tuple[str, ...]
    mood: tuple[str, ...]
    gaze: tuple[str, ...]
    drawn: int = 3


@dataclass(frozen=True)
class Angle:
    """An angle domain. `yaw`, `body_yaw`: degrees, absolute, lowest and highest."""

    id: str
    domain: int
    title: str
    phrase: tuple[str, ...]
    yaw: tuple[float, float]
    body_yaw: tuple[float, float]
    face: bool


@dataclass(frozen=True)
class Framing:
    """How much of the person is in the picture. `face_share`: face height over picture height."""

    id: str
    phrase: str
    prompt: tuple[str, ...]
    face_share: tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """What the body does. `pitch`, `roll`: extra degrees of the head (pitch down positive).

    needs: the place must have one of these; nothing = any place will do.
    """

    id: str
    phrase: tuple[str, ...]
    framings: tuple[str, ...]
    pitch: float = 0.0
    roll: float = 0.0
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Camera:
    """Camera words of a prompt; captions drop them. `body`, `lens`, `look`: one of each."""

    id: str
    detail: str
    framings: tuple[str, ...] = field(default_factory=tuple)
    body: tuple[str, ...] = ()
    lens: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()


@dataclass(frozen=True)
class Genre:
    """A kind of photography. `phrase`: how a prompt names it."""

    id: str
    phrase: tuple[str, ...]


Value = Outfit | Setting | Lighting | Mood | Angle | Framing | Pose | Camera | Genre
