"""An evaluation from its plan to its verdict: chosen, claimed, killed, resumed, refused."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from limner import evaluation
from limner.errors import InputError, NotReadyError, UsageError
from limner.evaluation import pace
from limner.evaluation.choices import Choices
from limner.evaluation.grid import split_prompts, spread
from limner.evaluation.identity import Judge
from limner.evaluation.prompt import EvalPrompt
from limner.events import Notice, Progress, Result, collect
from limner.project import Project, files
from limner.release import story
from limner.render import Cell, png_bytes

from .conftest import PROMPTS, RGB8, Painter, hash_of, picture_of

REQUIRED = (
    *("checkpoint", "strength", "match_rate", "interval", "n", "base_match_rate"),
    *("base_interval", "control_match_rate", "control_interval", "tied", "threshold"),
    *("far", "far_n", "ceiling", "statement", "not_measured", "arms", "established"),
)


def control(project: Project) -> Path:
    path = project.root / "other.safetensors"
    header = json.dumps({"__metadata__": {"modelspec.trigger_phrase": "nova_char"}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def run(project: Project, painter: Painter, **more: object) -> dict:  # type: ignore[type-arg]
    return collect(
        evaluation.evaluate(project, prompts=PROMPTS, open_renderer=painter.open, **more)  # type: ignore[arg-type]
    )


def test_a_file_whose_steps_nobody_knows_is_called_by_its_name(
    project: Project, painter: Painter
) -> None:
    (last,) = (c for c in project.store.checkpoints(1) if c.step == 400)
    taken = {"counted_in": "order", "file": "grace.safetensors"}
    project.store.put_checkpoint(replace(last, data=taken))
    painter.likeness["step_300"] = 0.5
    run(project, painter)
    data = collect(evaluation.verdict(project))
    assert data["chosen"]["step"] == 400 and data["rates"][0]["name"].startswith("The file grace")
    assert "the file grace.safetensors at strength 1" in data["statement"].lower()
    assert "tep 400" not in data["statement"]
    rows = story.tell(project)["matrix"]["rows"]
    assert [r["name"] for r in rows][-1] == "grace.safetensors" and rows[-1]["unit"] == ""
    assert (rows[-2]["name"], rows[-2]["unit"]) == ("300", "steps")
    assert replace(last, step=5, data={"counted_in": "epochs"}).called == "epoch 5"


def test_what_to_do_next_with_a_file_names_no_step(project: Project, painter: Painter) -> None:
    (last,) = (c for c in project.store.checkpoints(1) if c.step == 400)
    taken = {"counted_in": "order", "file": "grace.safetensors"}
    project.store.put_checkpoint(replace(last, data=taken))
    painter.likeness |= {"step_200": 0.1, "step_300": 0.15, "step_400": 0.3}
    run(project, painter)
    poor = collect(evaluation.verdict(project))
    assert poor["word"] == "not the same person" and poor["chosen"]["step"] == 400
    said = [row["says"] for row in poor["next"]]
    assert "Likeness was highest at the file grace.safetensors, the last one" in said[0]
    assert "training.steps" not in " ".join(said)


def test_the_good_checkpoint_is_chosen_and_proved(project: Project, painter: Painter) -> None:
    found = run(project, painter, control=control(project))
    assert found["chosen"] == {"checkpoint": "step_000300", "strength": 1.0}
    data = collect(evaluation.verdict(project))
    assert all(key in data for key in REQUIRED)
    assert data["word"] == "the same person" and data["established"]
    assert data["interval"][0] > max(data["base_interval"][1], data["control_interval"][1])
    assert [t["checkpoint"] for t in data["tied"]] == ["step_000400"]
    assert data["n"] == data["base_n"] == data["control_n"] == 24
    assert data["far_n"] >= 400 and data["far"] <= 0.03 and data["ceiling"] > 0.9
    assert (data["embedder"], data["second"]["embedder"]) == ("drawn", "dlib")
    json.dumps(data)
    # claimed on fresh prompts and fresh seeds
    renders = project.store.renders(found["grid"])
    by_phase = {
        phase: {(r.prompt_id, r.seed) for r in renders if r.phase == phase}
        for phase in ("choose", "claim")
    }
    for part in (0, 1):
        first, second = ({cell[part] for cell in cells} for cells in by_phase.values())
        assert not first & second
    # and no noise is used for two prompts: their compositions would be alike
    for cells in by_phase.values():
        assert len({seed for _, seed in cells}) == len(set(cells))
    # every arm of the claim draws the same cells, the control by its own word
    claims = [r for r in renders if r.phase == "claim"]
    assert len({frozenset((r.prompt_id, r.seed) for r in claims if r.arm == a) for a in
                ("base", "control", "step_000300")}) == 1  # fmt: skip
    assert all("nova_char" in r.prompt for r in claims if r.arm == "control")
    leak = [r for r in claims if r.arm == "untriggered"]
    assert len(leak) == 8 and all("a woman" in r.prompt for r in leak)
    assert data["untriggered_n"] == 8 and data["untriggered_hits"] >= 6  # this painter ignores it
    assert "Without its trigger word the LoRA still draws this person" in data["statement"]
    copied = [m for m in data["measures"] if "copied from the training set" in m["name"]]
    assert copied[0]["value"] is not None and "of 24; base model" in copied[0]["note"]
    # halving: poor arms are seen less often than finalists
    seen = {a["checkpoint"]: a["n"] for a in data["arms"]}
    assert seen["step_000100"] < seen["step_000300"]
    match = project.store.scores(claims[0].id)["match"]
    assert match.value in (0.0, 1.0) and ">=" in match.tool
    # spoken twice, one verdict
    assert collect(evaluation.verdict(project)) == data and project.store.verdict(2) is None


class Fading(Painter):
    """Step 400 is good in the four pictures of the first look and poor in all later ones."""

    def pictures(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        for cell in cells:
            self.cells.append(cell)
            name = cell.lora.stem if cell.lora else "base"
            known = [(c.prompt, c.seed) for c in self.cells if c.lora == cell.lora]
            likeness = self.likeness.get(name, 0.0)
            if name == "step_400" and known.index((cell.prompt, cell.seed)) >= 4:
                likeness = 0.1
            person = 1 if name.startswith("step") else 2
            yield cell, picture_of(person, likeness, hash_of(cell.prompt) + cell.seed)


def test_a_lost_render_is_drawn_again_and_nothing_else(project: Project) -> None:
    """Rounds decide by what had been drawn when they began, so a later look sends nobody else."""
    painter = Fading({"step_100": 0.57, "step_200": 0.6, "step_300": 0.85, "step_400": 0.85})
    found = run(project, painter)
    renders = project.store.renders(found["grid"])
    lost = next(r for r in renders if r.arm == "step_000100")
    project.path(lost.path or "").unlink()
    project.path(renders[-1].path or "").write_bytes(b"changed")
    dry = run(project, painter, choices=Choices(dry_run=True))["forecast"]
    assert dry["drawn"] == len(renders) == found["pictures"]
    assert f"; {len(renders)} are there already" in pace.words(dry)
    again = run(project, painter)
    assert again["drawn_now"] == 2 and again["pictures"] == found["pictures"]
    assert again["chosen"] == found["chosen"]


def test_a_verdict_keeps_what_its_grid_was_drawn_by_and_says_so(
    project: Project, painter: Painter
) -> None:
    run(project, painter)
    first = collect(evaluation.verdict(project))
    project.change_character(evaluation__thresholds={"goal": 0.5, "finalists": 2})
    events = list(evaluation.verdict(project))
    (said,) = (e.text for e in events if isinstance(e, Notice))
    assert "goal 0.9, now 0.5" in said and "finalists" not in said and "limner evaluate" in said
    assert isinstance(events[-1], Result) and events[-1].value == first
    for wrong in ({"goal": 1.5}, {"finalists": 0}, {"fewest_references": 2.5}):
        project.change_character(evaluation__thresholds=wrong)
        (name,) = wrong
        with pytest.raises(InputError, match=f"evaluation.thresholds.{name} is .* must be"):
            collect(evaluation.verdict(project))


def test_a_lost_face_is_a_miss_with_a_reason(project: Project, painter: Painter) -> None:
    found = run(project, painter)
    lost = [
        project.store.scores(r.id)
        for r in project.store.renders(found["grid"])
        if project.store.scores(r.id)["face"].value == 0.0
    ]
    assert lost and all(s["identity_dlib"].value is None for s in lost)
    assert all(s["identity_dlib"].reason == "no face found" for s in lost)
    data = collect(evaluation.verdict(project))
    assert data["control_match_rate"] is None
    assert data["not_measured"][0]["what"] == "negative control"


def test_a_bad_lora_is_not_called_the_same_person(project: Project) -> None:
    run(project, Painter({}))
    data = collect(evaluation.verdict(project))
    assert data["word"] == "not the same person" and not data["established"]
    assert data["hits"] <= 2


def test_killed_anywhere_goes_on_and_draws_nothing_twice(
    project: Project, painter: Painter
) -> None:
    whole = Painter(painter.likeness)
    deaths = 0
    painter.die_after = 0
    while True:
        painter.die_after += 17
        try:
            found = run(project, painter)
            break
        except KeyboardInterrupt:
            deaths += 1
            for file in (project.root / "renders").rglob("*.png"):
                assert file.stat().st_size > 0
    assert deaths > 3 and found["grid"] == 1
    assert len(painter.cells) == found["pictures"] == len(set(painter.cells))
    again = run(project, whole)
    assert again["drawn_now"] == 0 and whole.opened == 0  # the model is not even opened
    lost = project.store.renders(1)[5]
    assert lost.path is not None
    project.path(lost.path).write_bytes(b"damaged")
    project.store.update_render(lost.id, state="pending")
    assert run(project, whole)["drawn_now"] == 1


def test_a_new_grid_takes_the_pictures_it_shares(
    project: Project, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[RGB8] = []
    look = Judge.look
    monkeypatch.setattr(
        Judge, "look", lambda self, picture: (seen.append(picture), look(self, picture))[1]
    )
    first = run(project, painter)
    collect(evaluation.verdict(project))
    project.change_character(evaluation__target_far=0.02)
    looked = len(seen)
    second = run(project, Painter(painter.likeness))
    assert second["grid"] == first["grid"] + 1 and second["drawn_now"] == 0
    assert len(seen) == looked  # what was read off a picture is not read again
    for one in project.store.renders(2):
        older = next(r for r in project.store.renders(1) if r.key == one.key)
        assert project.store.scores(one.id).keys() == project.store.scores(older.id).keys() - {
            "match"
        }
    collect(evaluation.verdict(project))
    beside = evaluation.compare(project, 1, 2)
    assert beside["shared_pictures"] == 24 and beside["p"] == 1.0
    project.change_character(evaluation__steps=3)
    run(project, painter)
    collect(evaluation.verdict(project))
    with pytest.raises(UsageError, match=r"different settings \(steps\)"):
        evaluation.compare(project, 1, 3)


def test_progress_has_an_eta(project: Project, painter: Painter) -> None:
    events = [
        e
        for e in evaluation.evaluate(project, prompts=PROMPTS, open_renderer=painter.open)
        if isinstance(e, Progress) and e.task == "claiming"
    ]
    assert events[-1].done == events[-1].total == 48 and events[0].eta is not None


def test_one_seed_is_not_enough_evidence(project: Project, painter: Painter) -> None:
    project.change_character(evaluation__claim_seeds=1)
    run(project, painter)
    data = collect(evaluation.verdict(project))
    assert data["word"] == "not enough evidence" and not data["established"]
    assert "1 fresh seed a prompt," in data["statement"]


def test_strangers_are_drawn_when_none_ship(
    project: Project, painter: Painter, tmp_path: Path
) -> None:
    (tmp_path / "strangers_drawing.npz").unlink()
    found = run(project, painter)
    drawn = [r for r in project.store.renders(found["grid"]) if r.phase == "calibrate"]
    assert len(drawn) == 100 and all("grace_char" not in r.prompt for r in drawn)
    data = collect(evaluation.verdict(project))
    assert data["far_n"] >= 100 and data["strangers"]["shipped"] == 0
    assert data["word"] == "the same person"


def test_nonsense_is_refused(project: Project, painter: Painter) -> None:
    with pytest.raises(NotReadyError, match="evaluated yet"):
        collect(evaluation.verdict(project))
    hidden = [EvalPrompt("e1", "grace_char from behind", {}, face_visible=False)]
    with pytest.raises(InputError, match="shows a face"):
        collect(evaluation.evaluate(project, prompts=hidden, open_renderer=painter.open))
    project.store.add_dataset(
        path="d", lock_sha256="0", lock={}, train=list(range(1, 17)), held_out=[]
    )
    project.store.add_run(
        plan_version=1, dataset_version=2, trainer="t", state="done", config={}, path="models/run_2"
    )
    with pytest.raises(NotReadyError, match="no checkpoint"):
        run(project, painter)
    for checkpoint in project.store.checkpoints(1):
        project.store.put_checkpoint(
            type(checkpoint)(2, checkpoint.step, checkpoint.path, checkpoint.sha256)
        )
    with pytest.raises(NotReadyError, match="no reference pictures"):
        run(project, painter)


def test_a_changed_checkpoint_and_a_missing_control_are_named(
    project: Project, painter: Painter
) -> None:
    with pytest.raises(InputError, match="control LoRA is missing"):
        run(project, painter, control=project.root / "nowhere.safetensors")
    (project.root / "models" / "step_300.safetensors").write_bytes(b"other")
    with pytest.raises(InputError, match="has changed"):
        run(project, painter)


def test_an_angle_nobody_is_seen_in_is_left_out_in_advance(
    project: Project, painter: Painter
) -> None:
    for number in (14, 15, 16):
        take = project.store.take(number)
        data = picture_of(1, 0.95, number, face=False)
        files.write_bytes(project.path(take.path or ""), png_bytes(data))
        project.store.update_take(
            number, labels={"angle": "back"}, sha256=files.sha256_bytes(png_bytes(data))
        )
    prompts = [*PROMPTS, EvalPrompt("b1", "grace_char from behind", {"angle": "back"})]
    found = collect(evaluation.evaluate(project, prompts=prompts, open_renderer=painter.open))
    assert found["excluded"] == [
        {"prompt_id": "b1", "reason": "angle back: a face is found in 0 of 3 of the own pictures"}
    ]
    data = collect(evaluation.verdict(project))
    assert any("angle back" in m["reason"] for m in data["not_measured"])


def test_a_far_figure_does_not_speak_for_its_angle(project: Project, painter: Painter) -> None:
    for number in range(5, 17):  # every training picture is a three-quarter view, most are far
        far = number > 8
        data = png_bytes(picture_of(1, 0.95, number, face=not far))
        labels = {"angle": "three_quarter", "framing": "full_body" if far else "close_up"}
        take = project.store.take(number)
        files.write_bytes(project.path(take.path or ""), data)
        project.store.update_take(number, labels=labels, sha256=files.sha256_bytes(data))
    prompts = [
        EvalPrompt(p.id, p.text, {"angle": "three_quarter", "framing": "close_up"}) for p in PROMPTS
    ]
    found = collect(evaluation.evaluate(project, prompts=prompts, open_renderer=painter.open))
    assert found["excluded"] == []
    data = collect(evaluation.verdict(project))
    assert data["ceiling_n"] == 4 and data["ceiling"] == 1.0  # of the kind that is asked for


def test_prompts_and_checkpoints_are_spread(project: Project) -> None:
    choose, claim = split_prompts(PROMPTS)
    assert len(choose) == 4 and len(claim) == 8 and not set(map(id, choose)) & set(map(id, claim))
    steps = [c.step for c in spread(project.store.checkpoints(1), 2)]
    assert steps == [100, 400]


def test_another_base_than_the_trained_one_is_refused(project: Project, painter: Painter) -> None:
    project.store.update_run(1, config={"run": {"base": "test", "base_fingerprint": "e" * 64}})
    with pytest.raises(InputError, match="not the one this run was trained on"):
        run(project, painter)
    project.store.update_run(1, config={"run": {"base": "test", "base_fingerprint": "f" * 64}})
    assert run(project, painter)["grid"] == 1


def _evaluate_and_die(root: Path, painter: Painter, after: int) -> None:
    painter.die_after = None
    pictures = painter.pictures

    def killed(cells: Sequence[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        for number, drawn in enumerate(pictures(cells)):
            if number == after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield drawn

    painter.pictures = killed  # type: ignore[method-assign]
    run(Project.open(root), painter)


def test_kill_9_loses_at_most_the_picture_in_hand(project: Project, painter: Painter) -> None:
    context = multiprocessing.get_context("fork")
    project.store.close()
    child = context.Process(target=_evaluate_and_die, args=(project.root, painter, 9))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    again = Project.open(project.root)
    before = again.store.renders(1, state="done")
    assert len(before) == 8 + 9  # the base's pictures, then nine of the first round
    found = run(again, painter)
    assert found["drawn_now"] == found["pictures"] - len(before) and found["grid"] == 1
    assert collect(evaluation.verdict(again))["word"] == "the same person"
