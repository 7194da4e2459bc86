"""The stages as the fault tests run them: small, in one process, by the functions users call."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from limner.events import collect
from limner.project import Project

COMMANDS = {
    "shots": ("pipeline", "plan_shots", {}),
    "generate": ("pipeline", "generate", {"workers": 1}),
    "review": ("review", "review", {}),
    "captions": ("captions", "compile", {}),
    "dataset": ("dataset", "build", {}),
    "plan": ("training", "plan", {}),
    "train": ("training", "train", {}),
    "evaluate": ("pipeline", "evaluate", {}),
    "verdict": ("evaluation", "verdict", {}),
    "release": ("release", "release", {"force": True}),
}
"""Stage -> package, function, arguments."""

STAGES = tuple(COMMANDS)


def make(root: Path, base: Path | None = None) -> Project:
    """A small project: 8 close-ups, and with a `base` a training and a grid of a few steps."""
    project = Project.create(
        root,
        name="grace",
        trigger="grace_char",
        class_word="woman",
        likeness="synthetic",
        description="A woman of 28 with auburn hair and green eyes.",
    )
    framing, angle = {"close_up": 100}, {"front": 50, "three_quarter": 50}
    project.change_character(
        shots__count=8, source__size=128, shots__quotas={"framing": framing, "angle": angle}
    )
    if base is not None:
        project.change_character(
            source__size=192,
            training={"base": str(base), "steps": 6, "batch": 2, "checkpoints": 2},
            evaluation={
                **{"prompts": 2, "seeds": 1, "claim_seeds": 1, "strengths": [1.0], "steps": 2},
                "thresholds": {"fewest_impostors": 2},
            },
        )
    return project


def run_stage(stage: str, root: Path) -> None:
    """Run one stage on the project in `root`."""
    if stage == "new":
        make(root)
        return
    project = Project.open(root)
    try:
        package, function, arguments = COMMANDS[stage]
        work = getattr(importlib.import_module(f"limner.{package}"), function)
        found = work(project, **arguments)
        if not isinstance(found, dict):
            collect(found)
    finally:
        project.store.close()


def files(root: Path) -> Iterator[Path]:
    """Every file of a project that is not the database and not a lock."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        ours = inside.parts[0] != ".limner" and not path.name.startswith("limner.db")
        if path.is_file() and ours and "tfevents" not in path.name:
            yield path
