"""Two trainings are compared on the pictures both drew, beside what was changed between them."""

from __future__ import annotations

import json
from pathlib import Path

import advice_project as make
import pytest

from limner.advice import answer
from limner.cli import shell as cli
from limner.pipeline.advising import advise
from limner.project import Project
from limner.project.records import Measure


def second_version(project: Project, matches: int, steps: int = 12) -> None:
    """A run of rank 8 whose fresh pictures (the same prompts and seeds) match `matches` times."""
    store = project.store
    with store.transaction():
        store.add_run(plan_version=1, dataset_version=1, trainer="native", state="done",
                      config={"run": {**make.CONFIG, "rank": 8}}, path="models/run_2")  # fmt: skip
        store.add_grid(run_version=2, settings={"limits": {"copy_bits": 6}})
        cells = [
            {"key": f"two-{p}-{s}", "phase": "claim", "arm": "step_000200", "step": 200,
             "strength": 0.8, "prompt_id": f"f{p}", "prompt": f"f{p}", "seed": 10 + s}
            for p in range(12) for s in range(4)
        ]  # fmt: skip
        store.add_renders(2, cells)
        for number, render in enumerate(store.renders(2)):
            store.update_render(render.id, state="done", path=f"renders/{render.key}.png")
            store.put_scores(render.id, [Measure("match", float(number < matches))])
        data = dict(store.verdict(1).data)  # type: ignore[union-attr]
        settings = {**data["settings"], "steps": steps}
        store.add_verdict(grid_version=2, data={**data, "settings": settings})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make.build(tmp_path / "p")
    settings = {"true_cfg_scale": 4.0, "steps": 12}
    project.store.add_verdict(  # as the evaluation writes one: with a judge
        grid_version=1,
        data={**project.store.verdict().data, "judge": {}, "settings": settings},  # type: ignore[union-attr]
    )
    return project


def with_judge(project: Project) -> None:
    newest = project.store.verdict()
    assert newest is not None
    project.store.add_verdict(grid_version=2, data={**newest.data, "judge": {}})


@pytest.mark.parametrize(("matches", "said"), [(10, "worse"), (47, "too close to call")])
def test_versions_are_compared_picture_by_picture(
    project: Project, matches: int, said: str
) -> None:
    second_version(project, matches)
    with_judge(project)
    data = advise(project)
    (row,) = data["versions"]
    assert row["shared_pictures"] == 48 and row["changed"] == ["rank 16 -> 8"]
    assert said in row["words"] and "(rank 16 -> 8)" in row["words"]
    told = answer(data, "Was the new version an improvement?")
    assert told["answer"] == row["words"] and told["facts"]


def test_rounds_on_other_training_pictures_are_compared_by_the_same_references(
    project: Project,
) -> None:
    second_version(project, 10)
    store = project.store
    judge = {"references": ["r1", "r2"], "gallery": ["a", "b"], "tools": {"drawn": "t1"}}

    def speak(grid: int, threshold: float, **other: object) -> None:
        data = dict(store.verdict().data)  # type: ignore[union-attr]
        told = {"judge": {**judge, **other}, "threshold": threshold}
        store.add_verdict(grid_version=grid, data={**data, **told})

    speak(1, 0.6)
    speak(2, 0.6, gallery=["a", "c", "d"], strangers=40)
    (row,) = advise(project)["versions"]
    assert row["shared_pictures"] == 48 and "worse" in row["words"]
    # by another threshold than before: both by the stricter, from the likeness that was recorded
    for number, render in enumerate(store.renders(2)):
        likeness = Measure("identity_drawn", None if number == 0 else 0.85)
        store.put_scores(render.id, [likeness])
    speak(2, 0.82)
    (row,) = advise(project)["versions"]
    assert (row["only_first"], row["only_second"]) == (0, 47) and row["threshold"] == 0.82
    speak(2, 0.6, references=["r1", "r3"])
    (row,) = advise(project)["versions"]
    assert "different settings (reference pictures)" in row["why"]


def test_unlike_pictures_are_never_compared(project: Project) -> None:
    second_version(project, 10, steps=30)
    with_judge(project)
    (row,) = advise(project)["versions"]
    assert "p" not in row and "different settings (steps)" in row["why"]
    assert "cannot be compared" in row["words"]


def test_programs_get_commands_that_can_be_pasted_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`advise --json` names the project in its commands, and the next project from where one is."""
    project = make.build(tmp_path / "p")
    make.verdict(project, match_rate=0.1, hits=5, n=48, interval=[0.03, 0.23])
    project.store.close()
    assert cli.run(["-C", str(project.root), "advise", "--json"]) == 0
    data = json.loads(capsys.readouterr().out.splitlines()[-1])
    found = [r["command"] for s in data["symptoms"] for r in s["remedies"] if r["command"]]
    assert data["next"]["command"] in found
    for one in " && ".join(found).split(" && "):
        assert one.startswith((f"limner -C {project.root} ", f"limner -C {project.root}_2 ")), one
