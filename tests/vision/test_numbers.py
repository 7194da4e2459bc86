"""Sharpness, light, duplicates, templates and thresholds on pictures and scores we know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from limner.atelier import Drawing
from limner.vision import auc, calibrate, duplicates, quality
from limner.vision.align import warp
from limner.vision.spread import fit_spread, shipped_spread, through
from limner.vision.templates import build_template, core_members, leave_one_out, robust_scores


def blurred(image: np.ndarray, radius: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def test_blur_is_seen_and_noise_and_contrast_do_not_hide_it(grace: list[Drawing]) -> None:
    sharp = grace[0].image
    soft = blurred(sharp, 1.5)
    rng = np.random.default_rng(3)
    noisy = np.clip(soft + rng.normal(0, 6, soft.shape), 0, 255).astype(np.uint8)
    assert quality.laplacian_variance(soft) < 0.35 * quality.laplacian_variance(sharp)
    assert quality.spectral_slope(soft) < quality.spectral_slope(sharp) - 0.8
    assert quality.laplacian_variance(noisy) > quality.laplacian_variance(soft) * 2  # the trap
    assert quality.noise_level(noisy) > quality.noise_level(sharp) + 2  # what gives it away
    bold = np.clip((sharp.astype(float) - 128) * 1.3 + 128, 0, 255).astype(np.uint8)
    assert abs(quality.spectral_slope(bold) - quality.spectral_slope(sharp)) < 0.2


def test_clipping_and_lightness_have_their_units() -> None:
    half = np.full((10, 10, 3), 128, np.uint8)
    half[:5] = 255
    assert quality.clipped_share(half) == 0.5
    assert quality.lightness(np.full((4, 4, 3), 255, np.uint8)) == pytest.approx(100, abs=0.1)
    assert quality.lightness(np.zeros((4, 4, 3), np.uint8)) == 0
    assert quality.lightness(np.full((4, 4, 3), 119, np.uint8)) == pytest.approx(50, abs=0.5)


def test_copies_are_found_and_other_pictures_are_not(grace: list[Drawing]) -> None:
    first = duplicates.hashes(grace[0].image)
    smaller = np.asarray(Image.fromarray(grace[0].image).resize((96, 96)).resize((128, 128)))
    assert duplicates.distance(first.plain, duplicates.hashes(smaller).plain) <= 4
    mirrored = duplicates.hashes(np.ascontiguousarray(grace[0].image[:, ::-1]))
    twin = duplicates.nearest(mirrored, {7: first})
    assert twin is not None and twin.mirrored and twin.bits == 0 and twin.key == 7
    others = {i: duplicates.hashes(d.image) for i, d in enumerate(grace[1:])}
    apart = duplicates.nearest(first, others)
    assert apart is not None and apart.bits > 10
    assert duplicates.nearest(first, {}) is None


def test_a_crop_lies_where_it_should() -> None:
    y, x = np.mgrid[0:200, 0:200]
    ramp = np.stack([x, y, np.zeros_like(x)], 2).astype(np.uint8)
    crop = warp(ramp, 100.0, 60.0, 32.0, 0.0, 32)
    assert abs(int(crop[16, 16, 0]) - 100) <= 1 and abs(int(crop[16, 16, 1]) - 60) <= 1
    assert int(crop[16, 31, 0]) - int(crop[16, 0, 0]) == pytest.approx(31, abs=1)
    turned = warp(ramp, 100.0, 60.0, 32.0, np.pi / 2, 32)  # along the crop's x runs the picture's y
    assert int(turned[16, 31, 1]) - int(turned[16, 0, 1]) == pytest.approx(31, abs=1)
    small = warp(ramp, 100.0, 100.0, 160.0, 0.0, 32)
    assert int(small[16, 31, 0]) - int(small[16, 0, 0]) == pytest.approx(155, abs=3)


def people(rng: np.random.Generator, counts: list[int], spread: float) -> list[np.ndarray]:
    centres = rng.normal(size=(len(counts), 64))
    out = []
    for centre, n in zip(centres, counts, strict=True):
        for _ in range(n):
            v = centre / np.linalg.norm(centre) + rng.normal(0, spread / 8, 64)
            out.append((v / np.linalg.norm(v)).astype(np.float32))
    return out


@given(st.integers(0, 1000), st.integers(9, 24), st.floats(0.05, 0.4))
@settings(max_examples=25, deadline=None)
def test_a_minority_of_intruders_does_not_shape_the_template(
    seed: int, own: int, minority: float
) -> None:
    rng = np.random.default_rng(seed)
    intruders = max(1, int(own * minority))
    vectors = people(rng, [own, intruders], 0.5)
    found = robust_scores(vectors, [0.0] * len(vectors))
    assert not found.core[own:].any()
    assert found.scores[:own].min() > found.scores[own:].max()
    assert (found.scores[own:] < found.limit).all()


def test_leave_one_out_leaves_itself_out() -> None:
    rng = np.random.default_rng(5)
    vectors = people(rng, [1, 1, 1], 0.0)
    scores = leave_one_out(vectors, [None] * 3)
    whole = build_template(vectors, [None] * 3)
    assert (scores < [whole.score(v) - 0.2 for v in vectors]).all()
    assert np.isnan(leave_one_out(vectors[:1], [None])[0])
    assert core_members(vectors[:1]).all()


def test_a_template_knows_its_bins() -> None:
    rng = np.random.default_rng(8)
    front, turned = people(rng, [4, 4], 0.3)[:4], people(rng, [4], 0.3)
    template = build_template([*front, *turned], [5.0] * 4 + [-30.0] * 4)
    assert set(template.means) == {"all", "front", "three_quarter"}
    assert template.score(turned[0], -33.0) > template.score(turned[0], 0.0)
    with pytest.raises(ValueError, match="at least one"):
        build_template([], [])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=300), st.floats(0.001, 0.4))
@settings(max_examples=80, deadline=None)
def test_no_more_impostors_pass_than_were_allowed(scores: list[float], far: float) -> None:
    found = calibrate(scores, target_far=far, source="test")
    accepted = sum(s >= found.threshold for s in scores)
    assert accepted == found.accepted and found.far == accepted / len(scores) <= far
    assert found.impostors == len(scores)
    stricter = calibrate(scores, target_far=far, source="test", least=found.threshold + 0.1)
    assert stricter.threshold == found.threshold + 0.1 and stricter.accepted <= found.accepted


def test_auc_counts_pairs() -> None:
    assert auc([3, 4], [1, 2]) == 1.0 and auc([1], [2]) == 0.0 and auc([1, 2], [1, 2]) == 0.5
    with pytest.raises(ValueError, match="finite"):
        calibrate([], target_far=0.01, source="test")


def test_what_varies_within_a_person_is_weighed_down() -> None:
    rng = np.random.default_rng(2)
    mood = rng.normal(size=(6, 64))  # directions in which everybody's pictures vary
    mood /= np.linalg.norm(mood, axis=1, keepdims=True)

    def cast(number: int, pictures: int) -> list[list[np.ndarray]]:
        made = []
        for _ in range(number):
            centre = rng.normal(size=64)
            centre /= np.linalg.norm(centre)
            rows = centre + 0.6 * rng.normal(size=(pictures, 6)) @ mood
            made.append(list((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")))
        return made

    def parted(people: list[list[np.ndarray]]) -> float:
        same = [float(p[0] @ v) for p in people for v in p[1:]]
        other = [float(p[0] @ q[1]) for p in people for q in people if q is not p]
        return auc(same, other)

    matrix, unseen = fit_spread(cast(12, 8)), cast(30, 4)
    plain, moved = parted(unseen), parted([through(matrix, p) for p in unseen])
    assert plain < 0.9 and moved > plain + 0.08
    assert np.allclose([np.linalg.norm(v) for v in through(matrix, unseen[0])], 1, atol=1e-5)
    shipped = shipped_spread("dlib", "drawing")
    assert shipped is not None and shipped.shape == (128, 128)
    assert shipped_spread("dlib", "photo") is None and through(None, unseen[0]) == unseen[0]
    with pytest.raises(ValueError, match="two pictures"):
        fit_spread([[unseen[0][0]]])


def test_what_grows_fast_equals_its_definition() -> None:
    """Ten thousand pictures are compared by sums and bit counts; the slow way says the same."""
    rng = np.random.default_rng(11)
    vectors = [v / np.linalg.norm(v) for v in rng.normal(size=(40, 16)).astype(np.float32)]
    yaws = [None if i % 7 == 0 else float(rng.uniform(-80, 80)) for i in range(40)]
    weights = (rng.random(40) < 0.6).astype(np.float64)
    fast = leave_one_out(vectors, yaws, weights)
    for i, score in enumerate(fast):
        others = [j for j in range(40) if j != i and weights[j] > 0]
        plain = build_template([vectors[j] for j in others], [yaws[j] for j in others])
        assert score == pytest.approx(plain.score(vectors[i], yaws[i]), abs=1e-5)

    found = [duplicates.Hashes(*(f"{int(b):016x}" for b in pair))
             for pair in rng.integers(0, 2**63, (300, 2))]  # fmt: skip
    pool = duplicates.Pool()
    for place, one in enumerate(found):
        near = pool.nearest(one)
        bits = [
            min(duplicates.distance(one.plain, o.plain), duplicates.distance(one.plain, o.mirrored))
            for o in found[:place]
        ]
        assert (near is None) == (place == 0)
        assert near is None or (near.key, near.bits) == (bits.index(min(bits)), min(bits))
        pool.add(place, one)
