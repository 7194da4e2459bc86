"""Races, budgets, tests of the winner: what is drawn, and that the choice is the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import evaluation
from limner.errors import InputError, UsageError
from limner.evaluation.choices import Choices
from limner.evaluation.choose import Arm, Judged, choose
from limner.evaluation.pace import Price, omitted, words
from limner.evaluation.race import Size, pictures_of, race_rounds, still_in, within
from limner.evaluation.rules import rules
from limner.evaluation.stacking import stack
from limner.evaluation.table import Table
from limner.evaluation.testsets import make_tests, read_prompts
from limner.events import Notice, collect
from limner.models import lora, tensorfile
from limner.pipeline.pricing import table_name
from limner.project import Project, files
from limner.project.records import Checkpoint
from limner.render import Cell, Settings

from .conftest import PROMPTS, RGB8, Painter

LIMITS = rules()


def run(project: Project, painter: Painter, **choices: object) -> dict:  # type: ignore[type-arg]
    events = evaluation.evaluate(
        project,
        prompts=PROMPTS,
        open_renderer=painter.open,
        choices=Choices(**choices),  # type: ignore[arg-type]
    )
    return collect(events)


@pytest.fixture
def many(project: Project) -> Project:
    """Ten checkpoints and three seeds to choose by."""
    for step in range(500, 1100, 100):
        path = project.root / "models" / f"step_{step}.safetensors"
        files.write_bytes(path, f"checkpoint {step}".encode())
        project.store.put_checkpoint(
            Checkpoint(1, step, f"models/step_{step}.safetensors", files.sha256_file(path))
        )
    project.change_character(evaluation__seeds=3)
    return project


@pytest.fixture
def curve() -> Painter:
    """Better and better up to step 500, then worse: a sharp best."""
    best = dict(
        zip(range(100, 1100, 100), (0.1, 0.2, 0.4, 0.6, 0.9, 0.6, 0.5, 0.4, 0.3, 0.2), strict=True)
    )
    return Painter({f"step_{step}": value for step, value in best.items()})


def test_a_race_draws_at_most_half_and_chooses_the_same(many: Project, curve: Painter) -> None:
    whole = run(many, Painter(curve.likeness), mode="full")
    raced = run(many, curve, mode="race")
    assert whole["chosen"] == raced["chosen"] == {"checkpoint": "step_000500", "strength": 1.0}

    def choosing(grid: int) -> int:
        rows = many.store.renders(grid)
        return sum(r.phase == "choose" and r.arm != "base" for r in rows)

    assert choosing(whole["grid"]) == whole["full_grid"] == 120
    assert choosing(raced["grid"]) <= 60
    assert collect(evaluation.verdict(many))["word"] == "the same person"


def test_a_decided_race_stops(project: Project) -> None:
    project.change_character(evaluation__seeds=3)
    painter = Painter({"step_100": 0.0, "step_200": 0.05, "step_300": 0.1, "step_400": 0.97})
    events = list(
        evaluation.evaluate(
            project,
            prompts=PROMPTS,
            open_renderer=painter.open,
            choices=Choices(mode="race"),
        )
    )
    assert any("race is decided" in e.text for e in events if isinstance(e, Notice))
    rows = project.store.renders(1)
    drawn = sum(r.phase == "choose" and r.arm != "base" for r in rows)
    assert drawn < pictures_of(race_rounds(4, 12, share=0.5))
    data = collect(evaluation.verdict(project))
    assert data["checkpoint"] == "step_000400" and data["tied"] == []


def test_a_budget_is_kept_or_refused_before_anything_is_drawn(
    many: Project, curve: Painter
) -> None:
    forecast = run(many, curve, dry_run=True)["forecast"]
    assert forecast["pictures"] > 90 and forecast["usd"] is None
    assert "measured here, two pictures" in forecast["seconds_source"]
    assert forecast["usd_source"].startswith("not known: no price of this machine")
    # two short pictures told the pace; nothing of them is kept
    assert len(curve.cells) == 2 and curve.opened == 1 and many.store.grid() is None
    assert not list((many.root / "renders").rglob("*.png"))
    found = run(many, curve, mode="race", budget=90)
    assert found["pictures"] <= 90 and found["chosen"]["checkpoint"] == "step_000500"
    assert collect(evaluation.verdict(many))["n"] >= 20
    with pytest.raises(UsageError, match="does not reach a verdict"):
        run(many, curve, mode="race", budget=40)
    idle = Painter(curve.likeness)
    priced = Price(3600.0, "as given")
    again = run(many, idle, dry_run=True, ask=False, price=priced)["forecast"]
    assert again["seconds"] is not None and idle.opened == 0  # the pace is known now
    assert again["usd"] == pytest.approx(again["seconds"], abs=0.01)
    assert f"money: about {again['usd']:.2f} USD" in words(again) and "time: about" in words(again)


def test_a_pace_that_cannot_be_had_is_not_known(many: Project, curve: Painter) -> None:
    def broken(settings: Settings, references: Sequence[RGB8]) -> Painter:
        raise InputError("The server is away")

    events = evaluation.evaluate(
        many, prompts=PROMPTS, open_renderer=broken, choices=Choices(dry_run=True)
    )
    forecast = collect(events)["forecast"]
    assert forecast["seconds"] is None and forecast["usd"] is None
    assert "not known" in words(forecast) and "The server is away" in words(forecast)


def test_the_drivers_card_is_found_in_the_price_table() -> None:
    names = ["H100", "A100-80GB", "A100-40GB", "L40S", "RTX4090"]
    assert table_name("NVIDIA H100 80GB HBM3", names) == "H100"
    assert table_name("NVIDIA A100-SXM4-80GB", names) == "A100-80GB"
    assert table_name("NVIDIA GeForce RTX 4090", names) == "RTX4090"
    assert table_name("NVIDIA T4", names) is None
    every = [*names, "A40", "H200", "RTX6000Ada"]
    for other in ("NVIDIA RTX A4000", "NVIDIA GH200 480GB"):
        assert table_name(other, every) is None, "another card's price"
    assert table_name("NVIDIA RTX 6000 Ada Generation", every) == "RTX6000Ada"


@given(
    st.builds(
        Size,
        checkpoints=st.integers(1, 40),
        strengths=st.integers(1, 5),
        choose_prompts=st.integers(1, 12),
        seeds=st.integers(1, 4),
        claim_prompts=st.integers(1, 24),
        claim_seeds=st.integers(2, 6),
        untriggered=st.integers(0, 1),
        rivals=st.integers(1, 2),
        calibrate=st.integers(0, 100),
        share=st.sampled_from([0.0, 0.5]),
        first_look=st.just(4),
        finalists=st.just(3),
    ),
    st.integers(1, 2000),
)
@settings(max_examples=150, deadline=None)
def test_whatever_fits_is_within_the_budget(size: Size, budget: int) -> None:
    plan = size.rounds
    assert all(a[0] >= b[0] and a[1] < b[1] for a, b in pairwise(plan))
    arms, cells = size.checkpoints * size.strengths, size.choose_prompts * size.seeds
    if size.share and arms >= 6 and cells >= 8:
        assert pictures_of(plan) <= 0.5 * arms * cells
    try:
        found = within(size, budget, LIMITS)
    except UsageError:
        return
    assert found.pictures <= budget
    if size.pictures <= budget:
        assert found == size


def test_who_is_clearly_behind_leaves_and_equals_stay() -> None:
    rng = np.random.default_rng(5)
    prompt = rng.normal(0.5, 0.1, 8)

    def pictures(means: dict[int, float]) -> list[Judged]:
        return [
            Judged(
                Arm(step, 1.0), f"p{p}", 0, float(prompt[p] + m + rng.normal(0, 0.01)), True, True
            )
            for step, m in means.items()
            for p in range(8)
        ]

    def left(judged: list[Judged], keep: int, looks: int) -> list[int]:
        table = Table.of(judged)
        found = still_in(table, range(len(table.arms)), keep, LIMITS, looks)
        return [table.arms[i].step for i in found]

    assert left(pictures({100: 0, 200: 0.2, 300: 0.19}), 3, 3) == [200, 300]
    assert left(pictures({100: 0, 200: 0.3, 300: 0.1}), 3, 3) == [200]
    copies = pictures({100: 0.0})
    twice = [*copies, *(Judged(Arm(200, 1.0), *_rest(j)) for j in copies)]
    assert left(twice, 2, 2) == [100, 200]
    found = choose(twice, LIMITS)
    assert found.chosen.step == 100 and [t["step"] for t in found.tied] == [200]  # always a tie


def _rest(one: Judged) -> tuple[str, int, float, bool, bool]:
    return one.prompt_id, one.seed, one.score, one.match, one.face


def test_the_winner_is_tested(project: Project, painter: Painter, tmp_path: Path) -> None:
    own = tmp_path / "mine.txt"
    own.write_text("# mine\n{trigger} at the sea\na woman in a hat\n", encoding="utf-8")
    found = run(project, painter, tests=("all",), own=own)
    rows = project.store.renders(found["grid"])
    by_phase: dict[str, set[str]] = {}
    for row in rows:
        by_phase.setdefault(row.phase, set()).add(row.arm)
    assert by_phase["test:guide"] == by_phase["test:far"] == {"step_000300", "base"}
    guide = {r.prompt for r in rows if r.phase == "test:guide"}
    assert "grace_char, dancing, dynamic movement, joyful expression" in guide and len(guide) == 5
    strengths = {r.strength for r in rows if r.phase == "test:strengths"}
    assert strengths == {0.6, 0.7, 0.8, 0.9}  # 1.0 is the winner's own
    again = [r for r in rows if r.phase == "test:variety"]
    assert len(again) == 16 and len({r.prompt for r in again}) == 1
    mine = {r.prompt for r in rows if r.phase == "test:own"}
    assert mine == {"grace_char at the sea", "grace_char, a woman in a hat"}
    assert len({r.key for r in rows}) == len(rows)
    data = collect(evaluation.verdict(project))
    assert [m["what"] for m in data["not_measured"] if m["what"] == "variety at one prompt"] == []
    by_key = {m["key"]: m for m in data["measures"]}
    assert by_key["diversity_ratio"]["value"] > 0 and by_key["diversity_ratio"]["n"] == 8
    assert by_key["chroma_ratio"]["value"] is not None and by_key["skin_z"]["value"] is None
    assert "px apart" in by_key["skin_z"]["reason"]
    assert {t["test"] for t in data["tests"]} == {"guide", "far", "own", "variety"}
    marks = {b["key"]: b for b in data["benchmarks"]}
    assert marks["strengths"]["state"] == "measured" and len(data["strengths"]) == 5
    assert marks["strengths"]["passed"] is None  # 8 of 8 at each cannot show 90 %
    assert (
        marks["style_loras"]["state"] == "not_measured" and "--style" in marks["style_loras"]["how"]
    )
    assert len(marks) == 6 and marks["new_prompts"]["interval"]
    assert all(b["how"] for b in data["benchmarks"])
    assert run(project, Painter({}), tests=("all",), own=own)["drawn_now"] == 0


def test_a_style_lora_costs_identity_with_an_interval(
    project: Project, painter: Painter, tmp_path: Path
) -> None:
    q = "transformer_blocks.0.attn.to_q"
    for checkpoint in project.store.checkpoints(1):
        path = project.path(checkpoint.path)
        _lora(path, checkpoint.step, 4, (q,))
        sha256 = files.sha256_file(path)
        project.store.put_checkpoint(Checkpoint(1, checkpoint.step, checkpoint.path, sha256))
    style = tmp_path / "boreal.safetensors"
    _lora(style, 9, 4, (q,))
    painter.likeness["step_000300_0"] = 0.4  # what is stacked draws somebody less alike
    run(project, painter, styles=((style, 0.6),))
    data = collect(evaluation.verdict(project))
    found = data["styles"][0]
    assert (found["file"], found["strength"], found["n"]) == ("boreal.safetensors", 0.6, 8)
    assert found["difference"] < -0.1 and found["interval"][1] < 0
    assert found["hits"] < found["alone_hits"]
    # two of them: each alone, and both at once
    second = tmp_path / "grain.safetensors"
    _lora(second, 8, 2, (q,))
    drawn = run(project, painter, styles=((style, 0.6), (second, 0.4)))["drawn_now"]
    assert drawn == 16  # the first alone is there
    rows = collect(evaluation.verdict(project))["styles"]
    assert [(r["file"], r["strength"]) for r in rows] == [
        ("boreal.safetensors", 0.6),
        ("grain.safetensors", 0.4),
        ("boreal.safetensors at 0.6 + grain.safetensors", 0.4),
    ]
    assert [r["n"] for r in rows] == [8, 8, 8]


class Elsewhere:
    """A renderer with settings of its own, as a ComfyUI server has."""

    def __init__(self, painter: Painter) -> None:
        self.painter = painter

    def settings(self, settings: Settings) -> Settings:
        return replace(settings, renderer="server-1", precision="fp8")

    def open(self, settings: Settings, references: Sequence[RGB8]) -> Painter:
        assert settings.renderer == "server-1"
        return self.painter.open(settings, references)


def test_pictures_of_another_renderer_are_never_compared(
    project: Project, painter: Painter
) -> None:
    run(project, painter)
    collect(evaluation.verdict(project))
    there = Painter(painter.likeness)
    events = evaluation.evaluate(
        project, prompts=PROMPTS, choices=Choices(rendering=Elsewhere(there))
    )
    found = collect(events)
    assert there.opened == 1 and found["drawn_now"] == found["pictures"]  # none is shared
    assert collect(evaluation.verdict(project))["settings"]["renderer"] == "server-1"
    with pytest.raises(UsageError, match=r"different settings \(precision, renderer\)"):
        evaluation.compare(project, 1, 2)


def test_strengths_of_one_evaluation_and_what_was_not_looked_at(
    project: Project, painter: Painter
) -> None:
    found = run(project, painter, strengths=(0.6, 1.0, 1.0))
    assert {r.strength for r in project.store.renders(1) if r.phase == "choose" and r.step} == {
        0.6,
        1.0,
    }
    assert project.character.evaluation.strengths == [1.0]  # the file is as it was
    assert {row["test"] for row in found["not_drawn"]} == {
        *("guide", "far", "strengths", "variety", "own")
    }
    guide = next(row for row in found["not_drawn"] if row["test"] == "guide")
    assert guide["pictures"] == 20 and guide["command"] == "limner evaluate --tests guide"
    data = collect(evaluation.verdict(project))
    assert (
        "Strengths 0.6 and 1 were drawn; of the guide's range 0.6 to 1.0, 0.7, 0.8 and 0.9 were "
        "not looked at" in data["statement"]
    )
    how = {m["what"]: m.get("how") for m in data["not_measured"]}
    assert how["prompts far from the captions"] == ("limner evaluate --tests far && limner verdict")
    both = run(project, painter, strengths=(0.6, 1.0), tests=("guide",))
    commands = {row["test"]: row["command"] for row in both["not_drawn"]}
    assert commands["far"] == "limner evaluate --tests guide,far"  # else the guide's are not told
    assert commands["own"] == "limner evaluate --prompts FILE"  # the guide's are kept anyway
    with pytest.raises(UsageError, match="0 is no strength"):
        run(project, painter, strengths=(0.0, 1.0))


def test_the_next_evaluation_of_a_run_forgets_no_test_and_no_strength(
    project: Project, painter: Painter, tmp_path: Path
) -> None:
    def again(**choices: object) -> tuple[dict, list[str]]:  # type: ignore[type-arg]
        events = evaluation.evaluate(
            project,
            prompts=PROMPTS,
            open_renderer=painter.open,
            choices=Choices(**choices),  # type: ignore[arg-type]
        )
        said: list[str] = []
        for event in events:
            if isinstance(event, Notice):
                said.append(event.text)
        return event.value, [line for line in said if "before:" in line]  # type: ignore[union-attr]

    own = tmp_path / "mine.txt"
    own.write_text("{trigger} at the sea | Is it the sea?\n", encoding="utf-8")
    asked = {"tests": ("guide", "variety"), "strengths": (0.6, 1.0)}
    first, said = again(**asked, own=own)
    assert not said
    own.unlink()  # the words are kept, not the place they came from
    plain, said = again()
    assert plain["grid"] == first["grid"] and plain["drawn_now"] == 0
    assert said == [
        "As in the evaluation of run 1 before: tests guide, variety; your own prompts; "
        "strengths 0.6, 1. What you name takes the place of its kind; --tests none draws no tests."
    ]
    data = collect(evaluation.verdict(project))
    assert {t["test"] for t in data["tests"]} == {"guide", "variety", "own"}
    marks = {b["key"]: b["how"] for b in data["benchmarks"]}  # each can be pasted as it stands
    assert marks["strengths"] == "limner evaluate --tests guide,strengths,variety && limner verdict"
    assert marks["new_prompts"] == "limner evaluate --tests guide,far,variety && limner verdict"
    # what is named takes the place of its kind, and nothing else's
    far, _ = again(tests=("far",))
    assert far["grid"] == first["grid"] + 1
    assert {t["test"] for t in collect(evaluation.verdict(project))["tests"]} == {"far", "own"}
    project.change_character(evaluation__strengths=[0.8, 1.0])  # the newer word on strengths
    newer, said = again(dry_run=True)
    assert newer["forecast"]["strengths"] == [0.8, 1.0] and "strengths" not in said[0]
    none, said = again(tests=("none",), dry_run=True)
    assert not any(phase.startswith("test:") for phase in none["forecast"]["phases"])
    with pytest.raises(UsageError, match="exclude each other"):
        again(tests=("none", "far"))


def test_an_evaluation_that_was_stopped_goes_on_with_its_budget(
    many: Project, curve: Painter
) -> None:
    curve.die_after = 20
    with pytest.raises(KeyboardInterrupt):
        run(many, curve, mode="race", budget=130, tests=("variety",))
    curve.die_after = None
    found = run(many, curve)
    assert found["grid"] == 1 and found["pictures"] <= 130
    assert run(many, curve)["grid"] == 2  # it is done: the budget was its own


def test_strengths_that_were_all_compared_are_not_called_undrawn(
    project: Project, painter: Painter
) -> None:
    said = omitted(run(project, painter, dry_run=True, tests=("guide",))["forecast"])
    assert "drawn with --tests guide,far,strengths,variety" in said  # the guide's too
    found = run(project, painter, dry_run=True, strengths=(0.6, 0.7, 0.8, 0.9, 1.0))["forecast"]
    assert {row["test"] for row in found["not_drawn"]} == {"guide", "far", "variety", "own"}
    assert "drawn with --tests guide,far,variety" in omitted(found)


def test_tests_that_were_asked_for_count_for_the_budget(many: Project, curve: Painter) -> None:
    forecast = run(many, curve, dry_run=True, mode="race", budget=130, tests=("guide", "variety"))
    phases = forecast["forecast"]["phases"]
    assert phases["test:guide"] == 20 and phases["test:variety"] == 16
    assert forecast["forecast"]["pictures"] <= 130
    with pytest.raises(UsageError, match="does not reach") as refused:
        run(many, curve, dry_run=True, budget=90, tests=("guide", "variety", "far"))
    assert "68 of them for the tests" in str(refused.value.fix)


def test_a_style_that_is_no_lora_is_refused_before_anything(
    project: Project, painter: Painter, tmp_path: Path
) -> None:
    junk = tmp_path / "style.safetensors"
    junk.write_bytes(b"half written")
    for path, said in ((junk, "can not be used"), (tmp_path / "no.safetensors", "is missing")):
        with pytest.raises(InputError, match=said) as refused:
            run(project, painter, styles=((path, 0.6),), dry_run=True)
        assert refused.value.fix and refused.value.where == str(path)
    assert painter.opened == 0


def test_wrong_tests_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no test 'gide'"):
        make_tests(["gide"], trigger="t", class_word="woman")
    with pytest.raises(UsageError, match="needs your prompts"):
        make_tests(["own"], trigger="t", class_word="woman")
    with pytest.raises(InputError, match="cannot be read"):
        read_prompts(tmp_path / "nowhere.txt", "t")
    four = [(tmp_path / "a", 1.0)] * 4
    with pytest.raises(InputError, match="4 style LoRAs"):
        make_tests([], trigger="t", class_word="woman", styles=four)


def _lora(path: Path, seed: int, rank: int, modules: tuple[str, ...]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(seed)
    weights = {}
    for module in modules:
        weights[f"{module}.lora_A.weight"] = rng.normal(size=(rank, 6)).astype(np.float32)
        weights[f"{module}.lora_B.weight"] = rng.normal(size=(5, rank)).astype(np.float32)
    lora.save(path, weights, {})
    return {m: weights[f"{m}.lora_B.weight"] @ weights[f"{m}.lora_A.weight"] for m in modules}


def test_a_stack_changes_every_weight_by_the_sum(tmp_path: Path) -> None:
    q, k = "transformer_blocks.0.attn.to_q", "transformer_blocks.0.attn.to_k"
    one = _lora(tmp_path / "a.safetensors", 1, 4, (q, k))
    two = _lora(tmp_path / "b.safetensors", 2, 2, (q,))
    files_ = [(tmp_path / "a.safetensors", 0.8), (tmp_path / "b.safetensors", 0.5)]
    first = stack(files_, tmp_path / "out" / "s.safetensors")
    assert first == stack(files_, tmp_path / "out" / "again.safetensors")
    tensors = tensorfile.read(tmp_path / "out" / "s.safetensors")[0]

    def change(module: str) -> np.ndarray:  # type: ignore[type-arg]
        a, b = (tensors[f"transformer.{module}.lora_{p}.weight"].floats() for p in "AB")
        return b @ a

    np.testing.assert_allclose(change(q), 0.8 * one[q] + 0.5 * two[q], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(change(k), 0.8 * one[k], rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="missing"):
        stack([(tmp_path / "c.safetensors", 1.0)], tmp_path / "x.safetensors")
    assert Cell("p", 1, tmp_path / "out" / "s.safetensors", first, 1.0).lora_sha256 == first
