"""A project's plan: made, kept, checked and exported."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from limner.errors import InputError, NotReadyError, UsageError
from limner.events import collect
from limner.project import Project
from limner.shots import check, export, plan


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
