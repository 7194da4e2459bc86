"""Commands that train, judge and publish: train, evaluate, verdict, release and papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.shell import app, command, project, root, screen
from limner.cli.show import Answer, findings_answer
from limner.errors import UsageError


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


@command(app, "evaluate")
def evaluate() -> Answer:
    """Render checkpoints, base and control on the same prompts and seeds, and score them."""
    from limner.pipeline import evaluate as judge

    found = screen().run(judge(project()))
    chosen = found["chosen"]
    lines = [
        f"grid {found['grid']}: {found['pictures']} pictures, {found['drawn_now']} drawn now",
        f"best while choosing: {chosen['checkpoint']} at strength {chosen['strength']:g}",
    ]
    return Answer(found, lines)


@command(app, "verdict")
def verdict() -> Answer:
    """Say which checkpoint at which strength is best, and how sure that is."""
    from limner import evaluation

    found = screen().run(evaluation.verdict(project()))
    return Answer(found, [str(found["statement"])])


Out = Annotated[Path | None, typer.Option(help="Where to write it")]


@command(app, "release")
def release(
    out: Out = None,
    force: Annotated[
        bool, typer.Option("--force", help="Release although the verdict is not `the same person`")
    ] = False,
) -> Answer:
    """Bundle the LoRA of the verdict with its usage guide and report."""
    from limner import release as stage

    found = screen().run(stage.release(project(), out=out, force=force))
    return Answer(found, [f"release: {found['path']}"])


@command(app, "report")
def report(out: Out = None) -> Answer:
    """Write the project's report: one HTML file that opens without a network."""
    from limner import release as stage

    path = stage.report(project(), out)
    return Answer({"report": str(path)}, [f"report: {path}"])


@command(app, "archive")
def archive(
    out: Annotated[
        Path | None, typer.Option(help="File to write  [default: ./NAME.limner.zip]")
    ] = None,
) -> Answer:
    """Pack pictures, captions, settings, lock and verdict into one verifiable file."""
    from limner import release as stage

    here = project()
    target = out or Path(f"{here.root.resolve().name}.limner.zip")
    found = screen().run(stage.archive(here, target))
    return Answer(found, [f"archive: {found['path']}"])


@command(app, "verify")
def verify(
    path: Annotated[
        Path | None,
        typer.Argument(help="Archive, release folder or project  [default: this project]"),
    ] = None,
) -> Answer:
    """Check an archive, a release or a project against its own SHA-256 sums."""
    from limner import release as stage

    target = path or root()
    if not target.exists():
        raise UsageError("There is no such file", where=str(target), fix="Check the path.")
    return findings_answer(stage.verify(target), f"{target}: complete and unchanged")
