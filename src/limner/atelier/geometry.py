"""What stands before the camera: body, eyes, teeth, clothes and strands, ready to rasterise.

In: a posed figure and the cut of its outfit. Out: `Parts`, which draw themselves into a z-buffer
from the camera's or the light's point of view and know which part a primitive belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from limner.atelier import clothes, mesh, raster
from limner.atelier.field import Field
from limner.atelier.mesh import F32, I32, I64, Bool
from limner.lexicon import Outfit

LABELS = (
    "background", "face", "skin", "eyes", "mouth", "brows", "lashes", "hair", "beard",
    "top", "bottom", "dress", "over", "shoes",
)  # fmt: skip
"""Names of the mask's part ids, in order."""

CLEARANCE = 0.02
"""dm that cloth lies over the skin before its own looseness is added."""
TUCK, SHOE_TOP = 0.05, -7.0
"""dm that covered skin is drawn in; feet are left out, whose toes would turn inside out."""

Project = Callable[[F32], F32]


@dataclass(frozen=True)
class Solid:
    """Triangles of one surface. `rows`: those drawn; `mixed`: per triangle, ask `covers` per
    pixel.
    """

    name: str
    label: str
    points: F32
    triangles: I32
    rows: I64 | None = None
    mixed: Bool | None = None
    covers: Callable[[F32], Bool] | None = None
    two_sided: bool = False


@dataclass(frozen=True)
class Tuft:
    """Strands (S,K,3) of one kind with thickness (S,) in dm; `shade` (S,) darkens them."""

    name: str
    label: str
    points: F32
    thickness: F32
    shade: F32
    bias: float = 0.0


@dataclass(frozen=True)
class Parts:
    """Everything to draw, in order; primitive numbers run through all parts."""

    solids: tuple[Solid, ...]
    tufts: tuple[Tuft, ...]

    def draw(
        self, project: Project, size: int, scale: float, share: float = 1.0
    ) -> tuple[I64, list[F32]]:
        """Rasterise into a new buffer of size x size; also returns the projected points per part.

        scale: pixels a dm (for strand widths). share: only this share of the strands, made thicker,
        which is enough for a shadow map.
        """
        buffer = raster.new_buffer(size, size)
        first, projected = 0, []
        seen: dict[int, F32] = {}
        for solid in self.solids:
            screen = seen.get(id(solid.points))
            if screen is None:
                screen = seen[id(solid.points)] = project(solid.points)
            raster.triangles(
                screen, solid.triangles, first, buffer, (size, size),
                rows=solid.rows, two_sided=solid.two_sided, keep=_keep(solid), mixed=solid.mixed,
            )  # fmt: skip
            projected.append(screen)
            first += len(solid.triangles)
        for tuft in self.tufts:
            n = max(1, int(len(tuft.points) * (share if tuft.name == "hair" else 1.0)))
            screen = project(tuft.points[:n])
            steps = tuft.points.shape[1] - 1
            taper = np.minimum(1.0, (1 - np.arange(steps) / steps) * 3 + 0.2).astype(np.float32)
            grow = np.float32(scale / np.sqrt(share) if tuft.name == "hair" else scale)
            width = tuft.thickness[:n, None] * grow * taper
            raster.strands(screen, width, first, buffer, (size, size), tuft.bias)
            projected.append(screen)
            first += len(tuft.points) * steps
        return buffer, projected

    def ranges(self) -> list[tuple[int, int]]:
        """First and past-last primitive number of every part, solids then tufts."""
        counts = [len(s.triangles) for s in self.solids]
        counts += [len(t.points) * (t.points.shape[1] - 1) for t in self.tufts]
        ends = np.cumsum(counts)
        return [(int(e - c), int(e)) for e, c in zip(ends, counts, strict=True)]


def _keep(solid: Solid) -> raster.Keep | None:
    covers = solid.covers
    if covers is None:
        return None

    def keep(row: I64, weights: F32) -> Bool:
        corners = mesh.cut_coordinates()[solid.triangles[row]]
        return covers(np.einsum("nkc,nk->nc", corners, weights).astype(np.float32))

    return keep


def shape_key(outfit: Outfit) -> tuple[tuple[object, ...], ...]:
    """Outfits with equal keys differ only in colour: their geometry can be shared."""
    return tuple((*p.shape_key, p.shape.loose) for p in clothes.cut(outfit).layers())


def _samples(triangles: I32) -> F32:
    """Seven points (T,7,3) of every triangle: corners, middles of the sides, centroid."""
    p = mesh.cut_coordinates()[triangles]
    middles = (p + p[:, [1, 2, 0]]) / 2
    return np.concatenate([p, middles, p.mean(1, keepdims=True)], 1).astype(np.float32)


def _classify(triangles: I32, covers: Callable[[F32], Bool]) -> tuple[I64, Bool]:
    """Rows at least partly covered, and which triangles must be asked pixel by pixel."""
    samples = _samples(triangles)
    inside = covers(samples.reshape(-1, 3)).reshape(samples.shape[:2])
    some, every = inside.any(1), inside.all(1)
    return np.nonzero(some)[0].astype(np.int64), np.asarray(some & ~every)


@dataclass(frozen=True)
class Wardrobe:
    """What of body and clothes is drawn for one outfit shape; depends on no person."""

    body_rows: I64
    body_mixed: Bool
    pieces: tuple[tuple[clothes.Piece, I64, Bool, F32], ...]
    cut: clothes.Cut
    tuck: F32


_wardrobes: dict[object, Wardrobe] = {}


def wardrobe(outfit: Outfit) -> Wardrobe:
    """The (cached) classification of all triangles for an outfit's shape."""
    key = shape_key(outfit)
    if key not in _wardrobes:
        cut = clothes.cut(outfit)
        body = mesh.surface("body").triangles
        shown = _classify(body, lambda c: ~np.asarray(cut.skin_hidden(c), bool))
        pieces = []
        for piece in cut.layers():
            surface = mesh.surface(piece.surface)
            rows, mixed = _classify(surface.triangles, piece.covers)
            offset = np.zeros(len(mesh.rest()), np.float32)
            offset[surface.vertices] = piece.offset(mesh.cut_coordinates()[surface.vertices])
            pieces.append((piece, rows, mixed, offset))
        _wardrobes[key] = Wardrobe(*shown, tuple(pieces), cut, _tuck(cut))
    return _wardrobes[key]


def _tuck(cut: clothes.Cut) -> F32:
    """How far (N,) dm skin is drawn in under cloth, so that it cannot come through near an edge."""
    tuck = np.zeros(len(mesh.rest()), np.float32)
    body = mesh.surface("body").vertices
    body = body[mesh.rest()[body, 1] > SHOE_TOP]
    for piece in cut.layers():
        if piece.surface == "tights":
            deep = np.clip(piece.inside(mesh.rest()[body]) / 0.08, 0, 1)
            tuck[body] = np.maximum(tuck[body], TUCK * deep)
    return tuck


@lru_cache(maxsize=1)
def face_triangles() -> Bool:
    """Which body triangles belong to the face (for the mask)."""
    from limner.atelier.camera import face_vertices

    chosen = np.zeros(len(mesh.rest()), bool)
    chosen[face_vertices()] = True
    return np.asarray(chosen[mesh.surface("body").triangles].all(1))


def room_under_cloth(shaped: F32, field: Field) -> F32:
    """Extra offset (N,) dm for cloth vertices that lie too near this person's skin, or within
    it.
    """
    extra = np.zeros(len(shaped), np.float32)
    for name in ("tights", "skirt"):
        rows = mesh.surface(name).vertices
        rows = rows[shaped[rows, 1] > field.origin[1] + 0.3]
        extra[rows] = np.clip(CLEARANCE - field.height(shaped[rows]), 0, 0.12)
    return extra


def dressed(points: F32, normals: F32, outfit: Outfit, extra: F32) -> tuple[Solid, ...]:
    """Body, eyes, mouth and clothes of a posed figure; normals (N,3) of its body and cloth meshes.

    `extra`: see `room_under_cloth`.
    """
    closet = wardrobe(outfit)
    hidden = closet.cut.skin_hidden
    tucked = points - normals * closet.tuck[:, None]
    solids = [
        Solid(
            "body", "skin", tucked, mesh.surface("body").triangles, closet.body_rows,
            closet.body_mixed, lambda c: ~np.asarray(hidden(c), bool),
        ),
        Solid("eyes", "eyes", points, mesh.surface("eyes").triangles),
        Solid("teeth", "mouth", points, mesh.surface("teeth").triangles, two_sided=True),
        Solid("tongue", "mouth", points, mesh.surface("tongue").triangles, two_sided=True),
    ]  # fmt: skip
    for number, (piece, rows, mixed, offset) in enumerate(closet.pieces):
        stood_off = points + normals * (offset + extra)[:, None]
        mesh.close_rim(stood_off)
        solids.append(
            Solid(
                f"cloth{number}", piece.label, stood_off,
                mesh.surface(piece.surface).triangles, rows, mixed, piece.covers, True,
            )
        )  # fmt: skip
    return tuple(solids)
