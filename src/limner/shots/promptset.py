"""The prompts of a whole set: each fluent by itself, and no long run of words twice.

In: attributes of every shot, in order. Out: one prompt a shot. A seeded local search changes single
wordings until no run of six words stands in more prompts than allowed; it ends by a work budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar

from limner.lexicon.wording import pick
from limner.shots.dialects import Dialect, dialect_of
from limner.shots.report import runs
from limner.shots.rules import threshold
from limner.shots.writer import compose

TRIES = 100
"""Wordings tried for a prompt when it is first written."""
ROUNDS, TRIES_OF_A_ROUND, IDLE_ROUNDS = 8, 80, 2
"""How often prompts that still share a run are written anew, with how many tries each, and after
how many rounds that helped nothing it ends."""

T = TypeVar("T")
Run = tuple[str, ...]


def allowed_prompts(total: int, own: Mapping[str, float] | None = None) -> int:
    """In how many prompts of a set of `total` one run of words may stand."""
    small = total <= threshold("shared_run_up_to", own)
    return 1 if small else int(threshold("shared_run_prompts", own))


def write_prompts(
    rows: Sequence[Mapping[str, str]],
    trigger: str,
    seeds: Sequence[int],
    *,
    class_word: str | None = None,
    dialect: str = "atelier",
    taken: Sequence[str] = (),
    thresholds: Mapping[str, float] | None = None,
) -> list[str]:
    """One prompt a row of attributes (see `write_prompt`), in a source's dialect.

    seeds: one a row; the same rows and seeds give the same prompts on every machine. taken: texts
    with which no prompt may share a run of words. Raises InputError for unknown ids.
    """
    length = int(threshold("shared_run", thresholds))
    most = allowed_prompts(len(rows), thresholds)
    speech = dialect_of(dialect)
    subjects = speech.subjects(trigger, class_word)
    turns: Counter[str] = Counter()
    drafts = []
    for row, seed in zip(rows, seeds, strict=True):
        genre = row.get("genre", "")
        drafts.append(_Draft(row, subjects, speech, seed, turns[genre]))
        turns[genre] += 1
    used: Counter[Run] = Counter()
    for text in taken:
        for run in runs(text, length):
            used[run] = most
    for draft in drafts:
        draft.settle(used, most, length, TRIES)
        used.update(draft.runs)
    fewest, idle = len(drafts) + 1, 0
    for _ in range(ROUNDS):
        sharing = [d for d in drafts if any(used[run] > most for run in d.runs)]
        idle = 0 if len(sharing) < fewest else idle + 1
        if not sharing or idle > IDLE_ROUNDS:
            break
        fewest = min(fewest, len(sharing))
        for draft in sharing:
            used.subtract(draft.runs)
            draft.wide = True
            draft.settle(used, most, length, TRIES_OF_A_ROUND)
            used.update(draft.runs)
    return [draft.text for draft in drafts]


class _Draft:
    """One prompt while its wordings are being chosen."""

    def __init__(
        self,
        row: Mapping[str, str],
        subjects: Sequence[str],
        dialect: Dialect,
        seed: int,
        turn: int,
    ) -> None:
        self.row, self.subjects, self.dialect, self.seed = row, subjects, dialect, seed
        self.turn = turn  # of its genre, so that the genre's few phrases stand equally often
        self.random = Random(seed)
        self.picks: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.wide = False
        self.text = ""
        self.runs: set[Run] = set()

    def settle(self, used: Mapping[Run, int], most: int, length: int, tries: int) -> None:
        """Change one wording at a time while that does not make it share more."""
        self._write(length)
        cost = self._cost(used, most)
        for _ in range(tries):
            if not cost:
                return
            before = (dict(self.picks), dict(self.asked), self.text, self.runs)
            free = sorted(s for s, options in self.asked.items() if options > 1 and s != "genre")
            slot = free[int(self.random.random() * len(free))]
            step = 1 + int(self.random.random() * (self.asked[slot] - 1))
            self.picks[slot] = (self.picks[slot] + step) % self.asked[slot]
            self._write(length)
            now = self._cost(used, most)
            if now > cost:
                self.picks, self.asked, self.text, self.runs = before
            else:
                cost = now

    def _choose(self, slot: str, options: Sequence[T]) -> T:
        total = len(options)
        self.asked[slot] = total
        if slot not in self.picks:
            even = slot == "genre"
            self.picks[slot] = self.turn % total if even else pick(slot, self.seed, range(total))
        return options[self.picks[slot] % total]

    def _write(self, length: int) -> None:
        self.asked = {}
        self.text = compose(
            self.row,
            self._choose("person", self.subjects),
            self._choose,
            drop=self.dialect.drop,
            as_written=self.dialect.trigger,
            wide=self.wide,
        )
        self.runs = runs(self.text, length)

    def _cost(self, used: Mapping[Run, int], most: int) -> int:
        """How often its runs are over what is allowed, were it added."""
        return sum(max(used.get(run, 0) + 1 - most, 0) for run in self.runs)
