"""Commands that judge a LoRA: evaluate (a grid of its own, or a trainer's samples) and verdict."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command, project, root, screen
from limner.cli.show import Answer
from limner.errors import UsageError


class Kind(StrEnum):
    """What sort of pictures they are."""

    photo = "photo"
    drawing = "drawing"


@command(app, "evaluate")
def evaluate(
    samples: Annotated[
        Path | None,
        typer.Option(help="Judge a trainer's sample folder instead; nothing is drawn"),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(help="The character's pictures, not trained on  [default: the held-out ones]"),
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(help="Pictures of other people, for the threshold of --samples")
    ] = None,
    training: Annotated[
        Path | None, typer.Option(help="Training pictures, to see copies among --samples")
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="What the pictures of --samples are  [default: seen]")
    ] = None,
) -> Answer:
    """Render checkpoints, base and control on the same prompts and seeds, and score them."""
    if samples is not None:
        return _samples(samples, references, strangers, training, kind)
    for name, given in (
        ("references", references),
        ("strangers", strangers),
        ("training", training),
        ("kind", kind),
    ):
        if given is not None:
            raise UsageError(f"--{name} goes with --samples", fix="Add --samples DIR.")
    from limner.pipeline import evaluate as judge

    found = screen().run(judge(project()))
    chosen = found["chosen"]
    lines = [
        f"grid {found['grid']}: {found['pictures']} pictures, {found['drawn_now']} drawn now",
        f"best while choosing: {chosen['checkpoint']} at strength {chosen['strength']:g}",
    ]
    return Answer(found, lines)


def _samples(
    samples: Path,
    references: Path | None,
    strangers: Path | None,
    training: Path | None,
    kind: Kind | None,
) -> Answer:
    from limner import evaluation
    from limner.evaluation.existing import held_out_files

    own = root() / references if references else held_out_files(project())
    found: dict[str, Any] = screen().run(
        evaluation.evaluate_samples(
            root() / samples,
            own,
            strangers=root() / strangers if strangers else None,
            training=root() / training if training else None,
            kind=None if kind is None else ("photo" if kind is Kind.photo else "drawing"),
        )
    )
    lines = [str(found["statement"]), "", "Not measured:"]
    lines += [f"  {one['what']}: {one['reason']}" for one in found["not_measured"]]
    return Answer(found, lines)


@command(app, "verdict")
def verdict() -> Answer:
    """Say which checkpoint at which strength is best, and how sure that is."""
    from limner import evaluation

    found = screen().run(evaluation.verdict(project()))
    return Answer(found, [str(found["statement"])])
