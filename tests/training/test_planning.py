"""What a plan says of memory is what the run's own choices need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from limner.training import fast, plan, planning
from limner.training.config import RunConfig
from limner.training.fast.memory import Shape


def test_on_a_card_the_memory_is_that_of_the_choices(make_project: Any) -> None:
    found = plan(make_project("grace"), measure=False)
    plain = {**found["memory"], "tokens": 4352, "there": 24 * 10**9, "encoders_while_caching": 0}
    plain |= {"peak": 70 * 10**9, "peak_checkpointed": 45 * 10**9}
    size = {"blocks": 60, "width": 3072, "joint": 3584}
    chosen = fast.planned(plain["there"], plain["tokens"], **size)
    config = replace(RunConfig.from_json(found["config"]), fast=chosen, batch=1, device="cuda")
    memory = planning._as_chosen(plain, config, size)
    assert memory["peak"] <= memory["there"], "what was chosen to fit is said to fit"
    assert memory["transformer"] < 15e9 and memory["system"] > 10e9, "int8, its table elsewhere"
    shared = {**chosen, "precision": "bf16", "shard": True}
    halves = replace(config, fast=shared, processes=2, batch=2)
    alone = replace(config, fast={**shared, "whole": 60})
    saved = (
        planning._as_chosen(plain, alone, size)["transformer"]
        - planning._as_chosen(plain, halves, size)["transformer"]
    )
    assert saved == round((60 / 2 - 2) * Shape().linears * 2), "half of the blocks, but two whole"
