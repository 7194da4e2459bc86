"""The demo's frame: its folder, its seconds, and that it fails loudly. Its stages run elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.cli import shell
from limner.errors import UsageError
from limner.events import Events, Notice, Result
from limner.pipeline import walk
from limner.project import Project

GOOD = {
    **{"checkpoint": "step_000100", "strength": 1.0, "statement": "The same person."},
    **{"match_rate": 0.9, "interval": [0.8, 0.96]},
    **{"base_match_rate": 0.0, "base_interval": [0.0, 0.1]},
    **{"control_match_rate": 0.1, "control_interval": [0.02, 0.25]},
}
BAD = {**GOOD, "control_interval": [0.4, 0.85], "statement": "Too close to call."}


def short(monkeypatch: pytest.MonkeyPatch, verdict: dict[str, Any]) -> None:
    """A demo whose only stage writes this verdict."""

    def judge(project: Project) -> Events:
        project.store.add_dataset(path="d", lock_sha256="", lock={}, train=[], held_out=[])
        project.store.add_plan(dataset_version=1, data={})
        run = {"plan_version": 1, "dataset_version": 1, "trainer": "native", "state": "done"}
        project.store.add_run(config={}, path="models/run_1", **run)
        project.store.add_grid(run_version=1, settings={})
        project.store.add_verdict(grid_version=1, data=verdict)
        yield Notice("judged")
        yield Result(verdict)

    def steps(project: Project) -> list[walk.Step]:
        return [("verdict", lambda: project.store.verdict() is None, lambda: judge(project))]

    def report(project: Project) -> Path:
        path = project.folder("release") / "report.html"
        path.write_text("report")
        return path

    monkeypatch.setattr(walk, "_steps", steps)
    monkeypatch.setattr(walk, "_report", report)


@pytest.mark.parametrize(("verdict", "code"), [(GOOD, 0), (BAD, 3)])
def test_the_last_line_is_the_result_and_the_exit_code_the_truth(
    verdict: dict[str, Any],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    short(monkeypatch, verdict)
    keep = tmp_path / "kept"
    assert shell.run(["demo", "--keep", str(keep), "--json"]) == code
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert Path(found["report"]).read_text() == "report" and found["verdict"] == verdict
    assert set(found["seconds"]) == {"verdict", "report", "total"}
    assert ("error" in found) == (code == 3)
    assert shell.run(["-C", str(keep), "status", "--json"]) == 0  # a normal project
    assert Project.open(keep).character.likeness == "synthetic"


def test_a_failing_demo_says_so_to_people_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short(monkeypatch, BAD)
    assert shell.run(["demo", "--keep", str(tmp_path / "kept")]) == 3
    shown = capsys.readouterr().err
    assert "not established: Too close to call." in shown and "report.html" in shown


@pytest.mark.parametrize(("outcome", "wanted"), [("same_person", True), ("not_same", False)])
def test_only_the_same_person_is_released(outcome: str, wanted: bool, tmp_path: Path) -> None:
    """A verdict may be clear of base and control and yet match in too few pictures."""
    project, _ = walk.open_folder(tmp_path / "kept")
    project.store.add_dataset(path="d", lock_sha256="", lock={}, train=[], held_out=[])
    project.store.add_plan(dataset_version=1, data={})
    run = {"plan_version": 1, "dataset_version": 1, "trainer": "native", "state": "done"}
    project.store.add_run(config={}, path="models/run_1", **run)
    project.store.add_grid(run_version=1, settings={})
    todo = {name: wants for name, wants, _ in walk._steps(project)}
    assert not todo["release"](), "without a verdict there is nothing to release"
    project.store.add_verdict(grid_version=1, data={**GOOD, "outcome": outcome})
    assert todo["release"]() is wanted


def test_the_folder_is_a_new_one_or_a_demo_cut_short_never_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project, went_on = walk.open_folder(None)
    assert (project.root, went_on) == (Path("demo"), False)
    (Path("demo") / "character.yaml").unlink()  # killed while the project was made
    project, went_on = walk.open_folder(None)
    assert (project.root, went_on) == (Path("demo"), False)
    assert walk.open_folder(None)[1], "an unfinished demo goes on"
    short(monkeypatch, GOOD)
    list(walk.demo())
    assert walk.open_folder(None)[0].root == Path("demo-2")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("ten years of work")
    with pytest.raises(UsageError, match="not empty"):
        walk.open_folder(tmp_path / "mine")


@given(*[st.floats(0, 1)] * 3)
def test_established_means_clear_of_both(low: float, base: float, control: float) -> None:
    verdict = {"interval": [low, 1], "base_interval": [0, base], "control_interval": [0, control]}
    assert walk.established(verdict) == (low > base and low > control)


@pytest.mark.parametrize("lack", ["interval", "base_interval", "control_interval"])
def test_what_was_not_measured_establishes_nothing(lack: str) -> None:
    assert walk.established(GOOD)
    assert not walk.established({**GOOD, lack: None})
    assert not walk.established({k: v for k, v in GOOD.items() if k != lack})
