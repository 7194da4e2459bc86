"""From scores to yes and no: the thresholds of one grid and what they rest on.

In: the scores of a grid and its `Ground`. Out: a `Calibration` that is kept beside the pictures
as calibration.json, so that a verdict can be spoken and checked without any model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from limner.errors import NotReadyError
from limner.evaluation.arms import BASE, Arm, Judged
from limner.evaluation.details import FOLLOWS
from limner.evaluation.grid import GridPlan
from limner.evaluation.ground import Ground
from limner.evaluation.identity import Gate, primary
from limner.project import Project, files
from limner.project.records import Measure, Render

CALIBRATION_FILE = "calibration.json"
Scored = list[tuple[Render, dict[str, Measure]]]


@dataclass(frozen=True)
class Calibration:
    """The gates of a grid. `first`: the embedder that speaks; None when there is no threshold.

    references: pictures held back; seen: those of them with a face; unseen: own pictures of all
    kinds without one. strangers_shipped, strangers_drawn: faces the thresholds rest on.
    """

    first: str | None
    gates: dict[str, Gate]
    references: int
    seen: int
    strangers_shipped: int
    strangers_drawn: int
    source: str

    @property
    def gate(self) -> Gate | None:
        """The first embedder's."""
        return self.gates.get(self.first or "")

    @property
    def second(self) -> Gate | None:
        """The other embedder's, if there is one."""
        return next((g for name, g in self.gates.items() if name != self.first), None)


def calibrate(project: Project, version: int, plan: GridPlan, ground: Ground) -> Calibration:
    """Thresholds from strangers: shipped ones, and pictures of the base drawn to choose by.

    The base's fresh pictures are never among them: they are judged. With a reference picture shown
    to it (edit template) the base draws the character itself, so there the shipped ones stand
    alone.
    """
    drawn: Scored = []
    if plan.render.template != "edit":
        drawn = read_scores(project, version, "calibrate")
        choose = read_scores(project, version, "choose")
        drawn += [(r, s) for r, s in choose if r.arm == BASE.name]
    gates: dict[str, Gate] = {}
    faces = 0
    for name in ground.judge.names:
        own = [s[f"identity_{name}"].value for _, s in drawn if f"identity_{name}" in s]
        seen = np.array([v for v in own if v is not None], dtype=np.float64)
        faces = len(seen)
        sources = [ground.judge.stranger_scores(ground.strangers, name), seen]
        gate = ground.judge.gate(name, sources, plan.data["target_far"])
        if gate is not None:
            gates[name] = gate
    return Calibration(
        primary(gates),
        gates,
        len(ground.references),
        len(ground.judge.seen),
        ground.strangers.n,
        faces,
        ground.strangers.source,
    )


def write(found: Calibration, folder: Path) -> None:
    """Keep a calibration beside its pictures."""
    files.write_json(folder / CALIBRATION_FILE, asdict(found))


def read(folder: Path) -> Calibration:
    """A kept calibration. Raises NotReadyError when there is none or it is damaged."""
    path = folder / CALIBRATION_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        gates = {name: Gate(**gate) for name, gate in data.pop("gates").items()}
        return Calibration(gates=gates, **data)
    except (OSError, ValueError, KeyError, TypeError):
        raise NotReadyError(
            "The grid has no calibration yet", where=str(path), fix="Run `limner evaluate` first."
        ) from None


def read_scores(project: Project, version: int, phase: str) -> Scored:
    """Done renders of a phase with their scores."""
    found = project.store.renders(version, state="done")
    return [(r, project.store.scores(r.id)) for r in found if r.phase == phase]


def judge(
    scored: Scored, found: Calibration, arms: Sequence[Arm], copy_bits: float
) -> list[Judged]:
    """Scores as yes and no. A lost face is a miss, with the score of a median stranger; a picture
    within `copy_bits` of a training picture is a copy."""
    gate, second = found.gate, found.second
    if gate is None:
        return []
    by_name = {(arm.name, arm.strength): arm for arm in arms}
    judged = []
    for render, scores in scored:
        arm = by_name.get((render.arm, render.strength))
        if arm is None or "face" not in scores:
            continue
        value = scores[f"identity_{gate.embedder}"].value
        bits = scores["copy_bits"].value if "copy_bits" in scores else None
        other = scores[f"identity_{second.embedder}"].value if second else None
        judged.append(
            Judged(
                arm,
                render.prompt_id,
                render.seed,
                gate.stranger_median if value is None else value,
                value is not None and value >= gate.threshold,
                scores["face"].value == 1.0,
                (other is not None and other >= second.threshold) if second else None,
                bits is not None and bits <= copy_bits,
                _freedom(scores, bits is not None and bits <= copy_bits),
            )
        )
    return judged


def _freedom(scores: dict[str, Measure], copy: bool) -> float | None:
    kept = [scores[name].value for name in FOLLOWS if name in scores]
    known = [v for v in kept if v is not None]
    if copy:
        return 0.0
    return sum(known) / len(known) if known else None
