"""The stage: choose on one set of seeds, claim on another, every picture made and scored once.

In: a project with a trained run and prompts that were not trained on. Out: pictures in
renders/grid_<v>/, journaled before they are drawn, and their scores. A killed evaluation goes on
where it was: a picture that is on disk is never drawn again.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limner.errors import InputError, UsageError
from limner.evaluation import asking, pace, race, variety_file
from limner.evaluation import choices as asked
from limner.evaluation import choose as choosing
from limner.evaluation import ground as grounds
from limner.evaluation.choices import Choices
from limner.evaluation.choose import BASE, Arm, Choice, Judged
from limner.evaluation.drawing import OpenRenderer, Renderer, Work
from limner.evaluation.grid import (
    all_arms,
    make_plan,
    newest_run,
    split_prompts,
)
from limner.evaluation.grid import resume_or_add as find_grid
from limner.evaluation.ground import Ground
from limner.evaluation.pace import Price
from limner.evaluation.prompt import EvalPrompt
from limner.evaluation.stacking import stack
from limner.evaluation.table import Table
from limner.evaluation.testsets import PHASE, Tests, make_tests
from limner.events import Event, Events, Notice, Result
from limner.project import Project
from limner.project.settings import MOST_STRENGTH
from limner.render import Settings, picture_sha256

if TYPE_CHECKING:
    from limner.models import BaseInfo

__all__ = ["Choices", "evaluate"]
RGB8 = NDArray[np.uint8]


def evaluate(
    project: Project,
    *,
    prompts: Sequence[EvalPrompt],
    control: Path | None = None,
    open_renderer: OpenRenderer | None = None,
    choices: Choices | None = None,
) -> Events:
    """Render and score checkpoints, base and control; Result: what was drawn and chosen.

    control: LoRA of another character; default `evaluation.control`, else the one that ships with
    the base, else none. open_renderer: another renderer than diffusers. Raises NotReadyError
    without checkpoints or held-out references, InputError for changed files or unusable prompts,
    UsageError when another process evaluates here, for a budget that reaches no verdict, or for
    questions without an endpoint.
    """
    with project.exclusive("evaluation"):
        yield from _evaluate(project, list(prompts), control, open_renderer, choices or Choices())


def _evaluate(
    project: Project,
    prompts: list[EvalPrompt],
    control: Path | None,
    open_renderer: OpenRenderer | None,
    choices: Choices,
) -> Events:
    from limner.models import resolve_base

    endpoint = asking.find() if choices.ask else None  # before anything is drawn
    _usable_strengths(choices.strengths)
    run, dataset, _ = newest_run(project)
    choices, as_before = asked.carried(project, run.version, choices)
    if as_before:
        yield Notice(asked.words(run.version, as_before))
    config = run.config.get("run", run.config)
    training = project.character.training
    info = resolve_base(str(config.get("base") or training.base))
    _same_base(info, config)
    template = str(config.get("template") or training.template)
    ground: Ground | None = None
    for event in grounds.prepare(project, dataset, info, prompts, project.folder("renders")):
        if isinstance(event, Ground):
            ground = event
        else:
            yield event
    assert ground is not None
    usable, excluded = grounds.usable_prompts(prompts, ground)
    if excluded:
        yield Notice(f"{len(excluded)} prompts are left out: {excluded[0]['reason']}.")
    references = _reference_pictures(project, ground, info, template)
    control = control or _control(project, info)
    if control is not None and control.is_file() and Path(info.path).is_dir():
        _fits(control, info, "control LoRA")
    tests, style_shas = _tests(project, usable, choices, info)
    plan = make_plan(
        project,
        prompts=usable,
        excluded=excluded,
        info=info,
        template=template,
        precision=_precision(),
        references=picture_sha256(references),
        judge=ground.record(),
        strangers=ground.strangers.n,
        control=control,
        mode=choices.mode or "halving",
        budget=choices.budget,
        tests=tests,
        strengths=choices.strengths,
        adapt=choices.rendering.settings if choices.rendering else None,
    )
    plan = plan.with_tests(tests, style_shas)
    price = choices.price or Price()
    opener = open_renderer or (choices.rendering.open if choices.rendering else _diffusers(info))
    forecast = pace.forecast(project, plan, price, ask=choices.ask)
    if choices.dry_run and forecast["seconds"] is None:
        yield Notice("No pace is known yet: two short pictures measure it.")
        each, source = pace.trial(plan, ground, references, opener)
        forecast = pace.timed(forecast, price, each, source)
    if choices.dry_run:  # the forecast is the answer
        yield Result({"grid": None, "pictures": 0, "drawn_now": 0, "forecast": forecast})
        return
    yield Notice(pace.words(forecast))
    if omitted := pace.omitted(forecast):
        yield Notice(omitted)
    asked.keep(project, run.version, choices, tests, done=False)
    version = find_grid(project, plan)
    work = Work(project, plan, version, ground, references, opener)
    try:
        choice = yield from _choose(work)
        arms = [choice.chosen, *all_arms(plan)]
        yield from work.make("claim", arms, plan.claim_cells, "claiming", detailed=True)
        silent = replace(choice.chosen, kind="untriggered")
        yield from work.make("claim", [silent], plan.untriggered_cells, "without the trigger")
        yield from _test(project, work, choice.chosen)
        if endpoint is not None:
            yield from asking.ask_all(project, work.plan, version, choice.chosen, endpoint)
    finally:
        work.close()
        pace.remember(project, plan, work.drawn, work.seconds)
    asked.keep(project, run.version, choices, tests, done=True)
    drawn = project.store.renders(version)
    project.store.log("evaluation", "grid", version=version, pictures=len(drawn))
    yield Result(
        {
            "grid": version,
            "run": run.version,
            "pictures": len(drawn),
            "drawn_now": work.drawn,
            "choose": len([r for r in drawn if r.phase == "choose"]),
            "claim": len([r for r in drawn if r.phase == "claim"]),
            "tests": len([r for r in drawn if r.phase.startswith(PHASE)]),
            "full_grid": len(plan.arms) * len(plan.choose_cells),
            "chosen": {"checkpoint": choice.chosen.name, "strength": choice.chosen.strength},
            "excluded": excluded,
            "forecast": forecast,
            "not_drawn": forecast["not_drawn"],
        }
    )


def _usable_strengths(strengths: Sequence[float]) -> None:
    """Raise UsageError for a strength that is no strength."""
    wrong = [s for s in strengths if not 0.0 < s <= MOST_STRENGTH]
    if wrong:
        raise UsageError(
            f"{wrong[0]:g} is no strength to draw at",
            where="--strengths",
            fix=f"Give numbers above 0 and up to {MOST_STRENGTH:g}, e.g. 0.6,0.7,0.8,0.9,1.0.",
        )


def _fits(path: Path, info: BaseInfo, what: str) -> None:
    """Raise InputError for a file that could not be drawn with, before anything is drawn. Names and
    sizes are held against the base where it lies on this machine, else against its family."""
    from limner.models import lora

    if not path.is_file():
        fix = "Check the path; --tests none leaves out what an earlier evaluation named."
        raise InputError(f"The {what} is missing", where=str(path), fix=fix)
    folder = Path(info.path)
    known = lora.base_modules(folder) if folder.is_dir() else None
    faults = [f for f in lora.check(path, known) if f["severity"] == "error"]
    if faults:
        raise InputError(
            f"The {what} can not be used: {faults[0]['text']}",
            where=str(path),
            fix=faults[0]["fix"],
        )


def _one_rank(path: Path) -> None:
    """Raise InputError for a LoRA of several ranks: stacking puts ranks side by side."""
    from limner.models import lora

    if lora.info(path).rank is None:
        raise InputError(
            "The style LoRA has modules of several ranks, which can not be stacked",
            where=str(path),
            fix="Give a LoRA of one rank, or merge it into one first.",
        )


def _tests(
    project: Project, usable: Sequence[EvalPrompt], choices: Choices, info: BaseInfo
) -> tuple[Tests, list[str]]:
    """(tests, hashes of the style LoRAs) as asked for."""
    from limner.project import files

    for path, _ in choices.styles:
        _fits(path, info, "style LoRA")
        _one_rank(path)
    character = project.character
    tests = make_tests(
        choices.tests,
        trigger=character.trigger,
        class_word=character.class_word,
        planned=split_prompts(usable)[1],
        own=choices.own,
        styles=choices.styles,
    )
    return tests, [files.sha256_file(path) for path, _ in choices.styles]


def _test(project: Project, work: Work, chosen: Arm) -> Events:
    """The tests of the winner: prompt sets, strengths, stacks with other LoRAs."""
    plan, tests = work.plan, work.plan.tests
    cells = tests.cells()
    for one in tests.sets:
        arms = [chosen, BASE] if one.base else [chosen]
        yield from work.make(one.phase, arms, cells[one.phase], f"test: {one.name}", detailed=True)
        if one.name == "variety":
            mine, base = (work.files(one.phase, arm) for arm in (chosen, BASE))
            variety_file.write(work.folder, mine, base)
    first = plan.claim_cells[: len({prompt for prompt, _ in plan.claim_cells})]
    sweep = [Arm(chosen.step, s) for s in tests.strengths if s != chosen.strength]
    yield from work.make(f"{PHASE}strengths", sweep, first, "test: strengths")
    for number, laid_on in enumerate(tests.stacks):
        own, _ = plan.file_of(chosen)
        assert own is not None
        out = project.folder("renders") / "stacks" / f"{chosen.name}_{number}.safetensors"
        sha256 = stack([(own, chosen.strength), *laid_on], out)
        arm = Arm(number, 1.0, "styled")
        work.plan.loras[arm] = (out, sha256)
        names = " and ".join(path.name for path, _ in laid_on)
        yield from work.make(f"{PHASE}styles", [arm], first, f"test: with {names}")


def _same_base(info: BaseInfo, config: Mapping[str, Any]) -> None:
    """Raise InputError when the base is not the one the LoRA was trained on."""
    trained_on = config.get("base_fingerprint")
    if trained_on and trained_on != info.fingerprint:
        raise InputError(
            "The base model is not the one this run was trained on",
            where=f"{info.name}: {info.fingerprint[:12]}, run: {str(trained_on)[:12]}",
            fix="Restore the base, or train again on this one.",
        )


def _precision() -> str:
    """As `open_base` runs it: bf16 on a GPU, fp32 on a CPU."""
    from limner.models import runtime

    runtime.prepare()
    import torch

    return "bf16" if torch.cuda.is_available() else "fp32"


def _control(project: Project, info: BaseInfo) -> Path | None:
    named = project.character.evaluation.control
    if named:
        path = Path(named).expanduser()
        return path if path.is_absolute() else project.root / path
    return grounds.shipped_control(info)


def _reference_pictures(
    project: Project, ground: Ground, info: BaseInfo, template: str
) -> list[RGB8]:
    """For the edit template: one front picture that was trained on. The held-out ones judge, so
    they may not be shown to the model."""
    if template != "edit" or not ground.gallery:
        return []
    front = [t for t in ground.gallery if t.labels.get("angle") == "front"] or ground.gallery
    return [grounds.at_size(project, front[0], info.resolution)]


def _diffusers(info: BaseInfo) -> OpenRenderer:
    def start(settings: Settings, references: Sequence[RGB8]) -> Renderer:
        from limner.models import open_base
        from limner.render import DiffusersRenderer

        return DiffusersRenderer(open_base(info), settings, references)

    return start


def _choose(work: Work) -> Generator[Event, None, Choice]:
    """Base first (it makes the threshold), then round by round; returns the `Choice`."""
    plan = work.plan
    limits = plan.data["limits"]
    if plan.calibrate_cells:
        yield from work.make("calibrate", [BASE], plan.calibrate_cells, "drawing strangers")
    yield from work.make("choose", [BASE], plan.choose_cells, "base model")
    racing, rounds = "race" in plan.data, plan.rounds
    arms = list(plan.arms)
    for number, (keep, seen) in enumerate(rounds, start=1):
        # of a run that goes on, only what had been drawn when this round began: the same decisions
        before = {*plan.choose_cells[: rounds[number - 2][1]]} if number > 1 else set()
        judged = [one for one in work.judged("choose", arms) if one.cell in before]
        if number > 1 and not judged:  # no stranger to set a threshold by: nothing to choose on
            break
        if number > 1:
            table = Table.of(judged)
            rows = range(len(table.arms))
            if racing:
                left = race.still_in(table, rows, keep, limits, looks=len(rounds))
            else:
                left = sorted(table.order(limits)[:keep])
            arms = [table.arms[i] for i in left]
        if len(arms) == 1 and number > 1:
            yield Notice(f"The race is decided after {rounds[number - 2][1]} pictures an arm.")
            break
        task = f"choosing, round {number} of {len(rounds)}: {len(arms)} arms"
        yield from work.make("choose", arms, plan.choose_cells[:seen], task)
    return settle(work.judged("choose", plan.arms), plan.arms, limits, choosing.alpha(plan.data))


def settle(
    judged: Sequence[Judged], arms: Sequence[Arm], limits: dict[str, float], alpha: float = 0.05
) -> Choice:
    """The choice, or the only arm when there was nothing to choose."""
    if judged:
        return choosing.choose(judged, limits, alpha)
    return Choice(arms[0], arms[0], [], [], 0)
