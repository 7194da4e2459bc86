"""The verdict: who was chosen, how often fresh pictures show the same person, how sure that is.

In: the scores, calibration and settings of the newest grid; no model is loaded. Out: a numbered
verdict in the project and its data, JSON-able, all keys always there, None = not measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from limner.errors import NotReadyError
from limner.evaluation import asking, detail_file, judging, qualities, variety_file
from limner.evaluation import benchmarks as marks
from limner.evaluation import choose as choosing
from limner.evaluation import statistics as stats
from limner.evaluation.asking import FOLLOWS
from limner.evaluation.choose import BASE, Arm, Choice, Judged, arm_row
from limner.evaluation.claim import Claim, Count, Evidence, claim
from limner.evaluation.grid import CONTROL
from limner.evaluation.identity import NO_FACE
from limner.evaluation.judging import Calibration
from limner.evaluation.onward import onward
from limner.evaluation.report import (
    OUTCOMES,
    asked_tests,
    gate_words,
    named,
    not_measured,
    prompt_interval,
    rates,
    second_answer,
    side,
    threshold_words,
    unseen_strengths,
)
from limner.evaluation.rules import rules
from limner.evaluation.testsets import PHASE
from limner.events import Events, Notice, Result
from limner.project import Project
from limner.project.records import Grid, Measure


def verdict(project: Project) -> Events:
    """Speak the verdict on the newest grid; Result: its data. The same grid, the same verdict.

    Raises NotReadyError when the grid has no pictures to claim by.
    """
    with project.exclusive("verdict"):
        grid = project.store.grid()
        if grid is None:
            raise NotReadyError(
                "Nothing has been evaluated yet",
                where=str(project.root),
                fix="Run `limner evaluate` first.",
            )
        if changed := _changed(project, grid):
            yield Notice(changed, "warning")
        data = _speak(project, grid)
        newest = project.store.verdict()
        same = newest is not None and newest.grid_version == grid.version
        if newest is None or not same or newest.data != data:
            project.store.add_verdict(grid_version=grid.version, data=data)
            project.store.log("evaluation", "verdict", grid=grid.version, word=data["word"])
        yield Result(data)


def _changed(project: Project, grid: Grid) -> str:
    """That character.yaml has other thresholds than the grid was drawn by; empty when not. What is
    looked for is settled before the pictures are seen, so the grid's own stay."""
    drawn = grid.settings["limits"]
    now = rules(project.character.evaluation.thresholds)
    held = {"first_look", "finalists"}  # a full grid sets them itself, and no verdict reads them
    rows = [
        f"{name} {drawn[name]:g}, now {value:g}"
        for name, value in now.items()
        if name in drawn and name not in held and drawn[name] != value
    ]
    if not rows:
        return ""
    return (
        f"Grid {grid.version} was drawn by other values of evaluation.thresholds, and this verdict "
        f"keeps them: {'; '.join(rows)}. `limner evaluate` makes a grid by those of now."
    )


def _speak(project: Project, grid: Grid) -> dict[str, Any]:
    folder = project.folder("renders") / f"grid_{grid.version}"
    found = judging.read(folder)
    limits = grid.settings["limits"]
    points = project.store.checkpoints(grid.run_version)
    called = {c.step: c.called for c in points if not c.in_updates}
    arms = [
        Arm(step, strength, called=called.get(step, ""))
        for step, strength, _ in grid.settings["arms"]
    ]
    tried_control = grid.settings["control"] is not None

    def judged(phase: str, among: Sequence[Arm]) -> list[Judged]:
        scored = judging.read_scores(project, grid.version, phase)
        return judging.judge(scored, found, among, limits["copy_bits"])

    first = judged("choose", [*arms, BASE])
    mine = [j for j in first if j.arm.kind == "checkpoint"]
    choice = (
        choosing.choose(mine, limits, choosing.alpha(grid.settings))
        if mine
        else Choice(arms[0], arms[0], [], [], 0)
    )
    claiming = [choice.chosen, BASE, CONTROL, replace(choice.chosen, kind="untriggered")]
    fresh = judged("claim", claiming)
    pending = _pending(project, grid)
    if pending:
        raise NotReadyError(
            f"{pending} pictures of grid {grid.version} are not drawn yet",
            where=str(folder),
            fix="Run `limner evaluate` again; it goes on where it was.",
        )
    _write_matches(project, grid, found)
    evidence = replace(
        _evidence(choice.chosen, fresh, found, tried_control),
        strengths=unseen_strengths(grid.settings),
        gate=gate_words(choice, limits),
    )
    said = claim(evidence, limits)
    data = _data(project, grid, found, choice, first, fresh, evidence, said)
    data["next"] = onward(said, evidence, choice, limits)
    return {**data, **_winner(project, grid, found, choice.chosen, fresh, evidence, data)}


def _winner(
    project: Project,
    grid: Grid,
    found: Calibration,
    chosen: Arm,
    fresh: Sequence[Judged],
    evidence: Evidence,
    data: dict[str, Any],
) -> dict[str, Any]:
    """What the winner's pictures are like, and its tests: further keys of the record."""
    folder = project.folder("renders") / f"grid_{grid.version}"
    seen = qualities.Seen(
        judging.read_scores(project, grid.version, "claim"), chosen, detail_file.read(folder)
    )
    measured = qualities.rows(
        seen, variety_file.read(folder), evidence.untriggered, grid.settings["limits"]
    )
    wanted = grid.settings.get("tests", {})
    phases = sorted({r.phase for r in project.store.renders(grid.version)})
    tested, everything = {}, list(seen.scored)
    for phase in (p for p in phases if p.startswith(PHASE)):
        scored = judging.read_scores(project, grid.version, phase)
        everything += scored
        arms = [Arm(chosen.step, s) for s in {r.strength for r, _ in scored}]
        styled = [Arm(k, 1.0, "styled") for k in range(len(wanted.get("styles", ())))]
        among = [*arms, BASE, *styled]
        tested[phase] = judging.judge(scored, found, among, grid.settings["limits"]["copy_bits"])
    sets = marks.tests(tested, chosen)
    swept = marks.strengths(tested.get(f"{PHASE}strengths", []), fresh, chosen)
    stacked = marks.styles(
        tested.get(f"{PHASE}styles", []), fresh, chosen, wanted.get("styles", ())
    )
    worn = {
        prompt: asked.get("outfit_tag") or asked["outfit"]
        for prompt, _, asked in grid.settings["prompts"]
        if asked.get("outfit_tag") or asked.get("outfit")
    }
    answered = {row["key"] for row in measured if row["value"] is not None}
    reasons = {row["key"]: row["reason"] for row in measured}
    open_questions = [
        {**m, "reason": reasons[FOLLOWS]} if ANSWERS.get(m["what"]) == FOLLOWS else m
        for m in data["not_measured"]
        if ANSWERS.get(m["what"]) not in answered
    ]
    open_questions += [
        {"what": row["name"], "reason": row["reason"]}
        for row in measured
        if row["value"] is None and row["key"] not in ANSWERS.values()
    ]
    goal = grid.settings["limits"]["goal"]
    return {
        "measures": [*data["measures"], *measured],
        "not_measured": open_questions,
        "tests": sets,
        "strengths": swept,
        "styles": stacked,
        "questions": asking.by_prompt(everything, chosen),
        "outfits": marks.outfits(fresh, chosen, worn),
        "benchmarks": marks.benchmarks(
            evidence.claimed, goal, sets, swept, stacked, measured, asked_tests(grid.settings)
        ),
    }


ANSWERS = {
    "copied parts": "",
    "prompt adherence": FOLLOWS,
    "variety at one prompt": "diversity_ratio",
    "skin texture": "skin_z",
    "hands": "",
    "trigger leakage": "trigger_leakage",
}
"""What stands in the list of what is not measured -> the measure that would answer it."""


def _pending(project: Project, grid: Grid) -> int:
    """Claiming pictures that are asked for and not there, or not scored yet (a kill between the
    two); all of them before any is asked for."""
    claimed = [r for r in project.store.renders(grid.version) if r.phase == "claim"]
    if not claimed:
        return len(grid.settings["cells"]["claim"])
    scores = project.store.scores
    return sum(r.state != "done" or "face" not in scores(r.id) for r in claimed)


def _write_matches(project: Project, grid: Grid, found: Calibration) -> None:
    """The yes or no of every picture, beside its scores; no threshold, no answer."""
    gate = found.gate
    for render in project.store.renders(grid.version, state="done"):
        scores = project.store.scores(render.id)
        if "face" not in scores:  # drawn, and killed before it was looked at
            continue
        value: float | None = None
        reason: str | None = "there is no threshold"
        if gate is not None:
            score = scores[f"identity_{gate.embedder}"].value
            value = float(score is not None and score >= gate.threshold)
            reason = NO_FACE if score is None else None
        tool = f"{gate.embedder} >= {gate.threshold:.4f}" if gate else ""
        if scores.get("match") != Measure("match", value, "", reason, tool):
            project.store.put_scores(render.id, [Measure("match", value, "", reason, tool)])


def _count(judged: Sequence[Judged], arm: Arm) -> Count:
    mine = [j for j in judged if j.arm == arm]
    return Count(sum(j.match for j in mine), len(mine), prompt_interval(mine))


def _repeated(judged: Sequence[Judged]) -> Count:
    return Count(sum(j.copy for j in judged), len(judged))


def _evidence(
    chosen: Arm, fresh: Sequence[Judged], found: Calibration, tried_control: bool
) -> Evidence:
    mine = [j for j in fresh if j.arm == chosen]
    gate = found.gate
    return Evidence(
        winner=chosen.words,
        claimed=_count(fresh, chosen),
        base=_count(fresh, BASE),
        control=_count(fresh, CONTROL) if tried_control else None,
        seeds=min(Counter(j.prompt_id for j in mine).values(), default=0),
        prompts=len({j.prompt_id for j in mine}),
        references=found.seen,
        impostors=gate.strangers if gate else 0,
        ceiling=Count(gate.ceiling_hits, gate.ceiling_n) if gate else None,
        copies=_repeated(mine),
        base_copies=_repeated([j for j in fresh if j.arm == BASE]),
        untriggered=_count(fresh, replace(chosen, kind="untriggered")),
    )


def _data(
    project: Project,
    grid: Grid,
    found: Calibration,
    choice: Choice,
    first: Sequence[Judged],
    fresh: Sequence[Judged],
    evidence: Evidence,
    said: Claim,
) -> dict[str, Any]:
    """Everything a report shows, in one flat record."""
    limits, gate, chosen = grid.settings["limits"], found.gate, choice.chosen
    arms = [*choice.rows]
    if any(j.arm == BASE for j in first):
        arms.insert(0, arm_row(BASE, first, "choose", "base"))
    second = second_answer([j for j in fresh if j.arm == chosen], found.second)
    missing = not_measured(grid.settings, found, evidence, second)
    return {
        "word": said.word,
        "outcome": OUTCOMES[said.word],
        "established": said.established,
        "statement": said.statement,
        "sentence": said.headline,
        "detail": " ".join(said.but),
        "reservations": said.but,
        "not_established": [line for line in said.but if "not established" in line],
        "lacking": said.lacking,
        "more_pictures": said.more_pictures,
        "checkpoint": chosen.name,
        "step": chosen.step,
        "strength": chosen.strength,
        "chosen": _chosen_file(project, grid, chosen),
        **side("", evidence.claimed),
        **side("base", evidence.base),
        **side("control", evidence.control),
        **side("untriggered", evidence.untriggered),
        "prompt_interval": (evidence.claimed.whole.as_list() if evidence.claimed.whole else None),
        "second": second,
        "tied": choice.tied,
        "goal": limits["goal"],
        "goal_established": said.goal_established,
        "embedder": gate.embedder if gate else None,
        "threshold": gate.threshold if gate else None,
        "threshold_words": threshold_words(gate),
        "far": gate.far if gate else None,
        "far_n": gate.strangers if gate else 0,
        "far_upper": stats.exact_upper(gate.accepted, gate.strangers) if gate else None,
        "target_far": grid.settings["target_far"],
        "strangers": {"shipped": found.strangers_shipped, "drawn": found.strangers_drawn},
        **side("ceiling", evidence.ceiling),
        "ceiling": evidence.ceiling.rate if evidence.ceiling else None,
        "references": found.references,
        "references_with_face": found.seen,
        "not_measured": missing,
        "excluded": grid.settings["excluded"],
        "arms": [named(row) for row in arms],
        "claim_arms": [
            named(arm_row(arm, fresh, "claim", status))
            for arm, status in (
                (chosen, "chosen"),
                (BASE, "base"),
                (CONTROL, "control"),
                (replace(chosen, kind="untriggered"), "untriggered"),
            )
            if any(j.arm == arm for j in fresh)
        ],
        "rates": rates(evidence, second, chosen),
        "measures": _paired_measures(fresh, chosen),
        "settings": grid.settings["render"],
        "judge": grid.settings["judge"],
        "pictures": {"choose": len(first), "claim": len(fresh)},
        "grid": grid.version,
        "run": grid.run_version,
        "dataset": grid.settings["dataset"],
    }


def _chosen_file(project: Project, grid: Grid, chosen: Arm) -> dict[str, Any]:
    found = [c for c in project.store.checkpoints(grid.run_version) if c.step == chosen.step]
    file = {"path": found[0].path, "sha256": found[0].sha256} if found else {}
    return {"checkpoint": chosen.name, "step": chosen.step, "strength": chosen.strength, **file}


def _paired_measures(fresh: Sequence[Judged], chosen: Arm) -> list[dict[str, Any]]:
    """Winner against base on the same prompts and seeds: score difference and McNemar's p."""
    gaps = choosing.differences(fresh, chosen, BASE)
    if not gaps:
        return []
    gap = stats.paired(gaps)
    base = {j.cell: j.match for j in fresh if j.arm == BASE}
    pairs = [(j.match, base[j.cell]) for j in fresh if j.arm == chosen and j.cell in base]
    p = stats.mcnemar_exact(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs))
    return [
        {
            "key": "identity_gain",
            "name": "identity above the base model, same prompts and seeds",
            "value": gap.mean,
            "unit": "cosine",
            "interval": choosing.bounds(gap.interval),
            "n": gap.n,
            "reason": None,
            "note": f"{gap.clusters} prompts as the unit",
        },
        {
            "key": "identity_luck",
            "name": "chance of such a lead by luck (McNemar, exact)",
            "value": p,
            "unit": "p",
            "interval": None,
            "n": len(pairs),
            "reason": None,
            "note": "pictures where only one of the two shows the person",
        },
        _copies(fresh, chosen),
    ]


def _copies(fresh: Sequence[Judged], chosen: Arm) -> dict[str, Any]:
    """How many fresh pictures are a training picture over again, beside the base's by chance."""
    counts = []
    for arm in (chosen, BASE):
        mine = [j for j in fresh if j.arm == arm]
        counts.append(Count(sum(j.copy for j in mine), len(mine)))
    return {
        "key": "copies",
        "name": "whole pictures copied from the training set (pHash, mirrored too)",
        "value": counts[0].rate,
        "unit": "share",
        "interval": counts[0].interval.as_list(),
        "n": None,
        "reason": None if counts[0].n else "nothing was drawn",
        "note": f"{counts[0].words}; base model {counts[1].words}",
    }
