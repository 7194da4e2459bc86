"""How to evaluate, and what is kept of it: the next evaluation of the same run asks for the same
strengths and tests unless it is told others, so that its verdict forgets nothing that was drawn.

In: what a person named this time, and renders/asked.json of the time before. Out: `Choices`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.errors import UsageError
from limner.evaluation.drawing import Rendering
from limner.evaluation.grid import Mode
from limner.evaluation.pace import Price
from limner.evaluation.prompt import EvalPrompt
from limner.evaluation.testsets import NAMES, NONE, Tests, own_prompts
from limner.project import Project, files
from limner.project.folder import ASKED_FILE


@dataclass(frozen=True)
class Choices:
    """How to evaluate. mode: plain halving, the race with its stop rule, or every cell; None is
    halving. budget: most pictures, tests included. strengths: in place of `evaluation.strengths`.
    tests: names of `testsets.NAMES`, or `all`, or `none`; own: file of the user's prompts, or the
    prompts; styles: other LoRAs with their strength, stacked with the winner. What is empty of
    these three and of strengths is as in the run's evaluation before, and mode and budget too where
    that one was stopped. rendering: another renderer than diffusers; ask: put yes/no questions on
    the prompts to the vision endpoint; price: of an hour of this machine; dry_run: say what would
    be drawn, how long and for how much; where no pace is known two short pictures measure it, and
    none is kept."""

    mode: Mode | None = None
    budget: int | None = None
    strengths: tuple[float, ...] = ()
    tests: tuple[str, ...] = ()
    own: Path | tuple[EvalPrompt, ...] | None = None
    styles: tuple[tuple[Path, float], ...] = ()
    rendering: Rendering | None = None
    ask: bool = False
    price: Price | None = None
    dry_run: bool = False


def carried(project: Project, run: int, choices: Choices) -> tuple[Choices, list[str]]:
    """(the choices with those of the run's evaluation before where none are named, what was taken
    over in words). Raises UsageError for `none` beside other tests."""
    fresh = NONE in choices.tests
    if fresh and len(choices.tests) > 1:
        raise UsageError(
            "`none` and other tests exclude each other",
            where="--tests",
            fix="Name the tests you want: they take the place of those before.",
        )
    found = replace(choices, tests=() if fresh else choices.tests)
    last = _read(project)
    if last.get("run") != run:
        return found, []
    said: list[str] = []
    if not fresh:
        found = _tests(project, found, last, said)
    # A change of character.yaml since then is the newer word.
    same_file = last["instead_of"] == project.character.evaluation.strengths
    if last["strengths"] and not choices.strengths and same_file:
        found = replace(found, strengths=tuple(last["strengths"]))
        said.append(f"strengths {', '.join(f'{s:g}' for s in found.strengths)}")
    if not last["done"] and choices.mode is None and choices.budget is None:
        found = replace(found, mode=last["mode"], budget=last["budget"])
        said += {"race": ["as a race"], "full": ["in full"]}.get(found.mode or "", [])
        said += [] if found.budget is None else [f"at most {found.budget:,} pictures"]
    return found, said


def _tests(project: Project, found: Choices, last: dict[str, Any], said: list[str]) -> Choices:
    if last["tests"] and not found.tests:
        found = replace(found, tests=tuple(last["tests"]))
        said.append(f"tests {', '.join(found.tests)}")
    if last["own"] and found.own is None:
        found = replace(found, own=own_prompts(last["own"]))
        said.append("your own prompts")
    if last["styles"] and not found.styles:
        root = project.root
        styles = tuple((Path(os.path.normpath(root / p)), float(s)) for p, s in last["styles"])
        found = replace(found, styles=styles)
        said += [f"{path.name} at {strength:g}" for path, strength in styles]
    return found


def words(run: int, said: Sequence[str]) -> str:
    """What was taken over, and how to have it otherwise."""
    return (
        f"As in the evaluation of run {run} before: {'; '.join(said)}. What you name takes the "
        "place of its kind; --tests none draws no tests."
    )


def keep(project: Project, run: int, choices: Choices, tests: Tests, *, done: bool) -> None:
    """Remember what is asked for; done: all of it is drawn."""
    names = {one.name for one in tests.sets} | ({"strengths"} if tests.strengths else set())
    own = next((one.prompts for one in tests.sets if one.name == "own"), ())
    files.write_json(
        _file(project),
        {
            "run": run,
            "done": done,
            "mode": choices.mode,
            "budget": choices.budget,
            "strengths": list(choices.strengths),
            "instead_of": project.character.evaluation.strengths,
            "tests": [name for name in NAMES if name in names and name != "own"],
            "own": [[prompt.text, list(prompt.questions)] for prompt in own],
            "styles": [[_place(project, path), strength] for path, strength in tests.styles],
        },
    )


def _place(project: Project, path: Path) -> str:
    """From the project, so that both can be moved together; on another drive as it is."""
    try:
        return os.path.relpath(path.resolve(), project.root.resolve())
    except ValueError:
        return str(path.resolve())


def _file(project: Project) -> Path:
    return project.root / ASKED_FILE


KEYS = frozenset(
    ("run", "done", "mode", "budget", "strengths", "instead_of", "tests", "own", "styles")
)


def _read(project: Project) -> dict[str, Any]:
    """Of the evaluation before; empty where there is none or the file is damaged."""
    try:
        found = json.loads(_file(project).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.keys() >= KEYS else {}
