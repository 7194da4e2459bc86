"""Commands that make the training folder: shots, generate, review, captions, dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from limner.cli.shell import app, command, project, screen
from limner.cli.show import Answer, findings_answer

shots_app = typer.Typer(help="What to photograph.", rich_markup_mode=None)
captions_app = typer.Typer(help="What the trainer is told.", rich_markup_mode=None)
dataset_app = typer.Typer(help="The folder a trainer reads.", rich_markup_mode=None)
app.add_typer(shots_app, name="shots")
app.add_typer(captions_app, name="captions")
app.add_typer(dataset_app, name="dataset")


@command(app, "review")
def review(
    again: Annotated[bool, typer.Option("--again", help="Measure judged takes anew")] = False,
) -> Answer:
    """Measure the takes and keep or reject them by rule; a reject reopens its shot."""
    from limner.pipeline import review as judge

    found = screen().run(judge(project(), again=again))
    lines = [
        f"{found['keep']} kept, {found['reject']} rejected, {found['undecided']} undecided",
        *(f"  {number} x {reason}" for reason, number in found["reasons"].items()),
        f"contact sheet: {found['contact_sheet']}",
    ]
    return Answer(found, lines)


Takes = Annotated[list[str], typer.Argument(help="Take numbers, or shots (their newest take)")]
Reason = Annotated[str, typer.Option(help="Why, for the record")]


def _decide(verb: str, takes: list[str], reason: str) -> Answer:
    from limner import review as stage
    from limner.pipeline.wiring import find_takes

    here = project()
    done = find_takes(here, takes)
    for take in done:
        if verb == "undo":
            stage.undo(here, take.id)
        elif verb == "keep":
            stage.keep(here, take.id, reason)
        else:
            stage.reject(here, take.id, reason)
    said = {"keep": "kept", "reject": "rejected", "undo": "taken back"}[verb]
    lines = [f"take {take.id} of {take.shot_id}: {said}" for take in done]
    return Answer({"takes": [t.id for t in done], "decision": verb}, lines)


@command(app, "keep")
def keep(takes: Takes, reason: Reason = "") -> Answer:
    """Keep takes by hand; a person's word beats the rules."""
    return _decide("keep", takes, reason)


@command(app, "reject")
def reject(takes: Takes, reason: Reason = "") -> Answer:
    """Reject takes by hand; their shots open again."""
    return _decide("reject", takes, reason)


@command(app, "undo")
def undo(takes: Takes) -> Answer:
    """Take back the newest decision on takes."""
    return _decide("undo", takes, "")


@command(dataset_app, "build")
def dataset_build() -> Answer:
    """Build a numbered training folder from the kept takes, with its lock file."""
    from limner import dataset

    found = screen().run(dataset.build(project()))
    lines = [
        f"dataset {found['version']}: {found['train']} pictures to train on, "
        f"{found['held_out']} held out",
        f"folder: {found['path']}",
    ]
    return Answer(found, lines)


@command(dataset_app, "check")
def dataset_check() -> Answer:
    """Check the newest training folder against its lock and the rules of trainers."""
    from limner import dataset

    return findings_answer(dataset.check(project()), "dataset: nothing found")
