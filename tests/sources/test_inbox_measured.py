"""Pictures that say nothing of themselves find their shots by what they show, or say "not sure"."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.cli import shell
from limner.errors import InputError
from limner.lexicon.hues import hues, hues_in
from limner.project import Project
from limner.project.records import Shot
from limner.sources.intake.assigning import assign
from limner.sources.intake.looks import Looks
from limner.sources.intake.matching import Candidate, match
from limner.vision.colour import lab

Grace = Callable[..., Project]
pytest.importorskip("scipy", reason="the assignment needs limner[vision]")


def cloth(*words: str) -> np.ndarray:
    """Pixels of these colours, in Lab."""
    colors = np.array([hues()[w] for w in words], dtype=np.uint8)
    return np.repeat(lab(colors), 20, axis=0)


def looks(share: float, turn: float, worn: str, place: str, faces: int = 1) -> Looks:
    found = cloth(worn)
    return Looks(
        faces, turn, share, found, None, cloth(place), 0.1, False, 50.0, 5.0, (20.0, 2.0, 4.0)
    )


SHOTS = [
    Shot(f"shot_{n:03d}", n, {"angle": a, "framing": f, "outfit": o, "setting": p}, "x", n)
    for n, (a, f, o, p) in enumerate(
        [
            ("front", "close_up", "green_hoodie", "white_studio"),
            ("front", "close_up", "red_plaid_shirt", "white_studio"),
            ("side", "half_body", "yellow_summer_dress", "forest"),
            ("front", "half_body", "purple_tank_leggings", "park"),
        ],
        start=1,
    )
]
SEEN = {
    "c.png": looks(0.45, 3, "red", "white"),
    "b.png": looks(0.24, 84, "yellow", "forest"),
    "d.png": looks(0.44, 2, "green", "white"),
    "a.png": looks(0.23, 5, "purple", "park"),
}


def test_measures_place_what_is_shuffled_and_leave_what_fits_two_shots() -> None:
    shuffled = [Candidate(name, (), seen) for name, seen in SEEN.items()]
    got = match(shuffled, SHOTS, ways=("measured", "order"))
    assert {p.name: p.shot_id for p in got.pairs} == {
        **{"d.png": "shot_001", "c.png": "shot_002", "b.png": "shot_003", "a.png": "shot_004"}
    }
    assert {p.by for p in got.pairs} == {"measured"} and not got.gaps
    twins = [*SHOTS, Shot("shot_005", 5, SHOTS[3].attributes, "x", 5)]
    got = match(shuffled, twins, ways=("measured", "order"))
    assert [d.name for d in got.unsure] == ["a.png"]
    assert set(got.unsure[0].guesses[:2]) == {"shot_004", "shot_005"}
    assert got.gaps == ["shot_004", "shot_005"], "what is not sure fills no gap"
    wary = match(shuffled, SHOTS, ways=("measured",), own={"sure": 99})
    assert not wary.pairs and len(wary.unsure) == 4, "your own number wins"
    with pytest.raises(InputError, match="no value called 'shure'"):
        match(shuffled, SHOTS, own={"shure": 1})
    with pytest.raises(InputError, match=r"inbox\.yaw must be above 0"):
        match(shuffled, SHOTS, own={"yaw": 0})
    crowd = Candidate("e.png", (), looks(0.45, 3, "red", "white", faces=2))
    got = match([crowd], SHOTS, ways=("measured",))
    assert not got.pairs and "2 faces" in got.unsure[0].why
    foreign = Candidate("f.png", (), looks(0.95, 60, "magenta", "blue"))
    got = match([foreign], SHOTS, ways=("measured",))
    assert not got.pairs and not got.unsure and "fits no shot" in got.left["f.png"]


def test_order_is_believed_where_the_pictures_look_like_it() -> None:
    """Names in the shots' order are taken by order; the same pictures shuffled are not."""
    in_order = ["d.png", "c.png", "b.png", "a.png"]
    renamed = [Candidate(f"img{n}.png", (), SEEN[o]) for n, o in enumerate(in_order)]
    got = match(renamed, SHOTS)
    assert [(p.name, p.by) for p in got.pairs] == [(f"img{n}.png", "order") for n in range(4)]
    swapped = [Candidate(f"img{n}.png", (), SEEN[o]) for n, o in enumerate(reversed(in_order))]
    got = match(swapped, SHOTS)
    assert {p.by for p in got.pairs} == {"measured"}
    assert [p.name for p in got.pairs] == ["img3.png", "img2.png", "img1.png", "img0.png"]
    two = SHOTS[:2]
    vague = [Candidate(f"img{n}.png", (), looks(0.45, 3, "grey", "white")) for n in (1, 2)]
    got = match(vague, two, ways=("measured", "order"))
    assert {p.by for p in got.pairs} == {"order"}, "nothing speaks against the order"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10_000))
def test_a_margin_is_what_it_costs_to_do_without(pictures: int, shots: int, seed: int) -> None:
    """Against the whole problem solved again with the pair forbidden."""
    from scipy.optimize import linear_sum_assignment

    costs = np.random.default_rng(seed).random((pictures, shots)) * 10
    copies = min(4, -(-pictures // shots) + 1)

    def total(forbidden: tuple[int, int] | None = None) -> float:
        wide = np.concatenate([costs + (1.5 if n else 0) for n in range(copies)], axis=1)
        if forbidden:
            wide[forbidden[0], forbidden[1] :: shots] = 1e6
        whole = np.concatenate([wide, np.full((pictures, pictures), 6.0)], axis=1)
        return float(whole[linear_sum_assignment(whole)].sum())

    for row, one in enumerate(assign(costs, worst=6.0, again=1.5)):
        if one.shot is not None:
            assert one.margin == pytest.approx(total((row, one.shot)) - total(), abs=1e-9)


def test_words_call_up_colours() -> None:
    known = hues()
    assert hues_in("light blue shirt and beige trousers") == (known["light blue"], known["beige"])
    assert hues_in("a snow-covered village street") == (known["snow-covered"],)
    assert hues_in("nothing here") == ()


def test_real_drawings_are_told_apart() -> None:
    """Four drawings of one character, looked at; the wrong way round, so that order is no help."""
    faces = pytest.importorskip("limner.vision.faces")
    if faces.available("drawing") is not None:
        pytest.skip(f"no face finder here: {faces.available('drawing')}")
    from limner.atelier import Character, abilities, identity_from_seed, scene_for
    from limner.sources.intake.looks import look

    character = Character(identity_from_seed(5))
    first = next(iter(abilities()["lighting"]))
    more = {"expression": "happy", "lighting": first, "pose": "relaxed", "gaze": "camera"}
    drawn = []
    for shot in reversed(SHOTS):
        image = character.draw(scene_for({**shot.attributes, **more}, 3), 256).image
        drawn.append(Candidate(f"img{len(drawn)}.png", (), look(image, "drawing")))
    assert [c.looks.faces for c in drawn if c.looks] == [1, 1, 1, 1]
    got = match(drawn, SHOTS)
    assert {p.name: p.shot_id for p in got.pairs} == {
        f"img{n}.png": shot.id for n, shot in enumerate(reversed(SHOTS))
    }


def test_the_command_shows_what_is_not_sure_and_does_not_take_it(
    grace: Grace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = grace()
    drop = tmp_path / "drop"
    drop.mkdir()
    noise = np.random.default_rng(1).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(drop / "nothing.png")
    args = ["-C", str(project.root), "inbox", str(drop)]
    assert shell.run([*args, "--yes"]) == 1
    said = capsys.readouterr().out
    assert "not sure: nothing.png  perhaps shot_" in said and "name each after its shot" in said
    assert not project.store.takes()
    assert shell.run([*args, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["unsure"][0]["file"] == "nothing.png" and len(found["unsure"][0]["guesses"]) == 3
    assert len(found["gaps"]) == 8 and not found["pairs"]
