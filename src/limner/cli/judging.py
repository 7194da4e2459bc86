"""Commands that judge a LoRA: evaluate (a grid of its own, or a trainer's samples) and verdict."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command, placed, project, root, screen
from limner.cli.show import Answer, sentences
from limner.errors import UsageError


class Kind(StrEnum):
    """What sort of pictures they are."""

    photo = "photo"
    drawing = "drawing"


class RendererName(StrEnum):
    """What draws the grid."""

    diffusers = "diffusers"
    comfyui = "comfyui"


@command(app, "evaluate")
def evaluate(
    race: Annotated[
        bool, typer.Option("--race", help="At most half of the full grid, with a stop rule")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Every checkpoint draws every picture")
    ] = False,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Most pictures; the grid is made to fit")
    ] = None,
    strengths: Annotated[
        str,
        typer.Option(help="Compare at these, e.g. 0.6,0.8,1.0  [default: evaluation.strengths]"),
    ] = "",
    tests: Annotated[
        str,
        typer.Option(
            help="Also draw, of the winner: all, none, or guide,far,strengths,variety  "
            "[default: as in this run's last evaluation]",
            show_default=False,
        ),
    ] = "",
    prompts: Annotated[
        Path | None, typer.Option(help="Also draw your prompts, one a line, of winner and base")
    ] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(help="Also draw the winner with this LoRA: FILE or FILE:STRENGTH; up to 3"),
    ] = None,
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Yes/no questions on the prompts to your vision endpoint"),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many pictures, how long, what it costs")
    ] = False,
    usd_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Your price of this machine  [default: its GPU's]")
    ] = None,
    renderer: Annotated[RendererName, typer.Option(help="What draws the pictures")] = (
        RendererName.diffusers
    ),
    url: Annotated[
        str | None, typer.Option(help="ComfyUI server  [default: source.comfyui.url]")
    ] = None,
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
        Kind | None,
        typer.Option(help="What the pictures of --samples are  [default: what the files say]"),
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
    if race and full:
        raise UsageError("--race and --full exclude each other", fix="Leave one out.")
    from limner.evaluation import pace
    from limner.evaluation.choices import Choices
    from limner.pipeline import evaluate as judge
    from limner.pipeline import pricing

    choices = Choices(
        mode="race" if race else "full" if full else None,
        budget=budget,
        strengths=_numbers(strengths),
        tests=tuple(t.strip() for t in tests.split(",") if t.strip()),
        own=placed(prompts) if prompts else None,
        styles=tuple(_style(text) for text in style or []),
        ask=ask,
        price=None if usd_per_hour is None else pricing.of_machine(usd_per_hour),
        dry_run=dry_run,
        rendering=_comfyui(url) if renderer is RendererName.comfyui else None,
    )
    found = screen().run(judge(project(), choices))
    if dry_run:
        phases = found["forecast"]["phases"].items()
        lines = [f"{n:>6,}  {phase}" for phase, n in phases if n]
        lines += [pace.words(found["forecast"]), pace.omitted(found["forecast"])]
        return Answer(found, [line for line in lines if line])
    chosen = found["chosen"]
    lines = [
        f"grid {found['grid']}: {found['pictures']} pictures, {found['drawn_now']} drawn now",
        f"best while choosing: {chosen['checkpoint']} at strength {chosen['strength']:g}",
        *(f"not drawn: {row['what']}; {row['command']}" for row in found["not_drawn"]),
    ]
    return Answer(found, lines)


def _numbers(text: str) -> tuple[float, ...]:
    """`0.6,0.8` as numbers. Raises UsageError."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(
            f"{text!r} is no list of strengths",
            where="--strengths",
            fix="Write numbers with commas between: --strengths 0.6,0.8,1.0",
        ) from None


def _comfyui(url: str | None) -> Any:
    from limner.render import comfy_rendering

    source = project().character.source
    return comfy_rendering(source.comfyui, url=url, limits=source.limits)


def _style(text: str) -> tuple[Path, float]:
    """`FILE` or `FILE:STRENGTH`."""
    name, _, number = text.rpartition(":")
    try:
        return (placed(Path(name)), float(number)) if name else (placed(Path(text)), 1.0)
    except ValueError:
        return placed(Path(text)), 1.0


def _samples(
    samples: Path,
    references: Path | None,
    strangers: Path | None,
    training: Path | None,
    kind: Kind | None,
) -> Answer:
    from limner import evaluation
    from limner.evaluation.existing import held_out_files

    if references is None and not (root() / "character.yaml").is_file():
        raise UsageError(
            "Outside of a project nothing says whom the samples should show",
            where="limner evaluate --samples",
            fix="Add --references DIR: six or more pictures of the character, not trained on.",
        )
    own = placed(references) if references else held_out_files(project())
    found: dict[str, Any] = screen().run(
        evaluation.evaluate_samples(
            placed(samples),
            own,
            strangers=placed(strangers) if strangers else None,
            training=placed(training) if training else None,
            kind=None if kind is None else ("photo" if kind is Kind.photo else "drawing"),
        )
    )
    lines = [*sentences(found), "", "Not measured:"]
    lines += [f"  {one['what']}: {one['reason']}" for one in found["not_measured"]]
    return Answer(found, lines)


@command(app, "verdict")
def verdict(
    against: Annotated[
        Path | None,
        typer.Option(help="Hold the newest verdict beside that of another project"),
    ] = None,
) -> Answer:
    """Say which checkpoint at which strength is best, and how sure that is.

    With --against nothing is spoken anew: the pictures that both projects drew from the same
    prompts and seeds are compared, as the runs of one project are in `advise`.
    """
    if against is not None:
        return _against(placed(against))
    from limner import evaluation

    found = screen().run(evaluation.verdict(project()))
    lines = [*sentences(found), ""]
    return Answer(found, [*lines, *_next_lines(found["next"])])


def _next_lines(rows: list[dict[str, str]]) -> list[str]:
    """What only says something first; then each command with its reason below it."""
    lines = [row["says"] for row in rows if not row["command"]]
    for number, row in enumerate(row for row in rows if row["command"]):
        lines += [f"{'or:  ' if number else 'next:'} {row['command']}", f"      {row['says']}"]
    return lines


def _against(folder: Path) -> Answer:
    from limner.pipeline.advising import against
    from limner.project import Project

    found = screen().run(against(project(), Project.open(folder)))
    lines = [
        f"{side['project']}: {side['checkpoint']} at strength {side['strength']:g}, "
        f"{side['hits']} of {side['n']}, {side['word']}"
        for side in (found["first"], found["second"])
    ]
    return Answer(found, [*lines, found["words"]])
