"""A run from its journal line to its last checkpoint, resumable at any moment.

In: a project with a plan. Out: models/run_<n>/step_*.safetensors, logs/run_<n>/, records.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.errors import InputError, LimnerError, UsageError, WorkFailedError
from limner.events import Event, Events, Notice, Result
from limner.project import Project
from limner.project.records import Plan, Run
from limner.training import arithmetic, control, heldout, metrics, parallel, recover, stamp, state
from limner.training.config import RunConfig
from limner.training.loop import Loop
from limner.training.planning import current_plan, plan
from limner.training.rules import rules
from limner.training.work import Work, encoded, make_sampler, make_trainer, open_work


def train(
    project: Project,
    *,
    resume: bool = True,
    stop_after: int | None = None,
    steps: int | None = None,
) -> Events:
    """Train by the newest plan (made here when there is none that fits), or go on with its run.

    resume: False starts a new run. stop_after: stop after so many updates of this call; the run
    can be taken up later. steps: the run's new end, later than what it has done: the same weights
    as if it had been planned so long. Ends in Result({run, state, checkpoints, seconds, path,
    changes}). Raises NotReadyError (no dataset), InputError (picture, base, plan), UsageError (an
    end that is past), WorkFailedError (disk full, no memory, loss not finite); what is done stays
    done.
    """
    with project.exclusive("training"):
        began = time.monotonic()
        control.ask(project, None)
        found = current_plan(project)
        if found is None:
            yield Notice("No plan fits the dataset and settings of now; planning first.")
            plan(project)
            found = current_plan(project)
        if found is None:
            raise InputError("The plan does not fit the dataset", fix="Run `limner plan` again.")
        if steps is not None:
            _refuse_if_fixed(found, steps)
        run, going_on = _run_of(project, found, resume=resume)
        if steps is not None:
            run = _extend(project, run, steps)
            yield from _other_end(found, run, steps)
        if run.state == "done":
            project.store.update_run(run.version, plan_version=found.version)
            yield Notice(
                f"Run {run.version} is done already; `--steps` extends it, `--fresh` starts "
                "another."
            )
            gone = _gone(project, run)
            if gone:
                yield Notice(
                    f"{len(gone)} of its checkpoints lie no longer where they were written, "
                    f"first {gone[0]}.",
                    "warning",
                )
            yield Result(_summary(project, run, 0.0))
            return
        if going_on:
            yield Notice(f"Going on with run {run.version}.")
        project.store.update_run(
            run.version, state="running", error=None, plan_version=found.version
        )
        config = RunConfig.from_json(run.config["run"])
        yield from _guarded(project, run, config, stop_after, began)


def _run_of(project: Project, found: Plan, *, resume: bool) -> tuple[Run, bool]:
    """The run of a plan: the newest one when it is the plan's own (True), else a new one."""
    config = RunConfig.from_json(found.data["config"])
    run = project.store.run()
    if run is not None and resume and run.config.get("sha256") == config.sha256():
        return run, True
    return _journal(project, found.version, found.dataset_version, config), False


def _refuse_if_fixed(found: Plan, steps: int) -> None:
    """Raises UsageError where the rate falls toward the planned end: another one is another run."""
    config = RunConfig.from_json(found.data["config"])
    if config.schedule != "constant" and steps != config.steps:
        raise UsageError(
            f"The learning rate is planned to fall until step {config.steps}, so the run cannot "
            f"end at step {steps}",
            where="--steps",
            fix=f"Set training.steps to {steps} in character.yaml: that is a run of its own. Or "
            "set training.schedule to constant.",
        )


def _other_end(found: Plan, run: Run, steps: int) -> Events:
    """Say so where a run ends before or after what was planned."""
    planned = int(found.data["config"]["steps"])
    if steps < planned:
        yield Notice(
            f"Run {run.version} ends at step {steps} of {planned} planned; "
            f"`limner train --steps {planned}` goes on from there."
        )
    elif steps > planned:
        yield Notice(f"Run {run.version} goes on to step {steps}; {planned} were planned.")


def _extend(project: Project, run: Run, steps: int) -> Run:
    """Give a run another end; its checkpoints are the plan's, then go on at the same distance."""
    config = RunConfig.from_json(run.config["run"])
    done = max((p.step for p in project.store.checkpoints(run.version)), default=0)
    reached = max(done, state.step_of(project.path(run.path) / state.FILE) or 0)
    if steps <= reached and not steps == done == config.steps:
        raise UsageError(
            f"Run {run.version} has made {reached} steps already",
            where="--steps",
            fix=f"Give a number above {reached}, or start another run with --fresh.",
        )
    planned = run.config.get("planned", run.config["run"])
    every = max(1, round(planned["steps"] / len(planned["checkpoints"])))
    made = [m for m in config.checkpoints if m <= done]
    grid = [*planned["checkpoints"], *range(planned["steps"] + every, steps - every // 2, every)]
    marks = sorted({m for m in (*made, *grid) if m < steps} | {steps})
    extended = replace(config, steps=steps, checkpoints=tuple(marks))
    facts = {
        **run.config,
        "run": extended.as_json(),
        "planned": planned,
    }
    now = "done" if steps == done else "stopped"
    project.store.update_run(run.version, config=facts, state=now)
    return replace(run, config=facts, state=now)


def _journal(project: Project, plan_version: int, dataset_version: int, config: RunConfig) -> Run:
    """Write the run down before anything of it exists."""
    last = project.store.run()
    number = last.version + 1 if last else 1
    version = project.store.add_run(
        plan_version=plan_version,
        dataset_version=dataset_version,
        trainer="native",
        state="running",
        config={"sha256": config.sha256(), "run": config.as_json()},
        path=f"models/run_{number}",
        error=None,
        finished_at=None,
    )
    run = project.store.run(version)
    assert run is not None
    return run


def _guarded(
    project: Project, run: Run, config: RunConfig, stop_after: int | None, began: float
) -> Events:
    """The run, with its end written down whatever happens."""
    try:
        finished = yield from _work(project, run, config, stop_after)
    except (KeyboardInterrupt, GeneratorExit):
        project.store.update_run(run.version, state="stopped")
        raise
    except Exception as error:
        said = _without_memory(run, error)
        project.store.update_run(run.version, state="failed", error=str(said or error))
        if said is None:
            raise
        raise said from None
    seconds = time.monotonic() - began
    project.store.update_run(run.version, state="done" if finished else "stopped")
    project.store.log("training", "run", run=run.version, seconds=round(seconds, 1))
    now = project.store.run(run.version)
    yield Result(_summary(project, now or run, seconds))


def _without_memory(run: Run, error: Exception) -> LimnerError | None:
    """What to say where memory ran out before the loop with its ladder began; None otherwise."""
    if isinstance(error, LimnerError) or not recover.is_out_of_memory(error):
        return None
    return WorkFailedError(
        f"Memory is not enough to open the base or to encode ({str(error)[:100]})",
        where=f"run {run.version}",
        fix="Free memory, or lower training.resolution or training.control_size.",
    )


def _gone(project: Project, run: Run) -> list[str]:
    """Recorded checkpoints of a run whose file is not there, in order."""
    points = project.store.checkpoints(run.version)
    return [p.path for p in points if not project.path(p.path).is_file()]


def _summary(project: Project, run: Run, seconds: float) -> dict[str, Any]:
    points = project.store.checkpoints(run.version)
    return {
        "run": run.version,
        "state": run.state,
        "path": run.path,
        "checkpoints": [
            {
                "step": point.step,
                "path": point.path,
                "sha256": point.sha256,
                "label": point.data.get("label"),
                "held_out_loss": point.data.get("held_out_loss"),
            }
            for point in points
        ],
        "held_out": heldout.bracket(
            heldout.points(metrics.read(_logs(project, run) / "metrics.jsonl")),
            {**rules(), **run.config["run"]["values"]},
        ),
        "changes": [c.words() for c in recover.from_record(run.config)],
        "seconds": round(seconds, 1),
    }


def _logs(project: Project, run: Run) -> Path:
    return project.folder("logs") / f"run_{run.version}"


def _work(
    project: Project, run: Run, config: RunConfig, stop_after: int | None
) -> Generator[Event, None, bool]:
    """Everything between the journal line and the end; True when the last step was reached."""
    models = project.folder("models") / f"run_{run.version}"
    _sweep(models, _logs(project, run), project.root / ".limner" / "cache")
    yield Notice(f"Opening the base {stamp.public_name(config.base)}.")
    work = open_work(project, run, config)
    yield from encoded(work)
    if config.samples:
        work.sampler = make_sampler(work)
    team = None
    if config.processes > 1:
        yield Notice(f"Starting {config.processes - 1} more processes.")
        team = parallel.lead(project.root, run.version, config.processes, config.device, work.logs)
    try:
        trainer = make_trainer(work, team)
        _check_disk(work, sum(p.numel() for p in trainer.weights.values()))
        finished = yield from Loop(work, trainer).run(stop_after)
    except BaseException:
        if team is not None:
            team.abandon()
        raise
    if team is not None:
        team.end()
    return finished


def _sweep(*folders: Path) -> None:
    """Remove temp files of killed processes; none is alive while we hold the stage's lock."""
    for folder in folders:
        for part in folder.rglob(".*.part"):
            part.unlink(missing_ok=True)


def _check_disk(work: Work, parameters: int) -> None:
    """Raise WorkFailedError when the disk cannot hold what the run will write."""
    work.models.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(work.models).free
    value = 4 if work.config.device == "cpu" else 2
    needed = arithmetic.disk_bytes(parameters, len(work.config.checkpoints), value)
    # the state of the last checkpoint, beside the newest one and the one being written; averages
    needed += parameters * (12 + 3 * 4 if work.config.ema else 12)
    if free < needed:
        raise WorkFailedError(
            f"The run needs {needed / 1e6:.0f} MB of disk, {free / 1e6:.0f} MB are free",
            where=str(work.models),
            fix="Free some space and run the same command again.",
        )
