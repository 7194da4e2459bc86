"""Two projects of one character: their verdicts beside each other on the pictures both drew."""

from __future__ import annotations

import shutil

import pytest

from limner import evaluation
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import collect
from limner.pipeline.advising import against
from limner.project import Project, files
from limner.project.records import Checkpoint
from limner.render import png_bytes

from .conftest import PROMPTS, Painter, picture_of


def sibling(project: Project, name: str) -> Project:
    """The next project beside it: other LoRAs, other reference pictures of the same person."""
    root = project.root.with_name(name)
    shutil.copytree(project.root, root)
    made = Project.open(root)
    for point in made.store.checkpoints(1):
        path = made.path(point.path)
        files.write_bytes(path, f"{name} {point.step}".encode())
        made.store.put_checkpoint(Checkpoint(1, point.step, point.path, files.sha256_file(path)))
    for number in (1, 2, 3, 4):
        take = made.store.take(number)
        data = png_bytes(picture_of(1, 0.95, 700 + number))
        files.write_bytes(made.path(take.path or ""), data)
        made.store.update_take(number, sha256=files.sha256_bytes(data))
    return made


def judge(project: Project, painter: Painter) -> Project:
    collect(evaluation.evaluate(project, prompts=PROMPTS, open_renderer=painter.open))
    collect(evaluation.verdict(project))
    return project


def test_two_projects_are_compared_by_the_references_of_both(
    project: Project, painter: Painter
) -> None:
    other = sibling(project, "grace_2")
    with pytest.raises(NotReadyError, match="no verdict to compare"):
        collect(against(other, project))
    judge(project, painter)
    judge(other, Painter({"step_300": 0.45, "step_400": 0.45}))  # hardly the person
    before = other.store.verdict()
    found = collect(against(other, project))
    assert [row["by"] for row in found["judged"]] == ["grace", "grace_2"]
    for row in found["judged"]:
        assert row["shared_pictures"] == 24 and row["only_first"] > row["only_second"] + 10
    assert "grace_2 is worse than grace: by the references of grace, on 24 shared" in found["words"]
    turned = collect(against(project, other))
    assert "grace is better than grace_2" in turned["words"]
    assert other.store.verdict() == before  # nothing is spoken anew
    with pytest.raises(UsageError, match="this project itself"):
        collect(against(project, Project.open(project.root)))
    project.path(project.store.take(1).path or "").unlink()
    with pytest.raises(InputError, match="not all there"):
        collect(against(other, project))


def test_references_that_the_other_was_trained_on_do_not_judge(
    project: Project, painter: Painter
) -> None:
    other = sibling(project, "grace_2")
    taken = project.store.take(1)  # a reference here, a training picture there
    other.store.update_take(5, sha256=taken.sha256)
    shutil.copy(project.path(taken.path or ""), other.path(other.store.take(5).path or ""))
    judge(project, painter)
    judge(other, painter)
    found = collect(against(other, project))
    assert [row["by"] for row in found["judged"]] == ["grace_2"]
    assert "The references of grace do not judge" in found["words"]
    assert "too close to call" in found["words"]
