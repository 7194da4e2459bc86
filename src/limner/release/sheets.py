"""The two walls of pictures: checkpoint by prompt, and the contact sheet of the shots.

In: a project's shots, takes, renders and scores. Out: rows and cells as plain data; a cell that
has no picture or no number carries the reason instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.project import Project
from limner.project.records import Grid, Measure, Render, Shot, Take
from limner.release import reading
from limner.release.pictures import thumbnail

IDENTITY = "identity"
"""Name of the identity measure of takes and of the score of renders."""
MATRIX_PROMPTS = 6
PICTURE_SIDE = 192  # px; cells are 77 to 100 px wide, so this is sharp on dense screens too
PICTURES_AT_FULL_SIDE = 160  # beyond, thumbnails shrink so that the file stays under about 3 MB


@dataclass
class Album:
    """Makes thumbnails of one side; a file that is gone gives None."""

    project: Project
    side: int
    _made: dict[str, str | None] = field(default_factory=dict)

    def get(self, relative: str | None) -> str | None:
        """Data URI of a recorded picture path."""
        if relative is None:
            return None
        if relative not in self._made:
            self._made[relative] = thumbnail(self.project.path(relative), self.side)
        return self._made[relative]


def album(project: Project) -> Album:
    """An album whose pictures fit the page's size."""
    counts = project.store.counts()
    pictures = counts["shots"] + (counts["checkpoints"] + 2) * MATRIX_PROMPTS
    side = PICTURE_SIDE
    if pictures > PICTURES_AT_FULL_SIDE:
        side = max(64, int(PICTURE_SIDE * math.sqrt(PICTURES_AT_FULL_SIDE / pictures)))
    return Album(project, side)


# ---- checkpoints


def matrix(
    project: Project, pictures: Album, read: reading.Reading | None
) -> dict[str, Any] | None:
    """Checkpoint by prompt, base row first, one seed; None while nothing is drawn."""
    store = project.store
    grid = store.grid(read.grid_version) if read else store.grid()
    if grid is None:
        return None
    renders = [r for r in store.renders(grid.version) if r.phase == "choose"]
    renders = renders or store.renders(grid.version)
    if not renders:
        return None
    strength = _shown_strength(renders, read)
    rows = [r for r in renders if r.step is None or r.strength == strength]
    prompts = _spread(list(dict.fromkeys(r.prompt_id for r in rows)), MATRIX_PROMPTS)
    seed = min(r.seed for r in rows)
    by_cell = {(r.arm, r.prompt_id): r for r in sorted(rows, key=lambda r: -r.seed)}
    arms = dict.fromkeys(r.arm for r in sorted(rows, key=_row_order))
    return {
        "strength": strength,
        "seeds": len({r.seed for r in rows}),
        "seed": seed,
        "prompts": [_prompt_head(grid, p, n) for n, p in enumerate(prompts, 1)],
        "rows": [_row(project, pictures, read, arm, prompts, by_cell) for arm in arms],
    }


def _shown_strength(renders: Sequence[Render], read: reading.Reading | None) -> float:
    if read and read.strength is not None:
        return read.strength
    counts = Counter(r.strength for r in renders if r.step is not None)
    return counts.most_common(1)[0][0] if counts else renders[0].strength


def _row_order(render: Render) -> tuple[int, int, str]:
    rank = {"base": 0, "control": 1}.get(render.arm, 2)
    return rank, render.step or 0, render.arm


def _spread(items: list[str], most: int) -> list[str]:
    """At most `most` of `items`, evenly spaced, first and last among them."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _prompt_head(grid: Grid, prompt_id: str, number: int) -> dict[str, str]:
    known = grid.settings.get("prompts") or []
    entry = next((p for p in known if isinstance(p, dict) and p.get("id") == prompt_id), {})
    attributes = entry.get("attributes") or {}
    words = [attributes.get(k, "").replace("_", "-") for k in ("angle", "expression")]
    return {
        "label": f"P{number}",
        "words": ", ".join(w for w in words if w),
        "text": entry.get("text", ""),
    }


def _row(
    project: Project,
    pictures: Album,
    read: reading.Reading | None,
    arm: str,
    prompts: Sequence[str],
    by_cell: dict[tuple[str, str], Render],
) -> dict[str, Any]:
    cells = []
    for number, prompt in enumerate(prompts, 1):
        render = by_cell.get((arm, prompt))
        cells.append(_cell(project, pictures, read, render, f"{_arm_name(arm)}, prompt {number}"))
    sample = next((by_cell[arm, p] for p in prompts if (arm, p) in by_cell), None)
    step = sample.step if sample else None
    found = read.arms if read else []
    fits = [
        a
        for a in found
        if a.arm == arm and (step is None or (sample and a.strength == sample.strength))
    ]
    return {
        "arm": arm,
        "step": step,
        "name": f"{step:,}" if step is not None else _arm_name(arm),
        "cells": cells,
        "rate": fits[0].rate if fits else None,
        "state": fits[0].state if fits else "",
        "note": fits[0].note if fits else "",
    }


def _arm_name(arm: str) -> str:
    names = {"base": "Base", "control": "Control"}
    return names.get(arm, arm.replace("_", " ").capitalize())


def _cell(
    project: Project,
    pictures: Album,
    read: reading.Reading | None,
    render: Render | None,
    alt: str,
) -> dict[str, Any]:
    uri = pictures.get(render.path) if render else None
    score = project.store.scores(render.id).get(IDENTITY) if render else None
    cell: dict[str, Any] = {"uri": uri, "alt": alt, "value": None, "low": False}
    if uri is None:
        cell["why"] = "not drawn"
    elif score is None or score.value is None:
        cell["why"] = (score.reason if score else None) or "not measured"
    else:
        cell["value"] = f"{score.value:.2f}"
        threshold = read.threshold if read else None
        cell["low"] = threshold is not None and score.value < threshold
    return cell


# ---- shots


def shots(project: Project, pictures: Album) -> dict[str, Any] | None:
    """The contact sheet by angle: one cell a shot, its best take, state and identity."""
    store = project.store
    planned = store.shots()
    if not planned:
        return None
    standing = store.standing_decisions()
    takes: dict[str, list[Take]] = {}
    for take in store.takes(state="done"):
        takes.setdefault(take.shot_id, []).append(take)
    chosen = {s.id: _best(takes.get(s.id, []), standing) for s in planned}
    measures = {
        best.id: store.measures(best.id).get(IDENTITY)
        for best in chosen.values()
        if best is not None
    }
    scale = _scale([m.value for m in measures.values() if m and m.value is not None])
    groups: dict[str, list[dict[str, Any]]] = {}
    for shot in planned:
        best = chosen[shot.id]
        decision = standing.get(best.id) if best else None
        state = decision.verdict if decision else ("undecided" if best else "open")
        groups.setdefault(_group(shot), []).append(
            {
                "number": f"{shot.position:02d}",
                "alt": f"Shot {shot.position}: " + _words(shot),
                "uri": pictures.get(best.path) if best else None,
                "state": state,
                "reviewed": decision is not None,
                "why": (decision.reasons[0] if decision and decision.reasons else ""),
                **_identity(measures.get(best.id) if best else None, scale),
            }
        )
    states = Counter(c["state"] for g in groups.values() for c in g)
    return {
        "count": len(planned),
        "kept": states["keep"],
        "states": dict(states),
        "taken": sum(1 for t in chosen.values() if t),
        "measured": sum(1 for m in measures.values() if m and m.value is not None),
        "groups": [
            {"name": name, "cells": cells, "kept": sum(c["state"] == "keep" for c in cells)}
            for name, cells in groups.items()
        ],
        "scale": scale,
        "threshold": None,
        "unit": next((m.unit for m in measures.values() if m and m.unit), ""),
    }


def _best(takes: Sequence[Take], standing: dict[int, Any]) -> Take | None:
    rank = {"keep": 0, "undecided": 1, "reject": 2}

    def order(take: Take) -> tuple[int, int]:
        decision = standing.get(take.id)
        return (rank[decision.verdict] if decision else 1, -take.id)

    return min(takes, key=order, default=None)


def _group(shot: Shot) -> str:
    return angle(shot).replace("_", "-").capitalize() or "Shots"


def _words(shot: Shot) -> str:
    words = (shot.attributes.get(k, "") for k in ("angle", "expression", "framing"))
    return ", ".join(w.replace("_", "-") for w in words if w)


def _scale(values: Sequence[float]) -> tuple[float, float] | None:
    """Round ends, a tenth apart at least, that hold all values."""
    if not values:
        return None
    low, high = math.floor(min(values) * 10) / 10, math.ceil(max(values) * 10) / 10
    return (low, high) if high > low else (low - 0.1, high + 0.1)


def _identity(measure: Measure | None, scale: tuple[float, float] | None) -> dict[str, Any]:
    if measure is None or measure.value is None or scale is None:
        reason = (measure.reason if measure else None) or "not measured"
        return {"value": None, "at": None, "reason": reason}
    at = (measure.value - scale[0]) / (scale[1] - scale[0])
    return {"value": f"{measure.value:.2f}", "at": at, "reason": ""}


def angle(shot: Shot | None) -> str:
    """The angle id of a shot; empty when unknown."""
    return shot.attributes.get("angle", "") if shot else ""
