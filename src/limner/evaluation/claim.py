"""Claiming on yes/no results of fresh pictures: is it the same person, and how sure is that?

In: counts of the winner, the base model and the control, with what they rest on. Out: a `Claim`
with one of four words and the sentences a person reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from limner.evaluation import statistics as stats

Word = Literal["the same person", "not the same person", "too close to call", "not enough evidence"]


@dataclass(frozen=True)
class Count:
    """`hits` of `n` pictures verified."""

    hits: int
    n: int
    whole: stats.Interval | None = None
    """The same share's interval when whole prompts, not pictures, are the unit; None: unknown."""

    @property
    def rate(self) -> float | None:
        """Share of matches, None for no pictures."""
        return self.hits / self.n if self.n else None

    @property
    def interval(self) -> stats.Interval:
        """Exact 95 % interval, on each side widened to the one over whole prompts: pictures of one
        prompt resemble each other, and the exact interval takes them for independent."""
        exact = stats.clopper_pearson(self.hits, self.n)
        if self.whole is None:
            return exact
        return stats.Interval(min(exact.low, self.whole.low), max(exact.high, self.whole.high))

    def reaches(self, goal: float) -> bool:
        """Whether the share is at least `goal`, one-sided 95 %."""
        low = stats.exact_lower(self.hits, self.n)
        return min(low, self.whole.low if self.whole else low) >= goal

    @property
    def design(self) -> float:
        """By how much fewer independent pictures these are worth, 1 or more (design effect)."""
        exact = stats.clopper_pearson(self.hits, self.n)
        wide = self.interval
        return max(1.0, ((wide.high - wide.low) / max(exact.high - exact.low, 1e-9)) ** 2)

    @property
    def words(self) -> str:
        """`54 of 60`."""
        return f"{self.hits} of {self.n}"


@dataclass(frozen=True)
class Evidence:
    """What a claim rests on. `control` None = no LoRA of another character was tried."""

    winner: str
    claimed: Count
    base: Count
    control: Count | None
    seeds: int
    """Fewest fresh seeds of any prompt."""
    prompts: int
    references: int
    impostors: int
    ceiling: Count | None
    copies: Count | None = None
    """The winner's claiming pictures that are nearly a training picture."""
    base_copies: Count | None = None
    """The base model's, which never saw one: what the measure calls a copy by accident."""
    gate: str = ""
    """Why the winner breaks a hard gate, as all others do; empty when it does not."""
    untriggered: Count | None = None
    """The winner without its trigger word: what it does to other people."""
    pictures: str = "fresh pictures"
    """What was judged, as the sentences call it."""
    strengths: str = ""
    """Sentence on strengths that were not looked at; empty when all were."""


@dataclass(frozen=True)
class Claim:
    """The answer. `established`: clear of base and control; `lacking`: why there is no answer."""

    word: Word
    established: bool
    more_pictures: int | None
    goal_established: bool
    headline: str
    but: list[str]
    lacking: list[str] = field(default_factory=list)

    @property
    def statement(self) -> str:
        """Headline and reservations as running text."""
        return " ".join([self.headline, *self.but])


def percent(share: float) -> str:
    """`90.0 %`."""
    return f"{100 * share:.1f} %"


def span(interval: stats.Interval) -> str:
    """`95 % interval 79.5 to 96.2 %`."""
    return f"95 % interval {100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def lacking(evidence: Evidence, limits: Mapping[str, float]) -> list[str]:
    """What is missing before any verdict may be spoken, one sentence each."""
    found, fresh = [], "fresh " if evidence.pictures == "fresh pictures" else ""
    if evidence.references < limits["fewest_references"]:
        found.append(
            f"only {evidence.references} held-out references show a face, "
            f"at least {limits['fewest_references']:.0f} are needed"
        )
    if evidence.impostors < limits["fewest_impostors"]:
        found.append(
            f"the threshold rests on {evidence.impostors} strangers, "
            f"at least {limits['fewest_impostors']:.0f} are needed"
        )
    if evidence.claimed.n == 0:  # drawn or not: without references or strangers none is judged
        return [*found, "no fresh picture could be judged"]
    for name, have, unit in (
        ("pictures", evidence.claimed.n, ""),
        ("seeds", evidence.seeds, " a prompt"),
    ):
        if have < limits[f"fewest_claim_{name}"]:
            found.append(
                f"the claim rests on {have} {fresh}{name if have != 1 else name[:-1]}{unit}, "
                f"at least {limits[f'fewest_claim_{name}']:.0f} are needed"
            )
    if evidence.prompts < limits["fewest_claim_prompts"]:
        found.append(
            f"only {evidence.prompts} prompts were used, "
            f"at least {limits['fewest_claim_prompts']:.0f} are needed"
        )
    if evidence.base.n == 0:
        found.append("the base model drew nothing to compare with")
    return found


def clear_of(winner: Count, other: Count) -> bool:
    """The winner's exact interval lies wholly above the other's."""
    return winner.interval.low > other.interval.high


def more_to_separate(winner: Count, other: float | Count) -> int | None:
    """About how many more pictures would part the winner from a share or another count.

    N = (2.8 sd / d)^2 with the binomial sd (both sides' where there are two), times the design
    effect of prompts; None when the two are equal, for then no number would.
    """
    rate = _inside(winner)
    variance = rate * (1.0 - rate)
    if isinstance(other, Count):
        second = _inside(other)
        variance += second * (1.0 - second)
        other = second
    needed = stats.pictures_to_decide(math.sqrt(variance * winner.design), rate - other)
    return None if needed is None else max(needed - winner.n, 1)


def _inside(count: Count) -> float:
    """The share with a hit and a miss added (Agresti and Coull), so that sd is never 0."""
    return (count.hits + 1) / (count.n + 2)


def claim(evidence: Evidence, limits: Mapping[str, float]) -> Claim:
    """Decide on the word. The same person: the winner's interval lies clear above base and
    control, and above `majority`. Not the same person: it lies below `majority`. Between: too
    close to call. None where evidence is missing, the control passes as often as the winner, the
    winner passes, by its interval, as often as the character's own pictures do, or its pictures are
    training pictures over again."""
    winner, majority = evidence.claimed, limits["majority"]
    missing = lacking(evidence, limits)
    rivals = [evidence.base] + ([evidence.control] if evidence.control else [])
    established = not missing and all(clear_of(winner, rival) for rival in rivals)
    interval = winner.interval
    more: int | None = None
    word: Word
    if missing:
        word = "not enough evidence"
    elif said := copied(evidence, limits):
        word, missing = "not enough evidence", [said]
    elif interval.high < majority:
        word = "not the same person"
        if doubt := _blind(evidence):
            word, missing = "not enough evidence", [doubt]
    elif any((winner.rate or 0.0) <= (rival.rate or 0.0) for rival in rivals):
        word = "not enough evidence"
        missing = [
            "pictures that are surely of someone else pass as often, so passing says nothing"
        ]
    elif established and interval.low > majority:
        word = "the same person"
    else:
        word = "too close to call"
        doubts = [r for r in rivals if not clear_of(winner, r)]
        needs = [more_to_separate(winner, rival) for rival in doubts]
        if interval.low <= majority:
            needs.append(more_to_separate(winner, majority))
        known = [need for need in needs if need is not None]
        more = max(known) if known else None
    goal = not missing and winner.reaches(limits["goal"])
    headline = _headline(evidence, word, missing)
    but = _reservations(evidence, limits, word, established, more, goal)
    return Claim(word, established, more, goal, headline, but, missing)


def copied(evidence: Evidence, limits: Mapping[str, float]) -> str:
    """That the pictures repeat training pictures, clear of the limit and of the base model; else
    empty."""
    copies = evidence.copies
    if copies is None or copies.interval.low <= limits["copies"]:
        return ""
    if evidence.base_copies is not None and not clear_of(copies, evidence.base_copies):
        return ""
    return (
        f"{copies.words} {evidence.pictures} are training pictures over again, so a match there "
        "says nothing about new pictures"
    )


def _blind(evidence: Evidence) -> str:
    """The measure must know the character's own pictures more often than the winner's, or a miss
    says nothing."""
    ceiling = evidence.ceiling
    if ceiling is None or clear_of(ceiling, evidence.claimed):
        return ""
    return (
        f"the measure knows only {ceiling.words} of the character's own pictures, so a miss does "
        "not say that it is someone else"
    )


def _headline(evidence: Evidence, word: Word, missing: Sequence[str]) -> str:
    winner = evidence.winner[:1].upper() + evidence.winner[1:]
    count = f"{evidence.claimed.words} {evidence.pictures}"
    if word == "not enough evidence":
        return f"Not enough evidence: {'; '.join(missing)}."
    if word == "the same person":
        return f"{winner} drew the same person in {count}."
    if word == "not the same person":
        return f"Not the same person: {evidence.winner} drew the character in {count}."
    return f"Too close to call: {evidence.winner} drew the same person in {count}."


def _reservations(
    evidence: Evidence,
    limits: Mapping[str, float],
    word: Word,
    established: bool,
    more: int | None,
    goal: bool,
) -> list[str]:
    winner, text = evidence.claimed, []
    if winner.n and winner.rate is not None:
        counted = f"{winner.words} {evidence.pictures} matched:"
        # any other headline has the count already
        opening = counted if word == "not enough evidence" else "That is"
        text.append(f"{opening} {percent(winner.rate)}, {span(winner.interval)}.")
    if evidence.base.n:
        text.append(
            f"Without the LoRA it is {evidence.base.words} ({span(evidence.base.interval)})."
        )
    if evidence.control is not None:
        text.append(
            f"A LoRA of another character gives {evidence.control.words} "
            f"({span(evidence.control.interval)})."
        )
    else:
        text.append("A LoRA of another character was not tried.")
    if word != "not enough evidence":
        against = "the base model" + (" and the control" if evidence.control else "")
        is_it = "is established" if established else "is not established"
        text.append(f"That it matches more often than {against} {is_it}.")
        if established and word == "not the same person":
            text.append("It has learned something of the character, not yet enough.")
    if more is not None:
        text.append(f"About {more:,} more pictures would decide.")
    elif word == "too close to call":
        text.append("No number of pictures would part two equal shares.")
    if winner.n:
        is_it = "is established" if goal else "is not established"
        text.append(
            f"That the share is at least {100 * limits['goal']:.0f} % {is_it} "
            f"by {winner.n} pictures."
        )
    leak = evidence.untriggered
    if leak is not None and leak.n and leak.interval.low > limits["leak"]:
        text.append(
            f"Without its trigger word the LoRA still draws this person in {leak.words} pictures."
        )
    text += [_ceiling_words(evidence, limits), evidence.gate, evidence.strengths]
    return [line for line in text if line]


def _ceiling_words(evidence: Evidence, limits: Mapping[str, float]) -> str:
    """What the character's own pictures say about the measure; empty when it limits nothing."""
    ceiling = evidence.ceiling
    if ceiling is None or not ceiling.n:
        return ""
    if ceiling.interval.high < limits["ceiling"]:
        return (
            f"Only {ceiling.words} of the character's own pictures pass, so the dataset or the "
            "measure limits what any LoRA can reach."
        )
    if evidence.claimed.n and clear_of(ceiling, evidence.claimed):
        return (
            f"Of the character's own pictures {ceiling.words} pass, so dataset and measure leave "
            "room for more."
        )
    return ""
