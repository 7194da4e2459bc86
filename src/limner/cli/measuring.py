"""Commands that train, judge and publish: plan, train, evaluate, verdict, release and papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command, project, root, screen
from limner.cli.show import Answer, duration, findings_answer
from limner.errors import UsageError


@command(app, "plan")
def plan() -> Answer:
    """Plan the training: steps, passes, checkpoints, memory and time."""
    from limner import training

    found = training.plan(project())
    return Answer(found, _plan_lines(found))


def _plan_lines(found: dict[str, Any]) -> list[str]:
    points, batch = found["checkpoints"], found["batch"]
    of = f"plan {found['version']} for dataset {found['dataset_version']}"
    time = "time: not measured"
    if found["seconds"] is not None:
        pace = f"{found['seconds_per_step']:.2g} s a step, {found['pace_origin']}"
        time = f"time: about {duration(found['seconds'])} ({pace})"
    elif found.get("seconds_reason"):
        time = f"time: not measured ({found['seconds_reason']})"
    return [
        f"{of}: {found['images']} pictures, {found['held_out']} held out",
        f"{found['optimizer_steps']} steps x batch {batch} = {found['image_passes']} passes",
        f"{len(points)} checkpoints, steps {points[0]['step']} to {points[-1]['step']}",
        time,
        f"memory: about {found['memory']['peak'] / 1e9:.2g} GB, "
        f"disk {found['disk_bytes'] / 1e6:.0f} MB",
        *(f"warning: {_warning(w)}" for w in found["warnings"]),
    ]


def _warning(warning: Any) -> str:
    return str(warning.get("text", warning)) if isinstance(warning, dict) else str(warning)


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
