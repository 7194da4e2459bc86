"""Skin painted once a character, in UV space, from canonical coordinates.

In: an identity and a texture size. Out: linear albedo, gloss and lip masks. Because the paint
follows canonical anatomy, freckles and lips stay where they are under every face shape and pose.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from limner.atelier import mesh, raster
from limner.atelier.identity import Identity, generator
from limner.atelier.mesh import F32, I64

TONES: dict[str, tuple[float, float, float]] = {
    "fair": (0.78, 0.515, 0.385),
    "medium": (0.62, 0.385, 0.265),
    "tan": (0.46, 0.275, 0.175),
    "brown": (0.265, 0.145, 0.088),
    "dark": (0.105, 0.058, 0.038),
}
"""Skin trait -> linear albedo. Spaced so that the five stay apart under every light."""

HAIR: dict[str, tuple[float, float, float]] = {
    "black": (0.014, 0.012, 0.013),
    "dark_brown": (0.05, 0.028, 0.017),
    "brown": (0.15, 0.078, 0.038),
    "auburn": (0.30, 0.085, 0.028),
    "blonde": (0.56, 0.38, 0.17),
    "grey": (0.36, 0.36, 0.37),
}
"""Hair trait -> linear albedo of a strand."""

IRIS: dict[str, tuple[float, float, float]] = {
    "brown": (0.20, 0.09, 0.035),
    "dark": (0.045, 0.024, 0.016),
    "blue": (0.11, 0.25, 0.46),
    "green": (0.13, 0.26, 0.10),
    "grey": (0.27, 0.31, 0.33),
}
"""Eye trait -> linear albedo of the iris."""


@dataclass(frozen=True)
class Skin:
    """The atlas: albedo (1.5n,n,3) linear; gloss 0..1 (lips, nose) and relief (pores), both
    (1.5n,n).
    """

    albedo: F32
    gloss: F32
    relief: F32


def noise(
    n: int, octaves: list[tuple[int, float]], rng: np.random.Generator, rows: int | None = None
) -> F32:
    """Smooth noise (rows or n, n) about 0: octaves are (cells across, weight)."""
    rows = rows or n
    total = np.zeros((rows, n), np.float32)
    for cells, weight in octaves:
        if cells > n:
            continue
        grid = Image.fromarray(rng.random((cells, cells), np.float32))
        total += weight * (np.asarray(grid.resize((n, rows), Image.Resampling.BICUBIC)) - 0.5)
    return total


# The mesh's own layout gives the face a tenth of the picture. The atlas is 1.5 times as high as
# wide:
# above, the head's window of the layout at full width; below, the whole layout at half height.
_WINDOW = (0.625, 0.165, 1.0, 0.875)
ATLAS = 1.5
"""Height of the atlas over its width."""


@cache
def _head_island() -> mesh.Bool:
    """Which UV numbers belong to the island of the head: labels spread over shared triangles."""
    surface = mesh.surface("body")
    corners = surface.uv_triangles
    label = np.arange(len(mesh.texture_coordinates()), dtype=np.int32)
    while True:
        lowest = label[corners].min(1)
        before = label.copy()
        for k in range(3):
            np.minimum.at(label, corners[:, k], lowest)
        label = label[label]
        if np.array_equal(label, before):
            break
    crown = int(mesh.rest()[surface.triangles[:, 0], 1].argmax())
    return np.asarray(label == label[corners[crown, 0]])


@cache
def atlas_coordinates() -> F32:
    """Column and row (M,2) of every UV number, as shares of the atlas's width, row downward."""
    uv = mesh.texture_coordinates()
    u, v = uv[:, 0], 1 - uv[:, 1]
    left, top, right, bottom = _WINDOW
    head = _head_island()
    column = np.where(head, (u - left) / (right - left), u)
    row = np.where(head, (v - top) / (bottom - top), 1 + v / 2)
    return np.stack([column, row], 1).astype(np.float32)


@cache
def _canonical(n: int) -> tuple[F32, I64]:
    """Rest coordinates of every painted texel (k,3) and the texels' flat numbers (k,)."""
    surface = mesh.surface("body")
    at = atlas_coordinates() * np.float32(n)
    screen = np.concatenate([at, np.ones((len(at), 1), np.float32)], 1)
    size = (int(n * ATLAS), n)
    buffer = raster.new_buffer(*size)
    raster.triangles(screen, surface.uv_triangles, 0, buffer, size, two_sided=True)
    texel = np.nonzero(buffer != raster.EMPTY)[0]
    row = raster.primitive(buffer[texel])
    weights = raster.barycentric(screen, surface.uv_triangles[row], texel, n)
    corners = mesh.rest()[surface.triangles[row]]
    return np.einsum("tkc,tk->tc", corners, weights).astype(np.float32), texel


@cache
def _rim(n: int) -> tuple[I64, I64]:
    """Unpainted texels within four of the paint, and the painted texel each of them copies."""
    size = (int(n * ATLAS), n)
    source = np.full(size, -1, np.int64)
    texel = _canonical(n)[1]
    source.ravel()[texel] = texel
    for _ in range(4):
        before = source.copy()
        for axis, way in ((0, 1), (0, -1), (1, 1), (1, -1)):
            empty = source < 0
            source[empty] = np.roll(before, way, axis)[empty]
    grown = np.nonzero(source.ravel() >= 0)[0]
    rim = grown[source.ravel()[grown] != grown]
    return rim, source.ravel()[rim]


@cache
def _mask(name: str, n: int) -> F32:
    """A UV mask of the bundle in the atlas, flattened, 0..1, slightly blurred so that edges are
    soft.
    """
    image = Image.open(BytesIO(mesh.read_data(f"mpfb_{name}.jpg"))).convert("L")
    image = image.filter(ImageFilter.GaussianBlur(image.width / 680))
    wide, high = image.size
    left, top, right, bottom = _WINDOW
    window = (left * wide, top * high, right * wide, bottom * high)
    head = image.resize((n, n), Image.Resampling.BILINEAR, box=window)
    body = image.resize((n, int(n * ATLAS) - n), Image.Resampling.BILINEAR)
    both = np.concatenate([np.asarray(part, np.float32).ravel() for part in (head, body)])
    return np.asarray(both / 255, dtype=np.float32)


def scalp(canonical: F32) -> F32:
    """How much of the scalp (0..1) a canonical point (n,3) is: the hairline as a height over
    depth.
    """
    x, y, z = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    line = np.interp(
        z,
        [-0.5, -0.2, 0.1, 0.35, 0.42, 0.62, 0.70, 0.86, 1.0, 1.2, 1.5],
        [6.5, 6.55, 6.75, 7.1, 7.42, 7.42, 7.15, 7.5, 7.78, 7.96, 8.02],
    )
    line = line - 0.05 * np.clip(x - 0.3, 0, 1) * (z > 1.1)
    inside = np.clip((y - line) * 9 + 0.5, 0, 1)
    return np.asarray(inside * ((x < 0.80) | (y > 7.4)) * (y > 6.3), dtype=np.float32)


def beard(canonical: F32) -> F32:
    """How bearded (0..1) a canonical point (n,3) is: jaw, chin and moustache, cheeks left free."""
    x, y, z = np.abs(canonical[:, 0]), canonical[:, 1], canonical[:, 2]
    high = np.interp(x, [0, 0.26, 0.34, 0.55, 0.75], [6.90, 6.86, 6.70, 6.78, 7.0])
    grown = (
        np.clip((high - y) * 9, 0, 1)
        * np.clip((y - 5.98) * 6, 0, 1)
        * np.clip((z - 0.35) * 4, 0, 1)
    )
    return np.asarray(grown * (x < 0.86), dtype=np.float32)


def paint(identity: Identity, n: int) -> Skin:
    """Paint the skin of a person at 1.5n x n texels (n 512 for drawings up to 256 px, else
    1024).
    """
    points, texel = _canonical(n)
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    rng = generator(identity.seed, "skin")
    tone = np.array(TONES[identity.skin], np.float32) * np.float32(rng.uniform(0.94, 1.06))
    rows = int(n * ATLAS)
    blotch = noise(n, [(12, 0.5), (40, 0.35), (110, 0.3)], rng, rows).ravel()[texel]
    grain = generator(identity.seed, "pores")
    pores = noise(n, [(n // 2, 0.6), (n, 0.6)], grain, rows).ravel()[texel]
    paint_ = np.broadcast_to(tone, points.shape) * (1 + 0.09 * blotch + 0.05 * pores)[:, None]
    lips = np.clip(_mask("lips", n)[texel] * 1.25, 0, 1)

    def spot(cx: float, cy: float, sx: float, sy: float) -> F32:
        near = np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2) * (z > 0.7)
        return np.asarray(near, dtype=np.float32)

    def mix(mask: F32, colour: F32, share: float) -> None:
        nonlocal paint_
        k = (mask * np.float32(share))[:, None]
        paint_ = paint_ * (1 - k) + k * colour

    warm = np.array([1.06, 0.80, 0.77], np.float32)
    flush = (
        spot(0.42, 6.98, 0.22, 0.22)
        + 0.6 * spot(0, 6.9, 0.16, 0.14)
        + 0.3 * spot(0, 6.2, 0.25, 0.15)
    )
    mix(np.clip(flush, 0, 1), paint_ * warm, 0.6)
    mix(_mask("ears", n)[texel], paint_ * warm, 0.45)
    mix(spot(0.3, 7.12, 0.2, 0.07), paint_ * np.float32(0.82), 0.3 + 0.006 * (identity.age - 22))
    mix(spot(0.32, 7.40, 0.22, 0.07), paint_ * np.array([0.86, 0.78, 0.76], np.float32), 0.4)
    _age_lines(identity, points, mix, paint_)
    mix(lips, _lip_colour(identity, tone) * (1 + 0.2 * pores)[:, None], 0.82)
    mix(_mask("inside-mouth", n)[texel], np.array([0.10, 0.022, 0.02], np.float32), 0.96)
    mix(_mask("fingernails", n)[texel], tone * np.array([1.1, 0.95, 0.95], np.float32), 0.6)
    if identity.marks == "freckles":
        mix(_freckles(identity, points), paint_ * np.array([0.60, 0.46, 0.36], np.float32), 0.85)
    strand = np.array(HAIR[identity.hair_color], np.float32)
    if identity.marks == "beard":
        fuzz = np.clip(0.85 + 1.6 * pores, 0.3, 1)
        mix(beard(points) * (1 - lips) * fuzz, strand * 0.8 + tone * 0.15, 0.9)
    root = strand * 0.6 + tone * (0.13 if identity.hair_style == "crop" else 0.02)
    mix(scalp(points), root, 1.0)
    return _pack(paint_, lips, pores * 0.5 + blotch * 0.2, texel, n, spot(0, 6.98, 0.14, 0.22))


def _pack(paint_: F32, lips: F32, relief: F32, texel: I64, n: int, nose: F32) -> Skin:
    """Scatter texels into images; a rim of unpainted ones copies its neighbours, so no seam
    shows.
    """
    size = (int(n * ATLAS), n)
    albedo = np.zeros((size[0] * n, 3), np.float32)
    albedo[texel] = np.clip(paint_, 0.002, 0.95)
    gloss, bumps = np.zeros(len(albedo), np.float32), np.zeros(len(albedo), np.float32)
    gloss[texel], bumps[texel] = np.clip(lips + 0.3 * nose, 0, 1), relief
    rim, source = _rim(n)
    albedo[rim], gloss[rim], bumps[rim] = albedo[source], gloss[source], bumps[source]
    return Skin(albedo.reshape(*size, 3), gloss.reshape(size), bumps.reshape(size))


def _lip_colour(identity: Identity, tone: F32) -> F32:
    natural = tone * np.array([0.90, 0.50, 0.50], np.float32) + np.float32(0.012)
    made_up = np.array([0.46, 0.09, 0.11], np.float32) * (0.12 + 0.88 * tone[0] / 0.76)
    share = (
        float(generator(identity.seed, "lips").uniform(0.15, 0.75))
        if identity.sex == "female"
        else 0.08
    )
    return np.asarray(natural * (1 - share) + made_up * share, dtype=np.float32)


def fuzz(identity: Identity) -> F32:
    """Colour (3,) of brows and beard: darker than fair hair, never paler than the skin allows."""
    hair = np.array(HAIR[identity.hair_color], np.float32)
    most = 0.16 if identity.hair_color == "grey" else 0.13
    dark = hair * min(1.0, most / float(hair.max()))
    skin_limit = 0.30 * float(TONES[identity.skin][0])
    return np.asarray(dark * min(1.0, max(skin_limit, 0.03) / float(dark.max())), dtype=np.float32)


def _age_lines(identity: Identity, points: F32, mix: object, paint_: F32) -> None:
    """Crow's feet, nose-to-mouth folds and forehead lines from the middle forties on."""
    strength = float(np.clip((identity.age - 36) / 26, 0, 1))
    if strength == 0 or not callable(mix):
        return
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    front = z > 0.9
    fold = (
        np.exp(-(((x - (0.24 + (6.95 - y) * 0.28)) / 0.022) ** 2)) * (y > 6.6) * (y < 6.95) * front
    )
    wave = 0.012 * np.sin(x * 9)
    brow = (
        sum(np.exp(-(((y - h - wave) / 0.014) ** 2)) for h in (7.66, 7.74, 7.82))
        * (x < 0.42)
        * front
    )
    feet = sum(
        np.exp(-(((y - 7.24 - (x - 0.52) * s) / 0.012) ** 2)) * (x > 0.50) * (x < 0.64)
        for s in (-0.5, 0, 0.5)
    )
    lines = np.asarray(np.clip(fold + 0.6 * brow + 0.7 * feet * front, 0, 1), dtype=np.float32)
    mix(lines, paint_ * np.array([0.72, 0.62, 0.60], np.float32), 0.75 * strength)


def _freckles(identity: Identity, points: F32) -> F32:
    """Small separate spots over nose and cheeks; fainter on deep skin, where real ones are too."""
    rng = generator(identity.seed, "freckles")
    count = int(rng.integers(150, 230))
    cx = np.clip(rng.normal(0, 0.27, count), -0.52, 0.52)
    cy = 7.0 + rng.normal(0, 0.13, count) - 0.1 * np.abs(cx)
    radius = rng.uniform(0.011, 0.023, count)
    strength = rng.uniform(0.45, 1.0, count)
    mask = np.zeros(len(points), np.float32)
    face = np.nonzero((points[:, 2] > 0.75) & (np.abs(points[:, 1] - 6.98) < 0.55))[0]
    px, py = points[face, 0], points[face, 1]
    best = np.zeros(len(face), np.float32)
    for k in range(count):
        near = np.nonzero((np.abs(px - cx[k]) < 0.06) & (np.abs(py - cy[k]) < 0.06))[0]
        away = ((px[near] - cx[k]) ** 2 + (py[near] - cy[k]) ** 2) / radius[k] ** 2
        best[near] = np.maximum(best[near], strength[k] * np.exp(-away))
    mask[face] = best + 0.10 * np.exp(-((px / 0.45) ** 2) - ((py - 7.0) / 0.18) ** 2)
    fade = {"fair": 1.0, "medium": 0.95, "tan": 0.85, "brown": 0.75, "dark": 0.65}[identity.skin]
    return np.asarray(np.clip(mask, 0, 1) * np.float32(fade), dtype=np.float32)


def lip_mask(corners: mesh.I32, weights: F32) -> F32:
    """How much of the lips (0..1) surface points bound to body triangles are."""
    values = _vertex_lips()[corners]
    return np.asarray((values * weights).sum(1), dtype=np.float32)


@cache
def _vertex_lips() -> F32:
    """The lip mask at every mesh vertex (N,)."""
    n = 512
    at = atlas_coordinates() * n
    values = _mask("lips", n).reshape(int(n * ATLAS), n)
    column = at[:, 0].astype(int).clip(0, n - 1)
    row = at[:, 1].astype(int).clip(0, int(n * ATLAS) - 1)
    surface = mesh.surface("body")
    result = np.zeros(len(mesh.rest()), np.float32)
    result[surface.triangles] = values[row, column][surface.uv_triangles]
    return result


@cache
def mouth_corners() -> tuple[int, int]:
    """Vertices at the corners of the mouth: (figure's right, figure's left)."""
    lips = np.nonzero(_vertex_lips() > 0.5)[0]
    x = mesh.rest()[lips, 0]
    return int(lips[x.argmin()]), int(lips[x.argmax()])
