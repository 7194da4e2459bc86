"""Racing: which arms still need pictures, when to stop, and how to stay within a budget.

In: judged pictures so far, or plain counts. Out: rounds, the arms still in, a plan that fits.
Everything is a pure function; nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from limner.errors import UsageError
from limner.evaluation import statistics as stats
from limner.evaluation.choose import ALPHA, rounds
from limner.evaluation.table import Table

Rounds = list[tuple[int, int]]


def pictures_of(plan: Rounds) -> int:
    """Pictures that rounds draw when nobody leaves early."""
    drawn, before = 0, 0
    for arms, seen in plan:
        drawn += arms * (seen - before)
        before = seen
    return drawn


def race_rounds(
    arms: int, cells: int, *, share: float, first_look: int = 4, finalists: int = 3
) -> Rounds:
    """Rounds that draw at most `share` of the full grid: the longest first look that fits, the last
    round cut short by at most a quarter where that lets it fit.

    Fewer than four arms or cells cannot be halved: then the plain rounds stand.
    """
    if arms < 4 or cells < 4:
        return rounds(arms, cells, first_look, finalists)
    for last in range(finalists, 1, -1):
        for look in range(first_look, 1, -1):
            found = _cut(rounds(arms, cells, look, last), int(share * arms * cells), cells)
            if found:
                return found
    return rounds(arms, cells, 2, 2)


def _cut(plan: Rounds, most: int, cells: int) -> Rounds | None:
    """The plan with its last looks shortened to `most` pictures; None when too little is left."""
    found = list(plan)
    while len(found) > 1 and pictures_of(found) > most:
        arms, seen = found[-1]
        if seen - 1 > found[-2][1]:
            found[-1] = (arms, seen - 1)
        else:
            found.pop()
    fits = pictures_of(found) <= most and found[-1][1] >= LEAST_LOOK * cells
    return found if fits else None


LEAST_LOOK = 0.75
"""Share of the cells that the finalists must at least get (starting value)."""


def still_in(
    table: Table, rows: Sequence[int], keep: int, limits: Mapping[str, float], looks: int
) -> list[int]:
    """The rows that go on: the better half, less those already clearly behind the leader.

    Clearly behind: the paired difference is significant after Holm over the others, at 5 % shared
    out over `looks` (Bonferroni, so that looking often does not make false winners). One arm left
    means that the race is decided.
    """
    mine = table.rows(rows)
    order = mine.order(limits)[: min(keep, len(rows))]
    best, others = order[0], order[1:]
    pairs = mine.pairs
    adjusted = stats.holm([float(pairs.p[best, i]) for i in others])
    behind = {
        i
        for i, p in zip(others, adjusted, strict=True)
        if p < ALPHA / looks
        and pairs.mean[best, i] > limits["equivalent_score"]
        and pairs.clusters >= FEWEST_TO_STOP
    }
    return sorted(rows[i] for i in order if i not in behind)


FEWEST_TO_STOP = 4
"""Prompts below which no arm is sent away for being behind (starting value): with fewer, t has so
few degrees of freedom that one odd prompt decides."""


@dataclass(frozen=True)
class Size:
    """What an evaluation would draw, in counts. `share`: of the full grid while choosing, 0 = plain
    rounds; `rivals`: arms beside the winner that claim (base, control)."""

    checkpoints: int
    strengths: int
    choose_prompts: int
    seeds: int
    claim_prompts: int
    claim_seeds: int
    untriggered: int
    rivals: int
    calibrate: int
    share: float
    first_look: int
    finalists: int

    @property
    def rounds(self) -> Rounds:
        """Of the choosing arms."""
        arms, cells = self.checkpoints * self.strengths, self.choose_prompts * self.seeds
        if self.share:
            return race_rounds(
                arms, cells, share=self.share, first_look=self.first_look, finalists=self.finalists
            )
        return rounds(arms, cells, self.first_look, self.finalists)

    @property
    def pictures(self) -> int:
        """Most pictures this draws."""
        base = self.choose_prompts * self.seeds + self.calibrate
        claim = self.claim_prompts * (self.claim_seeds * (1 + self.rivals) + self.untriggered)
        return pictures_of(self.rounds) + base + claim


def within(size: Size, budget: int, limits: Mapping[str, float], beside: int = 0) -> Size:
    """The same evaluation made to fit `budget` pictures, `beside` of them for tests of the winner
    that were asked for and give no way. In turns give way: the look without the
    trigger, seeds to choose by, seeds to claim by, every fourth checkpoint; never below what a
    verdict needs. Raises UsageError, naming the fewest, where that does not fit."""
    claim_floor = max(
        int(limits["fewest_claim_seeds"]),
        -(-int(limits["fewest_claim_pictures"]) // max(1, size.claim_prompts)),
    )
    found, turn, stuck = size, 0, 0
    while found.pictures + beside > budget:
        if stuck > 3:
            tests = f", {beside} of them for the tests of the winner (--tests none: none)"
            tests = tests if beside else ""
            raise UsageError(
                f"A budget of {budget} pictures does not reach a verdict",
                where="limner evaluate --budget",
                fix=f"The fewest for this grid is {found.pictures + beside}{tests}.",
            )
        step = found
        if turn == 0 and found.untriggered:
            step = replace(found, untriggered=0)
        elif turn == 1 and found.seeds > 1:
            step = replace(found, seeds=found.seeds - 1)
        elif turn == 2 and found.claim_seeds > claim_floor:
            step = replace(found, claim_seeds=found.claim_seeds - 1)
        elif turn == 3 and found.checkpoints > FEWEST_CHECKPOINTS:
            fewer = max(FEWEST_CHECKPOINTS, found.checkpoints - -(-found.checkpoints // 4))
            step = replace(found, checkpoints=fewer)
        stuck = stuck + 1 if step == found else 0
        found, turn = step, (turn + 1) % 4
    return found


FEWEST_CHECKPOINTS = 3
"""With fewer there is no early, right and late to choose from (starting value)."""
