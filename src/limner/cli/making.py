"""Commands that make the training folder: shots, generate, review, captions, dataset."""

from __future__ import annotations

import typer

from limner.cli.shell import app, command, project, screen
from limner.cli.show import Answer, findings_answer

shots_app = typer.Typer(help="What to photograph.", rich_markup_mode=None)
captions_app = typer.Typer(help="What the trainer is told.", rich_markup_mode=None)
dataset_app = typer.Typer(help="The folder a trainer reads.", rich_markup_mode=None)
app.add_typer(shots_app, name="shots")
app.add_typer(captions_app, name="captions")
app.add_typer(dataset_app, name="dataset")


@command(dataset_app, "build")
def dataset_build() -> Answer:
    """Build a numbered training folder from the kept takes, with its lock file."""
    from limner.pipeline import wiring

    found = screen().run(wiring.build_dataset(project()))
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
