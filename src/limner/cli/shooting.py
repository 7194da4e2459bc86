"""Commands that plan shots: in a project from character.yaml, anywhere from options alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.making import shots_app
from limner.cli.shell import command, project, screen
from limner.cli.show import Answer

if TYPE_CHECKING:
    from limner.shots import ShotPlan

Replace = Annotated[bool, typer.Option("--replace", help="Plan anew; shots with takes stay")]
_ALONE = "Without a project: "


@command(shots_app, "plan")
def shots_plan(
    replace: Replace = False,
    count: Annotated[
        int | None, typer.Option("-n", "--count", help=f"{_ALONE}number of shots, 8 to 400")
    ] = None,
    seed: Annotated[int | None, typer.Option(help=f"{_ALONE}same seed, same plan")] = None,
    quota: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AXIS:VALUE=PERCENT,...",
            help=f"{_ALONE}shares of an axis, e.g. angle:front=50,side=20; can be repeated",
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"{_ALONE}seed or portrait")] = None,
    genre: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{_ALONE}lifestyle, studio, street, editorial, candid_phone; can be repeated"
        ),
    ] = None,
    trigger: Annotated[str | None, typer.Option(help=f"{_ALONE}the trigger word")] = None,
    class_word: Annotated[str | None, typer.Option(help=f"{_ALONE}woman, man, person")] = None,
    dialect: Annotated[
        str | None, typer.Option(help=f"{_ALONE}how prompts speak to a source")
    ] = None,
) -> Answer:
    """Plan the shots with exact quotas on every axis.

    In a project the numbers stand in character.yaml (`shots:`). With any option but --replace a
    plan is made from the options alone, shown, and nothing is written.
    """
    options = {
        "count": count,
        "seed": seed,
        "preset": preset,
        "genres": genre,
        "trigger": trigger,
        "class_word": class_word,
        "dialect": dialect,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if not given and not quota:
        from limner.pipeline import plan_shots

        found = screen().run(plan_shots(project(), replace=replace))
        return Answer(found, [f"{found['count']} shots planned: {found['prompts']}"])
    return _alone(given, quota or [])


def _alone(given: dict[str, Any], quota: list[str]) -> Answer:
    """A plan from options alone; count, seed and names have the defaults of a new project."""
    from limner.shots import PLANNED_COUNTS, make_plan, parse_quotas

    defaults: dict[str, Any] = {
        "count": 40,
        "seed": 1,
        "trigger": "my_char",
        "class_word": "person",
        "dialect": "inbox",
    }
    values = {**defaults, **given}
    _in_range(values["count"], PLANNED_COUNTS)
    made = make_plan(quotas=parse_quotas(quota), **values)
    return Answer(made.as_dict(), _lines(made))


def _in_range(count: int, counts: tuple[int, int]) -> None:
    from limner.errors import UsageError

    if not counts[0] <= count <= counts[1]:
        raise UsageError(
            f"A plan has {counts[0]} to {counts[1]} shots, not {count}",
            where="--count",
            fix="Give another number.",
        )


def _lines(made: ShotPlan) -> list[str]:
    report = made.report
    strongest = report["max_association"]
    v = "not measured" if strongest is None else f"{strongest:.2f}"
    return [
        made.text(),
        f"{report['count']} shots, quotas {'exact' if report['exact'] else 'NOT met'}; strongest "
        f"association (corrected V) {v}; "
        f"{100 * report['pairs_covered']:.0f} % of value pairs covered.",
        *report["notes"],
    ]


@command(shots_app, "replan")
def shots_replan(
    shots: Annotated[list[str], typer.Argument(help="Shots to plan anew, e.g. shot_003")],
) -> Answer:
    """Give lost or rejected shots another place, light and clothes in their own cell.

    Angle, framing, mood and every quota stay as they are, and so do all other shots.
    """
    from limner.pipeline import replan_shots

    found = screen().run(replan_shots(project(), shots))
    count = len(found["replanned"])
    words = "1 shot" if count == 1 else f"{count} shots"
    return Answer(found, [f"{words} planned anew: {found['prompts']}"])
