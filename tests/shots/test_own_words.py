"""A project's plan with its own words, signature outfits and shots planned anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner import lexicon
from limner.errors import InputError, UsageError
from limner.events import collect
from limner.project import Project
from limner.shots import make_plan, plan, replan, take_in

KIMONO = """\
blue_kimono:
  phrase: blue kimono
  pieces: [[a blue silk kimono, a printed blue kimono]]
  formality: formal
  wear: neutral
  season: any
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project.create(
        tmp_path / "mio",
        name="Mio",
        trigger="mio_char",
        class_word="woman",
        likeness="synthetic",
    )
    made.change_character(
        shots={"count": 16, "signature": {"kimono": {"outfit": "blue_kimono", "shots": 5}}}
    )
    yield made
    lexicon.learn(None)


def test_own_clothes_are_planned_tagged_and_replanned(project: Project) -> None:
    with pytest.raises(InputError, match="no outfit 'blue_kimono'"):
        collect(plan(project))
    words = project.root / lexicon.OWN_FOLDER
    words.mkdir()
    (words / "outfits.yaml").write_text(KIMONO)
    found = collect(plan(project))
    assert any("kimono has 5 shots" in note for note in found["report"]["notes"])
    tagged = [s for s in project.store.shots() if s.attributes.get("outfit_tag") == "kimono"]
    assert len(tagged) == 5 and all("kimono" in s.prompt for s in tagged)

    before = {s.id: s for s in project.store.shots()}
    lost = tagged[0]
    assert collect(replan(project, [lost.id]))["replanned"] == [lost.id]
    after = {s.id: s for s in project.store.shots()}
    assert [i for i in after if after[i] != before[i]] == [lost.id]
    assert after[lost.id].attributes["outfit_tag"] == "kimono"
    assert after[lost.id].attributes["setting"] != lost.attributes["setting"]
    assert after[lost.id].prompt in (project.root / "shots" / "prompts.txt").read_text()
    assert not collect(plan(project))["changed"]  # it is still this plan

    take = project.store.journal_take(lost.id, "inbox", 1, {})
    with pytest.raises(UsageError, match=f"limner reject {take.id}"):
        collect(replan(project, [lost.id]))
    project.store.update_take(take.id, state="done")
    project.store.decide(take.id, "reject", [], "person")
    assert collect(replan(project, [lost.id]))["replanned"] == [lost.id]
    with pytest.raises(UsageError, match="no shot shot_999"):
        collect(replan(project, ["shot_999"]))


def test_one_plan_knows_nothing_of_another_projects_words(project: Project) -> None:
    words = project.root / lexicon.OWN_FOLDER
    words.mkdir()
    (words / "outfits.yaml").write_text(KIMONO)
    collect(plan(project))
    lexicon.learn(project.root.parent / "another" / lexicon.OWN_FOLDER)
    with pytest.raises(InputError, match="no outfit 'blue_kimono'"):
        make_plan(
            count=8,
            seed=1,
            quotas={"outfit": {"blue_kimono": 50}},
            trigger="g_char",
            class_word="woman",
        )


def test_prompts_of_ones_own_carry_the_outfits_tag_and_the_missing_ones_are_planned(
    project: Project,
) -> None:
    words = project.root / lexicon.OWN_FOLDER
    words.mkdir()
    (words / "outfits.yaml").write_text(KIMONO)
    file = project.root / "mine.txt"
    file.write_text(
        "Soft window light, mio_char in a blue silk kimono, close-up portrait, front view, in a "
        "library, calm smile, looking at camera\n"
        "Overcast daylight, mio_char in a sequined space cape, full body shot, front view, on a "
        "beach, standing, laughing, looking at camera\n"
    )
    found = collect(take_in(project, file))
    assert (found["imported"], found["planned"]) == (2, 14)
    shots = project.store.shots()
    worn = {s.id for s in shots if s.attributes.get("outfit") == "blue_kimono"}
    assert len(worn) == 5 == found["gaps"]["outfit"]["blue_kimono"]["got"]
    assert worn == {s.id for s in shots if s.attributes.get("outfit_tag") == "kimono"}
