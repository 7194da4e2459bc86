"""What an evaluation asks for: arms, prompts and seeds to choose by, others to claim by.

In: the newest run, its dataset and base, prompts that were never trained on. Out: a `GridPlan`
that is written into the project, and the cells of each of its phases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.errors import InputError, NotReadyError
from limner.evaluation.arms import BASE, Arm
from limner.evaluation.prompt import EvalPrompt
from limner.evaluation.race import Size, within
from limner.evaluation.rules import rules
from limner.evaluation.testsets import Tests
from limner.project import Project, files
from limner.project.records import Checkpoint, Dataset, Run
from limner.render import Cell, Settings

if TYPE_CHECKING:
    from limner.models import BaseInfo

CHOOSE_SEED, CLAIM_SEED, CALIBRATE_SEED = 10_000, 20_000, 30_000
"""First seed of each phase: the three never share one."""
CONTROL = Arm(-2, 1.0, "control")


@dataclass(frozen=True)
class GridPlan:
    """One evaluation. `data` is the record: equal data is the same evaluation, to be resumed."""

    render: Settings
    arms: tuple[Arm, ...]
    loras: dict[Arm, tuple[Path, str]]
    prompts: dict[str, EvalPrompt]
    choose_cells: list[tuple[str, int]]
    claim_cells: list[tuple[str, int]]
    untriggered_cells: list[tuple[str, int]]
    calibrate_cells: list[tuple[str, int]]
    trigger: str
    class_word: str
    control_trigger: str | None
    rounds: list[tuple[int, int]]
    size: Size
    data: dict[str, Any]
    tests: Tests = field(default_factory=Tests)

    def with_tests(self, tests: Tests, shas: Sequence[str]) -> GridPlan:
        """The same evaluation with tests of the winner after its claim."""
        if not (tests.sets or tests.strengths or tests.styles):
            return self
        prompts = {**self.prompts, **{p.id: p for p in tests.prompts()}}
        data = {**self.data, "tests": tests.record(shas)}
        return replace(self, tests=tests, prompts=prompts, data=data)

    def file_of(self, arm: Arm) -> tuple[Path | None, str]:
        """The LoRA of an arm, at whatever strength; (None, "") for the base."""
        plain = Arm(arm.step, arm.strength) if arm.kind == "untriggered" else arm
        if plain in self.loras or plain.kind != "checkpoint":
            return self.loras.get(plain, (None, ""))
        return next((f for a, f in self.loras.items() if a.step == arm.step), (None, ""))

    def rows(self, phase: str, arms: Sequence[Arm], cells: Sequence[tuple[str, int]]) -> Rows:
        """Records of renders with the cell each one draws."""
        for arm in arms:
            for prompt_id, seed in cells:
                prompt = self.words(arm, phase, prompt_id)
                lora, sha256 = self.file_of(arm)
                cell = Cell(prompt, seed, lora, sha256, arm.strength)
                yield (
                    {
                        "key": cell.key(self.render),
                        "phase": phase,
                        "arm": arm.name,
                        "step": arm.step if arm.kind == "checkpoint" else None,
                        "strength": arm.strength,
                        "prompt_id": prompt_id,
                        "prompt": prompt,
                        "seed": seed,
                    },
                    cell,
                )

    def words(self, arm: Arm, phase: str, prompt_id: str) -> str:
        """The prompt as this arm gets it: another character's LoRA is called by its own word,
        and strangers for the threshold are asked for without any trigger."""
        text = self.prompts[prompt_id].text
        if phase == "calibrate" or arm.kind == "untriggered":
            somebody = f"a {self.class_word}"
            text = text.replace(f"{self.trigger} {self.class_word}", somebody)
            return text.replace(self.trigger, somebody)
        if arm.kind == "control" and self.control_trigger:
            return text.replace(self.trigger, self.control_trigger)
        return text


Rows = Iterator[tuple[dict[str, Any], Cell]]


def split_prompts(prompts: Sequence[EvalPrompt]) -> tuple[list[EvalPrompt], list[EvalPrompt]]:
    """(to choose by, to claim by): every third chooses, so both see the same mix of a sorted list.

    Fewer than three prompts cannot be split; then all claim and choose alike, on other seeds.
    """
    if len(prompts) < 3:
        return list(prompts), list(prompts)
    choose = [p for i, p in enumerate(prompts) if i % 3 == 1]
    return choose, [p for i, p in enumerate(prompts) if i % 3 != 1]


def cells(prompts: Sequence[EvalPrompt], first_seed: int, seeds: int) -> list[tuple[str, int]]:
    """(prompt, seed) pairs, all prompts once before any comes again.

    No two pairs share a seed: one noise over all prompts would make their compositions alike, and
    the pictures fewer than they look.
    """
    each = len(prompts)
    return [(p.id, first_seed + s * each + k) for s in range(seeds) for k, p in enumerate(prompts)]


def newest_run(project: Project) -> tuple[Run, Dataset, list[Checkpoint]]:
    """The newest run with its dataset and checkpoints. Raises NotReadyError."""
    run = project.store.run()
    checkpoints = project.store.checkpoints(run.version) if run else []
    if run is None or not checkpoints:
        raise NotReadyError(
            "There is no checkpoint to evaluate",
            where=str(project.root),
            fix="Run `limner train` first.",
        )
    dataset = project.store.dataset(run.dataset_version)
    if dataset is None:
        raise NotReadyError(
            f"Dataset {run.dataset_version} of run {run.version} is not recorded",
            where=str(project.root),
            fix="Run `limner dataset build` and `limner train` again.",
        )
    return run, dataset, checkpoints


def spread(items: Sequence[Checkpoint], most: int) -> list[Checkpoint]:
    """At most `most` of the items, evenly spaced, the last always among them; 0 means all."""
    if most <= 0 or len(items) <= most:
        return list(items)
    last = len(items) - 1
    picks = {round(last - i * last / max(most - 1, 1)) for i in range(most)}
    return [items[i] for i in sorted(picks)]


Mode = Literal["halving", "race", "full"]
"""How arms are chosen: plain halving, the race with its stop rule, or every cell of every arm."""


def different(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The same file twice is one arm, the earlier."""
    seen: dict[str, Checkpoint] = {}
    for checkpoint in checkpoints:
        seen.setdefault(checkpoint.sha256, checkpoint)
    return list(seen.values())


def make_plan(
    project: Project,
    *,
    prompts: Sequence[EvalPrompt],
    excluded: Sequence[dict[str, str]],
    info: BaseInfo,
    template: str,
    precision: str,
    references: Sequence[str],
    judge: dict[str, Any],
    strangers: int,
    control: Path | None,
    mode: Mode = "halving",
    budget: int | None = None,
    tests: Tests | None = None,
    strengths: Sequence[float] = (),
    adapt: Callable[[Settings], Settings] | None = None,
) -> GridPlan:
    """Put the plan together. strengths: in place of the project's; tests: of the winner, they count
    for the budget. Raises NotReadyError without a run, InputError for no usable prompt, for prompts
    that repeat an id, or for a checkpoint file that has changed."""
    run, dataset, checkpoints = newest_run(project)
    wanted, character = project.character.evaluation, project.character
    limits = rules(wanted.thresholds)
    if mode == "full":
        limits |= {"first_look": 10_000.0, "finalists": 10_000.0}
    _check_prompts(prompts)
    choose, claim = split_prompts(prompts)
    render = Settings(
        base=info.fingerprint,
        template="edit" if template == "edit" else "t2i",
        width=info.resolution,
        height=info.resolution,
        steps=wanted.steps or info.sampling_steps,
        true_cfg_scale=wanted.true_cfg_scale or info.true_cfg_scale,
        precision=precision,
        references=tuple(references),
    )
    if adapt is not None:
        render = adapt(render)
    # With a reference picture the base draws the character itself: no strangers to be had there.
    missing = 0 if template == "edit" else int(max(0, limits["fewest_impostors"] - strangers))
    calibrating = -(-missing // len(choose))
    used = sorted(set(strengths or wanted.strengths))
    candidates = different(spread(checkpoints, wanted.checkpoints))
    size = Size(
        checkpoints=len(candidates),
        strengths=len(used),
        choose_prompts=len(choose),
        seeds=wanted.seeds,
        claim_prompts=len(claim),
        claim_seeds=wanted.claim_seeds,
        untriggered=int(wanted.untriggered),
        rivals=2 if control is not None else 1,
        calibrate=len(choose) * calibrating,
        share=limits["race_share"] if mode == "race" else 0.0,
        first_look=int(limits["first_look"]),
        finalists=int(limits["finalists"]),
    )
    if budget is not None:
        beside = sum(tests.pictures(len(claim)).values()) if tests else 0
        size = within(size, budget, limits, beside)
    plan_cells = {
        "choose": cells(choose, CHOOSE_SEED, size.seeds),
        "claim": cells(claim, CLAIM_SEED, size.claim_seeds),
        "untriggered": cells(claim, CLAIM_SEED, size.untriggered),
        "calibrate": cells(choose, CALIBRATE_SEED, calibrating),
    }
    loras = _loras(project, spread(candidates, size.checkpoints), used)
    arms = tuple(sorted(loras))
    control_trigger = None
    if control is not None:
        control_trigger = trigger_of(control)
        loras[CONTROL] = (control, files.sha256_file(control))
    race = {"race": {"rounds": [list(r) for r in size.rounds], "share": size.share}}
    data = {
        "render": render.as_dict(),
        "run": run.version,
        "dataset": dataset.version,
        "arms": [[arm.step, arm.strength, loras[arm][1]] for arm in arms],
        "control": {"sha256": loras[CONTROL][1], "trigger": control_trigger} if control else None,
        "prompts": [[p.id, p.text, p.attributes] for p in prompts],
        "excluded": list(excluded),
        "cells": {name: [list(c) for c in found] for name, found in plan_cells.items()},
        "judge": judge,
        "target_far": wanted.target_far,
        "limits": limits,
        **(race if mode == "race" else {}),
    }
    return GridPlan(
        render=render,
        arms=arms,
        loras=loras,
        prompts={p.id: p for p in prompts},
        choose_cells=plan_cells["choose"],
        claim_cells=plan_cells["claim"],
        untriggered_cells=plan_cells["untriggered"],
        calibrate_cells=plan_cells["calibrate"],
        trigger=character.trigger,
        class_word=character.class_word,
        control_trigger=control_trigger,
        rounds=size.rounds,
        size=size,
        data=data,
    )


def _check_prompts(prompts: Sequence[EvalPrompt]) -> None:
    if not prompts:
        raise InputError(
            "No evaluation prompt shows a face, so nobody could be recognised",
            fix="Plan prompts with front or three-quarter views.",
        )
    if len({p.id for p in prompts}) != len(prompts):
        raise InputError(
            "Two evaluation prompts have the same id",
            where="the prompts given to evaluate()",
            fix="Give every prompt an id of its own.",
        )


def _loras(
    project: Project, checkpoints: Sequence[Checkpoint], strengths: Sequence[float]
) -> dict[Arm, tuple[Path, str]]:
    """Every checkpoint at every strength, with its file as it was saved."""
    found = {}
    for checkpoint in checkpoints:
        path = unchanged(project.path(checkpoint.path), checkpoint.sha256)
        for strength in strengths:
            found[Arm(checkpoint.step, strength)] = (path, checkpoint.sha256)
    return found


def unchanged(path: Path, sha256: str) -> Path:
    """The file, if it still is what was recorded. Raises InputError."""
    if not path.is_file():
        raise InputError(
            "A checkpoint is missing",
            where=str(path),
            fix="Put the file back, or train another run: `limner train --fresh`.",
        )
    if files.sha256_file(path) != sha256:
        raise InputError(
            "A checkpoint has changed since it was written",
            where=str(path),
            fix="Put the file back as it was, or `limner train --fresh`; its pictures would not be "
            "this run's.",
        )
    return path


def trigger_of(lora: Path) -> str | None:
    """The word that calls a LoRA's character, from its header; None when it names none."""
    from limner.models import lora as lora_files

    if not lora.is_file():
        raise InputError(
            "The control LoRA is missing",
            where=str(lora),
            fix="Correct evaluation.control in character.yaml, or leave it out.",
        )
    metadata = lora_files.info(lora).metadata
    found = metadata.get("modelspec.trigger_phrase") or metadata.get("limner.trigger")
    return found or None


def version_of(project: Project, plan: GridPlan) -> int | None:
    """The version of the newest grid when it is this very evaluation."""
    newest = project.store.grid()
    if newest is not None and files.canonical_json(newest.settings) == files.canonical_json(
        plan.data
    ):
        return newest.version
    return None


def resume_or_add(project: Project, plan: GridPlan) -> int:
    """The version of the newest grid when it is this very evaluation, else a new one."""
    if (version := version_of(project, plan)) is not None:
        return version
    return project.store.add_grid(run_version=plan.data["run"], settings=plan.data)


def all_arms(plan: GridPlan) -> list[Arm]:
    """Who claims besides the chosen arm: the base, and the control when there is one."""
    return [BASE, CONTROL] if CONTROL in plan.loras else [BASE]
