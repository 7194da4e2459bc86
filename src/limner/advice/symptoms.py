"""The symptoms: which questions are put to the records, and how their answers make a diagnosis.

In: `Records`. Out: a `Diagnosis` a symptom, always all of them, in the guide's order, then ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from limner.advice import looking, reading, remedies
from limner.advice.evidence import Diagnosis, State, Test
from limner.advice.looking import Values
from limner.advice.records import Records

Question = Callable[[Records, Values], Test]


@dataclass(frozen=True)
class Symptom:
    """One row. signs: as a person sees it. `decides`: questions whose yes is the symptom;
    `explains`: questions that say why, asked for every project; `wanted`: signs that are needed;
    `unless`, `against`: questions whose no, or yes, rules the symptom out."""

    id: str
    name: str
    signs: str
    decides: tuple[Question, ...]
    explains: tuple[Question, ...] = ()
    wanted: str = ""
    unless: tuple[Question, ...] = ()
    against: tuple[Question, ...] = ()


SYMPTOMS: tuple[Symptom, ...] = (
    Symptom("plastic_skin", "Plastic skin", "smooth, no pores, as if filtered", (looking.skin,)),
    Symptom(
        "face_inconsistency",
        "Face inconsistency",
        "face or eyes change from picture to picture",
        (looking.match_rate, looking.by_pose),
        (looking.ceiling, reading.strangers, reading.close_ups, reading.caption_findings),
    ),
    Symptom(
        "background_bleed",
        "Background and light bleed",
        "the same scene whatever is asked for",
        (looking.bleed,),
        (reading.one_place,),
    ),
    Symptom(
        "overfit",
        "Overfit",
        "training pictures again, no variety, prompts are not followed",
        (
            looking.copies,
            looking.copy_index,
            looking.diversity,
            reading.weak_strength,
            reading.late_fall,
            reading.past_the_window,
            reading.unseen_worse,
        ),
        (looking.following,),
        wanted="overfit_signs",
    ),
    Symptom(
        "underfit",
        "Underfit",
        "not yet the person, the trigger is weak",
        (reading.like_the_base, reading.still_rising, reading.wants_more, reading.loss_falling),
        (reading.caption_findings,),
        unless=(looking.match_rate,),
        against=(reading.unseen_worse,),
    ),
    Symptom(
        "body_proportions",
        "Body proportions",
        "too thin or too thick, face and body differ",
        (reading.proportions,),
        (reading.full_bodies,),
    ),
    Symptom(
        "crashes", "Crashes", "training stops with an error", (reading.crashed, reading.spikes)
    ),
    Symptom(
        "not_saving",
        "Checkpoints not saving",
        "no file where one should be",
        (reading.saved, reading.disk),
    ),
    Symptom(
        "copying",
        "Copying",
        "a training picture over again",
        (looking.copies, looking.copy_index),
    ),
    Symptom(
        "trigger_leakage",
        "Trigger leakage",
        "the person comes without being called",
        (looking.leakage,),
    ),
    Symptom(
        "frying",
        "Frying",
        "harsh colour, burnt light, gritty texture, faces that break up",
        (looking.chroma, looking.clipped, looking.lost_faces),
    ),
    Symptom(
        "inconsistent_dataset",
        "Dataset not consistent",
        "training pictures differ in the face",
        (looking.ceiling, reading.strangers),
        (reading.caption_findings,),
    ),
)
"""The eight issues of the guide, then what the measures add."""


def diagnose(found: Records, value: Values) -> list[Diagnosis]:
    """Every symptom with its state; found ones carry causes and remedies."""
    answers: dict[Question, Test] = {}

    def ask(question: Question) -> Test:
        if question not in answers:
            answers[question] = question(found, value)
        return answers[question]

    return [_one(symptom, found, value, ask) for symptom in SYMPTOMS]


def _one(
    symptom: Symptom, found: Records, value: Values, ask: Callable[[Question], Test]
) -> Diagnosis:
    deciding = [ask(q) for q in symptom.decides]
    explaining = [ask(q) for q in symptom.explains]
    wanted = int(value[symptom.wanted]) if symptom.wanted else 1
    ruled_out = any(ask(q).holds is False for q in symptom.unless)  # the person is there
    ruled_out |= any(ask(q).holds is True for q in symptom.against)
    state = "not found" if ruled_out else _state(deciding, wanted)
    tests = (*deciding, *explaining)
    if state != "found":
        return Diagnosis(symptom.id, symptom.name, symptom.signs, state, tests)
    # the reasons behind a symptom say more than the symptom itself: they come first
    causes = [t.cause for t in [*explaining, *deciding] if t.holds and t.cause]
    cause = " ".join(dict.fromkeys(causes)) or "No cause was measured."
    steps = remedies.steps(symptom.id, found)
    return Diagnosis(symptom.id, symptom.name, symptom.signs, state, tests, cause, steps)


def _state(deciding: list[Test], wanted: int) -> State:
    """Found by enough yeses; not found needs an answer to whatever could still tip it."""
    yes = sum(t.weight for t in deciding if t.holds is True)
    open_ = sum(t.holds is None for t in deciding)
    if yes >= wanted:
        return "found"
    return "insufficient evidence" if yes + open_ >= wanted else "not found"
