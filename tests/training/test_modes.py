"""Character modes and two folders in a plan: what they cost, what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.small_dataset import add_bodies, new
from limner.cli.shell import run
from limner.dataset import build
from limner.errors import UsageError
from limner.events import collect
from limner.training import hardware, modes
from limner.training.forecast import forecast
from limner.training.trainers import TRAINERS, Ask, DataSet


def plan(trainer: str, mode: str | None, control: int, **more: Any) -> dict[str, Any]:
    ask = Ask((DataSet(40, 40),), steps=3000, trainer=trainer, **more)
    return forecast(ask, hardware.Case(control=control), gpu="H100", mode=mode)


def test_a_size_alone_is_self_reference_and_a_mode_alone_one_megapixel() -> None:
    assert modes.resolve(None, None)[0].name == "none"
    assert (modes.resolve(None, 512)[0].name, modes.resolve(None, 512)[1]) == ("self", 512)
    assert modes.resolve("blank", None)[1] == 1024
    for mode, control in (("mirror", None), (None, 768), ("none", 512), ("self", 0)):
        with pytest.raises(UsageError):
            modes.resolve(mode, control)


@given(
    st.sampled_from(["native", "musubi-tuner", "SimpleTuner"]), st.sampled_from(["blank", "self"])
)
def test_a_reference_costs_memory_and_time_by_its_size(trainer: str, mode: str) -> None:
    none, small, large = (plan(trainer, m, c) for m, c in (("none", 0), (mode, 512), (mode, 1024)))
    assert none["template"] == "t2i" and small["template"] == "edit"
    assert none["hours"] < small["hours"] < large["hours"]
    assert small["image_passes"] == none["image_passes"]
    rows = {(r["mode"], r["control"]): r for r in none["modes"]}
    assert len(rows) == 5 and rows[mode, 512]["hours"] == pytest.approx(small["hours"], abs=0.01)
    assert all(r["evidence"] and r["evidence_tag"] for r in rows.values())


def test_what_a_trainer_cannot_is_a_finding() -> None:
    def rules(trainer: str, mode: str, control: int) -> dict[str, str]:
        found = plan(trainer, mode, control)["findings"]
        return {f["rule"]: f["severity"] for f in found}

    assert rules("kohya", "self", 512)["mode"] == "error"
    assert rules("SimpleTuner", "none", 0)["mode"] == "warning"
    assert {"control-size", "upstream"} <= set(rules("ai-toolkit", "blank", 512))
    assert "control-size" not in rules("ai-toolkit", "blank", 1024)
    assert not {"mode", "control-size", "upstream"} & set(rules("native", "self", 512))
    same = plan("ai-toolkit", "self", 512)["hours"]
    assert same == plan("ai-toolkit", "self", 1024)["hours"]  # it encodes a megapixel anyway


def test_checkpoints_that_would_be_deleted_are_refused_in_every_trainer() -> None:
    for trainer in TRAINERS:
        with pytest.raises(UsageError, match="would delete the first"):
            plan(trainer, None, 0, keep=3)
        assert plan(trainer, None, 0, keep=10)["checkpoints"]


def test_the_command_plans_both_folders_of_a_project_with_their_true_ratio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = new(tmp_path / "p")
    add_bodies(project)
    collect(build(project))
    command = ["-C", str(project.root), "plan", "--trainer", "musubi", "--gpu", "L40S"]
    assert run([*command, "--mode", "blank", "--control", "512", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["shares"] == {"character": round(680 / 720, 4), "realbody": round(40 / 720, 4)}
    assert (found["mode"], found["control"], found["images"]) == ("blank", 512, 19)
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "passes: character 17 x 40 = 94.4 % : realbody 2 x 20 = 5.6 %" in said
    assert "hours = " in said and "mode blank or self 1024 px" in said
    assert run([*command, "--mode", "mirror"]) == 2
