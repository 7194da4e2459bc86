"""Everything read off one picture, once: faces, vectors, sharpness, light, hashes.

In: a picture and the limits of its source. Out: a `Reading`, JSON-able, so that a stage can cache
it by the picture's SHA-256. Scores that need other pictures (identity, duplicates) come later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from limner.errors import MissingExtraError
from limner.vision import duplicates, faces, quality
from limner.vision.align import aligned_crop, frame
from limner.vision.embedders import NAMES, Vector, missing, open_embedder
from limner.vision.face import Face
from limner.vision.faces import Kind
from limner.vision.pictures import RGB8

VERSION = "vision-1"
"""Changes whenever a number of a reading would: cached readings of another version are redone."""

SHARPNESS_CROPS = ((128, 96.0), (64, 40.0))
"""Crop side and the least native size of the face frame it needs (never enlarged by much)."""


@dataclass(frozen=True)
class Reading:
    """What one picture shows.

    faces: largest first. vectors: embedder -> unit vector of the largest face. values: numbers by
    name (sharpness, spectral_slope, noise on a face crop of `sharpness_crop` px; clipped share
    and lightness L* of the face, or of the picture as picture_*). missing: name -> reason.
    """

    width: int
    height: int
    faces: tuple[Face, ...] = ()
    vectors: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    phash: str | None = None
    phash_mirrored: str | None = None
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
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Reading:
        """The reading `as_dict` wrote. Raises KeyError or TypeError for anything else."""
        return cls(**{**data, "faces": tuple(_face(f) for f in data["faces"])})


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
    thorough: bool = True,
) -> Reading:
    """Read one picture. What an absent extra would measure is left out with its reason."""
    values = {
        "picture_clipped": quality.clipped_share(image),
        "picture_lightness": quality.lightness(image),
    }
    absent: dict[str, str] = {}
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
        reason = None if seen else f"no face of {smallest_face:.0f} px or more found"
    vectors: dict[str, list[float]] = {}
    if reason is not None:
        absent.update(dict.fromkeys((*embedders, "sharpness", "lightness"), reason))
        if faces.available(kind) is not None:
            absent["face_count"] = reason
    else:
        values.update(_face_values(image, seen[0], absent))
        for name in embedders:
            reason = missing(name, kind)
            if reason is None:
                vector = open_embedder(name, kind).embed(image, seen[0])
                vectors[name] = [round(float(v), 6) for v in vector]
            else:
                absent[name] = reason
    height, width = image.shape[:2]
    return Reading(width, height, tuple(seen), vectors, values, plain, mirrored, absent)


def _face_values(image: RGB8, face: Face, absent: dict[str, str]) -> dict[str, float]:
    side = frame(face.eyes, face.nose)[2]
    skin = aligned_crop(image, face, 64)[12:56, 10:54]
    values = {"clipped": quality.clipped_share(skin), "lightness": quality.lightness(skin)}
    size = next((crop for crop, least in SHARPNESS_CROPS if side >= least), None)
    if size is None:
        least = SHARPNESS_CROPS[-1][1]
        absent["sharpness"] = f"the face is too small ({side:.0f} px, needs {least:.0f})"
        return values
    crop = aligned_crop(image, face, size)
    return {
        **values,
        "sharpness_crop": float(size),
        "sharpness": quality.laplacian_variance(crop),
        "spectral_slope": quality.spectral_slope(crop),
        "noise": quality.noise_level(crop),
    }
