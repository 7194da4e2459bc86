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
NONSENSE = "Is the person in the picture made of blue glass and floating above an open sea?"
"""The control where no prompt is known: nobody's pictures show it."""


def questions_for(shot: Shot, others: Sequence[Shot]) -> list[Question]:
    """Four to six questions on the prompt, two on artefacts, two of a prompt that does not fit: the
    nearest later shot's (round the plan)."""
    order = sorted(others, key=lambda o: ((o.position - shot.position) % 10_000, o.id))
    found = about_attributes(shot.attributes)
    found += of_another(shot.attributes, [o.attributes for o in order if o.id != shot.id])
    found += [Question("artefact", about, text) for about, text in ARTEFACTS]
    return mixed(found, shot.id)


def judge(one: Judgement, answers: Answers | None, table: Mapping[str, Rule]) -> None:
    """Findings and measures of one picture's answers; None: nobody was asked."""
    if answers is None or answers.fault:
        why = answers.fault if answers else "no vision endpoint was asked (limner review --ask)"
        for name in ("prompt_yes", "control_yes", "artefacts"):
            one.put(name, None, "share" if name != "artefacts" else "found", why)
        if table["artefacts_pile"].at(one.case.kind) > 0:
            one.found("artefacts", "look", f"artefacts were not measured: {why}")
        return
    control, prompt = answers.of("control"), answers.of("prompt")
    agreed = answers.share("control")
    one.put("control_yes", agreed, "share", "no other shot differs enough")
    if agreed is None or agreed > table["control_max"].value:
        why = "the model agrees with a wrong prompt too" if control else "there was no control"
        one.put("prompt_yes", None, "share", why)
        one.put("artefacts", None, "found", why)
        return
    share = answers.share("prompt")
    if share is not None:
        one.put("prompt_yes", share, "share")
        missed = ", ".join(q.about for q, a in prompt if not a)
        if share < table["prompt_min"].value:
            said = f"the model misses what the prompt asks ({missed})"
            one.found("prompt", "look", said)
    broken = [q.about for q, a in answers.of("artefact") if not a]
    asked = answers.of("artefact")
    one.put("artefacts", float(len(broken)) if asked else None, "found", "no clear answer")
    if broken:
        one.found("artefacts", "look", f"the model sees a fault in: {', '.join(broken)}")
