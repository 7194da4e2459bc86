"""How many pictures an evaluation will draw, how long that takes on this machine, what it costs.

In: a plan; what earlier evaluations under the same settings took, or two short pictures; a price an
hour. Out: a forecast and its sentence.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.errors import LimnerError
from limner.evaluation.asking import requests
from limner.evaluation.drawing import OpenRenderer, Renderer
from limner.evaluation.grid import GridPlan, version_of
from limner.evaluation.ground import Ground
from limner.evaluation.race import pictures_of
from limner.evaluation.testsets import NAMES, PHASE, left_out
from limner.project import Project, files
from limner.render import Cell

FILE = "pace.json"


@dataclass(frozen=True)
class Price:
    """What an hour of this machine costs. usd None: `source` says why it is not known."""

    usd: float | None = None
    source: str = "no price of this machine is on record; give --usd-per-hour"


def forecast(project: Project, plan: GridPlan, price: Price, *, ask: bool) -> dict[str, Any]:
    """Pictures a phase, at most, there already, of the full grid; seconds and dollars, None while
    unknown; requests to the vision endpoint."""
    size, tests = plan.size, plan.tests
    planned = [plan.prompts[p] for p in dict.fromkeys(prompt for prompt, _ in plan.claim_cells)]
    first = len(planned)
    phases = {
        "strangers": len(plan.calibrate_cells),
        "choose": pictures_of(plan.rounds) + len(plan.choose_cells),
        "claim": len(plan.claim_cells) * (1 + size.rivals) + len(plan.untriggered_cells),
    }
    phases |= tests.pictures(first)
    strengths = sorted({arm.strength for arm in plan.arms})
    version = version_of(project, plan)
    drawn = 0 if version is None else len(project.store.renders(version, state="done"))
    found = {
        "phases": phases,
        "pictures": sum(phases.values()),
        "drawn": min(drawn, sum(phases.values())),
        "choosing": pictures_of(plan.rounds),
        "full_grid": len(plan.arms) * len(plan.choose_cells),
        "checkpoints": size.checkpoints,
        "questions": requests(plan) if ask else 0,
        "strengths": strengths,
        "not_drawn": left_out(tests, plan.trigger, plan.class_word, planned, strengths),
    }
    each = _read(project).get(plan.render.fingerprint)
    return timed(found, price, each, "measured here, earlier pictures" if each else UNKNOWN)


UNKNOWN = "no picture was drawn under these settings yet"


def timed(found: dict[str, Any], price: Price, each: float | None, source: str) -> dict[str, Any]:
    """A forecast with its time and money. each: seconds a picture, drawn and scored."""
    seconds = None if each is None else round(each * (found["pictures"] - found["drawn"]), 1)
    usd = None
    if seconds is not None and price.usd is not None:  # 0 is a price too: one's own machine
        usd = round(seconds / 3600 * price.usd, 2)
    reason = source if seconds is None else price.source
    return {
        **found,
        "seconds_a_picture": each,
        "seconds": seconds,
        "seconds_source": source,
        "usd": usd,
        "usd_per_hour": price.usd,
        "usd_source": f"not known: {reason}" if usd is None else price.source,
    }


SHORT = 2
"""Steps of the pictures that measure the pace (starting value)."""


def trial(
    plan: GridPlan, ground: Ground, references: Sequence[NDArray[np.uint8]], opener: OpenRenderer
) -> tuple[float | None, str]:
    """(seconds a picture, from what): two short pictures of the base, drawn, read, thrown away. The
    first, which warms up, does not count; encoding counts once a step, so it is rather too much."""
    short = replace(plan.render, steps=min(SHORT, plan.render.steps))
    prompt, seed = (plan.choose_cells or plan.claim_cells)[0]
    cells = [Cell(plan.prompts[prompt].text, seed + k) for k in range(2)]
    try:
        renderer = opener(short, references)
        try:
            seconds = [_one(renderer, ground, cell) for cell in cells][-1]
        finally:
            renderer.close()
    except LimnerError as error:
        return None, f"the pace could not be measured: {error.what}"
    drawn, read = seconds
    each = round(drawn * plan.render.steps / short.steps + read, 4)
    return each, f"measured here, two pictures of {short.steps} steps thrown away"


def _one(renderer: Renderer, ground: Ground, cell: Cell) -> tuple[float, float]:
    """Seconds to draw a picture, and to look at it."""
    began = time.monotonic()
    pictures = [picture for _, picture in renderer.pictures([cell])]
    drawn = time.monotonic()
    for picture in pictures:
        ground.judge.look(picture)
        ground.copy_measure(picture)
    return drawn - began, time.monotonic() - drawn


def words(found: dict[str, Any]) -> str:
    """`At most 214 pictures, ...; time: about 12 min (3.4 s a picture, ...); money: ...`"""
    text = (
        f"At most {found['pictures']:,} pictures: choosing draws {found['choosing']:,} of "
        f"{found['full_grid']:,} in the full grid"
    )
    if found["drawn"]:
        text += f"; {found['drawn']:,} are there already"
    if found["questions"]:
        text += f"; {found['questions']:,} requests to the vision endpoint"
    each, seconds = found["seconds_a_picture"], found["seconds"]
    if each is None or seconds is None:
        return f"{text}; time and money: not known ({found['seconds_source']})."
    minutes = seconds / 60
    said = f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min"
    said = said if minutes < 120 else f"{minutes / 60:.1f} h"
    text += f"; time: about {said} ({each:.2g} s a picture, {found['seconds_source']})"
    if found["usd"] is None:
        return f"{text}; money: {found['usd_source']}."
    return (
        f"{text}; money: about {found['usd']:.2f} USD where this machine is rented at "
        f"{found['usd_per_hour']:g} USD/h ({found['usd_source']})."
    )


def omitted(found: dict[str, Any]) -> str:
    """What a forecast does not hold and a reader might take for granted; empty for nothing."""
    named = [row for row in found["not_drawn"] if row["pictures"]]
    if not named:
        return ""
    rows = [f"{row['what']} ({row['pictures']})" for row in named]
    more = sum(row["pictures"] for row in named)
    # --tests takes the place of what is asked for now, so that stands in it again
    wanted = {row["test"] for row in named}
    wanted |= {phase.removeprefix(PHASE) for phase in found["phases"] if phase.startswith(PHASE)}
    tests = ",".join(name for name in NAMES if name in wanted - {"own"})
    return (
        f"Not among them: {', '.join(rows)}; drawn with --tests {tests}, at most {more} more "
        "pictures, now or later."
    )


def remember(project: Project, plan: GridPlan, drawn: int, seconds: float) -> None:
    """Keep the pace under these settings for the next forecast; few pictures say nothing."""
    if drawn < FEWEST:
        return
    kept = _read(project)
    kept[plan.render.fingerprint] = round(seconds / drawn, 4)
    files.write_json(_file(project), kept)


FEWEST = 8
"""Pictures below which the model's start-up would be counted for the pace (starting value)."""


def _file(project: Project) -> Path:
    return project.folder("renders") / FILE


def _read(project: Project) -> dict[str, float]:
    try:
        found = json.loads(_file(project).read_text(encoding="utf-8"))
        return {str(k): float(v) for k, v in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
