"""Clothes: every outfit of the lexicon covers, layers and colours what its words promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from limner.atelier import clothes, mesh
from limner.atelier.tailor import WRIST, chart
from limner.errors import LimnerError
from limner.lexicon import Garment
from limner.lexicon import drawable as lexicon

BODY = mesh.rest()[mesh.surface("body").vertices]
TIGHTS = mesh.rest()[mesh.surface("tights").vertices]
SKIRT = mesh.rest()[mesh.surface("skirt").vertices]
WHERE = chart(BODY)


def cut_of(outfit: str) -> clothes.Cut:
    return clothes.cut(lexicon.outfits()[outfit])


def _piece(outfit: str, part: str) -> clothes.Piece:
    return next(p for p in cut_of(outfit).layers() if p.part == part)


def test_every_garment_of_the_lexicon_has_a_cut_and_covers_something() -> None:
    for outfit in lexicon.outfits():
        for piece in cut_of(outfit).layers():
            points = SKIRT if piece.surface == "skirt" else TIGHTS
            assert 0.005 < piece.covers(points).mean() < 0.99, (outfit, piece.kind)


@pytest.mark.parametrize("outfit", list(lexicon.outfits()))
def test_trunk_and_hips_are_always_under_cloth(outfit: str) -> None:
    trunk = ~WHERE.arm & (WHERE.y > -0.6) & (WHERE.y < 3.9) & (WHERE.x < 1.75)
    assert cut_of(outfit).skin_hidden(BODY)[trunk].all()
    face = (WHERE.y > 6.25) & ~WHERE.arm
    assert not cut_of(outfit).skin_hidden(BODY)[face].any()


def test_sleeves_legs_and_necks_end_where_the_word_says() -> None:
    forearm = WHERE.arm & (WHERE.along > 3.2) & (WHERE.along < WRIST - 0.5)
    shin = (WHERE.y < -4.5) & (WHERE.y > -6.5)
    neck = (WHERE.y > 5.75) & (WHERE.y < 5.9) & (WHERE.x < 0.6) & WHERE.front

    def hides(outfit: str, region: np.ndarray) -> float:
        return float(cut_of(outfit).skin_hidden(BODY)[region].mean())

    assert hides("white_tee_jeans", forearm) == 0 and hides("beige_sweater_jeans", forearm) == 1
    assert hides("orange_track_top", shin) == 0 and hides("white_tee_jeans", shin) == 1
    assert hides("black_turtleneck", neck) == 1 and hides("white_tee_jeans", neck) == 0


def test_outer_layers_stand_outside_inner_ones() -> None:
    suit = {p.part: p for p in cut_of("navy_suit").layers() if p.surface == "tights"}
    both = suit["top"].covers(TIGHTS) & suit["over"].covers(TIGHTS)
    assert both.sum() > 100
    assert (suit["over"].offset(TIGHTS) - suit["top"].offset(TIGHTS))[both].min() > 0.01


def test_a_blazer_is_open_in_front_and_shows_the_shirt() -> None:
    chest = TIGHTS[(np.abs(TIGHTS[:, 0]) < 0.2) & (TIGHTS[:, 1] > 4) & (TIGHTS[:, 1] < 4.8)]
    front = chest[chest[:, 2] > 0.5]
    assert len(front) and not _piece("navy_suit", "over").covers(front).any()
    assert _piece("navy_suit", "top").covers(front).all()


def test_cloth_has_the_colour_of_its_word_and_its_own_pattern() -> None:
    for outfit in lexicon.outfits().values():
        for piece in clothes.cut(outfit).layers():
            points = SKIRT if piece.surface == "skirt" else TIGHTS
            albedo, bump, shine = clothes.fabric(piece, points[piece.covers(points)], seed=1)
            assert albedo.shape == (len(bump), 3) and len(shine) == len(bump)
            assert np.isfinite(albedo).all() and albedo.min() > 0 and albedo.max() < 1
            if piece.part == "shoes" or piece.color == "denim" or "striped" in piece.kind:
                continue
            word = np.array(lexicon.colors()[piece.color]) / 255
            shown = np.median(albedo, 0) ** (1 / 2.2)
            assert np.abs(shown - word).max() < 0.16, (outfit.id, piece.kind, shown, word)


def test_stripes_and_plaid_vary_where_plain_cloth_does_not() -> None:
    def spread(outfit: str) -> float:
        piece = _piece(outfit, "top")
        chest = TIGHTS[piece.covers(TIGHTS) & (np.abs(TIGHTS[:, 0]) < 1.2)]
        albedo, _, _ = clothes.fabric(piece, chest, seed=0)
        return float(albedo[:, 0].std() / albedo[:, 0].mean())

    assert spread("striped_tee") > 3 * spread("white_tee_jeans")
    assert spread("red_plaid_shirt") > 2 * spread("white_tee_jeans")


def test_a_recoloured_outfit_keeps_its_shape() -> None:
    plain = lexicon.outfits()["white_tee_jeans"]
    dyed = replace(plain, top=Garment("tshirt", "orange"))
    keys = [[p.shape_key for p in clothes.cut(o).layers()] for o in (plain, dyed)]
    assert keys[0] == keys[1]
    with pytest.raises(LimnerError, match="kimono"):
        clothes.cut(replace(plain, top=Garment("kimono", "white")))
