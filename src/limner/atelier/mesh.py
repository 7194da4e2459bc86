"""The base mesh: vertices, surfaces, targets, skin weights and joints of the CC0 bundle.

In: data/bundle.npz (about 1.7 m tall figure in an A pose; unit decimetre, x to the figure's left,
y up, z to the front). Out: cached, read-only arrays; everything is addressed by group or target
name, never by vertex number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]

SURFACES: dict[str, tuple[str, ...]] = {
    "body": ("body",),
    "eyes": ("helper-l-eye", "helper-r-eye"),
    "teeth": ("helper-upper-teeth", "helper-lower-teeth"),
    "tongue": ("helper-tongue",),
    "tights": ("helper-tights",),
    "skirt": ("helper-skirt",),
}
"""Surface name -> mesh groups. "tights" hugs the body, "skirt" hangs from the waist to the
floor.
"""

HEAD_ONLY = (
    "helper-l-eye",
    "helper-r-eye",
    "helper-tongue",
    "helper-upper-teeth",
    "helper-lower-teeth",
    "helper-l-eyelashes-1",
    "helper-r-eyelashes-1",
    "helper-l-eyelashes-2",
    "helper-r-eyelashes-2",
)
"""Groups that move with the head bone alone, whatever their stored weights say."""

REFINE_ABOVE = 4.2
"""Rest height (dm) above which the tights are refined."""
INFLUENCES = 4
"""Bones kept a vertex; the stored weights have at most five and the fifth is negligible."""


@dataclass(frozen=True)
class Surface:
    """Triangles (T,3) of vertex numbers, the same triangles in UV numbers, and the vertices
    used.
    """

    name: str
    triangles: I32
    uv_triangles: I32
    vertices: I32


def read_data(name: str) -> bytes:
    """A file of the package's data folder as bytes."""
    return (resources.files(__package__) / "data" / name).read_bytes()


@cache
def _bundle() -> dict[str, npt.NDArray[Any]]:
    with np.load(BytesIO(read_data("bundle.npz")), allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


@cache
def rest() -> F32:
    """Rest vertices (N,3) in dm: the canonical coordinates that clothes and skin are painted in.

    The bundle's vertices come first, then those that `refine` adds round neck and shoulders.
    """
    stored = _bundle()["V"].astype(np.float32)
    vertices = np.concatenate([stored, np.zeros((len(_split_edges()[0]), 3), np.float32)])
    refine(vertices)
    vertices.setflags(write=False)
    return vertices


@cache
def texture_coordinates() -> F32:
    """UV coordinates (M,2), v upward."""
    return _bundle()["VT"].astype(np.float32)


@cache
def _face_groups() -> npt.NDArray[np.str_]:
    bundle = _bundle()
    return np.asarray(bundle["Gn"][bundle["G"]])


def quads(*groups: str) -> I32:
    """Quads (Q,4) of the named groups."""
    return np.asarray(_bundle()["F"][np.isin(_face_groups(), groups)].astype(np.int32))


@cache
def group_vertices(name: str) -> I32:
    """Vertex numbers of a group; joint markers have no faces, so their stored ranges are used."""
    ranges = json.loads(str(_bundle()["GR"]))[name]
    return np.concatenate([np.arange(a, b + 1, dtype=np.int32) for a, b in ranges])


def _split(faces: npt.NDArray[Any]) -> I32:
    halves = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    return halves.astype(np.int32)


@cache
def surface(name: str) -> Surface:
    """A surface of `SURFACES` as triangles; "tights" are refined where necklines are cut."""
    if name == "tights":
        triangles = _split_edges()[2]
        return Surface(name, triangles, triangles, np.unique(triangles))
    return _stored_surface(name)


@cache
def _stored_surface(name: str) -> Surface:
    bundle = _bundle()
    chosen = np.isin(_face_groups(), SURFACES[name])
    triangles = _split(bundle["F"][chosen])
    return Surface(name, triangles, _split(bundle["FT"][chosen]), np.unique(triangles))


@cache
def _split_edges() -> tuple[I32, Bool, I32]:
    """Edges (E,2) of the tights to halve, whether the halving may bulge, and all new triangles.

    The stored tights are so coarse at the neck that a smooth neckline zigzags on them. Edges on the
    rim of the refined region stay straight, so that no gap opens to the coarse rest.
    """
    stored = _bundle()["V"]
    triangles = _stored_surface("tights").triangles
    middle = stored[triangles].mean(1)
    fine = (middle[:, 1] > REFINE_ABOVE) & (np.abs(middle[:, 0]) < 1.9)
    inner = triangles[fine]
    sides = np.sort(np.concatenate([inner[:, [0, 1]], inner[:, [1, 2]], inner[:, [2, 0]]]), 1)
    edges, which, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    ab, bc, ca = (len(stored) + which.reshape(3, -1)).astype(np.int32)
    a, b, c = inner.T
    new = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    quarters = [np.stack(corners, 1) for corners in new]
    every = np.concatenate([triangles[~fine], *quarters]).astype(np.int32)
    return edges.astype(np.int32), count > 1, every


@cache
def cut_coordinates() -> F32:
    """Rest coordinates (N,3) for cutting cloth: `rest`, but with the hollows of the throat ironed
    out.

    A neckline is a level curve over these; on the bare rest mesh it would follow every collarbone.
    """
    smooth = rest().copy()
    triangles = surface("tights").triangles
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    sides, seen = np.unique(np.sort(sides, 1), axis=0, return_counts=True)
    count = np.bincount(sides.ravel(), minlength=len(smooth)).astype(np.float32)
    share = np.clip((smooth[:, 1] - 4.9) / 0.4, 0, 1) * np.clip(
        (1.15 - np.abs(smooth[:, 0])) / 0.3, 0, 1
    )
    share[sides[seen == 1]] = 0
    normals = np.zeros_like(smooth)
    _smooth_normals(smooth, triangles, normals)
    for _ in range(14):
        total = np.zeros_like(smooth)
        np.add.at(total, sides[:, 0], smooth[sides[:, 1]])
        np.add.at(total, sides[:, 1], smooth[sides[:, 0]])
        mean = total / np.maximum(count, 1)[:, None]
        # Only in and out: sliding along the surface would make straps and lapels wavy.
        move = np.where(count > 0, share * np.float32(0.5) * dot(mean - smooth, normals), 0)
        smooth += move[:, None] * normals
    smooth.setflags(write=False)
    return smooth


def close_rim(points: F32) -> None:
    """Put the added vertices on the rim of the refined region exactly between their ends, in place.

    Posing and standing off move them a little otherwise, and specks of the layer below show.
    """
    edges, bulge, _ = _split_edges()
    rim = np.nonzero(~bulge)[0]
    points[len(points) - len(edges) + rim] = points[edges[rim]].mean(1)


def refine(vertices: F32) -> None:
    """Place the added vertices of a figure in place: edge middles, drawn onto the curved surface.

    Phong tessellation (Boubekeur and Alexa 2008) with their shape factor 3/4. Call it after
    targets.
    """
    edges, bulge, _ = _split_edges()
    normals = np.zeros_like(vertices)
    _smooth_normals(vertices, _stored_surface("tights").triangles, normals)
    a, b = vertices[edges[:, 0]], vertices[edges[:, 1]]
    middle = (a + b) / 2
    lift = np.zeros_like(middle)
    for end, corner in ((edges[:, 0], a), (edges[:, 1], b)):
        lift -= dot(middle - corner, normals[end])[:, None] * normals[end] / 2
    vertices[len(vertices) - len(edges) :] = middle + 0.75 * lift * bulge[:, None]


def _smooth_normals(vertices: F32, triangles: I32, out: F32) -> None:
    """Area-weighted normals by plain accumulation, for meshes used once a person."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    for k in range(3):
        np.add.at(out, triangles[:, k], faces)
    out[:] = unit(out)


@cache
def target(name: str) -> tuple[I32, F32]:
    """Vertex numbers and offsets (n,3) in dm of a morph target, for example
    "nose/nose-hump-incr".
    """
    key = "T_" + name.replace("/", "|")
    return _bundle()[key + "_i"].astype(np.int32), _bundle()[key + "_d"].astype(np.float32)


def add_target(vertices: F32, name: str, weight: float) -> None:
    """Add `weight` times a target to `vertices` in place; "*" in the name means both sides."""
    if abs(weight) < 1e-4:
        return
    for full in (name.replace("*", "l"), name.replace("*", "r")) if "*" in name else (name,):
        index, offset = target(full)
        vertices[index] += offset * np.float32(weight)


@cache
def bones() -> tuple[str, ...]:
    """Bone names (Mixamo style), in the order of `skin_weights`."""
    return tuple(sorted(k[2:-2] for k in _bundle() if k.startswith("W_") and k.endswith("_i")))


@cache
def skin_weights() -> tuple[I32, F32]:
    """Bones (N,4) and weights (N,4) of every vertex; weights sum to 1, head-only groups are
    rigid.
    """
    bundle, n = _bundle(), len(_bundle()["V"])
    dense = np.zeros((n, len(bones())), np.float32)
    for column, bone in enumerate(bones()):
        dense[bundle[f"W_{bone}_i"], column] = bundle[f"W_{bone}_w"]
    head = bones().index("Head")
    for group in HEAD_ONLY:
        dense[group_vertices(group)] = 0
        dense[group_vertices(group), head] = 1
    empty = dense.sum(1) < 1e-4
    dense[empty, bones().index("Hips")] = 1
    for name in ("tights", "skirt"):
        _even_sides(dense, _stored_surface(name).vertices)
    dense /= dense.sum(1, keepdims=True)
    dense = np.concatenate([dense, dense[_split_edges()[0]].mean(1)])
    index = np.argsort(-dense, axis=1, kind="stable")[:, :INFLUENCES]
    weight = np.take_along_axis(dense, index, 1)
    return index.astype(np.int32), (weight / weight.sum(1, keepdims=True)).astype(np.float32)


def _even_sides(dense: F32, chosen: I32) -> None:
    """Give mirrored vertices mirrored weights: the stored cloth weights kink the right shoulder."""
    swap = {"Left": "Right", "Right": "Left"}
    names = [next((swap[s] + b[len(s) :] for s in swap if b.startswith(s)), b) for b in bones()]
    columns = [bones().index(name) for name in names]
    keys = np.round(rest()[chosen] * 100).astype(int)
    place = {tuple(key): row for row, key in enumerate(keys.tolist())}
    twin = np.array([place.get((-x, y, z), row) for row, (x, y, z) in enumerate(keys.tolist())])
    stored = dense[chosen]
    dense[chosen] = (stored + stored[twin][:, columns]) / 2


def joint(vertices: F32, name: str) -> F32:
    """Position (3,) of a joint, for example "l-elbow", of a (possibly morphed) figure."""
    return np.asarray(vertices[group_vertices("joint-" + name)].mean(0), dtype=np.float32)


@cache
def skull_vertices() -> I32:
    """Body vertices of the upper head: where a person's head sits compared with the rest mesh."""
    points, used = rest(), surface("body").vertices
    return np.asarray(used[points[used, 1] > 7.2])


def head_shift(vertices: F32) -> F32:
    """How far (3,) dm the head of a shaped figure sits from the rest mesh's: people differ in
    height.
    """
    skull = skull_vertices()
    return np.asarray(vertices[skull].mean(0) - rest()[skull].mean(0), dtype=np.float32)


def unit(vectors: npt.NDArray[Any]) -> F32:
    """Vectors scaled to length 1 along the last axis."""
    length = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None]
    return np.asarray(vectors / np.maximum(length, 1e-9), dtype=np.float32)


def dot(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> F32:
    """Row-wise dot product (n,) of (n,3) with (n,3): several times as fast as a sum over axis 1."""
    return np.asarray(np.einsum("ij,ij->i", a, b), dtype=np.float32)


@cache
def _corners(name: str) -> tuple[I64, I64, I32]:
    """Corner order that brings the triangles of a vertex together, run starts and the vertices."""
    flat = surface(name).triangles.ravel()
    order = np.argsort(flat, kind="stable")
    vertices, starts = np.unique(flat[order], return_index=True)
    return (order // 3).astype(np.int64), starts.astype(np.int64), vertices.astype(np.int32)


def add_normals(vertices: F32, name: str, out: F32) -> None:
    """Write area-weighted smooth normals of one surface into `out` (N,3)."""
    triangles = surface(name).triangles
    a = vertices[triangles[:, 0]]
    b = vertices[triangles[:, 1]] - a
    c = vertices[triangles[:, 2]] - a
    faces = np.empty_like(a)
    faces[:, 0] = b[:, 1] * c[:, 2] - b[:, 2] * c[:, 1]
    faces[:, 1] = b[:, 2] * c[:, 0] - b[:, 0] * c[:, 2]
    faces[:, 2] = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    order, starts, used = _corners(name)
    out[used] = unit(np.add.reduceat(faces[order], starts, axis=0))
