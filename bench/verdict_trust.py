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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.evaluation import choose as choosing
from limner.evaluation import statistics as stats
from limner.evaluation.arms import Arm
from limner.evaluation.choose import rounds
from limner.evaluation.claim import Count
from limner.evaluation.race import race_rounds, still_in
from limner.evaluation.rules import rules
from limner.evaluation.table import Table
from limner.project import files

PLANTED = "\n## Planted runs\n"
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


def table(scores: NDArray[np.float64], names: tuple[Arm, ...]) -> Table:
    """Scores (arms, prompts, seeds) as the stage has them: all prompts once before any again."""
    arms, prompts, seeds = scores.shape
    flat = scores.transpose(0, 2, 1).reshape(arms, prompts * seeds)
    none = np.zeros(flat.shape, dtype=bool)
    return Table(names, np.tile(np.arange(prompts), seeds), flat, none, none)


def first_cells(whole: Table, seen: NDArray[np.int64]) -> Table:
    """The table when row k has drawn its first `seen[k]` cells."""
    undrawn = np.arange(whole.score.shape[1])[None, :] >= seen[:, None]
    return replace(whole, score=np.where(undrawn, np.nan, whole.score))


def share_case(rate: float, n: int) -> Callable[[np.random.Generator], Counts]:
    """Exact binomial interval of a match rate over independent pictures."""

    def once(rng: np.random.Generator) -> Counts:
        found = stats.clopper_pearson(int(rng.binomial(n, rate)), n)
        return {"covered": float(found.low <= rate <= found.high), "width": found.high - found.low}

    return once


def clustered_case(
    rate: float, prompts: int, seeds: int, alike: float
) -> Callable[[np.random.Generator], Counts]:
    """Match rate when prompts differ (beta, intraclass correlation `alike`): the exact interval and
    the verdict's own, which hears whole prompts too."""

    def once(rng: np.random.Generator) -> Counts:
        strength = 1 / alike - 1
        chance = rng.beta(rate * strength, (1 - rate) * strength, size=prompts)
        hits = rng.random((prompts, seeds)) < chance[:, None]
        whole = None
        if hits.any() and not hits.all():
            by_prompt = {str(k): row.astype(float).tolist() for k, row in enumerate(hits)}
            found = stats.paired(by_prompt, draws=1000).interval
            whole = stats.Interval(max(0.0, found.low), min(1.0, found.high))
        exact = stats.clopper_pearson(int(hits.sum()), hits.size)
        own = Count(int(hits.sum()), hits.size, whole).interval
        return {
            "covered": float(exact.low <= rate <= exact.high),
            "width": exact.high - exact.low,
            "covered_own": float(own.low <= rate <= own.high),
            "width_own": own.high - own.low,
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


def race_case(
    kind: str, mode: str, arms: int, prompts: int, seeds: int
) -> Callable[[np.random.Generator], Counts]:
    """Choosing as the stage does it. kind: curve | equal | copies | sharp; mode: halving | race."""
    names = tuple(Arm(20 * (k + 1), 1.0) for k in range(arms))
    cells = prompts * seeds
    look, last = int(LIMITS["first_look"]), int(LIMITS["finalists"])
    plan = rounds(arms, cells, look, last)
    if mode == "race":
        share = LIMITS["race_share"]
        plan = race_rounds(arms, cells, share=share, first_look=look, finalists=last)

    def once(rng: np.random.Generator) -> Counts:
        steps = np.linspace(0.1, 1.0, arms)
        means = 0.70 - 0.25 * np.exp(-steps / 0.25) - 0.06 * np.maximum(0, steps - 0.6)
        if kind == "equal":
            means = np.full(arms, 0.68)
        if kind == "sharp":  # one checkpoint is plainly the best
            means = np.full(arms, 0.55)
            means[arms // 2] = 0.75
        scores = World().scores(means, prompts, seeds, rng)
        if kind == "copies":  # the last file is a copy of the one before it
            scores[-1], means[-1] = scores[-2], means[-2]
        return _race(table(scores, names), means, plan, mode)

    return once


def _race(
    whole: Table, means: NDArray[np.float64], plan: list[tuple[int, int]], mode: str
) -> Counts:
    arms, cells = whole.score.shape
    left, drawn = list(range(arms)), np.zeros(arms, dtype=np.int64)
    for number, (keep, wanted) in enumerate(plan):
        if number:
            so_far = first_cells(whole, drawn)
            if mode == "race":
                left = still_in(so_far, left, keep, LIMITS, len(plan))
            else:
                mine = so_far.rows(left)
                left = sorted(left[i] for i in mine.order(LIMITS)[:keep])
        if number and len(left) == 1:
            break
        drawn[left] = wanted
    level = choosing.alpha({"race": {"rounds": plan}} if mode == "race" else {})
    raced = _choice(first_cells(whole, drawn), level)
    full = _choice(whole, choosing.ALPHA)
    top, margin = float(means.max()), LIMITS["equivalent_score"]
    last_two = {arms - 1, arms - 2}

    def holds_best(held: set[int]) -> bool:
        return any(means[i] >= top - margin for i in held)

    chosen, tied, finalists = raced
    return {
        "covered": float(holds_best({chosen, *tied})),
        "full": float(holds_best({full[0], *full[1]})),
        "near": float(means[chosen] >= top - margin),
        "near_full": float(means[full[0]] >= top - margin),
        "regret": top - float(means[chosen]),
        "regret_full": top - float(means[full[0]]),
        "parted": float(bool(finalists - tied - {chosen})),
        "wrong": float(any(means[i] >= means[chosen] for i in finalists - tied - {chosen})),
        "spent": float(drawn.sum()) / (arms * cells),
        "copies_apart": float(len(last_two & (tied | {chosen})) == 1 and last_two <= finalists),
    }


def _choice(drawn: Table, level: float) -> tuple[int, set[int], set[int]]:
    """(chosen row, tied rows, finalists), by the functions of the verdict."""
    _, chosen, finalists = choosing.pick(drawn, LIMITS)
    final = drawn.rows(finalists)
    differ = choosing.parted(final, LIMITS, level)[finalists.index(chosen)]
    tied = {row for row, apart in zip(finalists, differ, strict=True) if not apart}
    return chosen, tied - {chosen}, set(finalists)


def claim_case(rate: float, base: float, n: int) -> Callable[[np.random.Generator], Counts]:
    """How often a winner is called clear of the base model."""

    def once(rng: np.random.Generator) -> Counts:
        mine = stats.clopper_pearson(int(rng.binomial(n, rate)), n)
        zero = stats.clopper_pearson(int(rng.binomial(n, base)), n)
        return {"covered": float(mine.low > zero.high)}

    return once


CASES: dict[str, Callable[[np.random.Generator], Counts]] = {
    **{f"share {p:g}, {n}": share_case(p, n) for p in (0.5, 0.8, 0.9, 0.97) for n in (24, 40, 100)},
    **{
        f"clusters {p:g}, {k} x {s}, {alike:g}": clustered_case(p, k, s, alike)
        for p in (0.5, 0.9)
        for k, s in ((12, 2), (12, 4), (12, 6), (24, 2))
        for alike in (0.2, 0.5)
    },
    **{
        f"difference {k} x {s}{', skewed' if skewed else ''}": difference_case(k, s, skewed)
        for k, s in ((6, 1), (12, 2), (24, 2))
        for skewed in (False, True)
    },
    **{
        f"race {kind}, {mode}, {arms} arms, {prompts} x {seeds} cells": race_case(
            kind, mode, arms, prompts, seeds
        )
        for mode in ("halving", "race")
        for kind, arms, prompts, seeds in (
            ("curve", 10, 6, 2), ("curve", 10, 12, 1), ("curve", 30, 12, 1), ("curve", 30, 12, 2),
            ("sharp", 10, 6, 2), ("sharp", 10, 12, 2), ("equal", 10, 12, 1), ("equal", 30, 12, 1),
            ("equal", 4, 6, 2), ("copies", 10, 12, 1),
        )
    },
    **{
        f"clear of base {rate:g} against {base:g}, {n}": claim_case(rate, base, n)
        for rate, base, n in ((0.05, 0.05, 24), (0.3, 0.3, 24), (0.5, 0.05, 24), (0.9, 0.05, 24))
    },
}  # fmt: skip


def run(repetitions: int) -> dict[str, Counts]:
    """Mean counts of every case, `n` among them; goes on from the state file.

    Every case gets a chunk before any gets the next, and the state is saved after each, so that a
    stopped bench has something of all.
    """
    state: dict[str, Any] = json.loads(STATE.read_text()) if STATE.is_file() else {}
    for wanted in range(CHUNK, repetitions + CHUNK, CHUNK):
        for name, once in CASES.items():
            entry = state.setdefault(name, {"n": 0, "sums": {}})
            until = min(wanted, repetitions)
            for k in range(entry["n"], until):
                seed = int(files.sha256_bytes(f"{name} {k}".encode())[:15], 16)
                for key, value in once(np.random.default_rng(seed)).items():
                    entry["sums"][key] = entry["sums"].get(key, 0.0) + value
            if entry["n"] < until:
                entry["n"] = until
                files.write_json(STATE, state)
    return means(state)


def means(state: dict[str, Any]) -> dict[str, Counts]:
    """Case -> mean counts and `n`, for every case that was begun."""
    found = {}
    for name in CASES:
        entry = state.get(name, {"n": 0})
        if entry["n"]:
            n = entry["n"]
            found[name] = {**{k: v / n for k, v in entry["sums"].items()}, "n": float(n)}
    return found


def _repetitions(found: dict[str, Counts]) -> str:
    counts = [int(c["n"]) for c in found.values()]
    if min(counts) == max(counts):
        return f"{max(counts):,} repetitions"
    return f"{min(counts):,} to {max(counts):,} repetitions (the bench goes on where it was)"


def _pc(value: float) -> str:
    return f"{100 * value:.1f} %"


def tables(found: dict[str, Counts]) -> str:
    """The page of the manual."""
    lines = [
        "# Can the verdict be trusted?",
        "",
        f"Worlds with a known truth, {_repetitions(found)} each, the very functions of the "
        "verdict. Made by `python -m bench.verdict_trust --out docs/trust.md`.",
        "",
        "A 95 % interval should hold the truth in at least 94 % of repetitions. The exact binomial "
        "interval is conservative by nature: with few pictures none can hit 95 % exactly, and "
        "the exact one errs on the safe side. It stands wherever a share is claimed, widened where "
        "prompts differ (next table).",
        "",
        "| share of matches, pictures | truth inside | mean width |",
        "|---|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("share"):
            lines.append(f"| {name[6:]} | {_pc(c['covered'])} | {c['width']:.2f} |")
    lines += [
        "",
        "Prompts differ: some are easy, some hard (intraclass correlation as given). The exact "
        "interval takes pictures for independent and then holds the truth too seldom; the "
        "verdict's own is on each side the wider of it and the one over whole prompts. With 12 "
        "prompts that nearly always match, much alike, and four or six seeds of each even that "
        "holds it in 85 to 93 % only: ask for more prompts rather than for more seeds (24 x 2 "
        "holds it, at the same price).",
        "",
        "| share, prompts x seeds, correlation | exact: truth inside | width | "
        "the verdict's: truth inside | width |",
        "|---|---|---|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("clusters"):
            lines.append(
                f"| {name[9:]} | {_pc(c['covered'])} | {c['width']:.2f} | "
                f"{_pc(c['covered_own'])} | {c['width_own']:.2f} |"
            )
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
        f"({LIMITS['equivalent_score']:g}) of the highest. `curve`: likeness rises and falls "
        "slowly over the steps, neighbours lie within the margin; `sharp`: one is plainly best; "
        "`equal`: all are; `copies`: two files are one. `wrong better`: some finalist at least as "
        "good as the chosen arm is called different from it (aim: at most 5 %). `pictures`: share "
        "of the full grid that was drawn; regret: by how much the chosen arm's true mean lies "
        "below the highest. Taken is the earliest arm within one standard error of the best, so "
        "more finalists mean an earlier, slightly worse arm: the full grid chooses the best less "
        "often than a race does, and its tied set still holds it.",
        "",
        "| race | best among chosen and tied | full grid | chosen is best | full grid | "
        "regret | full grid | wrong better | pictures |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, c in found.items():
        if name.startswith("race"):
            lines.append(
                f"| {name[5:]} | {_pc(c['covered'])} | {_pc(c['full'])} | {_pc(c['near'])} | "
                f"{_pc(c['near_full'])} | {c['regret']:.3f} | {c['regret_full']:.3f} | "
                f"{_pc(c['wrong'])} | {_pc(c['spent'])} |"
            )
    copies = [c["copies_apart"] for name, c in found.items() if name.startswith("race copies")]
    lines += [
        "",
        f"Two copies of one checkpoint are called different in {_pc(max(copies))} of races.",
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
    parser.add_argument("--show", action="store_true", help="the page of what is there already")
    asked = parser.parse_args()
    found = means(json.loads(STATE.read_text())) if asked.show else run(asked.repetitions)
    page = tables(found)
    print(page)
    if asked.out:
        old = asked.out.read_text(encoding="utf-8") if asked.out.is_file() else ""
        _, mark, planted = old.partition(PLANTED)  # another bench's section stays below
        files.write_text(asked.out, page + mark + planted)


if __name__ == "__main__":
    main()
