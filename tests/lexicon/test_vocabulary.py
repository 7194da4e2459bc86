"""What ships is sound, a project adds its own words, the atelier's stay as they are."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from limner import lexicon
from limner.errors import InputError
from limner.lexicon import drawable, tables
from limner.lexicon.constants import find_constants
from limner.lexicon.reading import FILES, GENRES, MIXES, check_links, read
from limner.shots import make_plan

OWN = """\
# the character's own clothes
blue_kimono:
  phrase: blue kimono
  pieces: [[a blue silk kimono, a printed blue kimono]]
  formality: formal
  wear: neutral
  season: any
"""


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    lexicon.learn(None)


def shipped_text(name: str) -> str:
    folder = Path(str(lexicon.__file__)).parent / "data"
    return (folder / f"{FILES[name]}.yaml").read_text(encoding="utf-8")


def test_what_ships_is_as_large_and_as_sound_as_it_says() -> None:
    tables = {axis: read(shipped_text(axis), axis, f"{FILES[axis]}.yaml") for axis in FILES}
    check_links(tables, {axis: tuple(words) for axis, words in tables.items()})
    least = {"outfit": 60, "setting": 60, "lighting": 20, "pose": 40, "camera": 10}
    assert all(len(tables[axis]) >= n for axis, n in least.items())
    moods = tables["expression"].values()
    assert len(moods) == 5 and all(len(set(m.expression)) >= 5 for m in moods)
    for place in tables["setting"].values():  # every place can be lit and someone can stand there
        assert lexicon.lights_at(place) and place.mix in MIXES and place.genres
        assert any(place.formality) and not place.lightings[len(set(place.lightings)) :]
    for axis in ("outfit", "setting", "lighting", "pose", "camera"):
        for value in tables[axis].values():
            assert find_constants(json.dumps(vars(value), default=vars)) == []
    assert {g for s in tables["setting"].values() for g in s.genres} == set(GENRES)
    phrases = [
        v.phrase for axis in ("outfit", "setting", "lighting") for v in tables[axis].values()
    ]
    assert len(phrases) == len(set(phrases))


@pytest.mark.parametrize("wear", ["feminine", "masculine", "neutral"])
def test_every_place_has_clothes_for_everyone(wear: str) -> None:
    from limner.shots.rules import rules_for

    rules = rules_for(wear)
    assert set(rules.values["setting"]) == set(lexicon.settings())
    assert len(rules.values["outfit"]) >= 50


def test_clothes_stay_where_people_wear_them() -> None:
    from limner.shots.rules import suits

    def places(outfit: str) -> set[str]:
        return {k for k, s in lexicon.settings().items() if suits(lexicon.outfits()[outfit], s)}

    indoors = {k for k, s in lexicon.settings().items() if s.mix == "indoor"}
    for coat in ("puffer_jacket", "parka_boots", "yellow_raincoat", "ski_jacket", "navy_peacoat"):
        assert places(coat) and not places(coat) & indoors, coat
    assert not places("ski_jacket") & {"tennis_court", "running_track", "beach"}
    assert not places("yoga_set") & {"ski_slope", "frozen_lake", "mountain"}
    assert "ski_slope" in places("ski_jacket") and "yoga_room" in places("yoga_set")


def test_the_ateliers_words_are_exactly_those_its_base_model_learned() -> None:
    said = json.dumps(
        {
            axis: [
                {k: v for k, v in vars(value).items() if k in ("id", "phrase", "lightings", "top")
                 or k in ("caption", "expression", "mood", "framings", "yaw", "face_share")}
                for value in drawable.axis(axis).values()
            ]
            for axis in lexicon.AXES
            if axis != "camera"
        },
        default=vars,
        sort_keys=True,
    )  # fmt: skip
    assert hashlib.sha256(said.encode()).hexdigest() == DRAWN
    assert all(o.top or o.dress for o in drawable.outfits().values())


DRAWN = "580b75a43010ce3c1b767a020da8bf0a2e581107fe5f9bd05db6ea28742d341f"
"""Digest of the drawable words; it may change only together with a newly trained miniature."""


def test_a_projects_own_words_are_planned(tmp_path: Path) -> None:
    (tmp_path / "outfits.yaml").write_text(OWN)
    (tmp_path / "settings.yaml").write_text(
        "tea_house: {phrase: tea house, names: [an old tea house], objects: [paper doors, a low "
        "table], mix: indoor, formality: [formal], season: any, lightings: [paper_lamp], "
        "has: [seat], genres: [lifestyle]}\n"
    )
    (tmp_path / "lightings.yaml").write_text(
        "paper_lamp: {phrase: paper lamp light, source: [a paper lamp], manner: [low and soft], "
        "kind: artificial, places: [library]}\n"
    )
    assert lexicon.learn(tmp_path) == {"lighting": 1, "outfit": 1, "setting": 1}
    assert "paper_lamp" in lexicon.lights_at(lexicon.settings()["library"])
    plan = make_plan(
        count=8,
        seed=1,
        quotas={"outfit": {"blue_kimono": 50}, "setting": {"tea_house": 50}},
        trigger="g_char",
        class_word="person",
        moves=0,
    )
    worn = [s for s in plan.shots if s.attributes["outfit"] == "blue_kimono"]
    assert len(worn) == 4 and all("kimono" in s.prompt for s in worn)
    assert "blue_kimono" not in drawable.outfits()
    lexicon.learn(None)
    assert "blue_kimono" not in lexicon.outfits()


WRONG = [
    (OWN.replace("formality: formal", "formality: posh"), r"outfits.yaml:5: blue_kimono.formality"),
    (OWN.replace("season: any", "seasons: any"), r"outfits.yaml:7: blue_kimono.seasons"),
    (OWN.replace("  wear: neutral\n", ""), r"outfits.yaml:2: blue_kimono"),
    (OWN.replace("blue_kimono:", "Blue Kimono:"), r"outfits.yaml:2: Blue Kimono"),
    (OWN.replace("blue_kimono:", "navy_suit:"), r"outfits.yaml: navy_suit"),
    (OWN.replace("a blue silk kimono", "a school uniform"), r"outfits.yaml:4: blue_kimono.pieces"),
    (OWN.replace("a blue silk kimono", "long auburn hair"), r"outfits.yaml: blue_kimono"),
    (OWN.replace("pieces: [[", "pieces: [[["), r"outfits.yaml:5"),
    (OWN + "  top: {kind: tshirt, colour: red}\n", r"outfits.yaml:8: blue_kimono.top"),
    (OWN + "  outdoor: maybe\n", r"outfits.yaml:8: blue_kimono.outdoor"),
    (OWN + "  top: tshirt\n", r"outfits.yaml:8: blue_kimono.top"),
    (OWN.replace("a blue silk kimono", "2026-02-30") + "  x: 2026-02-30\n", "outfits.yaml"),
]


@pytest.mark.parametrize(("text", "where"), WRONG)
def test_a_wrong_word_is_named_with_file_line_and_field(
    text: str, where: str, tmp_path: Path
) -> None:
    (tmp_path / "outfits.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        lexicon.learn(tmp_path)
    assert re.search(where, error.value.where or "")
    assert "blue_kimono" not in lexicon.outfits()


def test_a_colour_named_for_babies_is_a_colour(tmp_path: Path) -> None:
    (tmp_path / "outfits.yaml").write_text(OWN.replace("a blue silk", "a baby blue"))
    assert lexicon.learn(tmp_path) == {"outfit": 1}
    lexicon.learn(None)


def test_a_light_that_does_not_exist_and_a_file_that_is_not_read(tmp_path: Path) -> None:
    place = "den: {phrase: den, names: [a den], objects: [a rug, a lamp], mix: indoor, "
    place += "formality: [casual], season: any, lightings: [moonbeam]}\n"
    (tmp_path / "settings.yaml").write_text(place)
    with pytest.raises(InputError, match="no lighting 'moonbeam'"):
        lexicon.learn(tmp_path)
    (tmp_path / "settings.yaml").rename(tmp_path / "places.yaml")
    with pytest.raises(InputError, match=r"no vocabulary is read from places\.yaml"):
        lexicon.learn(tmp_path)


def test_two_projects_side_by_side_know_their_own_words_only(tmp_path: Path) -> None:
    """Each thread has its words; what is made of them and kept is kept apart."""
    from limner.captions import compile_text

    lexicon.learn(None)
    barrier = threading.Barrier(2)
    said: dict[str, list[str]] = {}

    def work(name: str, thing: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "outfits.yaml").write_text(
            OWN.replace("blue kimono", f"blue {thing}").replace("blue_kimono", f"blue_{thing}")
        )
        lexicon.learn(folder)
        barrier.wait(10)
        prompts = [f"g_char in a blue {t}" for t in ("zorblat", "quimby")]
        said[name] = [compile_text(p, "g_char").text for p in prompts]
        assert f"blue_{thing}" in lexicon.outfits()

    threads = [threading.Thread(target=work, args=a) for a in (("a", "zorblat"), ("b", "quimby"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for name, at, thing in (("a", 0, "zorblat"), ("b", 1, "quimby")):
        assert said[name][at] == f"g_char, wearing blue {thing}"
        assert "wearing" not in said[name][1 - at]  # the other's word is nobody's garment here
    assert len(lexicon.outfits()) == len(lexicon.shipped("outfit"))  # nobody else learned them


def test_a_generators_words_are_its_own_whoever_takes_the_steps(tmp_path: Path) -> None:
    """As a server runs them: other work between the steps, and each step in another thread."""
    lexicon.learn(None)
    (tmp_path / "outfits.yaml").write_text(OWN)

    @lexicon.confined
    def stage() -> Iterator[bool]:
        lexicon.learn(tmp_path)
        for _ in range(3):
            yield "blue_kimono" in lexicon.outfits()

    steps, seen = stage(), []
    for _ in range(3):
        thread = threading.Thread(target=lambda: seen.append(next(steps)))
        thread.start()
        thread.join(10)
        lexicon.learn(None)
    assert seen == [True] * 3 and next(steps, "end") == "end"
    assert "blue_kimono" not in lexicon.outfits()


@pytest.mark.parametrize("package", ["limner.lexicon", "limner.shots", "limner.captions"])
def test_the_parsed_words_are_those_of_the_yaml_files(package: str) -> None:
    file = Path(str(resources.files(package))) / "data" / tables.PARSED
    assert file.read_text("utf-8") == tables.compiled(package), "python scripts/build_words.py"


def test_an_edited_table_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "moods.yaml").write_text("one: {a: 1}\n")
    monkeypatch.setattr(tables, "_folder", lambda package: tmp_path)
    (tmp_path / tables.PARSED).write_text(tables.compiled("nowhere"))
    parsed: list[bytes] = []
    monkeypatch.setattr(tables, "parse", lambda data: parsed.append(data) or {"new": True})
    for function in (tables.table, tables._parsed):
        function.cache_clear()
    assert tables.table("nowhere", "moods") == {"one": {"a": 1}} and not parsed
    (tmp_path / "moods.yaml").write_text("two: {a: 1}\n")
    tables.table.cache_clear()
    assert tables.table("nowhere", "moods") == {"new": True} and len(parsed) == 1


def test_what_a_comma_parts_from_hair_or_face_is_no_constant() -> None:
    for text in (
        "grace_char in a long wool coat, face in half shadow",
        "red silk dress, hair loose",
        "a round table, face calm",
        "white shirt, hair windswept",
        "natural light, skin softly lit",
    ):
        assert find_constants(text) == [], text
    assert [c.words for c in find_constants("short, curly, dark brown hair")] == [
        "curly, dark brown hair"
    ]


def test_a_class_word_of_two_words_is_allowed_and_an_age_beside_it_is_not() -> None:
    assert find_constants("the same elderly man in a coat", "elderly man") == []
    found = find_constants("an old elderly man beside a young woman", "elderly man")
    assert [c.trait for c in found] == ["age", "age"]
