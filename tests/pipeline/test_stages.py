"""The status as a project grows, goes back and grows again; read from records and folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from limner.errors import NotReadyError, UsageError
from limner.evaluation import choices
from limner.events import Event, Notice
from limner.pipeline import recovery, wiring
from limner.pipeline.stages import MAX_ATTEMPTS, checked_name, status
from limner.project import Project, files
from limner.project.folder import ASKED_FILE
from limner.project.records import Checkpoint, Shot


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(
        tmp_path / "p", name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
    )


def state(project: Project, stage: str) -> str:
    return str(next(s["state"] for s in status(project)["stages"] if s["name"] == stage))


def counts(project: Project, stage: str) -> dict[str, int]:
    return dict(next(s["counts"] for s in status(project)["stages"] if s["name"] == stage))


def then(project: Project) -> str:
    return str(status(project)["next"])


def shoot(project: Project, shot_id: str) -> int:
    take = project.store.journal_take(shot_id, "atelier", 1, {})
    project.store.update_take(take.id, state="done", path=f"takes/{take.id}.png")
    (project.root / "takes" / f"{take.id}.png").write_bytes(b"picture")
    return take.id


def test_pictures_that_are_gone_are_said(project: Project) -> None:
    store = project.store
    store.replace_shots([Shot("shot_001", 1, {"angle": "front"}, "prompt", seed=1)])
    take = shoot(project, "shot_001")
    store.decide(take, "keep", ["all rules passed"], "rule")
    assert state(project, "sources") == "done"
    (project.root / "takes" / f"{take}.png").unlink()
    assert state(project, "sources") == "partial" and counts(project, "sources")["gone"] == 1
    assert then(project) == f"limner reject {take}"
    store.decide(take, "reject", ["gone"], "person")
    assert then(project) == "limner generate", "rejected, it is made again"


def test_drawings_that_review_would_reject_for_their_size_are_not_drawn(project: Project) -> None:
    project.change_character(source__size=64)
    with pytest.raises(UsageError, match="64 px would all be rejected") as found:
        collect_all(wiring.generate(project))
    assert "source.size to 96" in str(found.value.fix)
    project.change_character(review__thresholds={"short_side_min": 64})
    with pytest.raises(NotReadyError, match="no plan"):  # the size is in order
        collect_all(wiring.generate(project))


def test_a_run_without_references_is_not_sent_to_be_judged(project: Project) -> None:
    store = project.store
    store.replace_shots([Shot("shot_001", 1, {"angle": "front"}, "prompt", seed=1)])
    take = shoot(project, "shot_001")
    store.decide(take, "keep", [], "rule")
    store.put_caption(take, "grace_char, close-up", "rule")
    lock = {"root": "dataset", "pictures": [], "held_out": []}
    store.add_dataset(path="dataset", lock_sha256="0", lock=lock, train=[take], held_out=[])
    store.add_plan(dataset_version=1, data={})
    run = {"dataset_version": 1, "trainer": "native", "config": {}, "path": "models/run_1"}
    store.add_run(plan_version=1, state="done", **run)
    found = status(project)
    assert found["next"] == "limner dataset build" and "set dataset.held_out in" in found["why"]


def test_captions_changed_in_files_are_named_and_go_into_the_dataset(project: Project) -> None:
    store = project.store
    axes = {"angle": "front", "framing": "close_up"}
    for n in (1, 2):
        store.replace_shots([Shot(f"shot_00{n}", n, axes, f"prompt {n}", seed=n)])
        take = shoot(project, f"shot_00{n}")
        store.update_take(take, sha256=files.sha256_file(project.root / f"takes/{take}.png"))
        store.decide(take, "keep", [], "rule")
        store.put_caption(take, f"grace_char, close-up {n}", "rule")
        (project.root / f"takes/{take}.txt").write_text(f"grace_char, close-up {n}")
    assert then(project) == "limner dataset build"
    mine = project.root / "takes" / "1.txt"
    mine.write_bytes("grace_char, caf\u00e9".encode("latin-1"))
    found = status(project)
    assert found["next"] == "limner captions compile" and "Save it as UTF-8" in found["why"]
    mine.write_text("grace_char, my own words\n")
    found = status(project)
    assert found["next"] == "limner captions compile"
    assert found["why"] == "1 caption was changed in a file and not read back yet."
    said = [e.text for e in wiring.build_dataset(project) if isinstance(e, Notice)]
    assert "shot_001: your caption was read back from its file." in said
    built = project.root / "dataset" / "40_grace_char" / "img_001.txt"
    assert built.read_text() == "grace_char, my own words"
    assert "edited" not in counts(project, "captions") and state(project, "dataset") == "done"
    built.write_text("grace_char, mended in the dataset")
    assert counts(project, "captions")["edited"] == 1
    collect_all(wiring.build_dataset(project))
    assert mine.read_text() == "grace_char, mended in the dataset"


def test_pictures_that_a_dataset_holds_are_not_lost(project: Project) -> None:
    store = project.store
    store.replace_shots([Shot("shot_001", 1, {"angle": "front"}, "prompt", seed=1)])
    take = shoot(project, "shot_001")
    picture = project.root / "takes" / f"{take}.png"
    store.update_take(take, sha256=files.sha256_file(picture))
    store.decide(take, "keep", ["all rules passed"], "rule")
    store.put_caption(take, "grace_char, close-up", "rule")
    copy = project.root / "dataset" / "v1" / "40_grace" / "img_001.png"
    files.write_bytes(copy, picture.read_bytes())
    rows = [{"file": "40_grace/img_001.png", "take": take}]
    lock = {"root": "dataset/v1", "pictures": rows, "held_out": []}
    store.add_dataset(path="dataset", lock_sha256="0", lock=lock, train=[take], held_out=[take])
    picture.unlink()
    found = status(project)
    assert found["next"] == "limner plan" and counts(project, "sources")["gone"] == 1
    assert "the dataset holds it, and the next evaluation, dataset," in found["why"]
    copy.write_bytes(b"another")
    assert collect_all(recovery.put_back(project)) == [] and not picture.exists()
    copy.write_bytes(b"picture")
    said = collect_all(recovery.put_back(project))
    assert said == ["1 picture was gone from takes/ and put back from the dataset."]
    assert picture.read_bytes() == b"picture" and "gone" not in counts(project, "sources")
    # nowhere left: before a training it is asked for, after one the LoRA stands
    picture.unlink()
    copy.unlink()
    assert then(project) == f"limner reject {take}"
    store.add_plan(dataset_version=1, data={})
    run = {"dataset_version": 1, "trainer": "native", "config": {}, "path": "models/run_1"}
    store.add_run(plan_version=1, state="done", **run)
    found = status(project)
    assert found["next"] == "limner evaluate", "to reject it would throw the training away"
    assert "bring it back from an archive or a release's dataset" in found["why"]


def collect_all(events: Iterable[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def test_the_next_step_walks_the_whole_way_and_back_when_something_changes(
    project: Project,
) -> None:
    store = project.store
    assert then(project) == "limner shots plan"
    store.replace_shots(
        Shot(f"shot_{n:03d}", n, {"angle": "front"}, f"prompt {n}", seed=n) for n in (1, 2)
    )
    assert (state(project, "shots"), then(project)) == ("done", "limner generate")
    first = shoot(project, "shot_001")
    assert state(project, "sources") == "partial" and counts(project, "sources")["wanting"] == 1
    second = shoot(project, "shot_002")
    assert (state(project, "sources"), then(project)) == ("done", "limner review")

    store.decide(first, "keep", ["all rules passed"], "rule")
    store.decide(second, "reject", ["no face"], "rule")
    assert (state(project, "review"), then(project)) == ("done", "limner generate")  # reopened
    again = shoot(project, "shot_002")
    store.decide(again, "undecided", ["sharpness at the limit"], "rule")
    assert then(project) == f"limner keep {again}"
    store.decide(again, "keep", ["looks right"], "person")
    assert then(project) == "limner captions compile"
    for take in (first, again):
        store.put_caption(take, "grace_char, close-up", "rule")
    assert then(project) == "limner dataset build"

    store.add_dataset(path="dataset", lock_sha256="0", lock={}, train=[first], held_out=[again])
    assert then(project) == "limner plan"
    store.add_plan(dataset_version=1, data={})
    assert then(project) == "limner train"
    run = {"dataset_version": 1, "trainer": "native", "config": {}, "path": "models/run_1"}
    store.add_run(plan_version=1, state="stopped", **run)
    assert (state(project, "training"), then(project)) == ("partial", "limner train")
    store.update_run(1, state="done")
    store.put_checkpoint(Checkpoint(1, 100, "models/run_1/step_000100.safetensors", "0"))
    assert then(project) == "limner evaluate"
    store.add_grid(run_version=1, settings={})
    cell = {"arm": "base", "strength": 1.0, "prompt_id": "e", "prompt": "p"}
    store.add_renders(1, [{"key": "a", "seed": 1, "phase": "choose", **cell}])
    store.update_render(store.renders(1)[0].id, state="done")
    assert then(project) == "limner evaluate"  # chosen, but the claim is not drawn
    store.add_renders(1, [{"key": "b", "seed": 2, "phase": "claim", **cell}])
    assert (state(project, "evaluation"), then(project)) == ("partial", "limner evaluate")
    store.update_render(store.renders(1)[1].id, state="done")
    asked = project.root / ASKED_FILE  # the one home of its name
    assert choices._file(project) == asked
    files.write_json(asked, {"run": 1, "done": False})
    assert then(project) == "limner evaluate"  # the tests that were asked for are not begun
    files.write_json(asked, {"run": 1, "done": True})
    assert then(project) == "limner verdict"
    store.add_verdict(grid_version=1, data={"word": "too close to call", "outcome": "too_close"})
    assert (state(project, "release"), then(project)) == ("waiting", "limner report")
    store.add_verdict(grid_version=1, data={"word": "the same person", "outcome": "same_person"})
    assert then(project) == "limner release"
    store.add_release(verdict_version=2, path="release/v1", data={})
    assert {s["state"] for s in status(project)["stages"]} == {"done"}
    assert then(project) == "limner archive"

    store.decide(again, "reject", ["a second look"], "person")
    store.decide(shoot(project, "shot_002"), "keep", ["better"], "person")
    assert then(project) == "limner captions compile"
    store.put_caption(counts(project, "sources")["takes"], "grace_char, close-up", "person")
    assert (state(project, "dataset"), then(project)) == ("stale", "limner dataset build")


def test_a_shot_that_never_works_out_does_not_hold_the_project_up(project: Project) -> None:
    store = project.store
    store.replace_shots(Shot(f"shot_{n:03d}", n, {}, f"prompt {n}", seed=n) for n in (1, 2))
    store.decide(shoot(project, "shot_001"), "keep", [], "rule")
    for _ in range(MAX_ATTEMPTS):
        assert then(project) == "limner generate"
        store.decide(shoot(project, "shot_002"), "reject", ["no face"], "rule")
    assert then(project) == "limner captions compile"
    assert counts(project, "sources")["wanting"] == 1  # still said


def test_an_open_question_is_asked_before_the_dataset_and_not_after(project: Project) -> None:
    store = project.store
    store.replace_shots(Shot(f"shot_{n:03d}", n, {}, f"prompt {n}", seed=n) for n in (1, 2))
    kept, open_take = shoot(project, "shot_001"), shoot(project, "shot_002")
    store.decide(kept, "keep", [], "rule")
    store.decide(open_take, "undecided", ["identity at the limit"], "rule")
    assert then(project) == f"limner keep {open_take}"
    store.put_caption(kept, "grace_char, close-up", "rule")
    store.add_dataset(path="dataset", lock_sha256="0", lock={}, train=[kept], held_out=[])
    assert then(project) == "limner plan" and counts(project, "review")["undecided"] == 1


def test_a_killed_take_is_asked_for_again(project: Project) -> None:
    project.store.replace_shots([Shot("shot_001", 1, {}, "prompt", seed=1)])
    project.store.journal_take("shot_001", "atelier", 1, {})
    assert state(project, "sources") == "ready" and then(project) == "limner generate"


def test_the_name_is_read_without_validating_twice_but_never_from_a_wrong_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checked_name(project) == "Grace"
    monkeypatch.setattr("limner.project.yamlfile.load", lambda file: pytest.fail("validated again"))
    assert checked_name(Project.open(project.root)) == "Grace"
    monkeypatch.undo()
    file = project.root / "character.yaml"
    file.write_text(file.read_text().replace("Grace", "Ada"))
    assert checked_name(Project.open(project.root)) == "Ada"


def test_a_trained_set_was_taken_without_the_shots_that_failed(project: Project) -> None:
    """Otherwise every command after a verdict asks for two pictures that nobody waits for."""
    store = project.store
    store.replace_shots([Shot(f"shot_00{n}", n, {}, "prompt", seed=n) for n in (1, 2)])
    good, bad = shoot(project, "shot_001"), shoot(project, "shot_002")
    store.decide(good, "keep", ["all rules passed"], "rule")
    store.put_caption(good, "grace_char, close-up", "rule")
    store.decide(bad, "reject", ["another person"], "rule")
    store.add_dataset(path="dataset", lock_sha256="0", lock={}, train=[good], held_out=[])
    assert then(project) == "limner generate", "not trained yet: two pictures are better than one"
    store.add_plan(dataset_version=1, data={})
    run = {"dataset_version": 1, "trainer": "native", "config": {}, "path": "models/run_1"}
    store.add_run(plan_version=1, state="done", **run)
    assert then(project) != "limner generate"
    assert counts(project, "sources")["wanting"] == 1, "it is still said"
    store.decide(good, "reject", ["six fingers"], "person")
    assert then(project) == "limner generate", "what the set had and lost is made again"
