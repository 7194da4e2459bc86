"""What a person does after a verdict: one or two sentences, each with a command that is ready.

In: the claim, the choice and what the grid drew. Out: rows {says, command} for the record; no
symptom is diagnosed here, that is what `limner advise` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner.evaluation.choose import Choice
from limner.evaluation.claim import Claim, Count, Evidence, copied, lacking

Row = dict[str, str]
ADVISE = {
    "says": "See what was measured and what to change first.",
    "command": "limner advise",
}
AGAIN = "limner evaluate && limner verdict"


def onward(
    said: Claim, evidence: Evidence, choice: Choice, limits: Mapping[str, float]
) -> list[Row]:
    """The next steps, the first one first; never empty."""
    if said.word == "the same person":
        return [{"says": "Bundle it with guide, card and proof.", "command": "limner release"}]
    if said.word == "too close to call" and said.more_pictures:
        wanted = evidence.claimed.n + said.more_pictures
        draw = {"says": _more(evidence, wanted), "command": AGAIN}
        if said.more_pictures > MANY * evidence.claimed.n:
            return [{**ADVISE, "says": BETTER}, draw]
        return [draw, ADVISE]
    if said.word == "not enough evidence":
        return [_unanswered(evidence, choice, limits), ADVISE]
    return [*_dataset(evidence, limits), *_curve(choice, limits), ADVISE]


def _unanswered(evidence: Evidence, choice: Choice, limits: Mapping[str, float]) -> Row:
    """What stands in the way of an answer, in the order in which the claim asks."""
    if lacking(evidence, limits):
        return _missing(evidence, limits)
    if evidence.copies is not None and copied(evidence, limits):
        return _fewer_steps(evidence.copies, choice, limits)
    if evidence.claimed.interval.high < limits["majority"]:
        says = "First the dataset or the measure: too few of its own pictures pass for one person."
        return {"says": says, "command": "limner review --again"}
    says = (
        "The line lets others pass as often: lower evaluation.target_far in character.yaml, and "
        "look at the pictures."
    )
    return {"says": says, "command": AGAIN}


def _missing(evidence: Evidence, limits: Mapping[str, float]) -> Row:
    """The setting that brings what a verdict lacks, in the order in which `lacking` names it."""
    if evidence.pictures != "fresh pictures":  # a folder of samples: no setting draws more
        return {"says": "Mend what is missing, then evaluate again.", "command": ""}
    if evidence.references < limits["fewest_references"]:
        wanted = SPARE * limits["fewest_references"]
        says = (
            f"Hold back more pictures that show a face: set dataset.held_out to {wanted:.0f} in "
            "character.yaml (and keep more pictures, if there are few)."
        )
        return {"says": says, "command": f"{REBUILD} && {AGAIN}"}
    if evidence.impostors < limits["fewest_impostors"]:
        says = (
            f"Too few strangers for a line: {evidence.impostors} faces were found in what the base "
            "drew. evaluation.thresholds.fewest_impostors in character.yaml may ask for fewer; the "
            "line then says less."
        )
        return {"says": says, "command": AGAIN}
    if evidence.claimed.n == 0:
        return {**ADVISE, "says": "No fresh picture could be judged: see what was measured."}
    needs = {
        "prompts": -(-3 * int(limits["fewest_claim_prompts"]) // 2),  # a third chooses
        "claim_seeds": int(limits["fewest_claim_seeds"]),
    }
    if evidence.prompts >= limits["fewest_claim_prompts"]:
        of_each = -(-limits["fewest_claim_pictures"] // max(1, evidence.prompts))
        needs = {"claim_seeds": max(needs["claim_seeds"], int(of_each))}
    elif evidence.seeds >= limits["fewest_claim_seeds"]:
        needs.pop("claim_seeds")
    said = " and ".join(f"evaluation.{key} to {value}" for key, value in needs.items())
    return {"says": f"Draw more: set {said} or more in character.yaml.", "command": AGAIN}


SPARE = 2
"""So many times the references that are needed are held back: not each shows a face that can be
judged (starting value)."""
REBUILD = "limner dataset build && limner plan && limner train --fresh"


def _fewer_steps(copies: Count, choice: Choice, limits: Mapping[str, float]) -> Row:
    """Fewer steps, or more pictures: up to where a checkpoint did not copy while choosing, else
    half of the way to the first."""
    if choice.chosen.called:  # an epoch or a place: training.steps says nothing of it
        says = (
            f"{copies.words} pictures repeat the training pictures: train fewer steps where it was "
            "trained, or with more and more varied pictures."
        )
        return {"says": says, "command": ""}
    shares: dict[int, list[float]] = {}
    for row in choice.rows:
        shares.setdefault(row["step"], []).append(row["copies"] / row["n"])
    free = [s for s, found in shares.items() if max(found) <= limits["copies"]]
    before = [step for step in free if step < choice.chosen.step]
    first = min(shares, default=choice.chosen.step)
    if before:
        steps, why = max(before), f"step {max(before):,} hardly did while choosing"
    else:
        first = first if first not in free else choice.chosen.step
        steps, why = max(1, first // 2), f"step {first:,} did already"
    says = (
        f"{copies.words} pictures repeat the training pictures, and {why}: train fewer steps, "
        f"e.g. training.steps {steps} in character.yaml, or with more and more varied pictures."
    )
    return {"says": says, "command": f"limner plan && limner train --fresh && {AGAIN}"}


def _more(evidence: Evidence, wanted: int) -> str:
    """The setting that gives `wanted` pictures: more prompts where pictures of one resemble each
    other (more seeds of the same would say little), else more seeds."""
    if evidence.claimed.design > ALIKE:
        claiming = -(-wanted // max(1, evidence.seeds))
        setting, value = "prompts", -(-3 * claiming // 2)  # a third of all prompts chooses
    else:
        setting, value = "claim_seeds", -(-wanted // max(1, evidence.prompts))
    change = f"evaluation.{setting} to {value}"
    if value > MOST:
        seeds = -(-wanted // (2 * MOST // 3))
        change = f"evaluation.prompts to {MOST} and evaluation.claim_seeds to {seeds}"
        if seeds > MOST:
            return f"The share lies too near the line: about {wanted:,} pictures would part them."
    return f"Draw more: set {change} in character.yaml."


MOST = 200
"""The most that character.yaml takes for evaluation.prompts, and for evaluation.claim_seeds."""
MANY = 10
"""So many times the pictures drawn, and a better LoRA answers sooner than more pictures (starting
value)."""
BETTER = (
    "So near the line a better LoRA answers sooner than more pictures: see what to change first."
)
ALIKE = 1.3
"""Design effect above which new prompts are worth more than new seeds (starting value)."""


def _dataset(evidence: Evidence, limits: Mapping[str, float]) -> list[Row]:
    ceiling = evidence.ceiling
    if ceiling is None or not ceiling.n or ceiling.interval.high >= limits["ceiling"]:
        return []
    says = "First the dataset: too few of its own pictures pass for one person."
    return [{"says": says, "command": "limner review --again"}]


def _curve(choice: Choice, limits: Mapping[str, float]) -> list[Row]:
    """Where likeness was highest among the checkpoints, at the best one's strength, and whether
    it still rose there by more than counts as equal."""
    best = choice.best
    means = _means(choice.rows, best.strength)
    if len(means) < 2:
        return []
    last = max(means)
    if best.called:
        beyond = (
            "the last one: train longer where it was trained."
            if best.step == last
            else "and not beyond, so more steps alone are not expected to help."
        )
        return [{"says": f"Likeness was highest at {best.called}, {beyond}", "command": ""}]
    if best.step == last:
        level = means[last] - limits["equivalent_score"]
        fell = max((s for s, mean in means.items() if mean < level), default=-1)
        still = min(s for s in means if s > fell)
        if still < last:
            says = (
                f"Likeness has stood still since step {still:,} of {last:,}, so more steps alone "
                "are not expected to help."
            )
            return [{"says": says, "command": ""}]
        says = (
            f"Likeness was highest at the last checkpoint, step {last:,}: train longer, "
            f"e.g. training.steps {2 * last:,} in character.yaml."
        )
        command = f"limner plan && limner train --fresh && {AGAIN}"
        return [{"says": says, "command": command}]
    says = (
        f"Likeness was highest at step {best.step:,} of {last:,} and not beyond, so more steps "
        "alone are not expected to help."
    )
    return [{"says": says, "command": ""}]


def _means(rows: Sequence[Mapping[str, Any]], strength: float) -> dict[int, float]:
    return {r["step"]: r["mean_score"] for r in rows if r["strength"] == strength}
