"""A run with every choice on: stopped, taken up, extended, the same bytes; samples are drawn."""

from __future__ import annotations

from typing import Any

from limner.events import collect
from limner.models import lora
from limner.project import Project
from limner.training import plan, train

ALL_ON = {
    "precision": "int8", "table": True, "whole": 1, "swapped": 1, "ring": 1, "optimizer_bits": 8,
}  # fmt: skip


def tensors(project: Project) -> list[str]:
    points = project.store.checkpoints(1)
    return [lora.info(project.path(p.path)).tensor_sha256 for p in points]


def test_a_run_with_all_choices_is_stopped_extended_and_has_the_same_bytes(
    make_project: Any,
) -> None:
    calm = make_project("calm", steps=6, checkpoints=2, ema=0.9, fast=ALL_ON)
    plan(calm, measure=False)
    collect(train(calm))

    torn = make_project("torn", steps=3, checkpoints=1, ema=0.9, fast=ALL_ON, samples=1)
    plan(torn, measure=False)
    collect(train(torn, stop_after=2))
    collect(train(torn))
    done = collect(train(torn, steps=6))
    assert done["state"] == "done"
    # step 3 was the end of the shorter run and is a checkpoint of the longer one
    assert tensors(torn)[-1] == tensors(calm)[-1]
    assert tensors(torn)[0] == tensors(calm)[0]
    drawn = list((torn.root / "logs" / "run_1" / "samples").rglob("*.png"))
    assert drawn, "the pipelines draw with the quantised, swapped base"
