"""All that advice reads of a project, loaded once: pictures with scores, runs, losses, findings.

In: a project, and what other stages found (captions, comparisons). Out: `Records`; nothing is
measured here and no picture is opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from limner.advice import numbers
from limner.advice.numbers import Estimate
from limner.project import Project
from limner.project.records import Checkpoint, Dataset, Measure, Plan, Render, Run, Take

Cell = tuple[str, int]
"""(prompt id, seed): what is paired between arms."""


@dataclass(frozen=True)
class Picture:
    """One render with its scores."""

    render: Render
    scores: dict[str, Measure]

    @property
    def cell(self) -> Cell:
        """What it is paired by."""
        return self.render.prompt_id, self.render.seed

    def value(self, name: str) -> float | None:
        """One score, None when it was not measured."""
        found = self.scores.get(name)
        return None if found is None else found.value


class Records:
    """The project's records as advice needs them.

    captions: findings of `limner captions check`, None when they were not asked for.
    """

    def __init__(
        self, project: Project, captions: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        self.project = project
        self.captions = None if captions is None else list(captions)
        store = project.store
        self.verdict = store.verdict()
        self.data: dict[str, Any] = self.verdict.data if self.verdict else {}
        grid = store.grid(self.verdict.grid_version) if self.verdict else store.grid()
        self.grid = grid
        self.run: Run | None = store.run(grid.run_version) if grid else store.run()
        self.newest_run: Run | None = store.run()

    # ---- data and training

    @cached_property
    def dataset(self) -> Dataset | None:
        """The dataset of the judged run, else the newest."""
        return self.project.store.dataset(self.run.dataset_version if self.run else None)

    @cached_property
    def plan(self) -> Plan | None:
        """The plan of the judged run, else the newest."""
        return self.project.store.plan(self.run.plan_version if self.run else None)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings of the judged run; empty while nothing is trained."""
        config = self.run.config if self.run else {}
        inner = config.get("run")
        return inner if isinstance(inner, dict) else config

    @cached_property
    def checkpoints(self) -> list[Checkpoint]:
        """Checkpoints of the newest run by step."""
        run = self.newest_run
        return self.project.store.checkpoints(run.version) if run else []

    @cached_property
    def losses(self) -> list[tuple[int, float]]:
        """(step, training loss) of the newest run."""
        return self._metric("loss", self.newest_run)

    @cached_property
    def held_out(self) -> list[tuple[int, float]]:
        """(step, held-out loss at fixed noise) of the judged run."""
        return self._metric("held_out_loss", self.run)

    @cached_property
    def trained_loss(self) -> list[tuple[int, float]]:
        """The same on pictures that are trained on; empty where none was looked at."""
        return self._metric("trained_loss", self.run)

    @cached_property
    def logged_step(self) -> int | None:
        """Last step the newest run wrote down; None when it wrote none."""
        rows = self._rows(self.newest_run)
        return max((r["step"] for r in rows), default=None)

    def _metric(self, name: str, run: Run | None) -> list[tuple[int, float]]:
        found = {r["step"]: r[name] for r in self._rows(run) if _finite(r.get(name))}
        return sorted((step, float(value)) for step, value in found.items())

    def _rows(self, run: Run | None) -> list[dict[str, Any]]:
        """Whole lines of a run's metrics.jsonl; a line cut by a kill is left out."""
        if run is None:
            return []
        path = self.project.root / "logs" / f"run_{run.version}" / "metrics.jsonl"
        return [r for r in _json_lines(path) if isinstance(r.get("step"), int)]

    # ---- takes

    @cached_property
    def trained(self) -> list[Take]:
        """Takes that were trained on; the kept ones before there is a dataset."""
        kept = self.project.store.kept()
        if self.dataset is None:
            return kept
        mine = set(self.dataset.train)
        return [t for t in self.project.store.takes(state="done") if t.id in mine]

    @cached_property
    def take_measures(self) -> dict[int, dict[str, Measure]]:
        """Measures of the trained takes."""
        return {t.id: self.project.store.measures(t.id) for t in self.trained}

    def attribute_counts(self, axis: str) -> dict[str, int]:
        """Value -> trained takes whose shot has it on this axis, most frequent first."""
        shots = {s.id: s for s in self.project.store.shots()}
        counts: dict[str, int] = {}
        for take in self.trained:
            shot = shots.get(take.shot_id)
            if shot is not None and (value := take.asked(shot).attributes.get(axis)):
                counts[value] = counts.get(value, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    # ---- renders

    @cached_property
    def pictures(self) -> list[Picture]:
        """Finished renders of the judged grid."""
        if self.grid is None:
            return []
        store = self.project.store
        done = store.renders(self.grid.version, state="done")
        return [Picture(r, store.scores(r.id)) for r in done]

    def arm(self, name: str, strength: float | None, phase: str = "claim") -> list[Picture]:
        """Pictures of one arm in one phase; strength None = any."""
        return [
            p
            for p in self.pictures
            if (p.render.arm, p.render.phase) == (name, phase)
            and (strength is None or p.render.strength == strength)
        ]

    @property
    def chosen_name(self) -> str:
        """The chosen arm as renders call it; empty without a choice."""
        return str(self.data.get("checkpoint") or (self.data.get("chosen") or {}).get("checkpoint"))

    @cached_property
    def chosen(self) -> list[Picture]:
        """Fresh pictures of the chosen checkpoint and strength."""
        return self.arm(self.chosen_name, self.data.get("strength"))

    @cached_property
    def base(self) -> list[Picture]:
        """Fresh pictures of the base model."""
        return self.arm("base", None)

    @property
    def identity(self) -> str:
        """Score name of the identity the verdict speaks by."""
        return f"identity_{self.data.get('embedder')}"

    def paired(
        self, name: str, first: Sequence[Picture], second: Sequence[Picture], *, ratio: bool = False
    ) -> tuple[Estimate | None, int]:
        """First minus second (or their ratio) over the same prompts and seeds, and the pairs."""
        other = {p.cell: p.value(name) for p in second}
        by_prompt: dict[str, list[float]] = {}
        pairs = 0
        for picture in first:
            one, two = picture.value(name), other.get(picture.cell)
            if one is None or two is None or (ratio and two <= 0):
                continue
            by_prompt.setdefault(picture.render.prompt_id, []).append(
                one / two if ratio else one - two
            )
            pairs += 1
        return numbers.mean(by_prompt), pairs


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _json_lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
