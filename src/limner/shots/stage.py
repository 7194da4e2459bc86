"""The stage: a project's plan.

In: a `Project`. Out: shots in the store and `shots/prompts.txt`. Check, import and export: `sets`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner import lexicon
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Events, Notice, Progress, Result
from limner.project import Project
from limner.project.files import write_json, write_text
from limner.project.records import Shot
from limner.shots.dialects import DIALECTS
from limner.shots.listing import by_domain
from limner.shots.planner import make_plan
from limner.shots.replanning import AGAIN, replan_shots
from limner.shots.rules import rules_for, wear_of
from limner.shots.signature import Signature


@lexicon.confined
def plan(
    project: Project,
    *,
    abilities: Mapping[str, Sequence[str]] | None = None,
    replace: bool = False,
) -> Events:
    """Plan the project's shots from character.yaml and write them with shots/prompts.txt.

    abilities: axis -> ids that the source can make (None = everything). Own words come from the
    project's vocabulary/. An equal plan is left as it is. Raises UsageError when another plan is
    there (replace=True plans anew while no take exists).
    Result: {count, changed, prompts, report}.
    """
    character = project.character
    settings = character.shots
    learn(project)
    with project.exclusive("shots"):
        yield Progress("planning", 0, settings.count)
        made = make_plan(
            count=settings.count,
            seed=settings.seed,
            preset=settings.preset,
            quotas=settings.quotas,
            abilities=abilities,
            genres=settings.genres,
            signature=signature_of(project),
            trigger=character.trigger,
            class_word=character.class_word,
            thresholds=settings.thresholds,
            dialect=dialect_for(project),
        )
        yield Progress("planning", settings.count, settings.count)
        changed = store_plan(project, made.shots, replace=replace)
        for note in (*made.report["notes"], *_unused_words(abilities)):
            yield Notice(note, "warning")
        _write_files(project, made.report)
        project.store.log("shots", "planned", count=len(made.shots), changed=changed)
    if changed:
        yield Notice(_summary(made.report))
    else:
        yield Notice("The plan is as it was; nothing changed.")
    value = {"count": len(made.shots), "changed": changed, "prompts": "shots/prompts.txt"}
    yield Result({**value, "report": made.report})


def _unused_words(abilities: Mapping[str, Sequence[str]] | None) -> list[str]:
    """A sentence for each axis with words of the project's own that its source cannot make."""
    found = []
    for axis, able in (abilities or {}).items():
        own = [v for v in lexicon.axis(axis) if v not in lexicon.shipped(axis) and v not in able]
        if own:
            found.append(f"The source cannot make your own {axis}: {', '.join(own)} - not planned.")
    return found


def learn(project: Project) -> dict[str, int]:
    """Know the project's own words from now on; axis -> how many (see `lexicon.learn`)."""
    return lexicon.learn(project.root / lexicon.OWN_FOLDER)


def signature_of(project: Project) -> dict[str, Signature]:
    """The character's signature outfits by tag."""
    own = project.character.shots.signature
    return {tag: Signature(entry.outfit, entry.shots) for tag, entry in own.items()}


def dialect_for(project: Project) -> str:
    """The dialect of the project's source; sources without one are spoken to as the guide does."""
    name = project.character.source.name
    return name if name in DIALECTS else "inbox"


@lexicon.confined
def replan(
    project: Project,
    ids: Sequence[str],
    *,
    abilities: Mapping[str, Sequence[str]] | None = None,
) -> Events:
    """Plan shots anew in their own cells (see `replan_shots`); every other shot stays as it is.

    Raises UsageError for a shot with a take that is not rejected: its picture shows the old plan.
    Result: {replanned, prompts}.
    """
    character, settings = project.character, project.character.shots
    learn(project)
    with project.exclusive("shots"):
        shots = planned(project)
        _only_rejected(project, ids)
        rules = rules_for(wear_of(character.class_word), abilities, settings.genres)
        fresh = replan_shots(
            shots,
            ids,
            rules=rules,
            counted=[*settings.quotas],
            seed=settings.seed,
            trigger=character.trigger,
            class_word=character.class_word,
            dialect=dialect_for(project),
            thresholds=settings.thresholds,
        )
        with project.store.transaction():
            for shot in fresh:
                changed = {"attributes": shot.attributes, "prompt": shot.prompt, "seed": shot.seed}
                project.store.update_shot(shot.id, **changed)
            # before the records stand: after a kill in between, the same command makes the same
            write_text(project.folder("shots") / "prompts.txt", by_domain(project.store.shots()))
        project.store.log("shots", "replanned", shots=[s.id for s in fresh])
    value = {"replanned": [s.id for s in fresh], "prompts": "shots/prompts.txt"}
    yield Result(value)


def _only_rejected(project: Project, ids: Sequence[str]) -> None:
    decisions = project.store.standing_decisions()
    for shot_id in ids:
        for take in project.store.takes(shot_id=shot_id):
            verdict = decisions[take.id].verdict if take.id in decisions else None
            if take.state != "failed" and verdict != "reject":
                raise UsageError(
                    f"{shot_id} has a take that is not rejected (take {take.id})",
                    where=shot_id,
                    fix=f"Run `limner reject {take.id}` first, or leave the shot as it is.",
                )


def store_plan(project: Project, shots: list[Shot], *, replace: bool) -> bool:
    """Write the plan unless an equal one is there; True when the store changed.

    Raises UsageError when another plan is there that may not be replaced.
    """
    old = project.store.shots()
    anew = {s.id for s in old if AGAIN in s.attributes}  # these went their own way

    def facts(some: Sequence[Shot]) -> list[tuple[object, ...]]:
        return [(s.id,) if s.id in anew else (s.id, s.attributes, s.prompt, s.seed) for s in some]

    if facts(old) == facts(shots):
        return False
    if old and project.store.takes():
        raise UsageError(
            "Takes were made for the plan that is here, so it cannot be replaced",
            where=str(project.root / "character.yaml"),
            fix="Make another project for another plan, or set shots back as they were.",
        )
    if old and not replace:
        raise UsageError(
            f"There is a plan of {len(old)} shots here, and this one would be another",
            where=str(project.root / "shots"),
            fix="Run it again with --replace to plan anew.",
        )
    project.store.replace_shots(shots)
    return True


def _summary(report: Mapping[str, Any]) -> str:
    distinct = {axis: entry["got"] for axis, entry in report["distinct"].items()}
    return (
        f"{report['count']} shots: {distinct['setting']} settings, {distinct['outfit']} outfits, "
        f"{distinct['lighting']} lights; quotas {'exact' if report['exact'] else 'NOT met'}."
    )


def _write_files(project: Project, report: Mapping[str, Any]) -> None:
    folder = project.folder("shots")
    write_text(folder / "prompts.txt", by_domain(project.store.shots()))
    write_json(folder / "report.json", report)


def planned(project: Project) -> list[Shot]:
    """The project's shots. Raises NotReadyError when there is no plan, InputError when a word of
    the project's own that it was planned with is gone."""
    shots = project.store.shots()
    if not shots:
        raise NotReadyError(
            "There is no plan yet", where="shots/prompts.txt", fix="Run `limner shots plan`."
        )
    for shot in shots:
        for axis in lexicon.AXES:
            value = shot.attributes.get(axis)
            if value is not None and value not in lexicon.axis(axis):
                raise InputError(
                    f"{shot.id} is planned with the {axis} {value!r}, which is no word any more",
                    where=str(project.root / lexicon.OWN_FOLDER),
                    fix=f"Put {value} back there, or plan anew: `limner shots plan --replace`.",
                )
    return shots
