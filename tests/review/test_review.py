"""Planted faults are found, good takes are kept, and a person always has the last word."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.cli.shell import run
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Notice, Progress, collect
from limner.project import Project
from limner.project.files import sha256_file
from limner.project.records import Shot
from limner.review import contact_sheet, keep, reject, review, undo
from limner.review.measuring import Job, measure
from limner.review.rules import rules
from limner.vision import dlib_faces, embedders, finder

Pictures = list[tuple[str, str, bytes]]
AddTake = Callable[[Project, str, bytes], int]


def take_of(project: Project, shot_id: str) -> int:
    return project.store.takes(shot_id=shot_id)[0].id


def said(project: Project, shot_id: str) -> tuple[str, str]:
    decision = project.store.standing_decisions()[take_of(project, shot_id)]
    return decision.verdict, "; ".join(decision.reasons)


def test_planted_faults_are_found_and_good_takes_are_kept(project: Project) -> None:
    result = collect(review(project))
    for name, words in {
        "stranger": "another person",
        "stranger_2": "another person",
        "blurred": "blurred",
        "mirrored": "mirrored copy of take 3",
        "no_face": "no face found",
        "cut_off": "damaged or cut off",
    }.items():
        verdict, reasons = said(project, name)
        assert verdict == "reject" and words in reasons, (name, verdict, reasons)
        shot = project.store.shot(name)
        assert shot is not None and shot.state == "open" and words in shot.hint
    good = {f"good_{i}": said(project, f"good_{i}") for i in range(9)}
    assert {verdict for verdict, _ in good.values()} == {"keep"}, good
    assert "not assessable: side view" in good["good_7"][1]
    assert "not assessable: pure back view" in good["good_8"][1]
    assert (result["keep"], result["reject"], result["kept_shots"]) == (9, 6, 9)

    back = project.store.measures(take_of(project, "good_8"))["identity_dlib"]
    assert back.value is None and back.reason == "not assessable: pure back view"
    own = project.store.measures(take_of(project, "good_0"))["identity_dlib"]
    other = project.store.measures(take_of(project, "stranger"))["identity_dlib"]
    assert own.value is not None and other.value is not None and own.value > other.value + 0.2


def test_what_was_measured_is_not_measured_again(project: Project) -> None:
    events = review(project)
    for _ in range(5):  # a run that dies after five takes
        assert isinstance(next(events), Progress)
    events.close()  # type: ignore[attr-defined]
    second = collect(review(project))
    assert second["takes"] == 15 and second["measured"] <= 10
    decisions = {t.id: project.store.decisions(t.id) for t in project.store.takes()}
    third = collect(review(project))
    assert third["measured"] == 0 and third["keep"] == second["keep"]
    assert {t.id: project.store.decisions(t.id) for t in project.store.takes()} == decisions
    file = project.path(project.store.takes(shot_id="good_1")[0].path or "")
    file.write_bytes(project.path(project.store.takes(shot_id="good_4")[0].path or "").read_bytes())
    fourth = collect(review(project))
    assert fourth["measured"] == 0  # those bytes were measured before, under another name
    assert said(project, "good_1")[0] != "keep"


def test_another_network_reads_anew(
    tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.png").write_bytes(pictures[0][2])
    job = Job(tmp_path / "one.png", "drawing", 24)
    assert [measure(job, tmp_path).cached for _ in range(2)] == [False, True]
    monkeypatch.setattr(embedders, "_drawn_card", lambda: {"version": "another"})
    assert [measure(job, tmp_path).cached for _ in range(2)] == [False, True]
    photo = Job(tmp_path / "one.png", "photo", 24)  # no shipped network reads a photograph
    assert not measure(photo, tmp_path).cached
    monkeypatch.undo()
    assert measure(photo, tmp_path).cached and measure(job, tmp_path).cached


def test_a_person_has_the_last_word(
    measured: Project, pictures: Pictures, add_take: AddTake
) -> None:
    project = measured
    second = add_take(project, "good_0", pictures[5][2] + b" ")
    third = add_take(project, "good_0", pictures[4][2] + b" ")
    collect(review(project))
    stranger = take_of(project, "stranger")
    keep(project, stranger, "a cousin, on purpose")
    reject(project, take_of(project, "good_1"), "odd hand")
    shot = project.store.shot("good_1")
    assert shot is not None and (shot.state, shot.hint) == ("open", "odd hand")
    collect(review(project))
    assert said(project, "stranger")[0] == "keep" and said(project, "good_1")[0] == "reject"

    first = take_of(project, "good_0")
    for chosen in (second, third, first):
        keep(project, chosen)
        kept = [t.id for t in project.store.kept() if t.shot_id == "good_0"]
        standing = project.store.standing_decisions()
        assert kept == [chosen]
        assert sum(standing[t].verdict == "keep" for t in (first, second, third)) == 1
    undo(project, first)  # what stood before stands again: the third was kept
    assert [t.id for t in project.store.kept() if t.shot_id == "good_0"] == [third]
    with pytest.raises(UsageError, match="was kept instead"):
        undo(project, second)  # two would be kept
    reject(project, third)
    undo(project, third)  # nobody stepped down for the rejection
    assert [t.id for t in project.store.kept() if t.shot_id == "good_0"] == [third]
    undo(project, stranger)
    assert said(project, "stranger")[0] == "reject"
    undone = project.store.shot("stranger")
    assert undone is not None and undone.state == "open" and "another person" in undone.hint
    with pytest.raises(UsageError, match="no decision by hand"):
        undo(project, stranger)


def test_of_two_good_takes_one_is_kept(
    measured: Project, pictures: Pictures, add_take: AddTake
) -> None:
    project = measured
    spare = add_take(project, "cut_off", pictures[5][2])
    project.store.update_shot("good_5", position=99)
    collect(review(project))
    kept = {t.shot_id: t.id for t in project.store.kept()}
    # the same picture stands in two shots: the earlier take keeps its place, the copy goes
    assert "good_5" in kept and kept.get("cut_off") != spare


def test_own_thresholds_and_wrong_names(measured: Project) -> None:
    project = measured
    project.change_character(review__thresholds={"short_side_min": 200})
    assert collect(review(project))["keep"] == 0
    assert "short side is 128 px, 200 are asked for" in said(project, "good_0")[1]
    project.change_character(review__thresholds={"sharpnes": 1})
    with pytest.raises(InputError, match="no rule 'sharpnes'"):
        collect(review(project))
    empty = Project.create(
        project.root.parent / "empty", name="E", trigger="e", class_word="man", likeness="synthetic"
    )
    with pytest.raises(NotReadyError, match="no takes"):
        collect(review(empty))


def test_without_the_extras_nothing_is_made_up(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlib_faces, "available", lambda: "install limner[faces]")
    monkeypatch.setattr(finder, "available", lambda: "install limner[vision]")
    notices = []
    collect(review(project, workers=1), show=lambda e: isinstance(e, Notice) and notices.append(e))
    assert any("install limner[faces]" in n.text for n in notices)
    found = project.store.measures(take_of(project, "stranger"))
    for name in ("identity_dlib", "identity_drawn", "face_count", "sharpness"):
        assert found[name].value is None and "install limner" in (found[name].reason or "")
    assert said(project, "mirrored")[0] == "reject"  # hashes need no face
    verdict, why = said(project, "stranger")
    assert verdict == "undecided" and "nobody looked for a face: install limner" in why
    monkeypatch.undo()
    assert collect(review(project))["measured"] == 14  # the extra is there now: read again


def test_the_contact_sheet_leaves_the_pictures_alone(measured: Project) -> None:
    project = measured
    with pytest.raises(NotReadyError):
        contact_sheet(
            Project.create(
                project.root.parent / "x", name="x", trigger="x", class_word="man",
                likeness="synthetic",
            )
        )  # fmt: skip
    sheet = np.asarray(Image.open(contact_sheet(project)))
    original = Image.open(io.BytesIO(project.path("takes/good_0_a1.png").read_bytes()))
    tile = sheet[8 : 8 + 224, 8 : 8 + 224]
    centre = tile[48:176, 48:176] if original.width < 224 else tile
    expected = np.asarray(original)
    assert hashlib.sha256(centre.tobytes()).digest() == hashlib.sha256(expected.tobytes()).digest()
    assert sheet.shape[0] == 8 + 2 * (224 + 62 + 8)


def test_photographs_may_be_as_small_as_the_project_asks() -> None:
    small = rules({}, short_side=512)["short_side_min"]
    assert (small.at("photo"), small.at("drawing")) == (512, 96)
    assert rules({"short_side_min": 200}, short_side=512)["short_side_min"].at("photo") == 200
    assert rules({})["short_side_min"].at("photo") == 1024


def test_a_person_is_told_what_review_could_not_compare_and_how_small_is_too_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project.create(
        tmp_path / "p", name="E", trigger="e", class_word="man", likeness="synthetic"
    )
    project.store.replace_shots([Shot("shot_001", 1, {"angle": "front"}, "prompt", seed=1)])
    picture = project.folder("takes") / "a.png"
    Image.new("RGB", (300, 300), (90, 120, 80)).save(picture)
    take = project.store.journal_take("shot_001", "inbox", 0, {})
    project.store.update_take(
        take.id, state="done", path="takes/a.png", sha256=sha256_file(picture)
    )
    assert run(["-C", str(project.root), "review"]) == 0
    out = capsys.readouterr().out
    assert "identity was compared in 0 of 1 pictures only" in out and "source.short_side" in out
    assert run(["review", str(picture.parent), "--out", str(tmp_path / "o")]) == 1
    assert "--threshold short_side_min=" in capsys.readouterr().out
    project.change_character(source__short_side=256)
    assert run(["-C", str(project.root), "review"]) == 0
    assert "source.short_side" not in capsys.readouterr().out
    Image.new("RGB", (80, 80), (90, 120, 80)).save(picture)  # a drawing has another least size
    project.store.update_take(take.id, source="atelier", sha256=sha256_file(picture))
    assert run(["-C", str(project.root), "review"]) == 0
    assert "(review.thresholds.short_side_min in character.yaml" in capsys.readouterr().out
