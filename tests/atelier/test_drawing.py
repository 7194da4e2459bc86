"""A character is drawn: the same person every time, with labels that agree with what was drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from limner.atelier import (
    Character,
    abilities,
    blend,
    identity_from_description,
    identity_from_seed,
    scene_for,
)
from limner.atelier.identity import Identity
from limner.atelier.labels import LABELS
from limner.errors import InputError, UsageError
from limner.lexicon import drawable as lexicon

SIZE = 96
_CAST = ((1, "female"), (2, "male"))


@pytest.fixture(scope="module")
def woman() -> Character:
    return Character(
        identity_from_seed(7, sex="female", hair_style="bun", skin="medium", marks="none", age=30)
    )


def test_the_same_character_and_scene_give_the_same_bytes(woman: Character) -> None:
    scene = scene_for({"angle": "three_quarter", "expression": "happy"}, 3)
    again = Character(woman.identity)
    first, second = woman.draw(scene, SIZE), again.draw(scene, SIZE)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)
    assert first.labels == second.labels
    other = woman.draw(replace(scene, expression="contemplative"), SIZE)
    assert not np.array_equal(first.image, other.image)


def test_looks_of_one_scene_are_the_drawings_made_one_by_one(woman: Character) -> None:
    scene = scene_for({"framing": "half_body"}, 5)
    outfits = lexicon.outfits()
    looks = [
        (outfits["white_tee_jeans"], "park", "overcast", 1),
        (outfits["navy_suit"], "office", "softbox", 2),
        (outfits["white_tee_jeans"], "beach", "bright_sun", 3),
    ]
    drawn = woman.draw_variants(scene, looks, SIZE)
    for look, drawing in zip(looks, drawn, strict=True):
        outfit, setting, _, seed = look
        assert (drawing.labels.outfit, drawing.labels.setting) == (outfit.id, setting)
        alone = woman.draw_variants(scene, [look], SIZE)[0]
        assert np.array_equal(drawing.image, alone.image)
        assert drawing.labels.seed == seed
    # The third shares its geometry with the first and must not inherit its cloth or light.
    assert np.array_equal(drawn[0].mask, drawn[2].mask)
    assert np.abs(drawn[0].image.astype(int) - drawn[2].image).mean() > 5


@pytest.mark.parametrize("framing", list(lexicon.framings()))
def test_the_face_fills_the_share_of_the_picture_the_framing_asks_for(
    woman: Character, framing: str
) -> None:
    low, high = lexicon.framings()[framing].face_share
    for seed in range(2):
        drawing = woman.draw(scene_for({"framing": framing}, seed), 128)
        # A head tipped or turned changes its height a little.
        assert low * 0.93 <= drawing.labels.face_share <= high * 1.07
        x0, y0, x1, y1 = drawing.labels.face_box
        rows, columns = np.nonzero(drawing.mask == LABELS.index("face"))
        assert abs(rows.max() + 1 - y1) < 0.03 * 128
        assert x0 - 2 <= columns.min() and columns.max() <= x1 + 2
        assert y0 > 0


def test_points_lie_on_the_parts_they_name(woman: Character) -> None:
    for side, seed in ((0.0, 1), (35.0, 2), (-35.0, 3)):
        scene = replace(scene_for({"expression": "confident"}, seed), yaw=side, body_yaw=side)
        labels, mask = (drawing := woman.draw(scene, 128)).labels, drawing.mask
        right, left, nose, right_mouth, left_mouth = labels.points
        assert right[0] < left[0] and right_mouth[0] < left_mouth[0]
        assert right[1] < nose[1] < right_mouth[1]
        assert mask[int(nose[1]), int(nose[0])] == LABELS.index("face")
        eye = right if side <= 0 else left
        near = mask[int(eye[1]) - 1 : int(eye[1]) + 2, int(eye[0]) - 2 : int(eye[0]) + 3]
        assert np.isin(near, [LABELS.index("eyes"), LABELS.index("lashes")]).any()
        x0, y0, x1, y1 = labels.face_box
        assert all(x0 <= x <= x1 and y0 <= y <= y1 for x, y, _ in labels.points)
        # Positive yaw: the camera stands on her left, so the nose points to the left of the face.
        middle = (right[0] + left[0]) / 2
        assert np.sign(middle - nose[0]) == np.sign(side) or side == 0


def test_turning_away_hides_the_face(woman: Character) -> None:
    seen = {}
    for angle, domain in lexicon.angles().items():
        drawing = woman.draw(scene_for({"angle": angle}, 4), SIZE)
        labels = drawing.labels
        seen[angle] = labels.face_visible
        assert domain.yaw[0] <= abs(labels.yaw) <= domain.yaw[1]
        assert domain.body_yaw[0] <= abs(labels.body_yaw) <= domain.body_yaw[1]
        assert labels.yaw * labels.body_yaw >= 0
    assert seen == {angle: domain.face for angle, domain in lexicon.angles().items()}
    back = woman.draw(scene_for({"angle": "pure_back"}, 4), SIZE).labels
    assert not any(visible for _, _, visible in back.points)


def test_every_value_of_every_axis_is_drawn(woman: Character) -> None:
    drawn = 0
    for axis, values in abilities().items():
        assert tuple(values) == tuple(lexicon.axis(axis))
        if axis in ("setting", "outfit"):
            continue  # settings are scenery's own tests; all outfits are drawn below
        for value in values:
            framing = "full_body" if axis == "pose" else "close_up"
            if axis == "pose" and framing not in lexicon.poses()[value].framings:
                framing = "half_body"
            attributes = {"framing": framing, axis: value}
            drawing = woman.draw(scene_for(attributes, drawn), 48, supersample=1)
            assert getattr(drawing.labels, axis) == value
            assert 0.04 < (drawing.mask > 0).mean() < 0.95
            drawn += 1
    assert drawn > 30


def test_nobody_is_undressed_and_nobody_is_a_child() -> None:
    skin = [LABELS.index("skin"), LABELS.index("background")]
    cast = [Character(identity_from_seed(s, sex=x, hair_style="crop")) for s, x in _CAST]
    for number, outfit in enumerate(lexicon.outfits()):
        for way in (0.0, 180.0):
            scene = scene_for({"outfit": outfit, "framing": "full_body"}, 9)
            scene = replace(scene, yaw=way, body_yaw=way)
            mask = cast[number % 2].draw(scene, 64, supersample=1).mask
            # The trunk: a column in the middle of the figure, from chest to crotch.
            trunk = mask[int(64 * 0.27) : int(64 * 0.52), 30:34]
            assert not np.isin(trunk, skin).any(), (outfit, way)
    with pytest.raises(InputError, match="age"):
        identity_from_seed(1, age=16)
    assert all(identity_from_seed(s).age >= 22 for s in range(200))


@pytest.mark.parametrize("trait", ["skin", "hair_color", "hair_style", "eyes", "marks", "face"])
def test_every_trait_value_shows(trait: str) -> None:
    base = {"sex": "male", "skin": "medium", "hair_color": "brown", "hair_style": "crop"}
    base |= {"eyes": "brown", "marks": "none", "face": "oval", "age": 30}
    scene = replace(scene_for({"expression": "confident"}, 2), yaw=0, body_yaw=0, gaze="camera")
    size = 128 if trait == "eyes" else 64
    drawings = [
        Character(identity_from_seed(3, **{**base, trait: value})).draw(scene, size, 1)
        for value in lexicon.traits()[trait]
    ]
    part = {"eyes": "eyes", "marks": "face", "hair_color": "hair"}.get(trait)
    for k, a in enumerate(drawings):
        where = a.mask == LABELS.index(part) if part else a.mask >= 0
        assert where.sum() > 8
        for b in drawings[k + 1 :]:
            gap = np.abs(a.image.astype(int) - b.image)[where].mean()
            assert gap > (1.5 if part else 0.8), (k, gap)


def test_identities_differ_and_look_alikes_come_closer() -> None:
    a = identity_from_seed(11, sex="female", hair_style="bun", skin="fair", face="oval", age=30)
    b = replace(identity_from_seed(12, sex="female", age=30), **{
        k: getattr(a, k) for k in ("hair_style", "hair_color", "skin", "eyes", "marks", "face")
    })  # fmt: skip
    face = scene_for({}, 1)

    def shape(identity: Identity) -> np.ndarray:
        return Character(identity).shape

    gap = [float(np.abs(shape(blend(a, b, t)) - shape(b)).mean()) for t in (0.0, 0.5, 1.0)]
    assert gap[0] > gap[1] > gap[2]
    assert gap[0] > 0.005
    pictures = [Character(i).draw(face, SIZE).image.astype(int) for i in (a, b)]
    assert np.abs(pictures[0] - pictures[1]).mean() > 1.0


def test_a_description_is_read_into_traits() -> None:
    read = identity_from_description(
        "A woman in her forties with long wavy auburn hair, green eyes and fair freckled skin", 1
    )
    assert (read.sex, read.hair_style, read.hair_color) == ("female", "long_wavy", "auburn")
    assert (read.eyes, read.skin, read.marks) == ("green", "fair", "freckles")
    assert 40 <= read.age <= 49
    man = identity_from_description("young man, short dark brown hair, a beard, brown skin", 1)
    assert (man.sex, man.hair_color, man.hair_style) == ("male", "dark_brown", "short")
    assert (man.marks, man.skin, man.age) == ("beard", "brown", 27)
    assert identity_from_description("somebody", 5).seed == 5


def test_what_a_description_denies_is_not_drawn_and_old_is_old() -> None:
    for text in ("woman without freckles", "man, no beard", "man, clean-shaven, grey hair"):
        assert all(identity_from_description(text, n).marks == "none" for n in range(12)), text
    assert identity_from_description("a man with no freckles but a beard", 1).marks == "beard"
    old = [identity_from_description(t, 1).age for t in ("elderly man.", "an old woman")]
    assert old == [65, 65] and identity_from_description("aged 45, man", 1).age == 45
    assert identity_from_description("woman with an old scar", 5).age < 60
    said = identity_from_description("woman aged 31, fair skin, curly red hair, green eyes", 1)
    assert said.in_words().startswith("a woman of 31, fair skin, hair auburn and curly, green eyes")


def test_identity_survives_json_and_refuses_nonsense() -> None:
    identity = blend(identity_from_seed(4), identity_from_seed(5), 0.3)
    assert Identity.from_dict(identity.as_dict()) == identity
    with pytest.raises(InputError, match="hair_style"):
        replace(identity, hair_style="mohawk")
    with pytest.raises(InputError, match="unknown"):
        Identity.from_dict({**identity.as_dict(), "tattoo": "anchor"})
    with pytest.raises(InputError, match="no lighting"):
        scene_for({"lighting": "candle"}, 1)
    with pytest.raises(UsageError, match="px"):
        Character(identity).draw(scene_for({}, 1), size=8)
