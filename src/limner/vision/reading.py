"""Everything read off one picture, once: faces, vectors, sharpness, colour, damage, copies.

In: a picture and the limits of its source. Out: a `Reading`, JSON-able, so that a stage can cache
it by the picture's SHA-256. Scores that need other pictures (identity, duplicates) come later.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.errors import MissingExtraError
from limner.vision import colour, copies, damage, duplicates, faces, quality, texture
from limner.vision import person as persons
from limner.vision.align import aligned_crop, frame
from limner.vision.brought import Brought
from limner.vision.embedders import NAMES, Vector, missing, open_embedder
from limner.vision.face import Face
from limner.vision.faces import Kind
from limner.vision.pictures import RGB8, resize

VERSION = "vision-2"
"""Changes whenever a number of a reading would: cached readings of another version are redone."""

SHARPNESS_CROPS = ((128, 96.0), (64, 40.0))
"""Crop side and the least native size of the face frame it needs (never enlarged by much)."""
TONE_SIDE = 256
"""Longest side of the copy that colour is read from; clipping is read at full size."""


@dataclass(frozen=True)
class Reading:
    """What one picture shows.

    faces: largest first. vectors: embedder -> unit vector of the largest face, four bytes a number
    since thousands of readings are held at once. values: numbers by name, units in
    `measures.MEASURES`. thumb: packed thumbnail for `copies`. missing: name -> reason, for what
    could not be measured.
    """

    width: int
    height: int
    faces: tuple[Face, ...] = ()
    vectors: dict[str, array[float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    phash: str | None = None
    phash_mirrored: str | None = None
    thumb: str = ""
    missing: dict[str, str] = field(default_factory=dict)
    version: str = VERSION

    @property
    def face(self) -> Face | None:
        """The largest face."""
        return self.faces[0] if self.faces else None

    def vector(self, embedder: str) -> Vector | None:
        """Unit vector of the largest face, None when not measured (then `missing` says why)."""
        found = self.vectors.get(embedder)
        return None if found is None else np.array(found, dtype=np.float32)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` reads it."""
        plain = {name: _rounded(vector) for name, vector in self.vectors.items()}
        return {**asdict(replace(self, vectors={})), "vectors": plain}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """The reading `as_dict` wrote. Raises KeyError or TypeError for anything else."""
        vectors = {name: array("f", vector) for name, vector in data["vectors"].items()}
        faces = tuple(_face(f) for f in data["faces"])
        return cls(**{**data, "faces": faces, "vectors": vectors})


def _face(data: dict[str, Any]) -> Face:
    def pair(points: Any) -> Any:
        return tuple((float(x), float(y)) for x, y in points)

    mouth = data["mouth"]
    return Face(
        box=tuple(data["box"]),
        eyes=pair(data["eyes"]),
        nose=(float(data["nose"][0]), float(data["nose"][1])),
        score=float(data["score"]),
        detector=str(data["detector"]),
        mouth=None if mouth is None else pair(mouth),
        yaw=data["yaw"],
        dlib_box=None if data["dlib_box"] is None else tuple(data["dlib_box"]),
    )


def read_picture(
    image: RGB8,
    *,
    kind: Kind = "drawing",
    smallest_face: float = faces.SMALLEST_FACE,
    embedders: Sequence[str] = NAMES,
    brought: Sequence[Brought] = (),
    text: bool = False,
    thorough: bool = True,
) -> Reading:
    """Read one picture. What an absent extra would measure is left out with its reason.

    brought: the user's own ONNX embedders. text: look for writing too (half a second, needs
    rapidocr). Every model sees the same decoded picture and the same detected faces.
    """
    values: dict[str, float] = {}
    absent: dict[str, str] = {}
    _whole(image, values, absent)
    plain = mirrored = None
    try:
        found = duplicates.hashes(image)
        plain, mirrored = found.plain, found.mirrored
    except MissingExtraError:
        absent["duplicate"] = "install limner[vision]"
    seen: list[Face] = []
    reason = faces.available(kind)
    if reason is None:
        seen = faces.find_faces(image, kind=kind, smallest_face=smallest_face, thorough=thorough)
        seen += faces.others(image, seen, kind=kind, smallest_face=smallest_face)
        seen.sort(key=lambda face: -face.width)
        reason = None if seen else f"no face of {smallest_face:.0f} px or more found"
    vectors: dict[str, array[float]] = {}
    names = (*embedders, *(one.name for one in brought))
    if reason is not None:
        absent.update(dict.fromkeys((*names, *FACE_MEASURES), reason))
        if faces.available(kind) is not None:
            absent["face_count"] = reason
    else:
        _of_face(image, seen[0], values, absent)
        for name in embedders:
            reason = missing(name, kind)
            if reason is None:
                vectors[name] = _kept(open_embedder(name, kind).embed(image, seen[0]))
            else:
                absent[name] = reason
        for own in brought:
            vectors[own.name] = _kept(own.embed(image, seen[0]))
    _writing(image, text, values, absent)
    height, width = image.shape[:2]
    thumb = copies.pack(copies.thumbnail(image))
    return Reading(
        width, height, tuple(seen), vectors, values, plain, mirrored, thumb, absent
    )  # fmt: skip


FACE_MEASURES = (
    *("sharpness", "lightness", "face_share", "eye_distance", "skin", "person", "background"),
)
"""What needs a face, as `missing` names it."""


def _kept(vector: Vector) -> array[float]:
    """As a cached reading gives it back."""
    return array("f", _rounded(array("f", vector)))


def _rounded(vector: array[float]) -> list[float]:
    return [round(v, 6) for v in vector]


def _whole(image: RGB8, values: dict[str, float], absent: dict[str, str]) -> None:
    """What the whole picture says: tone, clipping, blocks, detail, noise, frame."""
    tone = colour.tone(_smaller(image, TONE_SIDE)[0])
    values.update(
        picture_clipped=quality.clipped_share(image),
        picture_lightness=tone.lightness,
        picture_chroma=tone.chroma,
        picture_chroma_high=tone.chroma_high,
        picture_clipped_light=tone.clipped_light,
        picture_clipped_dark=tone.clipped_dark,
        picture_vivid=tone.vivid,
    )
    grey = damage.luma(image)
    for name, measure in (
        ("blockiness", damage.blockiness),
        ("fine_detail", damage.fine_detail),
        ("noise", damage.noise),
    ):
        found = measure(grey)
        if found is None:
            small = min(image.shape[:2]) < damage.LEAST_SIDE
            absent[name] = "the picture is too small" if small else "the picture is plain"
        else:
            values[name] = found
    strips = damage.borders(grey)
    values.update(border=strips.largest, border_sides=float(strips.sides))


def _smaller(image: RGB8, side: int) -> tuple[RGB8, float]:
    """A copy of at most `side` pixels a side, and its scale."""
    height, width = image.shape[:2]
    scale = min(1.0, side / max(height, width))
    if scale == 1.0:
        return image, 1.0
    return resize(image, max(1, round(width * scale)), max(1, round(height * scale))), scale


def _of_face(
    image: RGB8, face: Face, values: dict[str, float], absent: dict[str, str]
) -> None:  # fmt: skip
    values.update(face_share=face.height / image.shape[0], eye_distance=face.eye_distance)
    skin = aligned_crop(image, face, 64)[12:56, 10:54]
    tone = colour.tone(skin)
    values.update(
        clipped=quality.clipped_share(skin),
        lightness=tone.lightness,
        face_chroma=tone.chroma,
        face_clipped_light=tone.clipped_light,
        face_clipped_dark=tone.clipped_dark,
    )
    _sharpness(image, face, values, absent)
    found = texture.skin(image, face)
    if isinstance(found, str):
        absent["skin"] = found
    else:
        names = ("skin_fine", "skin_middle", "skin_coarse")
        values.update(zip(names, found.bands, strict=True))
        values.update(skin_scale=float(found.scale), skin_gloss=found.gloss)
    _surroundings(image, face, values, absent)


def _sharpness(
    image: RGB8, face: Face, values: dict[str, float], absent: dict[str, str]
) -> None:  # fmt: skip
    side = frame(face.eyes, face.nose)[2]
    size = next((crop for crop, least in SHARPNESS_CROPS if side >= least), None)
    if size is None:
        least = SHARPNESS_CROPS[-1][1]
        absent["sharpness"] = f"the face is too small ({side:.0f} px, needs {least:.0f})"
        return
    crop = aligned_crop(image, face, size)
    values.update(
        sharpness_crop=float(size),
        sharpness=quality.laplacian_variance(crop),
        spectral_slope=quality.spectral_slope(crop),
        face_noise=quality.noise_level(crop),
    )


def _surroundings(
    image: RGB8, face: Face, values: dict[str, float], absent: dict[str, str]
) -> None:  # fmt: skip
    """Person and background on a small copy."""
    reason = persons.available()
    if reason is not None:
        absent.update(person=reason, background=reason)
        return
    small, scale = _smaller(image, persons.SIDE)
    who = persons.person(small, face, scale)
    if who is None:
        absent.update(person="the person could not be cut out", background="no person to leave out")
        return
    values.update(
        person_height=who.height, person_share=who.share, person_cut=float(who.cut_below)
    )  # fmt: skip
    behind = colour.ground(small, _shrunk(~who.mask))
    if behind is None:
        absent["background"] = "hardly any background is seen"
        return
    names = ("background_l", "background_a", "background_b")
    values.update(zip(names, behind.lab, strict=True))
    values["background_structure"] = behind.structure


def _shrunk(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without a rim of two pixels towards the person."""
    out = mask.copy()
    for step in (-2, 2):
        out &= np.roll(mask, step, 0) & np.roll(mask, step, 1)
    return out


def _writing(image: RGB8, wanted: bool, values: dict[str, float], absent: dict[str, str]) -> None:
    from limner.vision import writing

    reason = writing.available() if wanted else "not asked for (--text)"
    if reason is None:
        values.update(writing.share(image))
    else:
        absent["text"] = reason
