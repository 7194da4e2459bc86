"""How many pictures an evaluation will draw, and how long that takes on this machine.

In: a plan; what earlier evaluations under the same settings took. Out: a forecast and its sentence.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limner.evaluation.grid import GridPlan
from limner.evaluation.race import pictures_of
from limner.evaluation.testsets import PHASE
from limner.project import Project, files

FILE = "pace.json"


def forecast(project: Project, plan: GridPlan) -> dict[str, Any]:
    """Pictures a phase, pictures at most, of the full grid, seconds (None while unknown)."""
    size, tests = plan.size, plan.tests
    first = len({prompt for prompt, _ in plan.claim_cells})
    phases = {
        "strangers": len(plan.calibrate_cells),
        "choose": pictures_of(plan.rounds) + len(plan.choose_cells),
        "claim": len(plan.claim_cells) * (1 + size.rivals) + len(plan.untriggered_cells),
    }
    for one in tests.sets:
        phases[one.phase] = len(one.prompts) * one.seeds * (2 if one.base else 1)
    if tests.strengths:
        phases[f"{PHASE}strengths"] = first * len(tests.strengths)
    if tests.styles:
        phases[f"{PHASE}styles"] = first * len(tests.styles)
    total = sum(phases.values())
    each = _read(project).get(plan.render.fingerprint)
    return {
        "phases": phases,
        "pictures": total,
        "choosing": pictures_of(plan.rounds),
        "full_grid": len(plan.arms) * len(plan.choose_cells),
        "checkpoints": size.checkpoints,
        "seconds_a_picture": each,
        "seconds": None if each is None else round(each * total, 1),
    }


def words(found: dict[str, Any]) -> str:
    """`At most 214 pictures, about 12 min (3.4 s a picture, measured here).`"""
    text = (
        f"At most {found['pictures']:,} pictures: choosing draws {found['choosing']:,} of "
        f"{found['full_grid']:,} in the full grid"
    )
    each, seconds = found["seconds_a_picture"], found["seconds"]
    if each is None or seconds is None:
        return f"{text}; how long is known after the first pictures."
    minutes = seconds / 60
    said = f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min"
    return f"{text}; about {said} ({each:.2g} s a picture, measured here)."


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
