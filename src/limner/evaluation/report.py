"""The parts of a verdict that are read rather than computed: rows, threshold, what is missing.

In: evidence, gates and a grid's settings. Out: plain data for a page; a thing that was not
measured is named with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner.evaluation import statistics as stats
from limner.evaluation.arms import Arm, Judged
from limner.evaluation.choose import Choice
from limner.evaluation.claim import Count, Evidence
from limner.evaluation.identity import Gate
from limner.evaluation.judging import Calibration
from limner.evaluation.testsets import NAMES, PHASE, STRENGTHS, asking_for

OUTCOMES = {
    "the same person": "same_person",
    "not the same person": "not_same",
    "too close to call": "too_close",
    "not enough evidence": "not_enough",
}
VARIETY = "variety at one prompt"
NEVER_MEASURED = (
    ("copied parts", "whole pictures were compared by hash; no detector looked for copied parts"),
    ("prompt adherence", "no yes/no question was asked about the renders"),
    (VARIETY, "fewer than 8 seeds a prompt were drawn"),
    ("skin texture", "no published scale exists, and no photographs to compare with"),
    ("hands", "no hand model was run"),
)
"""What a reader might take for granted, and this evaluation does not look at."""


def side(name: str, count: Count | None) -> dict[str, Any]:
    """`<name>_match_rate`, `_interval`, `_hits`, `_n`; all None when it was not tried."""
    tried = count is not None and count.n > 0
    prefix = f"{name}_" if name else ""
    return {
        f"{prefix}match_rate": count.rate if tried and count else None,
        f"{prefix}interval": count.interval.as_list() if tried and count else None,
        f"{prefix}hits": count.hits if tried and count else None,
        f"{prefix}n": count.n if count else None,
    }


def prompt_interval(mine: Sequence[Judged]) -> stats.Interval | None:
    """The share's interval with whole prompts as the unit; None when all pictures agree."""
    by_prompt: dict[str, list[float]] = {}
    for one in mine:
        by_prompt.setdefault(one.prompt_id, []).append(float(one.match))
    if len(by_prompt) < 2 or len({v for values in by_prompt.values() for v in values}) < 2:
        return None
    found = stats.paired(by_prompt).interval
    return stats.Interval(max(0.0, found.low), min(1.0, found.high))


def second_answer(mine: Sequence[Judged], gate: Gate | None) -> dict[str, Any] | None:
    """What the other embedder says of the same pictures; None when it says nothing."""
    answered = [j for j in mine if j.second is not None]
    if gate is None or not answered:
        return None
    count = Count(sum(bool(j.second) for j in answered), len(answered))
    return {
        "embedder": gate.embedder,
        "threshold": gate.threshold,
        "far": gate.far,
        "far_n": gate.strangers,
        "ceiling": gate.ceiling,
        **side("", count),
    }


def gate_words(choice: Choice, limits: Mapping[str, float]) -> str:
    """Why the chosen arm breaks a hard gate; it is chosen only where every arm does."""
    row = next((r for r in choice.rows if r["status"] == "chosen" and r.get("gate")), None)
    if row is None:
        return ""
    faults = [
        words
        for words, count, limit in (
            ("show no face", row["no_face"], limits["no_face"]),
            ("repeat a training picture", row["copies"], limits["copies"]),
        )
        if count > limit * row["n"]
    ]
    said = f"too many of its {row['n']} choosing pictures {' and '.join(faults)}"
    return f"No checkpoint passes the hard gates: even of the chosen one {said}."


def named(row: Mapping[str, Any]) -> dict[str, Any]:
    """An arm's row with the short names the report's ruler uses."""
    state = row["status"] if row["status"] in ("chosen", "tied", "gate") else ""
    low, high = row["interval"]
    return {**row, "arm": row["checkpoint"], "name": "", "low": low, "high": high, "state": state}


def threshold_words(gate: Gate | None) -> str:
    """One sentence a person can check: where the line lies and how many strangers pass it."""
    if gate is None:
        return "There is no threshold: no stranger's face was found to set one by."
    upper = 100 * stats.exact_upper(gate.accepted, gate.strangers)
    return (
        f"A picture counts as the same person from identity {gate.threshold:.2f} on (cosine, "
        f"{gate.embedder}). Such a line let {gate.accepted} of {gate.strangers} strangers pass who "
        f"had no part in setting it (at most {upper:.1f} %, one-sided exact 95 %)."
    )


def _judged_by(evidence: Evidence) -> str:
    """What the claim's pictures are; those of a folder chose as well."""
    return "fresh seeds and prompts" if evidence.pictures == "fresh pictures" else evidence.pictures


def rates(evidence: Evidence, second: dict[str, Any] | None, chosen: Arm) -> list[dict[str, Any]]:
    """The rows of the figure "Is it the same person?", claim first, all on one scale."""
    winner = chosen.words[:1].upper() + chosen.words[1:]
    other = Count(second["hits"], second["n"]) if second and second["n"] else None
    return [
        rate("claim", winner, _judged_by(evidence), evidence.claimed),
        rate("second", "Second embedder", "same pictures", other, "there is no second embedder"),
        rate(
            "ceiling",
            "Dataset with itself",
            "leave-one-out, the ceiling",
            evidence.ceiling,
            "there is no threshold",
        ),
        rate(
            "control",
            "Negative control",
            "LoRA of another character",
            evidence.control,
            "no LoRA of another character was given",
        ),
        rate(
            "untriggered",
            "Without the trigger",
            "LoRA on, no trigger word",
            evidence.untriggered,
            "evaluation.untriggered is off",
        ),
        rate("base", "Base model", "same prompts and seeds, no LoRA", evidence.base),
    ]


def rate(
    role: str, name: str, note: str, count: Count | None, reason: str = "nothing was drawn"
) -> dict[str, Any]:
    """One row; hits None with the reason when it was not tried."""
    if count is None or not count.n:
        empty = {"hits": None, "n": None, "low": None, "high": None, "reason": reason}
        return {"role": role, "name": name, "note": note, **empty}
    interval = count.interval
    return {
        "role": role,
        "name": name,
        "note": note,
        "hits": count.hits,
        "n": count.n,
        "low": interval.low,
        "high": interval.high,
        "reason": None,
    }


def drawn_strengths(settings: Mapping[str, Any]) -> list[float]:
    """Strengths at which a grid draws checkpoints, to choose by or as a test of the winner."""
    swept = settings.get("tests", {}).get("strengths", ())
    return sorted({float(s) for _, s, _ in settings["arms"]} | {float(s) for s in swept})


def unseen_strengths(settings: Mapping[str, Any]) -> str:
    """`Of the guide's strengths ... were not looked at.`; empty when all were."""
    drawn = drawn_strengths(settings)
    unseen = [s for s in STRENGTHS if s not in drawn]
    if not unseen:
        return ""
    one = len(drawn) == 1
    said = f"Strength {_list(drawn)} was" if one else f"Strengths {_list(drawn)} were"
    return (
        f"{said} drawn; of the guide's range 0.6 to 1.0, {_list(unseen)} "
        f"{'was' if len(unseen) == 1 else 'were'} not looked at."
    )


def _list(values: Sequence[float]) -> str:
    words = [f"{v:g}" for v in values]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def undrawn_sets(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """The prompt sets that a grid did not draw of its winner, each with its command."""
    have = asked_tests(settings)
    rows = []
    for name, what in PROMPT_SETS.items():
        if name not in have:
            how = f"{asking_for(name, have)} && limner verdict"
            rows.append({"what": what, "reason": "this set was not asked for", "how": how})
    return rows


def asked_tests(settings: Mapping[str, Any]) -> set[str]:
    """Names of the tests that a grid draws of its winner."""
    tests = settings.get("tests", {})
    sets = {name for name in NAMES if f"{PHASE}{name}" in tests.get("cells", {})}
    return sets | ({"strengths"} if tests.get("strengths") else set())


PROMPT_SETS = {
    "guide": "the guide's five test prompts",
    "far": "prompts far from the captions",
    "own": "your own prompts",
}
"""Prompt sets whose absence is said: what stands for what a user will ask of the LoRA later."""


def not_measured(
    settings: dict[str, Any],
    found: Calibration,
    evidence: Evidence,
    second: dict[str, Any] | None,
) -> list[dict[str, str]]:
    """What this verdict says nothing about, each with the reason."""
    missing = [{"what": what, "reason": reason} for what, reason in NEVER_MEASURED]
    for row in missing:
        if row["what"] == VARIETY:
            row["how"] = f"{asking_for('variety', asked_tests(settings))} && limner verdict"
    if evidence.control is None:
        reason = "no LoRA of another character was given (evaluation.control)"
        missing.insert(0, {"what": "negative control", "reason": reason})
    if evidence.untriggered is None or not evidence.untriggered.n:
        reason = "the LoRA was not drawn without its trigger word (evaluation.untriggered)"
        missing.append({"what": "trigger leakage", "reason": reason})
    if second is None:
        missing.append({"what": "second embedder", "reason": "none fits this kind of picture"})
    if found.gate is None:
        missing.append({"what": "identity", "reason": "no threshold: no stranger's face was found"})
    if found.references > found.seen:
        lost = found.references - found.seen
        reason = f"no face was found in {lost} of {found.references} held-out references"
        missing.append({"what": "some references", "reason": reason})
    if unseen := unseen_strengths(settings):
        how = f"{asking_for('strengths', asked_tests(settings))} && limner verdict"
        missing.append(
            {"what": "strengths from 0.6 to 1.0", "reason": unseen.rstrip("."), "how": how}
        )
    missing += undrawn_sets(settings)
    reasons: dict[str, int] = {}
    for one in settings["excluded"]:
        reasons[one["reason"]] = reasons.get(one["reason"], 0) + 1
    missing += [
        {"what": f"{n} prompts left out in advance", "reason": reason}
        for reason, n in reasons.items()
    ]
    return missing
