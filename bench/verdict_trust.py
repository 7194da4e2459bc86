"""Can the verdict be trusted? Worlds with a known truth, drawn again and again.

Run: python -m bench.verdict_trust [--repetitions 2000] [--out docs/trust.md]
Every case keeps its counts in build/verdict_trust.json, so a stopped bench goes on where it was.
A world: arms with true mean scores, prompts that are easier or harder for all arms alike, noise
that arms share (paired seeds) and noise of their own, and scores skewed downwards as real ones are.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.evaluation import choose as choosing
from limner.evaluation import statistics as stats
from limner.evaluation.choose import Arm, Judged
from limner.evaluation.rules import rules
from limner.project import files

STATE = Path("build/verdict_trust.json")
CHUNK = 100
LIMITS = rules()
Counts = dict[str, float]


@dataclass(frozen=True)
class World:
    """Spread of scores: `prompt` for all arms alike, `shared` a seed, `own` an arm and a seed."""

    prompt: float = 0.08
    shared: float = 0.05
    own: float = 0.14
    skewed: bool = True

    def scores(
        self, means: NDArray[np.float64], prompts: int, seeds: int, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """(arms, prompts, seeds). Skewed noise is a gamma of shape 2 turned downwards."""
        shape = (len(means), prompts, seeds)
        own = rng.normal(size=shape)
        if self.skewed:
            own = -(rng.gamma(2.0, 1.0, size=shape) - 2.0) / math.sqrt(2.0)
        return (
            means[:, None, None]
            + self.prompt * rng.normal(size=(1, prompts, 1))
            + self.shared * rng.normal(size=(1, prompts, seeds))
            + self.own * own
        )


def judged(scores: NDArray[np.float64], arms: list[Arm], cells: int | None = None) -> list[Judged]:
    """The first `cells` cells of each arm as the stage hands them on: prompts before seeds."""
    _, prompts, seeds = scores.shape
    order = [(p, s) for s in range(seeds) for p in range(prompts)][:cells]
    return [
        Judged(arm, f"p{p:02d}", s, float(scores[k, p, s]), bool(scores[k, p, s] > 0.5), True)
        for k, arm in enumerate(arms)
        for p, s in order
    ]


def share_case(rate: float, n: int) -> Callable[[np.random.Generator], Counts]:
    """Exact binomial interval of a match rate over independent pictures."""

    def once(rng: np.random.Generator) -> Counts:
        found = stats.clopper_pearson(int(rng.binomial(n, rate)), n)
        return {"covered": float(found.low <= rate <= found.high), "width": found.high - found.low}

    return once


def clustered_case(
    rate: float, prompts: int, seeds: int
) -> Callable[[np.random.Generator], Counts]:
    """Match rate when prompts differ (beta, intraclass correlation 0.2): both intervals."""

    def once(rng: np.random.Generator) -> Counts:
        strength = 1 / 0.2 - 1
        chance = rng.beta(rate * strength, (1 - rate) * strength, size=prompts)
        hits = rng.random((prompts, seeds)) < chance[:, None]
        exact = stats.clopper_pearson(int(hits.sum()), hits.size)
        whole = stats.paired(
            {str(k): row.astype(float).tolist() for k, row in enumerate(hits)}, draws=1000
        ).interval
        low, high = max(0.0, whole.low), min(1.0, whole.high)
        return {
            "covered": float(exact.low <= rate <= exact.high),
            "width": exact.high - exact.low,
            "covered_prompts": float(low <= rate <= high or hits.all() or not hits.any()),
        }

    return once


def difference_case(
    prompts: int, seeds: int, skewed: bool
) -> Callable[[np.random.Generator], Counts]:
    """Interval of the paired score difference of two arms."""

    def once(rng: np.random.Generator) -> Counts:
        world = World(skewed=skewed)
        found = world.scores(np.array([0.70, 0.66]), prompts, seeds, rng)
        gap = {str(p): (found[0, p] - found[1, p]).tolist() for p in range(prompts)}
        interval = stats.paired(gap, draws=1000).interval
        ideal = 2 * 1.96 * world.own * math.sqrt(2 / (prompts * seeds))
        return {
            "covered": float(interval.low <= 0.04 <= interval.high),
            "width": (interval.high - interval.low) / ideal,
        }

    return once


def race_case(kind: str, arms: int, prompts: int) -> Callable[[np.random.Generator], Counts]:
    """Successive halving as the stage runs it. kind: curve | equal | copies."""

    def once(rng: np.random.Generator) -> Counts:
        steps = np.linspace(0.1, 1.0, arms)
        means = 0.70 - 0.25 * np.exp(-steps / 0.25) - 0.06 * np.maximum(0, steps - 0.6)
        if kind == "equal":
            means = np.full(arms, 0.68)
        scores = World().scores(means, prompts, 1, rng)
        if kind == "copies":  # the last file is a copy of the one before it
            scores[-1], means[-1] = scores[-2], means[-2]
        names = [Arm(20 * (k + 1), 1.0) for k in range(arms)]
        return _race(names, means, scores, prompts)

    return once


def _race(
    names: list[Arm], means: NDArray[np.float64], scores: NDArray[np.float64], cells: int
) -> Counts:
    left, seen, spent = list(names), 0, 0
    look = int(LIMITS["first_look"])
    pictures: dict[Arm, int] = {}
    for keep, wanted in choosing.rounds(len(names), cells, look, int(LIMITS["finalists"])):
        if seen:
            so_far = [j for j in judged(scores, names, seen) if j.arm in left]
            left = choosing.survivors(so_far, keep, LIMITS)
        spent += len(left) * (wanted - seen)
        seen = wanted
        pictures.update(dict.fromkeys(left, seen))
    drawn = [j for n in set(pictures.values()) for j in judged(scores, names, n)
             if pictures[j.arm] == n]  # fmt: skip
    raced = choosing.choose(drawn, LIMITS)
    full = choosing.choose(judged(scores, names), LIMITS)
    truth = dict(zip(names, means.tolist(), strict=True))
    top = max(truth.values())

    def equal_to_best(choice: choosing.Choice) -> bool:
        held = [choice.chosen, *(Arm(t["step"], t["strength"]) for t in choice.tied)]
        return any(truth[arm] >= top - LIMITS["equivalent_score"] for arm in held)

    tied = {t["step"] for t in raced.tied} | {raced.chosen.step}
    finalists = {a.step for a in left}
    return {
        "covered": float(equal_to_best(raced)),
        "full": float(equal_to_best(full)),
        "regret": top - truth[raced.chosen],
        "parted": float(bool(finalists - tied)),
        "spent": spent / (len(names) * cells),
        "copies_apart": float(len({names[-1].step, names[-2].step} & tied) == 1)
        if {names[-1].step, names[-2].step} <= finalists
        else 0.0,
    }


def claim_case(rate: float, base: float, n: int) -> Callable[[np.random.Generator], Counts]:
    """How often a winner is called clear of the base model."""

    def once(rng: np.random.Generator) -> Counts:
        mine = stats.clopper_pearson(int(rng.binomial(n, rate)), n)
        zero = stats.clopper_pearson(int(rng.binomial(n, base)), n)
        return {"covered": float(mine.low > zero.high)}

    return once


CASES: dict[str, Callable[[np.random.Generator], Counts]] = {
    **{f"share {p:g}, {n}": share_case(p, n) for p in (0.5, 0.8, 0.9, 0.97) for n in (24, 40, 100)},
    **{f"prompts {p:g}, {k} x 2": clustered_case(p, k, 2) for p in (0.5, 0.9) for k in (12, 24)},
    **{
        f"difference {k} x {s}{', skewed' if skewed else ''}": difference_case(k, s, skewed)
        for k, s in ((6, 1), (12, 2), (24, 2))
        for skewed in (False, True)
    },
    **{
        f"race {kind}, {arms} arms, {cells} cells": race_case(kind, arms, cells)
        for kind, arms, cells in (
            ("curve", 10, 6), ("curve", 10, 12), ("curve", 30, 12), ("curve", 30, 24),
            ("equal", 10, 12), ("equal", 30, 12), ("copies", 10, 12),
        )
    },
    **{
        f"clear of base {rate:g} against {base:g}, {n}": claim_case(rate, base, n)
        for rate, base, n in ((0.05, 0.05, 24), (0.3, 0.3, 24), (0.5, 0.05, 24), (0.9, 0.05, 24))
    },
}  # fmt: skip


def run(repetitions: int) -> Iterator[tuple[str, Counts]]:
    """Mean counts of every case; goes on from the state file, saved every `CHUNK` draws."""
    state: dict[str, Any] = json.loads(STATE.read_text()) if STATE.is_file() else {}
    for name, once in CASES.items():
        entry = state.setdefault(name, {"n": 0, "sums": {}})
        while entry["n"] < repetitions:
            for k in range(entry["n"], min(entry["n"] + CHUNK, repetitions)):
                seed = int(files.sha256_bytes(f"{name} {k}".encode())[:15], 16)
                for key, value in once(np.random.default_rng(seed)).items():
                    entry["sums"][key] = entry["sums"].get(key, 0.0) + value
            entry["n"] = min(entry["n"] + CHUNK, repetitions)
            files.write_json(STATE, state)
        yield name, {key: value / entry["n"] for key, value in entry["sums"].items()}


def _pc(value: float) -> str:
    return f"{100 * value:.1f} %"


def tables(found: dict[str, Counts], repetitions: int) -> str:
    """The page of the manual."""
    lines = [
        "# Can the verdict be trusted?",
        "",
        f"Worlds with a known truth, {repetitions:,} repetitions each, the very functions of the "
        "verdict. Made by `python -m bench.verdict_trust`.",
        "",
        "A 95 % interval should hold the truth in at least 94 % of repetitions. The exact binomial "
        "interval is conservative by nature: with few pictures none can hit 95 % exactly, and "
        "the exact one errs on the safe side. It stands wherever a share is claimed.",
        "",
        "| share of matches, pictures | truth inside | mean width |",
        "|---|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("share"):
            lines.append(f"| {name[6:]} | {_pc(c['covered'])} | {c['width']:.2f} |")
    lines += [
        "",
        "Prompts differ: some are easy, some hard (intraclass correlation 0.2). The exact interval "
        "takes pictures for independent and then covers less than it says; the interval over whole "
        "prompts is shown beside it for that reason.",
        "",
        "| share, prompts x seeds | exact: truth inside | whole prompts: truth inside |",
        "|---|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("prompts"):
            lines.append(f"| {name[8:]} | {_pc(c['covered'])} | {_pc(c['covered_prompts'])} |")
    lines += [
        "",
        "Paired score differences. Width as a multiple of the interval of somebody who knows the "
        "spread beforehand.",
        "",
        "| prompts x seeds | truth inside | width |",
        "|---|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("difference"):
            lines.append(f"| {name[11:]} | {_pc(c['covered'])} | {c['width']:.2f} |")
    lines += [
        "",
        "Races. An arm counts as best when its true mean lies within the stated margin "
        f"({LIMITS['equivalent_score']:g}) of the highest. `parted`: races in which a finalist is "
        "called different from the chosen arm (for equal arms that is a false `better`, which "
        "should stay under 5 %). `pictures`: share of the full grid that was drawn.",
        "",
        "| race | best among chosen and tied | same, full grid | parted | mean regret | pictures |",
        "|---|---|---|---|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("race"):
            lines.append(
                f"| {name[5:]} | {_pc(c['covered'])} | {_pc(c['full'])} | {_pc(c['parted'])} | "
                f"{c['regret']:.3f} | {_pc(c['spent'])} |"
            )
    copies = found["race copies, 10 arms, 12 cells"]["copies_apart"]
    lines += [
        "",
        f"Two copies of one checkpoint are called different in {_pc(copies)} of races.",
        "",
        "| match rate against base, pictures | called clear of the base |",
        "|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("clear"):
            lines.append(f"| {name[14:]} | {_pc(c['covered'])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is missing, print the page, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    page = tables(dict(run(asked.repetitions)), asked.repetitions)
    print(page)
    if asked.out:
        files.write_bytes(asked.out, page.encode())


if __name__ == "__main__":
    main()
