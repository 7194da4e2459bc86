"""What else is read off a render: framing, light, colour, sharpness, skin, background, copying.

In: a picture with its face, what its prompt asked for, the training pictures. Out: scores, None
with a reason where a picture cannot tell. Measures come from limner.vision, as in the review.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner import lexicon, vision
from limner.evaluation.identity import NO_FACE, Look
from limner.project.records import Measure
from limner.vision import colour, quality, texture
from limner.vision import person as persons
from limner.vision.align import aligned_crop
from limner.vision.face import Face
from limner.vision.pictures import RGB8, resize

F64 = NDArray[np.float64]
TOOL = "details-1"
CROP = 64
"""Side of the face crop that sharpness is read on, pixels."""
SMALLEST_CROP = 40.0
"""Face frame in pixels below which sharpness would be that of the enlarging (vision's own)."""
GRID = 8
"""Cells a side of the coarse picture that backgrounds are compared on."""
FRAMING_SLACK = 1.3
"""How far a face's height may lie outside its framing's range, as a factor (starting value)."""
BACKGROUND_SCALE = 40.0
"""CIE distance at which two background cells have nothing in common (starting value)."""
LEAST_CELLS = 8


@dataclass(frozen=True)
class Detail:
    """What was read off one picture. values: name -> number; missing: name -> reason.
    background: (8, 8, 3) mean Lab where the background shows, NaN where the person stands."""

    values: dict[str, float]
    missing: dict[str, str]
    background: F64 | None


def read(picture: RGB8, face: Face | None) -> Detail:
    """Everything that needs no other picture."""
    tone = colour.tone(picture)
    values = {
        "chroma": tone.chroma,
        "clipped": tone.clipped_dark + tone.clipped_light,
        "lightness": tone.lightness,
    }
    missing: dict[str, str] = {}
    if face is None:
        missing |= dict.fromkeys(FACE_NAMES, NO_FACE)
        return Detail(values, missing, None)
    values["face_share"] = face.height / picture.shape[0]
    _sharpness(picture, face, values, missing)
    skin = texture.skin(picture, face)
    if isinstance(skin, str):
        missing |= dict.fromkeys(SKIN_NAMES, skin)
    else:
        values |= dict(zip(SKIN_NAMES, (*skin.bands, skin.gloss, float(skin.scale)), strict=True))
    background = _surroundings(picture, face, values, missing)
    return Detail(values, missing, background)


SKIN_NAMES = ("skin_2_4", "skin_4_8", "skin_8_16", "skin_gloss", "skin_scale")
FACE_NAMES = (
    *SKIN_NAMES,
    *("face_share", "sharpness", "spectral_slope", "noise"),
    *("proportion_head", "background_similarity"),
)


def _sharpness(
    picture: RGB8, face: Face, values: dict[str, float], missing: dict[str, str]
) -> None:
    from limner.vision.align import frame

    side = frame(face.eyes, face.nose)[2]
    if side < SMALLEST_CROP:
        reason = f"the face is too small ({side:.0f} px, needs {SMALLEST_CROP:.0f})"
        missing |= dict.fromkeys(("sharpness", "spectral_slope", "noise"), reason)
        return
    crop = aligned_crop(picture, face, CROP)
    values["sharpness"] = quality.laplacian_variance(crop)
    values["spectral_slope"] = quality.spectral_slope(crop)
    values["noise"] = quality.noise_level(crop)


def _surroundings(
    picture: RGB8, face: Face, values: dict[str, float], missing: dict[str, str]
) -> F64 | None:
    """Person and background on a small copy; the coarse background, None when hidden."""
    reason = persons.available()
    if reason is not None:
        missing |= dict.fromkeys(("proportion_head", "background_similarity"), reason)
        return None
    scale = min(1.0, persons.SIDE / max(picture.shape[:2]))
    height, width = (max(GRID, round(v * scale)) for v in picture.shape[:2])
    small = resize(picture, width, height)
    who = persons.person(small, face, scale)
    if who is None:
        reason = "the person could not be cut out"
        missing |= dict.fromkeys(("proportion_head", "background_similarity"), reason)
        return None
    if who.cut_below:
        missing["proportion_head"] = "the figure is not seen to its feet"
    else:
        values["proportion_head"] = face.height / (who.height * picture.shape[0])
    return coarse(small, ~who.mask)


def coarse(small: RGB8, behind: NDArray[np.bool_]) -> F64:
    """(8, 8, 3) mean Lab of the background in each cell; NaN where less than half of it shows."""
    lab = colour.lab(small)
    rows = np.array_split(np.arange(small.shape[0]), GRID)
    columns = np.array_split(np.arange(small.shape[1]), GRID)
    found = np.full((GRID, GRID, 3), np.nan)
    for i, ys in enumerate(rows):
        for j, xs in enumerate(columns):
            seen = behind[np.ix_(ys, xs)]
            if seen.mean() >= 0.5:
                found[i, j] = lab[np.ix_(ys, xs)][seen].mean(axis=0)
    return found


def alike(first: F64, second: F64) -> float | None:
    """How alike two coarse backgrounds are, 0-1, over the cells both show; None for too few."""
    shared = ~np.isnan(first[..., 0]) & ~np.isnan(second[..., 0])
    if int(shared.sum()) < LEAST_CELLS:
        return None
    away = np.linalg.norm(first[shared] - second[shared], axis=1)
    return float(np.mean(np.maximum(0.0, 1.0 - away / BACKGROUND_SCALE)))


@dataclass(frozen=True)
class Training:
    """What a render may repeat: coarse backgrounds of the training pictures, their vectors and the
    held-out ones' of the embedder `name`, and the training pictures' own details."""

    details: Sequence[Detail]
    looks: Sequence[Look]
    held_out: Sequence[Look]
    name: str

    def background(self, detail: Detail) -> float | None:
        """Likeness to the nearest training background."""
        if detail.background is None:
            return None
        pairs = [
            alike(detail.background, d.background) for d in self.details if d.background is not None
        ]
        known = [v for v in pairs if v is not None]
        return max(known) if known else None

    def copy_index(self, seen: Look) -> float | None:
        """M = (angle to target - angle to reference) / angle between them (WithAnyone,
        arXiv 2510.14975): reference = nearest training picture, target = nearest held-out one of
        the same head turn. +1: a copy of the training picture; None without faces."""
        if not seen.face or self.name not in seen.vectors:
            return None
        vector = seen.vectors[self.name]
        trained = [look.vectors[self.name] for look in self.looks if look.face]
        turn = None if seen.yaw is None else vision.yaw_bin(seen.yaw)
        fresh = [look for look in self.held_out if look.face]
        same = [f for f in fresh if turn and f.yaw is not None and vision.yaw_bin(f.yaw) == turn]
        targets = [f.vectors[self.name] for f in same or fresh]
        if not trained or not targets:
            return None
        reference = max(trained, key=lambda v: float(v @ vector))
        target = max(targets, key=lambda v: float(v @ vector))
        apart = _angle(reference, target)
        if apart < 1e-3:
            return None
        return (_angle(vector, target) - _angle(vector, reference)) / apart


def _angle(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.arccos(np.clip(float(np.dot(a, b)), -1.0, 1.0)))


def follows(attributes: Mapping[str, str], seen: Look, height: int) -> dict[str, float | None]:
    """Whether angle, framing and number of faces are what the prompt asked for: 1, 0, None where
    the prompt does not say or the picture cannot tell. height: of the picture, pixels."""
    found: dict[str, float | None] = dict.fromkeys(FOLLOWS)
    angle, framing = attributes.get("angle"), attributes.get("framing")
    if seen.face and seen.yaw is not None and angle in ("front", "three_quarter", "side"):
        found["follows_angle"] = float(vision.yaw_bin(seen.yaw) == angle)
    known = lexicon.framings().get(framing or "")
    if known is not None and seen.where is not None:
        low, high = known.face_share
        share = seen.where.height / height
        found["follows_framing"] = float(low / FRAMING_SLACK <= share <= high * FRAMING_SLACK)
    if seen.faces:
        found["follows_faces"] = float(seen.faces == 1)
    return found


FOLLOWS = ("follows_angle", "follows_framing", "follows_faces")


def measures(
    picture: RGB8, seen: Look, attributes: Mapping[str, str], training: Training
) -> list[Measure]:
    """The scores of one render."""
    detail = read(picture, seen.where)
    values: dict[str, float | None] = dict(detail.values)
    reasons = dict(detail.missing)
    if "background_similarity" not in reasons:
        values["background_similarity"] = training.background(detail)
        reasons["background_similarity"] = "too little background is seen, here or in training"
    values["copy_index"] = training.copy_index(seen)
    reasons["copy_index"] = NO_FACE if not seen.face else "no face in the training pictures"
    found = followed(picture, seen, attributes)
    for name in (*values, *(n for n in detail.missing if n not in values)):
        value = values.get(name)
        reason = None if value is not None else reasons.get(name, "not seen")
        found.append(Measure(name, value, UNITS.get(name, ""), reason, TOOL))
    return found


def followed(picture: RGB8, seen: Look, attributes: Mapping[str, str]) -> list[Measure]:
    """Number of faces, and whether the picture follows its prompt: costs nothing once looked at."""
    reason = NO_FACE if not seen.face else "the prompt does not ask for it"
    found = [Measure("faces", float(seen.faces), "", None, TOOL)]
    for name, value in follows(attributes, seen, picture.shape[0]).items():
        found.append(Measure(name, value, "", None if value is not None else reason, TOOL))
    return found


UNITS = {
    "chroma": "C*ab",
    "clipped": "share",
    "lightness": "L*",
    "face_share": "share",
    "sharpness": "Laplacian variance at 64 px",
    "spectral_slope": "log power / log frequency",
    "noise": "0-255",
    "skin_2_4": "RMS",
    "skin_4_8": "RMS",
    "skin_8_16": "RMS",
    "skin_gloss": "share",
    "skin_scale": "px",
    "proportion_head": "share of the figure",
    "background_similarity": "0-1",
    "copy_index": "M",
}
