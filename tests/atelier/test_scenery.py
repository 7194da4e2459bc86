"""Backgrounds: every place under every light, and each place recognisable as itself."""

from __future__ import annotations

import numpy as np
import pytest

from limner.atelier import lights, scenery
from limner.errors import LimnerError
from limner.lexicon import drawable as lexicon


def _features(picture: np.ndarray) -> np.ndarray:
    """Colour shares and coarse layout of a background, with brightness taken out."""
    shown = (1 - np.exp(-1.15 * picture)) ** (1 / 2.2)
    shown = shown / max(float(shown.mean()), 1e-3) * 0.5
    bins = np.clip((shown * 6).astype(int), 0, 5).reshape(-1, 3)
    shares = np.bincount(bins @ np.array([36, 6, 1]), minlength=216) / len(bins)
    rows = shown.reshape(8, -1, shown.shape[1], 3).mean((1, 2)).ravel()
    detail = np.abs(np.diff(shown, axis=1)).mean((1, 2)).reshape(8, -1).mean(1)
    return np.concatenate([np.sqrt(shares) * 0.6, rows * 0.35, detail * 6])


def test_every_setting_of_the_lexicon_can_be_painted_in_its_lights() -> None:
    for place in lexicon.settings().values():
        for light in place.lightings:
            picture = scenery.paint(place.id, light, 48, 40, seed=3)
            assert picture.shape == (48, 40, 3) and picture.dtype == np.float32
            assert np.isfinite(picture).all() and picture.min() >= 0
            assert picture.std() > 1e-4, (place.id, light)


def test_places_are_told_apart_from_one_another_whatever_the_seed() -> None:
    """Each place, seen again with another seed, is nearest to itself among all twenty-two."""
    known, asked = {}, {}
    for place in lexicon.settings().values():
        light = place.lightings[0]
        known[place.id] = [_features(scenery.paint(place.id, light, 64, 64, s)) for s in range(4)]
        asked[place.id] = [_features(scenery.paint(place.id, light, 64, 64, s)) for s in (90, 91)]
    right = total = 0
    for name, pictures in asked.items():
        for picture in pictures:
            apart = {k: min(np.linalg.norm(picture - p) for p in ps) for k, ps in known.items()}
            right += min(apart, key=apart.__getitem__) == name
            total += 1
    assert right / total >= 0.97, f"{right} of {total}"


def test_the_same_arguments_give_the_same_bytes_and_a_seed_changes_them() -> None:
    first = scenery.paint("park", "golden_hour", 96, 96, seed=5)
    again = scenery.paint("park", "golden_hour", 96, 96, seed=5)
    other = scenery.paint("park", "golden_hour", 96, 96, seed=6)
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - other).mean() > 0.01


def test_blur_takes_detail_away_and_dusk_is_darker_than_noon() -> None:
    def detail(blur: float) -> float:
        picture = scenery.paint("library", "overcast", 128, 128, 1, blur=blur)
        return float(np.abs(np.diff(picture, axis=1)).mean())

    assert detail(0.03) < 0.6 * detail(0.004)
    noon = scenery.paint("beach", "bright_sun", 64, 64, 1).mean()
    assert scenery.paint("beach", "blue_hour", 64, 64, 1).mean() < 0.5 * noon


def test_floor_and_horizon_move_with_the_camera() -> None:
    high = scenery.paint("beach", "overcast", 90, 90, 2, horizon=0.3)
    low = scenery.paint("beach", "overcast", 90, 90, 2, horizon=0.6)
    sea = [(p[..., 2] - p[..., 0]).mean(1).argmax() for p in (high, low)]
    assert sea[1] - sea[0] > 15


def test_rigs_light_from_a_unit_direction_and_can_be_mirrored() -> None:
    for light in lexicon.lightings():
        rig, mirrored = lights.rig(light), lights.rig(light, mirrored=True)
        assert np.linalg.norm(rig.key_dir) == pytest.approx(1.0)
        assert mirrored.key_dir[0] == pytest.approx(-rig.key_dir[0])
        white = np.array(rig.key_rgb) + np.array(rig.sky_rgb)
        assert white.max() / white.min() < 2.6, f"{light} would tint skin beyond recognition"


def test_unknown_ids_are_named_with_what_is_known() -> None:
    with pytest.raises(LimnerError, match="moon"):
        scenery.paint("moon", "softbox", 32, 32, 0)
    with pytest.raises(LimnerError, match="softbox"):
        lights.rig("candle")
