"""Yes/no questions on a take: is it what the prompt asks, and is it whole?

In: a take's shot, another shot that must not fit; answers of the user's vision endpoint. Out: the
questions, and findings: a model that also agrees with the wrong prompt is not believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from limner.project.records import Shot
from limner.review.case import Judgement
from limner.review.rules import Rule
from limner.vision.questions import Answers, Question, about_attributes, mixed, of_another

ARTEFACTS = (
    ("hands", "Does every visible hand have five fingers, none missing, extra or fused?"),
    ("face", "Are eyes, mouth, teeth and ears free of errors, as on a real person?"),
)
"""Asked of every picture; "yes" is right. No packaged model sees these."""
NUDITY = Question("content", "nudity", "Is the person naked, or are genitals or nipples bare?")
"""Asked of every picture; "no" is right. No small local detector comes in a package either."""
UNASKED = "no vision endpoint was asked (limner review --ask)"
UNITS = {
    "prompt_yes": "share",
    "control_yes": "share",
    "artefacts": "found",
    "expression": "0 or 1",
    "nudity": "0 or 1",
}
NONSENSE = "Is the person in the picture made of blue glass and floating above an open sea?"
"""The control where no prompt is known: nobody's pictures show it."""


def questions_for(shot: Shot, others: Sequence[Shot]) -> list[Question]:
    """Four to six questions on the prompt, two on artefacts, one on nudity, two of a prompt that
    does not fit: the nearest later shot's (round the plan)."""
    order = sorted(others, key=lambda o: ((o.position - shot.position) % 10_000, o.id))
    found = about_attributes(shot.attributes)
    found += of_another(shot.attributes, [o.attributes for o in order if o.id != shot.id])
    found += [Question("artefact", about, text) for about, text in ARTEFACTS]
    found.append(NUDITY)
    return mixed(found, shot.id)


def judge(one: Judgement, answers: Answers | None, table: Mapping[str, Rule]) -> None:
    """Findings and measures of one picture's answers; None: nobody was asked."""
    if answers is None or answers.fault:
        why = answers.fault if answers else UNASKED
        for name, unit in UNITS.items():
            one.put(name, None, unit, why)
        if table["artefacts_pile"].at(one.case.kind) > 0:
            one.found("artefacts", "look", f"artefacts were not measured: {why}")
        return
    control, prompt = answers.of("control"), answers.of("prompt")
    agreed = answers.share("control")
    one.put("control_yes", agreed, "share", "no other shot differs enough")
    if agreed is None or agreed > table["control_max"].value:
        why = "the model agrees with a wrong prompt too" if control else "there was no control"
        for name in ("prompt_yes", "artefacts", "expression", "nudity"):
            one.put(name, None, UNITS[name], why)
        return
    for name in ("expression", "nudity"):
        said = [a for q, a in (*prompt, *answers.of("content")) if q.about == name]
        one.put(
            name, float(said[0]) if said else None, UNITS[name], "not asked, or no clear answer"
        )
    share = answers.share("prompt")
    if share is not None:
        one.put("prompt_yes", share, "share")
        missed = ", ".join(q.about for q, a in prompt if not a)
        if share < table["prompt_min"].value:
            one.found("prompt", "look", f"the model misses what the prompt asks ({missed})")
    broken = [q.about for q, a in answers.of("artefact") if not a]
    asked = answers.of("artefact")
    one.put("artefacts", float(len(broken)) if asked else None, "found", "no clear answer")
    if broken:
        one.found("artefacts", "look", f"the model sees a fault in: {', '.join(broken)}")
    if one.value("nudity"):
        one.found("nudity", "look", "the model sees nudity")
