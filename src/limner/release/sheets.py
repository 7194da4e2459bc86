"""The two walls of pictures: checkpoint by prompt, and the contact sheet of the shots.

In: a project's shots, takes, renders and scores. Out: rows and cells as plain data; a cell that
has no picture or no number carries the reason instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.project import Project
from limner.project.records import Grid, Measure, Render, Shot, Take
from limner.release import reading
from limner.release.pictures import thumbnail

IDENTITY = "identity_"
"""Identity measures of takes and renders are called identity_<embedder>."""
LIMIT = "_limit"
"""Beside a take's identity stands the line it must not fall below: identity_<embedder>_limit."""
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
    if not any(r.state == "done" for r in renders):
        return None
    strength = _shown_strength(renders, read)
    rows = [r for r in renders if r.step is None or r.strength == strength]
    # in the order they were asked for: arms that were dropped early have the first ones
    prompts = list(dict.fromkeys(r.prompt_id for r in rows))[:MATRIX_PROMPTS]
    seed = min(r.seed for r in rows)
    embedder = read.embedder if read else None
    view = _View(
        project,
        pictures,
        read,
        embedder or commonest(store.scores(r.id) for r in rows),
        {c.step: c.named for c in store.checkpoints(grid.run_version)},
    )
    by_cell = {(r.arm, r.prompt_id): r for r in sorted(rows, key=lambda r: -r.seed)}
    arms = dict.fromkeys(r.arm for r in sorted(rows, key=_row_order))
    return {
        "strength": strength if any(r.step is not None for r in rows) else None,
        "seeds": len({r.seed for r in rows}),
        "seed": seed,
        "prompts": [_prompt_head(grid, p, n) for n, p in enumerate(prompts, 1)],
        "rows": [_row(view, arm, prompts, by_cell) for arm in arms],
    }


def _shown_strength(renders: Sequence[Render], read: reading.Reading | None) -> float:
    if read and read.strength is not None:
        return read.strength
    counts = Counter(r.strength for r in renders if r.step is not None)
    return counts.most_common(1)[0][0] if counts else renders[0].strength


def _row_order(render: Render) -> tuple[int, int, str]:
    rank = {"base": 0, "control": 1}.get(render.arm, 2)
    return rank, render.step or 0, render.arm


def _prompt_head(grid: Grid, prompt_id: str, number: int) -> dict[str, str]:
    text, attributes = "", {}
    for entry in grid.settings.get("prompts") or []:  # [id, text, attributes]
        if entry[0] == prompt_id:
            text, attributes = entry[1], entry[2]
    words = [attributes.get(k, "").replace("_", "-") for k in ("angle", "expression")]
    return {
        "label": f"P{number}",
        "words": ", ".join(w for w in words if w),
        "text": text,
    }


@dataclass(frozen=True)
class _View:
    """What every cell of the matrix needs to know."""

    project: Project
    pictures: Album
    read: reading.Reading | None
    embedder: str | None
    named: Mapping[int, tuple[str, str]]
    """Step -> name and unit of a checkpoint."""


def _row(
    view: _View, arm: str, prompts: Sequence[str], by_cell: dict[tuple[str, str], Render]
) -> dict[str, Any]:
    cells = []
    for number, prompt in enumerate(prompts, 1):
        alt = f"{_arm_name(arm)}, prompt {number}"
        cells.append(_cell(view, by_cell.get((arm, prompt)), alt))
    sample = next(by_cell[arm, p] for p in prompts if (arm, p) in by_cell)
    found = [
        a
        for a in (view.read.arms if view.read else [])
        if a.arm == arm and (a.step is None or a.strength == sample.strength)
    ]
    fits = found[0] if found else None
    name, unit = _arm_name(arm), ""
    if sample.step is not None:
        name, unit = view.named.get(sample.step, (f"{sample.step:,}", "steps"))
    return {
        "arm": arm,
        "step": sample.step,
        "name": name,
        "unit": unit,
        "cells": cells,
        "rate": fits.rate if fits else None,
        "state": fits.state if fits else "",
        "note": fits.note if fits else "",
        "mean": fits.mean if fits else None,
    }


def _arm_name(arm: str) -> str:
    names = {"base": "Base", "control": "Control"}
    return names.get(arm, arm.replace("_", " ").capitalize())


def _cell(view: _View, render: Render | None, alt: str) -> dict[str, Any]:
    uri = view.pictures.get(render.path) if render else None
    scores = view.project.store.scores(render.id) if render else {}
    score = identity_of(scores, view.embedder)
    cell: dict[str, Any] = {"uri": uri, "alt": alt, "value": None, "low": False, "why": ""}
    if uri is None:
        cell["why"] = "not drawn"
    elif score is None or score.value is None:
        cell["why"] = _short(score)
    else:
        threshold = view.read.threshold if view.read else None
        cell["value"] = beside(score.value, threshold)
        cell["low"] = threshold is not None and score.value < threshold
    return cell


def commonest(found: Iterable[Mapping[str, Measure]]) -> str | None:
    """The embedder with the most identity values; None when there is none."""
    counts = Counter(
        name.removeprefix(IDENTITY)
        for measures in found
        for name, measure in measures.items()
        if name.startswith(IDENTITY) and not name.endswith(LIMIT) and measure.value is not None
    )
    return min(counts, key=lambda name: (-counts[name], name), default=None)


def identity_of(measures: Mapping[str, Measure], embedder: str | None) -> Measure | None:
    """Identity by one embedder; without a name any, so that a reason can be shown."""
    if embedder is not None:
        return measures.get(f"{IDENTITY}{embedder}")
    return next((m for name, m in sorted(measures.items()) if name.startswith(IDENTITY)), None)


REASONS = {"no face": "no face", "head turned": "turned away"}
"""Start of a reason -> what fits under a picture; the whole reason stands under the row."""

NOT_ASSESSABLE = "not assessable: "


def _short(measure: Measure | None) -> str:
    reason = (measure.reason if measure else None) or "not measured"
    reason = reason.removeprefix(NOT_ASSESSABLE)
    for start, words in REASONS.items():
        if reason.startswith(start):
            return words
    return reason if len(reason) <= 14 else "not measured"


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
    taken = {best.id: store.measures(best.id) for best in chosen.values() if best}
    name = commonest(taken.values())
    measures = {key: identity_of(found, name) for key, found in taken.items()}
    limits = [found.get(f"{IDENTITY}{name}{LIMIT}") for found in taken.values()]
    threshold = min((m.value for m in limits if m and m.value is not None), default=None)
    values = [m.value for m in measures.values() if m and m.value is not None]
    scale = _scale([*values, *([threshold] if threshold is not None and values else [])])
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
        "threshold": threshold,
        "embedder": name,
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
    """Round ends with some room, so that neither the values nor the threshold touch them."""
    if not values:
        return None
    return math.floor((min(values) - 0.05) * 10) / 10, math.ceil((max(values) + 0.05) * 10) / 10


def beside(value: float, line: float | None) -> str:
    """Two digits; more where they would make a value and the line it is held against look equal."""
    digits = 2
    while line is not None and digits < 6 and f"{value:.{digits}f}" == f"{line:.{digits}f}":
        digits += 1
    return f"{value:.{digits}f}"


def _identity(measure: Measure | None, scale: tuple[float, float] | None) -> dict[str, Any]:
    if measure is None or measure.value is None or scale is None:
        short = _short(measure)
        whole = ((measure.reason if measure else None) or "").removeprefix(NOT_ASSESSABLE)
        said = "" if whole == short else whole
        return {"value": None, "at": None, "reason": short, "whole": said}
    at = (measure.value - scale[0]) / (scale[1] - scale[0])
    return {"value": f"{measure.value:.2f}", "at": at, "reason": "", "whole": ""}


def angle(shot: Shot | None) -> str:
    """The angle id of a shot; empty when unknown."""
    return shot.attributes.get("angle", "") if shot else ""
