"""`limner plan --explain`: every number of a project's plan says where it comes from."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from limner.training import fast, plan, planning
from limner.training.config import RunConfig
from limner.training.explaining import explain_plan


def test_every_number_of_a_projects_plan_is_explained(make_project: Any) -> None:
    found = plan(make_project("grace"), measure=False)
    lines = explain_plan(found)
    said = {line.split(" ")[0].rstrip(":"): line for line in lines}
    assert f"images = {found['images']}: pictures of dataset 1" in said["images"]
    assert said["optimizer_steps"].startswith("optimizer_steps = 12:")
    assert f"batch {found['batch']}" in said["image_passes"]
    assert "not measured: not timed: asked not to" in said["seconds"]
    assert (
        f"{found['memory']['tokens']} tokens" in said["memory"] and "[modelled]" in said["memory"]
    )
    assert "2 held-out pictures and as many training pictures" in said["fixed-noise"]
    assert {"checkpoints", "learning_rate", "rank", "disk", "guide"} <= set(said)
    timed = {**found, "seconds": 6.0, "seconds_per_step": 0.5, "pace_origin": "timing"}
    assert all(sum(parts) == pytest.approx(whole, rel=0.02) for whole, parts in _sums(found))
    assert any("6 [measured]: 12 steps x 0.5 s" in line for line in explain_plan(timed))


def _sums(found: dict[str, Any]) -> list[tuple[float, list[float]]]:
    """(peak, parts) of the memory line: here, on a card, and where caching needs the most."""
    plain = {**found["memory"], "tokens": 4352, "there": 80 * 10**9, "encoders_while_caching": 0}
    size = {"blocks": 60, "width": 3072, "joint": 3584}
    chosen = fast.planned(plain["there"], plain["tokens"], **size)
    config = replace(RunConfig.from_json(found["config"]), fast=chosen, batch=1, device="cuda")
    card = planning._as_chosen(plain, config, size)
    caching = planning._as_chosen({**plain, "encoders_while_caching": 90 * 10**9}, config, size)
    sums = []
    for memory in (found["memory"], card, caching):
        lines = explain_plan({**found, "memory": memory})
        line = next(text for text in lines if text.startswith("memory"))
        whole, said = re.fullmatch(r"memory = (\S+) GB \[modelled\]: (.+); .*", line).groups()  # type: ignore[union-attr]
        parts = said.split("; training")[0].split(" + ")
        sums.append((float(whole), [float(part.split()[-1]) for part in parts]))
    assert sums[1][0] > 25 and sums[2][0] == 90
    return sums
