"""Cloth: colour, relief and shine of every garment kind: collars, lapels, zips, stripes, denim.

In: a piece, the tailor's chart of its points, their distance to its edge.
Out: albedo, bump, specular.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limner import lexicon
from limner.atelier.canvas import to_linear
from limner.atelier.tailor import WRIST, Array, Chart, Mask, band, seam, smooth

Measure = NDArray[Any]

if TYPE_CHECKING:
    from limner.atelier.clothes import Piece

DENIM = (0.075, 0.135, 0.27)
DENIM_FADED = (0.17, 0.27, 0.43)
LEATHER_BROWN = (0.12, 0.055, 0.025)
METAL = (0.45, 0.45, 0.44)
STITCH = (0.5, 0.27, 0.08)
CREAM = (0.82, 0.81, 0.78)


@dataclass
class Cloth:
    """A piece of cloth being coloured; `edge` is the distance inside the cut, dm."""

    c: Chart
    edge: Array
    base: Array
    albedo: Measure
    bump: Measure
    shine: Array
    folds: Array

    def tone(self, where: Array | Mask, factor: float) -> None:
        """Multiply the colour by `factor` where the mask is 1; on dark cloth it also lifts it."""
        mask = np.asarray(where, np.float32)[:, None]
        lift = 0.05 * (factor - 1) if factor > 1 else 0.0
        self.albedo = self.albedo * (1 + (factor - 1) * mask) + lift * mask

    def dye(self, where: Array | Mask, color: tuple[float, float, float] | Array) -> None:
        """Paint a colour where the mask is 1."""
        mask = np.asarray(where, np.float32)[:, None]
        self.albedo = self.albedo * (1 - mask) + mask * np.asarray(color, np.float32)

    def line(self, distance: Measure, within: Mask | Array | bool = True, k: float = 0.62) -> None:
        """A drawn line: darker on light cloth, lighter on dark cloth, so that it always shows."""
        mask = (seam(distance) * np.asarray(within, np.float32))[:, None]
        dark = float(self.base.mean()) < 0.06
        mark = self.base * 1.3 + 0.022 if dark else self.base * k
        self.albedo = self.albedo * (1 - mask) + mask * mark
        self.bump = self.bump - 0.02 * mask[:, 0]


def color(word: str) -> Array:
    """A colour word of the lexicon as linear RGB; denim is the cloth's mean colour."""
    if word == "denim":
        return np.asarray(DENIM, np.float32)
    return to_linear(np.asarray(lexicon.colors()[word], np.float32))


def paint(piece: Piece, c: Chart, edge: Array, seed: int) -> tuple[Array, Array, Array]:
    """Albedo (N, 3) linear, bump (N,) dm, specular (N,) of a piece."""
    n = len(c.x)
    base = color(piece.color)
    if piece.color == "denim" and piece.part == "over":
        base = np.asarray(DENIM_FADED, np.float32)
    folds = _folds(c, seed)
    shine = np.full(n, 0.05, np.float32)
    cloth = Cloth(c, edge, base, np.tile(base, (n, 1)), 0.03 * folds, shine, folds)
    if piece.color == "denim":
        _denim(cloth)
    PAINTERS[piece.kind](cloth)
    cloth.albedo = cloth.albedo * (1 + 0.07 * cloth.folds)[:, None]
    albedo = np.clip(cloth.albedo, 0.004, 0.95).astype(np.float32)
    return albedo, cloth.bump.astype(np.float32), cloth.shine


def _folds(c: Chart, seed: int) -> Array:
    """Soft creases, about -1..1: slanting on the torso, rings on the arm, more at elbow, knee."""
    a, b = np.random.default_rng(seed).random(2).astype(np.float32) * 6.28
    x = c.x * c.side
    torso = np.sin(2.1 * x + 3.3 * c.y + a) * np.sin(1.7 * c.y - 1.3 * x + b)
    arm = np.sin(5.5 * c.along + 2 * c.z + a) * np.sin(2.3 * c.along + b)
    near = np.exp(-(((c.along - 2.3) / 0.7) ** 2)) * c.arm + np.exp(-(((c.y + 3.7) / 0.9) ** 2))
    return np.asarray(np.where(c.arm, arm, torso) * (0.55 + 0.6 * near), np.float32)


def _denim(k: Cloth) -> None:
    c = k.c
    weave = np.sin(c.x * 70 + c.y * 60) * 0.05 + np.sin(c.y * 31 + c.x * 13) * 0.04
    worn = np.exp(-(((c.y + 1.2) / 1.6) ** 2) - ((c.x - 1.2) / 0.5) ** 2) * (c.z > 0.3)
    k.albedo = k.albedo * (1 + weave + 0.55 * worn)[:, None]
    k.shine[:] = 0.03


def _cuffs(k: Cloth, length: float = 0.28, factor: float = 0.86) -> None:
    end = WRIST - 0.05 - k.c.along
    k.tone(band(end, length) * k.c.arm, factor)
    k.line(end - length, k.c.arm)


def _ribs(k: Cloth, where: Array | Mask, across: Array, count: float = 26) -> None:
    wave = np.sin(across * count)
    k.albedo = k.albedo * (1 + 0.12 * wave * np.asarray(where, np.float32))[:, None]
    k.bump = k.bump + (0.012 * wave * where).astype(np.float32)


def _neck_band(k: Cloth, height: float, width: float = 0.17, factor: float = 0.84) -> None:
    inner = (height - k.c.collar) * 0.88
    torso = ~k.c.arm & (k.c.y > 4.6)
    k.tone(band(inner, width) * torso, factor)
    k.line(inner - width, torso)


def _hem(k: Cloth, height: float, width: float = 0.12) -> None:
    k.line(k.c.y - height - width, ~k.c.arm, 0.78)


def _placket(k: Cloth, low: float, high: float, spacing: float = 0.62, half: float = 0.14) -> None:
    c = k.c
    run = c.front & ~c.arm & (c.y > low) & (c.y < high)
    k.line(c.x - half, run, 0.72)
    place = (c.y - low - 0.2) % spacing - spacing / 2
    k.dye(smooth((0.062 - np.hypot(c.x, place)) * 40) * run, k.base * 0.42 + 0.03)


def _collar(k: Cloth, low: float, slope: float, tip: float = 0.6) -> None:
    """Two pointed flaps beside the open neck, and the stand behind."""
    c = k.c
    edge = c.x - np.maximum(c.y - low, 0) * slope
    lower = c.y - (low + 0.12 - (c.x - 0.05) * 0.5)
    outer = tip + 0.02 + (c.y - (low - 0.2)) * 0.24 - c.x
    inside = np.minimum(lower, outer * 0.9)
    flap = c.front & (edge > -0.1) & (c.y > low - 0.5) & ~c.arm
    stand = ~c.front & (c.collar > 5.42) & (c.x < 1.15) & ~c.arm
    dark = float(k.base.mean()) < 0.06
    k.tone((inside > 0) & flap, 1.35 if dark else 1.07)
    k.tone(band(-inside, 0.09) * flap, 0.66)
    k.line(inside, flap, 0.5)
    k.line(c.collar - 5.42, stand | (c.x < 1.1) & ~c.front, 0.6)
    k.bump = k.bump + (0.05 * (inside > 0) * flap).astype(np.float32)


def _rows(c: Chart) -> Array:
    """Height of a row of the weave; on the flat of the shoulders rows run on to the back."""
    flat = 0.45 * c.z * smooth((c.y - 4.7) / 0.5)
    return np.asarray(np.where(c.arm, c.along, c.y + flat), np.float32)


def _stripes(
    k: Cloth, pitch: float, share: float, tone: tuple[float, float, float] | Array
) -> None:
    c = k.c
    run = _rows(c)
    k.dye(smooth((np.abs((run / pitch) % 1 - 0.5) - (0.5 - share / 2)) * pitch / 0.03), tone)


def _tshirt(k: Cloth) -> None:
    _neck_band(k, 5.83)
    _hem(k, 0.45)
    k.line(1.25 - k.c.along - 0.13, k.c.arm, 0.78)


def _striped_tshirt(k: Cloth) -> None:
    navy = k.base
    k.dye(np.ones_like(k.c.x), CREAM)
    k.base = np.asarray(CREAM, np.float32)
    _stripes(k, 0.52, 0.46, navy)
    inner = (5.74 - k.c.collar) * 0.88
    k.dye(band(inner, 0.15) * ~k.c.arm * (k.c.y > 4.6), navy)


def _sweater(k: Cloth) -> None:
    c = k.c
    around = c.around
    run = np.where(c.arm, c.along, c.y)
    knit = np.abs(np.sin(around * 22)) * (0.6 + 0.4 * np.abs(np.sin(run * 17)))
    k.albedo = k.albedo * (0.86 + 0.2 * knit)[:, None]
    k.bump = k.bump + (0.02 * knit).astype(np.float32)
    k.shine[:] = 0.015
    _neck_band(k, 5.92, 0.24, 0.88)
    _cuffs(k, 0.42, 0.9)
    low = band(c.y - 0.4, 0.4) * ~c.arm
    k.tone(low, 0.9)
    k.line(c.y - 0.8, ~c.arm)
    _ribs(k, low, around)


def _turtleneck(k: Cloth) -> None:
    c = k.c
    high = (c.collar > 5.78) & ~c.arm
    k.tone(high, 1.3)
    k.line(c.collar - 5.8, ~c.arm, 0.5)
    _ribs(k, high, np.arctan2(c.x, c.z).astype(np.float32), 24)
    _cuffs(k, 0.3, 0.95)
    k.shine[:] = 0.03


def _shirt(k: Cloth) -> None:
    _placket(k, 0.9, 4.9)
    _collar(k, 4.9, 0.34)
    _cuffs(k, 0.36, 1.03)


def _plaid_shirt(k: Cloth) -> None:
    c = k.c
    along = _rows(c)
    around = c.around + 0.25
    dark = np.zeros_like(c.x)
    for run in (along, around):
        dark = dark + smooth((0.17 - np.abs((run / 0.72) % 1 - 0.5)) * 24)
    k.albedo = k.albedo * (1 - 0.42 * dark)[:, None]
    for run in (along, around):
        thin = smooth((0.035 - np.abs((run / 0.72 + 0.5) % 1 - 0.5)) * 40)
        k.dye(thin * 0.7, CREAM)
    _placket(k, 0.3, 4.9)
    _collar(k, 4.95, 0.34)
    _cuffs(k, 0.36, 0.8)


def _polo(k: Cloth) -> None:
    c = k.c
    _placket(k, 3.95, 4.85, 0.42)
    k.line(c.y - 3.95, c.front & (c.x < 0.14))
    _collar(k, 4.8, 0.22, 0.56)
    k.tone(band(1.15 - c.along, 0.2) * c.arm, 0.74)
    pique = np.sin(c.x * 60) * np.sin(c.y * 60)
    k.albedo = k.albedo * (1 + 0.05 * pique)[:, None]
    _hem(k, 0.45)


def _hoodie(k: Cloth) -> None:
    c = k.c
    torso = ~c.arm
    _cuffs(k, 0.42, 0.8)
    k.tone(band(c.y - 0.38, 0.4) * torso, 0.8)
    k.line(c.y - 0.78, torso)
    k.tone(band((5.95 - c.collar) * 0.88, 0.34) * torso * (c.y > 4.4), 0.84)
    k.line((5.95 - c.collar) * 0.88 - 0.34, torso & (c.y > 4.4), 0.5)
    hood = ~c.front & torso & (c.y > 4.2)
    k.line(np.hypot(c.x / 1.05, (c.y - 5.55) / 1.0) - 1, hood, 0.5)
    k.line(np.hypot(c.x / 0.6, (c.y - 5.6) / 0.55) - 1, hood, 0.6)
    chest = c.front & torso
    k.dye(seam(c.x, 0.045) * chest * (c.y < 5.1), METAL)
    k.line(c.x - 0.1, chest & (c.y < 5.1))
    cord = chest & (c.y < 5.05) & (c.y > 3.9)
    k.dye(seam(c.x - 0.3, 0.045) * cord, CREAM)
    pocket = chest & (c.y > 0.85) & (c.y < 2.0)
    k.line(c.x - (1.15 - 0.42 * np.clip(c.y - 1.1, 0, 1)), pocket, 0.55)
    k.line(c.y - 2.0, chest & (c.x < 0.78), 0.55)
    k.shine[:] = 0.02


def _tank_top(k: Cloth) -> None:
    k.tone(band(k.edge, 0.1) * (k.c.y > 3.5), 0.72)
    k.line(k.edge - 0.1, k.c.y > 3.5)
    k.shine[:] = 0.1


def _blouse(k: Cloth) -> None:
    c = k.c
    drape = np.sin(c.x * 11 + 0.6 * np.sin(c.y * 2)) * (c.front & ~c.arm)
    k.folds = k.folds + (1.1 * drape).astype(np.float32)
    _placket(k, 0.9, 4.5, 0.55, 0.1)
    loops = np.hypot((c.x - 0.42) / 0.36, (c.y - 4.52 - 0.25 * (c.x - 0.4)) / 0.2) - 1
    tails = np.abs(c.x - 0.16 - 0.1 * (4.5 - c.y)) - 0.13
    tie = c.front & ~c.arm
    bow = (
        (loops < 0) | ((tails < 0) & (c.y < 4.5) & (c.y > 3.55)) | (np.hypot(c.x, c.y - 4.5) < 0.16)
    )
    k.tone(band(loops, 0.5) * tie, 0.8)
    k.tone(bow & tie, 1.22)
    k.line(loops * 0.3, tie & (c.y > 4.1), 0.36)
    k.line(tails, tie & (c.y < 4.5) & (c.y > 3.55), 0.36)
    k.tone(band(k.edge, 0.13) * (c.y > 4.5) * ~c.arm, 1.1)
    _cuffs(k, 0.4, 1.06)
    k.shine[:] = 0.3


def _lapels(k: Cloth, gap: Array, low: float, widest: float, satin: bool) -> None:
    """Turned-back fronts from `low` to the neck, with a notch near the collar."""
    c = k.c
    run = np.clip((c.y - low) / (4.75 - low), 0, 1)
    width = widest * run**0.7
    width = np.where(
        c.y > 4.75, widest - 0.3 * smooth((c.y - 4.75) * 9) + (c.y - 4.9) * 0.08, width
    )
    outer = gap + width - c.x
    lapel = c.front & ~c.arm & (c.y > low) & (outer > 0)
    k.tone(lapel, 1.22)
    if satin:
        k.shine[lapel] = 0.55
    rim = c.front & ~c.arm & (c.y > low)
    k.tone(band(-outer, 0.08) * rim, 0.45)
    k.line(outer, rim, 0.5)
    k.line(c.y - 4.78 - 0.25 * (c.x - gap), rim & (outer > -0.02), 0.5)
    k.line(c.collar - 5.45, ~c.front & (c.x < 1.2) & ~c.arm, 0.55)


def _blazer(k: Cloth) -> None:
    from limner.atelier.clothes import front_gap

    c = k.c
    gap = front_gap("blazer", c)
    black = float(k.base.mean()) < 0.015
    _lapels(k, gap, 2.1, 0.62, satin=black)
    chest = c.front & ~c.arm
    k.dye(smooth((0.085 - np.hypot(c.x - 0.07, c.y - 1.85)) * 40) * chest, k.base * 0.3 + 0.03)
    k.line(c.x - gap - 0.02, chest & (c.y < 2.1))
    k.line(c.y - 0.75, chest & (c.x > 0.75) & (c.x < 1.45))
    k.line(c.y - 3.75 - 0.1 * c.x, chest & (c.x > 0.85) & (c.x < 1.3) & (c.side > 0))
    _cuffs(k, 0.06, 0.9)


def _jacket(k: Cloth) -> None:
    from limner.atelier.clothes import front_gap

    c = k.c
    chest = c.front & ~c.arm
    gap = front_gap("jacket", c)
    leather, denim = float(k.base.mean()) < 0.015, k.base[2] > 0.4 and k.base[0] < 0.2
    k.dye(band(c.x - gap, 0.06) * chest, METAL if not denim else k.base * 0.6)
    flap = c.front & ~c.arm & (c.y > 4.35)
    outer = gap + 0.62 - 0.5 * np.clip(4.75 - c.y, 0, 1) - c.x
    k.tone(flap & (outer > 0), 1.25)
    k.tone(band(-outer, 0.08) * flap, 0.5)
    k.line(outer, flap, 0.5)
    k.line(c.collar - 5.45, ~c.front & (c.x < 1.2) & ~c.arm)
    k.line(c.y - 3.3, chest & (c.x > 0.6) & (c.x < 1.35))
    k.line(c.y - 3.62, chest & (c.x > 0.6) & (c.x < 1.35))
    k.line(c.x - 1.35, chest & (c.y > 2.6) & (c.y < 3.62))
    k.line(c.x - 0.6, chest & (c.y > 2.6) & (c.y < 3.62))
    k.line(c.y - 2.6, chest & (c.x > 0.6) & (c.x < 1.35))
    k.tone(band(c.y - 0.55, 0.34) * ~c.arm, 0.82)
    k.line(c.y - 0.89, ~c.arm)
    _cuffs(k, 0.32, 0.86)
    if leather:
        k.shine[:] = 0.5
        k.bump = k.bump * 1.8
        k.line(c.y - 1.3 - 0.5 * c.x, chest & (c.x > 0.7) & (c.x < 1.3))
    if denim:
        for mark in (c.x - gap - 0.2, c.y - 3.55, c.y - 0.82):
            k.dye(0.7 * seam(mark, 0.03) * chest, STITCH)


def _coat(k: Cloth) -> None:
    from limner.atelier.clothes import front_gap

    c = k.c
    gap = front_gap("coat", c)
    _lapels(k, gap, 1.9, 0.78, satin=False)
    chest = c.front & ~c.arm
    k.line(c.x - gap - 0.05, chest & (c.y < 1.9))
    for height in (1.4, 0.55, -0.4):
        k.dye(smooth((0.1 - np.hypot(c.x - gap - 0.22, c.y - height)) * 30) * chest, LEATHER_BROWN)
    k.line(c.y - 0.1 - 0.2 * c.x, chest & (c.x > 1.0) & (c.x < 1.7))
    _cuffs(k, 0.4, 0.88)
    k.shine[:] = 0.02


def _sleeveless_dress(k: Cloth) -> None:
    c = k.c
    k.line(c.y - 1.5, ~c.arm, 0.6)
    k.line(k.edge - 0.08, c.y > 3.0, 0.7)
    k.line(c.x - 0.8 - 0.06 * np.abs(c.y - 2.2), c.front & (c.y > 1.4) & (c.y < 3.9), 0.75)
    k.shine[:] = 0.42


def _short_sleeve_dress(k: Cloth) -> None:
    c = k.c
    pleat = np.sin(np.arctan2(c.x, c.z - 0.15) * 15) * (c.y < 1.2) * ~c.arm
    k.folds = k.folds + (1.8 * pleat * smooth((1.3 - c.y) * 0.6)).astype(np.float32)
    k.tone(band(c.y - 1.15, 0.3) * ~c.arm, 0.7)
    k.line(k.edge - 0.09, c.y > 3.0, 0.7)
    k.line(c.y + 3.3, ~c.arm, 0.75)
    _placket(k, 1.5, 4.6, 0.5, 0.1)


def _gown(k: Cloth) -> None:
    c = k.c
    fall = np.sin(np.arctan2(c.x, c.z - 0.15) * 11 + 0.3 * c.y) * (c.y < 1.0) * ~c.arm
    k.folds = k.folds + (2.6 * fall * smooth((1.2 - c.y) * 0.4)).astype(np.float32)
    k.tone(band(c.y - 1.25, 0.26) * ~c.arm, 1.5)
    k.line(k.edge - 0.08, c.y > 3.0)
    k.line(c.x - 0.16 * np.clip(4.3 - c.y, 0, 3), c.front & (c.y > 1.5) & (c.y < 4.3))
    k.shine[:] = 0.16


def _waist(k: Cloth, belt: bool) -> None:
    c = k.c
    if belt:
        strap = band(1.1 - c.y, 0.2) * ~c.arm
        k.dye(strap, LEATHER_BROWN if float(k.base.mean()) > 0.05 else (0.012, 0.012, 0.014))
        k.dye(strap * (c.x < 0.15) * c.front, METAL)
    k.line(c.x, c.front & (c.y < 0.88) & (c.y > 0.05), 0.7)
    k.line(c.x - 0.85 - 0.6 * (0.85 - c.y), c.front & (c.y < 0.85) & (c.y > 0.2), 0.7)


def _trousers(k: Cloth) -> None:
    c = k.c
    _waist(k, belt=True)
    denim = k.base[2] > 2.5 * k.base[0] and k.base[2] > 0.2
    if denim:
        k.dye(
            0.8 * seam(c.x - 0.9 - 0.6 * (0.85 - c.y)) * c.front * (c.y < 0.85) * (c.y > 0.2),
            STITCH,
        )
        k.dye(0.6 * seam(c.y + 7.45, 0.025), STITCH)
        pocket = ~c.front & (c.y > -0.6) & (c.y < 0.5) & (np.abs(c.x - 0.85) < 0.42)
        k.dye(0.6 * seam(np.abs(c.x - 0.85) - 0.4, 0.025) * pocket, STITCH)
    else:
        centre = 1.1 + 0.115 * np.clip(0.5 - c.y, 0, 9)
        k.line(c.x - centre, (c.z > 0.35) & (c.y < -0.6), 0.78)


def _shorts(k: Cloth) -> None:
    c = k.c
    _waist(k, belt=False)
    k.tone(band(1.12 - c.y, 0.2) * ~c.arm, 0.8)
    k.line(c.y + 2.28, ~c.arm, 0.7)


def _leggings(k: Cloth) -> None:
    k.line(k.c.y - 0.75, ~k.c.arm)
    k.shine[:] = 0.16
    k.folds = k.folds * 0.4


def _skirt(k: Cloth) -> None:
    c = k.c
    k.tone(band(1.25 - c.y, 0.26) * ~c.arm, 0.75)
    k.line(c.y - 0.99, ~c.arm)
    k.line(c.y + 2.75, ~c.arm)


def _shoe(
    upper: Callable[[Cloth], None], sole: tuple[float, float, float]
) -> Callable[[Cloth], None]:
    def paint_shoe(k: Cloth) -> None:
        upper(k)
        k.dye(smooth((-7.98 - k.c.y) * 14), sole)

    return paint_shoe


def _sneaker(k: Cloth) -> None:
    c = k.c
    tongue = (np.abs(c.x - 2.2) < 0.2) & (c.z > 0.2) & (c.z < 1.1) & (c.y > -7.95)
    k.line((c.z * 6) % 1 - 0.5, tongue, 0.5)
    k.tone((c.z > 1.35) & (c.y < -7.7), 0.86)
    k.tone((c.z < -0.15) & (c.y < -7.7), 0.8)


def _oxford(k: Cloth) -> None:
    k.shine[:] = 0.4
    k.line(k.c.z - 1.3, k.c.y < -7.7)


def _pump(k: Cloth) -> None:
    k.shine[:] = 0.4


PAINTERS: dict[str, Callable[[Cloth], None]] = {
    "tshirt": _tshirt,
    "striped_tshirt": _striped_tshirt,
    "sweater": _sweater,
    "turtleneck": _turtleneck,
    "shirt": _shirt,
    "plaid_shirt": _plaid_shirt,
    "polo": _polo,
    "hoodie": _hoodie,
    "tank_top": _tank_top,
    "blouse": _blouse,
    "blazer": _blazer,
    "jacket": _jacket,
    "coat": _coat,
    "sleeveless_dress": _sleeveless_dress,
    "short_sleeve_dress": _short_sleeve_dress,
    "gown": _gown,
    "trousers": _trousers,
    "shorts": _shorts,
    "leggings": _leggings,
    "skirt": _skirt,
    "sneakers": _shoe(_sneaker, (0.72, 0.72, 0.7)),
    "oxfords": _shoe(_oxford, (0.012, 0.011, 0.01)),
    "pumps": _shoe(_pump, (0.03, 0.02, 0.02)),
}
