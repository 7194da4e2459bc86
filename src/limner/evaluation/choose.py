"""Choosing an arm on continuous scores: successive halving, the tied set, the earliest tied arm.

In: judged pictures of the choosing seeds. Out: a `Choice`; nothing is claimed here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from limner.evaluation import statistics as stats

Kind = Literal["checkpoint", "base", "control", "untriggered", "styled"]


@dataclass(frozen=True, order=True)
class Arm:
    """One thing that is compared: a checkpoint at a strength, the base model, the control, the
    winner without its trigger word, or stacked with the style LoRA number `step`."""

    step: int
    strength: float
    kind: Kind = "checkpoint"

    @property
    def name(self) -> str:
        """As the renders call it: `step_000100`, `base`, `control`."""
        if self.kind == "styled":
            return f"styled_{self.step}"
        return f"step_{self.step:06d}" if self.kind == "checkpoint" else self.kind

    @property
    def words(self) -> str:
        """As a person says it."""
        if self.kind == "checkpoint":
            return f"step {self.step:,} at strength {self.strength:g}"
        return {"base": "the base model", "control": "the negative control"}.get(
            self.kind, f"step {self.step:,} without its trigger"
        )


BASE = Arm(-1, 0.0, "base")


@dataclass(frozen=True)
class Judged:
    """One picture's result. `score`: similarity to the character, for a lost face the score of a
    median stranger; `match`: verified; `second`: the other embedder's answer, None = no answer;
    `copy`: nearly a training picture."""

    arm: Arm
    prompt_id: str
    seed: int
    score: float
    match: bool
    face: bool
    second: bool | None = None
    copy: bool = False

    @property
    def cell(self) -> tuple[str, int]:
        """What is paired between arms."""
        return self.prompt_id, self.seed


@dataclass(frozen=True)
class Choice:
    """The chosen arm, the arm with the best mean, the arms tied with it, and a row an arm."""

    chosen: Arm
    best: Arm
    tied: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    pictures: int


def rounds(arms: int, cells: int, first_look: int = 4, finalists: int = 3) -> list[tuple[int, int]]:
    """Successive halving as (arms still in, pictures an arm has then).

    10 arms and 12 cells: 10 at 4, 5 at 8, 3 at 12. Nothing to choose: no rounds.
    """
    if arms < 2 or cells < 1:
        return []
    plan = [(arms, min(first_look, cells))]
    while plan[-1][1] < cells or plan[-1][0] > finalists:
        keep = max(min(finalists, arms), math.ceil(plan[-1][0] / 2))
        seen = min(plan[-1][1] + first_look, cells)
        if keep == plan[-1][0]:
            seen = cells
        if seen == plan[-1][1]:  # no more cells: looking again at the same pictures adds nothing
            break
        plan.append((keep, seen))
    return plan


def mean_scores(judged: Sequence[Judged]) -> dict[Arm, float]:
    """Arm -> mean score."""
    found: dict[Arm, list[float]] = {}
    for one in judged:
        found.setdefault(one.arm, []).append(one.score)
    return {arm: float(np.mean(values)) for arm, values in found.items()}


def survivors(judged: Sequence[Judged], keep: int, limits: Mapping[str, float]) -> list[Arm]:
    """The `keep` best arms by step; those that lose too many faces or copy too often come last.

    Equal means go to the earlier step, so the same pictures always keep the same arms.
    """
    means = mean_scores(judged)
    ill = {arm: unhealthy([j for j in judged if j.arm == arm], limits) for arm in means}
    order = sorted(means, key=lambda a: (ill[a], -means[a], a))
    return sorted(order[:keep])


def unhealthy(mine: Sequence[Judged], limits: Mapping[str, float]) -> bool:
    """The hard gates of one arm: lost faces over `no_face`, copies over `copies` (shares)."""
    lost, copies = sum(not j.face for j in mine), sum(j.copy for j in mine)
    return lost > limits["no_face"] * len(mine) or copies > limits["copies"] * len(mine)


def differences(
    judged: Sequence[Judged], first: Arm, second: Arm, *, seconds: bool = False
) -> dict[str, list[float]]:
    """Prompt -> score differences first minus second over the cells both have (paired seeds)."""
    by_cell = {j.cell: j for j in judged if j.arm == second}
    found: dict[str, list[float]] = {}
    for one in judged:
        if one.arm == first and one.cell in by_cell:
            found.setdefault(one.prompt_id, []).append(one.score - by_cell[one.cell].score)
    return found


def pick(judged: Sequence[Judged], limits: Mapping[str, float]) -> tuple[Arm, Arm, list[Arm]]:
    """(best mean, the earliest and weakest arm within one standard error of it, finalists).

    Only arms with as many pictures as the best have a say; the rest were dropped on the way.
    Raises ValueError for no pictures.
    """
    arms = sorted({j.arm for j in judged if j.arm.kind == "checkpoint"})
    if not arms:
        raise ValueError("no checkpoint has a judged picture")
    count = Counter(j.arm for j in judged)
    most = max(count[arm] for arm in arms)
    finalists = [arm for arm in arms if count[arm] == most]
    final = [j for j in judged if j.arm in finalists]
    best = survivors(final, 1, limits)[0]
    for arm in finalists:  # by step, then strength: the first within one standard error
        if arm == best:
            break
        gap = stats.paired(differences(final, best, arm), draws=0)
        ill = unhealthy([j for j in final if j.arm == arm], limits)
        if not ill and gap.mean <= max(_finite(gap.standard_error), limits["equivalent_score"]):
            return best, arm, finalists
    return best, best, finalists


def alpha(settings: Mapping[str, Any]) -> float:
    """The level at which finalists are told apart: 5 %, shared out over the looks of a race."""
    looks = len(settings.get("race", {}).get("rounds", ())) or 1
    return ALPHA / looks


ALPHA = 0.05


def choose(judged: Sequence[Judged], limits: Mapping[str, float], level: float = ALPHA) -> Choice:
    """Pick the earliest, weakest arm within one standard error of the best mean.

    An arm is tied when its paired difference to the chosen one is not significant after Holm
    over the finalists at `level`, or smaller than `equivalent_score`. Raises ValueError for no
    pictures.
    """
    best, chosen, finalists = pick(judged, limits)
    arms = sorted({j.arm for j in judged if j.arm.kind == "checkpoint"})
    final = [j for j in judged if j.arm in finalists]
    means = mean_scores(judged)
    tied = _tied(final, chosen, finalists, limits["equivalent_score"], level)
    names = {(t["checkpoint"], t["strength"]) for t in tied}
    rows = []
    for arm in arms:
        mine = [j for j in judged if j.arm == arm]
        status = "behind" if arm in finalists else "dropped"
        status = "tied" if (arm.name, arm.strength) in names else status
        status = "gate" if unhealthy(mine, limits) else status
        status = "chosen" if arm == chosen else status
        rows.append(_row(arm, mine, means[arm], status))
    return Choice(chosen, best, tied, rows, len(judged))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def bounds(interval: stats.Interval) -> list[float] | None:
    """`[low, high]` for JSON, None when nothing bounds it."""
    return interval.as_list() if math.isfinite(interval.low + interval.high) else None


def _row(arm: Arm, mine: Sequence[Judged], mean: float, status: str) -> dict[str, Any]:
    by_prompt: dict[str, list[float]] = {}
    for one in mine:
        by_prompt.setdefault(one.prompt_id, []).append(one.score)
    hits = sum(j.match for j in mine)
    return {
        "checkpoint": arm.name,
        "step": arm.step if arm.kind == "checkpoint" else None,
        "strength": arm.strength,
        "phase": "choose",
        "n": len(mine),
        "mean_score": mean,
        "score_interval": bounds(stats.paired(by_prompt).interval),
        "hits": hits,
        "match_rate": hits / len(mine),
        "interval": stats.clopper_pearson(hits, len(mine)).as_list(),
        "no_face": sum(not j.face for j in mine),
        "copies": sum(j.copy for j in mine),
        "status": status,
    }


def arm_row(arm: Arm, judged: Sequence[Judged], phase: str, status: str) -> dict[str, Any]:
    """The row of one arm: n, hits, match rate with exact interval, mean score with interval."""
    mine = [j for j in judged if j.arm == arm]
    mean = float(np.mean([j.score for j in mine]))
    return {**_row(arm, mine, mean, status), "phase": phase}


def _tied(
    final: Sequence[Judged],
    chosen: Arm,
    finalists: Sequence[Arm],
    equivalent: float,
    level: float,
) -> list[dict[str, Any]]:
    # The chosen arm was found by looking at the scores, so every pair was in the race: Holm runs
    # over all of them (over the pairs with the chosen one alone, equal arms part in 6 % of races).
    pairs = list(combinations(finalists, 2))
    p_of = dict(
        zip(
            pairs,
            stats.holm([stats.paired(differences(final, *p), draws=0).p for p in pairs]),
            strict=True,
        )
    )
    others = [arm for arm in finalists if arm != chosen]
    gaps = [stats.paired(differences(final, arm, chosen)) for arm in others]
    adjusted = [p_of.get((arm, chosen), p_of.get((chosen, arm), 1.0)) for arm in others]
    tied = []
    for arm, gap, p in zip(others, gaps, adjusted, strict=True):
        inside = -equivalent < gap.interval.low and gap.interval.high < equivalent
        if p < level and abs(gap.mean) > equivalent:
            continue
        needed = stats.pictures_to_decide(gap.sd, gap.mean) if math.isfinite(gap.sd) else None
        tied.append(
            {
                "checkpoint": arm.name,
                "step": arm.step,
                "strength": arm.strength,
                "difference": gap.mean,
                "interval": bounds(gap.interval),
                "n": gap.n,
                "p_holm": p,
                "word": "equivalent" if inside else "too close to call",
                "more_pictures": max(needed - gap.n, 1) if needed and not inside else None,
            }
        )
    return tied
