"""A project's plan: made, kept, checked and exported."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from limner import lexicon
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Notice, collect
from limner.lexicon import drawable
from limner.project import Project
from limner.shots import check, export, plan, replan, stage, take_in

MOON = """\
moon_base:
  {phrase: moon base, names: [a moon base, a lunar base], objects: [steel doors, grey dust],
  mix: indoor, formality: [casual, smart, formal], season: any, lightings: [softbox, neon]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(
        tmp_path / "grace",
        name="Grace",
        trigger="grace_char",
        class_word="woman",
        likeness="synthetic",
    )
    made.change_character(shots__count=16)
    return made


def test_a_plan_is_written_checked_and_handed_on(project: Project) -> None:
    with pytest.raises(NotReadyError):
        check(project)
    found = collect(plan(project))
    assert found["count"] == 16 and found["changed"] and found["report"]["exact"]
    assert check(project) == []
    text = (project.root / "shots" / "prompts.txt").read_text()
    shots = project.store.shots()
    assert "DOMAIN 1: FRONT ANGLES (5 prompts)" in text
    assert all(f"({s.id}):\n{s.prompt}\n" in text for s in shots)
    listed = json.loads(export(project, "json").read_text())
    assert [e["prompt"] for e in listed["shots"]] == [s.prompt for s in shots]
    assert listed["quotas"]["angle"] == {"front": 5, "three_quarter": 5, "side": 3, "back": 3}
    rows = list(csv.DictReader(export(project, "csv").open()))
    assert [r["prompt"] for r in rows] == [s.prompt for s in shots]
    with pytest.raises(UsageError, match="no export"):
        export(project, "pdf")


def test_an_equal_plan_stays_and_another_one_asks_first(project: Project) -> None:
    collect(plan(project))
    assert not collect(plan(project))["changed"]
    project.change_character(shots__seed=2)
    with pytest.raises(UsageError, match="plan of 16 shots"):
        collect(plan(project))
    assert collect(plan(project, replace=True))["changed"]
    project.store.journal_take("shot_001", "atelier", 1, {})
    project.change_character(shots__seed=3)
    with pytest.raises(UsageError, match="cannot be replaced"):
        collect(plan(project, replace=True))


def test_check_finds_what_a_person_broke(project: Project) -> None:
    collect(plan(project))
    first, second, third, fourth = project.store.shots()[:4]
    bad = {
        first.id: replace(first, prompt=f"{first.prompt} with long auburn hair, no hat"),
        second.id: replace(second, prompt=second.prompt.replace("grace_char", "grace char")),
        third.id: replace(third, prompt=second.prompt.replace("in ", "on ", 1)),
        fourth.id: replace(fourth, attributes={**fourth.attributes, "angle": "side"}),
    }
    project.store.replace_shots([bad.get(s.id, s) for s in project.store.shots()])
    rules = {(f["rule"], f["where"]) for f in check(project)}
    assert {("constant", first.id), ("negation", first.id), ("trigger", second.id)} <= rules
    assert ("shared_run", third.id) in rules and ("quota", "set") in rules


def test_thresholds_are_the_users_to_change(project: Project) -> None:
    collect(plan(project))
    project.change_character(shots={"count": 16, "thresholds": {"words_max": 40}})
    assert {f["rule"] for f in check(project)} == {"length"}
    project.change_character(shots={"count": 16, "thresholds": {"wordsmax": 40}})
    with pytest.raises(InputError, match="wordsmax"):
        check(project)


def test_a_source_that_knows_no_trigger_is_told_what_the_character_is(project: Project) -> None:
    project.change_character(class_word="elderly man", source__name="comfyui")
    collect(plan(project))
    assert all("elderly man" in s.prompt for s in project.store.shots())
    assert [f for f in check(project) if f["rule"] == "constant"] == []
    [anew] = collect(replan(project, ["shot_003"]))["replanned"]
    again = project.store.shot(anew)
    assert again is not None and "elderly man" in again.prompt


def test_words_that_are_gone_or_that_the_source_cannot_make_are_named(project: Project) -> None:
    words = project.root / lexicon.OWN_FOLDER
    words.mkdir()
    (words / "settings.yaml").write_text(MOON)
    abilities = {axis: [*drawable.axis(axis)] for axis in lexicon.AXES}
    notes = [e.text for e in plan(project, abilities=abilities) if isinstance(e, Notice)]
    assert "The source cannot make your own setting: moon_base - not planned." in notes
    project.change_character(shots__quotas={"setting": {"moon_base": 20}})
    collect(plan(project, replace=True))
    project.change_character(shots__quotas={})
    (words / "settings.yaml").unlink()
    for look in (check, export):
        with pytest.raises(InputError, match="'moon_base', which is no word any more"):
            look(project)


def test_prompts_of_ones_own_keep_to_the_projects_genres_and_count(project: Project) -> None:
    project.change_character(shots={"count": 10, "genres": ["studio"]})
    line = "Front view, close-up portrait of grace_char in a park, genuine smile, look {}\n"
    mine = project.root / "mine.txt"
    mine.write_text(line.format(0))
    collect(take_in(project, mine))
    planned = [s for s in project.store.shots() if "genre" in s.attributes]
    assert len(planned) == 9 and {s.attributes["genre"] for s in planned} == {"studio"}
    mine.write_text("".join(line.format(i) for i in range(20)))
    collect(take_in(project, mine, replace=True))
    said = [f["text"] for f in check(project) if f["rule"] == "quota"]
    assert "angle front: 20, asked for 6 of 20" in said
    mine.write_text("Front view, close-up portrait of a 12-year-old in a park\n")
    with pytest.raises(InputError, match="adults only"):
        collect(take_in(project, mine, replace=True))


def test_an_outfit_asked_to_stay_away_stays_away_beside_a_signature(project: Project) -> None:
    away = {k: 0.0 for k, o in lexicon.outfits().items() if o.formality != "smart"}
    work = {"work": {"outfit": "camel_coat", "shots": 6}}
    project.change_character(shots={"count": 16, "quotas": {"outfit": away}, "signature": work})
    collect(plan(project))
    worn = [s.attributes["outfit"] for s in project.store.shots()]
    assert worn.count("camel_coat") == 6 and not {*worn} & {*away}


def test_a_replan_that_is_stopped_halfway_is_done_again_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts are on disk before the records stand: no shot is planned anew twice."""
    collect(plan(project))
    before, file = project.store.shots(), project.root / "shots" / "prompts.txt"
    true_write = stage.write_text

    def write_and_die(path: Path, text: str) -> None:
        true_write(path, text)
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "write_text", write_and_die)
    with pytest.raises(KeyboardInterrupt):
        collect(replan(project, ["shot_003"]))
    monkeypatch.undo()
    assert project.store.shots() == before
    half = file.read_text()
    collect(replan(project, ["shot_003"]))
    assert file.read_text() == half and project.store.shots() != before
