"""What one stage needs from another: abilities for the planner, prompts for the evaluation.

In: a `Project`. Out: the events of the stage that is called, ending in its JSON-able result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import NotReadyError, UsageError
from limner.events import Events, Notice, Result
from limner.project import Project
from limner.project.records import Take

if TYPE_CHECKING:
    from limner.evaluation import EvalPrompt
    from limner.evaluation.choices import Choices
    from limner.models import BaseInfo

EVALUATION_SEED_OFFSET = 7919
"""Added to the seed of the shots, so that evaluation prompts are planned apart (any prime)."""

EVALUATION_ANGLES = {"front": 50.0, "three_quarter": 50.0}
"""Percent of the evaluation prompts by angle (starting value): identity is read off a face, and
side views and backs of a 128 px picture show too little of it."""

FACE_WIDTH = 0.75
"""Width over height of a face box, brow to chin, cheek to cheek (starting value, read off the
atelier's labels)."""


def plan_shots(project: Project, *, replace: bool = False) -> Events:
    """Plan the shots within what the project's source can make."""
    from limner import shots, sources

    abilities = sources.abilities(project)
    yield from shots.plan(project, abilities=abilities, replace=replace)


def replan_shots(project: Project, ids: Sequence[str]) -> Events:
    """Plan lost or rejected shots anew, within what the project's source can make."""
    from limner import shots, sources

    abilities = sources.abilities(project)
    yield from shots.replan(project, ids, abilities=abilities)


def import_shots(
    project: Project, path: Path, *, fill: bool = True, replace: bool = False
) -> Events:
    """Take in a file's prompts; missing shots are planned within what the source can make."""
    from limner import shots, sources

    abilities = sources.abilities(project) if fill else None
    yield from shots.take_in(project, path, fill=fill, replace=replace, abilities=abilities)


def generate(
    project: Project,
    *,
    limit: int | None = None,
    workers: int = 2,
    name: str | None = None,
    base_url: str | None = None,
    workflow: Path | None = None,
    model: str | None = None,
    references: Sequence[Path] = (),
    max_cost: float | None = None,
    domain: str | None = None,
    dry_run: bool = False,
) -> Events:
    """Make a picture for every shot that wants one; the arguments are those of the sources."""
    from limner import sources

    _refuse_too_small(project, name)
    yield from sources.generate(
        project,
        limit=limit,
        workers=workers,
        name=name,
        base_url=base_url,
        workflow=workflow,
        model=model,
        references=references,
        max_cost=max_cost,
        domain=domain,
        dry_run=dry_run,
    )


def _refuse_too_small(project: Project, source: str | None) -> None:
    """Raises UsageError where review would reject every drawing for its size, without end."""
    from limner.review.rules import rules

    character = project.character
    if (source or character.source.name) != "atelier":
        return
    least = rules(character.review.thresholds)["short_side_min"].at("drawing")
    if character.source.size < least:
        raise UsageError(
            f"Drawings of {character.source.size} px would all be rejected: review asks for a "
            f"short side of {least:g} px",
            where="character.yaml: source.size",
            fix=f"Set source.size to {math.ceil(least)} or more, or lower "
            "review.thresholds.short_side_min.",
        )


def review(project: Project, *, again: bool = False) -> Events:
    """Judge the takes, then draw the contact sheet; its path joins the result."""
    from limner import review as stage

    for event in stage.review(project, again=again):
        if isinstance(event, Result):
            sheet = project.relative(stage.contact_sheet(project))
            yield Result({**event.value, "contact_sheet": sheet})
        else:
            yield event


def assessable_framings(base: BaseInfo) -> dict[str, float]:
    """Framing -> percent: those whose faces are wide enough in the base's pictures, alike often.

    When none is, the closest framing alone.
    """
    from limner import lexicon

    widest = {f.id: f.face_share[0] * FACE_WIDTH for f in lexicon.framings().values()}
    found = [f for f, w in widest.items() if w * base.resolution >= base.smallest_face_px]
    chosen = found or [max(widest, key=lambda f: widest[f])]
    return {framing: 100.0 / len(chosen) for framing in chosen}


def evaluation_prompts(project: Project) -> list[EvalPrompt]:
    """Prompts that no shot used, in the grammar of the captions. Same project, same prompts."""
    from limner import captions, models, shots, sources
    from limner.evaluation import EvalPrompt

    character = project.character
    planned = project.store.shots()
    if not planned:
        raise NotReadyError(
            "No shots are planned", where=str(project.root), fix="Run `limner shots plan` first."
        )
    shots.learn(project)
    count = character.evaluation.prompts
    plan = shots.make_plan(
        count=count,
        seed=character.shots.seed + EVALUATION_SEED_OFFSET,
        preset="portrait",
        quotas={
            "angle": EVALUATION_ANGLES,
            "framing": assessable_framings(models.resolve_base(character.training.base)),
        },
        abilities=sources.abilities(project),
        genres=character.shots.genres,
        signature=shots.shared_out(shots.signature_of(project), count),
        thresholds=character.shots.thresholds,
        trigger=character.trigger,
        class_word=character.class_word,
        exclude_prompts=[shot.prompt for shot in planned],
    )
    prompts = []
    for number, shot in enumerate(plan.shots, start=1):
        caption = captions.compile_caption(
            shot.attributes,
            character.trigger,
            profile=character.captions.profile,
            class_word=character.class_word if character.captions.class_word else None,
            variant=number,
        )
        prompts.append(
            EvalPrompt(f"eval_{number:03d}", caption.text, shot.attributes, shot.face_visible)
        )
    return prompts


def evaluate(project: Project, choices: Choices | None = None) -> Events:
    """Render and score the grid of the newest run on prompts that were not trained on; without a
    price of the user's own, the machine's is looked up. Pictures gone from takes/ are put back."""
    from limner import evaluation
    from limner.evaluation.choices import Choices
    from limner.pipeline import pricing, recovery

    choices = choices or Choices()
    if choices.price is None:
        price = pricing.of_machine(here=choices.rendering is None)
        choices = replace(choices, price=price)
    yield from recovery.put_back(project)
    yield from evaluation.evaluate(project, prompts=evaluation_prompts(project), choices=choices)


def build_dataset(project: Project) -> Events:
    """Build the dataset; pictures gone from takes/ are put back from the one before, and captions
    that a person changed in their files are read back first."""
    from limner import captions, dataset
    from limner.pipeline import recovery

    yield from recovery.put_back(project)
    for take_id in captions.read_back(project):
        shot = project.store.take(take_id).shot_id
        yield Notice(f"{shot}: your caption was read back from its file.")
    yield from dataset.build(project)


def release(project: Project, **how: Any) -> Events:
    """Make a release, as `limner.release.release`; pictures gone from takes/ are put back."""
    from limner import release as stage
    from limner.pipeline import recovery

    yield from recovery.put_back(project)
    yield from stage.release(project, **how)


def archive(project: Project, out: Path) -> Events:
    """Pack the project; pictures gone from takes/ are put back."""
    from limner import release as stage
    from limner.pipeline import recovery

    yield from recovery.put_back(project)
    yield from stage.archive(project, out)


def find_takes(project: Project, names: Sequence[str]) -> list[Take]:
    """Takes by number (`7`) or by shot (`shot_003`: its newest take). Raises UsageError."""
    found = []
    for name in names:
        takes = [t for t in project.store.takes() if str(t.id) == name or t.shot_id == name]
        if not takes:
            raise UsageError(
                f"There is no take or shot `{name}`",
                where=str(project.root),
                fix="Give a take's number or a shot like shot_003; the contact sheet shows both.",
            )
        found.append(max(takes, key=lambda t: t.id))
    return found


def atelier_sheet(out: Path, *, characters: int, images: int, size: int, seed: int) -> Events:
    """A contact sheet of drawn characters, written to `out` as PNG."""
    import io

    from limner.atelier import identity_from_seed
    from limner.atelier.sheet import sheet
    from limner.project import files

    people = [identity_from_seed(seed * 1000 + n) for n in range(characters)]
    picture: Any = None
    for event in sheet(people, images, size, seed):
        if isinstance(event, Result):
            picture = event.value
        else:
            yield event
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    files.write_bytes(out, buffer.getvalue())
    yield Result(
        {
            "out": str(out),
            "characters": characters,
            "images": images,
            "size": size,
            "width": picture.width,
            "height": picture.height,
        }
    )
