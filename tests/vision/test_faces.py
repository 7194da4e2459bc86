"""Faces of drawings: where they are, which way they look, whose they are."""

from __future__ import annotations

import numpy as np
import pytest

from limner.atelier import Drawing
from limner.errors import LimnerError
from limner.vision import find_faces, open_embedder, shipped_calibration, similarity
from limner.vision.align import aligned_crop
from limner.vision.embedders import DrawnEmbedder
from limner.vision.reading import Reading, read_picture


def test_a_face_is_found_where_it_was_drawn(grace: list[Drawing]) -> None:
    for drawing in grace:
        (face,) = find_faces(drawing.image)
        labels = drawing.labels
        tall = labels.face_box[3] - labels.face_box[1]
        seen = np.array([*face.eyes, face.nose])
        drawn = np.array([p[:2] for p in labels.points[:3]])
        assert np.hypot(*(seen - drawn).T).mean() < 0.15 * tall
        assert face.yaw is not None and abs(face.yaw - labels.yaw) < 20
        if abs(labels.yaw) > 20:
            assert np.sign(face.yaw) == np.sign(labels.yaw)
        mirrored = find_faces(np.ascontiguousarray(drawing.image[:, ::-1]))[0]
        assert mirrored.yaw is not None and abs(mirrored.yaw + face.yaw) < 20
    empty = np.full((128, 128, 3), 120, np.uint8)
    assert find_faces(empty) == []


@pytest.mark.parametrize("name", ["dlib", "drawn"])
def test_one_person_is_told_from_another(
    name: str, grace: list[Drawing], stranger: list[Drawing]
) -> None:
    tool = open_embedder(name, "drawing")
    own, other = (
        [tool.embed(d.image, find_faces(d.image)[0]) for d in drawings]
        for drawings in (grace[:4], stranger)
    )
    assert all(abs(float(np.linalg.norm(v)) - 1) < 1e-4 and len(v) == tool.dimension for v in own)
    same = [similarity(a, b) for i, a in enumerate(own) for b in own[i + 1 :]]
    different = [similarity(a, b) for a in own for b in other]
    assert np.mean(same) > np.mean(different) + 0.25
    card = shipped_calibration(name, "drawing", "front")
    assert card.far <= card.target_far and card.impostors > 1000
    assert max(different) < card.threshold


def test_a_mirrored_crop_is_the_same_person(grace: list[Drawing], stranger: list[Drawing]) -> None:
    tool = open_embedder("drawn", "drawing")
    assert isinstance(tool, DrawnEmbedder)
    drawn = [d.image for d in (*grace, *stranger)]
    crops = np.stack([aligned_crop(image, find_faces(image)[0]) for image in drawn])
    vectors = tool.embed_crops(crops)
    assert vectors.shape == (len(crops), tool.dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors, tool.embed_crops(crops[:, :, ::-1]), atol=1e-5)


def test_a_reading_survives_its_cache(grace: list[Drawing]) -> None:
    reading = read_picture(grace[0].image)
    assert Reading.from_dict(reading.as_dict()) == reading
    assert reading.face is not None and set(reading.missing) <= {"skin", "text"}
    crop = aligned_crop(grace[0].image, reading.face)
    assert crop.shape == (64, 64, 3)
    photo = read_picture(grace[0].image, kind="photo", smallest_face=64, thorough=False)
    assert "drawn" not in photo.vectors


def test_unknown_names_are_errors() -> None:
    with pytest.raises(LimnerError, match="no embedder"):
        open_embedder("arcface")
    with pytest.raises(LimnerError, match="drawings only"):
        open_embedder("drawn", "photo")
    with pytest.raises(KeyError):
        shipped_calibration("dlib", "photo")


@pytest.mark.parametrize("size", [(1, 1), (1, 1100), (16, 1100), (3000, 20), (64, 1000)])
def test_a_strip_shows_no_face_and_breaks_nothing(size: tuple[int, int]) -> None:
    """dlib's network fails, or crashes the process, on what is thinner than its windows."""
    assert find_faces(np.zeros((*size, 3), np.uint8)) == []
