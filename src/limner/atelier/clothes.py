"""Clothes: what each garment of an outfit covers of the mesh, how far it stands off, its cloth.

In: a lexicon Outfit. Out: a `Cut` of `Piece`s, inner to outer; `fabric` gives a piece its colour,
relief and shine. Pieces are cut per pixel out of the mesh's "tights" (hugs the body, with feet) and
"skirt" (a tube from the waist to the floor) by the sign of a distance, so that edges are smooth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from limner.atelier.tailor import (
    WRIST,
    Array,
    Chart,
    Mask,
    armhole,
    chart,
    crew,
    legs,
    notch,
    opening,
    over_torso,
    scoop,
    smooth,
    strapped,
)
from limner.errors import LimnerError
from limner.lexicon import Garment, Outfit

Surface = Literal["tights", "skirt"]
Inside = Callable[[Chart], Array]
HIDE_MARGIN = 0.1
"""Body pixels this far (dm) inside a garment's edge are not drawn."""

LEG_MARGIN = 0.35
"""The same above the hem of a skirt, where one may look a little way in from below."""


@dataclass(frozen=True)
class Shape:
    """The cut of one surface. `inside`: signed distance in dm; `loose`, `hem_loose`: dm outward.

    `hem_loose` is reached towards the lower end (`hem`, height in dm) of a straight leg or skirt.
    """

    surface: Surface
    inside: Inside
    loose: float
    hem_loose: float = 0.0
    hem: float = 0.0
    lining: bool = False


@dataclass(frozen=True)
class Piece:
    """One garment on one surface. `part`: top, over, bottom, dress or shoes; `color`: colour word.

    `label` names the part in the picture's mask. `lining` is cloth that only keeps skin hidden.
    """

    kind: str
    color: str
    part: str
    shape: Shape
    level: float = 0.0

    @property
    def surface(self) -> Surface:
        """The mesh it is cut from: "tights" or "skirt"."""
        return self.shape.surface

    @property
    def lining(self) -> bool:
        """True for an under-layer that normally nobody sees."""
        return self.shape.lining

    @property
    def label(self) -> str:
        """Name of the part in the mask."""
        return self.part

    @property
    def shape_key(self) -> tuple[str, str, str, float]:
        """Pieces with equal keys have equal geometry whatever their colour."""
        return (self.kind, self.part, self.surface, self.level)

    def inside(self, canonical: Array) -> Array:
        """Signed distance to the garment's edge, (N,) dm, positive within."""
        return self.shape.inside(chart(canonical)).astype(np.float32)

    def covers(self, canonical: Array) -> Mask:
        """Whether canonical points of this piece's surface are cloth, (N,)."""
        return self.inside(canonical) > 0

    def offset(self, canonical: Array) -> Array:
        """How far to move vertices along their normals, (N,) dm; small on the shoulders."""
        return self._offset(chart(canonical))

    def _offset(self, c: Chart) -> Array:
        shape = self.shape
        shoulder = np.exp(-(((c.x - 1.7) / 0.75) ** 2) - ((c.y - 5.3) / 0.6) ** 2)
        out = self.level + shape.loose * (1 - 0.62 * shoulder)
        if self.kind in TUCKED:
            # Inside the waistband nothing may stand out further than the band.
            out = np.where(c.arm, out, out * smooth((c.y - 1.1) / 0.6))
        if shape.hem_loose:
            out = out + shape.hem_loose * smooth((1.0 - c.y) / (1.0 - shape.hem)) * ~c.arm
        out = out + _relief(self.kind, c, self.part)
        return np.asarray(out, np.float32)

    def skin_hidden(self, canonical: Array) -> Mask:
        """Body points hidden beneath the piece, (N,): leave them out of the picture."""
        if self.surface == "skirt":
            # A stride pushes the thighs through the tube: what it closes over is not drawn.
            c = chart(canonical)
            closed = ~c.arm & (c.x < 2.3) & (self.part != "over")
            return np.asarray(closed & (self.shape.inside(c) > LEG_MARGIN))
        return self.inside(canonical) > HIDE_MARGIN


@dataclass(frozen=True)
class Cut:
    """All pieces of an outfit, inner to outer."""

    outfit: Outfit
    pieces: tuple[Piece, ...]

    def layers(self) -> tuple[Piece, ...]:
        """The pieces in drawing order; the z-buffer does the rest."""
        return self.pieces

    def skin_hidden(self, canonical: Array) -> Mask:
        """Body points hidden beneath any piece, (N,)."""
        hidden = np.zeros(len(canonical), np.bool_)
        for piece in self.pieces:
            hidden |= piece.skin_hidden(canonical)
        return hidden


def cut(outfit: Outfit, canonical: Array | None = None) -> Cut:
    """The pieces of an outfit. Raises LimnerError for a garment kind that has no cut."""
    pieces: list[Piece] = []
    inner = 0.0
    for part in ("bottom", "top", "dress", "over"):
        garment: Garment | None = getattr(outfit, part)
        if garment is None:
            continue
        if garment.kind not in SHAPES:
            raise LimnerError(
                f"no cut for garment kind {garment.kind!r}",
                where=f"outfit {outfit.id}",
                fix=f"use one of: {', '.join(SHAPES)}",
            )
        for shape in SHAPES[garment.kind]:
            if part == "top" and outfit.over is not None:
                shape = replace(shape, loose=min(shape.loose, 0.02))
            level = inner if part in ("top", "over") and garment.kind not in TUCKED else 0.0
            pieces.append(Piece(garment.kind, garment.color, part, shape, level))
        if part == "bottom":
            inner = 0.04
    pieces.append(Piece(*_shoes(outfit), "shoes", _shape_shoes(), 0.0))
    return Cut(outfit, tuple(pieces))


def fabric(piece: Piece, canonical: Array, seed: int = 0) -> tuple[Array, Array, Array]:
    """Colour, relief and shine of a piece at canonical points.

    Returns albedo (N, 3) linear RGB, bump (N,) height in dm, specular (N,) 0..1. `seed` moves the
    folds; it never changes colour or cut.
    """
    from limner.atelier import cloth

    c = chart(canonical)
    return cloth.paint(piece, c, piece.shape.inside(c), seed)


# -- cuts ------------------------------------------------------------------------------------------
TUCKED = frozenset({"shirt", "turtleneck", "blouse"})
"""Tops worn inside the waistband; all others hang over it."""

WAIST = 1.12
LONG = WRIST - 0.05
SHORT = 1.25


def _least(*distances: Array) -> Array:
    return np.asarray(np.minimum.reduce(distances), np.float32)


def _top(hem: float, sleeve: float | None, neck: Inside) -> Inside:
    return lambda c: _least(over_torso(c, hem, sleeve), neck(c))


def _crew(height: float = 5.83) -> Inside:
    return lambda c: crew(c, height)


def _collared(low: float, slope: float) -> Inside:
    return lambda c: _least(crew(c, 5.98), notch(c, low, slope))


def _scooped(width: float, depth: float, back: float, strap: float) -> Inside:
    return lambda c: _least(scoop(c, width, depth, back), armhole(c, strap))


def _strapped(top: float, strap: float, width: float, back: float) -> Inside:
    return lambda c: _least(strapped(c, top, strap, width, back), armhole(c, strap + width / 2))


def _plunging(low: float, slope: float, strap: float) -> Inside:
    return lambda c: _least(notch(c, low, slope), crew(c, 5.6), armhole(c, strap))


def front_gap(kind: str, c: Chart) -> Array:
    """Half width (dm) of an open front at each height."""
    if kind == "blazer":
        above = np.clip((c.y - 2.1) * 0.21, 0, 0.72)
        return np.asarray(above + np.clip((1.5 - c.y) * 0.12, 0, 0.4), np.float32)
    if kind == "jacket":
        return np.asarray(0.12 + np.clip((c.y - 0.5) * 0.08, 0, 0.5), np.float32)
    return np.asarray(0.16 + np.clip((c.y - 1.0) * 0.1, 0, 0.5), np.float32)


def _open_top(kind: str, hem: float, sleeve: float) -> Inside:
    return lambda c: _least(
        over_torso(c, hem, sleeve), crew(c, 5.9), opening(c, front_gap(kind, c))
    )


def _open_tail(kind: str, hem: float) -> Inside:
    return lambda c: _least(1.3 - c.y, c.y - hem, opening(c, front_gap(kind, c)))


def _tail(hem: float, top: float = 1.3) -> Inside:
    return lambda c: np.minimum(top - c.y, c.y - hem)


def _slip(hem: float = -1.7) -> Shape:
    return Shape("tights", lambda c: legs(c, 1.25, hem), 0.05, lining=True)


def _legs(hem: float) -> Inside:
    return lambda c: legs(c, WAIST, hem)


def _shape_shoes() -> Shape:
    def inside(c: Chart) -> Array:
        collar = -7.62 - 0.12 * np.clip(c.z, 0, 1)
        return np.asarray(collar - c.y, np.float32)

    return Shape("tights", inside, 0.05)


def _shoes(outfit: Outfit) -> tuple[str, str]:
    """Kind and colour of the shoes that go with an outfit."""
    if outfit.dress is not None or (outfit.bottom is not None and outfit.bottom.kind == "skirt"):
        return "pumps", outfit.dress.color if outfit.dress else "black"
    if outfit.formality in ("formal", "smart"):
        dark = outfit.formality == "formal" or (outfit.over or outfit.top or _NONE).color == "black"
        return "oxfords", "black" if dark else "brown"
    return "sneakers", "white"


_NONE = Garment("", "")

SHAPES: dict[str, tuple[Shape, ...]] = {
    "tshirt": (Shape("tights", _top(0.45, SHORT, _crew()), 0.05),),
    "striped_tshirt": (Shape("tights", _top(0.45, 1.7, _crew(5.74)), 0.05),),
    "sweater": (Shape("tights", _top(0.4, LONG, _crew(5.92)), 0.1),),
    "turtleneck": (
        Shape(
            "tights",
            lambda c: np.where(
                c.y > 5.2,
                np.where(c.arm, WRIST - c.along, 6.1 - c.y),
                over_torso(c, 0.8, LONG),
            ),
            0.03,
        ),
    ),
    "shirt": (Shape("tights", _top(0.8, LONG, _collared(4.9, 0.34)), 0.05),),
    "plaid_shirt": (Shape("tights", _top(0.3, LONG, _collared(4.95, 0.34)), 0.07),),
    "polo": (Shape("tights", _top(0.45, 1.15, _collared(4.8, 0.22)), 0.05),),
    "hoodie": (Shape("tights", _top(0.38, LONG, _crew(5.95)), 0.12),),
    "tank_top": (Shape("tights", _top(0.4, None, _scooped(0.66, 1.25, 0.7, 1.0)), 0.025),),
    "blouse": (Shape("tights", _top(0.8, LONG, _collared(4.6, 0.3)), 0.09),),
    "blazer": (
        Shape("tights", _open_top("blazer", 0.9, LONG), 0.11),
        Shape("skirt", _open_tail("blazer", -0.55), 0.12, 0.05, -0.55),
    ),
    "jacket": (Shape("tights", _open_top("jacket", 0.55, LONG), 0.13),),
    "coat": (
        Shape("tights", _open_top("coat", 0.9, LONG), 0.15),
        Shape("skirt", _open_tail("coat", -3.6), 0.16, 0.1, -3.6),
    ),
    "sleeveless_dress": (
        Shape("tights", _top(-1.7, None, _strapped(4.85, 0.86, 0.24, 4.6)), 0.03),
        Shape("skirt", _tail(-3.0), 0.03, -0.1, -3.0),
    ),
    "short_sleeve_dress": (
        Shape("tights", _top(-1.7, 0.95, lambda c: scoop(c, 0.7, 1.0, 0.5)), 0.05),
        Shape("skirt", _tail(-3.5), 0.05, 0.35, -3.5),
    ),
    "gown": (
        Shape("tights", _top(-1.7, None, _plunging(4.2, 0.66, 1.04)), 0.03),
        Shape("skirt", _tail(-7.9), 0.03, 0.1, -7.0),
    ),
    "trousers": (Shape("tights", _legs(-7.62), 0.04, 0.17, -6.5),),
    "shorts": (Shape("tights", _legs(-2.5), 0.05, 0.14, -2.5),),
    "leggings": (Shape("tights", _legs(-7.25), 0.0),),
    "skirt": (Shape("skirt", _tail(-2.9, 1.1), 0.02, 0.0, -2.9), _slip()),
}
"""Garment kind -> the surfaces it is cut from. Heights in dm of the mesh at rest (floor -8.2)."""


def _relief(kind: str, c: Chart, part: str) -> Array | float:
    """What stands out beyond the cloth itself: hoods, collars, soles, dm."""
    if kind == "hoodie":
        back = np.exp(-(((c.y - 5.5) / 0.42) ** 2) - (c.x / 0.95) ** 2) * smooth((0.35 - c.z) * 2)
        ring = np.exp(-(((c.collar - 5.7) / 0.2) ** 2)) * (c.x < 1.3)
        return np.asarray(0.34 * back + 0.1 * ring, np.float32)
    if kind in ("shirt", "plaid_shirt", "polo", "blazer", "coat", "jacket"):
        height = 5.72 if part == "over" else 5.66
        ring = np.exp(-(((c.collar - height) / 0.17) ** 2)) * (c.x < 1.2)
        return np.asarray((0.09 if part == "over" else 0.05) * ring, np.float32)
    if kind == "turtleneck":
        return np.asarray(0.05 * smooth((c.y - 5.6) * 6), np.float32)
    if kind == "blouse":
        puff = np.exp(-(((c.along - 3.7) / 0.6) ** 2)) * c.arm
        return np.asarray(0.12 * puff, np.float32)
    if part == "shoes":
        sole = smooth((-7.9 - c.y) * 5)
        return np.asarray(0.05 * sole, np.float32)
    return 0.0
