"""Yes/no questions beside every prompt, put to the user's vision endpoint about the renders.

In: a finished grid, its prompts, an endpoint. Out: a score a picture, `follows_questions`, beside
`control_questions`: how far the model agrees with another prompt. Asked once, kept at once.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.evaluation.arms import BASE, Arm
from limner.evaluation.grid import GridPlan
from limner.evaluation.judging import Scored
from limner.evaluation.prompt import EvalPrompt
from limner.evaluation.rules import RULES
from limner.evaluation.testsets import PHASE, WRONG
from limner.events import Event, Notice, Ticker
from limner.llm import Client, Endpoint, find_endpoint
from limner.project import Project, files
from limner.project.records import Measure, Render
from limner.vision.questions import Answers, Question, about_attributes, ask, mixed, of_another

FOLLOWS, CONTROL = "follows_questions", "control_questions"
NOBODY = "no endpoint was asked"
FILE = "questions.json"
LEAST, MOST, CONTROLS = 4, 6, 2
"""Questions a prompt, and of another prompt beside them (the issue's 4 to 6; review's control)."""
SEEDS = 2
"""Seeds a claiming prompt that are asked about, the ones read in detail: every answer costs."""
FAULTS = 3
"""Failures in a row after which an endpoint is left alone (starting value)."""
TOOL = "questions-1"


def questions_for(prompt: EvalPrompt, others: Sequence[EvalPrompt]) -> list[Question]:
    """Four to six on the prompt where it says so much, and two that another prompt would need.

    Attributes first, then the prompt's own questions, then the parts of its words. others: in the
    order in which the control is looked for.
    """
    right = about_attributes(prompt.attributes)
    if len(right) < LEAST:
        texts = prompt.questions or tuple(
            f"Does the picture show this: {part}?" for part in _parts(prompt.text)
        )
        right += [Question("prompt", f"question {n}", t) for n, t in enumerate(texts, start=1)]
    wrong = of_another(prompt.attributes, [o.attributes for o in others])
    if len(wrong) < CONTROLS:
        wrong = [Question("control", "other", t) for t in _unlike(prompt.text)][:CONTROLS]
    return mixed([*right[:MOST], *wrong], prompt.id)


def _parts(text: str) -> list[str]:
    """What stands between the commas, the part with the trigger left out where others remain."""
    parts = [part.strip(" .") for part in text.split(",")]
    return [part for part in parts[1:] if part] or [part for part in parts if part]


def _unlike(text: str) -> list[str]:
    """Questions of far prompts that share no telling word with this one."""
    said = set(re.findall(r"\w{5,}", text.lower())) - {"person"}
    return [q for q in WRONG if not said & set(re.findall(r"\w{5,}", q.lower()))]


def beside(prompts: Mapping[str, EvalPrompt]) -> dict[str, list[Question]]:
    """Prompt id -> its questions; the control is the next prompt that differs, round the list."""
    order = list(prompts.values())
    return {
        one.id: questions_for(one, [*order[at + 1 :], *order[:at]]) for at, one in enumerate(order)
    }


def targets(plan: GridPlan, chosen: Arm, renders: Sequence[Render]) -> list[Render]:
    """The pictures that are asked about: of winner and base, the claim's first seeds and the prompt
    sets (not the eight of one prompt)."""
    prompts = len({prompt for prompt, _ in plan.claim_cells})
    first = set(plan.claim_cells[: SEEDS * prompts])
    sets = {one.phase for one in plan.tests.sets if one.name != "variety"}
    arms = {(arm.name, arm.strength) for arm in (chosen, BASE)}
    return [
        r
        for r in renders
        if r.state == "done"
        and (r.arm, r.strength) in arms
        and (r.phase in sets or (r.phase == "claim" and (r.prompt_id, r.seed) in first))
    ]


def requests(plan: GridPlan) -> int:
    """How many requests the endpoint gets, one a picture."""
    prompts = len({prompt for prompt, _ in plan.claim_cells})
    sets = [one for one in plan.tests.sets if one.name != "variety"]
    drawn = sum(len(one.prompts) * one.seeds * (2 if one.base else 1) for one in sets)
    return 2 * min(SEEDS * prompts, len(plan.claim_cells)) + drawn


def find() -> Endpoint:
    """The user's endpoint with the model that will answer, before anything is drawn. Raises
    UsageError where none is set, EndpointError where it does not answer."""
    endpoint = find_endpoint()
    with Client(endpoint) as client:
        return replace(endpoint, model=client.model())


def ask_all(
    project: Project, plan: GridPlan, version: int, chosen: Arm, endpoint: Endpoint
) -> Iterator[Event]:
    """Ask about every picture that this model has not answered yet; each answer is kept at once.

    An endpoint that fails `FAULTS` times in a row is left alone: the rest stays not measured.
    """
    store, asked = project.store, beside(plan.prompts)
    _keep(project.folder("renders") / f"grid_{version}" / FILE, plan.prompts, asked)
    found = targets(plan, chosen, store.renders(version))
    ticker, failed = Ticker("asking the endpoint", len(found)), 0
    with Client(endpoint) as client:
        model = client.model()
        for render in found:
            questions = asked[render.prompt_id]
            tool = f"{TOOL} {model} #{zlib.crc32(repr(questions).encode()):08x}"
            have = store.scores(render.id).get(FOLLOWS)
            if have is None or have.tool != tool:
                path = project.path(render.path or "")
                digest = render.sha256 or files.sha256_file(path)
                said = ask(client, path, digest, questions, project.root / ".limner")
                store.put_scores(render.id, scores(said, tool, plan.data["limits"]))
                failed = 0 if said.heard else failed + 1
                if failed >= FAULTS:
                    yield Notice(
                        f"The endpoint is left alone after {failed} failures: {said.fault}"
                    )
                    return
            yield ticker.tick()


def _keep(
    path: Path, prompts: Mapping[str, EvalPrompt], asked: Mapping[str, list[Question]]
) -> None:
    """questions.json beside the pictures: what stands beside each prompt, for people."""
    rows = [
        {
            "prompt_id": key,
            "prompt": prompts[key].text,
            "questions": [q.text for q in found if q.kind == "prompt"],
            "control": [q.text for q in found if q.kind == "control"],
        }
        for key, found in asked.items()
    ]
    files.write_json(path, rows)


def scores(said: Answers, tool: str, limits: Mapping[str, float]) -> list[Measure]:
    """One picture's answers as scores. `asked_<about>`: each question; a model that agrees with
    the wrong prompt is not believed here, and its answers are no score."""
    if said.fault:
        mark = tool if said.heard else ""  # what was never heard is asked again
        return [Measure(name, None, "share", said.fault, mark) for name in (FOLLOWS, CONTROL)]
    control, share = said.share("control"), said.share("prompt")
    clear = len(said.of("prompt"))
    wanted = sum(q.kind == "prompt" for q, _ in said.said)
    reason = None
    if control is None:
        reason = "the model gave no clear answer to the control"
    elif control > limit(limits, "control_max"):
        reason = "the model agrees with a wrong prompt too"
    elif 2 * clear < wanted:
        reason = f"the model gave {clear} clear answers to {wanted} questions"
    found = [
        Measure(FOLLOWS, None if reason else share, "share", reason, tool),
        Measure(CONTROL, control, "share", None if control is not None else reason, tool),
    ]
    if not reason:
        found += [
            Measure(f"asked_{q.about.replace(' ', '_')}", float(a), "", None, tool)
            for q, a in said.of("prompt")
        ]
    return found


def limit(limits: Mapping[str, float], name: str) -> float:
    """A rule's value; grids that were made before the rule have ours."""
    return limits.get(name, RULES[name].value)


# ---- for the verdict


def model_of(tool: str) -> str:
    """`questions-1 MODEL #hash` -> MODEL."""
    return tool.removeprefix(TOOL).rpartition(" #")[0].strip()


def by_prompt(scored: Scored, chosen: Arm) -> list[dict[str, Any]]:
    """A row a prompt that was asked about: shares of yes for winner and base, what was missed."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    arms = {(chosen.name, chosen.strength): "share", (BASE.name, BASE.strength): "base_share"}
    values: dict[tuple[str, str, str], list[float]] = {}
    for render, have in scored:
        side = arms.get((render.arm, render.strength))
        if side is None or FOLLOWS not in have:
            continue
        key = (render.phase, render.prompt_id)
        row = rows.setdefault(
            key,
            {
                "phase": render.phase.removeprefix(PHASE),
                "prompt_id": render.prompt_id,
                "prompt": render.prompt,
                "share": None,
                "base_share": None,
                "missed": [],
                "reason": None,
            },
        )
        value = have[FOLLOWS].value
        if value is not None:
            values.setdefault((*key, side), []).append(value)
        elif side == "share":
            row["reason"] = have[FOLLOWS].reason
        if side == "share":
            row["missed"] = sorted({*row["missed"], *_missed(have)})
    for (phase, prompt, side), found in values.items():
        rows[phase, prompt][side] = sum(found) / len(found)
        if side == "share":
            rows[phase, prompt]["reason"] = None
    return list(rows.values())


def _missed(have: Mapping[str, Measure]) -> set[str]:
    """Questions of the newest asking that were answered no."""
    tool = have[FOLLOWS].tool
    return {
        name.removeprefix("asked_")
        for name, measure in have.items()
        if name.startswith("asked_") and measure.value == 0.0 and measure.tool == tool
    }
