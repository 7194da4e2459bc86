"""The review's page: what a person may say stands under the picture, on a phone as on a desk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from limner.project.records import Measure
from limner.review.page import Tile, write_page

ODDS = {
    "characters": 6,
    "source": "a long/path/of/a/bench.py --with options, 256 px drawings",
    "reject_below": -1.06,
    "doubt_below": -0.58,
    "strangers": 305,
    "strangers_rejected": 0.967,
    "strangers_doubted": 0.974,
}


@pytest.fixture
def page(tmp_path: Path) -> Path:
    picture = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "grey").save(picture)
    seen = {
        "identity_dlib": Measure("identity_dlib", 0.61),
        "yaw": Measure("yaw", None, "", "no face of 24 px or more found"),
        "sharpness": Measure("sharpness", None, "", "no face of 24 px or more found"),
    }
    tiles = [
        Tile("shot_001  take 1", picture, "keep", (), seen, "drawing", take=1),
        Tile("shot_002  take 2", picture, "undecided", ("soft",), seen, "drawing", take=2),
        Tile("shot_003  take 3", tmp_path / "gone.png", "reject", ("x" * 90,), {}, take=3),
        Tile("shot_004  take 4", picture, "keep", (), seen, "drawing", picked=True, take=4),
    ]
    return write_page(tmp_path / "p.html", "grace <b>", tiles, calibration={"odds_drawing": ODDS})


def test_the_words_a_person_may_say_stand_where_they_are_needed(page: Path) -> None:
    html = page.read_text()
    words = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "1 picture waits for your eyes" in words and "grace &lt;b&gt;" in words
    assert "limner keep 2 or limner reject 2" in words and "limner keep 3" in words
    assert "limner keep 1 " not in words, "a kept picture asks for nothing"
    assert 'alt="shot_002  take 2, drawing, undecided"' in html
    assert "the picture cannot be read" in words and "97 % rejected" in words
    assert "strangers rejected 0.967" not in words


def test_what_was_not_measured_says_why_without_a_mouse(page: Path) -> None:
    html = page.read_text()
    words = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "not measured turn, sharp: no face of 24 px or more found" in words
    assert "not measured every score: not looked at yet" in words
    assert "drawn" not in words.split("What the scores are")[1].split("You decide")[0], "unused"


def test_in_a_folder_there_is_no_project_to_decide_in(tmp_path: Path) -> None:
    tiles = [Tile("a.png", None, "undecided", ("soft",), {})]
    html = write_page(tmp_path / "p.html", "folder", tiles, calibration={}).read_text()
    assert "limner keep" not in html
