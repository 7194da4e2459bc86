"""How fast the planner is and how free its plans are, beside two plain ways to fill the quotas.

    python bench/planner.py [--counts 40 100 400] [--seeds 3]

Rows: Limner's planner; independent random choice (each axis drawn by its shares, every shot for
itself); round-robin (each axis dealt in turn through its shares). All three choose among the same
values. Columns: CPU seconds of one plan without its prompts, the strongest bias-corrected Cramer's
V over all pairs that no rule ties, the share of value pairs that appear, quotas missed (shots), and
shots that break a rule (snow and a swimsuit). Ratios are to Limner.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from random import Random
from statistics import mean

from limner import lexicon
from limner.shots.planner import (
    MOST_MOVES,
    MOVES_A_SHOT,
    arrange,
    faces_seen,
    fits_of,
    make_targets,
)
from limner.shots.report import associations_of
from limner.shots.rules import gazes_of, rules_for
from limner.shots.search import Columns

LEAST_V = 0.01
"""What a V below counts as in ratios, so that they stay finite."""


def limner(count: int, seed: int) -> Columns:
    """The planner's columns."""
    rules = rules_for("feminine")
    targets = make_targets(count, "seed", {}, rules)
    moves = min(MOVES_A_SHOT * count, MOST_MOVES)
    return arrange(count, targets, rules, seed, moves=moves)[0]


def shares_of(columns: Columns) -> dict[str, Counter[str]]:
    """How often each value stands in Limner's plan: the shares the baselines draw from."""
    return {axis: Counter(columns[axis]) for axis in lexicon.AXES}


def finished(columns: Columns, random: Random) -> Columns:
    """Kind of place and a gaze that fits angle and mood, as every plan has them."""
    columns["mix"] = [lexicon.settings()[s].mix for s in columns["setting"]]
    pairs = zip(columns["angle"], columns["expression"], strict=True)
    columns["gaze"] = [random.choice(gazes_of(a, m)) for a, m in pairs]
    return columns


def by_chance(count: int, seed: int, shares: dict[str, Counter[str]]) -> Columns:
    """Every shot draws every axis for itself."""
    random = Random(seed)
    drawn = {a: random.choices(list(c), list(c.values()), k=count) for a, c in shares.items()}
    return finished(drawn, random)


def in_turn(count: int, seed: int, shares: dict[str, Counter[str]]) -> Columns:
    """Each axis deals its values in turn until its shares are used up."""
    random = Random(seed)
    columns: Columns = {}
    for axis, counts in shares.items():
        left = Counter(counts)
        order = sorted(left, key=lambda v: (random.random(), v))
        dealt: list[str] = []
        while len(dealt) < count:
            for value in order:
                if left[value]:
                    left[value] -= 1
                    dealt.append(value)
        columns[axis] = dealt[:count]
    return finished(columns, random)


def judged(columns: Columns, targets: dict[str, dict[str, int]]) -> dict[str, float]:
    """Strongest free V, coverage, quotas missed and rules broken of one plan."""
    pairs = associations_of(columns, faces_seen(columns))
    free = [e for e in pairs if not e["by_rule"]]
    crossed = [e for e in pairs if set(e["axes"]) != {"setting", "mix"}]
    fits = fits_of(rules_for("feminine"))
    total = len(columns["angle"])
    have = {axis: Counter(columns[axis]) for axis in targets}
    return {
        "V": max((e["v"] for e in free if e["v"] is not None), default=0.0),
        "pairs": sum(min(e["covered"], e["possible"]) for e in crossed)
        / sum(e["possible"] for e in crossed),
        "missed": sum(
            abs(have[a][v] - n) for a, counts in targets.items() for v, n in counts.items()
        )
        / 2,
        "broken": sum(not fits(columns, i) for i in range(total)),
    }


def main() -> None:
    """Print one table a count."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[40, 100, 400])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    rules = rules_for("feminine")  # reads the vocabulary before any clock starts
    print(f"{'shots':>5} {'way':<12}{'CPU s':>8}{'x':>8}{'max V':>8}{'x':>7}"
          f"{'pairs':>8}{'missed':>8}{'broken':>8}")  # fmt: skip
    for count in options.counts:
        targets = make_targets(count, "seed", {}, rules)
        rows: dict[str, list[dict[str, float]]] = {"limner": [], "random": [], "round-robin": []}
        for seed in range(options.seeds):
            start = time.process_time()
            own = limner(count, seed)
            rows["limner"].append({"s": time.process_time() - start, **judged(own, targets)})
            for name, way in (("random", by_chance), ("round-robin", in_turn)):
                start = time.process_time()
                made = way(count, seed, shares_of(own))
                rows[name].append({"s": time.process_time() - start, **judged(made, targets)})
        show(count, rows)


def show(count: int, rows: dict[str, list[dict[str, float]]]) -> None:
    """Means over the seeds; V is the worst of them. Ratios are to Limner's row."""
    own_seconds = mean(r["s"] for r in rows["limner"])
    own_worst = max(LEAST_V, *(r["V"] for r in rows["limner"]))
    for name, found in rows.items():
        seconds, worst = mean(r["s"] for r in found), max(r["V"] for r in found)
        print(
            f"{count:>5} {name:<12}{seconds:>8.3f}{seconds / own_seconds:>8.4f}"
            f"{worst:>8.2f}{max(worst, LEAST_V) / own_worst:>7.1f}"
            f"{mean(r['pairs'] for r in found):>8.0%}{mean(r['missed'] for r in found):>8.1f}"
            f"{mean(r['broken'] for r in found):>8.1f}"
        )


if __name__ == "__main__":
    main()
