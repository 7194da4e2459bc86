"""`limner plan --explain`: every number of a project's plan says where it comes from."""

from __future__ import annotations

from typing import Any

from limner.training import plan
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
    assert any("6 [measured]: 12 steps x 0.5 s" in line for line in explain_plan(timed))
