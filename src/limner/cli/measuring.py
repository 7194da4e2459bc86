"""Commands that train."""

from __future__ import annotations

from typing import Annotated

import typer

from limner.cli.shell import app, command, project, screen
from limner.cli.show import Answer


@command(app, "train")
def train(
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run instead of going on with a stopped one")
    ] = False,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many optimizer steps; go on later")
    ] = None,
) -> Answer:
    """Train the LoRA by the newest plan; a stopped run goes on where it was."""
    from limner import training

    found = screen().run(training.train(project(), resume=not fresh, stop_after=stop_after))
    return Answer(found, [f"run {found['run']}: {len(found['checkpoints'])} checkpoints"])
